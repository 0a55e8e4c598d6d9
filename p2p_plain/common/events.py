"""Reports what happened to listeners, on a thread of their own.

Events, trace lines and log records all go through one ``Events``.  Any thread calls ``emit``, which
appends to a queue and returns.  One thread, the dispatcher, takes from the queue and calls the
listeners.  So a terminal stopped with Ctrl-S, a full disk under a log file, or a slow callback delays
only the reports, never a peer's ping.  The queues are bounded: if a listener is too slow, the oldest
events are dropped.

An event is a dict: ``event`` is its name, ``time`` is RFC 3339 in UTC, and ``help options`` lists the
other fields.
"""

import functools
import sys
import time
from collections import deque
from threading import Condition, get_ident

from .escape import printable
from .typing import (
    TYPE_CHECKING, Any, Callable, Deque, Dict, Final, Iterator, List, Optional, Tuple,
)

if TYPE_CHECKING:
    from weakref import WeakSet

    from .event_types import types_by_name as types_by_name
else:

    def types_by_name(method):
        """Return ``method`` as it is.  Type checkers see one callback's type for each event's name."""
        return method


Event = Dict[str, Any]
Callback = Callable[[Event], None]
Emit = Callable[..., None]
"""``emit(event, **fields)``: any thread, never blocks, may be called while holding a lock."""

REMEMBERED_EVENTS = 1000
"""Past events with which a new ``Node.events()`` begins."""

REMEMBERED_SIZE = 1024
"""Longest line of a peer, in bytes, whose event is remembered.  64 KiB of JSON can take 2 MiB once
parsed, and strangers could fill our memory with a thousand of them."""

MAX_WAITING_EVENTS = 10000
MAX_WAITING_BYTES = 1024 * 1024
"""Events that wait for a slow listener, and the bytes of peers' lines in them.  Beyond either bound the
oldest events are dropped, and counted.  A terminal stopped with Ctrl-S is a slow listener: without
the second bound, 10,000 long lines could take 20 GB; with it they take 32 MiB."""


EVENTS = frozenset(
    (
        "listening", "peer_up", "peer_down", "refused", "self", "conflict", "rtt", "reach", "message",
        "stopped",
    )
)
"""The names of all events."""

EVERYTHING: Final = "*"
"""The name to listen under for every event.  Trace lines are not events."""

REPORTED: Final = "reported"
"""The name to listen under for the end of each batch: a listener that buffers can flush now."""

TRACE: Final = "trace"
"""The name to listen under for every line on the wire."""

BESIDE = (TRACE, REPORTED)
"""Reported only to those who ask by name: not remembered, not in ``EVERYTHING``."""

GATHER = 0.01
"""Seconds between two batches, at the least.  The first event after a silence is reported at once,
and so is every message.  If each event woke the dispatcher, it and the connections' threads would
take the processor from each other: a handshake would cost 360 us instead of 300 (one core)."""

GATHER_ROUND_TRIPS = 1.0
"""The same while nothing but round trips is waiting.  They are most of the events in a quiet network,
and nobody waits for them.  With 64 nodes on one machine this saves a tenth of their processor time."""

MANY = 1000
"""So many waiting round trips are reported like other events: a tenth of what may wait."""

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40
"""The levels of ``logging``.  It is imported when there is something to log: that would be a tenth of
the time that a start takes."""


class Backlog:
    """Events that wait for a listener; at the bounds the oldest are dropped.

    The owner's lock guards it.
    """

    def __init__(self) -> None:
        self._events: Deque[Tuple[Event, int]] = deque()
        self._bytes = 0

    def append(self, event: Event, size: int = 0) -> int:
        """Add an event with ``size`` bytes of a peer's line in it; return how many were dropped."""
        self._events.append((event, size))
        self._bytes += size
        dropped = 0
        while len(self._events) > MAX_WAITING_EVENTS or self._bytes > MAX_WAITING_BYTES:
            self._bytes -= self._events.popleft()[1]
            dropped += 1
        return dropped

    def take(self) -> List[Event]:
        """Return all events and keep none."""
        taken = [event for event, _ in self._events]
        self._events.clear()
        self._bytes = 0
        return taken

    def __len__(self) -> int:
        return len(self._events)


class Events:
    """The queue, its listeners, and the dispatcher's loop.  Any thread, unless a method says more."""

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._lock = Condition()
        # Guarded by _lock, all below.  Nothing is called while it is held, so emit() may be called
        # under any other lock.
        self._waiting = Backlog()
        self._history: Deque[Event] = deque(maxlen=REMEMBERED_EVENTS)
        self._listeners: Dict[str, List[Callback]] = {}
        self._streams: Optional[WeakSet[Stream]] = None
        """``None`` before the first.  Weak, so that a stream that nobody reads any more goes with its
        last reference."""
        self._dropped = 0
        self._gather = GATHER_ROUND_TRIPS
        """Seconds from the last batch to the next one: 0 is at once."""
        self._closed = False
        self._dispatcher: Optional[int] = None

    def on(self, name: str, callback: Callback) -> None:
        """Call ``callback(event)`` on the dispatcher thread for each event of that name."""
        with self._lock:
            self._listeners.setdefault(name, []).append(callback)

    def wants(self, name: str) -> bool:
        """Return whether anyone listens for ``name``; costly events need not be made for nobody."""
        with self._lock:
            return name in self._listeners

    def emit(self, event: str, **fields: Any) -> None:
        """Queue an event.  Never blocks; may be called while holding any lock.

        The field ``size``, the bytes of a peer's line in the event, is not reported.  It bounds the
        queue, and a long line's event is not remembered.
        """
        queued: Event = {"event": event, "time": self._wall_clock()}
        queued.update(fields)
        with self._lock:
            self._dropped += self._waiting.append(queued, queued.get("size", 0))
            waiting = len(self._waiting)
            gather = GATHER
            if event == "message":
                gather = 0.0
            elif event == "rtt" and waiting < MANY:
                gather = GATHER_ROUND_TRIPS
            if gather < self._gather or waiting == 1:  # otherwise it goes with the events before it
                self._gather = gather
                self._lock.notify()

    def log(self, level: int, text: str, *values: object) -> None:
        """Log ``text % values`` on the dispatcher's thread.  Name the peer first in the text."""
        if level >= WARNING or "logging" in sys.modules:
            text = text % values
            if level < ERROR:  # errors are tracebacks of ours, which keep their newlines
                text = printable(text, 1000)
            self.emit("log", level=level, text=text)

    def stream(self) -> "Stream":
        """Return a new stream, which begins with the remembered events."""
        from weakref import WeakSet  # 0.4 of the 45 ms of a start, and only libraries' users need it

        stream = Stream(self)
        with self._lock:
            if self._streams is None:
                self._streams = WeakSet()
            for event in self._history:
                stream.waiting.append(dict(event))
            stream.ended = self._closed
            self._streams.add(stream)
        return stream

    def forget(self, stream: "Stream") -> None:
        """Stop filling ``stream``."""
        with self._lock:
            if self._streams is not None:
                self._streams.discard(stream)

    def close(self) -> None:
        """Let the dispatcher report what is waiting and end.  Later events go nowhere."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()

    def on_dispatcher(self) -> bool:
        """Return whether the caller is a callback; it must not wait for the dispatcher."""
        return get_ident() == self._dispatcher

    def run(self) -> None:
        """Report events until ``close``.  The dispatcher's thread."""
        self._dispatcher = get_ident()
        reported_at = float("-inf")
        while True:
            with self._lock:
                while not self._waiting and not self._closed:
                    self._lock.wait()
                while not self._closed:
                    left = reported_at + self._gather - time.monotonic()
                    if left <= 0:
                        break
                    self._lock.wait(left)
                self._gather = GATHER_ROUND_TRIPS
                batch = self._waiting.take()
                dropped, self._dropped = self._dropped, 0
                listeners = {name: list(calls) for name, calls in self._listeners.items()}
                closed = self._closed and not batch
                if closed:
                    streams = list(self._streams or ())
            if closed:
                break
            if dropped:
                _log(WARNING, "%d events were dropped: a listener is too slow" % dropped)
            for event in batch:
                self._report(event, listeners)
            if REPORTED in listeners:
                self._report({"event": REPORTED}, listeners)
            reported_at = time.monotonic()
        for stream in streams:
            stream.end()

    def _report(self, event: Event, listeners: Dict[str, List[Callback]]) -> None:
        name = event["event"]
        if name == "log":
            _log(event["level"], event["text"])
            return
        if name not in BESIDE:
            event["time"] = rfc3339(event["time"])
            size = event.pop("size", 0)
            with self._lock:
                if size <= REMEMBERED_SIZE:
                    self._history.append(dict(event))
                streams = list(self._streams or ())
            for stream in streams:
                stream.put(dict(event), size)
            calls = listeners.get(name, []) + listeners.get(EVERYTHING, [])
        else:
            calls = listeners.get(name, [])
        for callback in calls:
            try:
                callback(event)
            except (Exception, SystemExit):  # a listener's bug must not stop the others
                import traceback

                _log(ERROR, "callback for %r failed:\n%s" % (name, traceback.format_exc()))


class Stream:
    """The queue of one ``Node.events()``: the dispatcher fills it, one reader empties it."""

    def __init__(self, source: Events) -> None:
        self._source = source
        self._lock = Condition()
        # Guarded by _lock.
        self.waiting = Backlog()
        self.ended = False

    def put(self, event: Event, size: int = 0) -> None:
        """Add an event.  The dispatcher's thread only."""
        with self._lock:
            self.waiting.append(event, size)
            self._lock.notify()

    def end(self) -> None:
        """Let the reader stop after the events that are waiting."""
        with self._lock:
            self.ended = True
            self._lock.notify_all()

    def read(self, timeout: Optional[float]) -> Iterator[Any]:
        """Yield events as they come, for ``timeout`` seconds in all, or until the node stops."""
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while True:
                with self._lock:
                    while not self.waiting:
                        left = None if deadline is None else deadline - time.monotonic()
                        if self.ended or (left is not None and left <= 0):
                            return
                        self._lock.wait(left)
                    batch = self.waiting.take()
                # What had happened by then is reported in any case, however slow the reader.
                yield from batch
                if deadline is not None and time.monotonic() >= deadline:
                    return
        finally:
            self._source.forget(self)


def rfc3339(seconds: float) -> str:
    """Return wall-clock seconds as ``2016-02-04T12:00:00.123Z`` (RFC 3339, UTC, milliseconds)."""
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return "%s.%03dZ" % (_to_the_second(whole), milliseconds)


@functools.lru_cache(maxsize=1)  # the same for all events of a second: 0.6 us instead of 1.5
def _to_the_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _log(level: int, text: str) -> None:
    """Log at once.  The dispatcher's thread only, because a handler may block."""
    try:
        import logging

        logging.getLogger("p2p_plain").log(level, "%s", text)
    except Exception:  # no descriptor left for the import, or a bug in a handler
        pass
