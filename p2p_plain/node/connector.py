"""Dials: a pool of threads that connect to other nodes.

A dial may have to wait: for a name server, for a host that is off, for a firewall that drops packets.
So ``order`` only puts the address into a queue, and the threads of the pool take it from there.  They
are started when they are needed, up to a bound, and end when there has been nothing to do for a while.
A connection that succeeds gets a thread of its own (its session).

Each outgoing connection leaves from a port of ours that the kernel picks at random, so that nobody can
guess it and forge packets (RFC 6056).  So a node cannot be recognised or dialed by the ``ip:port`` that
its connections come from.  That is why it has a nodeid, and says in its hello on which port it listens.
"""

import errno
import itertools
import os
import socket
import time
from collections import deque
from threading import Condition, Event

from ..common.address import Address, from_sockaddr, is_ip
from ..common.errors import DialFailed, why
from ..common.machine import find_host
from ..common.outcomes import REFUSED, REJECTED, RESET, TIMEOUT, UNKNOWN, UNREACHABLE
from ..common.threads import Crew
from ..common.typing import Any, Callable, Deque, Optional, Tuple
from .peer import Order
from .transport import POLL_SLICE, wait

DIAL_TIMEOUT = 5.0
"""Seconds that a TCP connect may take.  A lost SYN is sent again after 1 s and after 2 s more
(RFC 6298), so a dial survives the loss of two packets."""

REJECTED_WITHIN = 0.5
"""Seconds within which "unreachable" comes from a firewall that rejects, or from a router: that takes one
round trip.  A host that is off on our own network shows after 3 s, when nobody has answered three ARP
requests (1 s each on Linux; RFC 1122 section 2.3.2.1)."""

IDLE_TIMEOUT = 10.0
"""Seconds without an order after which a thread of the pool ends."""

# Elsewhere than on Windows: -1, which equals no errno.
_UNDER_WAY = (errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", -1))

_OUTCOMES = {
    errno.ECONNREFUSED: REFUSED,
    errno.ECONNRESET: RESET,
    errno.ECONNABORTED: RESET,
    errno.ENOTCONN: RESET,  # gone again before getpeername()
    errno.ETIMEDOUT: TIMEOUT,
    errno.ENOBUFS: UNKNOWN,  # this one and the next: our own machine has run out of something
    errno.ENOMEM: UNKNOWN,
}
"""The outcome that an error of ``connect`` means.  All others mean that the way is barred: ``UNREACHABLE``.
If they meant nothing, the outcome before would stand for as long as they last."""

_NOT_REJECTED = frozenset(
    (errno.EHOSTDOWN, errno.ENETDOWN, errno.EADDRNOTAVAIL)  # they say nothing of a firewall
)


class Connector:
    """The pool.  Any thread may call any method."""

    def __init__(
        self,
        crew: Crew,
        most_threads: int,
        connected: Callable[[Order, socket.socket, float], None],
        failed: Callable[[Order, DialFailed], None],
        is_mine: Callable[[Address], bool],
    ) -> None:
        """``connected`` and ``failed`` are called on a thread of the pool.

        ``connected`` gets the socket, which it has to close, and the seconds that the connect took.
        ``is_mine`` is true for addresses that have turned out to be our own.
        """
        self._crew = crew
        self._most_threads = most_threads
        self._connected = connected
        self._failed = failed
        self._is_mine = is_mine
        self._stopping = Event()
        # A Condition is a lock with a bell: idle threads wait for it to ring.
        self._lock = Condition()
        # Guarded by _lock.
        self._orders: Deque[Order] = deque()
        """Not bounded here: ``discovery`` and the monitor have few dials under way at once."""
        self._threads = 0
        self._idle = 0
        self._numbers = itertools.count(1)

    def order(self, order: Order) -> None:
        """Have an address dialed soon.  Never blocks, and calls nobody back on this thread."""
        with self._lock:
            self._orders.append(order)
            self._lock.notify()
        self.tick()

    def tick(self) -> None:
        """Start a thread if orders wait for one.

        ``order`` does it, and so does the pinger: perhaps no thread could be started when the only
        order came.
        """
        with self._lock:
            if self._stopping.is_set() or self._threads >= self._most_threads:
                return
            if self._idle >= len(self._orders):
                return
            self._threads += 1
            number = next(self._numbers)
        try:
            self._crew.start("connector-%d" % number, self._work)
        except RuntimeError:  # the system has no more threads; the next tick tries again
            with self._lock:
                self._threads -= 1

    def stop(self) -> None:
        """Give up all dials and let the threads end.  Never blocks."""
        self._stopping.set()
        with self._lock:
            self._lock.notify_all()

    def _work(self) -> None:
        """Dial one address after the other.  A thread of the pool."""
        while True:
            order = self._next_order()
            if order is None:
                return
            try:
                timeout = DIAL_TIMEOUT if order.timeout is None else order.timeout
                sock, seconds = dial(
                    order.address, timeout, self._stopping, self._is_mine, order.mss
                )
            except DialFailed as failure:
                self._failed(order, failure)
            else:
                self._connected(order, sock, seconds)

    def _next_order(self) -> Optional[Order]:
        """Wait for an order; ``None`` if this thread is to end."""
        with self._lock:
            self._idle += 1
            self._lock.wait_for(lambda: self._orders or self._stopping.is_set(), IDLE_TIMEOUT)
            self._idle -= 1
            if self._stopping.is_set() or not self._orders:
                self._threads -= 1
                return None
            return self._orders.popleft()


def dial(
    address: Address,
    timeout: float,
    stopping: Optional[Event] = None,
    is_mine: Callable[[Address], bool] = lambda address: False,
    mss: Optional[int] = None,
) -> Tuple[socket.socket, float]:
    """Connect to ``address``; return the socket, and the seconds that its connect took.

    A name is looked up, and each of its addresses is tried in turn, except those that ``is_mine``
    knows: a name that every node was given may lead to this one first.  If all are our own they are
    tried all the same, as they may lead elsewhere by now.  ``timeout`` (seconds) is shared out among
    the addresses.  It does not bound the name server, which cannot be interrupted.  ``mss`` is that of
    ``Order``.

    Raises ``DialFailed``.  Any thread.
    """
    deadline = time.monotonic() + timeout
    try:
        found = find_host(address.host, address.port)
    except (OSError, UnicodeError) as error:
        raise DialFailed(UNKNOWN, "%s: %s" % (address.host, why(error))) from error
    if not is_ip(address.host):
        found = [info for info in found if not is_mine(from_sockaddr(info[4]))] or found
    failure = DialFailed(UNKNOWN, "%s has no address" % address.host)
    for number, info in enumerate(found):
        now = time.monotonic()
        try:
            sock = _connect(info, now + (deadline - now) / (len(found) - number), stopping, mss)
            return sock, time.monotonic() - now
        except DialFailed as failed:
            failure = failed
    try:
        raise failure
    finally:
        del failure  # it refers to this frame, and would be freed only when Python searches for cycles


def _connect(
    info: Any, deadline: float, stopping: Optional[Event], mss: Optional[int]
) -> socket.socket:
    """Connect to one of the addresses that ``getaddrinfo`` found."""
    family, kind, protocol, _, sockaddr = info
    began = time.monotonic()
    try:
        sock = socket.socket(family, kind, protocol)
    except OSError as error:  # out of descriptors, or IPv6 switched off
        raise DialFailed(UNKNOWN, why(error)) from error
    try:
        # Non-blocking, so that a stop of the node need not wait until the network gives up.
        sock.setblocking(False)
        if mss is not None:
            _limit_segments(sock, mss)
        error_number = sock.connect_ex(sockaddr)  # without bind(): the kernel picks our port
        sent = error_number in _UNDER_WAY
        while error_number in _UNDER_WAY:
            # The clock is read before the socket: if this machine was suspended meanwhile, the deadline
            # is over, but the answer may be there, and then the dial has not timed out.
            expired = time.monotonic() > deadline
            _, writable = wait(sock, False, True, POLL_SLICE)
            if writable:
                error_number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            elif expired:
                raise DialFailed(TIMEOUT, "no answer")
            elif stopping is not None and stopping.is_set():
                raise DialFailed(UNKNOWN, "stopping")
        if error_number:
            raise _failure(error_number, os.strerror(error_number), sent, time.monotonic() - began)
        if sock.getsockname() == sock.getpeername():
            # Nobody listens on that port of this machine, and the kernel has picked the very same one
            # for our end.  TCP then connects the socket to itself.
            raise DialFailed(REFUSED, "nobody but ourselves")
        return sock
    except (OSError, DialFailed) as error:
        sock.close()
        if isinstance(error, DialFailed):
            raise
        raise _failure(error.errno or 0, why(error), True, time.monotonic() - began) from error


def _limit_segments(sock: socket.socket, mss: int) -> None:
    """Limit the segments of both directions.  It works only before the connect: the SYN says it."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
    except (OSError, AttributeError):
        pass  # Windows: the connection has to live with large ones


def _failure(error_number: int, detail: str, sent: bool, seconds: float) -> DialFailed:
    """Return what an error of ``connect`` means that came after ``seconds``.

    ``sent`` is False if ``connect`` failed at once: then perhaps no packet has left this machine.
    """
    outcome = _OUTCOMES.get(error_number, UNREACHABLE)
    rejected = (
        outcome == UNREACHABLE
        and error_number not in _NOT_REJECTED
        and (sent or error_number != errno.ENETUNREACH)  # our own table of routes has none
        and seconds < REJECTED_WITHIN
    )
    return DialFailed(outcome, detail, REJECTED if rejected else "")
