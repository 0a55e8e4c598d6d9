"""What is wrong in the network, by its cause: judged from everyone's rows, as ``view`` puts them
together; told by ``matrix``, ``watch``, the status page and the tour.

A hundred nodes have 9,900 directions, and one dead host spoils 198 of them: nobody wants to read
that.  So this module says it in one line for each cause, the gravest first, and in exactly one line
if all is well.

No sockets, no threads, no clock: the same rows give the same verdicts.  Any thread.
"""

from collections import Counter
from typing import Dict, Iterable, List, NamedTuple, Sequence, Set, Tuple

from ..common.outcomes import FAILURES, IN_WORDS, SILENT
from ..common.words import ago, brief_ms, natural
from ..node.messages import Links
from .view import (
    DOWN,
    UNKNOWN,
    UP,
    View,
    arrow,
    count,
    median,
)

Pair = Tuple[str, str]
Cause = Tuple[str, str]  # a kind, and the nodeid of whose fault it would be
Times = Dict[str, Dict[str, float]]

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
_AFTER_A_PAIR = {
    "refused": "host up, port closed",
    "timeout": "something between them drops connections to %s",
    "unreachable": "somebody on the way knows no way to %s",
    "reset": "broken off before the hello",
    "wrong-peer": "another node lives at the address known for %s",
}


class Verdict(NamedTuple):
    """One line: ``text`` for people, ``kind`` one of ``KINDS``, ``nodes`` the nodeids it is about.

    For ``split``, ``group`` and ``pair`` all that take part; else the one at fault.
    """

    kind: str
    nodes: Tuple[str, ...]
    text: str


# -- what the callers ask ---------------------------------------------------------------


def verdicts(rows: Sequence[Links], stale_after: float) -> List[Verdict]:
    """One for each cause of trouble, the gravest first; or a single one if there is none."""
    return judge(View(rows, stale_after))


def lines(found: Iterable[Verdict]) -> List[str]:
    """The verdicts as text."""
    return [verdict.text for verdict in found]


# -- the judgement ----------------------------------------------------------------------------


def judge(view: View) -> List[Verdict]:
    """The verdicts on a view."""
    failed = {pair: d.dial for pair, d in view.directions.items() if d.state == DOWN}
    # Each of these takes out of ``failed`` what it explains; the order is from the large cause
    # to the small one, so that a small one is never told for what a large one did.
    found = _late(view, failed)
    found += _vanished(view, failed)
    found += _torn(view, failed)
    known = _Known(view, failed)
    found += _blocked(view, failed, known)
    found += _groups(view, failed, known)
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


def _late(view: View, failed: Dict[Pair, str]) -> List[Verdict]:
    """The nodes that run late.  They are why dials of them time out, if they are late enough."""
    for pair in list(failed):
        if view.late.get(pair[1], 0.0) > TOO_LATE_MS and failed[pair] in ("timeout", "reset"):
            del failed[pair]
    found = []
    for nodeid in sorted(view.late, key=lambda nodeid: (-view.late[nodeid], nodeid)):
        if nodeid in view.live:
            how = "itself slow (runs %s late)" % brief_ms(view.late[nodeid])
            text = "%s: %s; its measurements are left out" % (view.label[nodeid], how)
            found.append(Verdict(LATE, (nodeid,), text))
    return found


def _vanished(view: View, failed: Dict[Pair, str]) -> List[Verdict]:
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
        if nodeid in view.rows and all(dial in SILENT for dial in dials[nodeid])
    ]
    silent.sort(key=lambda nodeid: (view.age(nodeid), nodeid))
    found = []
    told: Set[str] = set()
    while silent:
        # A row is pushed every ping interval: of those that vanish together, one may have been
        # heard of a whole interval after the other.  Half of ``stale_after``, which is three
        # intervals, covers that.
        latest = view.age(silent[0]) + view.stale_after / 2
        at_once = [nodeid for nodeid in silent if view.age(nodeid) <= latest]
        del silent[: len(at_once)]
        if len(at_once) > 1:
            found.append(_vanished_together(view, at_once, dials))
            told.update(at_once)
    for nodeid in sorted(view.down - told, key=lambda nodeid: (view.age(nodeid), nodeid)):
        # How long it has been down nobody has measured: it may have died an interval after its row.
        heard = ", last heard of %s ago" % ago(view.age(nodeid)) if nodeid in view.rows else ""
        text = "%s: down%s (%s)" % (view.label[nodeid], heard, _absence(dials[nodeid]))
        found.append(Verdict(DOWN, (nodeid,), text))
    return found


def _absence(dials: List[str]) -> str:
    if not dials:
        return "nobody can dial it"
    most = max(FAILURES, key=lambda dial: dials.count(dial))
    return {
        "refused": "refused by host: not running",
        "timeout": "no answer from the host",
        "unreachable": "no way to the host",
        "reset": "connections are broken off",
    }.get(most, IN_WORDS[most])


def _vanished_together(view: View, gone: List[str], dials: Dict[str, List[str]]) -> Verdict:
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


def _torn(view: View, failed: Dict[Pair, str]) -> List[Verdict]:
    """Parts of the network without a connection between them, where dials failed."""
    parts = _parts(view)
    part_of = {nodeid: part for part in parts for nodeid in part}
    between = {
        pair for pair in failed if pair[0] in part_of and part_of[pair[0]] is not part_of[pair[1]]
    }
    # Each part once: the smallest nodeid in it stands for it, since no set can be in a set.
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


def _parts(view: View) -> List[Set[str]]:
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


def _cut_off(view: View, failed: Dict[Pair, str], nodeid: str) -> Verdict:
    inward = [dial for pair, dial in failed.items() if pair[1] == nodeid]
    outward = [dial for pair, dial in failed.items() if pair[0] == nodeid]
    what = []
    if inward:
        what.append("nobody can dial it (%s)" % _tally(inward, len(inward)))
    if outward:
        what.append("it can dial nobody (%s)" % _tally(outward, len(outward)))
    return Verdict(CUT_OFF, (nodeid,), "%s: cut off: %s" % (view.label[nodeid], ", ".join(what)))


class _Known:
    """The directions that are known among live nodes, by either end: who could be a witness.

    Not those whose failure is explained (they are not in ``failed`` any more): from the other side
    of a cut nobody can say whether a port is closed.
    """

    def __init__(self, view: View, failed: Dict[Pair, str]) -> None:
        self.into: Dict[str, Set[Pair]] = {}
        self.out_of: Dict[str, Set[Pair]] = {}
        self.up: Set[Pair] = set()
        for pair, direction in view.directions.items():
            counts = direction.state == UP or pair in failed
            if counts and pair[0] in view.live and pair[1] in view.live:
                self.into.setdefault(pair[1], set()).add(pair)
                self.out_of.setdefault(pair[0], set()).add(pair)
                if direction.state == UP:
                    self.up.add(pair)


def _blocked(view: View, failed: Dict[Pair, str], known: _Known) -> List[Verdict]:
    """Nodes that nobody can dial, and nodes that can dial nobody; or all of them."""
    everywhere = _blocked_everywhere(view, failed)
    if everywhere:
        failed.clear()
        return everywhere
    # Where everything that is known has failed.  A single failure would say that of both its ends.
    causes: Dict[Cause, Set[Pair]] = {}
    for kind, pairs_of in ((INBOUND, known.into), (OUTBOUND, known.out_of)):
        for nodeid, pairs in pairs_of.items():
            if len(pairs) > 1 and pairs <= failed.keys():
                causes[kind, nodeid] = pairs
    _drop_the_innocent(causes)
    found = []
    for kind, nodeid in sorted(causes, key=lambda cause: (-len(causes[cause]), cause)):
        dials = [failed[pair] for pair in causes[kind, nodeid]]
        tally = _tally(dials, len(dials))
        # Then the other way; but not by those that are blocked themselves, which say nothing about it.
        if kind == INBOUND:
            back = {p for p in known.out_of.get(nodeid, set()) if (INBOUND, p[1]) not in causes}
            up = len(back & known.up)
            other_way = _either(up, len(back), "it dials everyone", "it dials %d of %d")
            elsewhere = set(dials) == {"wrong-peer"}
            why = "another node lives at its address" if elsewhere else "inbound blocked"
            text = "nobody can dial it (%s)%s: %s" % (tally, other_way, why)
        else:
            back = {p for p in known.into.get(nodeid, set()) if (OUTBOUND, p[0]) not in causes}
            up = len(back & known.up)
            other_way = _either(up, len(back), "everyone dials it", "%d of %d dial it")
            text = "can dial nobody (%s)%s: outbound blocked" % (tally, other_way)
        found.append(Verdict(kind, (nodeid,), "%s: %s" % (view.label[nodeid], text)))
    for pairs in causes.values():
        for pair in pairs:
            failed.pop(pair, None)  # two causes may have it in common
    return found


def _blocked_everywhere(view: View, failed: Dict[Pair, str]) -> List[Verdict]:
    """The one verdict where no dial at all is known to pass; else none."""
    sources = {pair[0] for pair in failed}
    targets = {pair[1] for pair in failed}
    dials = {direction.dial for direction in view.directions.values()}
    if len(sources) < 3 or len(targets) < 3 or "ok" in dials:
        return []
    text = (
        "nobody can dial anybody (%s), what is connected stays so: "
        "new connections are blocked everywhere" % _tally(failed.values(), len(failed))
    )
    return [Verdict(BLOCKED, tuple(sorted(sources)), text)]


def _drop_the_innocent(causes: Dict[Cause, Set[Pair]]) -> None:
    """Take out each cause whose failures the other causes explain without it.

    If a, b and c can all dial nobody, then nobody can dial d; but nothing is wrong with d.  Two
    causes may explain each other's failures; so those go first that explain the fewest, and of
    two that explain as many a node that can dial nobody goes before one that nobody can dial.
    """
    explained = Counter(pair for pairs in causes.values() for pair in pairs)
    for cause in sorted(causes, key=lambda c: (len(causes[c]), c[0] == INBOUND, c)):
        if all(explained[pair] > 1 for pair in causes[cause]):
            explained.subtract(causes.pop(cause))


def _either(some: int, total: int, all_of_them: str, some_of_them: str) -> str:
    if not total:
        return ""
    return ", " + (all_of_them if some == total else some_of_them % (some, total))


def _groups(view: View, failed: Dict[Pair, str], known: _Known) -> List[Verdict]:
    """Several sources that all fail to dial the same several targets: something between them.

    Three that cannot dial one target, or one that cannot dial three, are a group, too.
    """
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


def _largest_group(failed: Dict[Pair, str]) -> Tuple[Set[str], Set[str]]:
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


def _pairs(view: View, failed: Dict[Pair, str]) -> List[Verdict]:
    """What is left: single pairs."""
    found = []
    for source, target in sorted(failed, key=lambda p: (view.label[p[0]], view.label[p[1]])):
        if (source, target) not in failed:
            continue  # told with the other direction
        dial = failed[source, target]
        back = failed.get((target, source))
        nodes = (source, target)
        if back == dial:
            text = "%s %s both ways" % (arrow(view, source, target, "<->"), IN_WORDS[dial])
            if dial == "refused":
                text += ": hosts up, ports closed"
            elif view.directions[source, target].connected:
                text += ", while their connection stands"
            else:
                text += ": nothing passes between them"
        else:
            text = "%s %s" % (arrow(view, source, target), IN_WORDS[dial])
            if back is not None:
                text += ", %s %s" % (arrow(view, target, source), IN_WORDS[back])
            elif dial in SILENT and not _still_fine(view, source, target):
                text += ": no answer, no connection"
            else:
                if dial in SILENT:
                    text += ", %s fine" % arrow(view, target, source)
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


def _slow(view: View) -> List[Verdict]:
    """Nodes that are slow to everyone, and pairs that are slower than the way by a third node.

    Two sites far from one another are neither: each node is near to its own, and there is no
    shorter way by anyone else.  And slow is only what both ends find slow, in the median and now,
    and more so than they run late themselves: a machine with too much to do has round trips of
    10 ms here and there, and a network that starts up has few to take the median of.  For a node all
    others are witnesses; a pair has nobody but itself, so there what changes from one round trip to
    the next does not count: of 4,950 pairs on a busy machine three once had two such medians.
    """
    p50, sure, steady = _round_trips(view)
    if len(p50) < 3:
        return []  # nothing to compare with
    # How far it is to one's nearest is alike for most, also where there are several sites.
    nearest = {nodeid: min(times.values()) for nodeid, times in p50.items()}
    usual = median(nearest.values())
    slow = {
        nodeid
        for nodeid, times in sure.items()
        # Of two ends that know only each other nobody can say which one is slow.
        if len(times) > 1 and _much_more(min(times.values()), usual)
    }
    others = [(a, b) for a in p50 for b in p50[a] if a < b and a not in slow and b not in slow]
    elsewhere = median([p50[a][b] for a, b in others]) if others else usual
    found = []
    for nodeid in sorted(slow, key=lambda nodeid: (-nearest[nodeid], nodeid)):
        text = "%s: slow to everyone (p50 %s, others %s)" % (
            view.label[nodeid],
            brief_ms(median(p50[nodeid].values())),
            brief_ms(elsewhere),
        )
        found.append(Verdict(SLOW, (nodeid,), text))
    suspects = [(a, b) for a, b in others if _much_more(steady[a][b], usual)]
    return found + _slow_pairs(view, p50, steady, suspects)


def _round_trips(view: View) -> Tuple[Times, Times, Times]:
    """Between each two nodes, in milliseconds: the median, how much of it is surely the network's,
    and that without what changes (``Direction.sure_ms``, ``steady_ms``).

    Of what the two ends have measured it is the smaller, and stands under both: ``[a][b]`` is
    ``[b][a]``.
    """
    p50: Times = {}
    sure: Times = {}
    steady: Times = {}
    for (a, b), direction in view.directions.items():
        if direction.p50_ms is not None:
            for times, ms in (
                (p50, direction.p50_ms),
                (sure, direction.sure_ms),
                (steady, direction.steady_ms),
            ):
                least = min(ms, times.get(a, {}).get(b, ms))
                times.setdefault(a, {})[b] = times.setdefault(b, {})[a] = least
    return p50, sure, steady


def _slow_pairs(
    view: View, p50: Times, steady: Times, suspects: List[Pair]
) -> List[Verdict]:
    """Of the suspects those that some third node is a much shorter way for, the slowest first."""
    # A shorter way leads by a near node: eight of each are enough, and all would be too many.
    near = {n: sorted(times, key=lambda m: (times[m], m))[:8] for n, times in p50.items()}
    found = []
    for a, b in sorted(suspects, key=lambda pair: (-p50[pair[0]][pair[1]], pair)):
        thirds = [third for third in near[a] + near[b] if third in p50[a] and third in p50[b]]
        if not thirds:
            continue
        by_way, third = min((p50[a][third] + p50[third][b], third) for third in thirds)
        if _much_more(steady[a][b], by_way):
            one, other = sorted((a, b), key=lambda nodeid: natural(view.label[nodeid]))
            text = "%s slow (p50 %s, by way of %s %s)" % (
                arrow(view, one, other, "<->"),
                brief_ms(p50[a][b]),
                view.label[third],
                brief_ms(by_way),
            )
            found.append(Verdict(SLOW_PAIR, (a, b), text))
    return found


def _much_more(value: float, than: float) -> bool:
    return value > SLOW_FACTOR * than and value > than + SLOW_MS


def _at_most(view: View, found: List[Verdict]) -> List[Verdict]:
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


def _tally(dials: Iterable[str], total: int) -> str:
    """``5 of 5 timed out``, ``3 of 5 timed out, 2 refused``."""
    dials = list(dials)
    counted = sorted(((dials.count(dial), dial) for dial in set(dials)), reverse=True)
    first = "%d of %d %s" % (counted[0][0], total, IN_WORDS[counted[0][1]])
    return ", ".join([first] + ["%d %s" % (n, IN_WORDS[dial]) for n, dial in counted[1:]])


def _names(view: View, nodes: Iterable[str]) -> str:
    labels = sorted((view.label[nodeid] for nodeid in nodes), key=natural)
    if len(labels) > MOST_NAMES:
        more = len(labels) - MOST_NAMES + 1
        labels = labels[: MOST_NAMES - 1] + ["%d more" % more]
    return ", ".join(labels)


def _set(view: View, nodes: Iterable[str]) -> str:
    return "{%s}" % _names(view, nodes)
