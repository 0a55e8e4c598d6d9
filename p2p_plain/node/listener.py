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
"""

import errno
import socket
import sys

from ..common.address import Address, is_ip
from ..common.errors import CannotStart
from ..common.machine import Listening, look_up
from ..common.tcp_server import Server
from ..common.threads import Crew
from ..common.typing import Any, Callable, List, Optional, Tuple

_Candidate = Tuple[int, str, Tuple[int, ...]]

STOP_POLL = 1.0 if sys.platform.startswith("linux") else 0.1
"""Seconds between two looks of the accepting loop at whether to stop.  On Linux a shutdown of the
listening socket wakes it, so it looks seldom.  (Measured: 64 nodes on one machine that look ten times
a second use a tenth of their processor time for it.)"""


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
    ) -> None:
        """Take the port.  Raises ``CannotStart``.

        ``bind`` is the one local address to listen on, by default all.  ``serve(socket, address)`` is
        called on each connection's thread, and closes the socket.  For ``make_room`` see ``Server``.
        """
        super().__init__(crew, make_room)
        self._serve = serve
        error: Optional[OSError] = None
        for family, host, wildcard in _candidates(bind):
            try:
                self.bind_to(family, host, port, 4 in wildcard)
            except OSError as failed:
                error = failed
                if failed.errno in (errno.EADDRINUSE, errno.EACCES):
                    break  # it is the right one, and listening elsewhere would hide the problem
                continue
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
        if not self.start_thread("inbound", self._serve, request, client_address):
            self.shutdown_request(request)


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
