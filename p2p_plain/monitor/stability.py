"""Verdicts on connections that keep breaking, whatever the cells say at the moment.

Each row gives the number of connections that its node has lost lately (see ``losses``).  Here the
two ends of a pair are put together, and many pairs with one cause become one verdict: a node whose
cable is loose, or a switch that fails for everyone.  No sockets, threads or clock.
"""

from collections import Counter

from ..common.typing import Dict, List, NamedTuple, Optional, Set, Tuple
from ..common.words import duration, natural
from .grouping import Parts, between_large, names_of_parts, parts_without
from .losses import MOST_COUNTED, UNSTABLE_FROM
from .row_messages import Link
from .verdict import Kind, Verdict, names_of, set_of
from .view import Pair, View

MANY_PAIRS = 3
"""Unstable pairs of one node that have one cause: the node or its cable."""

_IN_WORDS = {"timeout": "timed out", "protocol": "one end broke a rule"}
"""Reasons in a sentence; any other is ``closed``."""


class Lost(NamedTuple):
    """What the two ends say together of one pair."""

    times: int
    why: str
    every: Optional[float]
    """Seconds that its connections lasted, if that is regular."""
    quiet: Optional[float]
    """Seconds without traffic before each end, if that is why."""
    busy: Optional[float]
    """Seconds from one ping to the next, if the connection is kept busy."""


Pairs = Dict[Pair, Lost]
"""Unstable and shaky pairs that are not explained yet, the smaller nodeid first."""


def unstable(view: View, graver: List[Verdict]) -> List[Verdict]:
    """Return verdicts on connections that keep breaking, the largest cause first.

    ``graver`` has the verdicts that were found before.  What they explain is not named again.
    """
    pairs = _lost_lately(view, graver)
    if all(lost.times < UNSTABLE_FROM for lost in pairs.values()):
        return []
    part_of = parts_without(view, pairs)
    causes = _torn(view, pairs, part_of) + _nodes(view, pairs, part_of)
    named = {_pair(*verdict.nodes) for verdict in graver if verdict.kind == Kind.PAIR}
    for pair in sorted(pairs.keys() - named, key=lambda pair: (-pairs[pair].times, pair)):
        one, other = sorted(pair, key=lambda nodeid: natural(view.label[nodeid]))
        text = "%s lost their connection" % view.arrow(one, other, "<->")
        causes.append(Cause(pair, text, [pairs[pair]]))
    return [
        Verdict(Kind.UNSTABLE, cause.nodes, _sentence(cause))
        for cause in causes
        if any(one.times >= UNSTABLE_FROM for one in cause.lost)
    ]


class Cause(NamedTuple):
    """What becomes a verdict if one of its pairs is unstable."""

    nodes: Tuple[str, ...]
    text: str
    """The beginning of the sentence."""
    lost: List[Lost]


# -- the two ends of a pair ------------------------------------------------------------------


def _lost_lately(view: View, graver: List[Verdict]) -> Pairs:
    at_fault: Set[str] = set(view.late)  # a late node drops its peers because of its own slowness
    for verdict in graver:
        if verdict.kind == Kind.CUT_OFF:
            at_fault.update(verdict.nodes)
    is_split = any(verdict.kind == Kind.SPLIT for verdict in graver)
    ends: Dict[Pair, List[Link]] = {}
    for source in sorted(view.current - at_fault):
        for link in view.rows[source].links:
            target = link["nodeid"]
            if link.get("lost") and target in view.live - at_fault and target != source:
                ends.setdefault(_pair(source, target), []).append(link)
    return {
        pair: _put_together(links)
        for pair, links in ends.items()
        if (view.connected(*pair) or not is_split)
        and not view.is_lossy(*pair)
        and not view.has_hole(*pair)
    }


def _pair(one: str, other: str) -> Pair:
    return (one, other) if one < other else (other, one)


def _put_together(links: List[Link]) -> Lost:
    """Of the two ends, the one that has counted more is believed."""
    links = sorted(links, key=lambda link: -link["lost"])
    regular = next((link for link in links if "lost_every_s" in link or "lost_quiet_s" in link), links[0])
    return Lost(
        times=min(int(links[0]["lost"]), MOST_COUNTED),
        why=regular.get("lost_why", ""),
        every=regular.get("lost_every_s"),
        quiet=regular.get("lost_quiet_s"),
        busy=min((link["busy_s"] for link in links if link.get("busy_s")), default=None),
    )


# -- one cause for many pairs ----------------------------------------------------------------


def _torn(view: View, pairs: Pairs, part_of: Parts) -> List[Cause]:
    """Return large parts without a stable connection between them, or everyone, as a cause.

    Take what it explains out of ``pairs``.
    """
    between, parts = between_large(part_of, pairs)
    nodes = set().union(*parts)
    name = names_of_parts(view, parts)
    if not between:
        between = [pair for pair in pairs if part_of[pair[0]] is not part_of[pair[1]]]
        nodes = {nodeid for pair in between for nodeid in pair}
        name = set_of(view, nodes)
        some = any(len(part_of[nodeid]) > 1 for nodeid in nodes)
        if not between or some or any(all(n in pair for pair in between) for n in nodes):
            return []  # it is not everyone, or all of these pairs have one node in common
    text = "%s: lost the connections between them" % name
    return [Cause(tuple(sorted(nodes)), text, [pairs.pop(pair) for pair in between])]


def _nodes(view: View, pairs: Pairs, part_of: Parts) -> List[Cause]:
    """Return nodes with many unstable pairs, or with no stable one, as causes.

    Take what they explain out of ``pairs``.
    """
    found: List[Cause] = []
    while True:
        count = Counter(nodeid for pair in pairs for nodeid in pair)
        nodes = [n for n in count if count[n] >= (2 if len(part_of[n]) == 1 else MANY_PAIRS)]
        if not nodes:
            return found
        most = min(nodes, key=lambda nodeid: (-count[nodeid], nodeid))
        others = {one if other == most else other for one, other in pairs if most in (one, other)}
        text = "%s: lost its connections to %s" % (view.label[most], names_of(view, others))
        lost = [pairs.pop(_pair(most, other)) for other in sorted(others)]
        found.append(Cause((most,), text, lost))


# -- sentences -------------------------------------------------------------------------------


def _sentence(cause: Cause) -> str:
    """Return how often the connections were lost, why, and what is done about it."""
    _, text, lost = cause
    most, least = max(one.times for one in lost), min(one.times for one in lost)
    text += " %s%d times in ten minutes" % ("" if most == least else "up to ", most)
    if most >= MOST_COUNTED:
        text += " or more"
    ((why, _),) = Counter(one.why for one in lost).most_common(1)
    why = _IN_WORDS.get(why, "closed")
    every = [one.every for one in lost if one.every is not None]
    quiet = [one.quiet for one in lost if one.quiet is not None]
    busy = [one.busy for one in lost if one.busy is not None]
    if len(quiet) == len(lost):
        text += ", each time after %s without traffic (%s)" % (duration(min(quiet)), why)
        text += ": something on the way forgets idle connections"
    elif len(every) == len(lost) and not quiet:
        text += ", every %s, traffic or not (%s)" % (duration(min(every)), why)
        text += ": something limits how long connections last"
    else:
        text += " (%s)" % why
    if busy:
        text += "; kept busy every %s since" % duration(min(busy))
    return text
