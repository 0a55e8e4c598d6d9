"""Long answers that one connection still has to send.

An answer may be megabytes, and the other end may read it slowly, on purpose or because it is busy.  So
its lines are made one by one, as the other end takes them: nothing of it waits here.  Meanwhile the
session reads on, and pings go out between the lines.

They would still wait behind what the buffers of both kernels hold, which is megabytes too.  So a peer
gets a long answer in pieces: after each piece comes a ping, and after its pong the next piece.

Reader thread of the session only.
"""

from collections import deque

from ..common.typing import Deque, Iterator, Optional
from .hooks import LongAnswer

PIECE_BYTES = 128 * 1024
"""Bytes of a long answer that a peer gets before it has to answer a ping.  A program that reads 200 KB a
second takes less than a second for a piece.  Where a round trip takes 200 ms, pieces go out at 640 KB a
second."""

MOST_ANSWERS = 8
"""Long answers that may wait for one asker.  Questions beyond that are not answered."""


class Answers:
    """The answers of one session, the first question's first."""

    def __init__(self) -> None:
        self._waiting: Deque[Iterator[bytes]] = deque()
        self._unpaid = 0
        """Bytes that have not been counted against ``max_rate``."""
        self._piece = 0
        """How many bytes of the current piece are out."""
        self._awaited = 0
        """The number of the pong after which the next piece goes out; 0 if none has to come."""

    def __bool__(self) -> bool:
        """True if there may be a line to send now."""
        return bool(self._waiting) and not self._awaited

    def add(self, answer: LongAnswer) -> None:
        """Note an answer to be sent."""
        if len(self._waiting) < MOST_ANSWERS:
            self._waiting.append(iter(answer))

    def next_line(self) -> Optional[bytes]:
        """Make the next line; ``None`` if there is none."""
        while self._waiting:
            line = next(self._waiting[0], None)
            if line is not None:
                self._unpaid += len(line)
                self._piece += len(line)
                return line
            self._waiting.popleft()
        return None

    def is_piece_out(self) -> bool:
        """True if that was the last line of a piece; then a new one begins."""
        if self._piece < PIECE_BYTES:
            return False
        self._piece = 0
        return True

    def await_pong(self, number: int) -> None:
        """Hold the next line back until the pong of that number."""
        self._awaited = number

    def was_awaited(self, number: int) -> bool:
        """True if the pong of that number, which has just come, is the one that was awaited."""
        if not 0 < self._awaited <= number:
            return False
        self._awaited = 0
        return True

    def unpaid(self) -> int:
        """Return how many bytes were sent since this was asked last."""
        unpaid, self._unpaid = self._unpaid, 0
        return unpaid
