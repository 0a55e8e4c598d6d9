"""Nodes that are gone: down, cut off from the others, or on the other side of a split."""

from ..common.outcomes import FAILURES, OK, explain, is_silent
from ..common.typing import Dict, List
from ..common.words import ago
from .grouping import Parts, names_of_parts, near_live, parts_of
from .verdict import Failures, Kind, Verdict, set_of, tally, tally_with_why, usual_why
from .view import View


def down_nodes(view: View, failed: Failures) -> List[Verdict]:
    """Return a verdict for each node that is down, or one for all that fell silent together.

    If several fall silent at once, and their hosts give no answer, that has one cause.  This side
    cannot see whether they died or the network between was cut.
    """
    dials: Dict[str, Failures] = {nodeid: {} for nodeid in view.down}
    for pair in sorted(failed):
        if pair[1] in dials:
            dials[pair[1]][pair] = failed.pop(pair)
    silent = [
        nodeid
        for nodeid in view.down
        if nodeid in view.rows
        and all(is_silent(dial, view.why(pair)) for pair, dial in dials[nodeid].items())
    ]
    silent.sort(key=lambda nodeid: (view.age(nodeid), nodeid))
    found = []
    single = set(view.down)
    while silent:
        # Of two nodes that vanish together, one may have pushed its last row well before the other.
        # While that row counted, nothing was known to be wrong with its node.
        youngest = view.age(silent[0])
        together = [n for n in silent if view.age(n) <= youngest + view.stale_after_of(n)]
        silent = [nodeid for nodeid in silent if nodeid not in together]
        if len(together) > 1:
            found.append(_vanished_together(view, together, dials))
            single.difference_update(together)
    for nodeid in sorted(single, key=lambda nodeid: (view.age(nodeid), nodeid)):
        # Not "down for": nobody has measured that.  It may have died an interval after its row.
        heard = ", last heard from %s ago" % ago(view.age(nodeid)) if nodeid in view.rows else ""
        why = _usual_failure(view, dials[nodeid]) if dials[nodeid] else "nobody can dial it"
        text = "%s: down%s (%s)" % (view.label[nodeid], heard, why)
        found.append(Verdict(Kind.DOWN, (nodeid,), text))
    return found


def _usual_failure(view: View, failures: Failures) -> str:
    usual = max(FAILURES, key=list(failures.values()).count)
    return explain(usual, usual_why(view, [pair for pair in failures if failures[pair] == usual]))


def _vanished_together(view: View, gone: List[str], dials: Dict[str, Failures]) -> Verdict:
    age = ago(view.age(gone[0]))
    if len(view.live) == 1:
        (alone,) = view.live
        failures = tally([dial for nodeid in gone for dial in dials[nodeid].values()])
        text = "%s: cut off: it can dial nobody (%s); the others were last heard from %s ago"
        return Verdict(Kind.CUT_OFF, (alone,), text % (view.label[alone], failures, age))
    text = "split: %s | %s, or the latter are down: all last heard from %s ago" % (
        set_of(view, view.live),
        set_of(view, gone),
        age,
    )
    return Verdict(Kind.SPLIT, tuple(sorted(view.live) + sorted(gone)), text)


def separate_parts(view: View, failed: Failures) -> List[Verdict]:
    """Return verdicts on parts of the network with failed dials and no connection between them.

    Larger parts make one verdict together, and each node that is alone makes one of its own.
    """
    part_of = _parts(view)
    between = {
        pair for pair in failed if pair[0] in part_of and part_of[pair[0]] is not part_of[pair[1]]
    }
    # Each part once: a set cannot be in a set, so its smallest nodeid stands for it.
    torn = {min(part_of[nodeid]): part_of[nodeid] for pair in between for nodeid in pair}
    large = [part for part in torn.values() if len(part) > 1]
    alone = [nodeid for part in torn.values() if len(part) == 1 for nodeid in part]
    if not large:
        if len(alone) < 3:
            return []  # two nodes that do not reach one another: that is a pair
        large, alone = [{nodeid} for nodeid in alone], []
    found = [_cut_off(view, failed, nodeid) for nodeid in sorted(alone)]
    if len(large) > 1:
        large.sort(key=lambda part: (len(part), sorted(part)))
        text = "split: " + names_of_parts(view, large)
        found.append(Verdict(Kind.SPLIT, tuple(nodeid for part in large for nodeid in part), text))
    for pair in between:
        del failed[pair]
    return found


def _parts(view: View) -> Parts:
    """Return the live nodes in parts that connections and successful dials hold together.

    A dial counts if its row is not older than that of the node that was dialed.
    """
    near = {nodeid: near_live(view, nodeid) for nodeid in view.live}
    for (a, b), direction in view.directions.items():
        alive = a in near and b in near
        if alive and direction.dial == OK and (b not in view.current or view.age(a) <= view.age(b)):
            near[a].add(b)
            near[b].add(a)
    return parts_of(near)


def _cut_off(view: View, failed: Failures, nodeid: str) -> Verdict:
    inward = {pair: dial for pair, dial in failed.items() if pair[1] == nodeid}
    outward = {pair: dial for pair, dial in failed.items() if pair[0] == nodeid}
    symptoms = []
    if inward:
        symptoms.append("nobody can dial it (%s)" % tally_with_why(view, inward))
    if outward:
        symptoms.append("it can dial nobody (%s)" % tally_with_why(view, outward))
    text = "%s: cut off: %s" % (view.label[nodeid], ", ".join(symptoms))
    return Verdict(Kind.CUT_OFF, (nodeid,), text)
