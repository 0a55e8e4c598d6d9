"""The last row of every node, kept with its age, also when that node is gone.

A *row* is what one node has measured to each other one: how long a ping takes on the standing
connection, and whether a fresh dial gets there.  Each node sends its own row to its peers.
Together the rows are the matrix, and any node that is asked (``getlinks``) answers with all of it.

A row about one of our peers is believed only if it comes from that peer itself.  Rows of nodes
that are not our peers come second-hand, and the one measured last wins.

Rows are kept as bytes: as Python objects they would take ten times the room.  A row that was read is
kept as this program would have written it, and goes out like that to everyone who asks.

Most are kept unread.  Every node sends its row to everyone, few of them are ever looked at, and reading
them all took half of the processor time of 64 nodes.  So the first row of each peer is read when it
comes, and after that one now and then, and one after each change in whom that peer is connected to: a
row has a number for that in its first bytes.  Errors in those are reported to the sender.  The others
are read when somebody asks.

**Rows are no bombs.**  A peer may forward rows of as many nodes as it likes, and each could be new.  So
the rows of nodes that are no peers have a budget, in bytes and in number.  Where it is used up, the
oldest row is dropped of the *teller*, the peer who forwarded them, that has most.  So a liar displaces
its own rows, and not what others say.
"""

from collections import OrderedDict
from threading import Lock

from ..common.address import Address, parse_wire
from ..common.errors import PeerMisbehaved
from ..common.typing import Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Set, Tuple
from ..node import messages
from .row_messages import Links, author_in, beginning_of_row, encode_kept, is_connected

MAX_ROWS = 512
"""Rows kept, those of nodes that are gone included."""

FORWARDED_BYTES = 4 * 1024 * 1024
"""Bytes of the rows of nodes that are no peers: a hundred of a network of 128.  (The rows of peers have
one line each.)"""

TOLD_BY_ONE = 256
"""Rows of other nodes that are kept from one peer: as many as it has peers itself."""

FORGET_AFTER = 24 * 3600.0
"""Seconds after which a row is dropped: its node has been gone for a day."""

MAX_BURIED = 2048
"""Nodeids remembered whose rows are refused: those of a program that crashes every minute for a day and
a half.  They take a megabyte."""

MAX_PLACES = 8
"""Addresses remembered of one node, so that a liar cannot name thousands."""

STALE_AFTER_INTERVALS = 3
"""A row older than so many ping intervals is not shown as current: at least two of the rows that its
node should have sent since are missing."""

ROWS_A_SECOND = 20
"""Most rows that a node gets from all its peers together: each costs it up to a millisecond (64
links).  So among 64 nodes a row goes out every 3 s at the earliest, also after changes: when
many start at once, everything changes all the time."""

ANSWER_FRESH = 0.5
"""Seconds for which the same answer is given to everyone who asks for all rows.  Making it takes
half a millisecond a row, and a peer may ask 200 times a second."""

FORWARDED_WITHIN = ANSWER_FRESH + 0.3
"""Seconds that a second-hand row may take on its way, in which its age does not grow.  It must be newer by
as much as that.  Otherwise the last row of a dead node would get younger whenever two nodes exchange it,
and at last be younger than the node that was started in its place."""

READ_AGAIN_AFTER = 5.0
READ_EVERY = 300.0
"""Seconds for which rows of a peer are kept unread after one that was read: at first, and then four
times as long each time, up to ``READ_EVERY``.  A row with other ``changes`` than the last one read
waits for ``READ_AGAIN_AFTER`` at the most."""


class Row(NamedTuple):
    """One node's row as it came, and what it said when it was last read."""

    nodeid: str
    line: bytes
    """As ``encode_kept`` made it, or, if it is unread, as it came."""
    measured_at: float
    """On the clock of this node."""
    connected: FrozenSet[str] = frozenset()
    """The nodeids to which it has a connection, as of ``read_at``."""
    changes: Optional[int] = None
    read_at: float = 0.0
    unread_for: float = READ_AGAIN_AFTER / 4
    unread: bool = False
    """True if it came from its author, and has been kept unread."""
    name: str = ""
    started_at: float = float("inf")
    """When its program started, or later, on the clock of this node."""
    replaced: Mapping[str, str] = {}
    named: FrozenSet[str] = frozenset()
    """The nodeids that it names without a connection to them."""
    gone: bool = False
    """True if it cannot be found any more."""
    replaced_by: str = ""
    """The node that has replaced this one, as far as this node can tell; empty if none has."""
    teller: str = ""
    """The peer that it came from, if that is not its author."""

    def is_unchanged(self, line: bytes) -> bool:
        """True if a new row of the same node says what was read, as to whom it is connected to.

        As far as is known: programs of the last version do not number their changes.
        """
        return self.changes is None or line.startswith(beginning_of_row(self.nodeid, self.changes))


class Rows:
    """The rows of all nodes but our own.  Any thread may call any method."""

    def __init__(self, nodeid: str) -> None:
        self._nodeid = nodeid
        self._lock = Lock()
        # Guarded by _lock.
        self._rows: Dict[str, Row] = {}
        self._places: Dict[str, Set[Address]] = {nodeid: set()}
        """Where the rows of others find each node that has a row, and this one."""
        self._changed: Set[str] = set()
        """The nodes whose row was kept unread although its ``changes`` differ from what was read."""
        self._buried: OrderedDict[str, Tuple[float, str]] = OrderedDict()
        """Nodeids that will not be back, the first one first: since when, and which node has replaced
        it, if one has."""

    def heard(self, row: Links, source: str, peers: FrozenSet[str], now: float) -> bool:
        """Note a row that the peer ``source`` sent; True if it is believed."""
        if row.nodeid == self._nodeid or (row.nodeid != source and row.nodeid in peers):
            return False
        measured_at = now - row.age
        if row.age > FORGET_AFTER:
            return False
        with self._lock:
            if row.nodeid == source:
                self._buried.pop(source, None)
            elif row.nodeid in self._buried:
                return False
            known = self._rows.get(row.nodeid)
            news_from = known.measured_at + FORWARDED_WITHIN if known is not None else measured_at
            if measured_at < news_from and row.nodeid != source:
                return False
            self._changed.discard(row.nodeid)
            line = encode_kept(row)
            known = known or Row(row.nodeid, line, measured_at)
            known = known._replace(line=line, measured_at=measured_at, unread=False, teller=source)
            if row.nodeid == source:
                known = known._replace(gone=False, replaced_by="", teller="")
            self._rows[row.nodeid] = _read(known, row, now)
            self._keep_to_budget_locked(peers)
            if row.nodeid not in self._rows:
                return False
            self._note_places_locked(row)
            return True

    def keep(self, line: bytes, source: str, peers: FrozenSet[str], now: float) -> bool:
        """Take a line from the peer ``source`` that need not be read; False if it must be.

        The peer's own row is kept unread if it is not time to read one.  A row that would not be
        believed is dropped: in an answer to ``getlinks`` nearly all are those of our own peers.
        """
        if not line.startswith(beginning_of_row(source)):
            author = author_in(line)
            return author != source and (author == self._nodeid or author in peers)
        with self._lock:
            known = self._rows.get(source)
            if known is None or now - known.read_at >= known.unread_for:
                return False
            if known.is_unchanged(line):
                self._changed.discard(source)
            elif now - known.read_at >= READ_AGAIN_AFTER:
                return False
            else:
                self._changed.add(source)
            self._rows[source] = known._replace(line=line, measured_at=now, unread=True)
            return True

    def overdue(self, peers: FrozenSet[str], now: float) -> List[Row]:
        """Return the rows of ``peers`` that came too soon to be read at once, and should be read now.

        So the last row of a burst is read even if the next one comes a minute later.
        """
        with self._lock:
            self._changed &= self._rows.keys()
            changed = [self._rows[nodeid] for nodeid in self._changed & peers]
            return [row for row in changed if now - row.read_at >= READ_AGAIN_AFTER]

    def read(self, row: Links, now: float) -> None:
        """Note what a row says that was kept unread.  A newer one may have come meanwhile."""
        with self._lock:
            known = self._rows.get(row.nodeid)
            if known is not None:
                self._rows[row.nodeid] = known = _read(known, row, now)
                if known.is_unchanged(known.line):
                    self._changed.discard(row.nodeid)
                self._note_places_locked(row)

    def get(self, nodeid: str) -> Optional[Row]:
        """Return the row of a node, if there is one."""
        with self._lock:
            return self._rows.get(nodeid)

    def cleaned(self, row: Row, line: bytes) -> None:
        """Keep ``line`` instead of a row that has been read, unless a newer one has come meanwhile."""
        with self._lock:
            known = self._rows.get(row.nodeid)
            if known is not None and known.line is row.line:
                self._rows[row.nodeid] = known._replace(line=line, unread=False)

    def forget(self, nodeid: str) -> None:
        """Drop the row of a node."""
        with self._lock:
            self._drop_locked(nodeid)

    def bury(self, nodeid: str, now: float) -> None:
        """Drop the row of a node that has left for good, and refuse it from others.

        They may keep it for a day, and would give it back to us.  A row from that node itself, as a
        peer, shows that it lives after all.
        """
        with self._lock:
            self._bury_locked(nodeid, now)

    def note_gone(self, nodeid: str) -> None:
        """Note that a node cannot be found any more: it is buried when nobody looks for it."""
        with self._lock:
            if nodeid in self._rows:
                self._rows[nodeid] = self._rows[nodeid]._replace(gone=True)

    def all(self, now: float) -> List[Row]:
        """Return the rows that are at most a day old."""
        with self._lock:
            old = [n for n, row in self._rows.items() if now - row.measured_at > FORGET_AFTER]
            for nodeid in old:
                self._drop_locked(nodeid)
            while self._buried and now - next(iter(self._buried.values()))[0] > FORGET_AFTER:
                self._buried.popitem(last=False)
            return list(self._rows.values())

    def places(self) -> Dict[str, FrozenSet[Address]]:
        """Return where the rows of others find each node that has a row, and this one."""
        with self._lock:
            return {nodeid: frozenset(places) for nodeid, places in self._places.items()}

    def replaced(self) -> Dict[str, str]:
        """Return the nodes that were replaced, and by which one each, as far as is known here or to peers."""
        found: Dict[str, str] = {}
        with self._lock:
            for row in self._rows.values():
                found.update(row.replaced)
            found.update((row.nodeid, row.replaced_by) for row in self._rows.values())
            found.update((nodeid, by) for nodeid, (_, by) in self._buried.items())
        return {nodeid: by for nodeid, by in found.items() if by}

    def note_replaced(
        self, found: Mapping[str, str], peers: FrozenSet[str], now: float
    ) -> None:
        """Note that nodes were replaced, and by which one each.  Bury those that nobody looks for.

        As long as the row of one of ``peers`` names a dead node, everyone who asks needs its own row
        too, to see that it was replaced.
        """
        with self._lock:
            for nodeid, by in found.items():
                if nodeid in self._rows:
                    self._rows[nodeid] = self._rows[nodeid]._replace(replaced_by=by)
                else:
                    self._bury_locked(nodeid, now, by)
            rows = [row for nodeid, row in self._rows.items() if nodeid in peers]
            named = frozenset().union(*(row.connected | row.named for row in rows))
            for row in list(self._rows.values()):
                if (row.gone or row.replaced_by) and row.nodeid not in named:
                    self._bury_locked(row.nodeid, now, row.replaced_by)

    def witnesses(self, peers: FrozenSet[str]) -> Dict[str, List[str]]:
        """Return the nodes that are neither ``peers`` nor this one: the peers connected to each."""
        with self._lock:
            connected = [(row.nodeid, row.connected) for row in self._rows.values()]
        found: Dict[str, List[str]] = {}
        for source, targets in connected:
            for nodeid in targets - peers - {self._nodeid}:
                found.setdefault(nodeid, []).extend([source] if source in peers else [])
        return found

    def _keep_to_budget_locked(self, peers: FrozenSet[str]) -> None:
        """Drop rows of nodes that are no peers: the oldest of the teller that has most of them.

        Rows of former peers, and rows that former peers have forwarded, count as those of one teller.
        """
        told: Dict[str, List[Row]] = {}
        for row in self._rows.values():
            if row.nodeid not in peers:
                told.setdefault(row.teller if row.teller in peers else "", []).append(row)
        sizes = {teller: sum(len(row.line) for row in rows) for teller, rows in told.items()}
        while told:
            most = max(told, key=lambda teller: len(told[teller]))
            if sum(sizes.values()) > FORWARDED_BYTES:
                most = max(sizes, key=lambda teller: sizes[teller])
            elif len(told[most]) <= TOLD_BY_ONE and len(self._rows) <= MAX_ROWS:
                return
            oldest = min(told[most], key=lambda row: row.measured_at)
            told[most].remove(oldest)
            sizes[most] -= len(oldest.line)
            self._drop_locked(oldest.nodeid)
            if not told[most]:
                del told[most], sizes[most]

    def _bury_locked(self, nodeid: str, now: float, replaced_by: str = "") -> None:
        self._drop_locked(nodeid)
        self._buried.pop(nodeid, None)
        self._buried[nodeid] = (now, replaced_by)
        if len(self._buried) > MAX_BURIED:
            self._buried.popitem(last=False)

    def _drop_locked(self, nodeid: str) -> None:
        self._rows.pop(nodeid, None)
        self._places.pop(nodeid, None)

    def _note_places_locked(self, row: Links) -> None:
        for link in row.links:
            if "address" in link and (link["nodeid"] in self._rows or link["nodeid"] == self._nodeid):
                places = self._places.setdefault(link["nodeid"], set())
                if len(places) < MAX_PLACES:
                    places.add(parse_wire(link["address"]))


def _read(row: Row, links: Links, now: float) -> Row:
    """Return a kept row with what ``links``, it or one shortly before it, has said."""
    return row._replace(
        connected=frozenset(link["nodeid"] for link in links.links if is_connected(link)),
        named=frozenset(link["nodeid"] for link in links.links if not is_connected(link)),
        name=links.name or "",
        started_at=min(row.started_at, now - links.age - links.running_for()),
        replaced=links.replaced,
        changes=links.changes,
        read_at=now,
        unread_for=min(4 * row.unread_for, READ_EVERY),
    )


def read_row(row: Row, now: float) -> Links:
    """Return a kept row as an object, with its age now.

    Raises ``PeerMisbehaved`` if something is wrong that its author has not been told yet.
    """
    links = messages.parse(row.line)
    assert isinstance(links, Links)  # so it begins
    if row.unread and links.wrong:
        raise PeerMisbehaved(links.wrong)
    age = max(0.0, now - row.measured_at)  # another thread may have heard it after ``now``
    return links._replace(age=age)
