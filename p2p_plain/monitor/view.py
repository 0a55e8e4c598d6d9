"""The rows put together: who is there, who reaches whom, how fast; the facts without the judgement.

Each node measures its *row*: whom it is connected to, how long a round trip takes, whether a
fresh dial of each other node works right now.  All rows together are the matrix, and they
contradict each other: some are old, some nodes are gone, some run late, some lie.  A ``View``
decides what holds; ``verdicts`` says what is wrong with it, ``grid`` and the status page draw it.

How it is decided
=================

*A direction a -> b* is

=============  ======================================================================
``up``         a's last dial of b was ok; or there is no verdict yet and a connection
               stands that a dialed (a's row says ``outbound``, or b's ``inbound``)
``down``       a's last dial of b failed, even if a connection between them stands: it
               will not come back once it breaks
``stale``      a's row is too old to say anything about now
``unknown``    everything else; so in a network of more than 128 nodes, where not
               everyone is a peer of everyone, most are unknown, and none of them down
=============  ======================================================================

*A connection has two ends.*  Where their rows differ, the younger one is believed.  A row that
does not name a node at all says that no connection to it stands (unless the row is full).

*A node* is live, down or left.  Down: nobody is connected to it, nobody can dial it, someone
tried, and its row is old (or younger than that, but its host has refused since).  Left: nobody is
connected to it, and nobody tries to dial it either (it said goodbye), or another one lives there
now (it was started anew, with a new nodeid).  What left is no fault, and counts in nothing but
``Summary.left``.

*A node that itself runs late* (its own ``lag_ms``) measures its own slowness: its failures and
its round trips blame nobody, nor do the round trips of others to it.

Rows come from strangers, who may lie about their own row and nothing else: a node without a
row of its own, named by a single row and not even connected, is not believed in.

No sockets, no threads, no clock: the same rows give the same verdicts.  Any thread.
"""

import re
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

from ..common.config import MAX_LINKS, MAX_NAME
from ..common.outcomes import FAILURES, OK
from ..common.words import brief_ms
from ..node.codec import printable
from ..node.messages import Links

Pair = Tuple[str, str]

LATE_MS = 100.0
"""A node that runs later than this cannot measure a network of milliseconds."""

LABEL_LIMIT = 32
"""Characters of a name that are shown; shorter than a nodeid, which a name then cannot imitate."""

# States of a direction.
UP = "up"
DOWN = "down"
UNKNOWN = "unknown"
STALE = "stale"


class Direction(NamedTuple):
    """What is known of a -> b (``source`` -> ``target``, nodeids).

    ``state`` is ``up``, ``down``, ``unknown`` or ``stale``; ``dial`` the source's last verdict;
    ``connected`` whether a connection stands between the two, whoever dialed it; ``p50_ms`` the
    median round trip on it, measured by the source, ``None`` if it is not to be used; ``sure_ms``
    how much of it is surely the network's: of the median and the last round trip the smaller, less
    the time by which the two nodes themselves run late; 0 while there are too few for a median.
    ``steady_ms`` is that less what it changes by from one to the next.
    """

    source: str
    target: str
    state: str
    dial: str = UNKNOWN
    connected: bool = False
    p50_ms: Optional[float] = None
    sure_ms: float = 0.0
    steady_ms: float = 0.0


class Summary(NamedTuple):
    """The counts: of nodes, and of the directions between them.

    ``nodes`` are all that have not ``left``, those that are down among them; ``current`` those
    whose own row is current.  ``known`` directions are ``up`` + ``down``; those plus ``unknown``
    (stale ones among them) make ``nodes * (nodes - 1)``.  ``p50_ms`` is the median of all round
    trips and ``worst`` the slowest direction, if any was measured; ``worst_text`` names it.
    """

    nodes: int
    current: int
    left: int
    up: int
    down: int
    unknown: int
    p50_ms: Optional[float]
    worst: Optional[Direction]
    worst_text: str

    @property
    def known(self) -> int:
        """The directions of which the state is known."""
        return self.up + self.down

    def text(self) -> str:
        """``12 nodes, 132 of 132 directions up, p50 0.3 ms, worst 1.2 ms web-03 -> db-01``."""
        parts = ["%d node%s" % (self.nodes, "" if self.nodes == 1 else "s")]
        if self.nodes > 1:
            known = "%d of %d" % (self.up, self.known)
            if self.unknown:
                parts.append("%s known directions up, %d unknown" % (known, self.unknown))
            else:
                parts.append("%s directions up" % known)
        if self.p50_ms is not None and self.worst is not None:
            parts.append("p50 %s" % brief_ms(self.p50_ms))
            parts.append("worst %s %s" % (brief_ms(self.worst.p50_ms or 0.0), self.worst_text))
        if self.left:
            parts.append("%d left" % self.left)
        return ", ".join(parts)


# -- what the callers ask ---------------------------------------------------------------


def directions(rows: Sequence[Links], stale_after: float) -> Dict[Pair, Direction]:
    """What is known, by ``(source, target)``; a pair that is not in it is unknown.

    ``stale_after`` in seconds: a row older than that says nothing about now.
    """
    return View(rows, stale_after).directions


def summary(rows: Sequence[Links], stale_after: float) -> Summary:
    """How many nodes, how many directions, how fast."""
    return count(View(rows, stale_after))


# -- the facts ----------------------------------------------------------------------------


class _Link:
    """One entry of a row, with every field of the kind that it should be."""

    __slots__ = ("dial", "direction", "has_median", "jitter_ms", "last_ms", "name", "p50_ms")

    def __init__(self, said: Dict[str, object]) -> None:
        dial, direction = said.get("dial"), said.get("direction")
        self.dial = dial if isinstance(dial, str) and (dial == OK or dial in FAILURES) else ""
        self.direction = direction if direction in ("outbound", "inbound") else ""
        self.name = said.get("name")
        last, p50 = _number(said.get("rtt_ms")), _number(said.get("rtt_p50_ms"))
        self.p50_ms = (last if p50 is None else p50) if self.direction else None
        self.has_median = p50 is not None
        self.last_ms = last
        self.jitter_ms = _number(said.get("jitter_ms")) or 0.0


def _number(value: object) -> Optional[float]:
    # type(), because isinstance(True, int) holds.
    return float(value) if type(value) in (int, float) else None  # type: ignore[arg-type]


class View:
    """The rows put together: which nodes there are, who is connected, what each direction is.

    Everything is computed when it is made, and nothing changes after.
    """

    def __init__(self, rows: Sequence[Links], stale_after: float) -> None:
        self.stale_after = stale_after
        self.rows: Dict[str, Links] = {}
        """The youngest row of each node that has one."""
        for row in rows:
            if not row.end and (row.nodeid not in self.rows or row.age < self.rows[row.nodeid].age):
                self.rows[row.nodeid] = row
        self._links: Dict[str, Dict[str, _Link]] = {
            nodeid: {said["nodeid"]: _Link(said) for said in row.links if said["nodeid"] != nodeid}
            for nodeid, row in self.rows.items()
        }
        self.current = {nodeid for nodeid, row in self.rows.items() if row.age <= stale_after}
        """Whose own row is to be believed."""
        self.late: Dict[str, float] = {
            nodeid: self.rows[nodeid].lag_ms or 0.0
            for nodeid in self.current
            if (self.rows[nodeid].lag_ms or 0.0) > LATE_MS
        }
        """Who runs late, and by how many milliseconds."""
        self.current -= self._outdated(self._told_of())
        self._of = self._told_of()
        """The same again, now without what the outdated rows say."""
        self.neighbours = self._neighbours()
        """Who is connected to whom, whoever dialed."""
        self.live: Set[str] = set()
        self.down: Set[str] = set()
        self.left: Set[str] = set()
        """All nodes are in one of these three."""
        for nodeid in self._known():
            getattr(self, self._fate(nodeid)).add(nodeid)  # the word is the name of the set
        # A row that its node did not live to correct.
        self.current &= self.live
        self.nodes = self.live | self.down
        self.replaced: Set[str] = set()
        """Those of ``left`` that seem to live on under another nodeid: ``_labels`` finds them."""
        self.label = self._labels()
        """What to call each node: safe to print, and no two the same."""
        self.directions = self._directions()

    def age(self, nodeid: str) -> float:
        """Seconds since it measured; endless for a node without a row."""
        row = self.rows.get(nodeid)
        return float("inf") if row is None else row.age

    # -- who is there ------------------------------------------------------------------

    def _told_of(self) -> Dict[str, Dict[str, _Link]]:
        """By node, what the current rows of the others say of it, by their nodeid."""
        told: Dict[str, Dict[str, _Link]] = {}
        for source in sorted(self.current):
            for target, link in self._links[source].items():
                told.setdefault(target, {})[source] = link
        return told

    def _outdated(self, told_of: Dict[str, Dict[str, _Link]]) -> Set[str]:
        """Whose row is not yet old, but was written before its program ended.

        A refused dial says so, if it is younger than the row, and if nobody at all is connected
        or could dial it: one liar's word does not take another's row away.
        """
        outdated = set()
        for nodeid in self.current:
            told = {s: link for s, link in told_of.get(nodeid, {}).items() if s not in self.late}
            if any(link.direction or link.dial == "ok" for link in told.values()):
                continue
            age = self.rows[nodeid].age
            if any(link.dial == "refused" and self.age(s) < age for s, link in told.items()):
                outdated.add(nodeid)
        return outdated

    def _says_connected(self, source: str, target: str) -> Optional[bool]:
        """What a current row says; ``None`` if it is full, and had no room to say it."""
        link = self._links[source].get(target)
        if link is not None:
            return bool(link.direction)
        return None if len(self._links[source]) >= MAX_LINKS else False

    def connected(self, a: str, b: str) -> bool:
        """Whether a connection stands between the two."""
        return b in self.neighbours.get(a, ())

    def _connected(self, a: str, b: str) -> bool:
        """The same, found out: the younger of their rows is believed."""
        said = [
            (self.rows[one].age, self._says_connected(one, other))
            for one, other in ((a, b), (b, a))
            if one in self.current
        ]
        said = [(age, stands) for age, stands in said if stands is not None]
        if not said:
            return False
        youngest = min(age for age, _ in said)
        return any(stands for age, stands in said if age == youngest)

    def _neighbours(self) -> Dict[str, Set[str]]:
        found: Dict[str, Set[str]] = {}
        for source in self.current:
            for target, link in self._links[source].items():
                if link.direction and self._connected(source, target):
                    found.setdefault(source, set()).add(target)
                    found.setdefault(target, set()).add(source)
        return found

    def _known(self) -> List[str]:
        """Every node with a row, and the others that are named by more than a stranger's whim."""
        named = {}
        for nodeid, told in self._of.items():
            if nodeid not in self.rows and (
                nodeid in self.neighbours or len(told) > 1 or len(self.current) < 3
            ):
                named[nodeid] = len(told)
        believed = sorted(named, key=lambda nodeid: (-named[nodeid], nodeid))[:MAX_LINKS]
        return sorted(self.rows) + believed

    def _fate(self, nodeid: str) -> str:
        """``live``, ``down`` or ``left``."""
        if nodeid in self.neighbours or not self.current:
            return "live"
        told = {s: k for s, k in self._of.get(nodeid, {}).items() if s not in self.late and k.dial}
        if any(link.dial == "ok" for link in told.values()):
            return "live"
        age = self.rows[nodeid].age if nodeid in self.current else float("inf")
        since = [link.dial for source, link in told.items() if self.rows[source].age < age]
        if "wrong-peer" in since:
            return "left"
        if since:
            # A row that is not yet old may be of one that is cut off: ``verdicts`` says so.
            return "live" if nodeid in self.current else "down"
        # Nobody has tried since.  If somebody's row is younger, nobody wants to any more.
        younger = any(self.rows[one].age < age for one in self.current)
        return "left" if younger else "live"

    # -- what they are called ------------------------------------------------------------

    def _labels(self) -> Dict[str, str]:
        names = {nodeid: self._name(nodeid) for nodeid in self.nodes | self.left}
        in_use = {names[nodeid] for nodeid in self.nodes if names[nodeid]}
        self.replaced = {
            nodeid
            for nodeid in self.left
            if names[nodeid] in in_use
            or any(link.dial == "wrong-peer" for link in self._of.get(nodeid, {}).values())
        }
        plain = {nodeid: _plain(name) or nodeid[:8] for nodeid, name in names.items()}
        label = dict(plain)
        # Where several would be called the same, as many digits of the nodeid as tell them apart.
        for digits in (4, 8, 13, len("01234567-89ab-4cde-8f01-23456789abcd")):
            same: Dict[str, List[str]] = {}
            for nodeid in sorted(label):
                same.setdefault(label[nodeid], []).append(nodeid)
            for nodeids in same.values():
                # Whoever is still there keeps the plain name, if it is the only one.
                here = [nodeid for nodeid in nodeids if nodeid in self.nodes]
                for nodeid in nodeids if len(here) != 1 else set(nodeids) - set(here):
                    if len(nodeids) > 1:
                        label[nodeid] = "%s (%s)" % (plain[nodeid], nodeid[:digits])
        return label

    def _name(self, nodeid: str) -> str:
        """What it calls itself, or else what most others call it."""
        row = self.rows.get(nodeid)
        if row is not None and row.name:
            return row.name
        told: Dict[str, int] = {}
        for link in self._of.get(nodeid, {}).values():
            if isinstance(link.name, str) and link.name:
                told[link.name] = told.get(link.name, 0) + 1
        return min(told, key=lambda name: (-told[name], name)) if told else ""

    # -- who reaches whom ----------------------------------------------------------------

    def _directions(self) -> Dict[Pair, Direction]:
        # Where there is no verdict yet ``dial`` is empty, and becomes ``unknown`` at the end.
        found: Dict[Pair, Direction] = {}
        for source in sorted(self.rows):
            for target, link in self._links[source].items():
                if target in self.nodes and source in self.nodes:
                    found[source, target] = self._direction(source, target, link)
        # What only the other end can tell: the source sends no rows, or has no verdict yet.
        for target in sorted(self.current):
            for source, link in self._links[target].items():
                if link.direction != "inbound" or source not in self.nodes:
                    continue
                known = found.get((source, target))
                if source in self.rows and source not in self.current:
                    continue  # the matrix shows that row as stale: all of it
                if known is not None and (known.state == UP or known.dial):
                    continue
                if self.connected(source, target):
                    known = known or Direction(source, target, UP, "", True)
                    found[source, target] = known._replace(state=UP, connected=True)
        return {pair: one._replace(dial=one.dial or UNKNOWN) for pair, one in found.items()}

    def _direction(self, source: str, target: str, link: _Link) -> Direction:
        if source not in self.current:
            return Direction(source, target, STALE, "")
        connected = self.connected(source, target)
        late = source in self.late or target in self.late
        p50_ms = link.p50_ms if connected and not late else None
        state = UNKNOWN
        if link.dial == "ok" or (not link.dial and connected and link.direction == "outbound"):
            state = UP
        elif link.dial and source not in self.late:
            state = DOWN
        sure_ms = steady_ms = 0.0
        if p50_ms is not None and link.has_median:
            now_ms = p50_ms if link.last_ms is None else min(p50_ms, link.last_ms)
            sure_ms = max(0.0, now_ms - self._lag_ms(source) - self._lag_ms(target))
            steady_ms = max(0.0, sure_ms - link.jitter_ms)
        return Direction(source, target, state, link.dial, connected, p50_ms, sure_ms, steady_ms)

    def _lag_ms(self, nodeid: str) -> float:
        row = self.rows.get(nodeid)
        return 0.0 if row is None else row.lag_ms or 0.0


_AMBIGUOUS = re.compile(r'[{}|,>"]|: |^ | $|  ')
"""What would make a name look like a part of the line it stands in."""


def _plain(name: str) -> str:
    text = printable(name, MAX_NAME)
    if len(text) > LABEL_LIMIT:
        text = text[: LABEL_LIMIT - 1] + "~"
    if _AMBIGUOUS.search(text):
        text = '"%s"' % text.replace('"', '\\"')
    return text


# -- the counts -----------------------------------------------------------------------------


def count(view: View) -> Summary:
    """The counts of a view."""
    states = [direction.state for direction in view.directions.values()]
    up, down = states.count(UP), states.count(DOWN)
    measured = [d for d in view.directions.values() if d.p50_ms is not None]
    worst = max(measured, key=lambda d: d.p50_ms or 0.0) if measured else None
    return Summary(
        nodes=len(view.nodes),
        current=len(view.current),
        left=len(view.left),
        up=up,
        down=down,
        unknown=len(view.nodes) * (len(view.nodes) - 1) - up - down,
        p50_ms=median([d.p50_ms or 0.0 for d in measured]) if measured else None,
        worst=worst,
        worst_text="" if worst is None else arrow(view, worst.source, worst.target),
    )


def median(values: Iterable[float]) -> float:
    """The middle one; of two, the smaller.  ``values`` is not empty."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]


def arrow(view: View, source: str, target: str, sign: str = "->") -> str:
    """``a -> b``, as a direction is named."""
    return "%s %s %s" % (view.label[source], sign, view.label[target])
