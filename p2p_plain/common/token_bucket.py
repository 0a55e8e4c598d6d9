"""So many a second, and a burst after a silence: the token bucket.

Tokens fall into a bucket at a steady rate until it is full; each thing that is done takes one
out.  Who takes more than there is goes into debt, and is told how long it takes until that is
paid: waiting that long keeps to the rate.

Time is seconds of a monotonic clock, and passed in.  No locks: whoever has a bucket has one.
"""


class TokenBucket:
    """``rate`` tokens a second, ``burst`` at the most; a rate of 0 is no limit."""

    __slots__ = ("_burst", "_filled_at", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = self._tokens = burst
        self._filled_at = now

    def spare(self, now: float) -> int:
        """How many whole tokens are there."""
        self._fill(now)
        return max(0, int(self._tokens))

    def spend(self, count: float, now: float) -> float:
        """Take ``count`` out, be they there or not; the seconds until the debt is paid."""
        if not self._rate:
            return 0.0
        self._fill(now)
        self._tokens -= count
        return max(0.0, -self._tokens / self._rate)

    def _fill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
