"""The accepting end of the status page.

Thread ``http`` accepts, and each connection gets a thread ``http-N``; the node's crew has them all.
``http`` wakes up every ``TICK`` to drop the clients that are past their deadlines (``clients``).
"""

import errno
import time

from ..common.address import Address
from ..common.errors import CannotStart, why
from ..common.machine import look_up
from ..common.tcp_server import Server
from ..common.threads import Crew
from ..common.typing import TYPE_CHECKING, Any, Optional
from .clients import Client
from .handler import Handler

if TYPE_CHECKING:
    from .pages import StatusPage

TICK = 0.1
"""Seconds between two looks at the deadlines, and at whether to stop where nothing else wakes us."""


class WebServer(Server):
    """Listens on ``host``, loopback if that is ``None``.  Raises ``CannotStart`` if it cannot."""

    request_queue_size = 128

    def __init__(self, host: Optional[str], port: int, site: "StatusPage", crew: Crew) -> None:
        self._site = site
        self.host = "127.0.0.1" if host is None else host
        super().__init__(crew, site.clients.evict)
        self._ticked_at = 0.0
        place = Address(self.host, port)
        failed: Optional[OSError] = None
        for family, _, _, _, sockaddr in look_up("--http %s" % (place,), self.host, port):
            try:
                self.bind_to(family, str(sockaddr[0]), port, accepts_ipv4=self.host == "::")
                return
            except OSError as error:
                failed = failed or error
        assert failed is not None
        text = "--http: cannot listen on %s: %s" % (place, why(failed))
        if failed.errno == errno.EADDRINUSE:
            text = "--http: port %d is taken (%s); choose another, or 0 for a free one" % (port, place)
        raise CannotStart(text) from failed

    def start(self) -> None:
        """Begin to accept, on the thread ``http``."""
        self.begin("http", TICK)

    # -- what socketserver calls -------------------------------------------------------

    def service_actions(self) -> None:
        """Drop overdue clients.  Called after each connection, and at least every ``TICK``."""
        now = time.monotonic()
        if now - self._ticked_at >= TICK:
            self._ticked_at = now
            self._site.clients.drop_overdue()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start the connection's thread."""
        client = self._site.clients.add(request)
        if client is None:
            self.shutdown_request(request)
            return
        if not self.start_thread("http", self._serve, client, client_address):
            self._site.clients.remove(client)
            self.shutdown_request(request)

    def _serve(self, client: Client, client_address: Any) -> None:
        """Run the thread of a connection."""
        try:
            Handler(client, self._site).serve()
        except OSError:
            pass  # the client left, or was dropped
        except Exception:
            self.handle_error(client.sock, client_address)
        finally:
            self._site.clients.remove(client)
            self.shutdown_request(client.sock)
