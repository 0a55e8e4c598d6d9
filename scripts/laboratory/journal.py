"""The journal: collects what nodes report, shows it, and lets a step wait for it."""

import threading
import time
from typing import Any, Callable, List, Optional

from .events import Record, Wanted


class Journal:
    """The reader threads of all nodes write it; one thread, which runs the steps, reads it.

    ``show`` is called with each record, under the lock.
    """

    def __init__(self, show: Callable[[Record], None]) -> None:
        self._started_at = time.monotonic()
        self._changed_at = 0.0
        """When the last step that changes something began."""
        self.lock = threading.Condition()
        """Notified of each record.  Guards what follows, and what ``Node.take`` writes."""
        self._show = show
        self._events: List[Record] = []
        """Events since the last step that changes something."""
        self.peers_changed_at = 0.0

    def clock(self) -> float:
        """Return the seconds since the start.  Any thread."""
        return time.monotonic() - self._started_at

    def write(self, record: Record, take: Callable[[Record], None]) -> None:
        """Add a node's record, and pass it to ``take`` under the lock.  Reader threads."""
        with self.lock:
            record["at"] = round(self.clock(), 3)
            take(record)
            if "event" in record:
                self._events.append(record)
            if record.get("event") in ("peer_up", "peer_down", "listening"):
                self.peers_changed_at = record["at"]
            self._show(record)
            self.lock.notify_all()

    def report(self, **record: Any) -> None:
        """Show what the laboratory itself does or finds."""
        with self.lock:
            record["at"] = round(self.clock(), 3)
            self._show(record)

    def report_time(self, result: str, at: float) -> float:
        """Report and return how many seconds after the last change something happened."""
        seconds = max(0.0, at - self._changed_at)
        self.report(result=result, seconds=round(seconds, 3))
        return seconds

    def change(self) -> None:
        """Begin a step that changes something: forget all events so far."""
        with self.lock:
            self._events = []
        self._changed_at = self.clock()

    def close(self) -> None:
        """Show nothing from now on."""
        with self.lock:
            self._show = lambda record: None

    def find(self, wanted: Wanted) -> Optional[Record]:
        """Return the first such event since the last change; ``None`` if there is none."""
        with self.lock:
            return next((record for record in self._events if wanted.matches(record)), None)

    def wait_for(self, predicate: Callable[[], Any], seconds: float) -> bool:
        """Return whether ``predicate``, called under the lock, becomes true in time."""
        deadline = time.monotonic() + seconds
        with self.lock:
            while not predicate():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self.lock.wait(left)
        return True
