"""One connection to any node, to ask it things: who it is, how long a ping takes, every row it has.

What ``ping``, ``matrix``, ``check`` and ``watch`` are made of.  A client is a *guest*: it says hello
as a probe does, so that it becomes nobody's peer and shows up in nobody's matrix, and stays to ask.

Everything blocks, and everything has a deadline for the whole of it, however slowly the bytes
drip.  Whatever the other end does comes out as one of three errors, all of them ``P2PError``:

* ``DialFailed``: nothing useful answered; its ``outcome`` is the word;
* ``PeerLeft``: the node said ``bye``, and why; ``OtherNetwork`` if it belongs to another one;
* ``PeerMisbehaved``: what answered does not speak this protocol.

After any of them the connection is closed: a pong that comes too late could be taken for the
next one's.  ``in_words`` says what happened to a person.

One thread at a time; ``cut`` may be called by any.
"""

import random
import socket
import time
from threading import Event
from typing import Any, Dict, List, Optional

from .. import __version__
from ..common.address import Address, from_sockaddr
from ..common.config import MAX_FIRST_LINE, MAX_LINE, MAX_ROWS
from ..common.errors import DialFailed, P2PError, PeerLeft, PeerMisbehaved, why
from ..common.outcomes import IN_WORDS, REFUSED, RESET, TIMEOUT, UNKNOWN, UNREACHABLE, explain
from ..node import messages
from ..node.codec import LineSplitter, printable
from ..node.connector import dial
from ..node.messages import LINK_FIELDS, AnyMessage, Bye, Hello, Links, Ping, Pong, new_uuid
from ..node.transport import Transport

REQUEST_TIMEOUT = 5.0
"""Seconds for connect and hello together, and for each request, unless told otherwise."""

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes taken in for one request.  A hundred nodes that know each other take 3 MB; as many rows as
a node keeps, each as long as a line can be, take half of this."""


class OtherNetwork(PeerLeft):
    """The node belongs to another network than the one that was asked for."""

    def __init__(self, theirs: str) -> None:
        super().__init__("network", "its network is %r" % theirs)
        self.theirs = theirs


class Client:
    """A connection on which hello has been said both ways.  Use it with ``with``.

    ``timeout`` in seconds is for the connect and the hello together, and again for each request.
    Setting ``stopping`` (any thread) gives up a connect that is under way.
    """

    def __init__(
        self,
        address: Address,
        network: str = "",
        timeout: float = REQUEST_TIMEOUT,
        name: str = "client",
        stopping: Optional[Event] = None,
    ) -> None:
        """Connect and greet.  Raises ``DialFailed``, ``PeerLeft`` or ``PeerMisbehaved``."""
        self.address = address
        self.timeout = timeout
        self._lines = LineSplitter(MAX_FIRST_LINE)
        self._waiting: List[bytes] = []
        """Lines that have come and have not been looked at, the first one last."""
        self._room = MAX_ANSWER
        self.stale_after: Optional[float] = None
        """Seconds after which a row says nothing about now, as the node told with its last rows."""
        self.closed = False
        deadline = time.monotonic() + timeout
        sock, self.connect_seconds = dial(address, timeout, stopping)
        try:
            self.remote = from_sockaddr(sock.getpeername())
            self._transport = Transport(sock)
        except OSError as error:
            sock.close()
            raise DialFailed(RESET, why(error)) from error
        try:
            self.hello = self._greet(network, name, deadline)
        except BaseException:
            self.close()
            raise
        self._lines.limit = MAX_LINE

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up.  May be called twice."""
        if not self.closed:
            self.closed = True
            self._transport.cut()
            self._transport.close()

    def cut(self) -> None:
        """Make a request that is under way fail at once.  Any thread."""
        self._transport.cut()

    # -- requests ---------------------------------------------------------------------

    def ping(self, timeout: Optional[float] = None) -> float:
        """Seconds from our ping to its pong."""
        deadline = self._begin(timeout)
        try:
            began = time.perf_counter()
            self._send(messages.PING, deadline)
            while not isinstance(self._next(deadline, "pong"), Pong):
                pass
            return time.perf_counter() - began
        except BaseException:
            self.close()
            raise

    def rows(self, timeout: Optional[float] = None) -> List[Links]:
        """Every row of the matrix that the node has, its own first; at most one of each node."""
        deadline = self._begin(timeout)
        try:
            self._send(messages.GETLINKS, deadline)
            found: Dict[str, Links] = {}
            while True:
                message = self._next(deadline, "answer to getlinks")
                if not isinstance(message, Links):
                    continue
                if message.end:
                    self.stale_after = message.stale_after
                    return list(found.values())
                if len(found) > MAX_ROWS:  # those that it keeps, and its own
                    raise PeerMisbehaved("more than %d rows" % MAX_ROWS)
                found.setdefault(message.nodeid, _lean(message))
        except BaseException:
            self.close()
            raise

    # -- inside -------------------------------------------------------------------------

    def _begin(self, timeout: Optional[float]) -> float:
        """The deadline of a request that begins now."""
        if self.closed:
            raise DialFailed(RESET, "the connection is closed")
        self._room = MAX_ANSWER
        return time.monotonic() + (self.timeout if timeout is None else timeout)

    def _greet(self, network: str, name: str, deadline: float) -> Hello:
        ours = Hello(
            nodeid=new_uuid(random.SystemRandom()),
            name=name,
            network=network,
            agent="p2p_plain/" + __version__,
            probe=True,
        )
        self._send(messages.encode_hello(ours), deadline)
        theirs = self._next(deadline, "hello")
        if not isinstance(theirs, Hello):
            raise PeerMisbehaved("the first message was %s, not hello" % type(theirs).__name__.lower())
        if theirs.nodeid == ours.nodeid:  # new and random: nobody else has it
            raise PeerMisbehaved("it sends back what it is sent")
        # It may leave it to us to see that; and if it says bye for it, we know already why.
        if theirs.network != network:
            raise OtherNetwork(theirs.network)
        return theirs

    def _send(self, line: bytes, deadline: float) -> None:
        try:
            while line:
                line = line[self._transport.send(line) :]
                left = deadline - time.monotonic()
                if line and (left <= 0 or not self._transport.wait(False, True, left)[1]):
                    raise DialFailed(TIMEOUT, "it does not read what it is sent")
        except OSError:
            # Broken.  Its last words may still be there to read, and say more.
            pass

    def _next(self, deadline: float, wanted: str) -> AnyMessage:
        """The next message; pings are answered, and a ``bye`` is raised."""
        while True:
            while not self._waiting:
                self._receive(deadline, wanted)
            line = self._waiting.pop()
            if not line:
                continue
            try:
                message = messages.parse(line)
            except PeerMisbehaved:
                if wanted != "hello" or line.startswith(b"{"):
                    raise
                # The banner of an SSH server, the answer of a web server: it says what it is.
                said = printable(line.decode("utf-8", "backslashreplace"), 60)
                raise PeerMisbehaved("it says %s" % said) from None
            if isinstance(message, Bye):
                raise PeerLeft(message.reason, message.detail)
            if isinstance(message, Ping):
                self._send(messages.PONG, deadline)
                continue
            if isinstance(message, Hello) and wanted != "hello":
                raise PeerMisbehaved("a second hello")
            return message

    def _receive(self, deadline: float, wanted: str) -> None:
        left = deadline - time.monotonic()
        try:
            if left <= 0:
                raise socket.timeout
            chunk = self._transport.receive(left)
        except socket.timeout:
            raise DialFailed(TIMEOUT, "no %s in time" % wanted) from None
        except OSError as error:
            raise DialFailed(RESET, "broken off before the %s" % wanted) from error
        if not chunk:
            self._lines.end()
            raise DialFailed(RESET, "closed before the %s" % wanted)
        self._room -= len(chunk)
        if self._room < 0:
            raise PeerMisbehaved("more than %d bytes for one answer" % MAX_ANSWER)
        self._waiting = self._lines.feed(chunk)[::-1]


def _lean(row: Links) -> Links:
    """The same without what we do not know: what else may be in it has no bound in memory."""
    links: List[Dict[str, Any]] = [
        {field: link[field] for field in LINK_FIELDS if field in link} for link in row.links
    ]
    return Links(row.nodeid, tuple(links), row.name, row.age, row.lag_ms)


_REASONS = {
    "stopping": "the node is stopping",
    "full": "the node is full",
    "unauthorised": "the node does not let us in",
    "timeout": "the node lost its patience with us",
    "protocol": "the node says that we broke a rule",
}


def in_words(error: P2PError) -> str:
    """What went wrong with a client, in one line without anything that plays with a terminal."""
    if isinstance(error, OtherNetwork):
        if not error.theirs:
            return "the node belongs to no named network; leave --network out"
        quoted = "'%s'" % error.theirs.replace("'", "'\\''")  # for a shell
        return "the node belongs to another network; try --network %s" % printable(quoted)
    if isinstance(error, DialFailed):
        if error.outcome == "self":
            return "it leads to nobody but ourselves"
        if error.outcome in (REFUSED, UNREACHABLE):
            return explain(error.outcome)
        said = "cannot be dialed" if error.outcome == UNKNOWN else IN_WORDS[error.outcome]
        if not error.detail:
            return said
    elif isinstance(error, PeerLeft):
        said = _REASONS.get(error.reason, "the node said bye: %s" % error.reason)
        if not error.detail:
            return printable(said)
    elif isinstance(error, PeerMisbehaved):
        said = "whoever answers there is no node"
    else:
        said = "failed"
    return printable("%s: %s" % (said, str(error)))
