"""The listening socket: accepts inbound connections and starts a thread for each.

A *listening* socket never carries data.  It has a port and a queue::

    socket(), bind(port 6000), listen(1024)

    node B  --- connect --->  +-------------------+
    node C  --- connect --->  |  queue of 6000    |  --- accept() --->  a socket to B
                              +-------------------+  --- accept() --->  a socket to C

The kernel completes each connection and puts it into the queue; ``accept`` takes one out and returns
a new socket, which carries its data.  All these sockets share the port 6000.  What tells them apart is
the address of the other end.

``socketserver.ThreadingTCPServer`` runs the accepting loop, on the thread ``listener``.  ``Server``
(``common/tcp_server``) says what is different here.  ``node`` makes the listener and passes in
``serve``, which runs the session.

One address gets a bounded number of connections.  Those beyond get no thread: the accepting thread says
``bye`` and closes them a moment later (see ``session.LINGER`` for the reason of the delay).
"""

import errno
import socket
import sys
import time
from collections import deque
from threading import Lock

from ..common.address import Address, from_sockaddr, is_ip, is_loopback, site
from ..common.errors import CannotStart
from ..common.machine import Listening, look_up
from ..common.tcp_server import Server
from ..common.threads import Crew
from ..common.typing import Any, Callable, Deque, Dict, List, Optional, Tuple
from .transport import ask_for_stamps

_Candidate = Tuple[int, str, Tuple[int, ...]]

STOP_POLL = 1.0 if sys.platform.startswith("linux") else 0.1
"""Seconds between two looks of the accepting loop at whether to stop.  On Linux a shutdown of the
listening socket wakes it, so it looks seldom.  (Measured: 64 nodes on one machine that look ten times
a second use a tenth of their processor time for it.)"""

GOODBYE_TIME = 0.5
MAX_GOODBYES = 64
"""Seconds that a connection beyond the bound stays open so that its ``bye`` is read, and how many do."""


class Listener(Server):
    """Accepts inbound connections."""

    # Bounds the queue.  socketserver has 5.  When it is full the kernel drops the packet that asks for a
    # connection (SYN), which is sent again after a second or more: the last of 300 waited 48 s.
    request_queue_size = 1024

    def __init__(
        self,
        bind: Optional[str],
        port: int,
        crew: Crew,
        serve: Callable[[socket.socket, Any], None],
        make_room: Callable[[], bool] = lambda: False,
        max_per_ip: int = 1000000,
        too_many: Callable[[Address], bytes] = lambda remote: b"",
    ) -> None:
        """Take the port.  Raises ``CannotStart``.

        ``bind`` is the one local address to listen on, by default all.  ``serve(socket, address)`` is
        called on each connection's thread, and closes the socket.  For ``make_room`` see ``Server``.
        Beyond ``max_per_ip`` connections from one address (loopback apart: many nodes may share one
        machine), ``too_many`` returns the last words for another.  It is called on the accepting thread.
        """
        super().__init__(crew, make_room)
        self._serve, self._max_per_ip, self._too_many = serve, max_per_ip, too_many
        # The accepting thread only.
        self._goodbyes: Deque[Tuple[float, socket.socket]] = deque()
        """Connections beyond the bound, and when to close each."""
        self._lock = Lock()
        # Guarded by _lock.
        self._counts: Dict[str, int] = {}
        """Connections by the ``site`` that they come from."""
        error: Optional[OSError] = None
        for family, host, wildcard in _candidates(bind):
            try:
                self.bind_to(family, host, port, 4 in wildcard)
            except OSError as failed:
                error = failed
                if failed.errno in (errno.EADDRINUSE, errno.EACCES):
                    break  # it is the right one, and listening elsewhere would hide the problem
                continue
            ask_for_stamps(self.socket)  # now, so that the first connections have them too
            self.listening = Listening(self.server_address[1], host if bind else "", wildcard)
            return
        assert error is not None
        raise CannotStart(_why(bind, port, error)) from error

    def start(self) -> None:
        """Begin to accept, on the thread ``listener``."""
        self.begin("listener", STOP_POLL)

    # -- what socketserver calls -------------------------------------------------------

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start the connection's thread, and do not wait for it.  ``request`` is the new socket.

        socketserver would make a handler object there whose constructor serves the connection.
        """
        remote = from_sockaddr(client_address)
        if not self._count(remote.host):
            self._say_goodbye(request, self._too_many(remote))
        elif not self.start_thread("inbound", self._run, request, client_address, remote.host):
            self._count_down(remote.host)
            self.shutdown_request(request)

    def service_actions(self) -> None:
        """Close what has had its time to read our ``bye``.  Called between two connections, and idle."""
        now = time.monotonic()
        while self._goodbyes and (self._goodbyes[0][0] <= now or len(self._goodbyes) > MAX_GOODBYES):
            _close(self._goodbyes.popleft()[1])

    def server_close(self) -> None:
        """Give the port back.  The accepting loop has ended, or never begun."""
        super().server_close()
        while self._goodbyes:
            _close(self._goodbyes.popleft()[1])

    # -- the bound for each address ------------------------------------------------------

    def _run(self, sock: socket.socket, sockaddr: Any, host: str) -> None:
        """Serve a connection.  Its own thread."""
        try:
            self._serve(sock, sockaddr)
        finally:
            self._count_down(host)

    def _count(self, host: str) -> bool:
        """Count one more connection from ``host``; False if it has too many."""
        place = site(host)
        with self._lock:
            count = self._counts.get(place, 0)
            if count >= self._max_per_ip and not is_loopback(host):
                return False
            self._counts[place] = count + 1
            return True

    def _count_down(self, host: str) -> None:
        place = site(host)
        with self._lock:
            self._counts[place] -= 1
            if not self._counts[place]:
                del self._counts[place]

    def _say_goodbye(self, sock: socket.socket, words: bytes) -> None:
        """Say the last words without waiting, and close the connection a moment later."""
        try:
            sock.setblocking(False)
            sock.send(words)  # a new socket's buffer has room for them
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # gone already
        self._goodbyes.append((time.monotonic() + GOODBYE_TIME, sock))


def _close(sock: socket.socket) -> None:
    """Close a socket; what it was sent is read first, as unread data would turn the end into a reset."""
    try:
        sock.recv(64 * 1024)
    except OSError:
        pass
    sock.close()


def _candidates(bind: Optional[str]) -> List[_Candidate]:
    """Return where to try to listen, the best first: family, host, and the IP versions all taken.

    Without ``bind``: one IPv6 socket that takes IPv4 too, or else IPv4 alone.  IPv6 may be compiled
    in and switched off, so only a try can tell.
    """
    inet6 = getattr(socket, "AF_INET6", None) if socket.has_ipv6 else None
    if bind is None:
        both: List[_Candidate] = [(int(inet6), "::", (4, 6))] if inet6 is not None else []
        return [*both, (int(socket.AF_INET), "0.0.0.0", (4,))]
    if not is_ip(bind):
        found = look_up("--bind %s" % bind, bind, 0)
        return [(int(family), str(sockaddr[0]), ()) for family, _, _, _, sockaddr in found]
    if ":" in bind:
        if inet6 is None:
            raise CannotStart("--bind %s: this Python has no IPv6; bind an IPv4 address" % bind)
        return [(int(inet6), bind, (6,) if bind == "::" else ())]
    return [(int(socket.AF_INET), bind, (4,) if bind == "0.0.0.0" else ())]


def _why(bind: Optional[str], port: int, error: OSError) -> str:
    where = Address(bind or "*", port)
    if error.errno == errno.EADDRINUSE:
        text = "port %d is taken (%s); choose another port, or 0 for a free one"
        return text % (port, where)
    if error.errno == errno.EADDRNOTAVAIL:
        return "%s is not an address of this machine; bind another one, or none for all" % (bind,)
    if error.errno in (errno.EACCES, errno.EPERM):
        return "not allowed to listen on port %d; ports from 1024 up need no privilege" % port
    return "cannot listen on %s: %s" % (where, error.strerror or error)
