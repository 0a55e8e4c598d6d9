"""Who measured what: the last row of every node, kept with its age, also when that node is gone.

A *row* is what one node measured to each other one: how long a ping takes on the standing
connection, and whether a fresh dial gets there.  Everyone writes its own and sends it to its peers;
together the rows are the matrix, and whoever is asked (``getlinks``) can answer with all of it.

Whom to believe: a row about one of our peers only if it comes from that peer itself.  Rows of
nodes that are not our peers come second-hand, and the one measured last wins.

Rows are kept as the bytes that came: as Python objects they would take ten times the room.  And
most are kept unread.  Everyone sends its row to everyone, and hardly one in a hundred is ever looked
at: reading them all (0.8 ms for 64 links) took half of what 64 nodes cost.  So of each peer the
first is read when it comes, and then one now and then, which is when its sender hears what is wrong
with it; the others are read when somebody asks.
"""

from threading import Lock
from typing import Dict, FrozenSet, Iterable, List, NamedTuple, Optional, Sequence

from ..common.config import FORGET_AFTER, MAX_ROWS
from ..node import messages
from ..node.messages import Links

READ_AGAIN_AFTER = 5.0
READ_EVERY = 300.0
"""Seconds for which the rows of a peer are kept unread after one that was read: at first and, four
times as long each time, at the most."""

LATE_PERCENTILE = 90
"""Of the beats of the last while, which one's lateness is called the node's own: one late beat in
ten is what any busy machine has, two are not."""

LATE_BEATS = 50
"""Beats of the pinger looked at for that: ten seconds."""

LATE_SECONDS = 0.005
"""A lateness below this is what every machine has."""


class Row(NamedTuple):
    """One node's row as it came, and when (monotonic) it was measured."""

    nodeid: str
    line: bytes
    measured_at: float
    connected: FrozenSet[str]
    """The nodeids to which it has a connection, as of ``read_at``."""
    read_at: float
    unread_for: float


class Matrix:
    """The rows of all nodes but our own.  Any thread may call any method."""

    def __init__(self, nodeid: str) -> None:
        self._nodeid = nodeid
        self._lock = Lock()
        # Guarded by _lock.
        self._rows: Dict[str, Row] = {}

    def heard(self, row: Links, line: bytes, source: str, peers: FrozenSet[str], now: float) -> bool:
        """Note a row that the peer ``source`` sent; whether it is believed."""
        if row.nodeid == self._nodeid or (row.nodeid != source and row.nodeid in peers):
            return False
        measured_at = now - row.age
        if row.age > FORGET_AFTER:
            return False
        connected = frozenset(
            link["nodeid"] for link in row.links if link.get("direction", "none") != "none"
        )
        with self._lock:
            known = self._rows.get(row.nodeid)
            if known is not None and known.measured_at > measured_at and row.nodeid != source:
                return False
            if known is None and len(self._rows) >= MAX_ROWS and not self._make_room_locked(peers):
                return False
            again = READ_AGAIN_AFTER if known is None else min(4 * known.unread_for, READ_EVERY)
            self._rows[row.nodeid] = Row(row.nodeid, line, measured_at, connected, now, again)
            return True

    def keep(self, line: bytes, source: str, now: float) -> bool:
        """Keep unread what begins like the peer ``source``'s own row; False if it is to be read.

        That is the first from it, one now and then, and whatever is spelled in another way.
        """
        if not line.startswith(messages.beginning_of_row(source)):
            return False
        with self._lock:
            known = self._rows.get(source)
            if known is None or now - known.read_at >= known.unread_for:
                return False
            self._rows[source] = Row(
                source, line, now, known.connected, known.read_at, known.unread_for
            )
            return True

    def forget(self, nodeid: str) -> None:
        """It has left for good, or another node lives there now."""
        with self._lock:
            self._rows.pop(nodeid, None)

    def rows(self, now: float) -> List[Row]:
        """Those that are not older than a day."""
        with self._lock:
            old = [n for n, row in self._rows.items() if now - row.measured_at > FORGET_AFTER]
            for nodeid in old:
                del self._rows[nodeid]
            return list(self._rows.values())

    def is_larger_than(self, peers: FrozenSet[str]) -> bool:
        """Whether somebody is connected to a node that is not one of ``peers``, nor we."""
        with self._lock:
            seen = [row.connected for row in self._rows.values()]
        return any(connected - peers - {self._nodeid} for connected in seen)

    def _make_room_locked(self, peers: FrozenSet[str]) -> bool:
        """Drop the oldest row of a node that is no peer."""
        others = [nodeid for nodeid in self._rows if nodeid not in peers]
        if not others:
            return False
        del self._rows[min(others, key=lambda nodeid: self._rows[nodeid].measured_at)]
        return True


def read_row(row: Row, now: float) -> Links:
    """A kept row as an object, with its age now.  Raises ``PeerMisbehaved`` if it was bad."""
    links = messages.parse(row.line)
    assert isinstance(links, Links)  # so it begins
    age = max(0.0, now - row.measured_at)  # another thread may have heard it after ``now``
    return links._replace(age=age)


MEDIAN_FROM = 3
"""Round trips from which on there is a median.  The first two are measured within a second of the
start, when a whole network may be starting, and say more about that."""


class Spread(NamedTuple):
    """What a few round trips have in common, in seconds; ``None`` where there are too few."""

    last: Optional[float] = None
    median: Optional[float] = None
    worst: Optional[float] = None
    jitter: Optional[float] = None
    """The mean difference between one and the next."""


def spread(samples: Sequence[float]) -> Spread:
    """Of round trips in the order in which they were measured."""
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


def own_lateness(beats: Iterable[float]) -> float:
    """How late (seconds) this node runs, from the lateness of its last beats."""
    ordered = sorted(beats)
    return ordered[(len(ordered) - 1) * LATE_PERCENTILE // 100] if ordered else 0.0


def is_own_fault(round_trip: float, lateness: float) -> bool:
    """Whether a round trip says more about us, who ran that late, than about the network."""
    return lateness > LATE_SECONDS and lateness > round_trip / 2
