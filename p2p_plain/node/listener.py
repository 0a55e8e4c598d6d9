"""The listening socket: accept, and hand each connection to a thread of its own.

A *listening* socket never carries data.  It has a port and a queue; for each connection that
the kernel has completed, ``accept`` takes one out of the queue and returns a new socket, which
does.  All of them share the listening port; what tells them apart is the other end's address.

``socketserver.ThreadingTCPServer`` does the accepting.  What is changed here, and why, stands
with each method.  Its own handler threads are not waited for by itself: the node does that,
for inbound and outbound connections alike and against one deadline.
"""

import errno
import socket
import socketserver
import sys
from typing import Any, Callable, List, Optional, Tuple

from ..common.address import Address, is_ip
from ..common.errors import CannotStart, why
from ..common.interfaces import Listening
from ..common.tcp_server import ACCEPT_PAUSE, OUT_OF_RESOURCES, Server
from ..common.threads import Crew

# Address family, host, and the IP versions for which it stands for every local address.
_Place = Tuple[int, str, Tuple[int, ...]]

EVICTION_PAUSE = 0.01
"""The same when somebody has just been sent away to make room."""

STOP_POLL = 1.0 if sys.platform.startswith("linux") else 0.1
"""Seconds between two looks of the accepting loop at whether it should stop.  On Linux it is woken
when the listening socket is shut down, and looking seldom matters: 64 nodes on one machine that look
ten times a second use a tenth of what they use at all."""



class Listener(Server):
    """Accepts inbound peers.  Raises ``CannotStart`` if it cannot listen there."""

    # 5 is what socketserver has: of 300 nodes that connect at once most would wait for a
    # second SYN, for 48 s in all.
    request_queue_size = 1024

    def __init__(
        self,
        bind: Optional[str],
        port: int,
        crew: Crew,
        serve: Callable[[socket.socket, Any], None],
        make_room: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(crew)
        self._serve = serve
        self._make_room = make_room
        """Called when there is no descriptor left; whether one will soon be free."""
        error: Optional[OSError] = None
        for family, host, wildcard in _places(bind):
            self.address_family = family
            self._dual = 4 in wildcard
            try:
                self.bind_to((host, port), socketserver.BaseRequestHandler)  # none is made
            except OSError as failed:
                error = failed
                if failed.errno in (errno.EADDRINUSE, errno.EACCES):
                    break  # the place is right; listening elsewhere would hide the problem
                continue
            self.listening = Listening(self.server_address[1], host if bind else "", wildcard)
            return
        assert error is not None
        raise CannotStart(_why(bind, port, error)) from error

    def start(self) -> None:
        """Begin to accept, on a thread of the crew."""
        self.begin("listener", STOP_POLL)

    # -- what socketserver calls -------------------------------------------------------

    def server_bind(self) -> None:
        """Bind; on IPv6 decide about IPv4 as well, and keep Windows from sharing the port."""
        self.take_exclusively(self._dual)
        super().server_bind()

    def get_request(self) -> Tuple[socket.socket, Any]:
        """Accept; out of descriptors, wait a moment first."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in OUT_OF_RESOURCES:
                self._stopping.wait(EVICTION_PAUSE if self._make_room() else ACCEPT_PAUSE)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start the connection's thread, without waiting until it runs.

        It calls the node, which closes the socket.  socketserver would make a handler object there
        whose constructor does that: calls inside calls that take their room on each stack.
        """
        self._accepted += 1
        try:
            self._crew.start("inbound-%d" % self._accepted, self._serve, request, client_address)
        except RuntimeError:  # no more threads to be had
            self.shutdown_request(request)
            self._stopping.wait(ACCEPT_PAUSE)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what is our own bug; socketserver would print it on the user's terminal."""
        self._crew.report("serving %s" % (client_address,))


def _places(bind: Optional[str]) -> List[_Place]:
    """Where to try to listen, best first.

    Without ``bind``: one IPv6 socket that takes IPv4 too where the system can do both, else
    IPv4 alone.  IPv6 may be compiled in and switched off, so only trying tells.
    """
    inet6 = getattr(socket, "AF_INET6", None) if socket.has_ipv6 else None
    if bind is None:
        both: List[_Place] = [(int(inet6), "::", (4, 6))] if inet6 is not None else []
        only_ipv4 = (int(socket.AF_INET), "0.0.0.0", (4,))
        return [*both, only_ipv4]
    if not is_ip(bind):
        try:
            found = socket.getaddrinfo(bind, 0, 0, socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            text = "--bind %s: no such host (%s)" % (bind, why(error))
            raise CannotStart(text) from error
        return [(int(family), str(sockaddr[0]), ()) for family, _, _, _, sockaddr in found]
    if ":" in bind:
        if inet6 is None:
            raise CannotStart("--bind %s: this Python has no IPv6; bind an IPv4 address" % bind)
        return [(int(inet6), bind, (6,) if bind == "::" else ())]
    return [(int(socket.AF_INET), bind, (4,) if bind == "0.0.0.0" else ())]


def _why(bind: Optional[str], port: int, error: OSError) -> str:
    place = Address(bind or "*", port)
    if error.errno == errno.EADDRINUSE:
        return "port %d is taken (%s); choose another with --port, or 0 for a free one" % (
            port,
            place,
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return "%s is not an address of this machine; see --bind" % (bind,)
    if error.errno in (errno.EACCES, errno.EPERM):
        return "not allowed to listen on port %d; ports from 1024 up need no privilege" % port
    return "cannot listen on %s: %s" % (place, error.strerror or error)
