"""What one row says of one other node: a link, with a default for each field that is missing.

``view`` puts them together.  No sockets, threads or clock.  Any thread.
"""

from ..common.outcomes import FAILURES, UNKNOWN
from ..common.typing import Any, Dict, Optional
from .holes import BACK, THERE

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
