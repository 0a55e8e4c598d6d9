"""A connection as the rules see it (``Link``), and the node at its other end (``Peer``).

``session.Session`` is the link over a real socket.  The simulated networks of the tests have links
of their own, so the rules speak of a ``Link`` only.
"""

from ..common.address import Address
from ..common.typing import TYPE_CHECKING, Callable, NamedTuple, Optional, Sequence, Tuple
from .messages import TIMED_PING, Hello
from .pace import Pace
from .round_trips import RoundTrip, RoundTrips

if TYPE_CHECKING:
    from .handshake import FirstHello
    from .tcp_info import TcpInfo

INBOUND = "inbound"
OUTBOUND = "outbound"

# The life of a link.  From each state it may also lead straight to OVER.
GREETING = "greeting"  # waiting for the other end's hello      -hello-> ADMITTED, RIVAL, GUEST or ASKING
ADMITTED = "admitted"  # hellos exchanged, the welcome is missing      -welcome-> UP
RIVAL = "rival"  # another connection has the seat of its nodeid (``rivals``)
UP = "up"  # a peer, and announced as one            (UP and ADMITTED) -lost a tie-> SUPERSEDED
SUPERSEDED = "superseded"  # the end that dialed the winner will close it
GUEST = "guest"  # its hello said ``probe``: it wants our hello, or stays to ask      -join-> ADMITTED
ASKING = "asking"  # our probe has found the node, and asks it more (``Link.questions``)
OVER = "over"  # ended: nothing more is sent or received

HANDSHAKE_TIMEOUT = 10.0
"""Seconds for the handshake, however slowly its bytes drip.  It lasts until the welcome for the end
that dials, until hello for the end that accepts (after that the ping timeout watches).  With a timeout
for each read, one byte every nine seconds would hold a thread for half a day (slowloris)."""

GUEST_TIMEOUT = 60.0
"""Seconds for which a guest may be silent."""


class Order(NamedTuple):
    """An address to dial, and why."""

    address: Address
    probe: bool = False
    """True to see only which node answers, and not to become its peer."""
    wanted: Optional[str] = None
    """The nodeid that should be found there, if that is known."""
    mss: Optional[int] = None
    """Most bytes in a segment, both ways, where larger packets are lost; ``None`` for no limit."""
    timeout: Optional[float] = None
    """Seconds for the connect, and for both hellos after it; ``None`` for the usual ones."""
    hearsay: bool = False
    """True if nobody but another node says that a node is there: it may be anything."""


class Questions:
    """What a probe asks the node that it has found before it closes.  Override all methods.

    Each asks with the lines that it returns; ``None`` means that nothing is left to ask.  Reader thread
    of the link only.  ``now`` is seconds of the node's clock.
    """

    deadline = 0.0
    """When ``unanswered`` is called instead of ``answered``; on the node's clock."""

    def begin(self, link: "Link", now: float) -> Optional[Sequence[bytes]]:
        """Begin: the other end has said hello."""
        return None

    def answered(self, link: "Link", now: float) -> Optional[Sequence[bytes]]:
        """Go on: a pong has come."""
        return None

    def unanswered(self, link: "Link", now: float) -> Optional[Sequence[bytes]]:
        """Go on: no pong has come before the deadline."""
        return None

    def over(self, link: "Link", now: float) -> None:
        """The connection is over, whether all was asked or not.  The socket is still open."""


class Link:
    """One connection.  Each group of fields says which thread may touch it."""

    def __init__(
        self,
        remote: Address,
        order: Optional[Order] = None,
        connect_seconds: Optional[float] = None,
    ) -> None:
        # Immutable.
        self.remote = remote
        """The other end of the socket.  Its port is where it listens only if we dialed it."""
        self.order = order
        """What we dialed, and why; ``None`` if the other end dialed us."""
        self.target = None if order is None else order.address
        """The address that we dialed; it may hold a name."""
        self.is_our_probe = order is not None and order.probe
        self.is_discreet = order is not None and (order.probe or order.hearsay)
        """True if the other end may be a stranger.  Then our hello leaves out our name and network."""
        self.connect_seconds = connect_seconds
        """The time that the TCP connect took, if we dialed."""
        # The link's reader thread only.
        self.token: Optional[str] = None
        """The token in our hello, if we dialed."""
        self.first: Optional[FirstHello] = None
        """What the other end said before it proved to be a member; ``None`` in a network without a secret."""
        self.unlisted = False
        """True if the end that accepted does not know the address that was dialed as its own."""
        self.heard_token: Optional[str] = None
        """The token in the other end's hello, if that dialed."""
        self.heard = False
        """True once a byte has come from the other end."""
        self.began_to_greet = False
        """True once the other end has said the first hello of a member, which proves nothing yet."""
        self.why = ""
        """A key of ``outcomes.WHYS``, if the rules know why our dial has led to no node."""
        self.dial_again = False
        """True if our dial has proven the address, and the next one will say who we are."""
        # Written by the link's reader thread, and by PeerTable: announce() for a peer that is
        # up, admit() for one that has lost a tie.
        self.state = GREETING
        self.peer: Optional[Peer] = None
        self.questions: Optional[Questions] = None
        """What our probe asks, while its state is ``ASKING``."""
        self.found_nodeid: Optional[str] = None
        """The nodeid of the hello that answered our dial."""
        self.elsewhere = False
        """True if our dial has found the nodeid of a peer, and nothing else says that this is there."""
        self.said_bye = False
        """True once the other end has said ``bye``."""
        self.unread_until = float("-inf")
        """When we read the link again that we leave unread on purpose, on ``Lateness.awake_clock``."""
        self.heard_at = float("-inf")
        """When the last message but ``bye`` arrived.  Written by the link's reader thread."""
        self.line_at = float("-inf")
        """When a whole line last arrived, on ``Lateness.awake_clock``.  Written by the same thread."""

    @property
    def direction(self) -> str:
        """``outbound`` if we dialed, else ``inbound``."""
        return INBOUND if self.target is None else OUTBOUND

    def tcp_info(self) -> "Optional[TcpInfo]":
        """Return the kernel's counts of this connection, if it has any.  Reader and pinger threads."""
        return None

    def local(self) -> Address:
        """Return our end of the socket.  Reader thread only; raises ``OSError``."""
        raise NotImplementedError

    def seal_bytes(self) -> int:
        """Return the bytes that are added to each line on its way."""
        return 0

    def send(self, line: bytes, urgent: bool = False) -> bool:
        """Send one encoded line, or several.  Never blocks.  Any thread.

        False if the link is ending or broken, or if too much waits to be sent.  That last is no
        reason to drop an ``urgent`` line: one that keeps the connection alive and is bounded by its
        nature (one ping at a time, answers to what was read).
        """
        raise NotImplementedError

    def ask(self, line: bytes, size: int) -> bool:
        """Send a question whose answer, registered messages of up to ``size`` bytes, is read at full speed.

        Any thread.
        """
        return self.send(line)

    def behind(self) -> int:
        """Return how many bytes wait to be sent.  Any thread."""
        return 0

    def ping(self) -> None:
        """Send a ping whose round trip is to be measured as exactly as possible.  Pinger thread only."""
        self.send(TIMED_PING, urgent=True)

    def held(self) -> Optional[float]:
        """Return the seconds since the line that is answered arrived, if known.  Reader thread only."""
        return None

    def round_trip(self, held: Optional[float]) -> Optional[RoundTrip]:
        """Return the round trip that the pong just received ends, if this link has measured it itself.

        ``held`` is the seconds that the pong says.  Reader thread only.
        """
        return None

    def hold(self, line: bytes) -> None:
        """Send one encoded line, together with the next one if that is better.  Never blocks."""
        self.send(line, urgent=True)

    def end_with_reset(self) -> None:
        """Have the kernel forget this connection when it is closed.  Any thread.

        Otherwise it tries for a minute to deliver what does not get through.
        """

    def close(self, reason: str, detail: str = "") -> None:
        """Say ``bye`` and end the connection.  Never blocks.  Any thread."""
        raise NotImplementedError


def claimed_by(link: Link, hello: Hello) -> Optional[Address]:
    """Return where the node at the other end says that it listens; ``None`` if it does not.

    That is the address that we dialed, as a number, or the port of its hello on the host that it
    connects from.
    """
    if link.target is not None:
        return link.remote
    return None if hello.port is None else Address(link.remote.host, hello.port)


class Peer:
    """A node at the other end of a link."""

    def __init__(
        self,
        link: Link,
        hello: Hello,
        now: float,
        max_rate: float = 0.0,
        is_known: Callable[[Address], bool] = lambda address: False,
    ) -> None:
        """``max_rate`` is how many messages a second the node reads; 0 means no limit.

        ``is_known`` is true for addresses that our user gave, and where a node has been found.
        """
        # Immutable.
        self.link = link
        self.pace = Pace(max_rate, now)
        """How fast broadcasts go to it; has its own lock."""
        self.hello = hello
        self.nodeid = hello.nodeid
        self.greeted_at = now
        self.claimed = claimed_by(link, hello)
        """Where the node says that it listens: see ``claimed_by``."""
        self.address = self.claimed or link.remote
        """The address that people are shown."""
        self.known = self.claimed is not None and is_known(self.claimed)
        """True if our user gave its address, or a node had been found there, before it connected."""
        # Tuples, so that other threads can read what one thread replaces.
        self.homes: Tuple[Address, ...] = () if self.claimed is None else (self.claimed,)
        """Where it says itself that it is, on this connection.  Written by the link's reader thread."""
        self.also_at: Tuple[Address, ...] = () if link.target is None else (link.target,)
        """Where our dials have found it, too, as it has confirmed.  Written by ``rivals``."""
        # Guarded by the table's lock.
        self.up = False
        self.advertised = False
        """True once its proven address has been advertised to other peers."""
        self.ping_sent_at: Optional[float] = None
        """When the ping went out that has not been answered yet."""
        self.ping_expires_at = 0.0
        """When that ping times out, on ``Lateness.awake_clock``."""
        self.next_ping_at = now
        self.ping_every = float("inf")
        """Most seconds from one ping to the next, where that is less than the node's interval."""
        self.last_pong_at: Optional[float] = None
        self.round_trips = RoundTrips()

    def is_at(self, address: Address) -> bool:
        """True if this very node is known to be at ``address``, or on that host."""
        return (
            address.host == self.link.remote.host or address in self.homes or address in self.also_at
        )

    @property
    def name(self) -> str:
        """The peer's label; empty if it gave none."""
        return self.hello.name or ""


class PeerInfo(NamedTuple):
    """A copy of what is known of one peer, for the library's users.

    Round trips are in milliseconds, ``None`` before there are any.  ``rtt_ms`` is the last one.
    The median, the maximum and the jitter (the mean difference from one to the next) are over the
    last 120, without those measured while this node itself ran late; the median needs three.
    """

    nodeid: str
    name: str
    address: str
    direction: str
    rtt_ms: Optional[float]
    rtt_p50_ms: Optional[float]
    rtt_max_ms: Optional[float]
    jitter_ms: Optional[float]
    up_seconds: float
    """Seconds since its hello."""
    dial: str
    """The outcome of the last probe: a word of ``common.outcomes``."""
    dial_ms: Optional[float]
    """The time that its TCP connect took, if the outcome was ``ok``."""
    held_ms: Optional[float] = None
    """How long it holds our pings before it answers, in the median, if that is not normal.  The round
    trips do not contain it."""


_Ms = Optional[float]


def spread(rtts: Sequence[float], has_median: bool) -> Tuple[_Ms, _Ms, _Ms, _Ms]:
    """Return the last round trip, the median, the maximum and the jitter: ``PeerInfo`` has them so.

    ``rtts`` are seconds in the order of their measurement; for ``has_median`` see ``RoundTrips``.
    """
    if not rtts:
        return (None, None, None, None)
    ordered = sorted(rtts)
    median = ordered[len(ordered) // 2] if has_median else None
    steps = [abs(later - earlier) for earlier, later in zip(rtts, rtts[1:])]
    jitter = sum(steps) / len(steps) if steps else 0.0
    return in_ms(rtts[-1]), in_ms(median), in_ms(ordered[-1]), in_ms(jitter)


def in_ms(seconds: Optional[float]) -> Optional[float]:
    """Return milliseconds, rounded to a microsecond, as reports give them."""
    return None if seconds is None else round(seconds * 1000, 3)
