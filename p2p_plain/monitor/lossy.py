"""Verdicts on paths that lose packets, however well everyone reaches everyone.

TCP repairs a loss, at the price of 0.2 s and more, so the cells of the matrix look well.  Each row has the
loss of its node's own sending directions (``packet_loss``).  Here many directions with one cause become one
verdict: a host whose cable is bad, or a switch that fails for everyone.

No sockets, threads or clock.
"""

from ..common.typing import Collection, Dict, Iterable, List, NamedTuple, Tuple
from ..common.words import percent
from .grouping import between_large, both_ways, names_of_parts, near_live, parts_without
from .verdict import Kind, Verdict, names_of, set_of
from .view import Pair, View

SCATTERED = 4
"""So many causes at once, at half of all nodes or more, have one in common: what joins these nodes."""


class Loss(NamedTuple):
    """What one direction loses."""

    pct: float
    segs: float
    """Of how many segments that was measured."""


Losses = Dict[Pair, Loss]
"""Directions that lose packets and are not explained yet."""


class Cause(NamedTuple):
    """What becomes a verdict."""

    nodes: Tuple[str, ...]
    text: str
    pct: float


def lossy_paths(view: View) -> List[Verdict]:
    """Return verdicts on packet loss, the greatest first."""
    losses = {
        pair: Loss(direction.loss_pct, direction.loss_segs)
        for pair, direction in view.directions.items()
        if direction.loss_pct and pair[0] in view.live and pair[1] in view.live
    }
    if not losses:
        return []
    causes = _between_parts(view, losses)
    rest = dict(losses)
    small = _nodes(view, losses) + _pairs(view, losses)
    nodes = {nodeid for pair in rest for nodeid in pair}
    most = len(view.live) * (len(view.live) - 1) / 2
    everywhere = len(view.live) > 2 and len(rest) > most and len(small) > 1
    if everywhere or (len(small) >= SCATTERED and 2 * len(nodes) >= len(view.live)):
        text = "%s: packets between them are lost, %s" % (set_of(view, nodes), _rate(rest.values()))
        small = [Cause(tuple(sorted(nodes)), text, _mean(rest.values()))]
    causes = sorted(causes + small, key=lambda cause: (-cause.pct, cause.nodes))
    return [Verdict(Kind.LOSS, cause.nodes, cause.text) for cause in causes]


def _between_parts(view: View, losses: Losses) -> List[Cause]:
    """Return the way between parts of the network as a cause, if it loses packets and they do not.

    Take what it explains out of ``losses``.
    """
    between, parts = between_large(parts_without(view, losses), losses)
    if not between:
        return []
    found = [losses.pop(pair) for pair in between]
    text = "%s: packets between them are lost, %s" % (names_of_parts(view, parts), _rate(found))
    return [Cause(tuple(sorted(set().union(*parts))), text, _mean(found))]


def _nodes(view: View, losses: Losses) -> List[Cause]:
    """Return nodes that lose what several others send them, or what they send to several, as causes.

    Take what they explain out of ``losses``.
    """
    found: Dict[str, Dict[int, Cause]] = {}
    while True:
        groups: Dict[Tuple[str, int], List[Pair]] = {}
        for pair in losses:
            for end in 0, 1:
                groups.setdefault((pair[end], end), []).append(pair)
        (node, end), pairs = max(
            groups.items(), key=lambda item: (len(item[1]), item[0]), default=(("", 0), [])
        )
        if len(pairs) < 2:
            break
        of = [losses.pop(pair) for pair in pairs]
        others = {pair[1 - end] for pair in pairs}
        known = len(near_live(view, node))
        all_of_it = "it is sent" if end else "it sends"
        if 2 * len(others) <= known:
            names = names_of(view, others)
            all_of_it = "%s send it" % names if end else "it sends to %s" % names
        cause = Cause((node,), "%s of what %s" % (_rate(of), all_of_it), _mean(of))
        found.setdefault(node, {})[end] = cause
    causes = []
    for node, ends in found.items():
        what = " and ".join(ends[end].text for end in sorted(ends, reverse=True))
        worst = max(cause.pct for cause in ends.values())
        causes.append(Cause((node,), "%s loses %s" % (view.label[node], what), worst))
    return causes


def _pairs(view: View, losses: Losses) -> List[Cause]:
    """Return what is left, each pair of nodes as a cause."""
    found = []
    for arrow, ways in both_ways(view, losses):
        of = [losses[way] for way in ways]
        found.append(Cause(ways[0], "%s loses %s" % (arrow, _rate(of)), _mean(of)))
    return found


def _mean(losses: Iterable[Loss]) -> float:
    """Return the percentage over all segments."""
    known = [(loss.pct, max(loss.segs, 1.0)) for loss in losses]
    return sum(pct * segs for pct, segs in known) / sum(segs for _, segs in known)


def _rate(losses: Collection[Loss]) -> str:
    return percent(_mean(losses))
