"""The peers that are connected now, each under its nodeid.

The reader threads of all connections, the pinger and the library's callers share this table, so
it has a lock.  A question that must be asked and answered in one step ("is this nodeid here
already? if not, put it in") is one method.

Two nodes may dial each other at the same moment and have two connections for an instant: a tie.
Both ends must choose the same one to keep, without asking: the one dialed by the node with the
smaller nodeid.  (If each end kept the first, each might keep a different one, and both would be
closed.)
"""

from threading import Condition
from time import monotonic

from ..common.address import is_loopback
from ..common.events import Emit
from ..common.outcomes import UNKNOWN
from ..common.typing import Callable, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Tuple
from .lateness import Lateness
from .peer import HANDSHAKE_TIMEOUT, OUTBOUND, SUPERSEDED, UP, Peer, PeerInfo, in_ms, spread
from .round_trips import BY_PROGRAM, RoundTrip

TIE_WINDOW = HANDSHAKE_TIMEOUT
"""Seconds from one hello to the other in which two connections may have been dialed at once."""

KEPT_SHARE = 8
"""One seat of so many is kept from nodes that dial us and that we do not know; half of these seats are
kept for peers that we dialed.  So strangers from many addresses cannot take every seat and choose whom
we hear (cf. Heilman et al., "Eclipse Attacks on Bitcoin's Peer-to-Peer Network", 2015)."""


class Admission(NamedTuple):
    """The decision of ``PeerTable.admit``: let in (perhaps instead of ``loser``), or why not."""

    refusal: Optional[str] = None
    loser: Optional[Peer] = None
    incumbent: Optional[Peer] = None
    tie: bool = False
    """True if the connection has lost a tie, and the one that the other end dialed stays.  It knows that."""


def _is_tie(new: Peer, old: Peer) -> bool:
    """True if two connections may have been dialed at once, one by each end."""
    opposite = new.link.direction != old.link.direction
    return opposite and new.greeted_at - old.greeted_at <= TIE_WINDOW


class PeerTable:
    """The peers of one node.  Any thread may call any method."""

    def __init__(
        self,
        nodeid: str,
        max_peers: int,
        clock: Callable[[], float],
        emit: Emit,
        members_only: bool = False,
    ) -> None:
        self._nodeid = nodeid
        self.max_peers = max_peers
        """How many seats there are."""
        self.kept_seats = 0 if members_only else max_peers // KEPT_SHARE
        """Seats for peers that we dialed or knew before; strangers get the others."""
        self._clock = clock
        # A Condition is a lock with a bell, for ``wait_for``.  Under it only the lock of ``Events`` is
        # taken: emit() never blocks, and so peer_up and peer_down are reported in the order in which
        # they happened, with the right counts.  That lock is a leaf, like nearly every lock here: a
        # thread that holds it waits for no other.  So no two threads can wait for each other.
        self._emit = emit
        self._lock = Condition()
        # Guarded by _lock: the dict, and the guarded fields of every Peer in it.
        self._peers: Dict[str, Peer] = {}
        self._up = 0
        self._changes = 0
        self._closed = False

    def admit(self, peer: Peer) -> Admission:
        """Put ``peer`` in if a seat is left for it, unless its node is here already; decide ties.

        Refusals are ``full``, ``duplicate``, and ``stopping`` after ``admit_nobody_more``.  The winner
        of a tie takes the loser's seat in the same step: no ``peer_down``, no second ``peer_up``.
        """
        with self._lock:
            if self._closed:
                return Admission("stopping")
            old = self._peers.get(peer.nodeid)
            if old is None:
                if not self._has_seat_locked(peer):
                    return Admission("full")
                self._peers[peer.nodeid] = peer
                return Admission()
            if not self._beats(peer, old):
                tie = _is_tie(peer, old) and not self._is_dialed_by_smaller(peer)
                return Admission("duplicate", incumbent=old, tie=tie)
            self._peers[peer.nodeid] = peer
            peer.up = old.up
            old.up = False
            old.link.state = SUPERSEDED
            return Admission(loser=old)

    def _has_seat_locked(self, peer: Peer) -> bool:
        """True if a seat is left for ``peer``: some are kept for those that are no strangers."""
        if len(self._peers) >= self.max_peers:
            return False
        if peer.link.direction == OUTBOUND or not self.kept_seats:
            return True
        if is_loopback(peer.link.remote.host):  # many nodes may share one machine
            return True
        inbound = [one for one in self._peers.values() if one.link.direction != OUTBOUND]
        if len(inbound) >= self.max_peers - (self.kept_seats + 1) // 2:
            return False
        strangers = sum(not one.known for one in inbound)
        return peer.known or strangers < self.max_peers - self.kept_seats

    def loses_to(self, peer: Peer) -> Optional[Peer]:
        """Return the peer that has its node's seat, if ``peer`` cannot beat that."""
        with self._lock:
            old = self._peers.get(peer.nodeid)
            return None if old is None or self._beats(peer, old) else old

    def _beats(self, new: Peer, old: Peer) -> bool:
        """True if ``new`` wins the tie: of opposite directions the smaller nodeid's dial stays.

        Otherwise the first stays.  A later connection with a peer's nodeid may be an impostor, as nodeids
        are no secret.  So possession counts: a connection that has answered a ping is not replaced by
        one from another host, not even in a tie.
        """
        elsewhere = new.link.remote.host != old.link.remote.host
        if not _is_tie(new, old) or (elsewhere and old.last_pong_at is not None):
            return False
        return self._is_dialed_by_smaller(new)

    def _is_dialed_by_smaller(self, peer: Peer) -> bool:
        return (peer.link.direction == OUTBOUND) == (self._nodeid < peer.nodeid)

    def announce(self, peer: Peer) -> bool:
        """Count ``peer`` as up, and emit ``peer_up`` unless the loser of its tie was up before.

        False if it has no seat in the table any more.
        """
        with self._lock:
            if self._peers.get(peer.nodeid) is not peer or self._closed:
                return False
            peer.link.state = UP
            if peer.up:
                return True
            peer.up = True
            self._up += 1
            self._changes += 1
            self._lock.notify_all()
            self._emit_locked("peer_up", peer, direction=peer.link.direction)
            return True

    def admit_nobody_more(self) -> None:
        """Admit and announce nobody from now on."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()

    def remove(self, peer: Peer, reason: str, heir: Optional[Peer] = None) -> bool:
        """Take ``peer`` out, and emit ``peer_down`` if it was up.  False if it was not in.

        An ``heir`` (the loser of its tie, still open) gets the seat instead: no events, and False.
        """
        with self._lock:
            if self._peers.get(peer.nodeid) is not peer:
                return False
            if heir is not None:
                self._peers[peer.nodeid] = heir
                heir.up, peer.up = peer.up, False
                return False
            del self._peers[peer.nodeid]
            if peer.up:
                peer.up = False
                self._up -= 1
                self._changes += 1
                up_seconds = round(self._clock() - peer.greeted_at, 3)
                self._emit_locked("peer_down", peer, reason=reason, up_seconds=up_seconds)
            return True

    def _emit_locked(self, event: str, peer: Peer, **more: object) -> None:
        address = str(peer.address)
        self._emit(event, nodeid=peer.nodeid, name=peer.name, address=address, **more, peers=self._up)

    # -- pings ------------------------------------------------------------------

    def ping_due(self, now: float) -> List[Peer]:
        """Return the peers that have answered the last ping and are due for the next."""
        with self._lock:
            peers = self._peers.values()
            return [one for one in peers if one.next_ping_at <= now and one.ping_sent_at is None]

    def ping_sent(self, peer: Peer, now: float, next_at: float, expires_at: float) -> None:
        """Note that a ping goes out now, and the next one at ``next_at``.

        It times out at ``expires_at`` on ``Lateness.awake_clock``.
        """
        with self._lock:
            peer.ping_sent_at = now
            peer.next_ping_at = next_at
            peer.ping_expires_at = expires_at

    def ping_soon(self, peer: Peer, now: float) -> None:
        """Make the next ping due now: something suggests that the peer may be gone."""
        with self._lock:
            peer.next_ping_at = now

    def keep_busy(self, peer: Peer, seconds: float, now: float) -> None:
        """Ping ``peer`` at least every ``seconds``: its connection does not stand longer silences."""
        with self._lock:
            peer.ping_every = seconds
            peer.next_ping_at = min(peer.next_ping_at, now + seconds)

    def pong(
        self,
        peer: Peer,
        now: float,
        lateness: Lateness,
        again_at: float = float("inf"),
        measured: Optional[RoundTrip] = None,
    ) -> Optional[Tuple[float, bool]]:
        """Return the round trip in seconds that this pong ends, and whether it counts.

        None if no ping was outstanding, or if there are more exact ones.  ``measured`` is what the link
        has measured, if it can.  Without the kernel's help a round trip does not count if this node
        itself ran late meanwhile; then, if none is remembered yet, the next ping is due at ``again_at``.
        """
        with self._lock:
            sent_at, peer.ping_sent_at = peer.ping_sent_at, None
            if sent_at is None:
                return None
            peer.last_pong_at = now
            trip = measured or RoundTrip(now - sent_at)
            if trip.kind == BY_PROGRAM and lateness.excuses(trip.seconds):
                if peer.round_trips.are_exact:
                    return None
                if not peer.round_trips.seconds:
                    peer.next_ping_at = min(peer.next_ping_at, again_at)
                return trip.seconds, False
            return (trip.seconds, True) if peer.round_trips.add(trip) else None

    def silent(self, awake_now: float) -> List[Peer]:
        """Return the peers whose ping has timed out by ``awake_now`` on ``Lateness.awake_clock``."""
        with self._lock:
            return [
                peer
                for peer in self._peers.values()
                if peer.ping_sent_at is not None and peer.ping_expires_at <= awake_now
            ]

    def answered_since(self, moment: float) -> Dict[str, Peer]:
        """Return the peers that are up and had a pong at or after ``moment``, by nodeid."""
        with self._lock:
            return {
                nodeid: peer
                for nodeid, peer in self._peers.items()
                if peer.up and peer.last_pong_at is not None and peer.last_pong_at >= moment
            }

    def advertise_once(self, peer: Peer) -> bool:
        """True for the first caller: it has to advertise this peer's address."""
        with self._lock:
            first = not peer.advertised
            peer.advertised = True
            return first

    # -- questions ----------------------------------------------------------------

    def get(self, nodeid: str) -> Optional[Peer]:
        """Return the peer of that nodeid if it is up."""
        with self._lock:
            peer = self._peers.get(nodeid)
            return peer if peer is not None and peer.up else None

    def holder(self, nodeid: str) -> Optional[Peer]:
        """Return the peer that has the seat of that nodeid, up or about to be."""
        with self._lock:
            return self._peers.get(nodeid)

    def up(self) -> List[Peer]:
        """Return the peers that are up."""
        with self._lock:
            return [peer for peer in self._peers.values() if peer.up]

    def holders(self) -> Dict[str, Peer]:
        """Return a copy: every peer, up or about to be, by nodeid."""
        with self._lock:
            return dict(self._peers)

    def nodeids(self) -> FrozenSet[str]:
        """Return every nodeid in the table, up or about to be: none of these need be dialed."""
        with self._lock:
            return frozenset(self._peers)

    def callers(self) -> FrozenSet[str]:
        """Return the hosts of the peers that have dialed us."""
        with self._lock:
            links = [peer.link for peer in self._peers.values()]
        return frozenset(link.remote.host for link in links if link.direction != OUTBOUND)

    def count(self) -> int:
        """Return how many peers are up: the figure that people see."""
        with self._lock:
            return self._up

    def wait_for(self, count: int, deadline: Optional[float]) -> bool:
        """Wait until ``count`` peers are up; False after ``deadline`` (monotonic) or at the stop."""
        with self._lock:
            while self._up < count and not self._closed:
                left = None if deadline is None else deadline - monotonic()
                if left is not None and left <= 0:
                    return False
                self._lock.wait(left)
            return self._up >= count

    def occupied(self) -> int:
        """Return how many seats are taken, by peers that are up or about to be."""
        with self._lock:
            return len(self._peers)

    def room(self) -> int:
        """Return how many more peers to dial: to half of the seats, or as many dialed as are kept."""
        with self._lock:
            occupied = len(self._peers)
            dialed = sum(peer.link.direction == OUTBOUND for peer in self._peers.values())
            kept = min(self.kept_seats - dialed, self.max_peers - occupied)
            return max((self.max_peers + 1) // 2 - occupied, kept)

    def snapshot(self, dials: Mapping[str, Tuple[str, Optional[float]]]) -> List[PeerInfo]:
        """Return a copy for the library's users, the longest connected first.

        ``dials`` has the outcome of the last probe and the seconds of its connect, by nodeid.
        """
        with self._lock:
            now = self._clock()
            trips = [(peer, peer.round_trips) for peer in self._peers.values() if peer.up]
            peers = [(peer, spread(list(one.seconds), one.has_median), one.held) for peer, one in trips]
        found = []
        for peer, figures, held in sorted(peers, key=lambda pair: pair[0].greeted_at):
            dial, seconds = dials.get(peer.nodeid, (UNKNOWN, None))
            found.append(
                PeerInfo(
                    peer.nodeid,
                    peer.name,
                    str(peer.address),
                    peer.link.direction,
                    *figures,
                    up_seconds=round(now - peer.greeted_at, 3),
                    dial=dial,
                    dial_ms=in_ms(seconds),
                    held_ms=in_ms(held),
                )
            )
        return found

    def changes(self) -> int:
        """Return a number that grows whenever a peer comes up or goes down."""
        with self._lock:
            return self._changes
