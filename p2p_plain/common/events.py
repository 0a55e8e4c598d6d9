"""What happened, told to whoever wants to know, on a thread of its own.

Everything that a person or a program is told (events, trace lines, log records) goes through
one ``Events``: any thread calls ``emit``, which appends to a queue and returns; one dispatcher
thread takes from the queue and calls the listeners.  So a terminal that has been stopped with
Ctrl-S, a full disk under a log file, or a slow callback delays the *telling*, and never a
peer's ping.  The queues are bounded: what a listener is too slow for is dropped, oldest first.

An event is a plain dict: ``event`` its name, ``time`` (RFC 3339, UTC), and the fields that the
``options.rst`` lists for it.
"""

import functools
import sys
import time
from collections import deque
from threading import Condition, get_ident
from typing import Any, Callable, Deque, Dict, Iterator, List, Optional, Tuple
from weakref import WeakSet

from .escape import printable

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

Event = Dict[str, Any]
Callback = Callable[[Event], None]
# ``emit(event, **fields)``: any thread, never blocks, may be called while holding a lock.
Emit = Callable[..., None]

EVENTS = frozenset(
    (
        "listening",
        "peer_up",
        "peer_down",
        "refused",
        "self",
        "rtt",
        "reach",
        "message",
        "stopped",
    )
)
"""The names of all events."""

EVERYTHING = "*"
"""The name to listen under for every event.  Trace lines and log records are not events."""

TOLD = "told"
"""The name to listen under for the end of each batch: all that waited has been told.  Who buffers
what it hears passes it on now."""

BESIDE = ("trace", "log", TOLD)
"""Told like events, but only to those who ask by name: not remembered, not in ``EVERYTHING``."""

GATHER = 0.01
"""Seconds from one batch to the next, at the least.  The first event after a silence is told at
once, and a message always.  Were the dispatcher woken for each of a thousand round trips a second,
it and the connections' threads would take the processor from each other: 62 us for a ping, its
round trip and the telling of it, and so 52; 360 for a handshake, and so 300 (one core, 3.13)."""

LEISURE = 1.0
"""The same where only round trips are waiting: most of what happens in a quiet network, and nothing
that anyone would wait for.  With 64 nodes in one machine that is a tenth of what they cost."""

MANY = 1000
"""Events that do not wait for longer than ``GATHER`` in any case: a tenth of what may wait."""

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40
"""The levels of the ``logging`` module, which is imported only once there is something to log:
importing it costs a tenth of the whole start."""


class Backlog:
    """Events that wait for someone slow, the oldest of them given up at the bounds.

    Whoever has one has a lock for it.
    """

    __slots__ = ("_bytes", "_events")

    def __init__(self) -> None:
        self._events: Deque[Tuple[Event, int]] = deque()
        self._bytes = 0

    def append(self, event: Event, size: int = 0) -> int:
        """Let one more wait, with ``size`` bytes of a peer's line in it; how many were given up."""
        self._events.append((event, size))
        self._bytes += size
        dropped = 0
        while len(self._events) > MAX_WAITING_EVENTS or self._bytes > MAX_WAITING_BYTES:
            self._bytes -= self._events.popleft()[1]
            dropped += 1
        return dropped

    def take(self) -> List[Event]:
        """All of them, and none is left."""
        taken = [event for event, _ in self._events]
        self._events.clear()
        self._bytes = 0
        return taken

    def __len__(self) -> int:
        return len(self._events)


class Events:
    """The queue, its listeners, and the dispatcher's loop.  Any thread may call any method."""

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._lock = Condition()
        # Guarded by _lock, all below.  The lock is a leaf: nothing is called while it is held,
        # which is what allows emit() under any other lock.
        self._waiting = Backlog()
        self._history: Deque[Event] = deque(maxlen=REMEMBERED_EVENTS)
        self._listeners: Dict[str, List[Callback]] = {}
        # An iterator that nobody iterates is forgotten with its last reference.
        self._streams: WeakSet[Stream] = WeakSet()
        self._dropped = 0
        self._gather = LEISURE
        """Seconds from the last batch until what waits now is told: 0 is at once."""
        self._closed = False
        self._dispatcher: Optional[int] = None

    def on(self, name: str, callback: Callback) -> None:
        """Call ``callback(event)`` on the dispatcher thread for each event of that name."""
        with self._lock:
            self._listeners.setdefault(name, []).append(callback)

    def wants(self, name: str) -> bool:
        """Whether anyone listens for ``name``, so that costly events need not be made."""
        with self._lock:
            return name in self._listeners

    def emit(self, event: str, **fields: Any) -> None:
        """Tell ``event``.  Never blocks; may be called while holding any lock.

        The field ``size``, the bytes of a peer's line in it, is for us: they are bounded in what
        waits, and what is large is told but not remembered.
        """
        now = self._wall_clock()
        told: Event = {"event": event, "time": now}
        told.update(fields)
        with self._lock:
            self._dropped += self._waiting.append(told, told.get("size", 0))
            waiting = len(self._waiting)
            gather = GATHER
            if event == "message":
                gather = 0.0
            elif event == "rtt" and waiting < MANY:
                gather = LEISURE
            if gather < self._gather or waiting == 1:  # or else it is told with what waits already
                self._gather = gather
                self._lock.notify()

    def log(self, level: int, text: str, *values: object) -> None:
        """Log ``text % values`` on the dispatcher thread.  Peer first in the text."""
        if level >= WARNING or "logging" in sys.modules:
            text = text % values
            if level < ERROR:  # our own tracebacks keep their lines; peers' words get none
                text = printable(text, 1000)
            self.emit("log", level=level, text=text)

    def stream(self) -> "Stream":
        """A new iterator's source; it begins with the events still remembered."""
        stream = Stream(self)
        with self._lock:
            for event in self._history:
                stream.waiting.append(dict(event))
            stream.ended = self._closed
            self._streams.add(stream)
        return stream

    def forget(self, stream: "Stream") -> None:
        """Stop filling ``stream``."""
        with self._lock:
            self._streams.discard(stream)

    def close(self) -> None:
        """Let the dispatcher end once it has told what is waiting.  Later events go nowhere."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()

    def on_dispatcher(self) -> bool:
        """Whether the caller is a callback: it must not wait for the dispatcher."""
        return get_ident() == self._dispatcher

    def run(self) -> None:
        """The dispatcher thread: tell what waits, until ``close``."""
        self._dispatcher = get_ident()
        told_at = float("-inf")
        while True:
            with self._lock:
                while not self._waiting and not self._closed:
                    self._lock.wait()
                while not self._closed:
                    left = told_at + self._gather - time.monotonic()
                    if left <= 0:
                        break
                    self._lock.wait(left)
                self._gather = LEISURE
                batch = self._waiting.take()
                dropped, self._dropped = self._dropped, 0
                listeners = {name: list(calls) for name, calls in self._listeners.items()}
                closed = self._closed and not batch
                if closed:
                    streams = list(self._streams)
            if closed:
                break
            if dropped:
                _log(WARNING, "%d events were dropped: a listener is too slow" % dropped)
            for event in batch:
                self._tell(event, listeners)
            if TOLD in listeners:
                self._tell({"event": TOLD}, listeners)
            told_at = time.monotonic()
        for stream in streams:
            stream.end()

    def _tell(self, event: Event, listeners: Dict[str, List[Callback]]) -> None:
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
                streams = list(self._streams)
            for stream in streams:
                stream.put(dict(event), size)
            calls = listeners.get(name, []) + listeners.get(EVERYTHING, [])
        else:
            calls = listeners.get(name, [])
        for callback in calls:
            try:
                callback(event)
            except (Exception, SystemExit):  # a listener's bug is not the network's
                import traceback

                _log(ERROR, "callback for %r failed:\n%s" % (name, traceback.format_exc()))


class Stream:
    """One ``Node.events()``: a bounded queue that the dispatcher fills and one reader empties."""

    def __init__(self, source: Events) -> None:
        self._source = source
        self._lock = Condition()
        # Guarded by _lock.
        self.waiting = Backlog()
        self.ended = False

    def put(self, event: Event, size: int = 0) -> None:
        """Dispatcher only."""
        with self._lock:
            self.waiting.append(event, size)
            self._lock.notify()

    def end(self) -> None:
        """No more events will come."""
        with self._lock:
            self.ended = True
            self._lock.notify_all()

    def read(self, timeout: Optional[float]) -> Iterator[Event]:
        """Events as they come, for at most ``timeout`` seconds in all (``None``: until the end)."""
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
                # What had happened by then is told in any case, however slow the reader.
                yield from batch
                if deadline is not None and time.monotonic() >= deadline:
                    return
        finally:
            self._source.forget(self)


def rfc3339(seconds: float) -> str:
    """Wall-clock seconds as ``2016-02-04T12:00:00.123Z`` (RFC 3339, UTC, milliseconds)."""
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return "%s.%03dZ" % (_to_the_second(whole), milliseconds)


@functools.lru_cache(maxsize=1)  # the same for all events of a second: 0.6 us and not 1.5
def _to_the_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _log(level: int, text: str) -> None:
    """Dispatcher thread only: a handler may block."""
    try:
        import logging

        logging.getLogger("p2p_plain").log(level, "%s", text)
    except Exception:  # no descriptor left for the import, a handler's own bug: one record less
        pass
