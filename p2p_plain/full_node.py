"""The node that users get: the article's node, the monitor on top of it, and the status page.

``from p2p_plain import Node`` is this one.  Two more threads belong to the page: ``http``, which
accepts, and an ``http-N`` for each of its clients.
"""

import importlib
import random
import time

from .common.address import Address, is_loopback
from .common.config import DEFAULT_PORT, Bootstrap, Config, PathName
from .common.events import WARNING
from .common.typing import Any, Dict, Iterable, List, Optional, Tuple, Union
from .monitor.row_messages import Links
from .monitor.survey import Survey
from .node import node
from .node.hooks import Hooks
from .node.peer import PeerInfo

CLIENTS_SHARE = 1 / 4
"""The part of a process's descriptors that clients of the status page get, if there is one."""


class Node(node.Node):
    """One member of the network, with its view of which node can reach which.

    >>> with Node(port=0, bootstrap=["127.0.0.1:6000"]) as node:
    ...     node.broadcast({"text": "hello, everyone"})
    ...     for event in node.events(timeout=10):
    ...         print(event)

    The settings are explained at ``__init__``.  The methods, in the order in which one needs them::

        start, stop                             life: what ``with`` does
        read_secret_again                       after the key files have changed
        nodeid, name, port, addresses, http     who it is, and where others can dial it
        dial, wait_for_peers, peers             peers
        send, broadcast                         messages
        on, events                              what happens
        matrix, rows, stale_after               which node can reach which
        lateness, counters                      how the node itself does

    **Life.**  A node lives once.  Before ``start`` it takes only ``on`` and ``stop``.  After ``stop``
    it still answers questions, with what it knew at the end, but ``dial``, ``send``, ``broadcast``,
    ``wait_for_peers``, ``read_secret_again``, ``on`` and ``start`` do not work any more.  A method that
    does not work at the moment raises ``NotRunning``.

    **Arguments.**  An address is a text, ``"host:port"``, wherever it is given or returned; times are
    seconds, unless a name ends in ``_ms``.  An argument that cannot be meant raises ``UsageError``.

    **Threads.**  Any thread may call any method.  Only ``wait_for_peers``, the iteration over
    ``events``, ``broadcast(..., wait=True)`` and ``stop`` (0.9 seconds at most) wait.  Callbacks run on
    one thread of the node.

    **Events** are dicts: ``event`` (the name), ``time`` (RFC 3339, UTC), and ::

        listening    nodeid, name, addresses, http
        peer_up      nodeid, name, address, direction, peers
        peer_down    nodeid, name, address, reason, peers, up_seconds
        rtt          nodeid, name, rtt_ms
        message      nodeid, name, from, from_name, body
        self         address
        conflict     nodeid, name, address, other
        refused      address, reason
        reach        nodeid, name, address, dial, was
        stopped      reason, peers, uptime_seconds

    ``python3 -m p2p_plain help options`` says what they mean, ``help library`` more about all this.
    """

    def __init__(
        self,
        *,
        port: int = DEFAULT_PORT,
        bind: Optional[str] = None,
        bootstrap: Bootstrap = (),
        advertise: Optional[str] = None,
        name: Optional[str] = None,
        network: str = "",
        ping_interval: float = 60.0,
        ping_timeout: float = 20.0,
        probe_interval: float = 60.0,
        max_peers: int = 256,
        max_per_ip: int = 32,
        max_rate: float = 200.0,
        peers_file: Optional[PathName] = None,
        secret_file: Union[None, PathName, Iterable[PathName]] = None,
        http: Union[int, str, None] = None
    ) -> None:
        """Make a node that does nothing yet.  The settings are the options of the command line.

        :param port: the TCP port to listen on; 0 picks a free one
        :param bind: the only local address to listen on; by default all of them
        :param bootstrap: the nodes to dial first: ``"host:port"``, several of them in a list or
            separated by commas, or another node's ``addresses``
        :param advertise: the ``"host:port"`` that others should dial; by default it is found out
        :param name: the label that others see; by default the host's name
        :param network: nodes of other networks are refused
        :param ping_interval: seconds from one ping to a peer to the next
        :param ping_timeout: seconds until a peer that does not answer a ping is dropped
        :param probe_interval: seconds from one test dial of a node to the next
        :param max_peers: the most peers
        :param max_per_ip: the most connections from one IP address (from one /64, if it is IPv6)
        :param max_rate: messages a second that are read from each peer; 0 means no limit
        :param peers_file: the path of a file that keeps addresses from one run to the next
        :param secret_file: the path of a file with the network's key, which ``keygen`` makes, or several;
            only nodes that have it are let in; by default all are
        :param http: where to serve the status page: a port of this machine alone, or
            ``"host:port"``; by default nowhere

        Raises ``UsageError``, which names the setting.
        """
        super().__init__(
            Config(
                port=port, bind=bind, bootstrap=bootstrap, advertise=advertise, name=name,
                network=network, ping_interval=ping_interval, ping_timeout=ping_timeout,
                probe_interval=probe_interval, max_peers=max_peers, max_per_ip=max_per_ip,
                max_rate=max_rate, peers_file=peers_file, secret_file=secret_file, http=http,
            )
        )
        # web/pages knows this class, so the page is a ``StatusPage`` only by name here.
        self._page: Any = None

    # -- the parts --------------------------------------------------------------------------

    def _build_extras(self, seats: int) -> int:
        http = self.config.http
        if http is None:
            return seats
        # Imported only for --http: http.server takes as long to import as all the rest.
        pages = importlib.import_module("p2p_plain.web.pages")
        limit = max(1, int(seats * CLIENTS_SHARE))
        self._page = pages.StatusPage(self, http.host, http.port, self._crew, limit)
        return max(1, seats - int(self._page.clients.limit))

    def _launch_extras(self) -> None:
        if self._page is not None:
            self._page.start()
            if self.config.secret_file and not is_loopback(self._page.address.host):
                text = "the page on %s shows the network to everyone, without the secret"
                text += "; use a proxy or tunnel"
                self._events.log(WARNING, text, self.http)

    def _about_extras(self) -> Dict[str, str]:
        return {} if self.http is None else {"http": self.http}

    def _close_extras(self) -> None:
        if self._page is not None:
            self._page.stop()

    def _make_hooks(self, rng: random.Random) -> Hooks:
        self._survey = Survey(self.config, self._events, time.monotonic, rng)
        return self._survey

    def _http_port(self, addresses: Tuple[Address, ...]) -> Optional[int]:
        return None if self._page is None else self._page.public_port(addresses)

    # -- questions --------------------------------------------------------------------------

    @property
    def http(self) -> Optional[str]:
        """Where the status page is, ``"host:port"``; ``None`` if there is none."""
        self._started()
        return None if self._page is None else self._page.target()

    def peers(self) -> List[PeerInfo]:
        """Return a copy of the list of peers that are up now, the longest connected first."""
        self._started()
        return self._survey.peers()

    def rows(self) -> List[Links]:
        """Return the matrix as far as it is known here: each node's row, this node's own first."""
        self._started()
        return self._survey.exchange.matrix()

    def matrix(self) -> List[Dict[str, Any]]:
        """Return the rows as dicts with ``nodeid``, ``name``, ``age``, ``lag_ms``, ``stale_after``,
        ``probe_interval`` and ``links``.

        ``age`` is in seconds since the row was measured, ``lag_ms`` how late its node itself ran,
        ``stale_after`` the age from which on the row says nothing about now, ``probe_interval`` the
        time between two dials of each node (both ``None`` where the row does not say it),
        and ``links`` a list of dicts, one for each other node: ``nodeid``, ``name``, ``address``,
        ``up``, ``direction``, ``rtt_ms``, ``dial`` and more (``help wire``).
        """
        return [row.as_dict() for row in self.rows()]

    def counters(self) -> Dict[str, Any]:
        """Return what was counted since the start.

        ``messages`` by (``"in"`` or ``"out"``, msgtype), ``bytes`` by direction, ``dial_failures`` by
        reason (probes included), ``inbound_failures`` by reason, ``segments`` (``sent`` and ``lost``) by
        nodeid, ``large_packets`` (true if they arrive) by nodeid, ``lost`` (connections) by nodeid and
        reason, ``dropped`` (broadcasts that a peer was not sent: ``own`` and ``forwarded``),
        ``conflicts`` (how often two programs claimed one nodeid), ``pings`` (``buckets`` of pairs: an
        upper bound in seconds, and how many round trips took at most that; ``sum`` in seconds,
        ``count``), ``uptime_seconds``, ``lag_seconds`` (how late the node itself runs), and ``http``: by
        nodeid, ``"host:port"`` of the status pages of peers.
        """
        overlay, traffic = self._started(), self._sessions.traffic()
        buckets, total, count = overlay.membership.round_trips.read()
        found = {("in", msgtype): number for msgtype, number in traffic.received.items()}
        found.update((("out", msgtype), number) for msgtype, number in traffic.sent.items())
        return {
            "messages": found,
            "bytes": {"in": traffic.bytes_in, "out": traffic.bytes_out},
            "dial_failures": overlay.dial_failures.counts(),
            "lost": self._survey.losses.counts(),
            "segments": self._survey.packet_loss.counts(),
            "large_packets": self._survey.holes.passing(),
            "inbound_failures": overlay.membership.failures.inbound.counts(),
            "dropped": overlay.talk.dropped.counts(),
            "conflicts": overlay.membership.rivals.conflicts(),
            "pings": {"buckets": buckets, "sum": total, "count": count},
            "uptime_seconds": round(time.monotonic() - self._started_at, 3),
            "lag_seconds": overlay.lateness.usual,
            "http": {
                peer.nodeid: str(Address(peer.address.host, peer.hello.http))
                for peer in overlay.table.up()
                if peer.hello.http is not None and not peer.link.unlisted
            },
        }

    def lateness(self) -> float:
        """Return how late this node itself runs, in seconds: only one tick in ten is later."""
        return self._started().lateness.usual

    def stale_after(self) -> float:
        """Return the age in seconds from which on a row of this node says nothing about now."""
        self._started()
        return self._survey.exchange.stale_after()
