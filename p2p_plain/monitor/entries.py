"""What one row says of one other node: a link, with a default for each field that is missing.

Where both ends have measured one way between them, here is which of the two counts.

``view`` puts them together.  No sockets, threads or clock.  Any thread.
"""

from ..common.outcomes import FAILURES, OK, UNKNOWN
from ..common.typing import Any, Collection, Dict, Iterator, Optional, Tuple
from .holes import BACK, THERE

LEAST_SHARE_OF_LOSS = 0.15
"""A direction that loses less than this part of what the other one loses is taken for one without loss.
Lost acknowledgements make TCP send again what has arrived.  The other end reports that, but its report may
be lost as well: so 2 to 8 % of the loss shows up in the wrong direction."""

MAX_PACKET = 65535
"""Bytes; there are no larger packets."""


class Entry:
    """One link of a row, with a default for each field that is missing."""

    __slots__ = (  # a tenth of the memory of a page where liars name 50,000 nodes
        "address", "dial", "direction", "has_median", "held_ms", "hole", "hole_back", "jitter_ms",
        "last_ms", "loss_pct", "loss_segs", "name", "p50_ms", "why",
    )

    def __init__(self, link: Dict[str, Any]) -> None:
        self.dial: str = link.get("dial", UNKNOWN)
        self.why: str = link.get("why", "") if self.dial in FAILURES else ""
        direction = link.get("direction", "none")
        self.direction: str = "" if direction == "none" else direction
        """``outbound`` or ``inbound``; empty without a connection."""
        self.name: str = link.get("name", "")
        self.address: str = link.get("address", "")
        self.last_ms: Optional[float] = link.get("rtt_ms")
        median: Optional[float] = link.get("rtt_p50_ms")
        self.has_median = median is not None
        self.p50_ms = None if not self.direction else self.last_ms if median is None else median
        self.jitter_ms: float = link.get("jitter_ms") or 0.0
        self.held_ms: float = link.get("held_ms") or 0.0
        self.loss_pct: float = min(link.get("loss_pct") or 0.0, 100.0)
        self.loss_segs: float = link.get("loss_segs") or 0.0
        self.hole, self.hole_back = _hole(link, THERE), _hole(link, BACK)


def _hole(link: Dict[str, Any], field: str) -> Optional[int]:
    """Return what a link says of one way; see ``Direction.hole``."""
    if link.get(field) != "lost":
        return None
    return int(min(link.get(field + "_passed") or 0, MAX_PACKET))


Entries = Dict[str, Dict[str, Entry]]
"""By the row's node, then by the other one."""

_Pair = Tuple[str, str]


def lossy_ways(entries: Entries, current: Collection[str]) -> Iterator[Tuple[_Pair, Entry]]:
    """Yield each way on which packets are lost, by the ``current`` rows, and the entry that says so."""
    for source in current:
        for target, entry in entries[source].items():
            back = entries[target].get(source) if target in current else None
            least = LEAST_SHARE_OF_LOSS * (back.loss_pct if back else 0.0)
            if entry.loss_pct and entry.loss_pct >= least:
                yield (source, target), entry


def holes(
    entries: Entries, current: Collection[str], late: Collection[str]
) -> Dict[_Pair, int]:
    """Return the ways on which large packets are lost, by the ``current`` rows; see ``Direction.hole``.

    Either end may have measured it, unless one of them runs ``late``.  Of two sizes that have passed, the
    larger one counts.  A node that cannot dial the other end any more has measured that before.
    """
    found: Dict[_Pair, int] = {}
    for source in current:
        for target, entry in entries[source].items():
            if entry.dial == OK and source not in late and target not in late:
                for pair, hole in ((source, target), entry.hole), ((target, source), entry.hole_back):
                    if hole is not None:
                        found[pair] = max(hole, found.get(pair, 0))
    return found
