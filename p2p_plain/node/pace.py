"""How fast broadcasts go out on one link: well below what the other end reads.

A node reads so many messages a second from each peer (``max_rate``).  A neighbour that forwards more
than that is not at fault, and would pay all the same: its pings wait behind the backlog until it
counts as dead.  So every link has a pace of its own, and what goes beyond is dropped here.

**Fair shares.**  An *origin* is the neighbour that something came from, or this node's own program.
A link has room for a burst; it empties at the pace.  While it is less than half full, everyone may
add to it.  In the upper half only those may whose own part is still small: of ``n`` origins each gets
one part in ``n + 1``, so there is always one left for a newcomer.  A flood from twelve neighbours so
displaces the flood, and not the thirteenth who speaks now and then.

``talk`` uses it.  No sockets and no threads; the clock is passed in.
"""

from threading import Lock

from ..common.typing import Dict

SHARE = 0.75
"""The part of what the other end reads that broadcasts may take.  The rest is for pings, rows and
addresses, and for two clocks that do not agree."""

BURST_SECONDS = 2
"""Seconds' worth of messages that may come at once, as ``session`` allows it."""

BYTES_PER_TOKEN = 1024
"""Bytes that count as one message where the rate is limited.  Parsing takes time in proportion to the
length: 200 lines of 64 KiB a second would keep a core busy."""


class Pace:
    """The pace of one link.  Any thread may call any method."""

    def __init__(self, max_rate: float, now: float) -> None:
        """``max_rate`` is what the other end reads, in messages a second; 0 means no limit."""
        self._rate = SHARE * max_rate
        self._room = self._rate * BURST_SECONDS
        self._lock = Lock()
        # Guarded by _lock.
        self._parts: Dict[str, float] = {}
        """What each origin has in the room, in messages."""
        self._full = 0.0
        self._emptied_at = now

    def admits(self, origin: str, cost: float, now: float) -> bool:
        """Count ``cost`` messages from ``origin``; False, and nothing is counted, if it must wait."""
        if not self._rate:
            return True
        with self._lock:
            self._empty_locked(now)
            part = self._parts.get(origin, 0.0)
            origins = len(self._parts) + (origin not in self._parts)
            if self._full >= self._room / 2 and part >= self._room / (origins + 1):
                return False
            self._parts[origin] = part + cost
            self._full += cost
            return True

    def _empty_locked(self, now: float) -> None:
        gone = max(0.0, now - self._emptied_at) * self._rate
        self._emptied_at = now
        self._full = max(0.0, self._full - gone)
        if self._parts and gone:
            each = gone / len(self._parts)
            self._parts = {origin: part - each for origin, part in self._parts.items() if part > each}


def cost_of(size: int) -> float:
    """Return as how many messages a line of so many bytes counts."""
    return max(1.0, size / BYTES_PER_TOKEN)
