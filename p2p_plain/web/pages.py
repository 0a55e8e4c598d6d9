"""The status page: what a node knows, over HTTP, for browsers, scrapers and scripts (``--http``).

===============  =====================================================================
``/``            the page, one file that loads nothing but itself
``/status.json`` this node, its peers, its counters
``/matrix.json`` every row known, with ages, and the verdicts
``/page.json``   what the page shows: the same, judged and small
``/metrics``     for Prometheus (see ``metrics``)
``/sd``          for Prometheus, too: where every node of the network serves its metrics
``/healthz``     200 while the node runs
``/cluster``     200 when every known direction is up, else 503 with those that are not
``/events``      what happens, as server-sent events (see ``EventSource`` in the HTML standard)
===============  =====================================================================

Nothing can be changed from here, and nobody has to say who they are; so it listens on loopback
unless told otherwise.  That alone keeps no web page out: its script may point a name of its own at
127.0.0.1 (DNS rebinding) and read what answers.  But then the browser says that name in ``Host``,
and only addresses, ``localhost`` and the name that was given to ``--http`` are answered.

How it is served is ``web``'s.  That imports ``http.server``, as much as all the rest of the program:
``node`` imports this module only for ``--http``.
"""

import base64
import hashlib
import json
import pkgutil
import re
import time
from http import HTTPStatus
from typing import Any, Callable, Dict, List, Optional, Protocol, Sequence, Tuple

from .. import __version__
from ..common.address import Address, from_sockaddr, is_ip, is_loopback, parse
from ..common.config import Config
from ..common.events import Callback
from ..common.outcomes import FAILURES, IN_WORDS, MARKS
from ..common.threads import Crew
from ..monitor.judge import judge
from ..monitor.row_messages import Links
from ..monitor.summary import summarize
from ..monitor.view import Direction, State, View
from ..node.peer import PeerInfo
from . import metrics
from .feed import News
from .server import MAX_CLIENTS, TEXT, Answer, Clients, Kept, WebServer


class Watched(Protocol):
    """What we need of a ``Node``.  Any thread may call any of it."""

    config: Config
    nodeid: str
    name: str

    @property
    def port(self) -> int: ...  # noqa: D102
    @property
    def addresses(self) -> Tuple[str, ...]: ...  # noqa: D102
    def peers(self) -> List[PeerInfo]: ...  # noqa: D102
    def rows(self) -> List[Links]: ...  # noqa: D102
    def stale_after(self) -> float: ...  # noqa: D102
    def counters(self) -> Dict[str, Any]: ...  # noqa: D102
    def on(self, event: str, callback: Callback) -> None: ...  # noqa: D102
STOP_TIMEOUT = 0.25
"""Seconds that ``stop`` waits for the threads; they need a thousandth of it."""

HTML, JSON = "text/html; charset=utf-8", "application/json"


class Status:
    """Serves one node's status.  Any thread may call any method.

    ``host`` is where to listen: an address or a name of this machine, loopback if it is ``None``.
    ``lookers`` is how many connections there may be at once, if fewer than ``MAX_CLIENTS``.
    Make it before the node's first event, so that it hears of all.  Raises ``CannotStart``.
    """

    def __init__(
        self,
        node: Watched,
        host: Optional[str],
        port: int,
        crew: Crew,
        lookers: int = MAX_CLIENTS,
    ) -> None:
        self._node = node
        self.clients = Clients(min(lookers, MAX_CLIENTS))
        self.news = News(node.nodeid[:8])
        page = pkgutil.get_data(__package__, "page.html")
        assert page is not None
        self._page = Answer(HTML, page, extra=(("Content-Security-Policy", _policy(page)),))
        picture = Kept(self._look)
        self._pages: Dict[str, Callable[[], Answer]] = {
            "/": lambda: self._page,
            "/status.json": Kept(self._tell_status).get,
            "/matrix.json": Kept(lambda: self._tell_matrix(picture.get())).get,
            "/page.json": Kept(lambda: self._tell_page(picture.get())).get,
            "/metrics": Kept(lambda: self._tell_metrics(picture.get())).get,
            "/sd": Kept(self._tell_targets).get,
            "/healthz": lambda: Answer(TEXT, b"ok\n"),
            "/cluster": Kept(lambda: self._tell_cluster(picture.get())).get,
        }
        self._server = WebServer(host, port, self, crew)
        self.host = self._server.host
        """What was given, or ``127.0.0.1``."""
        self.address: Address = from_sockaddr(self._server.socket.getsockname())
        """Where it listens; the host may be a wildcard."""
        node.on("*", self.news.add)

    def start(self) -> None:
        """Begin to accept."""
        self._server.start()

    def stop(self) -> None:
        """Give the port back, and cut everyone off.  Takes a quarter of a second at most."""
        deadline = time.monotonic() + STOP_TIMEOUT
        self.news.end()
        self._server.stop()
        self.clients.end(deadline)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.address.port

    def public_port(self, addresses: Tuple[Address, ...]) -> Optional[int]:
        """Return the port to give to other nodes; None if it is of no use to them.

        ``addresses`` are those of the node itself, whose neighbours can open a page on loopback.
        """
        near = all(is_loopback(address.host) for address in addresses)
        return self.port if near or not is_loopback(self.address.host) else None

    def target(self) -> str:
        """``host:port`` for others: the host that they dial, if we listen on all."""
        if self.address.host in ("0.0.0.0", "::") and self._node.addresses:
            return str(Address(parse(self._node.addresses[0]).host, self.port))
        return str(self.address)

    def page(self, path: str) -> Optional[Callable[[], Answer]]:
        """What makes the answer for a path, if there is one."""
        return self._pages.get(path)

    def allows(self, host: str) -> bool:
        """Whether a request may say that it is for ``host`` (the value of its ``Host``)."""
        named = _host_of(host)
        return named is not None and (
            is_ip(named) or named.lower().rstrip(".") in ("localhost", self.host.lower())
        )

    # -- the answers ----------------------------------------------------------------------

    def _look(self) -> "Picture":
        return Picture(self._node.rows(), self._node.stale_after())

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

    def _tell_status(self) -> Answer:
        counters = dict(self._node.counters())
        messages: Dict[str, Dict[str, int]] = {"in": {}, "out": {}}
        for (direction, msgtype), number in counters["messages"].items():
            messages[direction][msgtype] = number
        counters["messages"] = messages
        said = self._myself()
        said["peers"] = self._peers()
        said["counters"] = counters
        return _json(said)

    def _peers(self) -> List[Dict[str, Any]]:
        return [dict(peer._asdict()) for peer in self._node.peers()]

    def _tell_matrix(self, seen: "Picture") -> Answer:
        return _json(
            {
                "nodeid": self._node.nodeid,
                "rows": [row.as_dict() for row in seen.rows],
                "stale_after": seen.view.stale_after,
                "summary": seen.summary.text(),
                "verdicts": seen.verdicts,
            }
        )

    def _tell_page(self, seen: "Picture") -> Answer:
        said = self._myself()
        shown = seen.view.in_order()
        counters = self._node.counters()
        said.update(
            uptime_seconds=counters["uptime_seconds"],
            lag_seconds=counters["lag_seconds"],
            summary=seen.summary.text(),
            verdicts=seen.verdicts,
            failures={dial: (MARKS[dial], IN_WORDS[dial]) for dial in FAILURES},
            nodes=[seen.view.node_as_dict(nodeid) for nodeid in shown],
            cells=_cells(seen, shown),
            links=list(seen.rows[0].links),
        )
        return _json(said)

    def _tell_metrics(self, seen: "Picture") -> Answer:
        text = metrics.exposition(
            seen.rows[0], seen.summary, self._node.counters(), metrics.process()
        )
        return Answer(metrics.CONTENT_TYPE, text)

    def _tell_targets(self) -> Answer:
        """One group for each node, since its name is a label of its own."""
        node = self._node
        names = {link["nodeid"]: link.get("name") for link in node.rows()[0].links}
        targets = {node.nodeid: self.target()}
        names[node.nodeid] = node.name
        for nodeid, target in node.counters()["http"].items():
            targets.setdefault(nodeid, target)
        return _json(
            [
                {
                    "targets": [targets[nodeid]],
                    "labels": {
                        "node": str(names.get(nodeid) or targets[nodeid]),
                        "network": node.config.network,
                    },
                }
                for nodeid in sorted(targets, key=lambda nodeid: (targets[nodeid], nodeid))
            ]
        )

    def _tell_cluster(self, seen: "Picture") -> Answer:
        view, summary = seen.view, seen.summary
        said: Dict[str, Any] = {
            "ok": summary.down == 0,
            "nodes": summary.nodes,
            "up": summary.up,
            "down": summary.down,
            "unknown": summary.unknown,
            "summary": summary.text(),
        }
        if summary.down:
            said["verdicts"] = seen.verdicts
            said["directions_down"] = [
                {
                    "from": view.label[source],
                    "to": view.label[target],
                    "dial": view.directions[source, target].dial,
                }
                for source, target in sorted(view.directions)
                if view.directions[source, target].state == State.DOWN
            ]
        return _json(said, HTTPStatus.SERVICE_UNAVAILABLE if summary.down else HTTPStatus.OK)


class Picture:
    """Every row known, and what is judged from them; nothing changes after it is made."""

    __slots__ = ("rows", "summary", "verdicts", "view")

    def __init__(self, rows: Sequence[Links], stale_after: float) -> None:
        self.rows = rows
        """The node's own first."""
        self.view = View(rows, stale_after)
        self.summary = summarize(self.view)
        self.verdicts = [verdict.as_dict() for verdict in judge(self.view)]


def _json(said: object, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    return Answer(JSON, json.dumps(said, separators=(",", ":")).encode("ascii"), status)


def _cells(seen: Picture, shown: List[str]) -> List[List[Optional[List[Any]]]]:
    """The matrix for the page: ``[mark, connection, p50, worst, connect time]`` or ``None``.

    ``mark`` is ``ok``, ``?``, ``in`` (connected, and nobody has tried to dial), or that of a failure
    (``MARKS``); ``connection`` is 0 if none stands, 1 if the source dialed it, 2 if the other
    end did; times in milliseconds.  Lists, not objects: a hundred nodes have ten thousand of them.
    """
    links = {row.nodeid: {link["nodeid"]: link for link in row.links} for row in seen.rows}
    directions = seen.view.directions
    return [
        [
            _cell(directions.get((source, target)), links.get(source, {}).get(target, {}))
            for target in shown
        ]
        for source in shown
    ]


def _cell(direction: Optional[Direction], link: Dict[str, Any]) -> Optional[List[Any]]:
    if direction is None:
        return None
    if direction.state == State.STALE:
        return ["?", 0, None, None, None]
    mark = "?"
    if direction.state == State.DOWN:
        mark = MARKS[direction.dial]
    elif direction.state == State.UP:
        mark = "ok"
    elif direction.p50_ms is not None and direction.dial not in MARKS:
        mark = "in"
    connection = 0
    if direction.connected:
        connection = 2 if link.get("direction") == "inbound" else 1
    measured = direction.p50_ms is not None
    return [
        mark,
        connection,
        direction.p50_ms,
        link.get("rtt_max_ms") if measured else None,
        link.get("dial_ms") if direction.dial == "ok" else None,
    ]


def _policy(page: bytes) -> str:
    """The Content-Security-Policy of our own page: its one script and its one style, by hash."""
    allowed = {}
    for tag in (b"script", b"style"):
        (text,) = re.findall(b"<%s>(.*?)</%s>" % (tag, tag), page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text).digest()).decode("ascii")
        allowed[tag] = "'sha256-%s'" % digest
    return (
        "default-src 'none'; script-src %s; style-src %s; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        % (allowed[b"script"], allowed[b"style"])
    )


def _host_of(text: str) -> Optional[str]:
    """The host in the value of a ``Host``, its port and brackets left out; ``None`` if unsound."""
    found = re.match(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/@\[\]%]+))(?::[0-9]{0,5})?\Z", text.strip())
    if found is None:
        return None
    bracketed, plain = found.groups()
    if bracketed is not None:
        return bracketed if ":" in bracketed and is_ip(bracketed) else None
    return str(plain)
