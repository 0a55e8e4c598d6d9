"""The pool of threads that dial.

Dialing waits: for a name server, for a machine that is off, for a firewall that drops what it
does not like.  So it is done by a few threads of its own that take addresses from a queue;
whoever wants an address dialed puts it there and goes on.  The threads are started as they are
needed, up to a bound, and end when there has been nothing to do for a while.

A connection that succeeds gets a thread of its own (its session), so that a pool thread is
busy only while the network keeps it waiting.

Outgoing connections leave from a port that the kernel picks anew each time: any free one, at
random, so that nobody can guess it and forge a part of the conversation (RFC 6056).  That is why
a node cannot be recognised, nor dialed, by the ``ip:port`` that its connections come from, gives
itself a nodeid, and says in its hello on which port it listens.
"""

import errno
import itertools
import os
import queue
import socket
import time
from threading import Event, Lock
from typing import Any, Callable, NamedTuple, Optional, Tuple

from ..common.address import Address, from_sockaddr, is_ip
from ..common.errors import DialFailed, why
from ..common.threads import Crew
from .transport import POLL_SLICE, wait

DIAL_TIMEOUT = 5.0
"""Seconds that a TCP connect may take.  A lost SYN is sent again after 1 s and after 2 s more
(RFC 6298), so a dial survives the loss of two packets."""

IDLE_TIMEOUT = 10.0
"""Seconds without an order after which a thread of the pool ends."""


class Order(NamedTuple):
    """What to dial, and why: to become a peer, or only to see who is there."""

    address: Address
    probe: bool
    wanted: Optional[str]


class Connector:
    """Dials what is ordered, and hands over what comes of it.  Any thread may order."""

    def __init__(
        self,
        crew: Crew,
        most_threads: int,
        connected: Callable[[Order, socket.socket, float], None],
        failed: Callable[[Order, DialFailed], None],
        is_mine: Callable[[Address], bool],
    ) -> None:
        self._crew = crew
        self._most_threads = most_threads
        self._is_mine = is_mine
        self._connected = connected
        """Called with the connected socket, which is then the callee's, and with the seconds
        that the connect took."""
        self._failed = failed
        self._orders: queue.Queue[Optional[Order]] = queue.Queue()
        """Bounded by who orders: the overlay has few dials and probes under way at once."""
        self._stopping = Event()
        self._lock = Lock()
        # Guarded by _lock.
        self._threads = 0
        self._idle = 0
        self._numbers = itertools.count(1)

    def order(self, address: Address, probe: bool, wanted: Optional[str]) -> None:
        """Dial ``address`` soon.  Never blocks, and never calls back by itself."""
        self._orders.put(Order(address, probe, wanted))
        self.attend()

    def attend(self) -> None:
        """Start a thread if orders wait for one.  The pinger's beat calls this too.

        Without that beat an order would wait for the next one if no thread could be started
        for it, and a lone bootstrap address has no next one.
        """
        with self._lock:
            if self._stopping.is_set() or self._threads >= self._most_threads:
                return
            if self._idle >= self._orders.qsize():
                return
            self._threads += 1
            number = next(self._numbers)
        try:
            self._crew.start("connector-%d" % number, self._work)
        except RuntimeError:  # no more threads to be had; the next beat tries again
            with self._lock:
                self._threads -= 1

    def stop(self) -> None:
        """Give up every dial under way and let the threads end.  Never blocks."""
        self._stopping.set()
        with self._lock:
            threads = self._threads
        for _ in range(threads):
            self._orders.put(None)  # wakes one that waits for an order

    def _work(self) -> None:
        """A pool thread: dial one after the other."""
        while not self._stopping.is_set():
            with self._lock:
                self._idle += 1
            try:
                order = self._orders.get(timeout=IDLE_TIMEOUT)
            except queue.Empty:
                with self._lock:
                    self._idle -= 1
                    # Whoever puts an order there looks under this lock for who will take it.
                    if self._orders.empty():
                        self._threads -= 1
                        return
                continue
            with self._lock:
                self._idle -= 1
            if order is None or self._stopping.is_set():
                return
            try:
                sock, seconds = dial(order.address, DIAL_TIMEOUT, self._stopping, self._is_mine)
            except DialFailed as failure:
                self._failed(order, failure)
            else:
                self._connected(order, sock, seconds)


def dial(
    address: Address,
    timeout: float,
    stopping: Optional[Event] = None,
    is_mine: Callable[[Address], bool] = lambda address: False,
) -> Tuple[socket.socket, float]:
    """A TCP connection to ``address``, names looked up, each of their addresses tried in turn.

    Returns the socket and the seconds that its connect took: from the first packet to the
    answer, one round trip and what the other end's kernel needs.

    ``timeout`` in seconds is for all of it, shared out among the addresses, but not for the
    name server, which cannot be interrupted.  Addresses that ``is_mine`` knows are passed over:
    a name that every node was given may lead to this one first.  Raises ``DialFailed``, with
    the verdict ``self`` if there was no other.
    """
    deadline = time.monotonic() + timeout
    try:
        found = socket.getaddrinfo(address.host, address.port, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DialFailed("unknown", "%s: %s" % (address.host, why(error))) from error
    if not is_ip(address.host):
        found = [place for place in found if not is_mine(from_sockaddr(place[4]))]
    failure = DialFailed("self", "it leads to this node")
    for number, place in enumerate(found):
        now = time.monotonic()
        try:
            sock = _connect(place, now + (deadline - now) / (len(found) - number), stopping)
            return sock, time.monotonic() - now
        except DialFailed as failed:
            failure = failed
    raise failure


def _connect(place: Any, deadline: float, stopping: Optional[Event]) -> socket.socket:
    family, kind, protocol, _, sockaddr = place
    try:
        sock = socket.socket(family, kind, protocol)
    except OSError as error:  # out of descriptors, or IPv6 switched off
        raise DialFailed("unknown", why(error)) from error
    try:
        # Not blocking, so that a stop of the node need not wait for the network to give up.
        sock.setblocking(False)
        error_number = sock.connect_ex(sockaddr)  # not bound: the kernel picks our port
        while error_number in _UNDER_WAY:
            # In this order: when we have been suspended meanwhile, the deadline is over and the
            # answer is there, and our own absence must not become the other end's verdict.
            expired = time.monotonic() > deadline
            _, writable = wait(sock, False, True, POLL_SLICE)
            if writable:
                error_number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            elif expired:
                raise DialFailed("timeout", "no answer")
            elif stopping is not None and stopping.is_set():
                raise DialFailed("unknown", "stopping")
        if error_number:
            raise DialFailed(_OUTCOMES.get(error_number, "unknown"), os.strerror(error_number))
        if sock.getsockname() == sock.getpeername():
            # Dialing a port of this machine on which nobody listens can pick that very port
            # to leave from, and TCP lets the two ends meet.  Nobody is there all the same.
            raise DialFailed("refused", "nobody but ourselves")
        return sock
    except OSError as error:
        sock.close()
        raise DialFailed(_OUTCOMES.get(error.errno or 0, "unknown"), why(error)) from error
    except DialFailed:
        sock.close()
        raise


_UNDER_WAY = (errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", 0) or -1)

_OUTCOMES = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.ECONNABORTED: "reset",
    errno.ENOTCONN: "reset",  # it stood, and was gone before we could ask who is there
    errno.ETIMEDOUT: "timeout",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTDOWN: "unreachable",
    errno.ENETDOWN: "unreachable",
    errno.EADDRNOTAVAIL: "unreachable",
    errno.EACCES: "unreachable",
    errno.EPERM: "unreachable",
}
