"""How late this node itself runs, and a clock that stands still while it does.

A suspended laptop wakes, a loaded machine gets round to us at last: then our own absence must
not become everybody else's timeout, and a round trip measured meanwhile says more about this
machine than about the network.  The pinger's beat should come every ``interval`` seconds, so by
how much it comes late is how late the node runs.
"""

from collections import deque

from ..common.typing import Deque, Iterable

LATE_PERCENTILE = 90
"""The beat whose lateness counts as the node's own, of the last ``LATE_BEATS`` in ascending order.
One late beat in ten happens on any busy machine; two do not."""

LATE_BEATS = 50
"""Beats that are looked at: ten seconds."""

LATE_SECONDS = 0.005
"""Every machine is that late now and then; less does not count."""

LATE_LATELY = 2
"""Beats that must have been on time for a round trip to count."""


class Lateness:
    """What the beats of one node say.  The pinger's thread calls ``beat``; any thread may read."""

    def __init__(self, interval: float, now: float) -> None:
        self._interval = interval
        self._beat_at = now
        self._beats: Deque[float] = deque(maxlen=LATE_BEATS)
        self.patience = 0.0
        """Seconds on the clock that stands still while this node does."""
        self.usual = 0.0
        """Seconds by which the node runs late, apart from single late beats."""
        self.recent = 0.0
        """The lateness of the worst of the last few beats, in seconds."""

    def beat(self, now: float) -> None:
        """Note that a beat has come."""
        # A beat later than two intervals was our own lateness, so the clock gains no more than that.
        self.patience += min(now - self._beat_at, 2 * self._interval)
        self._beats.append(max(0.0, now - self._beat_at - self._interval))
        self._beat_at = now
        self.usual = own_lateness(self._beats)
        self.recent = max(list(self._beats)[-LATE_LATELY:])

    def excuses(self, round_trip: float) -> bool:
        """True if a round trip (seconds) that ends now may be longer through our own fault."""
        return is_own_fault(round_trip, self.recent)


def own_lateness(beats: Iterable[float]) -> float:
    """Return how late (seconds) a node runs whose last beats were that late (seconds)."""
    ordered = sorted(beats)
    return ordered[(len(ordered) - 1) * LATE_PERCENTILE // 100] if ordered else 0.0


def is_own_fault(round_trip: float, lateness: float) -> bool:
    """True if a round trip says more about us, who ran that late, than about the network."""
    return lateness > LATE_SECONDS and lateness > round_trip / 2
