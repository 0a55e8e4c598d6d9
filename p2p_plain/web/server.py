"""HTTP for clients that nobody vouches for, bounded in everything (``--http``; see ``status``).

``http.server`` takes requests apart.  What it leaves to others is here: how many may be connected,
how long each may take for what, how much of an answer is made anew for whoever asks, and events as a
stream that never ends.

Threads
-------
``http`` accepts; each connection has its own, ``http-N``, all of the node's crew.  Nothing on them
may wait without a bound.  There are no timeouts on the sockets: a timeout for each ``recv`` would
let a client drip a byte at a time for ever.  Instead each connection has one deadline for what it
does now (say its whole request, take our whole answer), and the accepting thread, which wakes at
least every ``BEAT``, cuts whoever is over it.  Cutting is ``shutdown``, which any thread may do;
the ``recv`` or ``send`` under way ends at once.
"""

import errno
import io
import re
import socket
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Callable, Dict, List, Optional, Protocol, Tuple

from .. import __version__
from ..common.address import Address
from ..common.errors import CannotStart, why
from ..common.escape import printable
from ..common.tcp_server import ACCEPT_PAUSE, OUT_OF_RESOURCES, Server
from ..common.threads import Crew
from .feed import News

try:
    import gzip
except ImportError:  # a Python built without zlib
    gzip = None  # type: ignore[assignment]

class Site(Protocol):
    """What is served.  Any thread may call any of it."""

    clients: "Clients"
    news: News

    def page(self, path: str) -> Optional[Callable[[], "Answer"]]: ...  # noqa: D102
    def allows(self, host: str) -> bool: ...  # noqa: D102

MAX_CLIENTS = 64
"""Connections at once.  Each is a thread and a descriptor; a browser needs two or three, a scraper
one.  At the bound whoever has been silent longest is cut, so that silence keeps nobody out."""

MAX_HEAD = 32 * 1024
"""Bytes of a request line and its headers together.  A browser sends 500, and all the cookies that
any other program on this host has set; nginx gives up at the same figure."""

MAX_DRAINED = 64 * 1024
"""Bytes read and thrown away of a client that is told no while it still talks: closing a socket
with unread data sends a reset, which overtakes and destroys the answer (RFC 1122 4.2.2.13)."""

GOING = 1.0
"""Seconds for which the accepting loop waits, when as many as fit have been cut and are not gone."""

BEAT = 0.1
"""Seconds between two looks at the deadlines, and at whether to stop where nothing else tells."""

REQUEST_TIMEOUT = 10.0
"""From connect to the end of the headers, the whole of it."""

IDLE_TIMEOUT = 30.0
"""The same for each later request on one connection."""

ANSWER_TIMEOUT = 10.0
"""For a client to take an answer, or a piece of the events; on a slow line 1 MB takes five."""

DRAIN_TIMEOUT = 1.0
"""For a client that was told no to stop talking."""

KEEP_ALIVE = 10.0
"""Seconds without an event after which a comment is sent, so that proxies leave the connection
standing and we find out that nobody is there any more."""

PATIENCE_WITH_THE_BUSY = 1.0
"""Seconds that an answer may take before its client counts as one who does not read, where room is
needed."""

RECEIVE_BYTES = 4 * 1024

FRESH = 0.3
"""Seconds for which an answer is given again to whoever else asks."""

SHARE = 10
"""An answer that was long in the making is given again for so many times as long: however many
ask, making it takes a tenth of the time."""

GZIP_FROM = 1024
"""Bytes of an answer from which it is compressed, for clients that like that."""

TEXT = "text/plain; charset=utf-8"
EVENT_STREAM = "text/event-stream"

# What a client does now.
ASKING = "asking"  # silent, or in the middle of its request
ANSWERED = "answered"  # our answer is being made or sent
STREAMING = "streaming"  # listens to events
CUT = "cut"  # its thread is about to end


class Answer:
    """What is sent for one request, but for what depends on who asks."""

    __slots__ = ("_compressed", "body", "extra", "status", "type")

    def __init__(
        self,
        type: str,
        body: bytes,
        status: HTTPStatus = HTTPStatus.OK,
        extra: Tuple[Tuple[str, str], ...] = (),
    ) -> None:
        self.type = type
        self.body = body
        self.status = status
        self.extra = extra
        self._compressed: Optional[bytes] = None

    def compressed(self) -> Optional[bytes]:
        """The body for clients that take gzip, ``None`` if that is not worth it.

        Two threads may make it at once, which costs time and nothing else.
        """
        if self._compressed is None and gzip is not None and len(self.body) >= GZIP_FROM:
            self._compressed = gzip.compress(self.body, 1)
        return self._compressed


class Kept:
    """Something that is costly to make, given again for a moment to whoever else asks."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        # Held while it is made, on purpose: who comes meanwhile waits and gets the same.  None of
        # those who are asked for the parts knows of us, so nobody waits for this lock in turn.
        self._lock = threading.Lock()
        # Guarded by _lock.
        self._made: Any = None
        self._until = float("-inf")

    def get(self) -> Any:
        """The last one, or a new one."""
        with self._lock:
            begun = time.monotonic()
            if self._made is None or begun >= self._until:
                self._made = self._make()
                now = time.monotonic()
                self._until = now + max(FRESH, SHARE * (now - begun))
            return self._made


# -- connections -----------------------------------------------------------------------------


class Client:
    """One connection.  Everything but the socket under the lock of ``Clients``."""

    __slots__ = ("deadline", "since", "sock", "state")

    def __init__(self, sock: socket.socket, now: float) -> None:
        self.sock = sock
        self.state = ASKING
        self.since = now
        """Since when it does that."""
        self.deadline = now + REQUEST_TIMEOUT


class Clients:
    """All connections: how many there are, what each does, and until when it may.

    Any thread may call any method.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        """At once; immutable."""
        self._clock = clock
        self._lock = threading.Condition()
        # Guarded by _lock.
        self._all: Dict[int, Client] = {}
        self._ended = False

    def enter(self, sock: socket.socket) -> Optional[Client]:
        """Let one in, and cut another one if there are too many; ``None``: no room."""
        client = Client(sock, self._clock())
        with self._lock:
            # Those who have been cut need a moment to go: longer on a busy machine, and whoever
            # comes meanwhile may be the one who asks.
            if not self._lock.wait_for(self._can_hold_one_more_locked, GOING) or self._ended:
                return None
            room = sum(1 for other in self._all.values() if other.state != CUT) < self.most
            if not room and not self._cut_locked(self._dispensable_locked()):
                return None
            self._all[id(client)] = client
            return client

    def _can_hold_one_more_locked(self) -> bool:
        return self._ended or len(self._all) < 2 * self.most

    def leave(self, client: Client) -> None:
        """Its thread is done with it."""
        with self._lock:
            self._all.pop(id(client), None)
            self._lock.notify_all()

    def now(self, client: Client, state: str, seconds: float) -> bool:
        """It does something else from now on, for so long at most; ``False`` if it has been cut."""
        with self._lock:
            if client.state == CUT:
                return False
            now = self._clock()
            if client.state != state:
                client.state = state
                client.since = now
            client.deadline = now + seconds
            return True

    def make_room(self) -> bool:
        """Cut the one that has been silent longest; whether there was one."""
        with self._lock:
            return self._cut_locked(self._dispensable_locked())

    def sweep(self) -> None:
        """Cut everyone who is over its deadline."""
        with self._lock:
            now = self._clock()
            for client in [one for one in self._all.values() if one.deadline < now]:
                self._cut_locked(client)

    def end(self, deadline: float) -> int:
        """Cut everyone, and wait for their threads until then; how many are left."""
        with self._lock:
            self._ended = True
            for client in list(self._all.values()):
                self._cut_locked(client)
            while self._all:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._lock.wait(left)
            return len(self._all)

    def count(self) -> int:
        """How many there are."""
        with self._lock:
            return len(self._all)

    def _dispensable_locked(self) -> Optional[Client]:
        """The silent one first, then who does not read its answer, then who listens to events."""
        now = self._clock()
        for state, patience in ((ASKING, 0.0), (ANSWERED, PATIENCE_WITH_THE_BUSY), (STREAMING, 0.0)):
            found = [
                client
                for client in self._all.values()
                if client.state == state and now - client.since >= patience
            ]
            if found:
                return min(found, key=lambda client: client.since)
        return None

    def _cut_locked(self, client: Optional[Client]) -> bool:
        """End its connection.  ``shutdown`` does not block."""
        if client is None:
            return False
        client.state = CUT
        client.deadline = float("inf")
        try:
            client.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it was quicker
        return True


class WebServer(Server):
    """Accepts clients; each gets a thread of the crew."""

    request_queue_size = 128

    def __init__(self, host: Optional[str], port: int, site: Site, crew: Crew) -> None:
        self.site = site
        self.host = "127.0.0.1" if host is None else host
        super().__init__(crew)
        self._swept_at = 0.0
        place = Address(self.host, port)
        try:
            found = socket.getaddrinfo(self.host, port, 0, socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            text = "--http %s: no such host (%s)" % (place, why(error))
            raise CannotStart(text) from error
        failed: Optional[OSError] = None
        for family, _, _, _, sockaddr in found:
            self.address_family = family
            try:
                self.bind_to((str(sockaddr[0]), port), _Handler)
                return
            except OSError as error:
                failed = failed or error
        assert failed is not None
        if failed.errno == errno.EADDRINUSE:
            text = "--http: port %d is taken (%s); choose another, or 0 for a free one" % (
                port,
                place,
            )
        else:
            text = "--http: cannot listen on %s: %s" % (place, why(failed))
        raise CannotStart(text) from failed

    def start(self) -> None:
        """Begin to accept, on a thread of the crew."""
        self.begin("http", BEAT)

    # -- what socketserver calls -------------------------------------------------------

    def server_bind(self) -> None:
        """Bind; on IPv6 take IPv4 too if it is for all addresses."""
        self.take_exclusively(accepts_ipv4=self.host == "::")
        super().server_bind()

    def service_actions(self) -> None:
        """After each connection and each beat of the accepting loop."""
        now = time.monotonic()
        if now - self._swept_at >= BEAT:
            self._swept_at = now
            self.site.clients.sweep()

    def get_request(self) -> Tuple[socket.socket, Any]:
        """Accept; out of descriptors, make room and wait a moment."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in OUT_OF_RESOURCES:
                self.site.clients.make_room()
                self._stopping.wait(ACCEPT_PAUSE)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start the connection's thread."""
        client = self.site.clients.enter(request)
        if client is None:
            self.shutdown_request(request)
            return
        self._accepted += 1
        try:
            self._crew.start("http-%d" % self._accepted, self._serve, client, client_address)
        except RuntimeError:  # no more threads to be had
            self.site.clients.leave(client)
            self.shutdown_request(request)
            self._stopping.wait(ACCEPT_PAUSE)

    def _serve(self, client: Client, client_address: Any) -> None:
        """The connection's thread."""
        try:
            _Handler(client, client_address, self)  # making it is all: __init__ runs the whole of it
        except OSError:
            pass  # it went away, or was cut
        except Exception:
            self._crew.report("answering %s" % (client_address,))
        finally:
            self.site.clients.leave(client)
            self.shutdown_request(client.sock)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what is our own bug; socketserver would print it on the user's terminal."""
        self._crew.report("answering %s" % (client_address,))


class HeadTooLong(Exception):
    """More than ``MAX_HEAD`` bytes, and the headers have not ended."""


class Head:
    """Reads request lines and headers, bounded, straight from the socket.

    What ``rfile`` is elsewhere; a request that is cut off by the end of the stream is none.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._held = b""
        self._room = MAX_HEAD

    def begin(self) -> None:
        """The next line is a request line."""
        self._room = MAX_HEAD

    def readline(self, limit: int = -1) -> bytes:
        """One line, with its end.  Raises ``ConnectionError`` if none comes any more."""
        while b"\n" not in self._held:
            if len(self._held) > self._room:
                raise HeadTooLong
            chunk = self._sock.recv(RECEIVE_BYTES)
            if not chunk:
                raise ConnectionAbortedError("the stream ended")
            self._held += chunk
        line, _, self._held = self._held.partition(b"\n")
        self._room -= len(line) + 1
        if self._room < 0:
            raise HeadTooLong
        return line + b"\n"


class _Handler(BaseHTTPRequestHandler):
    """One connection: requests are read, one after the other, and answered.

    Of the base class it has how a request is taken apart, and the loop around it.
    """

    protocol_version = "HTTP/1.1"
    # What has no version is answered as if it knew of headers.
    default_request_version = "HTTP/1.0"
    rfile: Head  # type: ignore[assignment]

    def __init__(self, client: Client, client_address: Any, server: WebServer) -> None:
        self._client = client
        self._site = server.site
        super().__init__(client.sock, client_address, server)

    def setup(self) -> None:
        self.connection = self._client.sock
        # Head and body go out in one piece, and pieces of events each at once.
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rfile = Head(self.connection)
        self.wfile = io.BytesIO()  # the base class writes nothing that we let it write
        self._timeout = REQUEST_TIMEOUT

    def finish(self) -> None:
        """Hear out a client that was told no while it still talks."""
        if not self._drain or not self._site.clients.now(self._client, ASKING, DRAIN_TIMEOUT):
            return
        self.connection.shutdown(socket.SHUT_WR)
        drained = 0
        while drained < MAX_DRAINED:
            chunk = self.connection.recv(RECEIVE_BYTES)
            if not chunk:
                return
            drained += len(chunk)

    _drain = False

    def handle_one_request(self) -> None:
        """Read one request, answer it, and decide whether there may be another."""
        self.close_connection = True
        self.command = ""
        self.request_version = self.default_request_version
        clients = self._site.clients
        if not clients.now(self._client, ASKING, self._timeout):
            return
        self._timeout = IDLE_TIMEOUT
        self.rfile.begin()
        try:
            line = self.rfile.readline()
            if line in (b"\r\n", b"\n"):  # RFC 9112 section 2.2: after a form, of old browsers
                line = self.rfile.readline()
            self.raw_requestline = line
            if len(line.split()) != 3:
                self.send_error(HTTPStatus.BAD_REQUEST)
                return
            if not self.parse_request():
                return  # it has been told
        except HeadTooLong:
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        if not clients.now(self._client, ANSWERED, ANSWER_TIMEOUT):
            return
        if self.headers.get("Transfer-Encoding") or self.headers.get("Content-Length", "0") != "0":
            self.close_connection = True  # we do not read bodies
            self._drain = True
        self._route()

    def _route(self) -> None:
        host, path = self._target()
        if host is None:
            self.send_error(HTTPStatus.BAD_REQUEST)
        elif host and not self._site.allows(host):
            self._answer(
                _text(
                    HTTPStatus.FORBIDDEN,
                    "This page is not served under the name %s.\n"
                    "Open it by IP address or as localhost, or start the node with --http NAME:PORT."
                    % printable(host, 100),
                )
            )
        elif self.command not in ("GET", "HEAD"):
            allow = (("Allow", "GET, HEAD"),)
            self._answer(_text(HTTPStatus.METHOD_NOT_ALLOWED, "Nothing can be changed here.", allow))
        elif path == "/events":
            self._stream()
        else:
            make = self._site.page(path)
            if make is None:
                self._answer(_text(HTTPStatus.NOT_FOUND, "There is no such page."))
            else:
                self._answer(make())

    def _target(self) -> Tuple[Optional[str], str]:
        """The host that is asked (``""`` if none is named, ``None`` if unsound), and the path."""
        named = self.headers.get_all("Host", [])
        if len(named) > 1 or (not named and self.request_version != "HTTP/1.0"):
            return None, ""
        # An empty one is a name like any other, that is not ours.
        host = (named[0].strip() or "(none)") if named else ""
        target = self.path
        absolute = re.match("(?i)https?://([^/?#]*)(.*)", target)
        if absolute is not None:  # as if we were a proxy; RFC 9112 section 3.2.2
            host, target = absolute.group(1) or "(none)", absolute.group(2) or "/"
        return host, re.split("[?#]", target, maxsplit=1)[0]

    # -- out ---------------------------------------------------------------------------

    def _answer(self, answer: Answer) -> None:
        body = answer.body
        extra = list(answer.extra)
        if len(body) >= GZIP_FROM:
            extra.append(("Vary", "Accept-Encoding"))
            # Named, and not with q=0, which would mean: anything but that (RFC 9110 section 12.4.2).
            if re.search(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", self._said("Accept-Encoding")):
                compressed = answer.compressed()
                if compressed is not None:
                    body = compressed
                    extra.append(("Content-Encoding", "gzip"))
        extra.append(("Content-Length", "%d" % len(body)))
        extra.append(("Connection", "close" if self.close_connection else "keep-alive"))
        head = self._head(answer.status, answer.type, extra)
        # What we made may have taken a while; what counts is how long the client takes.
        if self._site.clients.now(self._client, ANSWERED, ANSWER_TIMEOUT):
            self.connection.sendall(head if self.command == "HEAD" else head + body)

    def _stream(self) -> None:
        """Tell events until one of us goes."""
        self.close_connection = True
        head = self._head(HTTPStatus.OK, EVENT_STREAM, [("Connection", "close")])
        self.connection.sendall(head)
        if self.command == "HEAD":
            return
        self.connection.sendall(b"retry: 2000\n\n")  # milliseconds until a browser comes back
        clients, news = self._site.clients, self._site.news
        position = news.position(self._said("Last-Event-ID"))
        while clients.now(self._client, STREAMING, KEEP_ALIVE + ANSWER_TIMEOUT):
            found = news.after(position, KEEP_ALIVE)
            if found is None:
                return
            data, position = found
            if not clients.now(self._client, STREAMING, ANSWER_TIMEOUT):
                return
            self.connection.sendall(data or b": still here\n\n")

    def _said(self, header: str) -> str:
        return str(self.headers.get(header, ""))

    def _head(self, status: HTTPStatus, type: str, extra: List[Tuple[str, str]]) -> bytes:
        """The status line and the headers.  Nothing in them came from a peer or a client."""
        headers = [
            ("Server", "p2p_plain/" + __version__),
            ("Date", self.date_time_string()),
            ("Content-Type", type),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ]
        lines = ["HTTP/1.1 %d %s" % (status.value, status.phrase)]
        lines += ["%s: %s" % pair for pair in headers + extra]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")

    # -- what the base class calls -------------------------------------------------------

    def send_error(
        self, code: int, message: Optional[str] = None, explain: Optional[str] = None
    ) -> None:
        """Say what is wrong with a request that makes no sense, and close."""
        self.close_connection = True
        self._drain = True
        if not hasattr(self, "headers"):  # wrong before any had come
            self.headers = self.MessageClass()
        status = HTTPStatus(code)
        self._answer(_text(status, printable(message or status.phrase, 200)))

    def handle_expect_100(self) -> bool:
        """Say nothing: the answer does not depend on the body that would come."""
        return True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the base class would write a line to the user's terminal."""


def _text(status: HTTPStatus, text: str, extra: Tuple[Tuple[str, str], ...] = ()) -> Answer:
    body = text.encode("utf-8", "backslashreplace") + b"\n"
    return Answer(TEXT, body, status, extra)
