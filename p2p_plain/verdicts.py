"""What is wrong in the network, by its cause: who can reach whom, judged from everyone's rows.

Each node measures its *row*: whom it is connected to, how long a round trip takes, whether a
fresh dial of each other node works right now.  All rows together are the matrix.  A hundred
nodes have 9,900 directions, and one dead host spoils 198 of them: nobody wants to read that.
So this module says it in one line for each cause, the gravest first, and in exactly one line
if all is well.

Three questions are answered, by three functions over the same rows: ``directions`` (what is
known of each pair), ``verdicts`` (what is wrong, and why), ``summary`` (the counts).

How it is judged
================

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
tried, and its row is old (or younger than that, but its host has refused since).  Left: nobody is connected to it, and nobody tries to dial it
either (it said goodbye), or another one lives there now (it was started anew, with a new
nodeid).  What left is no fault, and counts in nothing but ``Summary.left``.

*A node that itself runs late* (its own ``lag_ms``) measures its own slowness: its failures and
its round trips blame nobody, nor do the round trips of others to it.

Rows come from strangers, who may lie about their own row and nothing else: a node without a
row of its own, named by a single row and not even connected, is not believed in.

No sockets, no threads, no clock: the same rows give the same verdicts.  Any thread.
"""

import re

from .codec import printable
from .config import MAX_LINKS, MAX_NAME
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Optional, Sequence, Set, Tuple

    from .messages import Links

    Pair = Tuple[str, str]

LATE_MS = 100.0
"""A node that runs later than this cannot measure a network of milliseconds."""

TOO_LATE_MS = 1000.0
"""A node that runs later than this may be the reason why dials of it time out."""

SLOW_FACTOR = 4.0
SLOW_MS = 5.0
"""Slow is what takes 4 times as long as elsewhere, and at least 5 ms longer: a switch more on the
way makes 0.9 ms of 0.2 and is no news."""

MOST_ALIKE = 8
"""Lines of one kind before the rest of them is told in one: what fits on a screen."""

MOST_NAMES = 8
"""Names in one list before the rest of them is counted."""

MOST_GROUPS = 16
"""Groups of failures looked for.  A liar's row can make many, and each costs a search."""

LABEL_LIMIT = 32
"""Characters of a name that are shown; shorter than a nodeid, which a name then cannot imitate."""

# States of a direction.
UP = "up"
DOWN = "down"
UNKNOWN = "unknown"
STALE = "stale"

# Kinds of a verdict, the gravest first (``down`` and ``unknown`` are kinds, too).
SPLIT = "split"
CUT_OFF = "cut-off"
BLOCKED = "blocked"
INBOUND = "inbound-blocked"
OUTBOUND = "outbound-blocked"
GROUP = "group"
PAIR = "pair"
SLOW = "slow"
SLOW_PAIR = "slow-pair"
LATE = "late"
WELL = "well"

KINDS = (
    SPLIT,
    CUT_OFF,
    DOWN,
    BLOCKED,
    INBOUND,
    OUTBOUND,
    GROUP,
    PAIR,
    SLOW,
    SLOW_PAIR,
    LATE,
    UNKNOWN,
    WELL,
)

FAILURES = {
    "refused": "refused",
    "timeout": "timed out",
    "unreachable": "unreachable",
    "reset": "reset",
    "wrong-peer": "wrong peer",
}
"""A dial's verdict that is a failure, and how a line says it."""

_SILENT = ("timeout", "unreachable")
"""The failures in which the host itself gave no answer."""

_AFTER_A_PAIR = {
    "refused": "host up, port closed",
    "timeout": "something between them drops connections to %s",
    "unreachable": "somebody on the way knows no way to %s",
    "reset": "broken off before the hello",
    "wrong-peer": "another node lives at the address known for %s",
}


class Direction(Record):
    """What is known of a -> b (``source`` -> ``target``, nodeids).

    ``state`` is ``up``, ``down``, ``unknown`` or ``stale``; ``dial`` the source's last verdict;
    ``connected`` whether a connection stands between the two, whoever dialed it; ``p50_ms`` the
    median round trip on it, measured by the source, ``None`` if it is not to be used; ``sure_ms``
    how much of it is surely the network's: of the median and the last round trip the smaller, less
    the time by which the two nodes themselves run late.
    """

    __slots__ = ("connected", "dial", "p50_ms", "source", "state", "sure_ms", "target")

    def __init__(
        self,
        source: str,
        target: str,
        state: str,
        dial: str = UNKNOWN,
        connected: bool = False,
        p50_ms: "Optional[float]" = None,
        sure_ms: float = 0.0,
    ) -> None:
        self.source = source
        self.target = target
        self.state = state
        self.dial = dial
        self.connected = connected
        self.p50_ms = p50_ms
        self.sure_ms = sure_ms


class Verdict(Record):
    """One line: ``text`` for people, ``kind`` one of ``KINDS``, ``nodes`` the nodeids it is about.

    For ``split``, ``group`` and ``pair`` all that take part; else the one at fault.
    """

    __slots__ = ("kind", "nodes", "text")

    def __init__(self, kind: str, nodes: "Tuple[str, ...]", text: str) -> None:
        self.kind = kind
        self.nodes = nodes
        self.text = text


class Summary(Record):
    """The counts: of nodes, and of the directions between them.

    ``nodes`` are all that have not ``left``, those that are down among them; ``current`` those
    whose own row is current.  ``known`` directions are ``up`` + ``down``; those plus ``unknown``
    (stale ones among them) make ``nodes * (nodes - 1)``.  ``p50_ms`` is the median of all round
    trips and ``worst`` the slowest direction, if any was measured; ``worst_text`` names it.
    """

    __slots__ = (
        "current",
        "down",
        "known",
        "left",
        "nodes",
        "p50_ms",
        "unknown",
        "up",
        "worst",
        "worst_text",
    )

    def __init__(
        self,
        nodes: int,
        current: int,
        left: int,
        up: int,
        down: int,
        unknown: int,
        p50_ms: "Optional[float]",
        worst: "Optional[Direction]",
        worst_text: str,
    ) -> None:
        self.nodes = nodes
        self.current = current
        self.left = left
        self.known = up + down
        self.up = up
        self.down = down
        self.unknown = unknown
        self.p50_ms = p50_ms
        self.worst = worst
        self.worst_text = worst_text

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
            parts.append("p50 %s" % milliseconds(self.p50_ms))
            parts.append("worst %s %s" % (milliseconds(self.worst.p50_ms or 0.0), self.worst_text))
        if self.left:
            parts.append("%d left" % self.left)
        return ", ".join(parts)


# -- what the callers ask ---------------------------------------------------------------


def directions(rows: "Sequence[Links]", stale_after: float) -> "Dict[Pair, Direction]":
    """What is known, by ``(source, target)``; a pair that is not in it is unknown.

    ``stale_after`` in seconds: a row older than that says nothing about now.
    """
    return View(rows, stale_after).directions


def verdicts(rows: "Sequence[Links]", stale_after: float) -> "List[Verdict]":
    """One for each cause of trouble, the gravest first; or a single one if there is none."""
    return judge(View(rows, stale_after))


def summary(rows: "Sequence[Links]", stale_after: float) -> Summary:
    """How many nodes, how many directions, how fast."""
    return count(View(rows, stale_after))


def lines(found: "Iterable[Verdict]") -> "List[str]":
    """The verdicts as text."""
    return [verdict.text for verdict in found]


def milliseconds(value: float, unit: str = " ms") -> str:
    """``0.05 ms``, ``0.3 ms``, ``12 ms``, ``153 ms``, ``1.2 s``: as exact as one compares them.

    With another ``unit`` (``""``) seconds have their ``s`` at once behind them: ``1.2s``.
    """
    if value >= 999.5:
        seconds = min(value / 1000, 999.0)  # more than a quarter of an hour is a clock gone mad
        return "%.*f%s" % (1 if seconds < 9.95 else 0, seconds, " s" if unit else "s")
    return "%.*f%s" % (2 if value < 0.095 else 1 if value < 9.95 else 0, value, unit)


def ago(seconds: float) -> str:
    """``12 s``, ``4 min``, ``3 h``, ``2 d``: the largest unit, rounded down."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return "%d %s" % (min(seconds // size, 9999), unit)
    return "%d s" % seconds


# -- the facts ----------------------------------------------------------------------------


class _Link:
    """One entry of a row, with every field of the kind that it should be."""

    __slots__ = ("dial", "direction", "last_ms", "name", "p50_ms")

    def __init__(self, said: "Dict[str, object]") -> None:
        dial, direction = said.get("dial"), said.get("direction")
        self.dial = dial if isinstance(dial, str) and (dial == "ok" or dial in FAILURES) else ""
        self.direction = direction if direction in ("outbound", "inbound") else ""
        self.name = said.get("name")
        last, p50 = _number(said.get("rtt_ms")), _number(said.get("rtt_p50_ms"))
        self.p50_ms = (last if p50 is None else p50) if self.direction else None
        self.last_ms = last


def _number(value: object) -> "Optional[float]":
    # type(), because isinstance(True, int) holds.
    return float(value) if type(value) in (int, float) else None  # type: ignore[arg-type]


class View:
    """The rows put together: which nodes there are, who is connected, what each direction is.

    Everything is computed when it is made, and nothing changes after.
    """

    def __init__(self, rows: "Sequence[Links]", stale_after: float) -> None:
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
        self.neighbours = self._neighbours()
        """Who is connected to whom, whoever dialed."""
        self.live: Set[str] = set()
        self.down: Set[str] = set()
        self.left: Set[str] = set()
        """All nodes are in one of these three."""
        for nodeid in self._known():
            getattr(self, self._fate(nodeid)).add(nodeid)
        # A row that its node did not live to correct.
        self.current &= self.live
        self.nodes = self.live | self.down
        self.replaced: Set[str] = set()
        """Those of ``left`` that seem to live on under another nodeid."""
        self.label = self._labels()
        """What to call each node: safe to print, and no two the same."""
        self.directions = self._directions()

    def age(self, nodeid: str) -> float:
        """Seconds since it measured; endless for a node without a row."""
        row = self.rows.get(nodeid)
        return float("inf") if row is None else row.age

    # -- who is there ------------------------------------------------------------------

    def _told_of(self) -> "Dict[str, Dict[str, _Link]]":
        """By node, what the current rows of the others say of it, by their nodeid."""
        told: Dict[str, Dict[str, _Link]] = {}
        for source in sorted(self.current):
            for target, link in self._links[source].items():
                told.setdefault(target, {})[source] = link
        return told

    def _outdated(self, told_of: "Dict[str, Dict[str, _Link]]") -> "Set[str]":
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

    def _says_connected(self, source: str, target: str) -> "Optional[bool]":
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

    def _neighbours(self) -> "Dict[str, Set[str]]":
        found: Dict[str, Set[str]] = {}
        for source in self.current:
            for target, link in self._links[source].items():
                if link.direction and self._connected(source, target):
                    found.setdefault(source, set()).add(target)
                    found.setdefault(target, set()).add(source)
        return found

    def _known(self) -> "List[str]":
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
            # A row that is not yet old may be of one that is cut off: _torn says so.
            return "live" if nodeid in self.current else "down"
        younger = any(self.rows[one].age < age for one in self.current)
        return "left" if younger else "live"

    # -- what they are called ------------------------------------------------------------

    def _labels(self) -> "Dict[str, str]":
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

    def _directions(self) -> "Dict[Pair, Direction]":
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
                    found[source, target] = Direction(source, target, UP, "", True)
                    if known is not None:
                        found[source, target].p50_ms = known.p50_ms
                        found[source, target].sure_ms = known.sure_ms
        for direction in found.values():
            direction.dial = direction.dial or UNKNOWN
        return found

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
        sure_ms = 0.0
        if p50_ms is not None:
            now_ms = p50_ms if link.last_ms is None else min(p50_ms, link.last_ms)
            sure_ms = max(0.0, now_ms - self._lag_ms(source) - self._lag_ms(target))
        return Direction(source, target, state, link.dial, connected, p50_ms, sure_ms)

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
        p50_ms=_median([d.p50_ms or 0.0 for d in measured]) if measured else None,
        worst=worst,
        worst_text="" if worst is None else _arrow(view, worst.source, worst.target),
    )


def _median(values: "Iterable[float]") -> float:
    """The middle one; of two, the smaller.  ``values`` is not empty."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]


# -- the judgement ----------------------------------------------------------------------------


def judge(view: View) -> "List[Verdict]":
    """The verdicts on a view."""
    failed = {pair: d.dial for pair, d in view.directions.items() if d.state == DOWN}
    # Each of these takes out of ``failed`` what it explains; the order is from the large cause
    # to the small one, so that a small one is never told for what a large one did.
    found = _late(view, failed)
    found += _vanished(view, failed)
    found += _torn(view, failed)
    found += _blocked(view, failed)
    found += _groups(view, failed)
    found += _pairs(view, failed)
    found += _slow(view)
    if not found:
        return [_well(view)]
    found.sort(key=lambda verdict: KINDS.index(verdict.kind))
    return _at_most(view, found)


def _well(view: View) -> Verdict:
    counts = count(view)
    if not view.nodes:
        return Verdict(UNKNOWN, (), "no rows: nothing is known")
    if not view.current:
        ages = [row.age for row in view.rows.values()]
        return Verdict(UNKNOWN, (), "all rows are old, the youngest %s" % ago(min(ages)))
    if counts.nodes > 1 and not counts.known:
        return Verdict(UNKNOWN, (), "%d nodes, no direction known yet" % counts.nodes)
    text = counts.text()
    silent = sorted(n for n in view.live - view.current if n in view.rows)
    if silent:
        text += ", no row lately from %s" % _names(view, silent)
    return Verdict(WELL, (), text)


def _late(view: View, failed: "Dict[Pair, str]") -> "List[Verdict]":
    """The nodes that run late.  They are why dials of them time out, if they are late enough."""
    for pair in list(failed):
        if view.late.get(pair[1], 0.0) > TOO_LATE_MS and failed[pair] in ("timeout", "reset"):
            del failed[pair]
    found = []
    for nodeid in sorted(view.late, key=lambda nodeid: (-view.late[nodeid], nodeid)):
        if nodeid in view.live:
            how = "itself slow (runs %s late)" % milliseconds(view.late[nodeid])
            text = "%s: %s; its measurements are left out" % (view.label[nodeid], how)
            found.append(Verdict(LATE, (nodeid,), text))
    return found


def _vanished(view: View, failed: "Dict[Pair, str]") -> "List[Verdict]":
    """The nodes that are down.

    Those that fell silent at once, without an answer from their hosts, have one cause: from
    this side nobody can tell whether they died or the network between was cut.
    """
    dials: Dict[str, List[str]] = {nodeid: [] for nodeid in view.down}
    for pair in sorted(failed):
        if pair[1] in dials:
            dials[pair[1]].append(failed.pop(pair))
    silent = [
        nodeid
        for nodeid in view.down
        if nodeid in view.rows and all(dial in _SILENT for dial in dials[nodeid])
    ]
    silent.sort(key=lambda nodeid: (view.age(nodeid), nodeid))
    found = []
    told: Set[str] = set()
    while silent:
        # A row is pushed every ping interval: of those that vanish together, one may have been
        # heard of a whole interval after the other.  Half of three intervals covers that.
        latest = view.age(silent[0]) + view.stale_after / 2
        at_once = [nodeid for nodeid in silent if view.age(nodeid) <= latest]
        del silent[: len(at_once)]
        if len(at_once) > 1:
            found.append(_vanished_together(view, at_once, dials))
            told.update(at_once)
    for nodeid in sorted(view.down - told, key=lambda nodeid: (view.age(nodeid), nodeid)):
        since = " since %s" % ago(view.age(nodeid)) if nodeid in view.rows else ""
        text = "%s: down%s (%s)" % (view.label[nodeid], since, _absence(dials[nodeid]))
        found.append(Verdict(DOWN, (nodeid,), text))
    return found


def _absence(dials: "List[str]") -> str:
    if not dials:
        return "nobody can dial it"
    most = max(FAILURES, key=lambda dial: dials.count(dial))
    return {
        "refused": "refused by host: not running",
        "timeout": "no answer from the host",
        "unreachable": "no way to the host",
        "reset": "connections are broken off",
    }.get(most, FAILURES[most])


def _vanished_together(view: View, gone: "List[str]", dials: "Dict[str, List[str]]") -> Verdict:
    age = ago(view.age(gone[0]))
    if len(view.live) == 1:
        (alone,) = view.live
        failures = [dial for nodeid in gone for dial in dials[nodeid]]
        text = "%s: cut off: it can dial nobody (%s); the others were last heard of %s ago" % (
            view.label[alone],
            _tally(failures, len(failures)),
            age,
        )
        return Verdict(CUT_OFF, (alone,), text)
    text = "split: %s | %s; the latter were last heard of %s ago, all at once: or they are down" % (
        _set(view, view.live),
        _set(view, gone),
        age,
    )
    return Verdict(SPLIT, tuple(sorted(view.live) + sorted(gone)), text)


def _torn(view: View, failed: "Dict[Pair, str]") -> "List[Verdict]":
    """Parts of the network without a connection between them, where dials failed."""
    parts = _parts(view)
    part_of = {nodeid: part for part in parts for nodeid in part}
    between = {
        pair for pair in failed if pair[0] in part_of and part_of[pair[0]] is not part_of[pair[1]]
    }
    torn = {min(part_of[nodeid]): part_of[nodeid] for pair in between for nodeid in pair}
    large = [part for part in torn.values() if len(part) > 1]
    single = [nodeid for part in torn.values() if len(part) == 1 for nodeid in part]
    found = []
    if not large:
        if len(single) < 3:
            return []  # two nodes that do not reach one another: that is a pair
        large, single = [{nodeid} for nodeid in single], []
    for nodeid in sorted(single):
        found.append(_cut_off(view, failed, nodeid))
    if len(large) > 1:
        large.sort(key=lambda part: (len(part), sorted(part)))
        text = "split: %s" % " | ".join(_set(view, part) for part in large)
        found.append(Verdict(SPLIT, tuple(nodeid for part in large for nodeid in part), text))
    for pair in between:
        del failed[pair]
    return found


def _parts(view: View) -> "List[Set[str]]":
    """The live nodes, grouped by who is connected (or can dial whom, by the younger row)."""
    near: Dict[str, Set[str]] = {
        nodeid: view.neighbours.get(nodeid, set()) & view.live for nodeid in view.live
    }
    for (a, b), direction in view.directions.items():
        if direction.dial == "ok" and (
            b not in view.current or view.rows[a].age <= view.rows[b].age
        ):
            near[a].add(b)
            near[b].add(a)
    parts = []
    rest = set(view.live)
    while rest:
        part: Set[str] = set()
        ahead = {min(rest)}
        while ahead:
            nodeid = ahead.pop()
            part.add(nodeid)
            ahead |= near[nodeid] - part
        rest -= part
        parts.append(part)
    return parts


def _cut_off(view: View, failed: "Dict[Pair, str]", nodeid: str) -> Verdict:
    inward = [dial for pair, dial in failed.items() if pair[1] == nodeid]
    outward = [dial for pair, dial in failed.items() if pair[0] == nodeid]
    what = []
    if inward:
        what.append("nobody can dial it (%s)" % _tally(inward, len(inward)))
    if outward:
        what.append("it can dial nobody (%s)" % _tally(outward, len(outward)))
    return Verdict(CUT_OFF, (nodeid,), "%s: cut off: %s" % (view.label[nodeid], ", ".join(what)))


class _Known:
    """The directions that are known among live nodes, by either end: who could be a witness."""

    def __init__(self, view: View) -> None:
        self.into: Dict[str, Set[Pair]] = {}
        self.out_of: Dict[str, Set[Pair]] = {}
        self.up: Set[Pair] = set()
        for pair, direction in view.directions.items():
            if direction.state in (UP, DOWN) and pair[0] in view.live and pair[1] in view.live:
                self.into.setdefault(pair[1], set()).add(pair)
                self.out_of.setdefault(pair[0], set()).add(pair)
                if direction.state == UP:
                    self.up.add(pair)


def _blocked(view: View, failed: "Dict[Pair, str]") -> "List[Verdict]":
    """Nodes that nobody can dial, and nodes that can dial nobody; or all of them."""
    known = _Known(view)
    sources = {pair[0] for pair in failed}
    targets = {pair[1] for pair in failed}
    dials = {direction.dial for direction in view.directions.values()}
    if len(sources) > 2 and len(targets) > 2 and "ok" not in dials:
        text = (
            "nobody can dial anybody (%s), what is connected stays so: "
            "new connections are blocked everywhere" % _tally(failed.values(), len(failed))
        )
        failed.clear()
        return [Verdict(BLOCKED, tuple(sorted(sources)), text)]
    blocked: Dict[Pair, Set[Pair]] = {}
    for kind, pairs_of in ((INBOUND, known.into), (OUTBOUND, known.out_of)):
        for nodeid, pairs in pairs_of.items():
            if len(pairs) > 1 and pairs <= failed.keys():
                blocked[kind, nodeid] = pairs
    # If all of a, b and c can dial nobody then nobody can dial d; but nothing is wrong with d.
    causes_of: Dict[Pair, int] = {}
    for pairs in blocked.values():
        for pair in pairs:
            causes_of[pair] = causes_of.get(pair, 0) + 1
    for cause in sorted(blocked, key=lambda c: (len(blocked[c]), c[0] == INBOUND, c)):
        if all(causes_of[pair] > 1 for pair in blocked[cause]):
            for pair in blocked.pop(cause):
                causes_of[pair] -= 1
    found = []
    for kind, nodeid in sorted(blocked, key=lambda cause: (-len(blocked[cause]), cause)):
        pairs = blocked[kind, nodeid]
        tally = _tally([failed[pair] for pair in pairs], len(pairs))
        # What another block explains says nothing about what this node can do the other way.
        if kind == INBOUND:
            back = {p for p in known.out_of.get(nodeid, set()) if (INBOUND, p[1]) not in blocked}
            elsewhere = all(failed[pair] == "wrong-peer" for pair in pairs)
            text = "nobody can dial it (%s)%s: %s" % (
                tally,
                _either(len(back & known.up), len(back), "it dials everyone", "it dials %d of %d"),
                "another node lives at its address" if elsewhere else "inbound blocked",
            )
        else:
            back = {p for p in known.into.get(nodeid, set()) if (OUTBOUND, p[0]) not in blocked}
            text = "can dial nobody (%s)%s: outbound blocked" % (
                tally,
                _either(len(back & known.up), len(back), "everyone dials it", "%d of %d dial it"),
            )
        found.append(Verdict(kind, (nodeid,), "%s: %s" % (view.label[nodeid], text)))
    for pairs in blocked.values():
        for pair in pairs:
            failed.pop(pair, None)
    return found


def _either(some: int, total: int, all_of_them: str, some_of_them: str) -> str:
    if not total:
        return ""
    return ", " + (all_of_them if some == total else some_of_them % (some, total))


def _groups(view: View, failed: "Dict[Pair, str]") -> "List[Verdict]":
    """Several sources that all fail to dial the same several targets: something between them.

    Three that cannot dial one target, or one that cannot dial three, are a group, too.
    """
    known = _Known(view)
    found = []
    for _ in range(MOST_GROUPS):
        sources, targets = _largest_group(failed)
        if len(sources) * len(targets) < 3:
            break
        pairs = {(s, t) for s in sources for t in targets}
        back = {(t, s) for s, t in pairs}
        both = back <= failed.keys()
        taken = pairs | back if both else pairs
        tally = _tally([failed[pair] for pair in taken], len(taken))
        if both:
            text = "%s <-> %s: no dial passes either way (%s)" % (
                _set(view, sources),
                _set(view, targets),
                tally,
            )
        elif len(targets) == 1:
            (target,) = targets
            text = "%s: %d of %d cannot dial it (%s): %s" % (
                view.label[target],
                len(pairs),
                len(known.into[target]),
                tally,
                _names(view, sources),
            )
        elif len(sources) == 1:
            (source,) = sources
            text = "%s: cannot dial %d of %d (%s): %s" % (
                view.label[source],
                len(pairs),
                len(known.out_of[source]),
                tally,
                _names(view, targets),
            )
        else:
            fine = ", the other way fine" if back <= known.up else ""
            text = "%s -> %s: every dial fails (%s)%s" % (
                _set(view, sources),
                _set(view, targets),
                tally,
                fine,
            )
        found.append(Verdict(GROUP, tuple(sorted(sources)) + tuple(sorted(targets)), text))
        for pair in taken:
            del failed[pair]
    return found


def _largest_group(failed: "Dict[Pair, str]") -> "Tuple[Set[str], Set[str]]":
    """Sources and targets of which every pair failed, as many pairs as can be.

    Finding the very largest is a hard problem; beginning with the eight sources and the eight
    targets that fail most finds what a firewall between two groups makes.
    """
    targets_of: Dict[str, Set[str]] = {}
    sources_of: Dict[str, Set[str]] = {}
    for source, target in failed:
        targets_of.setdefault(source, set()).add(target)
        sources_of.setdefault(target, set()).add(source)
    best: Tuple[Set[str], Set[str]] = (set(), set())
    for by_source, one, other in ((True, targets_of, sources_of), (False, sources_of, targets_of)):
        for nodeid in sorted(one, key=lambda nodeid: (-len(one[nodeid]), nodeid))[:8]:
            # Everyone who fails at all that this one fails at.
            there = one[nodeid]
            here = set.intersection(*(other[far] for far in there))
            if len(here) * len(there) > len(best[0]) * len(best[1]):
                best = (here, there) if by_source else (there, here)
    return best


def _pairs(view: View, failed: "Dict[Pair, str]") -> "List[Verdict]":
    """What is left: single pairs."""
    found = []
    for source, target in sorted(failed, key=lambda p: (view.label[p[0]], view.label[p[1]])):
        if (source, target) not in failed:
            continue  # told with the other direction
        dial = failed[source, target]
        back = failed.get((target, source))
        nodes = (source, target)
        if back == dial:
            text = "%s %s both ways" % (_arrow(view, source, target, "<->"), FAILURES[dial])
            if dial == "refused":
                text += ": hosts up, ports closed"
            elif view.directions[source, target].connected:
                text += ", while their connection stands"
            else:
                text += ": nothing passes between them"
        else:
            text = "%s %s" % (_arrow(view, source, target), FAILURES[dial])
            if back is not None:
                text += ", %s %s" % (_arrow(view, target, source), FAILURES[back])
            elif dial in _SILENT and not _still_fine(view, source, target):
                text += ": no answer, no connection"
            else:
                if dial in _SILENT:
                    text += ", %s fine" % _arrow(view, target, source)
                reason = _AFTER_A_PAIR[dial]
                text += ": %s" % (reason % view.label[target] if "%s" in reason else reason)
        if back is not None:
            del failed[target, source]
        found.append(Verdict(PAIR, nodes, text))
    failed.clear()
    return found


def _still_fine(view: View, source: str, target: str) -> bool:
    """Whether the way back is up, and not by a row from before the failure."""
    reverse = view.directions.get((target, source))
    if reverse is None or reverse.state != UP:
        return False
    return reverse.connected or view.age(target) <= view.age(source)


def _slow(view: View) -> "List[Verdict]":
    """Nodes that are slow to everyone, and pairs that are slower than the way by a third node.

    Two sites far from one another are neither: each node is near to its own, and there is no
    shorter way by anyone else.  And slow is only what both ends find slow, in the median and now,
    and more so than they run late themselves: a machine with too much to do has round trips of
    10 ms here and there, and a network that starts up has few to take the median of.
    """
    rtt: Dict[str, Dict[str, float]] = {}
    sure: Dict[str, Dict[str, float]] = {}
    for (a, b), direction in view.directions.items():
        if direction.p50_ms is not None:
            for times, ms in ((rtt, direction.p50_ms), (sure, direction.sure_ms)):
                least = min(ms, times.get(a, {}).get(b, ms))
                times.setdefault(a, {})[b] = times.setdefault(b, {})[a] = least
    if len(rtt) < 3:
        return []
    nearest = {nodeid: min(times.values()) for nodeid, times in rtt.items()}
    usual = _median(nearest.values())
    slow = {n for n in rtt if len(rtt[n]) > 1 and _much_more(min(sure[n].values()), usual)}
    rest = [rtt[a][b] for a in rtt for b in rtt[a] if a < b and a not in slow and b not in slow]
    found = []
    for nodeid in sorted(slow, key=lambda nodeid: (-nearest[nodeid], nodeid)):
        text = "%s: slow to everyone (p50 %s, others %s)" % (
            view.label[nodeid],
            milliseconds(_median(rtt[nodeid].values())),
            milliseconds(_median(rest) if rest else usual),
        )
        found.append(Verdict(SLOW, (nodeid,), text))
    near = {n: sorted(times, key=lambda m: (times[m], m))[:8] for n, times in rtt.items()}
    pairs = [
        (-rtt[a][b], a, b)
        for a in rtt
        for b in rtt[a]
        if a < b and a not in slow and b not in slow and _much_more(sure[a][b], usual)
    ]
    for _, a, b in sorted(pairs):
        ways = [
            (rtt[a][c] + rtt[c][b], c) for c in near[a] + near[b] if c in rtt[a] and c in rtt[b]
        ]
        if ways and _much_more(sure[a][b], min(ways)[0]):
            one, other = sorted((a, b), key=lambda nodeid: natural(view.label[nodeid]))
            text = "%s slow (p50 %s, by way of %s %s)" % (
                _arrow(view, one, other, "<->"),
                milliseconds(rtt[a][b]),
                view.label[min(ways)[1]],
                milliseconds(min(ways)[0]),
            )
            found.append(Verdict(SLOW_PAIR, (a, b), text))
    return found


def _much_more(value: float, than: float) -> bool:
    return value > SLOW_FACTOR * than and value > than + SLOW_MS


def _at_most(view: View, found: "List[Verdict]") -> "List[Verdict]":
    """The same, with the rest of each kind told in one line where there are too many."""
    kept: List[Verdict] = []
    for kind in KINDS:
        alike = [verdict for verdict in found if verdict.kind == kind]
        if len(alike) <= MOST_ALIKE:
            kept += alike
            continue
        rest = alike[MOST_ALIKE - 1 :]
        nodes = tuple(sorted({nodeid for verdict in rest for nodeid in verdict.nodes}))
        text = "%d more like this (%s): %s" % (len(rest), kind, _names(view, nodes))
        kept += [*alike[: MOST_ALIKE - 1], Verdict(kind, nodes, text)]
    return kept


# -- the words ----------------------------------------------------------------------------------


def _tally(dials: "Iterable[str]", total: int) -> str:
    """``5 of 5 timed out``, ``3 of 5 timed out, 2 refused``."""
    dials = list(dials)
    counted = sorted(((dials.count(dial), dial) for dial in set(dials)), reverse=True)
    first = "%d of %d %s" % (counted[0][0], total, FAILURES[counted[0][1]])
    return ", ".join([first] + ["%d %s" % (n, FAILURES[dial]) for n, dial in counted[1:]])


def _names(view: View, nodes: "Iterable[str]") -> str:
    labels = sorted((view.label[nodeid] for nodeid in nodes), key=natural)
    if len(labels) > MOST_NAMES:
        more = len(labels) - MOST_NAMES + 1
        labels = labels[: MOST_NAMES - 1] + ["%d more" % more]
    return ", ".join(labels)


def _set(view: View, nodes: "Iterable[str]") -> str:
    return "{%s}" % _names(view, nodes)


def _arrow(view: View, source: str, target: str, sign: str = "->") -> str:
    return "%s %s %s" % (view.label[source], sign, view.label[target])


def natural(label: str) -> "Tuple[List[Tuple[int, str]], str]":
    """A key that sorts ``web-2`` before ``web-10``."""
    parts = re.split("([0-9]+)", label.lower())
    numbers = [(int(part), "") if i % 2 else (-1, part) for i, part in enumerate(parts)]
    return numbers, label
