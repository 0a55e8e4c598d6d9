"""Our end of one connection with the node under test.  One thread at a time uses it."""

import json
import socket
import time
from typing import Any, Dict, Iterator, List, Optional

from .grammar import MAX_LINE, decode, encode, new_id
from .outcome import Broken, Skipped


class Peer:
    """One connection.  It answers pings while it reads, and sends nothing else by itself."""

    def __init__(
        self, sock: socket.socket, patience: float, network: str, nodeid: Optional[str] = None
    ) -> None:
        self.sock = sock
        self.patience = patience
        """Seconds that "at once" may take."""
        self.network = network
        self.nodeid = nodeid or new_id()
        self.answers_pings = True
        self.received: List[Dict[str, Any]] = []
        self.end = ""
        """How the connection ended; empty while it stands."""
        self._buffer = b""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    # -- sending ---------------------------------------------------------------------------------

    def send(self, msgtype: str, **fields: Any) -> None:
        """Send one message."""
        self.send_raw(encode(msgtype, **fields))

    def send_raw(self, data: bytes, within: Optional[float] = None) -> None:
        """Send bytes.  If the connection has ended, the next read finds out."""
        try:
            self.sock.settimeout(within or self.patience)
            self.sock.sendall(data)
        except OSError:
            pass

    def hello_line(self, **fields: Any) -> bytes:
        """Return our hello."""
        return encode("hello", **dict({"nodeid": self.nodeid, "network": self.network}, **fields))

    def send_hello(self, **fields: Any) -> None:
        """Send our hello."""
        self.send_raw(self.hello_line(**fields))

    def send_bye(self, reason: str) -> None:
        """Send ``bye``, nothing more, and wait for the node to close."""
        self.send("bye", reason=reason)
        self.half_close()
        self.expect_end()

    def half_close(self) -> None:
        """End our direction of the stream, and still read."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    # -- reading ---------------------------------------------------------------------------------

    def messages(self, seconds: float) -> Iterator[Dict[str, Any]]:
        """Yield what arrives within that time, until the connection ends."""
        deadline = time.monotonic() + seconds
        while True:
            while b"\n" in self._buffer:
                line, _, self._buffer = self._buffer.partition(b"\n")
                if len(line) >= MAX_LINE:
                    raise Broken("lines of at most %d bytes" % MAX_LINE, "%d bytes" % len(line))
                if line.strip():
                    message = decode(self.opened(line))
                    self.received.append(message)
                    if message["msgtype"] == "ping" and self.answers_pings:
                        self.send("pong")
                    yield message
            left = deadline - time.monotonic()
            if left <= 0 or self.end:
                return
            self.sock.settimeout(left)
            try:
                chunk = self.sock.recv(65536)
            except socket.timeout:
                return
            except OSError as error:
                self.end = "the connection broken off (%s)" % (error.strerror or error)
                return
            if not chunk:
                self.end = "the end"
            self._buffer += chunk

    def opened(self, line: bytes) -> bytes:
        """Return the message on a line of the node's; members have sealed it."""
        return line

    def read_for(self, seconds: float) -> List[Dict[str, Any]]:
        """Return what arrives within that time; less time if the connection ends."""
        return list(self.messages(seconds))

    def expect(self, msgtype: str, within: Optional[float] = None, **fields: Any) -> Dict[str, Any]:
        """Return the next message of that type and with those fields.

        Raises ``Broken`` if none arrives, and ``Skipped`` if the node says that it is full.
        """
        within = within or self.patience
        before = len(self.received)
        for message in self.messages(within):
            if message["msgtype"] == msgtype and fields.items() <= message.items():
                return message
            if message["msgtype"] == "bye" and message["reason"] == "full":
                raise Skipped("it is full: give it room for 32 peers")
        wanted = ", ".join("%s %s" % (name, json.dumps(value)) for name, value in fields.items())
        expected = "%s%s within %g s" % (msgtype, wanted and " with " + wanted, within)
        raise Broken(expected, self.story(before))

    def expect_end(self, within: Optional[float] = None) -> None:
        """Wait until the node closes.  Raises ``Broken`` if it does not."""
        within = within or self.patience
        before = len(self.received)
        self.read_for(within)
        if not self.end:
            raise Broken("the connection closed within %g s" % within, self.story(before))

    def expect_bye(self, reason: str, within: Optional[float] = None) -> Dict[str, Any]:
        """Return a ``bye`` with that reason, once the node has closed.  Raises ``Broken``."""
        within = within or self.patience
        before = len(self.received)
        for message in self.messages(within):
            if message["msgtype"] == "bye":
                if message["reason"] != reason:
                    break
                self.half_close()
                self.expect_end()
                return message
        raise Broken("bye %s within %g s" % (reason, within), self.story(before))

    # -- asking ----------------------------------------------------------------------------------

    def round_trip(self) -> None:
        """Ping, and wait for the pong: the node has dealt with all that we sent before."""
        self.send("ping")
        self.expect("pong")

    def ask_addresses(self) -> List[Any]:
        """Return the node's answer to ``getaddr``."""
        self.send("getaddr")
        found: List[Any] = self.expect("addr")["peers"]
        return found

    def ask_rows(self) -> List[Dict[str, Any]]:
        """Return the node's answer to ``getlinks``, without the line that ends it."""
        self.send("getlinks")
        found = [self.expect("links")]
        while not found[-1].get("end"):
            found.append(self.expect("links"))
        return found[:-1]

    # -- what was heard --------------------------------------------------------------------------

    def count(self, msgtype: str, **fields: Any) -> int:
        """Return how many messages of that type and with those fields have arrived."""
        wanted = dict(fields, msgtype=msgtype).items()
        return sum(wanted <= message.items() for message in self.received)

    def story(self, since: int = 0) -> str:
        """Return what has arrived since then, in words."""
        came = []
        for message in self.received[since:]:
            detail = message.get("detail")
            words = [message["msgtype"], message.get("reason", ""), detail and "(%s)" % detail]
            came.append(ascii(" ".join(filter(None, words)))[1:-1])
        if len(came) > 8:
            came[3:-4] = ["..."]
        return ", ".join(came + [self.end or ("then nothing" if came else "nothing")])
