"""Who is connected now.

One table for the whole node, shared by the reader threads of all connections, the pinger (which
looks at the clock for all of them) and whoever calls the library.  So it has a lock, and every
question that has to be asked and answered in one breath ("is this nodeid here already? if not, put
it in") is one method.

Two nodes may dial each other at the same moment and have two connections for an instant.
Which one stays must come out the same at both ends without asking: the one dialed by the
node with the smaller nodeid.  (Had each end kept "the first", each might keep another one,
and close both.)

``Link`` is what judgement sees of a connection; ``session.Session`` is the real one, and the
simulated networks of the tests have others.
"""

from collections import deque
from threading import Lock
from typing import Callable, Deque, Dict, FrozenSet, List, NamedTuple, Optional

from ..common.address import Address
from ..common.config import HANDSHAKE_TIMEOUT, RTT_SAMPLES
from ..common.events import Emit
from ..common.outcomes import UNKNOWN
from ..monitor.reach import Reachable
from ..monitor.rows import is_own_fault, spread
from .messages import Hello

INBOUND = "inbound"
OUTBOUND = "outbound"

# The life of a link, in judgement's eyes.  Each may also go straight to OVER.
GREETING = "greeting"  # waiting for the other end's hello                     -> any below
ADMITTED = "admitted"  # hellos exchanged; one more word from the other end is missing
UP = "up"  # a peer, and announced as one                                      -> SUPERSEDED
SUPERSEDED = "superseded"  # lost a tie; the other end, which dialed the winner, will close it
PROBED = "probed"  # the other end only wanted our hello
OVER = "over"  # ended: nothing more is said or heard


class Link:
    """One connection, as judgement sees it."""

    __slots__ = (
        "connect_seconds",
        "found",
        "peer",
        "probe",
        "remote",
        "said_bye",
        "state",
        "target",
        "unread_until",
        "wanted",
    )

    def __init__(
        self,
        remote: Address,
        target: Optional[Address] = None,
        probe: bool = False,
        wanted: Optional[str] = None,
        connect_seconds: Optional[float] = None,
    ) -> None:
        self.remote = remote
        """The other end of the socket.  Its port is the listening one only if we dialed it."""
        self.target = target
        """What we dialed (it may hold a name); ``None`` if they dialed us."""
        self.probe = probe
        """We dialed only to see who answers there."""
        self.wanted = wanted
        """The nodeid that should be found at ``target``, where that is known."""
        self.connect_seconds = connect_seconds
        """How long the TCP connect took, if we dialed."""
        # Written by the link's own reader thread, and by PeerTable: announce() for a peer that
        # is up, admit() for one that has lost a tie.
        self.state = GREETING
        self.peer: Optional[Peer] = None
        self.found: Optional[str] = None
        """The nodeid of the hello that answered our dial."""
        self.said_bye = False
        """The other end has ended it."""
        self.unread_until = float("-inf")
        """Until when, on the overlay's patience clock, we leave it unread on purpose."""

    @property
    def direction(self) -> str:
        """``outbound`` if we dialed."""
        return INBOUND if self.target is None else OUTBOUND

    def local(self) -> Address:
        """Our end of the socket.  Reader thread only; raises ``OSError``."""
        raise NotImplementedError

    def send(self, line: bytes, urgent: bool = False) -> bool:
        """Say one encoded line, or several; ``False`` if too much is waiting.  Never blocks.

        ``urgent`` is for what keeps the connection alive and is bounded by its nature (one
        ping at a time, answers to what was read): it is never turned away.
        """
        raise NotImplementedError

    def hold(self, line: bytes) -> None:
        """Say one encoded line, together with what is said next if that is better."""
        self.send(line, urgent=True)

    def close(self, reason: str, detail: str = "") -> None:
        """Say ``bye`` and end the connection.  Never blocks.  Any thread."""
        raise NotImplementedError


class Peer:
    """A node at the other end of a link."""

    __slots__ = (
        "address",
        "claimed",
        "connected_at",
        "hello",
        "last_pong_at",
        "link",
        "next_ping_at",
        "nodeid",
        "ping_patience",
        "ping_sent_at",
        "rtts",
        "told",
        "up",
    )

    def __init__(self, link: Link, hello: Hello, now: float) -> None:
        # Immutable.
        self.link = link
        self.hello = hello
        self.nodeid = hello.nodeid
        self.connected_at = now
        self.claimed = claimed_address(link, hello)
        """Where it should be dialable: what we dialed, or the port it says on the address it
        comes from.  ``None`` if it says none."""
        self.address = self.claimed or link.remote
        """What people are shown."""
        # Guarded by the table's lock.
        self.up = False
        self.told = False
        """Whether its proven address has been passed on to others."""
        self.ping_sent_at: Optional[float] = None
        self.ping_patience = 0.0
        """On the overlay's patience clock: when the outstanding ping is given up."""
        self.next_ping_at = now
        self.last_pong_at: Optional[float] = None
        self.rtts: Deque[float] = deque(maxlen=RTT_SAMPLES)

    @property
    def name(self) -> str:
        """Its label; empty if it gave none."""
        return self.hello.name or ""


def claimed_address(link: Link, hello: Hello) -> Optional[Address]:
    """Where the node behind ``link`` says it listens."""
    if link.target is not None:
        return link.remote
    return None if hello.port is None else Address(link.remote.host, hello.port)


class PeerInfo(NamedTuple):
    """A copy of what is known of one peer, for the library's users.

    ``rtt_ms`` is the last round trip in milliseconds, ``None`` before the first;
    ``rtt_p50_ms``, ``rtt_max_ms`` and ``jitter_ms`` (the mean difference from one to the next) are
    over the last 120, without those that were measured while this node itself ran late; the median
    once there are three.
    ``up_seconds`` is how long the connection stands.  ``dial`` is the last verdict of a probe
    (see ``reach``), and ``dial_ms`` how long its TCP connect took if that was ``ok``.
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
    dial: str
    dial_ms: Optional[float]


class Admission(NamedTuple):
    """What ``PeerTable.admit`` decided: let in (perhaps instead of ``loser``), or why not."""

    refusal: Optional[str] = None
    loser: Optional[Peer] = None
    incumbent: Optional[Peer] = None


class PeerTable:
    """The peers of one node, by nodeid.  Any thread may call any method."""

    def __init__(
        self, nodeid: str, max_peers: int, clock: Callable[[], float], emit: Emit
    ) -> None:
        self._nodeid = nodeid
        self._max_peers = max_peers
        self._clock = clock
        # emit() is called while _lock is held, on purpose: it never blocks, and so peer_up and
        # peer_down come out in the order, and with the counts, in which they happened.
        self._emit = emit
        # A leaf, like nearly every lock here: who holds it waits for no other one.  So no two threads
        # can each hold what the other waits for, and the locks of a node need no order.
        self._lock = Lock()
        # Guarded by _lock: the dict, and the guarded fields of every Peer in it.
        self._peers: Dict[str, Peer] = {}
        self._up = 0
        self._changes = 0
        self._closed = False

    def admit(self, peer: Peer) -> Admission:
        """Put ``peer`` in unless its node is here already; decides ties.

        Refusals are ``full``, ``duplicate``, and ``stopping`` after ``close``.
        A loser of a tie leaves the table in the same breath, and the winner takes over its
        place: no ``peer_down``, no second ``peer_up``.
        """
        with self._lock:
            if self._closed:
                return Admission("stopping")
            old = self._peers.get(peer.nodeid)
            if old is None:
                if len(self._peers) >= self._max_peers:
                    return Admission("full")
                self._peers[peer.nodeid] = peer
                return Admission()
            if not self._beats(peer, old):
                return Admission("duplicate", None, old)
            self._peers[peer.nodeid] = peer
            peer.up = old.up
            old.up = False
            old.link.state = SUPERSEDED
            return Admission(None, old)

    def would_lose(self, peer: Peer) -> bool:
        """Whether its node is here already by a connection that ``peer`` cannot beat."""
        with self._lock:
            old = self._peers.get(peer.nodeid)
            return old is not None and not self._beats(peer, old)

    def _beats(self, new: Peer, old: Peer) -> bool:
        """Same direction: the first stays.  Opposite: the one dialed by the smaller nodeid.

        But only while both may have been dialed at once.  Later it is no tie: somebody dials
        in with the nodeid of a peer that we have, and nodeids are no secret.
        """
        if new.link.direction == old.link.direction:
            return False
        if new.connected_at - old.connected_at > HANDSHAKE_TIMEOUT:
            return False
        return (new.link.direction == OUTBOUND) == (self._nodeid < new.nodeid)

    def announce(self, peer: Peer) -> bool:
        """Count ``peer`` as up, and emit ``peer_up`` unless the loser of a tie was up before it."""
        with self._lock:
            if self._peers.get(peer.nodeid) is not peer or self._closed:
                return False
            peer.link.state = UP
            if peer.up:
                return True
            peer.up = True
            self._up += 1
            self._changes += 1
            self._emit(
                "peer_up",
                nodeid=peer.nodeid,
                name=peer.name,
                address=str(peer.address),
                direction=peer.link.direction,
                peers=self._up,
            )
            return True

    def close(self) -> None:
        """Let nobody in from now on: what was half-way in when we stop was never a peer."""
        with self._lock:
            self._closed = True

    def remove(self, peer: Peer, reason: str) -> bool:
        """Take ``peer`` out if it is in, and emit ``peer_down`` if it was up."""
        with self._lock:
            if self._peers.get(peer.nodeid) is not peer:
                return False
            del self._peers[peer.nodeid]
            if peer.up:
                peer.up = False
                self._up -= 1
                self._changes += 1
                self._emit(
                    "peer_down",
                    nodeid=peer.nodeid,
                    name=peer.name,
                    address=str(peer.address),
                    reason=reason,
                    peers=self._up,
                    up_seconds=round(self._clock() - peer.connected_at, 3),
                )
            return True

    # -- pings ------------------------------------------------------------------

    def ping_due(self, now: float) -> List[Peer]:
        """Peers whose next ping is due and who have answered the last one."""
        with self._lock:
            return [
                peer
                for peer in self._peers.values()
                if peer.next_ping_at <= now and peer.ping_sent_at is None
            ]

    def ping_sent(self, peer: Peer, now: float, next_at: float, patience: float) -> None:
        """Note that a ping goes out now; the next is due at ``next_at``."""
        with self._lock:
            peer.ping_sent_at = now
            peer.next_ping_at = next_at
            peer.ping_patience = patience

    def ping_soon(self, peer: Peer, now: float) -> None:
        """Make the next ping due now: something makes us doubt that the peer is there."""
        with self._lock:
            peer.next_ping_at = now

    def pong(
        self, peer: Peer, now: float, lateness: float = 0.0, again_at: float = float("inf")
    ) -> Optional[float]:
        """The round trip in seconds that this pong ends; ``None`` if no ping was outstanding.

        It does not count as the network's if we ourselves ran too late (``lateness``, seconds).
        Then, if none has counted yet, the next ping is due at ``again_at``.
        """
        with self._lock:
            sent_at, peer.ping_sent_at = peer.ping_sent_at, None
            if sent_at is None:
                return None
            peer.last_pong_at = now
            if not is_own_fault(now - sent_at, lateness):
                peer.rtts.append(now - sent_at)
            elif not peer.rtts:
                peer.next_ping_at = min(peer.next_ping_at, again_at)
            return now - sent_at

    def silent(self, patience: float) -> List[Peer]:
        """Peers whose outstanding ping has been given up by now."""
        with self._lock:
            return [
                peer
                for peer in self._peers.values()
                if peer.ping_sent_at is not None and peer.ping_patience <= patience
            ]

    def answered_since(self, moment: float) -> Dict[str, Peer]:
        """Peers that are up and had a pong at or after ``moment``, by nodeid."""
        with self._lock:
            return {
                nodeid: peer
                for nodeid, peer in self._peers.items()
                if peer.up and peer.last_pong_at is not None and peer.last_pong_at >= moment
            }

    def tell_once(self, peer: Peer) -> bool:
        """Whether it falls to the caller to pass on this peer's address: true once."""
        with self._lock:
            first = not peer.told
            peer.told = True
            return first

    # -- questions ----------------------------------------------------------------

    def get(self, nodeid: str) -> Optional[Peer]:
        """The peer of that nodeid, if it is up."""
        with self._lock:
            peer = self._peers.get(nodeid)
            return peer if peer is not None and peer.up else None

    def holder(self, nodeid: str) -> Optional[Peer]:
        """The peer that has the place of that nodeid, up or about to be."""
        with self._lock:
            return self._peers.get(nodeid)

    def up(self) -> List[Peer]:
        """The peers that are up."""
        with self._lock:
            return [peer for peer in self._peers.values() if peer.up]

    def nodeids(self) -> FrozenSet[str]:
        """Every nodeid in the table, up or about to be: nobody of these need be dialed."""
        with self._lock:
            return frozenset(self._peers)

    def count(self) -> int:
        """Peers that are up: the figure that people see."""
        with self._lock:
            return self._up

    def occupied(self) -> int:
        """Places taken, by peers that are up or about to be: the figure that bounds compare."""
        with self._lock:
            return len(self._peers)

    def snapshot(self, verdicts: Dict[str, Reachable]) -> List[PeerInfo]:
        """A copy for the library's users, longest connected first."""
        nobody = Reachable(UNKNOWN)
        with self._lock:
            now = self._clock()
            peers = [(peer, list(peer.rtts)) for peer in self._peers.values() if peer.up]
        found = []
        for peer, rtts in sorted(peers, key=lambda pair: pair[0].connected_at):
            dial = verdicts.get(peer.nodeid, nobody)
            rtt = spread(rtts)
            found.append(
                PeerInfo(
                    nodeid=peer.nodeid,
                    name=peer.name,
                    address=str(peer.address),
                    direction=peer.link.direction,
                    rtt_ms=in_ms(rtt.last),
                    rtt_p50_ms=in_ms(rtt.median),
                    rtt_max_ms=in_ms(rtt.worst),
                    jitter_ms=in_ms(rtt.jitter),
                    up_seconds=round(now - peer.connected_at, 3),
                    dial=dial.dial,
                    dial_ms=in_ms(dial.seconds),
                )
            )
        return found

    def changes(self) -> int:
        """A number that grows whenever a peer has come up or gone down."""
        with self._lock:
            return self._changes


def in_ms(seconds: Optional[float]) -> Optional[float]:
    """As it is told: rounded to a microsecond."""
    return None if seconds is None else round(seconds * 1000, 3)
