"""The connections to the status page, from clients that cannot be trusted.

Their number is bounded, and each has one deadline for what it does now: send a whole request, or take
a whole response.  The sockets have no timeouts: a timeout for each ``recv`` would not stop a client
that sends one byte a second.  Instead the accepting thread drops every client that is past its
deadline.  To drop is to call ``shutdown``, which any thread may do: it ends a ``recv`` or ``send``
of the client's own thread, and that thread closes the socket.
"""

import socket
import threading
import time

from ..common.typing import Callable, Dict, Optional
from .response import Response

MAX_CLIENTS = 64
"""Connections at once.  Each is a thread and a descriptor; a browser needs two or three, a scraper
one.  At the bound the client that has been silent longest is evicted, so silent ones block nobody."""

REQUEST_TIMEOUT = 10.0
"""Seconds from the connection to the end of the first request's headers."""

EVICTION_TIMEOUT = 1.0
"""Seconds that the accepting thread waits for the threads of dropped clients to end, if there are as
many of them as there may be clients."""

SLOW_AFTER = 1.0
"""Seconds after which a client that still has not taken its response may be evicted."""


class Doing:
    """What a client does now."""

    REQUESTING = "requesting"  # silent, or in the middle of its request
    RECEIVING = "receiving"  # its response is being made or sent
    STREAMING = "streaming"  # it follows the events
    DROPPED = "dropped"  # its thread is about to end


MAX_HELD = 16 * 1024 * 1024
"""Bytes of different responses that clients are receiving.  Each response is made once for all who ask in
the same moment, but clients that take theirs slowly could hold one of each moment."""


EVICTED_FIRST = ((Doing.REQUESTING, 0.0), (Doing.RECEIVING, SLOW_AFTER), (Doing.STREAMING, 0.0))
"""Which clients are evicted first, and after how many seconds of doing that."""


class Client:
    """One connection.  All but the socket is guarded by the lock of ``Clients``."""

    def __init__(self, sock: socket.socket, now: float) -> None:
        self.sock = sock
        self.doing = Doing.REQUESTING
        self.since = now
        """When it began to do that."""
        self.deadline = now + REQUEST_TIMEOUT
        self.held: Optional[Response] = None
        """The response that it is receiving."""


class Clients:
    """All connections.  Any thread may call any method."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        """Most clients at once; immutable."""
        self._clock = clock
        self._lock = threading.Condition()
        # Guarded by _lock.
        self._all: Dict[int, Client] = {}
        self._closed = False

    def __len__(self) -> int:
        """Return the number of clients whose threads have not ended."""
        with self._lock:
            return len(self._all)

    def add(self, sock: socket.socket) -> Optional[Client]:
        """Return a new client, and evict another one if there are too many; ``None`` if all stay."""
        client = Client(sock, self._clock())
        with self._lock:
            # On a busy machine the threads of dropped clients take a while to end.  To reject the
            # new client at once would reject honest ones, which may come while silent ones go.
            most = 2 * self.limit
            self._lock.wait_for(lambda: len(self._all) < most or self._closed, EVICTION_TIMEOUT)
            if len(self._all) >= most or self._closed:
                return None
            active = sum(other.doing != Doing.DROPPED for other in self._all.values())
            if active >= self.limit and not self._evict_locked():
                return None
            self._all[id(client)] = client
            return client

    def remove(self, client: Client) -> None:
        """Forget a client whose thread ends."""
        with self._lock:
            self._all.pop(id(client), None)
            self._lock.notify_all()

    def set(self, client: Client, doing: str, seconds: float) -> bool:
        """Set what a client does, and for how many seconds it may; False if it has been dropped."""
        with self._lock:
            if client.doing == Doing.DROPPED:
                return False
            now = self._clock()
            if client.doing != doing:
                client.doing = doing
                client.since = now
                client.held = None
            client.deadline = now + seconds
            return True

    def hold(self, client: Client, response: Response) -> None:
        """Note which response a client is about to get; drop slow ones if they hold too many others."""
        with self._lock:
            client.held = response
            slow = [c for c in self._all.values() if c.held not in (None, response)]
            slow.sort(key=lambda other: other.since)
            while slow:
                held = {id(c.held): c.held.size for c in [client, *slow] if c.held is not None}
                if sum(held.values()) <= MAX_HELD:
                    return
                self._drop_locked(slow.pop(0))

    def evict(self) -> bool:
        """Drop the client that matters least; False if every one of them matters."""
        with self._lock:
            return self._evict_locked()

    def drop_overdue(self) -> None:
        """Drop every client that is past its deadline."""
        with self._lock:
            now = self._clock()
            for client in self._all.values():
                if client.deadline < now:
                    self._drop_locked(client)

    def close(self, deadline: float) -> None:
        """Drop every client, accept no more, and wait for their threads until ``deadline``."""
        with self._lock:
            self._closed = True
            for client in self._all.values():
                self._drop_locked(client)
            self._lock.wait_for(lambda: not self._all, max(0.0, deadline - time.monotonic()))

    def _evict_locked(self) -> bool:
        now = self._clock()
        for doing, seconds in EVICTED_FIRST:
            found = [
                client
                for client in self._all.values()
                if client.doing == doing and now - client.since >= seconds
            ]
            if found:
                self._drop_locked(min(found, key=lambda client: client.since))
                return True
        return False

    def _drop_locked(self, client: Client) -> None:
        client.doing = Doing.DROPPED
        client.held = None
        client.deadline = float("inf")
        try:
            client.sock.shutdown(socket.SHUT_RDWR)  # does not block
        except OSError:
            pass  # the client closed the connection first
