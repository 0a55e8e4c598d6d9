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

Threads
-------
``http`` accepts; each connection has its own, ``http-N``, all of the node's crew.  Nothing on them
may wait without a bound.  There are no timeouts on the sockets: a timeout for each ``recv`` would
let a client drip a byte at a time for ever.  Instead each connection has one deadline for what it
does now (say its whole request, take our whole answer), and the accepting thread, which wakes at
least every ``BEAT``, cuts whoever is over it.  Cutting is ``shutdown``, which any thread may do;
the ``recv`` or ``send`` under way ends at once.

This module imports ``http.server``, as much as all the rest of the program: ``node`` imports it only
for ``--http``.
"""

import base64
import errno
import hashlib
import io
import json
import pkgutil
import re
import socket
import threading
import time
from collections import deque
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler

from . import __version__, grid, metrics
from .address import Address, from_sockaddr, is_ip, is_loopback
from .codec import printable
from .config import STALE_AFTER_INTERVALS
from .errors import CannotStart, why
from .listener import ACCEPT_PAUSE, OUT_OF_RESOURCES, Server
from .record import Record
from .verdicts import judge
from .view import DOWN, STALE, UP, View, count

try:
    import gzip
except ImportError:  # a Python built without zlib
    gzip = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Dict, List, Optional, Protocol, Sequence, Tuple

    from .config import Config
    from .events import Callback, Event
    from .messages import Links
    from .peer_table import PeerInfo
    from .threads import Crew
    from .view import Direction

    class Watched(Protocol):
        """What we need of a ``Node``.  Any thread may call any of it."""

        config: Config
        nodeid: str
        name: str

        @property
        def port(self) -> int: ...  # noqa: D102
        @property
        def addresses(self) -> Tuple[Address, ...]: ...  # noqa: D102
        def peers(self) -> List[PeerInfo]: ...  # noqa: D102
        def rows(self) -> List[Links]: ...  # noqa: D102
        def counters(self) -> Dict[str, Any]: ...  # noqa: D102
        def on(self, event: str, callback: Callback) -> None: ...  # noqa: D102

MAX_CLIENTS = 64
"""Connections at once.  Each is a thread and a descriptor; a browser needs two or three, a scraper
one.  At the bound whoever has been silent longest is cut, so that silence keeps nobody out."""

MAX_HEAD = 32 * 1024
"""Bytes of a request line and its headers together.  A browser sends 500, and all the cookies that
any other program on this host has set; nginx gives up at the same figure."""

MAX_DRAINED = 64 * 1024
"""Bytes read and thrown away of a client that is told no while it still talks: closing a socket
with unread data sends a reset, which overtakes and destroys the answer (RFC 1122 4.2.2.13)."""

GOING = 1.0
"""Seconds for which the accepting loop waits, when as many as fit have been cut and are not gone."""

BEAT = 0.1
"""Seconds between two looks at the deadlines, and at whether to stop where nothing else tells."""

REQUEST_TIMEOUT = 10.0
"""From connect to the end of the headers, the whole of it."""

IDLE_TIMEOUT = 30.0
"""The same for each later request on one connection."""

ANSWER_TIMEOUT = 10.0
"""For a client to take an answer, or a piece of the events; on a slow line 1 MB takes five."""

DRAIN_TIMEOUT = 1.0
"""For a client that was told no to stop talking."""

KEEP_ALIVE = 10.0
"""Seconds without an event after which a comment is sent, so that proxies leave the connection
standing and we find out that nobody is there any more."""

PATIENCE_WITH_THE_BUSY = 1.0
"""Seconds that an answer may take before its client counts as one who does not read, where room is
needed."""

STOP_TIMEOUT = 0.25
"""Seconds that ``stop`` waits for the threads; they need a thousandth of it."""

RECEIVE_BYTES = 4 * 1024

KEPT_EVENTS = 500
"""Events that a new client is told first: so many round trips, and so many of all other kinds.
In a large network round trips come by the dozen each second and would push out the rest."""

KEPT_BYTES = 1024 * 1024
"""The same in bytes, for each of the two."""

FRESH = 0.3
"""Seconds for which an answer is given again to whoever else asks."""

SHARE = 10
"""An answer that was long in the making is given again for so many times as long: however many
ask, making it takes a tenth of the time."""

GZIP_FROM = 1024
"""Bytes of an answer from which it is compressed, for clients that like that."""

HTML, TEXT, JSON = "text/html; charset=utf-8", "text/plain; charset=utf-8", "application/json"
EVENT_STREAM = "text/event-stream"

# What a client does now.
ASKING = "asking"  # silent, or in the middle of its request
ANSWERED = "answered"  # our answer is being made or sent
STREAMING = "streaming"  # listens to events
CUT = "cut"  # its thread is about to end


class Status:
    """Serves one node's status.  Any thread may call any method.

    ``host`` is where to listen: an address or a name of this machine, loopback if it is ``None``.
    ``lookers`` is how many connections there may be at once, if fewer than ``MAX_CLIENTS``.
    Make it before the node's first event, so that it hears of all.  Raises ``CannotStart``.
    """

    def __init__(
        self,
        node: "Watched",
        host: "Optional[str]",
        port: int,
        crew: "Crew",
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
        self._server = _Server(host, port, self, crew)
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

    def public_port(self) -> "Optional[int]":
        """The port to tell other nodes of, ``None`` if it is of no use to them."""
        node_is_local = all(is_loopback(address.host) for address in self._node.addresses)
        return self.port if node_is_local or not is_loopback(self.address.host) else None

    def target(self) -> str:
        """``host:port`` for others: the host that they dial, if we listen on all."""
        if self.address.host in ("0.0.0.0", "::") and self._node.addresses:
            return str(Address(self._node.addresses[0].host, self.port))
        return str(self.address)

    def page(self, path: str) -> "Optional[Callable[[], Answer]]":
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
        return Picture(self._node.rows(), STALE_AFTER_INTERVALS * self._node.config.ping_interval)

    def _myself(self) -> "Dict[str, Any]":
        node = self._node
        return {
            "nodeid": node.nodeid,
            "name": node.name,
            "network": node.config.network,
            "addresses": [str(address) for address in node.addresses],
            "version": __version__,
            "ping_interval": node.config.ping_interval,
        }

    def _tell_status(self) -> "Answer":
        counters = dict(self._node.counters())
        messages: Dict[str, Dict[str, int]] = {"in": {}, "out": {}}
        for (direction, msgtype), number in counters["messages"].items():
            messages[direction][msgtype] = number
        counters["messages"] = messages
        said = self._myself()
        said["peers"] = self._peers()
        said["counters"] = counters
        return _json(said)

    def _peers(self) -> "List[Dict[str, Any]]":
        return [
            {field: getattr(peer, field) for field in peer.__slots__} for peer in self._node.peers()
        ]

    def _tell_matrix(self, seen: "Picture") -> "Answer":
        return _json(
            {
                "nodeid": self._node.nodeid,
                "rows": [
                    {
                        "nodeid": row.nodeid,
                        "name": row.name,
                        "age": round(row.age, 1),
                        "lag_ms": row.lag_ms,
                        "links": list(row.links),
                    }
                    for row in seen.rows
                ],
                "stale_after": seen.view.stale_after,
                "summary": seen.summary.text(),
                "verdicts": seen.verdicts,
            }
        )

    def _tell_page(self, seen: "Picture") -> "Answer":
        said = self._myself()
        shown = grid.order(seen.view)
        counters = self._node.counters()
        said.update(
            uptime_seconds=counters["uptime_seconds"],
            lag_seconds=counters["lag_seconds"],
            summary=seen.summary.text(),
            verdicts=seen.verdicts,
            nodes=[_fate(seen.view, nodeid) for nodeid in shown],
            cells=_cells(seen, shown),
            links=list(seen.rows[0].links),
        )
        return _json(said)

    def _tell_metrics(self, seen: "Picture") -> "Answer":
        text = metrics.exposition(
            seen.rows[0], seen.summary, self._node.counters(), metrics.process()
        )
        return Answer(metrics.CONTENT_TYPE, text)

    def _tell_targets(self) -> "Answer":
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

    def _tell_cluster(self, seen: "Picture") -> "Answer":
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
                if view.directions[source, target].state == DOWN
            ]
        return _json(said, HTTPStatus.SERVICE_UNAVAILABLE if summary.down else HTTPStatus.OK)


class Picture:
    """Every row known, and what is judged from them; nothing changes after it is made."""

    __slots__ = ("rows", "summary", "verdicts", "view")

    def __init__(self, rows: "Sequence[Links]", stale_after: float) -> None:
        self.rows = rows
        """The node's own first."""
        self.view = View(rows, stale_after)
        self.summary = count(self.view)
        self.verdicts = [
            {"kind": verdict.kind, "nodes": list(verdict.nodes), "text": verdict.text}
            for verdict in judge(self.view)
        ]


class Answer:
    """What is sent for one request, but for what depends on who asks."""

    __slots__ = ("_compressed", "body", "extra", "status", "type")

    def __init__(
        self,
        type: str,
        body: bytes,
        status: HTTPStatus = HTTPStatus.OK,
        extra: "Tuple[Tuple[str, str], ...]" = (),
    ) -> None:
        self.type = type
        self.body = body
        self.status = status
        self.extra = extra
        self._compressed: Optional[bytes] = None

    def compressed(self) -> "Optional[bytes]":
        """The body for clients that take gzip, ``None`` if that is not worth it.

        Two threads may make it at once, which costs time and nothing else.
        """
        if self._compressed is None and gzip is not None and len(self.body) >= GZIP_FROM:
            self._compressed = gzip.compress(self.body, 1)
        return self._compressed


class Kept:
    """Something that is costly to make, given again for a moment to whoever else asks."""

    def __init__(self, make: "Callable[[], Any]") -> None:
        self._make = make
        # Held while it is made, on purpose: who comes meanwhile waits and gets the same.  None of
        # those who are asked for the parts knows of us, so nobody waits for this lock in turn.
        self._lock = threading.Lock()
        # Guarded by _lock.
        self._made: Any = None
        self._until = float("-inf")

    def get(self) -> "Any":
        """The last one, or a new one."""
        with self._lock:
            begun = time.monotonic()
            if self._made is None or begun >= self._until:
                self._made = self._make()
                now = time.monotonic()
                self._until = now + max(FRESH, SHARE * (now - begun))
            return self._made


def _json(said: object, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    return Answer(JSON, json.dumps(said, separators=(",", ":")).encode("ascii"), status)


def _fate(view: View, nodeid: str) -> "Dict[str, Any]":
    """One node, for the page: what to call it, and whether to believe its row."""
    row = view.rows.get(nodeid)
    return {
        "nodeid": nodeid,
        "label": view.label[nodeid],
        "state": "down" if nodeid in view.down else "left" if nodeid in view.left else "live",
        "age": None if row is None else round(row.age, 1),
        "current": nodeid in view.current,
        "late_ms": view.late.get(nodeid),
    }


def _cells(seen: Picture, shown: "List[str]") -> "List[List[Optional[List[Any]]]]":
    """The matrix for the page: ``[mark, connection, p50, worst, connect time]`` or ``None``.

    ``mark`` is ``ok``, ``?``, ``in`` (connected, and nobody has tried to dial), or that of a failure
    (``grid.MARKS``); ``connection`` is 0 if none stands, 1 if the source dialed it, 2 if the other
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


def _cell(direction: "Optional[Direction]", link: "Dict[str, Any]") -> "Optional[List[Any]]":
    if direction is None:
        return None
    if direction.state == STALE:
        return ["?", 0, None, None, None]
    mark = "?"
    if direction.state == DOWN:
        mark = grid.MARKS[direction.dial]
    elif direction.state == UP:
        mark = "ok"
    elif direction.p50_ms is not None and direction.dial not in grid.MARKS:
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


def _host_of(text: str) -> "Optional[str]":
    """The host in the value of a ``Host``, its port and brackets left out; ``None`` if unsound."""
    found = re.match(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/@\[\]%]+))(?::[0-9]{0,5})?\Z", text.strip())
    if found is None:
        return None
    bracketed, plain = found.groups()
    if bracketed is not None:
        return bracketed if ":" in bracketed and is_ip(bracketed) else None
    return str(plain)


# -- events ----------------------------------------------------------------------------------


class Item(Record):
    """One event, encoded: its number, and what is sent of it."""

    __slots__ = ("number", "sent")

    def __init__(self, number: int, sent: bytes) -> None:
        self.number = number
        self.sent = sent


class News:
    """The last events, numbered.  One thread adds, each client's reads at its own pace.

    A client that is too slow misses events, and sees so by their numbers; nobody waits for it.
    ``life`` goes before each number, so that a client which comes back after the node was started
    anew is not taken for one that has heard the first events already.
    """

    def __init__(self, life: str) -> None:
        self._life = life
        self._lock = threading.Condition()
        # Guarded by _lock.
        self._last = 0
        self._ended = False
        self._round_trips: Deque[Item] = deque()
        self._others: Deque[Item] = deque()
        self._sizes = [0, 0]
        """Bytes kept of the others, and of the round trips: ``False`` and ``True`` are 0 and 1."""

    def add(self, event: "Event") -> None:
        """Keep one more; called by the node's dispatcher.  Never blocks."""
        data = json.dumps(event)
        is_rtt = event.get("event") == "rtt"
        kept = self._round_trips if is_rtt else self._others
        with self._lock:
            self._last += 1
            sent = "id: %s-%d\ndata: %s\n\n" % (self._life, self._last, data)
            item = Item(self._last, sent.encode("ascii"))
            kept.append(item)
            self._sizes[is_rtt] += len(item.sent)
            while len(kept) > KEPT_EVENTS or self._sizes[is_rtt] > KEPT_BYTES:
                self._sizes[is_rtt] -= len(kept.popleft().sent)
            self._lock.notify_all()

    def end(self) -> None:
        """There will be no more."""
        with self._lock:
            self._ended = True
            self._lock.notify_all()

    def position(self, last_id: "Optional[str]") -> int:
        """Where to go on for a client that has heard ``last_id``: 0, the beginning, for others.

        A browser that has lost us says it when it comes back.
        """
        life, dash, number = (last_id or "").rpartition("-")
        if not dash or life != self._life or not re.match("[0-9]{1,15}\\Z", number):
            return 0
        with self._lock:
            return min(int(number), self._last)

    def after(self, position: int, timeout: float) -> "Optional[Tuple[bytes, int]]":
        """What came after ``position``, and the new one; empty after ``timeout``; ``None``: ended."""
        deadline = time.monotonic() + timeout
        with self._lock:
            while self._last <= position and not self._ended:
                left = deadline - time.monotonic()
                if left <= 0:
                    return b"", position
                self._lock.wait(left)
            if self._last <= position:
                return None
            last = self._last
            found = _newer(self._round_trips, position) + _newer(self._others, position)
        found.sort(key=lambda item: item.number)
        return b"".join(item.sent for item in found), last


def _newer(kept: "Deque[Item]", position: int) -> "List[Item]":
    found = []
    for item in reversed(kept):
        if item.number <= position:
            break
        found.append(item)
    return found


# -- connections -----------------------------------------------------------------------------


class Client:
    """One connection.  Everything but the socket under the lock of ``Clients``."""

    __slots__ = ("deadline", "since", "sock", "state")

    def __init__(self, sock: socket.socket, now: float) -> None:
        self.sock = sock
        self.state = ASKING
        self.since = now
        """Since when it does that."""
        self.deadline = now + REQUEST_TIMEOUT


class Clients:
    """All connections: how many there are, what each does, and until when it may.

    Any thread may call any method.
    """

    def __init__(self, most: int, clock: "Callable[[], float]" = time.monotonic) -> None:
        self.most = most
        """At once; immutable."""
        self._clock = clock
        self._lock = threading.Condition()
        # Guarded by _lock.
        self._all: Dict[int, Client] = {}
        self._ended = False

    def enter(self, sock: socket.socket) -> "Optional[Client]":
        """Let one in, and cut another one if there are too many; ``None``: no room."""
        client = Client(sock, self._clock())
        with self._lock:
            # Those who have been cut need a moment to go: longer on a busy machine, and whoever
            # comes meanwhile may be the one who asks.
            if not self._lock.wait_for(self._can_hold_one_more_locked, GOING) or self._ended:
                return None
            room = sum(1 for other in self._all.values() if other.state != CUT) < self.most
            if not room and not self._cut_locked(self._dispensable_locked()):
                return None
            self._all[id(client)] = client
            return client

    def _can_hold_one_more_locked(self) -> bool:
        return self._ended or len(self._all) < 2 * self.most

    def leave(self, client: Client) -> None:
        """Its thread is done with it."""
        with self._lock:
            self._all.pop(id(client), None)
            self._lock.notify_all()

    def now(self, client: Client, state: str, seconds: float) -> bool:
        """It does something else from now on, for so long at most; ``False`` if it has been cut."""
        with self._lock:
            if client.state == CUT:
                return False
            now = self._clock()
            if client.state != state:
                client.state = state
                client.since = now
            client.deadline = now + seconds
            return True

    def make_room(self) -> bool:
        """Cut the one that has been silent longest; whether there was one."""
        with self._lock:
            return self._cut_locked(self._dispensable_locked())

    def sweep(self) -> None:
        """Cut everyone who is over its deadline."""
        with self._lock:
            now = self._clock()
            for client in [one for one in self._all.values() if one.deadline < now]:
                self._cut_locked(client)

    def end(self, deadline: float) -> int:
        """Cut everyone, and wait for their threads until then; how many are left."""
        with self._lock:
            self._ended = True
            for client in list(self._all.values()):
                self._cut_locked(client)
            while self._all:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._lock.wait(left)
            return len(self._all)

    def count(self) -> int:
        """How many there are."""
        with self._lock:
            return len(self._all)

    def _dispensable_locked(self) -> "Optional[Client]":
        """The silent one first, then who does not read its answer, then who listens to events."""
        now = self._clock()
        for state, patience in ((ASKING, 0.0), (ANSWERED, PATIENCE_WITH_THE_BUSY), (STREAMING, 0.0)):
            found = [
                client
                for client in self._all.values()
                if client.state == state and now - client.since >= patience
            ]
            if found:
                return min(found, key=lambda client: client.since)
        return None

    def _cut_locked(self, client: "Optional[Client]") -> bool:
        """End its connection.  ``shutdown`` does not block."""
        if client is None:
            return False
        client.state = CUT
        client.deadline = float("inf")
        try:
            client.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it was quicker
        return True


class _Server(Server):
    """Accepts clients; each gets a thread of the crew."""

    request_queue_size = 128

    def __init__(self, host: "Optional[str]", port: int, status: Status, crew: "Crew") -> None:
        self.status = status
        self.host = "127.0.0.1" if host is None else host
        super().__init__(crew)
        self._swept_at = 0.0
        place = Address(self.host, port)
        try:
            found = socket.getaddrinfo(self.host, port, 0, socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            text = "--http %s: no such host (%s)" % (place, why(error))
            raise CannotStart(text) from error
        failed: Optional[OSError] = None
        for family, _, _, _, sockaddr in found:
            self.address_family = family
            try:
                self.bind_to((str(sockaddr[0]), port), _Handler)
                return
            except OSError as error:
                failed = failed or error
        assert failed is not None
        if failed.errno == errno.EADDRINUSE:
            text = "--http: port %d is taken (%s); choose another, or 0 for a free one" % (
                port,
                place,
            )
        else:
            text = "--http: cannot listen on %s: %s" % (place, why(failed))
        raise CannotStart(text) from failed

    def start(self) -> None:
        self.begin("http", BEAT)

    # -- what socketserver calls -------------------------------------------------------

    def server_bind(self) -> None:
        """Bind; on IPv6 take IPv4 too if it is for all addresses."""
        self.take_exclusively(accepts_ipv4=self.host == "::")
        super().server_bind()

    def service_actions(self) -> None:
        """After each connection and each beat of the accepting loop."""
        now = time.monotonic()
        if now - self._swept_at >= BEAT:
            self._swept_at = now
            self.status.clients.sweep()

    def get_request(self) -> "Tuple[socket.socket, Any]":
        """Accept; out of descriptors, make room and wait a moment."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in OUT_OF_RESOURCES:
                self.status.clients.make_room()
                self._stopping.wait(ACCEPT_PAUSE)
            raise

    def process_request(self, request: "Any", client_address: "Any") -> None:
        """Start the connection's thread."""
        client = self.status.clients.enter(request)
        if client is None:
            self.shutdown_request(request)
            return
        self._accepted += 1
        try:
            self._crew.start("http-%d" % self._accepted, self._serve, client, client_address)
        except RuntimeError:  # no more threads to be had
            self.status.clients.leave(client)
            self.shutdown_request(request)
            self._stopping.wait(ACCEPT_PAUSE)

    def _serve(self, client: Client, client_address: "Any") -> None:
        """The connection's thread."""
        try:
            _Handler(client, client_address, self)  # making it is all: __init__ runs the whole of it
        except OSError:
            pass  # it went away, or was cut
        except Exception:
            self._crew.report("answering %s" % (client_address,))
        finally:
            self.status.clients.leave(client)
            self.shutdown_request(client.sock)

    def handle_error(self, request: "Any", client_address: "Any") -> None:
        """Log what is our own bug; socketserver would print it on the user's terminal."""
        self._crew.report("answering %s" % (client_address,))


class HeadTooLong(Exception):
    """More than ``MAX_HEAD`` bytes, and the headers have not ended."""


class Head:
    """Reads request lines and headers, bounded, straight from the socket.

    What ``rfile`` is elsewhere; a request that is cut off by the end of the stream is none.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._held = b""
        self._room = MAX_HEAD

    def begin(self) -> None:
        """The next line is a request line."""
        self._room = MAX_HEAD

    def readline(self, limit: int = -1) -> bytes:
        """One line, with its end.  Raises ``ConnectionError`` if none comes any more."""
        while b"\n" not in self._held:
            if len(self._held) > self._room:
                raise HeadTooLong
            chunk = self._sock.recv(RECEIVE_BYTES)
            if not chunk:
                raise ConnectionAbortedError("the stream ended")
            self._held += chunk
        line, _, self._held = self._held.partition(b"\n")
        self._room -= len(line) + 1
        if self._room < 0:
            raise HeadTooLong
        return line + b"\n"


class _Handler(BaseHTTPRequestHandler):
    """One connection: requests are read, one after the other, and answered.

    Of the base class it has how a request is taken apart, and the loop around it.
    """

    protocol_version = "HTTP/1.1"
    # What has no version is answered as if it knew of headers.
    default_request_version = "HTTP/1.0"
    rfile: Head  # type: ignore[assignment]

    def __init__(self, client: Client, client_address: "Any", server: _Server) -> None:
        self._client = client
        self._status = server.status
        super().__init__(client.sock, client_address, server)

    def setup(self) -> None:
        self.connection = self._client.sock
        # Head and body go out in one piece, and pieces of events each at once.
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rfile = Head(self.connection)
        self.wfile = io.BytesIO()  # the base class writes nothing that we let it write
        self._timeout = REQUEST_TIMEOUT

    def finish(self) -> None:
        """Hear out a client that was told no while it still talks."""
        if not self._drain or not self._status.clients.now(self._client, ASKING, DRAIN_TIMEOUT):
            return
        self.connection.shutdown(socket.SHUT_WR)
        drained = 0
        while drained < MAX_DRAINED:
            chunk = self.connection.recv(RECEIVE_BYTES)
            if not chunk:
                return
            drained += len(chunk)

    _drain = False

    def handle_one_request(self) -> None:
        """Read one request, answer it, and decide whether there may be another."""
        self.close_connection = True
        self.command = ""
        self.request_version = self.default_request_version
        clients = self._status.clients
        if not clients.now(self._client, ASKING, self._timeout):
            return
        self._timeout = IDLE_TIMEOUT
        self.rfile.begin()
        try:
            line = self.rfile.readline()
            if line in (b"\r\n", b"\n"):  # RFC 9112 section 2.2: after a form, of old browsers
                line = self.rfile.readline()
            self.raw_requestline = line
            if len(line.split()) != 3:
                self.send_error(HTTPStatus.BAD_REQUEST)
                return
            if not self.parse_request():
                return  # it has been told
        except HeadTooLong:
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        if not clients.now(self._client, ANSWERED, ANSWER_TIMEOUT):
            return
        if self.headers.get("Transfer-Encoding") or self.headers.get("Content-Length", "0") != "0":
            self.close_connection = True  # we do not read bodies
            self._drain = True
        self._route()

    def _route(self) -> None:
        host, path = self._target()
        if host is None:
            self.send_error(HTTPStatus.BAD_REQUEST)
        elif host and not self._status.allows(host):
            self._answer(
                _text(
                    HTTPStatus.FORBIDDEN,
                    "This page is not served under the name %s.\n"
                    "Open it by IP address or as localhost, or start the node with --http NAME:PORT."
                    % printable(host, 100),
                )
            )
        elif self.command not in ("GET", "HEAD"):
            allow = (("Allow", "GET, HEAD"),)
            self._answer(_text(HTTPStatus.METHOD_NOT_ALLOWED, "Nothing can be changed here.", allow))
        elif path == "/events":
            self._stream()
        else:
            make = self._status.page(path)
            if make is None:
                self._answer(_text(HTTPStatus.NOT_FOUND, "There is no such page."))
            else:
                self._answer(make())

    def _target(self) -> "Tuple[Optional[str], str]":
        """The host that is asked (``""`` if none is named, ``None`` if unsound), and the path."""
        named = self.headers.get_all("Host", [])
        if len(named) > 1 or (not named and self.request_version != "HTTP/1.0"):
            return None, ""
        # An empty one is a name like any other, that is not ours.
        host = (named[0].strip() or "(none)") if named else ""
        target = self.path
        absolute = re.match("(?i)https?://([^/?#]*)(.*)", target)
        if absolute is not None:  # as if we were a proxy; RFC 9112 section 3.2.2
            host, target = absolute.group(1) or "(none)", absolute.group(2) or "/"
        return host, re.split("[?#]", target, maxsplit=1)[0]

    # -- out ---------------------------------------------------------------------------

    def _answer(self, answer: Answer) -> None:
        body = answer.body
        extra = list(answer.extra)
        if len(body) >= GZIP_FROM:
            extra.append(("Vary", "Accept-Encoding"))
            # Named, and not with q=0, which would mean: anything but that (RFC 9110 section 12.4.2).
            if re.search(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", self._said("Accept-Encoding")):
                compressed = answer.compressed()
                if compressed is not None:
                    body = compressed
                    extra.append(("Content-Encoding", "gzip"))
        extra.append(("Content-Length", "%d" % len(body)))
        extra.append(("Connection", "close" if self.close_connection else "keep-alive"))
        head = self._head(answer.status, answer.type, extra)
        # What we made may have taken a while; what counts is how long the client takes.
        if self._status.clients.now(self._client, ANSWERED, ANSWER_TIMEOUT):
            self.connection.sendall(head if self.command == "HEAD" else head + body)

    def _stream(self) -> None:
        """Tell events until one of us goes."""
        self.close_connection = True
        head = self._head(HTTPStatus.OK, EVENT_STREAM, [("Connection", "close")])
        self.connection.sendall(head)
        if self.command == "HEAD":
            return
        self.connection.sendall(b"retry: 2000\n\n")  # milliseconds until a browser comes back
        clients, news = self._status.clients, self._status.news
        position = news.position(self._said("Last-Event-ID"))
        while clients.now(self._client, STREAMING, KEEP_ALIVE + ANSWER_TIMEOUT):
            found = news.after(position, KEEP_ALIVE)
            if found is None:
                return
            data, position = found
            if not clients.now(self._client, STREAMING, ANSWER_TIMEOUT):
                return
            self.connection.sendall(data or b": still here\n\n")

    def _said(self, header: str) -> str:
        return str(self.headers.get(header, ""))

    def _head(self, status: HTTPStatus, type: str, extra: "List[Tuple[str, str]]") -> bytes:
        """The status line and the headers.  Nothing in them came from a peer or a client."""
        headers = [
            ("Server", "p2p_plain/" + __version__),
            ("Date", self.date_time_string()),
            ("Content-Type", type),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ]
        lines = ["HTTP/1.1 %d %s" % (status.value, status.phrase)]
        lines += ["%s: %s" % pair for pair in headers + extra]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")

    # -- what the base class calls -------------------------------------------------------

    def send_error(
        self, code: int, message: "Optional[str]" = None, explain: "Optional[str]" = None
    ) -> None:
        """Say what is wrong with a request that makes no sense, and close."""
        self.close_connection = True
        self._drain = True
        if not hasattr(self, "headers"):  # wrong before any had come
            self.headers = self.MessageClass()
        status = HTTPStatus(code)
        self._answer(_text(status, printable(message or status.phrase, 200)))

    def handle_expect_100(self) -> bool:
        """Say nothing: the answer does not depend on the body that would come."""
        return True

    def log_message(self, format: str, *args: "Any") -> None:
        """Nothing: the base class would write a line to the user's terminal."""


def _text(
    status: HTTPStatus, text: str, extra: "Tuple[Tuple[str, str], ...]" = ()
) -> Answer:
    body = text.encode("utf-8", "backslashreplace") + b"\n"
    return Answer(TEXT, body, status, extra)
