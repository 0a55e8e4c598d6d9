"""How late this node itself runs, and a clock that stands still while it does.

A suspended laptop wakes, a loaded machine gets round to us at last: then our own absence must
not become everybody else's timeout, and a round trip measured meanwhile says more about this
machine than about the network.  The pinger should tick every ``interval`` seconds, so by how much
it ticks late is how late the node runs.
"""

from collections import deque

from ..common.typing import Deque

LATE_TICKS = 50
"""Ticks that are looked at: ten seconds."""

LATE_PERCENTILE = 90
"""Nine of ten of them were at most ``Lateness.usual`` late.  One late tick in ten happens on any busy
machine; two do not."""

LATE_SECONDS = 0.005
"""Every machine is that late now and then, so a node counts as late only if it is later."""

LATE_LATELY = 2
"""Ticks that must have been on time for a round trip to count."""


class Lateness:
    """How late one node runs.  The pinger's thread calls ``tick``; any thread may read."""

    def __init__(self, interval: float, now: float) -> None:
        self._interval = interval
        self._ticked_at = now
        self._ticks: Deque[float] = deque(maxlen=LATE_TICKS)
        """By how many seconds each was late."""
        self.awake_clock = 0.0
        """Seconds on the clock that stands still while this node does.  Deadlines of peers are moments
        on it."""
        self.usual = 0.0
        """Seconds by which the node runs late, apart from single late ticks.  The monitor reports it."""
        self.recent = 0.0
        """The lateness of the worst of the last few ticks, in seconds."""

    def tick(self, now: float) -> None:
        """Note that the pinger ticks."""
        # What is more than two intervals was our own lateness, so the clock does not gain it.
        self.awake_clock += min(now - self._ticked_at, 2 * self._interval)
        self._ticks.append(max(0.0, now - self._ticked_at - self._interval))
        self._ticked_at = now
        self.usual = sorted(self._ticks)[(len(self._ticks) - 1) * LATE_PERCENTILE // 100]
        self.recent = max(list(self._ticks)[-LATE_LATELY:])

    def excuses(self, round_trip: float) -> bool:
        """True if a round trip (seconds) that ends now may be longer through our own fault."""
        return self.recent > LATE_SECONDS and self.recent > round_trip / 2
