"""The view: everyone's rows put together.  Facts only; ``judge`` says what is wrong with them.

Each node measures its *row*: to which nodes it is connected, how long a round trip takes, whether a
fresh dial of each node works now.  All rows together are the matrix.  They contradict each other:
some are old, some nodes are gone, some run late, some lie.  A ``View`` decides what holds.

*A direction a -> b* is

=============  ======================================================================
``up``         a's last dial of b was ok; or a has not dialed b yet, and a connection
               stands that a dialed (a's row says ``outbound``, or b's ``inbound``)
``down``       a's last dial of b failed, even if a connection between them stands: once
               that breaks, a cannot make another
``stale``      a's row is too old to say anything about now; the row itself says when that is
``unknown``    everything else.  In a network of more than 128 nodes, where not everyone is
               a peer of everyone, most directions are unknown, and none of these is down
=============  ======================================================================

*A connection has two ends.*  Where their rows differ, the younger one is believed.  A row that
does not name a node at all says that no connection to it stands (unless the row is full).

*A node* is live, down or left.

=============  ======================================================================
``down``       nobody is connected to it, nobody can dial it, somebody tried, and its row
               is old (or younger, but its host has refused a dial since, or something
               else has answered there)
``left``       nobody is connected to it, and nobody tries to dial it any more (it said
               goodbye), or it was replaced: another node lives at its address now, or the
               same node under a new nodeid (``restarts``).  That is no fault, and only
               ``Summary.left`` counts it
``live``       everything else
=============  ======================================================================

*Rows outlive their nodes*, and the rows of two dead ones may say that they are connected.  So "nobody"
is a question of *witnesses*: the asked node, the nodes to which it is connected, those to which they
are connected, and so on.  A node that no witness is connected to is down if its host refuses to
connect; if there is only silence, it may be on the other side of a cut.

*A node that runs late itself* (its own ``lag_ms``) measures its own slowness.  Its failures and its
round trips are not held against others, nor the round trips of others against it.

*Rows come from strangers*, who can lie in their own row and in no other.  So a node counts only if
another one vouches for it that the asked node has reason to believe (``belief``).  A node without a
row of its own is ignored if only one row names it and no node is connected to it.

No sockets, threads or clock: the same rows give the same view.  Any thread.
"""

from ..common.address import Address, parse_wire
from ..common.outcomes import FAILURES, OK, UNKNOWN, WRONG_PEER, is_vacant
from ..common.typing import (
    Any, Collection, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple,
)
from ..common.words import natural
from .belief import MOST_NODES, Belief, brief_nodes, counted
from .entries import Entry, holes, lossy_ways
from .labels import make_labels
from .restarts import Life, find_replaced
from .row_messages import LATE_MS, MAX_LINKS, Links, is_connected
from .rows import ROWS_A_SECOND, STALE_AFTER_INTERVALS

Pair = Tuple[str, str]
"""The nodeids of a direction: source, target."""

NEWS_TAKE = 10.0
"""Seconds after which everyone's row shows that a node was replaced, at the longest."""

MOST_STALE_AFTER = 3 * 3600.0
"""Seconds for which a row is current at the most, three ping intervals of an hour.  Otherwise a row
could claim to hold for ever.  A node with a longer interval than that believes others as long as its
own rows hold."""

HARMFUL_LOSS = 5.0
"""How many of a hundred packets must be lost to explain slow round trips and broken connections."""


class State:
    """The states of a direction."""

    UP = "up"
    DOWN = "down"
    STALE = "stale"
    UNKNOWN = "unknown"


class Fate:
    """What has become of a node."""

    LIVE = "live"
    DOWN = "down"
    LEFT = "left"


class Direction(NamedTuple):
    """What is known of source -> target (nodeids)."""

    source: str
    target: str
    state: str
    """One of ``State``."""
    dial: str = UNKNOWN
    """The outcome of the source's last dial."""
    connected: bool = False
    """True if a connection stands between the two, whichever end dialed it."""
    p50_ms: Optional[float] = None
    """Median round trip on that connection, measured by the source; ``None`` if it is unusable."""
    sure_ms: float = 0.0
    """How much of that is surely the network's: the smaller one of the median and the last round
    trip, minus the lateness of both nodes.  0 while there are too few for a median."""
    steady_ms: float = 0.0
    """``sure_ms`` minus the jitter."""
    held_ms: float = 0.0
    """How long the target holds the source's pings, which is not in the above; 0 if that is normal."""
    why: str = ""
    """A key of ``outcomes.WHYS`` where more is known of a failed dial; perhaps one of another version."""
    loss_pct: float = 0.0
    """How many of a hundred packets from source to target are lost; 0 where no loss is known."""
    loss_segs: float = 0.0
    """Of how many that was measured."""
    hole: Optional[int] = None
    """Bytes of the largest packet that passes, 0 if that is unknown; ``None`` if large ones do, too."""


class View:
    """Everyone's rows put together.  The constructor computes everything, and nothing changes after.

    ``rows`` has at most one row of each node, that of the asked node first.  ``stale_after`` is the
    asked node's own, in seconds.
    """

    def __init__(self, rows: Sequence[Links], stale_after: float) -> None:
        self.stale_after = stale_after
        self._root = ""
        """The asked node: no row is younger than its own."""
        self.belief = Belief(frozenset(), {}, 0)
        self.brief: Set[str] = set()
        """The nodes that have been known for less than ``belief.BRIEF`` seconds."""
        self.peers = {link["nodeid"] for row in rows[:1] for link in row.links if is_connected(link)}
        """The peers of the asked node: their rows come from themselves."""
        self._full = {row.nodeid for row in rows if len(row.links) >= MAX_LINKS}
        """The nodes whose row had no room for more links."""
        if rows:
            own = min(rows, key=lambda row: row.age)
            self._root = own.nodeid
            rows, self.belief = counted(rows, own)
            self.brief = brief_nodes(rows, own, self.belief)
        # A node that had few peers when it sent its last row may have many now, and send rows less often.
        of_peers = STALE_AFTER_INTERVALS * len(self.peers) / ROWS_A_SECOND
        # Other rows come when the asked node asks for them: once in its own ping interval.
        least = {row.nodeid: of_peers if row.nodeid in self.peers else stale_after for row in rows}
        self._stale_after = {
            row.nodeid: _stale_after(row, stale_after, least[row.nodeid]) for row in rows
        }
        self.rows: Dict[str, Links] = {row.nodeid: row for row in rows}
        self._entries: Dict[str, Dict[str, Entry]] = {
            row.nodeid: {
                link["nodeid"]: Entry(link) for link in row.links if link["nodeid"] != row.nodeid
            }
            for row in rows
        }
        self.current = {row.nodeid for row in rows if row.age <= self._stale_after[row.nodeid]}
        """The nodes whose own row holds."""
        self.late: Dict[str, float] = {
            row.nodeid: row.lag_ms
            for row in rows
            if row.nodeid in self.current and row.lag_ms is not None and row.lag_ms > LATE_MS
        }
        """The nodes that run late, and by how many milliseconds."""
        self.current -= self._outdated(self._entries_by_target(self._sure_witnesses()))
        self._about = self._entries_by_target(self.current)
        """What the current rows of others say of a node: by target, then by source."""
        self.neighbours = self._neighbours()
        """To which nodes each node is connected, whichever end dialed."""
        self._within_reach = self._connected_to({self._root})
        self.fate = {nodeid: self._fate(nodeid) for nodeid in self._known()}
        """What has become of each node, one of ``Fate``."""
        names = {nodeid: self._name(nodeid) for nodeid in self.fate}
        self.replaced = self._replaced(names)
        """The nodes of ``left`` that seem to live on under another nodeid."""
        self.live = self._with_fate(Fate.LIVE)
        self.down = self._with_fate(Fate.DOWN)
        self.left = self._with_fate(Fate.LEFT)
        self.current &= self.live  # a node that is down did not live to correct its row
        self.nodes = self.live | self.down
        self.label = make_labels(names, self.nodes)
        """What to call each node: safe to print, and no two the same."""
        self.directions = self._directions()
        """What is known, by source and target.  A pair that is missing is unknown."""

    def age(self, nodeid: str) -> float:
        """Return the seconds since a node measured its row; infinite if it has none."""
        row = self.rows.get(nodeid)
        return float("inf") if row is None else row.age

    def stale_after_of(self, nodeid: str) -> float:
        """Return the age in seconds from which on a node's row says nothing about now."""
        return self._stale_after.get(nodeid, self.stale_after)

    def connected(self, a: str, b: str) -> bool:
        """True if a connection stands between the two."""
        return b in self.neighbours.get(a, ())

    def loss_pct(self, source: str, target: str) -> float:
        """Return how many of a hundred packets are lost; 0 where no loss is known."""
        direction = self.directions.get((source, target))
        return 0.0 if direction is None else direction.loss_pct

    def is_lossy(self, a: str, b: str) -> bool:
        """True if so much is lost between the two that round trips and connections suffer."""
        return max(self.loss_pct(a, b), self.loss_pct(b, a)) >= HARMFUL_LOSS

    def has_hole(self, a: str, b: str) -> bool:
        """True if large packets are lost between the two, either way."""
        ways = (self.directions.get((a, b)), self.directions.get((b, a)))
        return any(way is not None and way.hole is not None for way in ways)

    def why(self, pair: Pair) -> str:
        """Return what more is known of a failed dial: see ``Direction.why``."""
        direction = self.directions.get(pair)
        return "" if direction is None else direction.why

    def in_order(self, most: int = MOST_NODES) -> List[str]:
        """Return the nodeids in the order in which the matrix numbers them: by label.

        Nodes that have been restarted since are left out: their old rows would be in the way.  If there
        are more than ``most``, those for which one node alone vouches are left out first, and then those
        that have not been known for long.
        """
        shown = sorted(self.fate.keys() - self.replaced, key=lambda n: (natural(self.label[n]), n))
        if len(shown) > most:
            kept = set(sorted(shown, key=lambda n: (n in self.belief.alone, n in self.brief))[:most])
            shown = [nodeid for nodeid in shown if nodeid in kept]
        return shown

    def arrow(self, source: str, target: str, sign: str = "->") -> str:
        """Return ``a -> b``, the labels of a direction's nodes."""
        return "%s %s %s" % (self.label[source], sign, self.label[target])

    def node_as_dict(self, nodeid: str) -> Dict[str, Any]:
        """Return what is known of a node itself, for JSON."""
        row = self.rows.get(nodeid)
        return {
            "nodeid": nodeid,
            "name": self.label[nodeid],
            "state": self.fate[nodeid],
            "age": None if row is None else round(row.age, 1),
            "current": nodeid in self.current,
            "late_ms": self.late.get(nodeid),
            "loss_measured": row is not None and row.measures_loss,
        }

    # -- nodes ---------------------------------------------------------------------------

    def _entries_by_target(self, sources: Collection[str]) -> Dict[str, Dict[str, Entry]]:
        found: Dict[str, Dict[str, Entry]] = {}
        for source in sorted(sources):
            for target, entry in self._entries[source].items():
                found.setdefault(target, {})[source] = entry
        return found

    def _sure_witnesses(self) -> Set[str]:
        """Return the asked node, and those to which a witness says that it is connected.

        What a node says of its own connections does not make it a witness: it may be dead since.
        """
        found: Set[str] = set()
        ahead = {self._root} & self.current
        while ahead:
            source = ahead.pop()
            found.add(source)
            for target in (self._entries[source].keys() & self.current) - found:
                if self._entries[source][target].direction and self._is_connected(source, target):
                    ahead.add(target)
        return found

    def _outdated(self, about: Dict[str, Dict[str, Entry]]) -> Set[str]:
        """Return the nodes whose row is young, but was written before their program ended.

        A dial that is younger than the row shows that if its host refused it, or if something else has
        answered there, unless a witness is connected to it or could dial it.  So one liar cannot take
        another node's row away.
        """
        outdated = set()
        for nodeid in self.current:
            entries = {
                source: entry
                for source, entry in about.get(nodeid, {}).items()
                if source not in self.late and self._may_judge(source, nodeid)
            }
            if any(entry.direction or entry.dial == OK for entry in entries.values()):
                continue
            age = self.rows[nodeid].age
            if any(is_vacant(e.dial, e.why) and self.age(s) < age for s, e in entries.items()):
                outdated.add(nodeid)
        return outdated

    def _neighbours(self) -> Dict[str, Set[str]]:
        found: Dict[str, Set[str]] = {}
        for source in self.current:
            mine = found.setdefault(source, set())
            for target, entry in self._entries[source].items():
                if entry.direction and target not in mine and self._is_connected(source, target):
                    mine.add(target)
                    found.setdefault(target, set()).add(source)
        return {nodeid: others for nodeid, others in found.items() if others}

    def _is_connected(self, a: str, b: str) -> bool:
        """True if the younger one of their rows says so; of two equally old, any."""
        claims = [
            (self.rows[one].age, self._claims_connection(one, other))
            for one, other in ((a, b), (b, a))
            if one in self.current and self._may_judge(one, other)
        ]
        claims = [(age, stands) for age, stands in claims if stands is not None]
        youngest = min((age for age, _ in claims), default=0.0)
        return any(stands for age, stands in claims if age == youngest)

    def _counts_as_failed(self, source: str, target: str) -> bool:
        """True if a failed dial counts: the source may judge, or the other direction fails as well."""
        back = self._entries[target].get(source) if target in self.current else None
        return self._may_judge(source, target) or (back is not None and back.dial in FAILURES)

    def _may_judge(self, source: str, target: str) -> bool:
        """True if the word of ``source`` about ``target`` counts.

        It does not if one node alone vouches for ``source``, and more than one for ``target``.
        """
        return source not in self.belief.alone or target in self.belief.alone

    def _claims_connection(self, source: str, target: str) -> Optional[bool]:
        """Return what a current row says; ``None`` if it is full, and had no room to say it."""
        entry = self._entries[source].get(target)
        if entry is not None:
            return bool(entry.direction)
        return None if source in self._full else False

    def _known(self) -> List[str]:
        """Return the nodes with a row, and those that more than one stranger's row names."""
        named = {
            nodeid: len(entries)
            for nodeid, entries in self._about.items()
            if nodeid not in self.rows
            and (nodeid in self.neighbours or len(entries) > 1 or len(self.current) < 3)
        }
        believed = sorted(named, key=lambda nodeid: (-named[nodeid], nodeid))[:MAX_LINKS]
        return sorted(self.rows) + believed

    def _connected_to(self, nodeids: Set[str]) -> Set[str]:
        """Return these nodes, and all that a chain of connections leads to."""
        found: Set[str] = set()
        ahead = set(nodeids)
        while ahead:
            nodeid = ahead.pop()
            found.add(nodeid)
            ahead |= self.neighbours.get(nodeid, set()) - found
        return found

    def _with_fate(self, fate: str) -> Set[str]:
        return {nodeid for nodeid, its in self.fate.items() if its == fate}

    def _fate(self, nodeid: str) -> str:
        if nodeid in self._within_reach or not self.current:
            return Fate.LIVE
        dials = {
            source: entry.dial
            for source, entry in self._about.get(nodeid, {}).items()
            if source in self._within_reach and source not in self.late and entry.dial != UNKNOWN
            if self._may_judge(source, nodeid)
        }
        if OK in dials.values():
            return Fate.LIVE
        age = self.rows[nodeid].age if nodeid in self.current else float("inf")
        since = {source: dial for source, dial in dials.items() if self.rows[source].age < age}
        # To the last version (no ``probe_interval``) a web server is another node, too.
        sure = [dial for s, dial in since.items() if self.rows[s].probe_interval is not None]
        if WRONG_PEER in (sure or since.values()):
            return Fate.LEFT
        if since:
            # A node whose row is not yet old may be cut off instead: ``outages`` says so.
            return Fate.LIVE if nodeid in self.current else Fate.DOWN
        # No witness has tried since.  Perhaps none has ever met it, and it has others to talk to.
        company = self.neighbours.get(nodeid, set())
        if any(other in self.current or other not in self.rows for other in company):
            return Fate.LIVE
        # If somebody has measured since, nobody wants to try any more.
        younger = any(self.rows[one].age < age for one in self.current & self._within_reach)
        return Fate.LEFT if younger else Fate.LIVE

    def _name(self, nodeid: str) -> str:
        """Return what a node calls itself, or else what most others call it; perhaps empty."""
        row = self.rows.get(nodeid)
        if row is not None and row.name:
            return row.name
        votes: Dict[str, int] = {}
        for entry in self._about.get(nodeid, {}).values():
            if entry.name:
                votes[entry.name] = votes.get(entry.name, 0) + 1
        return min(votes, key=lambda name: (-votes[name], name)) if votes else ""

    def _replaced(self, names: Dict[str, str]) -> Set[str]:
        """Return the nodes that were replaced; those that were down have left."""
        gone = {nodeid for nodeid, fate in self.fate.items() if fate != Fate.LIVE}
        if not gone:
            return set()
        found = set(find_replaced(self._lives(names, gone), self._said_to_be_replaced()))
        self.fate.update(dict.fromkeys(found, Fate.LEFT))
        in_use = {names[nodeid] for nodeid, fate in self.fate.items() if fate != Fate.LEFT} - {""}
        return found | {
            nodeid
            for nodeid in self._with_fate(Fate.LEFT)
            if names[nodeid] in in_use
            or any(entry.dial == WRONG_PEER for entry in self._about.get(nodeid, {}).values())
        }

    def _lives(self, names: Dict[str, str], gone: Set[str]) -> List[Life]:
        """Return the lives of all nodes; the time now is 0.

        Of a node without a row neither end is known.  It may have died before the asked node started,
        and then only a new node can have replaced it.
        """
        places: Dict[str, Set[Address]] = {}
        for entries in self._entries.values():
            for target, entry in entries.items():
                if entry.address:
                    places.setdefault(target, set()).add(parse_wire(entry.address))
        lives = []
        for nodeid in self.fate:
            row = self.rows.get(nodeid)
            heard, start = -NEWS_TAKE, float("-inf")
            if row is not None:
                heard, start = -row.age, -row.age - row.running_for()
            addresses = frozenset(places.get(nodeid, ()))
            lives.append(Life(nodeid, names[nodeid], addresses, start, heard, nodeid in gone))
        return lives

    def _said_to_be_replaced(self) -> Dict[str, str]:
        """Return the nodes of which a witness says by which one they were replaced."""
        found: Dict[str, str] = {}
        for nodeid in sorted(self.current & self._within_reach, key=self.age, reverse=True):
            found.update(self.rows[nodeid].replaced)
        return found

    # -- directions ----------------------------------------------------------------------

    def _directions(self) -> Dict[Pair, Direction]:
        found: Dict[Pair, Direction] = {}
        for source in sorted(self.rows):
            if source in self.nodes:
                for target, entry in self._entries[source].items():
                    if target in self.nodes:
                        found[source, target] = self._direction(source, target, entry)
        # What only the target's row says: the source sends no rows, or has not dialed yet.
        for target in sorted(self.current):
            for source, entry in self._entries[target].items():
                if entry.direction != "inbound" or source not in self.nodes:
                    continue
                if source in self.rows and source not in self.current:
                    continue  # the matrix shows that row as stale: all of it
                known = found.get((source, target)) or Direction(source, target, State.UNKNOWN)
                if known.dial == UNKNOWN and self.connected(source, target):
                    found[source, target] = known._replace(state=State.UP, connected=True)
        for pair, entry in lossy_ways(self._entries, self.current):
            if pair in found:
                found[pair] = found[pair]._replace(loss_pct=entry.loss_pct, loss_segs=entry.loss_segs)
        for pair, hole in holes(self._entries, self.current, self.late).items():
            if pair in found:
                found[pair] = found[pair]._replace(hole=hole)
        return found

    def _direction(self, source: str, target: str, entry: Entry) -> Direction:
        if source not in self.current:
            return Direction(source, target, State.STALE)
        connected = self.connected(source, target)
        dial = entry.dial
        state = State.UNKNOWN
        if dial == OK or (dial == UNKNOWN and connected and entry.direction == "outbound"):
            state = State.UP
        elif dial != UNKNOWN and source not in self.late and self._counts_as_failed(source, target):
            state = State.DOWN
        if not connected or entry.p50_ms is None or source in self.late or target in self.late:
            return Direction(source, target, state, dial, connected, why=entry.why)
        sure_ms = steady_ms = 0.0
        if entry.has_median:
            now_ms = entry.p50_ms if entry.last_ms is None else min(entry.p50_ms, entry.last_ms)
            sure_ms = max(0.0, now_ms - self._lag_ms(source) - self._lag_ms(target))
            steady_ms = max(0.0, sure_ms - entry.jitter_ms)
        measured = (entry.p50_ms, sure_ms, steady_ms, entry.held_ms)
        return Direction(source, target, state, dial, connected, *measured, why=entry.why)

    def _lag_ms(self, nodeid: str) -> float:
        row = self.rows.get(nodeid)
        return 0.0 if row is None else row.lag_ms or 0.0


def _stale_after(row: Links, ours: float, least: float) -> float:
    """Return the age from which on a row counts no more; ``ours`` is that of the asked node's own rows."""
    if row.stale_after is None:
        return ours
    return min(max(row.stale_after, least), max(ours, MOST_STALE_AFTER))
