"""Base class of both servers: the peers' (``node/listener``) and the status page's (``web/server``).

``socketserver.ThreadingTCPServer`` has the accepting loop.  It is slow to end threads that serve a
silent client, so here a thread for each connection comes from a ``Crew``, and the node waits for
all of them against one deadline.
"""

import errno
import socket
import socketserver
import sys
import threading

from .threads import Crew
from .typing import Any, Callable, Tuple

ACCEPT_PAUSE = 0.1
"""Seconds to wait when no descriptor or thread is left for another connection.  Without a pause the
loop would find the same connection in the queue again at once, and take 100 % of a core."""

EVICTION_PAUSE = 0.01
"""Seconds to wait when another connection has just been dropped to make room."""

OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Server(socketserver.ThreadingTCPServer):
    """A TCP server whose threads belong to a crew.

    ``socketserver`` makes the system calls: ``bind_to`` leads to ``socket``, ``bind`` and ``listen``.
    ``begin`` starts its loop ``serve_forever``, which waits for a connection, lets ``get_request``
    call ``accept``, and passes the new socket to ``process_request`` of the subclass.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, crew: Crew, make_room: Callable[[], bool]) -> None:
        """Only prepare; the subclass goes on with ``bind_to``.

        ``make_room`` is called when no descriptor is left.  It drops a connection; False if it cannot.
        """
        self._crew = crew
        self._make_room = make_room
        self._accepted = 0
        self._serving = False
        self._stopping = threading.Event()
        # SO_REUSEADDR means "also while old connections linger", and that is wanted.  On Windows it
        # means "even if another program listens there".
        self.allow_reuse_address = not exclusive_ports()

    def bind_to(self, family: int, host: str, port: int, accepts_ipv4: bool) -> None:
        """Take the port; an IPv6 socket may accept IPv4 as well.  Raises ``OSError``."""
        self.address_family = family
        self._accepts_ipv4 = accepts_ipv4
        super().__init__((host, port), socketserver.BaseRequestHandler)  # of which none is ever made

    def begin(self, name: str, poll: float) -> None:
        """Begin to accept on a thread ``name``, which looks every ``poll`` seconds for a stop."""
        self._crew.start(name, self.serve_forever, poll)
        self._serving = True

    def stop(self) -> None:
        """Stop accepting and give the port back.  Any thread but the accepting one."""
        self._stopping.set()
        try:
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the loop, on Linux
        except OSError:
            pass
        if self._serving:  # shutdown() waits for a loop to end, even if none ever began
            self.shutdown()
        self.server_close()

    def start_thread(self, prefix: str, function: Callable[..., None], *args: Any) -> bool:
        """Run ``function(*args)`` on a thread of its own; False, after a pause, if there is none."""
        self._accepted += 1
        try:
            self._crew.start("%s-%d" % (prefix, self._accepted), function, *args)
        except RuntimeError:  # the system has no more threads
            self._stopping.wait(ACCEPT_PAUSE)
            return False
        return True

    # -- what socketserver calls -------------------------------------------------------

    def server_bind(self) -> None:
        """Bind, after setting two options: IPv4 on an IPv6 socket, and no shared port."""
        if self.address_family == getattr(socket, "AF_INET6", None):
            only = 0 if self._accepts_ipv4 else 1
            # On Windows Python has no name for that number before 3.8.
            level = getattr(socket, "IPPROTO_IPV6", 41)
            self.socket.setsockopt(level, socket.IPV6_V6ONLY, only)
        if exclusive_ports():
            option = vars(socket)["SO_EXCLUSIVEADDRUSE"]  # known to Windows only
            self.socket.setsockopt(socket.SOL_SOCKET, option, 1)
        super().server_bind()

    def get_request(self) -> Tuple[socket.socket, Any]:
        """Accept one connection; if no descriptor is left, wait a moment and raise ``OSError``."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in OUT_OF_RESOURCES:
                self._stopping.wait(EVICTION_PAUSE if self._make_room() else ACCEPT_PAUSE)
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a bug of ours; socketserver would print it on the user's terminal."""
        self._crew.report("serving %s" % (client_address,))


def exclusive_ports() -> bool:
    """Return whether a port must be asked for exclusively, as on Windows."""
    return sys.platform == "win32"
