"""The last events, numbered, for clients that follow them: ``/events`` of the status page.

The number goes out with each event.  A browser that lost the connection sends the last number that
it has seen (``Last-Event-ID``), and gets every event since.
"""

import json
import re
import threading
from collections import deque

from ..common.typing import Deque, List, Mapping, Optional, Tuple

KEPT_EVENTS = 500
"""Events that a new client gets first: so many round trips, and so many of all other kinds.  In a
large network dozens of round trips a second would displace the rest."""

KEPT_BYTES = 1024 * 1024
"""The same in bytes, for each of the two."""

PIECE_BYTES = 64 * 1024
"""Bytes from which on a client gets the rest later.  A crowd that follows and reads nothing holds one
piece each."""


class Feed:
    """The last events.  One thread adds, and each client's thread reads at its own pace.

    A slow client misses events, which it can see by their numbers; it delays nobody.  ``life`` stands
    before each number.  It changes with each restart, so a client that knows numbers from before
    gets everything.
    """

    def __init__(self, life: str) -> None:
        self._life = life
        self._lock = threading.Condition()
        # Guarded by _lock.
        self._last = 0
        self._ended = False
        self._round_trips = _Recent()
        self._others = _Recent()

    def add(self, event: Mapping[str, object]) -> None:
        """Add an event.  Never blocks.  Thread ``events`` only."""
        data = json.dumps(event)
        recent = self._round_trips if event.get("event") == "rtt" else self._others
        with self._lock:
            self._last += 1
            text = "id: %s-%d\ndata: %s\n\n" % (self._life, self._last, data)
            recent.append(self._last, text.encode("ascii"))
            self._lock.notify_all()

    def end(self) -> None:
        """Let ``after`` return ``None``, once everything has been read.  Any thread."""
        with self._lock:
            self._ended = True
            self._lock.notify_all()

    def position(self, last_event_id: str) -> int:
        """Return the position of a client that has seen the event ``last_event_id``.  Any thread.

        0, the beginning, if it is not an id of this feed.
        """
        life, _, number = last_event_id.rpartition("-")
        if life != self._life or not re.match("[0-9]{1,15}\\Z", number):
            return 0
        with self._lock:
            return min(int(number), self._last)

    def after(self, position: int, timeout: float) -> Optional[Tuple[bytes, int]]:
        """Return the next events after ``position``, and the new position.  Any thread.

        Waits until there is one: no bytes after ``timeout`` seconds, ``None`` at the end of the feed.
        """
        with self._lock:
            self._lock.wait_for(lambda: self._last > position or self._ended, timeout)
            if self._last <= position:
                return None if self._ended else (b"", position)
            last = self._last
            found = sorted(self._round_trips.after(position) + self._others.after(position))
        piece: List[bytes] = []
        size = 0
        for number, data in found:
            if size >= PIECE_BYTES:
                return b"".join(piece), number - 1
            piece.append(data)
            size += len(data)
        return b"".join(piece), last


class _Recent:
    """The last events of one kind, as they are sent, with their numbers.  Guarded by ``Feed._lock``."""

    def __init__(self) -> None:
        self._items: Deque[Tuple[int, bytes]] = deque()
        self._bytes = 0

    def append(self, number: int, data: bytes) -> None:
        self._items.append((number, data))
        self._bytes += len(data)
        while len(self._items) > KEPT_EVENTS or self._bytes > KEPT_BYTES:
            self._bytes -= len(self._items.popleft()[1])

    def after(self, position: int) -> List[Tuple[int, bytes]]:
        found = []
        for item in reversed(self._items):  # a client that keeps up misses only the last few
            if item[0] <= position:
                break
            found.append(item)
        return found
