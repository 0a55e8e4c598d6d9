"""The accepting server: the base class of the peers' listener and of the status page.

``socketserver.ThreadingTCPServer`` does the accepting.  Its own handler threads are not waited for
here: whoever owns the crew does that, against one deadline.
"""

import errno
import socket
import socketserver
import sys
import threading
from typing import Any, Tuple

from .threads import Crew

ACCEPT_PAUSE = 0.1
"""Seconds to wait when there is no descriptor left for another connection.  Without it the
loop would find the same connection still waiting, at once and for ever: 100 % of a core."""

OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Server(socketserver.ThreadingTCPServer):
    """What accepting peers and accepting who looks at the status page have in common.

    The calls that one expects here are made by socketserver: ``bind_to`` leads to ``socket``,
    ``bind`` and ``listen``, and ``begin`` to its loop ``serve_forever``, which waits until somebody
    calls, has ``get_request`` call ``accept``, and gives ``process_request`` what comes of it.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, crew: Crew) -> None:
        """Raises nothing; whoever inherits goes on with ``bind_to``."""
        self._crew = crew
        self._accepted = 0
        self._serving = False
        self._stopping = threading.Event()
        # Where SO_REUSEADDR means "also while old connections linger", it is wanted; on Windows
        # it means "even if another program listens there", and is not.
        self.allow_reuse_address = not exclusive_ports()

    def bind_to(self, place: Tuple[str, int], handler: Any) -> None:
        """Take the port; ``address_family`` is set.  Raises ``OSError``."""
        super().__init__(place, handler)

    def begin(self, name: str, poll: float) -> None:
        """Begin to accept, on a thread of the crew."""
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

    def take_exclusively(self, accepts_ipv4: bool) -> None:
        """Before ``bind``: on IPv6 decide about IPv4, and keep Windows from sharing the port."""
        if self.address_family == getattr(socket, "AF_INET6", None):
            only = 0 if accepts_ipv4 else 1
            # On Windows Python has no name for that number before 3.8.
            level = getattr(socket, "IPPROTO_IPV6", 41)
            self.socket.setsockopt(level, socket.IPV6_V6ONLY, only)
        if exclusive_ports():
            option = vars(socket)["SO_EXCLUSIVEADDRUSE"]  # known to Windows only
            self.socket.setsockopt(socket.SOL_SOCKET, option, 1)


def exclusive_ports() -> bool:
    """Whether a port has to be asked for exclusively: on Windows."""
    return sys.platform == "win32"
