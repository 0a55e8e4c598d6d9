"""A verdict: one sentence about one cause of trouble in the network, and the phrases it is made of."""

from collections import Counter

from ..common.outcomes import IN_WORDS, WHYS
from ..common.typing import Any, Collection, Dict, Iterable, List, NamedTuple, Tuple
from ..common.words import natural
from .view import Pair, View

Failures = Dict[Pair, str]
"""Directions that are down and not explained yet, with the outcome of the dial.  ``judge`` passes one
such dict from step to step, and each step removes from it what its verdicts explain."""

MOST_NAMES = 8
"""Names in one list before the rest is counted."""


class Kind:
    """The kinds of verdict, the gravest first."""

    SPLIT = "split"
    CUT_OFF = "cut-off"
    DOWN = "down"
    BLOCKED = "blocked"
    INBOUND_BLOCKED = "inbound-blocked"
    OUTBOUND_BLOCKED = "outbound-blocked"
    GROUP = "group"
    PAIR = "pair"
    HOLE = "hole"
    UNSTABLE = "unstable"
    UNKNOWN = "unknown"
    LOSS = "loss"
    SLOW = "slow"
    SLOW_PAIR = "slow-pair"
    LATE = "late"
    WELL = "well"


KINDS = tuple(value for name, value in vars(Kind).items() if name.isupper())

HARMLESS = frozenset((Kind.LOSS, Kind.SLOW, Kind.SLOW_PAIR, Kind.LATE, Kind.WELL))
"""With these the network is ok all the same: everyone can reach everyone.  (TCP repairs losses.)"""


class Verdict(NamedTuple):
    """One sentence: ``text`` for people, ``kind`` and ``nodes`` for programs."""

    kind: str
    """One of ``Kind``."""
    nodes: Tuple[str, ...]
    """Nodeids: for ``split``, ``group``, ``pair``, ``hole``, ``unstable`` and ``loss`` all that take part,
    else the ones at fault."""
    text: str

    def as_dict(self) -> Dict[str, Any]:
        """Return it for JSON."""
        return {"kind": self.kind, "nodes": list(self.nodes), "text": self.text}


def tally(dials: Collection[str]) -> str:
    """``5 of 5 timed out``, ``3 of 5 timed out, 2 refused``: outcomes counted, the most first."""
    (n, most), *others = sorted(((n, dial) for dial, n in Counter(dials).items()), reverse=True)
    first = "%d of %d %s" % (n, len(dials), IN_WORDS[most])
    return ", ".join([first] + ["%d %s" % (n, IN_WORDS[dial]) for n, dial in others])


def usual_why(view: View, pairs: Collection[Pair]) -> str:
    """Return the ``why`` that is known of more than half of these failures; empty if there is none."""
    counted = Counter(view.why(pair) for pair in pairs)
    return next((why for why in counted if why in WHYS and 2 * counted[why] > len(pairs)), "")


def tally_with_why(view: View, failures: Failures) -> str:
    """``2 of 2 timed out, it does not answer pings``: the ``why`` only if most agree on it."""
    why = WHYS.get(usual_why(view, failures))
    return ", ".join(filter(None, (tally(failures.values()), why)))


def names_of(view: View, nodes: Iterable[str]) -> str:
    """``a, b, c``: labels in order; where there are too many, the last is ``4 more``."""
    labels: List[str] = sorted((view.label[nodeid] for nodeid in nodes), key=natural)
    if len(labels) > MOST_NAMES:
        more = len(labels) - MOST_NAMES + 1
        labels = labels[: MOST_NAMES - 1] + ["%d more" % more]
    return ", ".join(labels)


def set_of(view: View, nodes: Iterable[str]) -> str:
    """``{a, b, c}``."""
    return "{%s}" % names_of(view, nodes)
