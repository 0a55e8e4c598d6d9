"""Verdicts on paths where packets over some size are lost (``holes``), the largest cause first.

Connections break there for any program that says more than a few words at once, so these are no harmless
verdicts.  A host with a wrong MTU is one verdict, and so is a tunnel between two sites.

No sockets, threads or clock.
"""

from ..common.typing import Collection, Dict, List, Set
from ..common.words import natural
from .grouping import Cause, both_ways, drop_needless, largest_group
from .verdict import Kind, Verdict, set_of
from .view import Pair, State, View

_Holes = Dict[Pair, int]
"""Directions with a hole that are not explained yet; see ``Direction.hole``."""


def holes(view: View) -> List[Verdict]:
    """Return verdicts that explain all holes."""
    found = {
        pair: direction.hole
        for pair, direction in view.directions.items()
        if direction.hole is not None and pair[0] in view.live and pair[1] in view.live
    }
    if not found:
        return []
    up = {pair for pair, d in view.directions.items() if d.state == State.UP or d.connected}
    if len(view.live) > 2 and len(found) == len(view.live) * (len(view.live) - 1):
        text = "%s do not pass between any two nodes (MTU?)" % _packets(found.values())
        return [Verdict(Kind.HOLE, tuple(sorted(view.live)), text)]
    return _nodes(view, found, up) + _groups(view, found) + _pairs(view, found)


def _nodes(view: View, holes: _Holes, up: Set[Pair]) -> List[Verdict]:
    """Return verdicts on nodes that no large packet reaches, or leaves."""
    causes: Dict[Cause, Set[Pair]] = {}
    for kind, end in (Kind.INBOUND_BLOCKED, 1), (Kind.OUTBOUND_BLOCKED, 0):
        for nodeid in {pair[end] for pair in holes}:
            pairs = {pair for pair in holes if pair[end] == nodeid}
            if len(pairs) > 1 and {pair for pair in up if pair[end] == nodeid} <= pairs:
                causes[kind, nodeid] = pairs
    drop_needless(causes)
    found = []
    for nodeid in sorted({nodeid for _, nodeid in causes}):
        ways = [way for way in (Kind.INBOUND_BLOCKED, Kind.OUTBOUND_BLOCKED) if (way, nodeid) in causes]
        what = "pass to or from" if len(ways) > 1 else "reach" if ways[0] == Kind.INBOUND_BLOCKED else "leave"
        size = _packets([holes[pair] for way in ways for pair in causes[way, nodeid]])
        text = "%s do not %s %s (MTU?)" % (size, what, view.label[nodeid])
        found.append(Verdict(Kind.HOLE, (nodeid,), text))
    for pairs in causes.values():
        for pair in pairs:
            holes.pop(pair, None)  # two causes may share it
    return found


def _groups(view: View, holes: _Holes) -> List[Verdict]:
    """Return verdicts on groups: whatever leads from one to the other has a hole."""
    found = []
    while holes:
        sources, targets = largest_group(holes)
        if len(sources) * len(targets) < 3:
            break
        pairs = {(source, target) for source in sources for target in targets}
        back = {(target, source) for source, target in pairs}
        both_ways = back <= holes.keys()
        size = _packets([holes.pop(pair) for pair in (pairs | back if both_ways else pairs)])
        left, right = set_of(view, sources), set_of(view, targets)
        if both_ways:
            left, right = sorted((left, right), key=natural)
        text = "%s do not pass %s %s %s (MTU?)" % (size, left, "<->" if both_ways else "->", right)
        found.append(Verdict(Kind.HOLE, tuple(sorted(sources)) + tuple(sorted(targets)), text))
    return found


def _pairs(view: View, holes: _Holes) -> List[Verdict]:
    """Return a verdict for each pair that is left, both directions in one."""
    found = []
    for arrow, ways in both_ways(view, holes):
        text = "%s do not pass %s (MTU?)" % (_packets([holes[way] for way in ways]), arrow)
        found.append(Verdict(Kind.HOLE, ways[0], text))
    return found


def _packets(sizes: Collection[int]) -> str:
    """``packets over 1,400 bytes``, or ``large packets`` if no size is known."""
    known = [size for size in sizes if size]
    return "packets over {:,} bytes".format(min(known)) if known else "large packets"
