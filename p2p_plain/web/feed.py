"""What happened lately, for those who follow it over HTTP: ``/events`` of the status page.

Each event has a number, which goes out with it.  A browser that has lost its node says the last one
that it has heard when it comes back, and is told what it has missed.
"""

import json
import re
import threading
import time
from collections import deque
from typing import Deque, List, NamedTuple, Optional, Tuple

from ..common.events import Event

KEPT_EVENTS = 500
"""Events that a new client is told first: so many round trips, and so many of all other kinds.
In a large network round trips come by the dozen each second and would push out the rest."""

KEPT_BYTES = 1024 * 1024
"""The same in bytes, for each of the two."""


class Item(NamedTuple):
    """One event, encoded: its number, and what is sent of it."""

    number: int
    sent: bytes


class News:
    """The last events, numbered.  One thread adds, each client's reads at its own pace.

    A client that is too slow misses events, and sees so by their numbers; nobody waits for it.
    ``life`` goes before each number, so that a client which comes back after the node was started
    anew is not taken for one that has heard the first events already.
    """

    def __init__(self, life: str) -> None:
        self._life = life
        self._lock = threading.Condition()
        # Guarded by _lock.
        self._last = 0
        self._ended = False
        self._round_trips: Deque[Item] = deque()
        self._others: Deque[Item] = deque()
        self._sizes = [0, 0]
        """Bytes kept of the others, and of the round trips: ``False`` and ``True`` are 0 and 1."""

    def add(self, event: Event) -> None:
        """Keep one more; called by the node's dispatcher.  Never blocks."""
        data = json.dumps(event)
        is_rtt = event.get("event") == "rtt"
        kept = self._round_trips if is_rtt else self._others
        with self._lock:
            self._last += 1
            sent = "id: %s-%d\ndata: %s\n\n" % (self._life, self._last, data)
            item = Item(self._last, sent.encode("ascii"))
            kept.append(item)
            self._sizes[is_rtt] += len(item.sent)
            while len(kept) > KEPT_EVENTS or self._sizes[is_rtt] > KEPT_BYTES:
                self._sizes[is_rtt] -= len(kept.popleft().sent)
            self._lock.notify_all()

    def end(self) -> None:
        """There will be no more."""
        with self._lock:
            self._ended = True
            self._lock.notify_all()

    def position(self, last_id: Optional[str]) -> int:
        """Where to go on for a client that has heard ``last_id``: 0, the beginning, for others.

        A browser that has lost us says it when it comes back.
        """
        life, dash, number = (last_id or "").rpartition("-")
        if not dash or life != self._life or not re.match("[0-9]{1,15}\\Z", number):
            return 0
        with self._lock:
            return min(int(number), self._last)

    def after(self, position: int, timeout: float) -> Optional[Tuple[bytes, int]]:
        """What came after ``position``, and the new one; empty after ``timeout``; ``None``: ended."""
        deadline = time.monotonic() + timeout
        with self._lock:
            while self._last <= position and not self._ended:
                left = deadline - time.monotonic()
                if left <= 0:
                    return b"", position
                self._lock.wait(left)
            if self._last <= position:
                return None
            last = self._last
            found = _newer(self._round_trips, position) + _newer(self._others, position)
        found.sort(key=lambda item: item.number)
        return b"".join(item.sent for item in found), last


def _newer(kept: Deque[Item], position: int) -> List[Item]:
    found = []
    for item in reversed(kept):
        if item.number <= position:
            break
        found.append(item)
    return found
