"""The network in one line: how many nodes, how many directions are up, how fast."""

from ..common.typing import Iterable, NamedTuple, Optional
from ..common.words import brief_ms, count_of
from .gaps import Gaps, find_gaps, why_exempt
from .view import Direction, State, View


class Summary(NamedTuple):
    """Counts of nodes and of the directions between them."""

    nodes: int
    """All that have not left, including those that are down."""
    current: int
    """Those whose own row is current."""
    left: int
    up: int
    down: int
    unknown: int
    """Directions, stale ones included: ``up + down + unknown == nodes * (nodes - 1)``."""
    p50_ms: Optional[float]
    """The median of all round trips, if any was measured."""
    worst: Optional[Direction]
    """The slowest direction."""
    worst_arrow: str
    """Its nodes: ``a -> b``."""
    gaps: Gaps
    """Those of the unknown directions that stay so, or should have been known long ago."""
    why_exempt: str
    """``n7 sends no rows``."""
    left_out: int
    """Nodes that are not counted because one node alone has named too many."""

    @property
    def known(self) -> int:
        """The number of directions that are up or down."""
        return self.up + self.down

    @property
    def pending(self) -> int:
        """The number of directions that will be known some time: all but the exempt ones."""
        return self.unknown - len(self.gaps.exempt)

    def text(self) -> str:
        """``12 nodes, 132 of 132 directions up, p50 0.3 ms, worst 1.2 ms web-03 -> db-01``."""
        parts = [count_of(self.nodes, "node")]
        if self.nodes > 1 and self.unknown:
            known = "%d of %d known directions up, %d unknown"
            parts.append(known % (self.up, self.known, self.unknown))
            if self.why_exempt:
                exempt = "" if not self.pending else "%d: " % len(self.gaps.exempt)
                parts[-1] += " (%s%s)" % (exempt, self.why_exempt)
        elif self.nodes > 1:
            parts.append("%d of %d directions up" % (self.up, self.known))
        if self.p50_ms is not None and self.worst is not None:
            parts.append("p50 %s" % brief_ms(self.p50_ms))
            parts.append("worst %s %s" % (brief_ms(self.worst.p50_ms or 0.0), self.worst_arrow))
        if self.left:
            parts.append("%d left" % self.left)
        if self.left_out:
            parts.append("%d not counted (one node alone names them)" % self.left_out)
        return ", ".join(parts)


def summarize(view: View) -> Summary:
    """Return the counts of a view."""
    states = [direction.state for direction in view.directions.values()]
    up, down = states.count(State.UP), states.count(State.DOWN)
    measured = [d for d in view.directions.values() if d.p50_ms is not None]
    gaps = find_gaps(view)
    worst = max(measured, key=lambda d: d.p50_ms or 0.0, default=None)
    return Summary(
        nodes=len(view.nodes),
        current=len(view.current),
        left=len(view.left),
        up=up,
        down=down,
        unknown=len(view.nodes) * (len(view.nodes) - 1) - up - down,
        p50_ms=median(d.p50_ms or 0.0 for d in measured) if measured else None,
        worst=worst,
        worst_arrow="" if worst is None else view.arrow(worst.source, worst.target),
        gaps=gaps,
        why_exempt=why_exempt(view, gaps.exempt),
        left_out=view.belief.left_out,
    )


def median(values: Iterable[float]) -> float:
    """Return the middle one; of two, the smaller.  ``values`` is not empty."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]
