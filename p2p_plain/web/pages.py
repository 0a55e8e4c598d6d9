"""The response of each path, made from what a node knows; ``page.rst`` says what they are for.

The page is read-only and has no password, so by default it listens on loopback.  That does
not keep web sites out: a script may point a name of its own at 127.0.0.1 (DNS rebinding) and read the
response.  But its browser then sends that name in ``Host``, and the page accepts only IP addresses,
``localhost`` and the host that was given to ``--http``.
"""

import base64
import hashlib
import json
import pkgutil
import re
import time
from http import HTTPStatus

from .. import __version__
from ..common.address import Address, from_sockaddr, is_ip, is_loopback, parse
from ..common.outcomes import FAILURES, IN_WORDS, LARGE_LOST_MARK, MARKS, OK, WHYS
from ..common.threads import Crew
from ..common.typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple
from ..monitor.judge import Judgement
from ..monitor.view import Direction, State
from . import metrics
from .clients import MAX_CLIENTS, Clients
from .feed import Feed
from .response import JSON, TEXT, Cached, Response
from .server import WebServer

if TYPE_CHECKING:
    from ..full_node import Node

STOP_TIMEOUT = 0.25
"""Seconds that ``stop`` waits for the threads; they need a thousandth of it."""

MOST_SHOWN = 256
"""Nodes that the page shows: with their square it takes megabytes, and every browser gets it each second."""

HTML = "text/html; charset=utf-8"


class StatusPage:
    """The status page of one node.  Any thread may call any method.

    It listens on ``host``, an address or a name of this machine; on loopback if that is ``None``.
    ``limit`` is the number of clients at once, ``MAX_CLIENTS`` at most.  Make it before the node's
    first event, so that the feed has all of them.  Raises ``CannotStart``.
    """

    def __init__(
        self, node: "Node", host: Optional[str], port: int, crew: Crew, limit: int = MAX_CLIENTS
    ) -> None:
        self._node = node
        self.clients = Clients(min(limit, MAX_CLIENTS))
        self.feed = Feed(node.nodeid[:8])
        html = html_page()
        network = Cached(lambda: Judgement(node.rows(), node.stale_after()))

        def judged(make: Callable[[Judgement], Response]) -> Callable[[], Response]:
            return Cached(lambda: make(network.get())).get

        self._pages: Dict[str, Callable[[], Response]] = {
            "/": lambda: html,
            "/status.json": Cached(self._status).get,
            "/matrix.json": judged(self._matrix),
            "/page.json": judged(self._data),
            "/metrics": judged(self._metrics),
            "/sd": Cached(self._targets).get,
            "/healthz": lambda: Response(TEXT, b"ok\n"),
            "/cluster": judged(_cluster),
        }
        self._server = WebServer(host, port, self, crew)
        self.host = self._server.host
        """As given, or ``127.0.0.1``."""
        self.address: Address = from_sockaddr(self._server.socket.getsockname())
        """Where it listens; the host may be a wildcard."""
        node.on("*", self.feed.add)

    def start(self) -> None:
        """Begin to accept."""
        self._server.start()

    def stop(self) -> None:
        """Give the port back and drop every client.  Takes ``STOP_TIMEOUT`` at most."""
        deadline = time.monotonic() + STOP_TIMEOUT
        self.feed.end()
        self._server.stop()
        self.clients.close(deadline)

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return self.address.port

    def target(self) -> str:
        """Return ``host:port`` of this page; if it listens on all addresses, the node's first one."""
        if self.address.host in ("0.0.0.0", "::") and self._node.addresses:
            return str(Address(parse(self._node.addresses[0]).host, self.port))
        return str(self.address)

    def public_port(self, addresses: Tuple[Address, ...]) -> Optional[int]:
        """Return the port to give to other nodes; ``None`` if they cannot reach it.

        ``addresses`` are those of the node itself.  If all are on loopback, so are its peers, and
        they can open a page on loopback.
        """
        near = all(is_loopback(address.host) for address in addresses)
        return self.port if near or not is_loopback(self.address.host) else None

    def page(self, path: str) -> Optional[Callable[[], Response]]:
        """Return the function that makes the response for a path; ``None`` if there is no such page."""
        return self._pages.get(path)

    def allows(self, host: str) -> bool:
        """True if requests for ``host`` are answered; it is the value of their ``Host`` header."""
        named = _host_of(host)
        return named is not None and (
            is_ip(named) or named.lower().rstrip(".") in ("localhost", self.host.lower())
        )

    # -- the responses --------------------------------------------------------------------

    def _myself(self) -> Dict[str, Any]:
        node = self._node
        return {
            "nodeid": node.nodeid,
            "name": node.name,
            "network": node.config.network,
            "addresses": list(node.addresses),
            "version": __version__,
            "ping_interval": node.config.ping_interval,
        }

    def _status(self) -> Response:
        counters = dict(self._node.counters())
        messages: Dict[str, Dict[str, int]] = {"in": {}, "out": {}}
        for (direction, msgtype), number in counters["messages"].items():
            messages[direction][msgtype] = number
        counters["messages"] = messages
        peers = [dict(peer._asdict()) for peer in self._node.peers()]
        return _json(dict(self._myself(), peers=peers, counters=counters))

    def _matrix(self, seen: Judgement) -> Response:
        return _json(dict(seen.as_dict(), nodeid=self._node.nodeid))

    def _data(self, seen: Judgement) -> Response:
        shown = seen.view.in_order(MOST_SHOWN)
        counters = self._node.counters()
        return _json(
            dict(
                self._myself(),
                uptime_seconds=counters["uptime_seconds"],
                lag_seconds=counters["lag_seconds"],
                failures={dial: (MARKS[dial], IN_WORDS[dial]) for dial in FAILURES},
                whys=WHYS,
                nodes=[seen.view.node_as_dict(nodeid) for nodeid in shown],
                hidden=len(seen.view.in_order()) - len(shown),
                cells=_cells(seen, shown),
                links=list(seen.rows[0].links),
                **seen.in_words()
            )
        )

    def _metrics(self, seen: Judgement) -> Response:
        counters = self._node.counters()
        text = metrics.exposition(seen, counters, metrics.process())
        return Response(metrics.CONTENT_TYPE, text)

    def _targets(self) -> Response:
        """Return a group for each node: a group has one set of labels, and ``node`` is one."""
        node = self._node
        names = {link["nodeid"]: link.get("name") for link in node.rows()[0].links}
        names[node.nodeid] = node.name
        targets = {**node.counters()["http"], node.nodeid: self.target()}
        found = []
        for target, nodeid in sorted((target, nodeid) for nodeid, target in targets.items()):
            labels = {"node": names.get(nodeid) or target, "network": node.config.network}
            found.append({"targets": [target], "labels": labels})
        return _json(found)


def _cluster(seen: Judgement) -> Response:
    view, summary = seen.view, seen.summary
    said = dict(
        seen.in_words(),
        nodes=summary.nodes,
        up=summary.up,
        down=summary.down,
        unknown=summary.unknown,
        directions_down=[
            {"from": view.label[source], "to": view.label[target], "dial": direction.dial}
            for (source, target), direction in sorted(view.directions.items())
            if direction.state == State.DOWN
        ],
    )
    return _json(said, HTTPStatus.OK if seen.ok else HTTPStatus.SERVICE_UNAVAILABLE)


def _json(said: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(JSON, json.dumps(said, separators=(",", ":")).encode("ascii"), status)


def _cells(seen: Judgement, shown: List[str]) -> List[List[Optional[List[Any]]]]:
    """Return the matrix for the page: ``[mark, connection, p50, worst, connect time, loss]`` or ``None``.

    ``mark`` is ``ok``, ``?``, ``!?`` (unknown for too long), ``in`` (connected, and not dialed yet),
    ``!M`` (large packets are lost), or that of a failed dial.
    ``connection`` is 0 without one, 1 if the source dialed it, 2 if the target did.  Times are in
    milliseconds.  ``loss`` is in percent, and missing where there is none.  Lists, not objects, because
    a hundred nodes have ten thousand cells.
    """
    links = {row.nodeid: {link["nodeid"]: link for link in row.links} for row in seen.rows}
    directions = seen.view.directions
    overdue = seen.summary.gaps.overdue
    return [
        [
            _cell(
                directions.get((source, target)),
                links.get(source, {}).get(target, {}),
                (source, target) in overdue,
            )
            for target in shown
        ]
        for source in shown
    ]


def _cell(
    direction: Optional[Direction], link: Dict[str, Any], overdue: bool
) -> Optional[List[Any]]:
    mark = "!?" if overdue else "?"
    if direction is None or direction.state == State.STALE:
        return [mark, 0, None, None, None] if overdue or direction is not None else None
    measured = direction.p50_ms is not None
    if direction.state == State.DOWN:
        mark = MARKS[direction.dial]
    elif direction.hole is not None:
        mark = LARGE_LOST_MARK
    elif direction.state == State.UP:
        mark = "ok"
    elif measured and direction.dial not in MARKS and not overdue:
        mark = "in"
    connection = 0
    if direction.connected:
        connection = 2 if link.get("direction") == "inbound" else 1
    loss = [direction.loss_pct] if direction.loss_pct else []
    return [
        mark,
        connection,
        direction.p50_ms,
        link.get("rtt_max_ms") if measured else None,
        link.get("dial_ms") if direction.dial == OK else None,
        *loss
    ]


def html_page() -> Response:
    """Return ``page.html``, with a policy that allows its one script and its one style, by hash."""
    page = pkgutil.get_data(__package__, "page.html")  # also from within a zip
    assert page is not None
    allowed = []
    for tag in (b"script", b"style"):
        (text,) = re.findall(b"<%s>(.*?)</%s>" % (tag, tag), page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text).digest()).decode("ascii")
        allowed.append("%s-src 'sha256-%s'; " % (tag.decode("ascii"), digest))
    policy = (
        "default-src 'none'; %sconnect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'" % "".join(allowed)
    )
    return Response(HTML, page, headers=(("Content-Security-Policy", policy),))


def _host_of(text: str) -> Optional[str]:
    """Return the host in a ``Host`` header, without port and brackets; ``None`` if it is invalid."""
    found = re.match(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/@\[\]%]+))(?::[0-9]{0,5})?\Z", text.strip())
    if found is None:
        return None
    bracketed, plain = found.groups()
    if bracketed is None:
        return str(plain)
    return bracketed if ":" in bracketed and is_ip(bracketed) else None
