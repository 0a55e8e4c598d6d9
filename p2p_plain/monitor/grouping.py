"""What many pairs of nodes have in common: a node, a group, or the way between two parts of the network.

The verdicts look for large causes first, so that a small one is never named for what a large one did.
``outages``, ``blockages``, ``hole_verdicts``, ``stability`` and ``lossy`` call these functions.

No sockets, threads or clock.
"""

from collections import Counter

from ..common.typing import Collection, Dict, Iterable, List, Mapping, Set, Tuple
from ..common.words import natural
from .verdict import Kind, set_of
from .view import Pair, View

# -- parts -----------------------------------------------------------------------------

Parts = Dict[str, Set[str]]
"""Nodes, each with all those of its part."""


def parts_of(near: Mapping[str, Set[str]]) -> Parts:
    """Return the parts of a network, given which nodes are joined with each."""
    part_of: Parts = {}
    for start in sorted(near):
        if start in part_of:
            continue
        part: Set[str] = set()
        ahead = {start}
        while ahead:
            nodeid = ahead.pop()
            part.add(nodeid)
            part_of[nodeid] = part
            ahead |= near[nodeid] - part
    return part_of


def parts_without(view: View, pairs: Collection[Pair]) -> Parts:
    """Return the live nodes in parts that connections hold together, not counting those of these pairs."""
    return parts_of(
        {
            one: {n for n in near_live(view, one) if (one, n) not in pairs and (n, one) not in pairs}
            for one in view.live
        }
    )


def near_live(view: View, nodeid: str) -> Set[str]:
    """Return the live nodes that a node is connected to."""
    return view.neighbours.get(nodeid, set()) & view.live


def between_large(part_of: Parts, pairs: Iterable[Pair]) -> Tuple[List[Pair], List[Set[str]]]:
    """Return the pairs that join two parts of several nodes each, and these parts."""
    between = [
        pair
        for pair in pairs
        if part_of[pair[0]] is not part_of[pair[1]] and all(len(part_of[n]) > 1 for n in pair)
    ]
    # Each part once: a set cannot be in a set, so its smallest nodeid stands for it.
    parts = {min(part_of[nodeid]): part_of[nodeid] for pair in between for nodeid in pair}
    return between, [parts[first] for first in sorted(parts)]


def names_of_parts(view: View, parts: Iterable[Set[str]]) -> str:
    """``{a, b} | {c, d}``."""
    return " | ".join(set_of(view, part) for part in parts)


# -- one node, and groups --------------------------------------------------------------

Cause = Tuple[str, str]
"""``INBOUND_BLOCKED`` or ``OUTBOUND_BLOCKED``, and the nodeid that this would be true of."""


def drop_needless(causes: Dict[Cause, Set[Pair]]) -> None:
    """Remove each cause whose failures the other causes explain without it.

    If a, b and c can all dial nobody, then nobody can dial d, but nothing is wrong with d.  Two
    causes may explain each other's failures.  So those that explain the fewest go first, and among
    equals a blocked outbound goes before a blocked inbound.
    """
    explained = Counter(pair for pairs in causes.values() for pair in pairs)
    for cause in sorted(causes, key=lambda c: (len(causes[c]), c[0] == Kind.INBOUND_BLOCKED, c)):
        if all(explained[pair] > 1 for pair in causes[cause]):
            explained.subtract(causes.pop(cause))


def largest_group(pairs: Iterable[Pair]) -> Tuple[Set[str], Set[str]]:
    """Return sources and targets between which all directions are given: as many as can be found.

    Finding the very largest is a hard problem.  Beginning with the eight sources and the eight
    targets that have most finds what a firewall between two groups makes.
    """
    targets_of: Dict[str, Set[str]] = {}
    sources_of: Dict[str, Set[str]] = {}
    for source, target in pairs:
        targets_of.setdefault(source, set()).add(target)
        sources_of.setdefault(target, set()).add(source)
    best: Tuple[Set[str], Set[str]] = (set(), set())
    for by_source, one, other in ((True, targets_of, sources_of), (False, sources_of, targets_of)):
        for nodeid in sorted(one, key=lambda nodeid: (-len(one[nodeid]), nodeid))[:8]:
            there = one[nodeid]
            here = set.intersection(*(other[far] for far in there))  # all that fail with all of them
            if len(here) * len(there) > len(best[0]) * len(best[1]):
                best = (here, there) if by_source else (there, here)
    return best


# -- pairs -----------------------------------------------------------------------------


def both_ways(view: View, directions: Iterable[Pair]) -> List[Tuple[str, List[Pair]]]:
    """Return ``a -> b`` or ``a <-> b`` for each pair of nodes, in order, and its directions."""
    found = []
    rest = set(directions)
    for pair in sorted(rest, key=lambda pair: [natural(view.label[end]) for end in pair]):
        ways = [way for way in (pair, pair[::-1]) if way in rest]
        if ways:
            rest.difference_update(ways)
            found.append((view.arrow(*pair, sign="<->" if len(ways) > 1 else "->"), ways))
    return found
