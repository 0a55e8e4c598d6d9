"""A connection as the rules see it (``Link``), and the node at its other end (``Peer``).

``session.Session`` is the link over a real socket.  The simulated networks of the tests have
links of their own, which is why everything above ``session`` speaks of a ``Link`` only.
"""

from collections import deque

from ..common.address import Address
from ..common.typing import Deque, NamedTuple, Optional, Sequence
from .messages import Hello

INBOUND = "inbound"
OUTBOUND = "outbound"

# The life of a link.  Each state may also lead straight to OVER.
GREETING = "greeting"  # waiting for the other end's hello                     -> any below
ADMITTED = "admitted"  # hellos exchanged; one more message from the other end is missing
UP = "up"  # a peer, and announced as one                                      -> SUPERSEDED
SUPERSEDED = "superseded"  # lost a tie; the end that dialed the winner will close it
PROBED = "probed"  # a guest: the other end only wanted our hello, or stays to ask
OVER = "over"  # ended: nothing more is said or heard

HANDSHAKE_TIMEOUT = 10.0
"""Seconds from connect to the end of the handshake, all of it, however slowly its bytes drip.  With a
timeout for each read, one byte every nine seconds would hold a thread for half a day (slowloris)."""

GUEST_TIMEOUT = 60.0
"""Seconds for which a guest may be silent.  (A guest's hello says ``probe``, and it stays to ask.)"""

RTT_SAMPLES = 120
"""Round trips remembered for each connection: two hours at one a minute."""

MEDIAN_FROM = 3
"""Round trips from which on there is a median.  The first two are measured within a second of the
start, when a whole network may be starting, and say more about that."""


class Link:
    """One connection.  Who may touch what stands with each group of fields."""

    def __init__(
        self,
        remote: Address,
        target: Optional[Address] = None,
        probe: bool = False,
        wanted: Optional[str] = None,
        connect_seconds: Optional[float] = None,
    ) -> None:
        # Immutable.
        self.remote = remote
        """The other end of the socket.  Its port is where it listens only if we dialed it."""
        self.target = target
        """The address that we dialed (it may hold a name); ``None`` if the other end dialed us."""
        self.probe = probe
        """True if we dialed only to see which node answers there."""
        self.wanted = wanted
        """The nodeid that should be found at ``target``, if that is known."""
        self.connect_seconds = connect_seconds
        """The time that the TCP connect took, if we dialed."""
        # Written by the link's reader thread, and by PeerTable: announce() for a peer that is
        # up, admit() for one that has lost a tie.
        self.state = GREETING
        self.peer: Optional[Peer] = None
        self.found: Optional[str] = None
        """The nodeid of the hello that answered our dial."""
        self.said_bye = False
        """True once the other end has said ``bye``."""
        self.unread_until = float("-inf")
        """The end of a time in which we leave the link unread on purpose, on the clock
        ``Lateness.patience``."""

    @property
    def direction(self) -> str:
        """``outbound`` if we dialed, else ``inbound``."""
        return INBOUND if self.target is None else OUTBOUND

    def local(self) -> Address:
        """Return our end of the socket.  Reader thread only; raises ``OSError``."""
        raise NotImplementedError

    def send(self, line: bytes, urgent: bool = False) -> bool:
        """Say one encoded line, or several; False if too much is waiting.  Never blocks.

        ``urgent`` is for messages that keep the connection alive and are bounded by their nature
        (one ping at a time, answers to what was read): they are never turned away.
        """
        raise NotImplementedError

    def hold(self, line: bytes) -> None:
        """Say one encoded line, together with the next one if that is better.  Never blocks."""
        self.send(line, urgent=True)

    def close(self, reason: str, detail: str = "") -> None:
        """Say ``bye`` and end the connection.  Never blocks.  Any thread."""
        raise NotImplementedError


class Peer:
    """A node at the other end of a link."""

    def __init__(self, link: Link, hello: Hello, now: float) -> None:
        # Immutable.
        self.link = link
        self.hello = hello
        self.nodeid = hello.nodeid
        self.connected_at = now
        self.claimed = claimed_address(link, hello)
        """Where the node should be dialable; ``None`` if it says that it does not listen."""
        self.address = self.claimed or link.remote
        """The address that people are shown."""
        # Guarded by the table's lock.
        self.up = False
        self.advertised = False
        """True once its proven address has been advertised to other peers."""
        self.ping_sent_at: Optional[float] = None
        """When the ping went out that has not been answered yet."""
        self.ping_patience = 0.0
        """When that ping times out, on the clock ``Lateness.patience``."""
        self.next_ping_at = now
        self.last_pong_at: Optional[float] = None
        self.rtts: Deque[float] = deque(maxlen=RTT_SAMPLES)
        """Round trips in seconds, the latest last."""

    @property
    def name(self) -> str:
        """The peer's label; empty if it gave none."""
        return self.hello.name or ""


def claimed_address(link: Link, hello: Hello) -> Optional[Address]:
    """Return where the node at the other end of ``link`` says that it listens.

    That is the address which we dialed, or the port of its hello on the host that it connects
    from.
    """
    if link.target is not None:
        return link.remote
    return None if hello.port is None else Address(link.remote.host, hello.port)


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
    """Seconds since the connection was made."""
    dial: str
    """The outcome of the last probe: a word of ``common.outcomes``."""
    dial_ms: Optional[float]
    """The time that its TCP connect took, if the outcome was ``ok``."""


class Spread(NamedTuple):
    """A few round trips in figures, in seconds; ``None`` where there are too few."""

    last: Optional[float] = None
    median: Optional[float] = None
    worst: Optional[float] = None
    jitter: Optional[float] = None
    """The mean difference between one and the next."""


def spread(samples: Sequence[float]) -> Spread:
    """Return the figures of round trips that are given in the order of their measurement."""
    if not samples:
        return Spread()
    ordered = sorted(samples)
    steps = [abs(later - earlier) for earlier, later in zip(samples, samples[1:])]
    return Spread(
        last=samples[-1],
        median=ordered[len(ordered) // 2] if len(ordered) >= MEDIAN_FROM else None,
        worst=ordered[-1],
        jitter=sum(steps) / len(steps) if steps else 0.0,
    )


def in_ms(seconds: Optional[float]) -> Optional[float]:
    """Return milliseconds, rounded to a microsecond, as reports give them."""
    return None if seconds is None else round(seconds * 1000, 3)
