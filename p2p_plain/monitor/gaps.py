"""Gaps: directions between live nodes of which nothing is known, and verdicts on those that stay open.

Every node dials every other one once in a probe interval, and its row says what became of that.  So a
gap closes by itself, or something is wrong that nobody has measured.  A gap is

===========  ========================================================================
``exempt``   there is nobody to report on it: one of the two sends no rows (the article's
             own node), or the source has the last version, whose rows leave out the
             nodes that it never met
``overdue``  the source has had the time to dial the target twice and to report it; or the
             source sends no rows any more, although somebody is connected to it
pending      everything else: just started, just joined, or measured by a late node
===========  ========================================================================

In a network of more than 128 nodes not everyone dials everyone.  There, all gaps are pending.

No sockets, threads or clock: for how long nodes have been in the network, their connections say.
"""

from ..common.typing import Dict, FrozenSet, List, NamedTuple, Set
from ..common.words import ago, natural
from ..node.connector import DIAL_TIMEOUT
from .row_messages import is_connected
from .verdict import Kind, Verdict, names_of
from .view import Pair, State, View

EVERYONE_DIALS_EVERYONE = 128
"""The most nodes for which that is so: half of the default ``max_peers``."""

PROBE_INTERVALS = 2
"""After one, the dial that is due may be under way."""

USUAL_PROBE_INTERVAL = 60.0
"""Seconds; the default, where a row does not say it."""

FIRST_ROW = 10.0
FIRST_ROW_PER_NODE = 0.2
"""Seconds within which a node of this program has sent a row: a second after its first connection.
Among N nodes, however, rows are N / 20 seconds apart, and those of late nodes four times as much."""


class Gaps(NamedTuple):
    """The gaps of a view that are not pending."""

    exempt: FrozenSet[Pair]
    overdue: FrozenSet[Pair]


def find_gaps(view: View) -> Gaps:
    """Return the exempt and the overdue gaps of a view."""
    exempt: Set[Pair] = set()
    overdue: Set[Pair] = set()
    gaps = _gaps(view) if len(view.nodes) <= EVERYONE_DIALS_EVERYONE else []
    present = _present(view) if gaps else {}
    for pair in gaps:
        rowless = [nodeid for nodeid in pair if nodeid not in view.rows]
        if rowless:
            if all(present[nodeid] > _first_row_due(view, nodeid) for nodeid in rowless):
                exempt.add(pair)
        elif _is_over_time(view, pair, min(present[nodeid] for nodeid in pair)):
            if view.rows[pair[0]].probe_interval is not None:
                if not view.late.keys() & set(pair):
                    overdue.add(pair)
            elif pair[0] in view.current and pair not in view.directions:
                exempt.add(pair)
    return Gaps(frozenset(exempt), frozenset(overdue))


def why_exempt(view: View, exempt: FrozenSet[Pair]) -> str:
    """``n7 sends no rows``: why nothing can be known of some gaps; empty if there is nothing to say."""
    rowless = {nodeid for pair in exempt for nodeid in pair if nodeid not in view.rows}
    older = {pair[0] for pair in exempt if not rowless & set(pair)}
    parts = []
    for nodes, does, do in (
        (rowless, "sends no rows", "send no rows"),
        (older, "has an older version", "have an older version"),
    ):
        if nodes:
            parts.append("%s %s" % (names_of(view, nodes), does if len(nodes) == 1 else do))
    return ", ".join(parts)


def verdicts_on_gaps(view: View, overdue: FrozenSet[Pair]) -> List[Verdict]:
    """Return a verdict on all nodes that send no rows any more, and a few on the other gaps.

    Each of those names a node that has many gaps, and the nodes at their other ends.
    """
    found = []
    mute = {source for source, _ in overdue} - view.current
    if mute:
        text = "no recent row from %s, the last %s ago, although %s connected" % (
            names_of(view, mute),
            ago(min(view.age(nodeid) for nodeid in mute)),
            "it is" if len(mute) == 1 else "they are",
        )
        found.append(Verdict(Kind.UNKNOWN, tuple(sorted(mute)), text))
    targets: Dict[str, Set[str]] = {}
    sources: Dict[str, Set[str]] = {}
    for source, target in overdue:
        if source not in mute:
            targets.setdefault(source, set()).add(target)
            sources.setdefault(target, set()).add(source)

    def explained(nodeid: str) -> int:
        return len(targets.get(nodeid, ())) + len(sources.get(nodeid, ()))

    while targets:
        best = min(
            targets.keys() | sources.keys(),
            key=lambda nodeid: (-explained(nodeid), natural(view.label[nodeid]), nodeid),
        )
        out, back = targets.pop(best, set()), sources.pop(best, set())
        for far, near in ((out, sources), (back, targets)):
            for nodeid in far:
                near[nodeid].discard(best)
                if not near[nodeid]:
                    del near[nodeid]
        for others, arrow in (
            (out & back, "{0} <-> {1}"), (out - back, "{0} -> {1}"), (back - out, "{1} -> {0}")
        ):
            if others:
                text = arrow.format(view.label[best], names_of(view, others))
                text += ": nothing known for over %d probe intervals" % PROBE_INTERVALS
                found.append(Verdict(Kind.UNKNOWN, (best,) + tuple(sorted(others)), text))
    return found


# -- for how long ----------------------------------------------------------------------


def _gaps(view: View) -> List[Pair]:
    known = {
        pair for pair, d in view.directions.items() if d.state in (State.UP, State.DOWN)
    }
    return [(a, b) for a in view.live for b in view.live if a != b and (a, b) not in known]


def _is_over_time(view: View, pair: Pair, present: float) -> bool:
    """True if the source should have reported on the target; both are ``present`` for so long."""
    source = pair[0]
    row = view.rows[source]
    interval = USUAL_PROBE_INTERVAL if row.probe_interval is None else row.probe_interval
    # A shorter interval cannot be kept where dials time out.
    patience = PROBE_INTERVALS * max(interval, DIAL_TIMEOUT)
    if source not in view.current:
        return row.age - view.stale_after_of(source) > patience
    # The source hears of the target from the rows of others, and reports in rows, too.
    return present - row.age > patience + view.stale_after_of(source)


def _first_row_due(view: View, nodeid: str) -> float:
    """Return the seconds after which a node without a row sends none."""
    due = FIRST_ROW + FIRST_ROW_PER_NODE * len(view.nodes)
    # The rows of nodes that are no peers of the asked node come only when it asks for them.
    return due if nodeid in view.peers else due + view.stale_after


def _present(view: View) -> Dict[str, float]:
    """Return for how many seconds each live node has been connected, at least.

    Its own row and that of another node must both say so.  So nobody can make another node older than
    it is, or make itself older.
    """
    own: Dict[str, float] = {}
    others: Dict[str, float] = {}
    for source, row in view.rows.items():
        for link in row.links:
            target, up_s = link["nodeid"], link.get("up_s")
            if up_s is None or target == source or not is_connected(link):
                continue
            own[source] = max(own.get(source, 0.0), up_s + row.age)
            if source in view.current:
                others[target] = max(others.get(target, 0.0), up_s + row.age)
    return {
        nodeid: min(others.get(nodeid, 0.0), own.get(nodeid, 0.0 if nodeid in view.rows else float("inf")))
        for nodeid in view.live
    }
