"""Nodes that run late or are far from all others, and pairs with a shorter way by a third node."""

from ..common.outcomes import RESET, TIMEOUT
from ..common.typing import Dict, List, Tuple
from ..common.words import brief_ms, natural
from .summary import median
from .verdict import Failures, Kind, Verdict
from .view import Pair, View

Times = Dict[str, Dict[str, float]]
"""Milliseconds between two nodes; ``[a][b]`` is ``[b][a]``."""

TOO_LATE_MS = 1000.0
"""A node that runs later than this may be the reason why dials of it time out."""

SLOW_FACTOR = 4.0
SLOW_MS = 5.0
"""Slow is what takes 4 times as long as elsewhere, and at least 5 ms longer: one more switch
on the way turns 0.2 ms into 0.9, and that is no fault."""


def is_slow(ms: float, usual_ms: float) -> bool:
    """True if a round trip takes much longer than usual."""
    return ms > SLOW_FACTOR * usual_ms and ms > usual_ms + SLOW_MS


def late_nodes(view: View, failed: Failures) -> List[Verdict]:
    """Return a verdict for each live node that runs late.

    If it is late enough, that explains why dials of it time out.
    """
    for pair, dial in list(failed.items()):
        if view.late.get(pair[1], 0.0) > TOO_LATE_MS and dial in (TIMEOUT, RESET):
            del failed[pair]
    found = []
    for nodeid in sorted(view.late.keys() & view.live, key=lambda n: (-view.late[n], n)):
        text = "%s: itself slow (runs %s late); its measurements are left out"
        late = brief_ms(view.late[nodeid])
        found.append(Verdict(Kind.LATE, (nodeid,), text % (view.label[nodeid], late)))
    return found


def slow_nodes_and_pairs(view: View) -> List[Verdict]:
    """Return verdicts on nodes that are slow to everyone, and on pairs slower than a detour.

    Two sites far from each other are neither: each node is near to its own site, and no third node
    is a shorter way.  Slow is only what both ends find slow, in the median and now, and by more than
    they run late themselves: a busy machine has round trips of 10 ms now and then, and a network
    that starts up has few to take the median of.  A node has all others as witnesses, a pair only
    itself.  So of a pair the jitter does not count either: three of 4,950 pairs on a busy machine
    once had two such medians by chance.
    """
    p50, sure, steady = _round_trips(view)
    if len(p50) < 3:
        return []  # nothing to compare with
    # The distance to the nearest node is alike for most, also where there are several sites.
    nearest = {nodeid: min(times.values()) for nodeid, times in p50.items()}
    usual = median(nearest.values())
    slow = {
        nodeid
        for nodeid, times in sure.items()
        # Of two nodes that know only each other, nobody can say which one is slow.
        if len(times) > 1 and is_slow(min(times.values()), usual)
    }
    others = [(a, b) for a in p50 for b in p50[a] if a < b and a not in slow and b not in slow]
    elsewhere = median(p50[a][b] for a, b in others) if others else usual
    found = []
    for nodeid in sorted(slow, key=lambda nodeid: (-nearest[nodeid], nodeid)):
        text = "%s: slow to everyone (p50 %s, others %s)" % (
            view.label[nodeid],
            brief_ms(median(p50[nodeid].values())),
            brief_ms(elsewhere),
        )
        found.append(Verdict(Kind.SLOW, (nodeid,), text))
    suspects = [(a, b) for a, b in others if is_slow(steady[a][b], usual)]
    return found + _slow_pairs(view, p50, steady, suspects)


def tardy_nodes(view: View) -> List[Verdict]:
    """Return a verdict for each node that holds pings much longer than others do, as all its peers say.

    The round trips do not contain it; its applications and its peers wait for it all the same.
    """
    held: Dict[str, List[float]] = {}
    p50: Dict[str, List[float]] = {}
    for (_, target), direction in view.directions.items():
        if direction.p50_ms is not None:
            held.setdefault(target, []).append(direction.held_ms)
            p50.setdefault(target, []).append(direction.p50_ms)
    if len(held) < 3:
        return []  # nothing to compare with
    late = {nodeid: median(times) for nodeid, times in held.items()}
    usual = median(late.values())
    found = []
    for nodeid in sorted(late, key=lambda n: (-late[n], n)):
        if is_slow(min(held[nodeid]), usual):
            figures = (view.label[nodeid], brief_ms(late[nodeid]), brief_ms(median(p50[nodeid])))
            text = "%s: itself slow (answers %s late; the network takes %s)" % figures
            found.append(Verdict(Kind.LATE, (nodeid,), text))
    return found


def _round_trips(view: View) -> Tuple[Times, Times, Times]:
    """Return ``p50_ms``, ``sure_ms`` and ``steady_ms``: of the two ends' values the smaller.

    Where packets are lost, they say how long TCP waits before it sends one again.
    """
    p50: Times = {}
    sure: Times = {}
    steady: Times = {}
    for (a, b), direction in view.directions.items():
        if direction.p50_ms is not None and not view.is_lossy(a, b):
            measured = (direction.p50_ms, direction.sure_ms, direction.steady_ms)
            for times, ms in zip((p50, sure, steady), measured):
                least = min(ms, times.get(a, {}).get(b, ms))
                times.setdefault(a, {})[b] = times.setdefault(b, {})[a] = least
    return p50, sure, steady


def _slow_pairs(view: View, p50: Times, steady: Times, suspects: List[Pair]) -> List[Verdict]:
    """Return verdicts on the suspects with a much shorter way by a third node, the slowest first."""
    # A shorter way leads by a near node.  Eight of each are enough; all would take too long.
    near = {n: sorted(times, key=lambda m: (times[m], m))[:8] for n, times in p50.items()}
    found = []
    for a, b in sorted(suspects, key=lambda pair: (-p50[pair[0]][pair[1]], pair)):
        thirds = [third for third in near[a] + near[b] if third in p50[a] and third in p50[b]]
        if not thirds:
            continue
        detour, third = min((p50[a][third] + p50[third][b], third) for third in thirds)
        if is_slow(steady[a][b], detour):
            one, other = sorted((a, b), key=lambda nodeid: natural(view.label[nodeid]))
            text = "%s slow (p50 %s, via %s %s)" % (
                view.arrow(one, other, "<->"),
                brief_ms(p50[a][b]),
                view.label[third],
                brief_ms(detour),
            )
            found.append(Verdict(Kind.SLOW_PAIR, (a, b), text))
    return found
