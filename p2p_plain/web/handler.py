"""One connection of the status page, on its own thread ``http-N``: requests in, responses out.

``http.server`` parses the requests.  The rest is here: bounds on what is read, the deadline of each
step (``clients`` drops the connection after it), and events as a stream without end.

A proxy in front of the page must see the same requests in the bytes as we do.  Where it could see
another end of a request, a client could hide a second request in the first ("request smuggling", RFC
9112 section 11.2).  ``http.server`` is lenient there, so each line of a request is checked before.
"""

import re
import socket
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler

from .. import __version__
from ..common.escape import printable
from ..common.typing import TYPE_CHECKING, List, Optional, Tuple
from .clients import REQUEST_TIMEOUT, Client, Doing
from .response import GZIP_FROM, TEXT, Response, text_response

if TYPE_CHECKING:
    from .pages import StatusPage

MAX_HEAD = 32 * 1024
"""Bytes of a request line and its headers together.  A browser sends 500, plus the cookies that any
other program on this host has set; nginx gives up at the same figure."""

MAX_DRAINED = 64 * 1024
"""Bytes that are read and dropped of a client that got an error while it was still sending.  Closing a
socket with unread data sends a reset, which can destroy the response (RFC 1122 4.2.2.13)."""

RECEIVE_BYTES = 4 * 1024

SENT_WITH_HEAD = 16 * 1024
"""Bytes of a body that are sent together with its head."""

IDLE_TIMEOUT = 30.0
"""Seconds for each request after the first one on a connection, its headers included."""

RESPONSE_TIMEOUT = 10.0
"""Seconds for a client to take a response, or a piece of the events.  On a slow line 1 MB takes
five."""

DRAIN_TIMEOUT = 1.0
"""Seconds for a client that got an error to stop sending."""

KEEP_ALIVE = 10.0
"""Seconds without an event after which a comment is sent.  It keeps proxies from closing the
connection, and shows whether the client is still there."""

HEADERS = (
    ("Server", "p2p_plain/" + __version__),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
"""The headers of every response."""

ACCEPTS_GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))")
"""``gzip`` in an ``Accept-Encoding``, but not with ``q=0``, which means "anything but that" (RFC 9110
section 12.4.2)."""


_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"

REQUEST_LINE = re.compile(_TOKEN + rb" [^\x00-\x20\x7f]+ HTTP/[0-9]\.[0-9]\r?\n")
HEADER_LINE = re.compile(_TOKEN + rb":[^\x00-\x08\x0a-\x1f\x7f]*\r?\n")
"""RFC 9112 sections 3 and 5: no space before the colon, none at the beginning (a folded line), and no
control characters."""

METHODS = "GET, HEAD, OPTIONS"


class HeadTooLong(Exception):
    """``MAX_HEAD`` bytes of a request have come, and its headers have not ended."""


class RequestReader:
    """Reads lines from a socket, with a bound on each request.

    It replaces the file ``rfile`` of ``http.server``, which would return an unfinished line at the
    end of the stream: half a ``Host`` must not count as a whole one.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""
        self._left = MAX_HEAD
        self.lines: List[bytes] = []
        """The lines of this request so far."""

    def begin(self) -> None:
        """Start a new request, with the whole bound."""
        self._left = MAX_HEAD
        del self.lines[:]

    def readline(self, _limit: int = -1) -> bytes:
        """Return the next line with its newline.  Raises ``HeadTooLong``, or ``OSError`` at the end."""
        while b"\n" not in self._buffer:
            if len(self._buffer) > self._left:
                raise HeadTooLong
            chunk = self._sock.recv(RECEIVE_BYTES)
            if not chunk:
                raise ConnectionAbortedError("the stream ended")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        self._left -= len(line) + 1
        if self._left < 0:
            raise HeadTooLong
        self.lines.append(line + b"\n")
        return self.lines[-1]


class Handler(BaseHTTPRequestHandler):
    """Serves one connection.

    Of the base class only ``parse_request`` is used, and what that calls.
    """

    protocol_version = "HTTP/1.1"  # connections stay open
    rfile: RequestReader  # type: ignore[assignment]

    def __init__(self, client: Client, site: "StatusPage") -> None:
        # The base class's constructor would serve the whole connection; here ``serve`` does.
        self._client = client
        self._site = site
        self._sock = client.sock
        self.rfile = RequestReader(client.sock)
        self._still_sending = False
        """True if the client may be sending what we do not read."""

    def serve(self) -> None:
        """Answer requests until the connection ends.  Raises ``OSError`` if it breaks."""
        # A response is one ``sendall``, and an event must not wait for the next one.
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answer_request(REQUEST_TIMEOUT)
        while not self.close_connection:
            self._answer_request(IDLE_TIMEOUT)
        if self._still_sending and self._set(Doing.REQUESTING, DRAIN_TIMEOUT):
            self._drain()

    def _answer_request(self, timeout: float) -> None:
        """Read a request and answer it; ``close_connection`` is false if there may be another."""
        self.close_connection = True
        self.command = ""
        if not self._set(Doing.REQUESTING, timeout):
            return
        self.rfile.begin()
        try:
            line = self.rfile.readline()
            if line in (b"\r\n", b"\n"):  # old browsers send one after a form: RFC 9112 section 2.2
                del self.rfile.lines[:]
                line = self.rfile.readline()
            self.raw_requestline = line
            if not REQUEST_LINE.fullmatch(line):
                self.send_error(HTTPStatus.BAD_REQUEST)
                return
            if not self.parse_request():
                return  # it has sent the error
            if not self._ends_clearly():
                self.send_error(HTTPStatus.BAD_REQUEST)
                return
        except HeadTooLong:
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        if not self._set(Doing.RECEIVING, RESPONSE_TIMEOUT):
            return
        if self.headers.get("Transfer-Encoding") or self.headers.get("Content-Length", "0") != "0":
            self.close_connection = True  # bodies are not read
            self._still_sending = True
        self._route()

    def _ends_clearly(self) -> bool:
        """True if every reader of this request agrees on its headers, and on where its body ends."""
        if not all(map(HEADER_LINE.fullmatch, self.rfile.lines[1:-1])):
            return False
        lengths = self.headers.get_all("Content-Length", [])
        codings = self.headers.get_all("Transfer-Encoding", [])
        if codings:  # RFC 9112 section 6.1: HTTP/1.0 has none, and chunked comes last
            chunked = [coding.strip().lower() for coding in codings] == ["chunked"]
            return chunked and not lengths and self.request_version != "HTTP/1.0"
        return all(re.fullmatch("[0-9]+", length.strip()) for length in lengths) and len(lengths) < 2

    def _route(self) -> None:
        host, path = self._target()
        if host is None:
            self.send_error(HTTPStatus.BAD_REQUEST)
        elif host and not self._site.allows(host):
            text = (
                "this page is not served under the name %s; use an IP address or localhost, "
                "or start the node with --http NAME:PORT" % printable(host, 100)
            )
            self._send(text_response(HTTPStatus.FORBIDDEN, text))
        elif self.command == "OPTIONS":  # haproxy's usual question for whether we are well
            self._send(Response(TEXT, b"", HTTPStatus.OK, (("Allow", METHODS),)))
        elif self.command not in ("GET", "HEAD"):
            allow = (("Allow", METHODS),)
            text = "the page is read-only; use GET or HEAD"
            self._send(text_response(HTTPStatus.METHOD_NOT_ALLOWED, text, allow))
        elif path == "/events":
            self._stream()
        else:
            make = self._site.page(path)
            missing = text_response(HTTPStatus.NOT_FOUND, "no such page; begin with /")
            self._send(missing if make is None else make())

    def _target(self) -> Tuple[Optional[str], str]:
        """Return the requested host and path; the host is empty if not given, ``None`` if invalid."""
        named = self.headers.get_all("Host", [])
        if len(named) > 1 or (not named and self.request_version != "HTTP/1.0"):
            return None, ""
        # An empty Host is a name like any other, and not one of ours.
        host = (named[0].strip() or "(none)") if named else ""
        target = self.path
        absolute = re.match("(?i)https?://([^/?#]*)(.*)", target)
        if absolute is not None:  # the form for proxies: RFC 9112 section 3.2.2
            host, target = absolute.group(1) or "(none)", absolute.group(2) or "/"
        return host, re.split("[?#]", target, maxsplit=1)[0]

    def _send(self, response: Response) -> None:
        body = response.body
        headers = list(response.headers)
        if len(body) >= GZIP_FROM:
            headers.append(("Vary", "Accept-Encoding"))
            if ACCEPTS_GZIP.search(self.headers.get("Accept-Encoding", "")):
                compressed = response.compressed()
                if compressed is not None:
                    body = compressed
                    headers.append(("Content-Encoding", "gzip"))
        headers.append(("Content-Length", "%d" % len(body)))
        headers.append(("Connection", "close" if self.close_connection else "keep-alive"))
        head = self._head(response.status, response.type, headers)
        # The deadline is for the client, so it begins after the response has been made.
        if self._set(Doing.RECEIVING, RESPONSE_TIMEOUT):
            self._site.clients.hold(self._client, response)
            if self.command == "HEAD":
                body = b""
            # One packet for a short one, and no copy of a long one.
            self._sock.sendall(head + body[:SENT_WITH_HEAD])
            if len(body) > SENT_WITH_HEAD:
                self._sock.sendall(memoryview(body)[SENT_WITH_HEAD:])

    def _stream(self) -> None:
        """Send events until the connection or the feed ends."""
        self.close_connection = True
        self._sock.sendall(self._head(HTTPStatus.OK, "text/event-stream", [("Connection", "close")]))
        if self.command == "HEAD":
            return
        self._sock.sendall(b"retry: 2000\n\n")  # milliseconds until a browser reconnects
        position = self._site.feed.position(self.headers.get("Last-Event-ID", ""))
        while self._set(Doing.STREAMING, KEEP_ALIVE + RESPONSE_TIMEOUT):
            found = self._site.feed.after(position, KEEP_ALIVE)
            if found is None or not self._set(Doing.STREAMING, RESPONSE_TIMEOUT):
                return
            data, position = found
            self._sock.sendall(data or b": still here\n\n")

    def _head(self, status: HTTPStatus, type: str, headers: List[Tuple[str, str]]) -> bytes:
        """Return the status line and the headers.  No text of a peer or a client is in them."""
        lines = ["HTTP/1.1 %d %s" % (status.value, status.phrase)]
        lines += ["Date: " + self.date_time_string(), "Content-Type: " + type]
        lines += ["%s: %s" % pair for pair in (*HEADERS, *headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")

    def _drain(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)
        drained = 0
        while drained < MAX_DRAINED:
            chunk = self._sock.recv(RECEIVE_BYTES)
            if not chunk:
                return
            drained += len(chunk)

    def _set(self, doing: str, seconds: float) -> bool:
        return self._site.clients.set(self._client, doing, seconds)

    # -- what parse_request calls --------------------------------------------------------

    def send_error(
        self, code: int, message: Optional[str] = None, explain: Optional[str] = None
    ) -> None:
        """Send what is wrong with an invalid request, and close."""
        self.close_connection = True
        self._still_sending = True
        status = HTTPStatus(code)
        self._send(text_response(status, printable(message or status.phrase, 200)))

    def handle_expect_100(self) -> bool:
        """Send no "100 Continue": the response does not depend on the body."""
        return True

    def log_message(self, format: str, *args: object) -> None:
        """Do nothing; the base class would write to the user's terminal."""
