"""The node that users get: the article's node, the monitor on top of it, and the status page.

``from p2p_plain import Node`` is this one.  Two more threads belong to the page: ``http``, which
accepts, and an ``http-N`` for each of its clients.
"""

import importlib
import random
import time

from .common.address import Address
from .common.config import DEFAULT_PORT, Config
from .monitor.row_messages import Links
from .monitor.survey import Survey
from .node import node
from .node.hooks import Hooks
from .node.peer import PeerInfo

TYPE_CHECKING = False

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple, Union

    from .common.config import Bootstrap

CLIENTS_SHARE = 1 / 4
"""The part of a process's descriptors that clients of the status page get, if there is one."""


class Node(node.Node):
    """One member of the network, with its view of who can reach whom.

    >>> with Node(port=0, bootstrap=["127.0.0.1:6000"]) as node:
    ...     node.broadcast({"text": "hello, everyone"})
    ...     for event in node.events(timeout=10):
    ...         print(event)
    """

    def __init__(
        self,
        *,
        port: int = DEFAULT_PORT,
        bind: "Optional[str]" = None,
        bootstrap: "Bootstrap" = (),
        advertise: "Optional[str]" = None,
        name: "Optional[str]" = None,
        network: str = "",
        ping_interval: float = 60.0,
        ping_timeout: float = 20.0,
        probe_interval: float = 60.0,
        max_peers: int = 256,
        max_rate: float = 200.0,
        peers_file: "Optional[str]" = None,
        http: "Union[int, str, None]" = None
    ) -> None:
        """The settings are the options of the command line.  Times are in seconds.

        :param port: TCP port to listen on; 0 for any that is free
        :param bind: the only local address to listen on; by default all of them
        :param bootstrap: addresses of nodes to dial first, ``"host:port"`` each
        :param advertise: the address that others are told to dial, if it is not found by itself
        :param name: the label that others see; by default the host's name
        :param network: only nodes with the same word become peers
        :param ping_interval: from one ping of a peer to the next
        :param ping_timeout: from a ping until its peer counts as gone
        :param probe_interval: from one probe of a node to the next
        :param max_peers: more peers than that are not let in
        :param max_rate: messages a second that are read of each peer; 0 for no limit
        :param peers_file: a file to remember addresses in
        :param http: ``port`` or ``"host:port"`` of the status page; by default there is none

        Raises ``UsageError``, which names the setting.
        """
        super().__init__(
            Config(
                port=port,
                bind=bind,
                bootstrap=bootstrap,
                advertise=advertise,
                name=name,
                network=network,
                ping_interval=ping_interval,
                ping_timeout=ping_timeout,
                probe_interval=probe_interval,
                max_peers=max_peers,
                max_rate=max_rate,
                peers_file=peers_file,
                http=http,
            )
        )
        # web/pages knows this class, so the page is a ``StatusPage`` only by name here.
        self._page: Any = None

    # -- the parts --------------------------------------------------------------------------

    def _build_extras(self, places: int) -> int:
        http = self.config.http
        if http is None:
            return places
        # Imported only for --http: http.server takes as long to import as all the rest.
        pages = importlib.import_module("p2p_plain.web.pages")
        limit = max(1, int(places * CLIENTS_SHARE))
        self._page = pages.StatusPage(self, http.host, http.port, self._crew, limit)
        return max(1, places - int(self._page.clients.limit))

    def _launch_extras(self) -> None:
        if self._page is not None:
            self._page.start()

    def _close_extras(self) -> None:
        if self._page is not None:
            self._page.stop()

    def _hooks(self, rng: random.Random) -> Hooks:
        self._survey = Survey(self.config, self._events, time.monotonic, rng)
        return self._survey

    def _http_port(self, addresses: "Tuple[Address, ...]") -> "Optional[int]":
        return None if self._page is None else self._page.public_port(addresses)

    # -- questions --------------------------------------------------------------------------

    def peers(self) -> "List[PeerInfo]":
        """Return the peers that are up now, the longest connected first; a copy."""
        self._started()
        return self._survey.peers()

    def rows(self) -> "List[Links]":
        """Return the matrix as far as it is known here: each node's row, this node's own first."""
        self._started()
        return self._survey.matrix()

    def matrix(self) -> "List[Dict[str, Any]]":
        """Return the same as dicts: ``nodeid``, ``name``, ``age``, ``lag_ms`` and ``links``.

        ``age`` is in seconds since the row was measured, ``lag_ms`` how late its node itself ran,
        and ``links`` a list of dicts with what it measured to each other node.
        """
        return [row.as_dict() for row in self.rows()]

    def counters(self) -> "Dict[str, Any]":
        """Return what was counted since the start.

        ``messages`` by (``"in"`` or ``"out"``, msgtype), ``bytes`` by direction, ``dial_failures`` by
        reason (probes included), ``pings`` (``buckets`` of pairs: an upper bound in seconds, and how
        many round trips took at most that; ``sum`` in seconds, ``count``), ``uptime_seconds``,
        ``lag_seconds`` (how late the node itself runs), and ``http``: by nodeid, ``"host:port"`` of
        the status pages of peers.
        """
        overlay, traffic = self._started(), self._sessions.traffic()
        buckets, total, count = overlay.membership.round_trips.read()
        found = {("in", msgtype): number for msgtype, number in traffic.heard.items()}
        found.update((("out", msgtype), number) for msgtype, number in traffic.said.items())
        return {
            "messages": found,
            "bytes": {"in": traffic.bytes_in, "out": traffic.bytes_out},
            "dial_failures": overlay.dial_failures.counts(),
            "pings": {"buckets": buckets, "sum": total, "count": count},
            "uptime_seconds": round(time.monotonic() - self._started_at, 3),
            "lag_seconds": overlay.lateness.usual,
            "http": {
                peer.nodeid: str(Address(peer.address.host, peer.hello.http))
                for peer in overlay.table.up()
                if peer.hello.http is not None
            },
        }

    def lateness(self) -> float:
        """Return how late this node itself runs, in seconds: only one tick in ten is later."""
        return self._started().lateness.usual

    def stale_after(self) -> float:
        """Return the age in seconds from which on a row of the matrix says nothing about now."""
        self._started()
        return self._survey.stale_after()
