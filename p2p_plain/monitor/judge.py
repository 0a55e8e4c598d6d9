"""The judge: what is wrong in the network, one sentence for each cause, the gravest first.

A hundred nodes have 9,900 directions, and one dead host spoils 198 of them.  Nobody wants to read
198 lines.  So ``judge`` looks for causes, and returns exactly one verdict if all is well.

Called for ``matrix``, ``watch``, the status page and the tour, mostly as a ``Judgement``.  No sockets,
threads or clock: the same view gives the same verdicts.  Any thread.
"""

import itertools

from ..common.typing import Any, Collection, Dict, List, Sequence
from ..common.words import ago
from . import lossy, outages, slowness, stability
from .blockages import blockages
from .gaps import verdicts_on_gaps
from .hole_verdicts import holes
from .row_messages import Links
from .summary import Summary, summarize
from .verdict import HARMLESS, KINDS, Failures, Kind, Verdict, names_of
from .view import State, View

MOST_ALIKE = 8
"""Verdicts of one kind before the rest of them share a line: what fits on a screen."""


class Judgement:
    """All rows that a node has, and what they mean: everything that is shown of a network.  Immutable.

    ``rows`` begins with the node's own; ``stale_after`` is in seconds.
    """

    def __init__(self, rows: Sequence[Links], stale_after: float) -> None:
        self.rows = rows
        self.view = View(rows, stale_after)
        self.summary = summarize(self.view)
        self.verdicts = judge(self.view, self.summary)
        self.ok = not self.summary.down and all(v.kind in HARMLESS for v in self.verdicts)
        """False if anything is known to be broken, or too little is known: the one answer of the
        commands, the status page and the metrics."""

    def in_words(self) -> Dict[str, Any]:
        """Return whether the network is ok, the summary and the verdicts, for JSON."""
        verdicts = [verdict.as_dict() for verdict in self.verdicts]
        return {"ok": self.ok, "summary": self.summary.text(), "verdicts": verdicts}

    def as_dict(self) -> Dict[str, Any]:
        """Return the rows too, for JSON."""
        rows = [row.as_dict() for row in self.rows]
        return dict(self.in_words(), rows=rows, stale_after=self.view.stale_after)


def judge(view: View, summary: Summary) -> List[Verdict]:
    """Return one verdict for each cause of trouble, the gravest first; or the one that all is well."""
    failed: Failures = {
        pair: d.dial for pair, d in view.directions.items() if d.state == State.DOWN
    }
    # The order is from large causes to small ones, so that no small one is reported for what a large
    # one did.
    found = slowness.late_nodes(view, failed)
    found += outages.down_nodes(view, failed)
    found += outages.separate_parts(view, failed)
    found += blockages(view, failed)
    found += _nothing_known(view, summary) or verdicts_on_gaps(view, summary.gaps.overdue)
    found += holes(view)
    found += stability.unstable(view, found)
    found += lossy.lossy_paths(view)
    found += slowness.slow_nodes_and_pairs(view)
    found += slowness.tardy_nodes(view)
    return _shortened(view, found) if found else [_nothing_wrong(view, summary)]


def _nothing_known(view: View, summary: Summary) -> List[Verdict]:
    text = ""
    if not view.nodes:
        text = "no rows: nothing is known"
    elif not view.current:
        youngest = min(row.age for row in view.rows.values())
        text = "all rows are old, the youngest %s" % ago(youngest)
    elif summary.nodes > 1 and not summary.known and not summary.gaps.overdue:
        text = "%d nodes, no direction known yet" % summary.nodes
    return [Verdict(Kind.UNKNOWN, (), text)] if text else []


def _nothing_wrong(view: View, summary: Summary) -> Verdict:
    text = summary.text()
    silent = (view.live & view.rows.keys()) - view.current
    if silent:
        text += ", no recent row from %s" % names_of(view, silent)
    return Verdict(Kind.WELL, (), text)


def _shortened(view: View, found: List[Verdict]) -> List[Verdict]:
    """Return the verdicts by kind.  If a kind has too many, the rest of them share one line.

    Those about nodes that were known for long come first, and those about nodes for which one node alone
    vouches after all others.  So no invented nodes bury what is wrong with real ones.
    """
    def is_about(nodes: Collection[str], verdict: Verdict) -> bool:
        return any(nodeid in nodes for nodeid in verdict.nodes)

    kept: List[Verdict] = []
    found = sorted(found, key=lambda verdict: is_about(view.brief, verdict))
    for alone, kind in itertools.product((False, True), KINDS):
        alike = [v for v in found if v.kind == kind and is_about(view.belief.alone, v) == alone]
        rest = alike[MOST_ALIKE - 1 :]
        if len(rest) > 1:
            nodes = tuple(sorted({nodeid for verdict in rest for nodeid in verdict.nodes}))
            text = "%d more like this (%s): %s" % (len(rest), kind, names_of(view, nodes))
            alike[MOST_ALIKE - 1 :] = [Verdict(kind, nodes, text)]
        kept += alike
    return kept
