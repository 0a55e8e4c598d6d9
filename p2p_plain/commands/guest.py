"""One connection to any node, to ask it things: who it is, how long a ping takes, every row it has.

``ping``, ``matrix``, ``check`` and ``watch`` are made of it.  A guest says hello as a probe does, so
it becomes no peer and appears in no matrix; then it stays to ask.

Every call blocks, with one deadline for all of it, however slowly bytes arrive.  A failure is one of
four errors, all of them ``P2PError``:

* ``DialFailed``: there was no useful answer; ``outcome`` says what became of the dial;
* ``PeerLeft``: the node said ``bye``, and why; ``OtherNetwork`` if it belongs to another network;
* ``PeerMisbehaved``: the program that answered does not speak this protocol;
* ``Unauthorised``: it does not have the secret that we have, or does not accept ours.

After any of them the connection is closed, because a late pong could be taken for the answer to the
next ping.  ``in_words`` describes the error to a person.

One thread at a time.
"""

import random
import socket
import time
from contextlib import contextmanager
from threading import Event

from .. import __version__
from ..common.address import Address, from_sockaddr
from ..common.errors import DialFailed, P2PError, PeerLeft, PeerMisbehaved, Unauthorised, why
from ..common.escape import printable
from ..common.outcomes import (
    ECHO, HANGS, IN_WORDS, NO_KEY, NOT_ACCEPTED, REFUSED, RESET, TIMEOUT, UNKNOWN, UNKNOWN_KEY, UNREACHABLE,
    WRONG_KEY, explain,
)
from ..common.typing import TYPE_CHECKING, Dict, Iterator, List, NamedTuple, Optional
from ..monitor.row_messages import GETLINKS, Links
from ..monitor.rows import MAX_ROWS, STALE_AFTER_INTERVALS
from ..node import messages
from ..node.codec import MAX_FIRST_LINE, MAX_LINE, LineSplitter
from ..node.connector import dial
from ..node.messages import AnyMessage, Bye, Hello, Ping, Pong, new_uuid
from ..node.round_trips import RoundTrip, between, this_moment
from ..node.tcp_info import TcpInfo
from ..node.transport import Transport

if TYPE_CHECKING:
    from ..node.handshake import Handshake, Secret
    from ..node.seal import Seal

REQUEST_TIMEOUT = 5.0
"""Seconds for connect and hello together, and for each request, unless the caller says otherwise."""

STALE_AFTER = STALE_AFTER_INTERVALS * 60.0
"""Seconds after which a row is too old, for a node that does not say: the default ping interval's."""

MAX_ANSWER = 32 * 1024 * 1024
"""Most bytes received for one request.  A hundred nodes that know each other send 3 MB, 256 of them with
the longest rows 16."""

ROWS = "answer to getlinks"

NO_MATRIX = "; perhaps it keeps no matrix (p2p_plain.node and the lessons do not): ask another node"
"""Why a node may send no row at all, although it answers ``ping``."""


class OtherNetwork(PeerLeft):
    """The node belongs to another network than the guest."""

    def __init__(self, theirs: str) -> None:
        super().__init__("network", "its network is %r" % theirs)
        self.theirs = theirs


class Guest:
    """A connection on which both ends have said hello.  Use it with ``with``.

    ``timeout``, in seconds, is for connect and hello together, and again for each request.  Setting
    ``stopping`` (any thread) ends a connect that is under way.
    """

    def __init__(
        self,
        address: Address,
        network: str = "",
        timeout: float = REQUEST_TIMEOUT,
        name: str = "guest",
        stopping: Optional[Event] = None,
        secret: "Optional[Secret]" = None,
    ) -> None:
        """Connect and greet.  Raises ``DialFailed``, ``PeerLeft`` or ``Refused``."""
        self.address = address
        self.timeout = timeout
        self._lines = LineSplitter(MAX_FIRST_LINE)
        self._sealing: Optional[Seal] = None
        self._opening: Optional[Seal] = None
        """The seals of both directions, where the network is for members only."""
        self._waiting: List[bytes] = []
        """Lines received and not yet parsed, the first one last."""
        self._room = MAX_ANSWER
        self.stale_after = STALE_AFTER
        """Seconds after which a row is too old, as the node said with its last rows."""
        self.closed = False
        self.segments: Optional[TcpInfo] = None
        """Once it is closed: the kernel's counts, if it has any."""
        deadline = time.monotonic() + timeout
        sock, self.connect_seconds = dial(address, timeout, stopping)
        try:
            self.remote = from_sockaddr(sock.getpeername())
            self._transport = Transport(sock)
        except OSError as error:
            sock.close()
            raise DialFailed(RESET, why(error)) from error
        try:
            nodeid = new_uuid(random.SystemRandom())
            if secret is not None:
                self._authenticate(secret.handshake(nodeid, None, self.remote), deadline)
            self.hello = self._greet(nodeid, network, name, deadline)
        except BaseException:
            self.close()
            raise
        self._lines.limit += MAX_LINE - MAX_FIRST_LINE

    def __enter__(self) -> "Guest":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection.  May be called twice."""
        if not self.closed:
            self.closed = True
            self.segments = self._transport.tcp_info()
            self._transport.cut()
            self._transport.close()

    # -- requests ---------------------------------------------------------------------

    def ping(self, timeout: Optional[float] = None) -> RoundTrip:
        """Return the round trip of our ping, as exactly as both ends' systems know it."""
        with self._request(timeout) as deadline:
            sent = this_moment()
            self._send(messages.TIMED_PING, deadline)
            while True:
                message = self._next(deadline, "pong")
                if isinstance(message, Pong):
                    seen = this_moment()
                    # The kernel's stamp is that of the last line.
                    last = not self._waiting and not self._lines.held
                    return between(sent, self._transport.arrived if last else None, seen, message.held)

    def rows(self, timeout: Optional[float] = None) -> List[Links]:
        """Return every row that the node has, its own first; at most one for each node."""
        found: Dict[str, Links] = {}
        with self._request(timeout) as deadline:
            self._send(GETLINKS, deadline)
            while True:
                message = self._next(deadline, "rest of the rows" if found else ROWS)
                if not isinstance(message, Links):
                    continue
                if message.end:
                    self.stale_after = message.stale_after or STALE_AFTER
                    return list(found.values())
                if len(found) > MAX_ROWS:  # those that it keeps, and its own
                    raise PeerMisbehaved("more than %d rows" % MAX_ROWS)
                found.setdefault(message.nodeid, message._replace(line=b""))

    # -- inside -------------------------------------------------------------------------

    @contextmanager
    def _request(self, timeout: Optional[float]) -> Iterator[float]:
        """Give the deadline of a request that begins now.  Close the connection if it fails."""
        if self.closed:
            raise DialFailed(RESET, "the connection is closed")
        self._room = MAX_ANSWER
        try:
            yield time.monotonic() + (self.timeout if timeout is None else timeout)
        except BaseException:
            self.close()
            raise

    def _authenticate(self, handshake: "Handshake", deadline: float) -> None:
        """Show the node that we are a member, and have it do the same."""
        self._send(handshake.begin(), deadline)
        while handshake.opening is None:
            try:
                self._send(handshake.receive(self._next_line(deadline, "hello")), deadline)
            except PeerLeft as left:
                if handshake.why:
                    raise Unauthorised(handshake.why, left.detail) from None
                raise
        self._sealing, self._opening = handshake.sealing, handshake.opening
        self._lines.limit += handshake.opening.added_bytes

    def _greet(self, nodeid: str, network: str, name: str, deadline: float) -> Hello:
        ours = Hello(
            nodeid=nodeid,
            name=name,
            network=network,
            agent="p2p_plain/" + __version__,
            probe=True,
        )
        self._send(messages.encode_hello(ours), deadline)
        theirs = self._next(deadline, "hello")
        if not isinstance(theirs, Hello):
            raise PeerMisbehaved("the first message was %s, not hello" % type(theirs).__name__.lower())
        if theirs.members_only:
            raise PeerLeft("unauthorised")
        if theirs.nodeid == ours.nodeid:  # new and random: nobody else has it
            raise PeerMisbehaved("it sends back what it is sent")
        # Checked first: a node that refuses us for this says bye, which would say less.
        if theirs.network != network:
            raise OtherNetwork(theirs.network)
        return theirs

    def _send(self, line: bytes, deadline: float) -> None:
        if self._sealing is not None:
            line = self._sealing.seal(line)
        try:
            while line:
                line = line[self._transport.send(line) :]
                left = deadline - time.monotonic()
                if line and (left <= 0 or not self._transport.wait(False, True, left)[1]):
                    raise DialFailed(TIMEOUT, "it does not read what it is sent")
        except OSError:
            # Broken.  Its last words may still be readable, and they say more.
            pass

    def _next(self, deadline: float, wanted: str) -> AnyMessage:
        """Return the next message.  Answers pings, and raises a ``bye``."""
        while True:
            line = self._next_line(deadline, wanted)
            if self._opening is not None:
                line = self._opening.open(line)
            if not line:
                continue
            try:
                message = messages.parse(line)
            except PeerMisbehaved:
                if wanted != "hello" or line.startswith(b"{"):
                    raise
                # The banner of an SSH server or the answer of a web server: show what it is.
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

    def _next_line(self, deadline: float, wanted: str) -> bytes:
        """Return the next line as it came."""
        while not self._waiting:
            self._receive(deadline, wanted)
        return self._waiting.pop()

    def _receive(self, deadline: float, wanted: str) -> None:
        left = deadline - time.monotonic()
        try:
            if left <= 0:
                raise socket.timeout
            chunk = self._transport.receive(left)
        except socket.timeout:
            hint = NO_MATRIX if wanted == ROWS else ""
            hangs = HANGS if wanted == "hello" and self._room == MAX_ANSWER else ""
            raise DialFailed(TIMEOUT, "no %s in time%s" % (wanted, hint), hangs) from None
        except OSError as error:
            raise DialFailed(RESET, "broken off before the %s" % wanted) from error
        if not chunk:
            raise DialFailed(RESET, "closed before the %s" % wanted)
        self._room -= len(chunk)
        if self._room < 0:
            raise PeerMisbehaved("more than %d bytes for one answer" % MAX_ANSWER)
        self._waiting = self._lines.feed(chunk)[::-1]


class Snapshot(NamedTuple):
    """What a node knew when it was asked: its hello, and every row that it has."""

    hello: Hello
    rows: List[Links]
    stale_after: float = STALE_AFTER
    """Seconds after which a row is too old."""


class Asker:
    """Asks one node for its rows, again and again, and connects anew when it must.

    ``watch`` has one on a thread of its own; there, setting ``stopping`` ends a connect.
    """

    def __init__(
        self,
        address: Address,
        network: str,
        name: str,
        stopping: Optional[Event] = None,
        secret: "Optional[Secret]" = None,
    ) -> None:
        self._secret = secret
        self._address = address
        self._network = network
        self._name = name
        self._stopping = stopping
        self._guest: Optional[Guest] = None

    def ask(self, timeout: float = REQUEST_TIMEOUT) -> Snapshot:
        """Return all that the node has.  Raises what ``Guest`` raises."""
        guest = self._guest
        if guest is not None and not guest.closed:
            try:
                return self._ask(guest, timeout)
            except PeerLeft:
                pass  # a guest makes room for newcomers, and may come again
            except DialFailed as failure:
                if failure.outcome != RESET:
                    raise
        self._guest = Guest(
            self._address, self._network, timeout, self._name, self._stopping, self._secret
        )
        return self._ask(self._guest, timeout)

    def _ask(self, guest: Guest, timeout: float) -> Snapshot:
        rows = guest.rows(timeout)
        return Snapshot(guest.hello, rows, guest.stale_after)

    def close(self) -> None:
        """Close the connection."""
        if self._guest is not None:
            self._guest.close()


_REASONS = {
    "stopping": "the node is stopping",
    "full": "the node is full",
    "unauthorised": "this network needs a secret; give --secret-file",
    "timeout": "the node dropped us: it waited too long",
    "protocol": "the node says that we broke a rule of the wire",
}


_NO_MEMBER = {
    NO_KEY: "the node has no secret; leave --secret-file out, or give it one",
    UNKNOWN_KEY: "the node has another secret than the one in --secret-file",
    WRONG_KEY: "the node's proof of the secret is wrong",
    NOT_ACCEPTED: "the node does not accept the secret in --secret-file",
    ECHO: "what answers there is not a node: it sends back what it is sent",
}


def in_words(error: P2PError) -> str:
    """Return what went wrong with a guest in one line that is safe to print."""
    if isinstance(error, OtherNetwork):
        if not error.theirs:
            return "the node belongs to no named network; leave --network out"
        quoted = "'%s'" % error.theirs.replace("'", "'\\''")  # for a shell
        return "the node belongs to another network; try --network %s" % printable(quoted)
    if isinstance(error, Unauthorised):
        return _NO_MEMBER[error.why]
    if isinstance(error, DialFailed):
        if error.outcome in (REFUSED, UNREACHABLE):  # the system's own words say less
            return explain(error.outcome, error.why)
        said = "cannot be dialed" if error.outcome == UNKNOWN else IN_WORDS[error.outcome]
        detail = error.detail
    elif isinstance(error, PeerLeft):
        said, detail = _REASONS.get(error.reason, "the node said bye"), error.detail
        if error.reason not in _REASONS:
            said += ": " + error.reason
    else:
        said, detail = "what answers there is not a node", str(error)
    return printable(": ".join(filter(None, (said, detail))))
