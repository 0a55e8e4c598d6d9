"""Dials that fail between live nodes: something on the way, or at one end, keeps them out.

``blockages`` looks for the largest cause first (everywhere, a node, two groups of nodes, a pair), so
that a small one is never reported for what a large one did.
"""

from ..common.outcomes import (
    IN_WORDS, OK, REFUSED, REJECTED, TIMEOUT, UNREACHABLE, WHYS, WRONG_PEER, explain, is_silent,
)
from ..common.typing import Dict, List, Set
from .grouping import Cause, drop_needless, largest_group
from .verdict import Failures, Kind, Verdict, names_of, set_of, tally, tally_with_why, usual_why
from .view import Pair, State, View

MOST_GROUPS = 16
"""Groups of failures looked for.  A liar's row can make many, and each costs a search."""

_ON_THE_WAY = {
    TIMEOUT: "something between them drops connections to %s",
    UNREACHABLE: "a router between them knows no route to %s",
}
"""What a failure means in one direction while the other one works."""


def blockages(view: View, failed: Failures) -> List[Verdict]:
    """Return verdicts that explain all failures that are left."""
    known = _Known(view, failed)
    found = _everywhere(view, failed) or _nodes(view, failed, known) + _groups(view, failed, known)
    return found + _pairs(view, failed)


class _Known:
    """The known directions among live nodes, by either end: the possible witnesses.

    Failures that are explained already are no witnesses: from the other side of a cut nobody can
    say whether a port is closed.
    """

    def __init__(self, view: View, failed: Failures) -> None:
        self.into: Dict[str, Set[Pair]] = {}
        self.out_of: Dict[str, Set[Pair]] = {}
        self.up: Set[Pair] = set()
        for pair, direction in view.directions.items():
            is_up = direction.state == State.UP
            if (is_up or pair in failed) and pair[0] in view.live and pair[1] in view.live:
                self.into.setdefault(pair[1], set()).add(pair)
                self.out_of.setdefault(pair[0], set()).add(pair)
                if is_up:
                    self.up.add(pair)


def _everywhere(view: View, failed: Failures) -> List[Verdict]:
    """Return the one verdict where no dial at all is known to work, else none."""
    sources = {pair[0] for pair in failed}
    targets = {pair[1] for pair in failed}
    works = any(direction.dial == OK for direction in view.directions.values())
    if len(sources) < 3 or len(targets) < 3 or works:
        return []
    text = "nobody can dial anybody (%s), existing connections stay: new ones are blocked everywhere"
    found = [Verdict(Kind.BLOCKED, tuple(sorted(sources)), text % tally(failed.values()))]
    failed.clear()
    return found


# -- one node --------------------------------------------------------------------------


def _nodes(view: View, failed: Failures, known: _Known) -> List[Verdict]:
    """Return verdicts on nodes that nobody can dial, and on nodes that can dial nobody."""
    # Only where two or more dials failed: a single failure would blame both of its ends.
    causes: Dict[Cause, Set[Pair]] = {
        (kind, nodeid): pairs
        for kind, pairs_of in (
            (Kind.INBOUND_BLOCKED, known.into),
            (Kind.OUTBOUND_BLOCKED, known.out_of),
        )
        for nodeid, pairs in pairs_of.items()
        if len(pairs) > 1 and pairs <= failed.keys()
    }
    drop_needless(causes)
    found = []
    for kind, nodeid in sorted(causes, key=lambda cause: (-len(causes[cause]), cause)):
        dials = [failed[pair] for pair in causes[kind, nodeid]]
        # The other way counts as well, but not to or from nodes that are blocked themselves.
        if kind == Kind.INBOUND_BLOCKED:
            back = {p for p in known.out_of.get(nodeid, set()) if (kind, p[1]) not in causes}
            of_known = "" if _all_known(view, [(nodeid, x) for x in view.live]) else " known"
            works = _share(len(back & known.up), len(back), of_known, "it dials everyone", "it dials %s")
            elsewhere = set(dials) == {WRONG_PEER}
            why = "another node lives at its address" if elsewhere else "inbound blocked"
            usual = usual_why(view, causes[kind, nodeid])
            if usual != REJECTED:  # else its host, or its firewall, does
                why = WHYS.get(usual, why)
            text = "nobody can dial it (%s)%s: %s" % (tally(dials), works, why)
        else:
            back = {p for p in known.into.get(nodeid, set()) if (kind, p[0]) not in causes}
            of_known = "" if _all_known(view, [(x, nodeid) for x in view.live]) else " known"
            works = _share(len(back & known.up), len(back), of_known, "everyone dials it", "%s dial it")
            text = "can dial nobody (%s)%s: outbound blocked" % (tally(dials), works)
        found.append(Verdict(kind, (nodeid,), "%s: %s" % (view.label[nodeid], text)))
    for pairs in causes.values():
        for pair in pairs:
            failed.pop(pair, None)  # two causes may share it
    return found


def _share(some: int, total: int, of_known: str, all_of_them: str, some_of_them: str) -> str:
    if not total:
        return ""
    if some == total and not of_known:
        return ", " + all_of_them
    return ", " + some_of_them % ("%d of %d%s" % (some, total, of_known))


def _all_known(view: View, pairs: List[Pair]) -> bool:
    found = (view.directions.get(pair) for pair in pairs if pair[0] != pair[1])
    return all(one is not None and one.state in (State.UP, State.DOWN) for one in found)


# -- groups ----------------------------------------------------------------------------


def _groups(view: View, failed: Failures, known: _Known) -> List[Verdict]:
    """Return verdicts on groups: all of some sources fail to dial all of some targets.

    Three that cannot dial one target, or one that cannot dial three, are a group as well.
    """
    found = []
    for _ in range(MOST_GROUPS):
        sources, targets = largest_group(failed)
        if len(sources) * len(targets) < 3:
            break
        pairs = {(s, t) for s in sources for t in targets}
        back = {(t, s) for s, t in pairs}
        both_ways = back <= failed.keys()
        taken = pairs | back if both_ways else pairs
        outcomes = tally_with_why(view, {pair: failed.pop(pair) for pair in taken})
        text = _group_text(view, known, sources, targets, both_ways, outcomes)
        found.append(Verdict(Kind.GROUP, tuple(sorted(sources)) + tuple(sorted(targets)), text))
    return found


def _group_text(
    view: View, known: _Known, sources: Set[str], targets: Set[str], both_ways: bool, outcomes: str
) -> str:
    source, target = min(sources), min(targets)
    left, right = set_of(view, sources), set_of(view, targets)
    if both_ways:
        return "%s <-> %s: no dial passes either way (%s)" % (left, right, outcomes)
    if len(targets) == 1:
        share = "%d of %d" % (len(sources), len(known.into[target]))
        who = names_of(view, sources)
        return "%s: %s cannot dial it (%s): %s" % (view.label[target], share, outcomes, who)
    if len(sources) == 1:
        share = "%d of %d" % (len(targets), len(known.out_of[source]))
        who = names_of(view, targets)
        return "%s: cannot dial %s (%s): %s" % (view.label[source], share, outcomes, who)
    fine = all(_is_still_up(view, t, s) for s in sources for t in targets)
    other_way = ", the other way fine" if fine else ""
    return "%s -> %s: every dial fails (%s)%s" % (left, right, outcomes, other_way)


# -- pairs -----------------------------------------------------------------------------


def _pairs(view: View, failed: Failures) -> List[Verdict]:
    """Return a verdict for each pair that is left, both directions in one."""
    found = []
    for source, target in sorted(failed, key=lambda p: (view.label[p[0]], view.label[p[1]])):
        if (source, target) in failed:
            dial, back = failed.pop((source, target)), failed.pop((target, source), "")
            text = _pair_text(view, source, target, dial, back)
            found.append(Verdict(Kind.PAIR, (source, target), text))
    return found


def _pair_text(view: View, source: str, target: str, dial: str, back: str) -> str:
    """``back`` is the outcome in the other direction if that failed as well, else empty."""
    if back == dial:
        text = "%s %s both ways" % (view.arrow(source, target, "<->"), IN_WORDS[dial])
        if dial == REFUSED:
            return text + ": both hosts are up, nobody listens on those ports"
        why = usual_why(view, [(source, target), (target, source)])
        if why:
            return "%s: %s" % (text, WHYS[why])
        if view.connected(source, target):
            return text + ", while their connection stands"
        return text + ": nothing passes between them"
    text = "%s %s" % (view.arrow(source, target), IN_WORDS[dial])
    if back:
        return "%s, %s %s" % (text, view.arrow(target, source), IN_WORDS[back])
    why = view.why((source, target))
    if not is_silent(dial, why):
        return "%s %s" % (view.arrow(source, target), explain(dial, why))
    if not _is_still_up(view, target, source):
        return "%s: %s" % (text, WHYS.get(why, "no answer, no connection"))
    blame = WHYS.get(why, _ON_THE_WAY[dial] % view.label[target])
    return "%s, %s fine: %s" % (text, view.arrow(target, source), blame)


def _is_still_up(view: View, source: str, target: str) -> bool:
    """True if a direction is up, and not by a row that is older than the failure the other way."""
    direction = view.directions.get((source, target))
    if direction is None or direction.state != State.UP:
        return False
    return direction.connected or view.age(source) <= view.age(target)
