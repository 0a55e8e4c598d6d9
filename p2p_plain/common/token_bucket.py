"""A rate limit that allows a burst after a silence: the token bucket.

Tokens fall into a bucket at a steady rate until it is full; each message or dial takes some out.
Spending more than is there creates a debt; the spender waits until it is repaid, and so keeps to
the rate.

Time is in seconds of a monotonic clock, and passed in.  No locks: the owner has one, or one thread.
"""


class TokenBucket:
    """``rate`` tokens a second, at most ``burst`` of them.  A rate of 0 means no limit."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = self._tokens = burst
        self._filled_at = now

    def spare(self, now: float) -> int:
        """Return how many whole tokens can be spent without debt."""
        self._fill(now)
        return max(0, int(self._tokens))

    def spend(self, count: float, now: float) -> float:
        """Take ``count`` tokens out in any case; return the seconds until the debt is repaid."""
        if not self._rate:
            return 0.0
        self._fill(now)
        self._tokens -= count
        return max(0.0, -self._tokens / self._rate)

    def _fill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
