"""What waits to be sent on one connection, and the bound for all connections together.

``send`` gives the kernel what it takes at once, and an outbox keeps the rest until there is room.  The
other end has ``ping_timeout`` to take what waits now.  A bound for each connection alone would allow
hundreds of slow readers to fill the memory, so there is one for all of them too: beyond that, each gets
a line only when it has taken all lines before.

``session`` uses both.  They never block.
"""

from threading import Lock

from ..common.typing import Union
from .lateness import Lateness
from .transport import Transport

MAX_UNSENT = 1024 * 1024
"""Bytes that wait for one slow reader, besides those that the kernel holds: a few of the longest
lines.  Without a bound every broadcast would pile up in our memory while one peer stands still."""

MAX_UNSENT_IN_ALL = 8 * 1024 * 1024
"""The same for all readers together.  Each may have one more line that was begun."""

HIGH_WATER = 256 * 1024
"""Unsent bytes from which on a connection is not read until fewer are left.  So a peer that asks without
reading the answers slows down only itself."""

CROWDED_WATER = 16 * 1024
"""The same bound while too much waits for all readers together (``MAX_UNSENT_IN_ALL``)."""


class Backlog:
    """How many bytes wait for all readers of one node.  Any thread."""

    def __init__(self) -> None:
        # Taken while a session's send lock is held.  It is a leaf: a thread that holds it takes no other.
        self._lock = Lock()
        self._bytes = 0  # guarded by _lock

    def add(self, number: int) -> None:
        """Count so many bytes more, or fewer."""
        with self._lock:
            self._bytes += number

    def has_room(self, size: int) -> bool:
        """True if ``size`` bytes more may wait."""
        with self._lock:
            return self._bytes + size <= MAX_UNSENT_IN_ALL


class Outbox:
    """The unsent bytes of one connection.  The caller holds its session's send lock, except for ``len``."""

    def __init__(
        self, transport: Transport, backlog: Backlog, lateness: Lateness, patience: float
    ) -> None:
        """``patience`` is the seconds for which something may wait."""
        self._transport, self._backlog = transport, backlog
        self._lateness, self._patience = lateness, patience
        self._waiting = bytearray()
        self._counted = 0
        """What the backlog knows of it."""
        self._marked = 0
        """How many bytes of it must be gone by ``_late_at``."""
        self._late_at = float("inf")
        """On ``Lateness.awake_clock``."""

    def __len__(self) -> int:
        """Return how many bytes wait.  Any thread.  An old value only costs its reader one more look."""
        return len(self._waiting)

    @property
    def is_late(self) -> bool:
        """True if the other end has not taken in time what waits.  Any thread."""
        return self._lateness.awake_clock > self._late_at

    def has_room(self, size: int) -> bool:
        """True if a line of ``size`` bytes may wait here, should the kernel not take it."""
        if not self._waiting:
            return True
        return len(self._waiting) + size <= MAX_UNSENT and self._backlog.has_room(size)

    def is_high(self) -> bool:
        """True if so much waits that the other end should read before we do.  Any thread."""
        waiting = len(self._waiting)
        return waiting > CROWDED_WATER and (waiting > HIGH_WATER or not self._backlog.has_room(0))

    def offer(self, line: bytes) -> bool:
        """Send a line after all that waits; True if the kernel has it now.

        Raises ``OSError`` if the connection broke and nothing was waiting.
        """
        if self._waiting:
            self._waiting += line
            self.push()
            return False
        sent = self._transport.send(line)
        if sent == len(line):
            return True
        self.keep(line[sent:])
        return False

    def keep(self, line: Union[bytes, bytearray]) -> None:
        """Have a line wait for the next one."""
        self._waiting += line
        self._mark()
        self._count()

    def push(self) -> None:
        """Offer the kernel all that waits."""
        if not self._waiting:
            return
        try:
            sent = self._transport.send(self._waiting)
        except OSError:
            sent = len(self._waiting)  # broken; the reader finds that out when it reads
        del self._waiting[:sent]
        self._marked -= sent
        if self._marked <= 0:
            self._mark()
        self._count()

    def copy(self) -> bytes:
        """Return what waits."""
        return bytes(self._waiting)

    def drop(self) -> None:
        """Give up what waits: the connection is over."""
        del self._waiting[:]
        self._count()

    def _count(self) -> None:
        change = len(self._waiting) - self._counted
        if change:
            self._counted += change
            self._backlog.add(change)

    def _mark(self) -> None:
        """Set by when all that waits now must be gone.  Lines that come later get a time of their own.

        It would not be enough to ask for some progress: by taking a byte now and then a peer could hold
        a megabyte for months.
        """
        self._marked = len(self._waiting)
        late_at = self._lateness.awake_clock + self._patience
        self._late_at = late_at if self._waiting else float("inf")
