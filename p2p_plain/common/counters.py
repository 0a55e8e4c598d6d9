"""Counters since the start: messages and bytes, round trips, failed dials.

Counting happens for each message, so it must cost next to nothing.  Each connection counts for
itself, on a thread or under a lock that it has anyway; a reader adds up all connections.
"""

from bisect import bisect_left
from threading import Lock

from .typing import Dict, List, Tuple

BUCKETS = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0,
)
"""Upper bounds of a round trip, in seconds: from two nodes on one machine to the default
``ping_timeout``."""


class Traffic:
    """Messages by type, and bytes, of one connection or of many.

    The connection's reader thread counts the incoming ones; outgoing ones are counted under its send
    lock.
    """

    def __init__(self) -> None:
        self.received: Dict[str, int] = {}
        self.bytes_in = 0
        self.sent: Dict[str, int] = {}
        self.bytes_out = 0

    def add(self, other: "Traffic") -> None:
        """Add the figures of ``other``, which may go on counting meanwhile."""
        for mine, theirs in ((self.received, other.received), (self.sent, other.sent)):
            for msgtype, number in list(theirs.items()):
                mine[msgtype] = mine.get(msgtype, 0) + number
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out


class Tally:
    """How often each of a few words occurred.  Any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Dict[str, int] = {}  # guarded by _lock

    def count(self, word: str) -> None:
        """Count ``word`` once more."""
        with self._lock:
            self._counts[word] = self._counts.get(word, 0) + 1

    def counts(self) -> Dict[str, int]:
        """Return a copy: how often each word was counted."""
        with self._lock:
            return dict(self._counts)


class Histogram:
    """Round trips, sorted into ``BUCKETS``.  Any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        # Guarded by _lock.
        self._counts = [0] * (len(BUCKETS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one round trip."""
        with self._lock:
            self._counts[bisect_left(BUCKETS, seconds)] += 1
            self._sum += seconds

    def read(self) -> Tuple[List[Tuple[float, int]], float, int]:
        """Return the number of round trips up to each bound, their sum in seconds, and how many."""
        with self._lock:
            counts, total = list(self._counts), self._sum
        cumulative: List[Tuple[float, int]] = []
        so_far = 0
        for bound, number in zip(BUCKETS, counts):
            so_far += number
            cumulative.append((bound, so_far))
        return cumulative, total, so_far + counts[-1]
