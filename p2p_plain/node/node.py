"""A node: builds the parts, starts them in order, stops them in reverse.

Nothing is decided here and nothing is read from a socket; this is where the parts learn of
each other.  The threads of a node:

=================  ==============================================================
``listener``       accepts connections, and starts a thread for each
``inbound-N``      one a connection that was dialed by the other end
``outbound-N``     one a connection that we dialed
``connector-N``    up to sixteen that dial
``pinger``         the Timer: pings, timeouts, what else is due
``events``         calls the callbacks, feeds ``events()``, writes the log
``keeper``         writes the peers file, if there is one
``http``           accepts who looks at the status page, if there is one
``http-N``         one for each of those
=================  ==============================================================
"""

import importlib
import itertools
import os
import random
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Tuple, Type

from .. import __version__
from ..common.address import Address, from_sockaddr, is_ip
from ..common.config import DEFAULT_PORT, LINGER, MAX_NAME, SAVE_INTERVAL, Config, dialable
from ..common.errors import CannotStart, DialFailed, why
from ..common.events import ERROR, WARNING, Callback, Event, Events
from ..common.threads import Crew
from . import address_book
from .address_book import AddressBook
from .connector import Connector, Order
from .listener import Listener, dialable_addresses
from .messages import Links, new_uuid
from .overlay import Myself, Overlay
from .peer_table import PeerInfo, PeerTable
from .pinger import Pinger
from .session import Session, Sessions
from .transport import POLL_SLICE

if TYPE_CHECKING:
    from ..web.pages import Status



TICK = 0.2
"""Seconds between two beats of the pinger.  It bounds how late a ping, a timeout or a retry
is; shorter intervals, as tests have them, make it shorter."""

RESERVED_DESCRIPTORS = 32
"""Descriptors that no peer gets: sixteen for dials, the others for who knocks, for files, and for
what the program around us has open.  A node that is out of descriptors cannot even say that it
is full."""

LOOKERS_SHARE = 1 / 4
"""Of the others, the part for those who look at the status page, if it serves them at all."""

STOP_DEADLINE = 0.9
"""Seconds that ``stop`` takes at the longest, whatever the peers do."""


class Node:
    """One member of the network.

    ``Node(**settings)`` takes the settings of ``config.Config``, which are the options of the
    command line with underscores, but for those about output; raises ``UsageError`` for one that
    cannot be meant.  Use it as a context manager, or call ``start`` and ``stop``.  Any thread may
    call any method.

    >>> with Node(port=0, bootstrap=["127.0.0.1:6000"]) as node:
    ...     node.broadcast({"text": "hello, everyone"})
    ...     for event in node.events(timeout=10):
    ...         print(event)
    """

    def __init__(self, **settings: Any) -> None:
        self.config = Config(**settings)
        self.nodeid = new_uuid(random.SystemRandom())
        """A random UUID, for this session only."""
        self.name = self.config.name or _host_name()
        """The label that others see."""
        path = self.config.peers_file
        self._peers_path = None if path is None else _real(path)
        self._events = Events()
        self._crew = Crew(lambda text: self._events.log(ERROR, "%s", text))
        self._sessions = Sessions()
        self._status: Optional[Status] = None
        self._started_at = 0.0
        self._outbound = itertools.count(1)  # next() is one step, for sixteen threads too

        # Held while the parts are built and started: a stop from another thread, or from a
        # callback that hears of "listening", waits that moment.
        self._life = threading.Lock()
        self._running = False
        self._stopping = threading.Event()
        self._stopped = threading.Event()

        # Guards the question who stops first.
        self._lock = threading.Lock()

    # -- life -----------------------------------------------------------------------------

    def start(self) -> "Node":
        """Listen, and begin to dial; returns at once.

        Raises ``CannotStart`` (port taken, address not ours); ``RuntimeError`` if it was
        started before: a node lives once, as its nodeid does.
        """
        with self._life:
            if self._running or self._stopping.is_set():
                raise RuntimeError("a node can be started only once; make another")
            try:
                self._build()
                self._running = True
                self._launch()
            except BaseException as error:
                self._stopping.set()
                if self._running:
                    self._shut_down("it could not start")
                elif self._status is not None:
                    self._status.stop()
                self._stopped.set()
                if isinstance(error, RuntimeError):
                    raise CannotStart("no more threads to be had; see ulimit -u") from error
                raise
        return self

    def _build(self) -> None:
        """Make the parts.  All that can fail comes before the port is taken, and that last."""
        config = self.config
        rng = random.Random()
        self._book = AddressBook(rng)
        self._read_peers_file()
        advertise = None if config.advertise is None else _resolved(config.advertise)
        places = max(1, descriptors() - RESERVED_DESCRIPTORS)
        if config.http is not None:
            lookers = max(1, int(places * LOOKERS_SHARE))
            self._status = _status_page()(
                self, config.http.host, config.http.port, self._crew, lookers
            )
            places = max(1, places - self._status.clients.most)
        self._listener = Listener(
            config.bind,
            config.port,
            self._crew,
            self._serve_inbound,
            self._sessions.evict_stranger,
        )
        self._started_at = time.monotonic()
        listening = self._listener.listening
        self._myself = Myself(
            nodeid=self.nodeid,
            name=self.name,
            agent="p2p_plain/" + __version__,
            network=config.network,
            port=listening.port,
            advertise=advertise,
            wildcard=listening.wildcard,
            addresses=dialable_addresses(listening),
        )
        places = min(config.max_peers, places)
        self._table = PeerTable(self.nodeid, places, time.monotonic, self._events.emit)
        self._connector = Connector(
            self._crew, self._serve_outbound, self._dial_failed, self._book.knows_as_mine
        )
        tick = min(TICK, config.ping_interval / 4, config.ping_timeout / 4)
        self._overlay = Overlay(
            self._myself,
            config,
            self._table,
            self._book,
            self._events,
            self._connector.order,
            time.monotonic,
            rng,
            tick,
        )
        self._pinger = Pinger(tick, self._beat, self._crew.report)
        self._dispatcher = threading.Thread(target=self._events.run, name="events", daemon=True)
        self._trace = self._tell_trace if self._events.wants("trace") else None

    def _launch(self) -> None:
        """Start the threads, those that tell first and those that dial last."""
        self._crew.prepare()
        self._book.add_bootstrap(self.config.bootstrap, time.monotonic())
        self._dispatcher.start()
        self._events.emit(
            "listening",
            nodeid=self.nodeid,
            name=self.name,
            addresses=[str(address) for address in self.addresses],
        )
        if self._status is not None:
            self._overlay.myself = self._myself._replace(http=self._status.public_port())
            self._status.start()
        self._listener.start()
        self._pinger.start()
        if self._peers_path is not None:
            self._crew.start("keeper", self._keep)
        self._overlay.start()

    def stop(self, reason: str = "stop") -> None:
        """Say goodbye to every peer and end every thread, within a second.

        May be called twice, before ``start``, and from a callback (then the thread that runs
        callbacks ends when the callback returns).
        """
        with self._lock:
            first = not self._stopping.is_set()
            self._stopping.set()
        if not first:
            # Someone else is at it; wait for that, unless it waits for us.
            if not self._events.on_dispatcher():
                self._stopped.wait(STOP_DEADLINE)
            return
        try:
            with self._life:
                running = self._running
            if running:
                self._shut_down(reason)
        finally:
            self._stopped.set()

    def _shut_down(self, reason: str) -> None:
        """Stop the parts in reverse, against one deadline.  Any of them may not have begun."""
        deadline = time.monotonic() + STOP_DEADLINE
        peers = self._table.count()
        if self._status is not None:
            self._status.stop()
        self._overlay.stop()
        self._pinger.cancel()
        self._listener.stop()
        self._connector.stop()
        for session in self._sessions.all():
            session.close("stopping")
        # Most peers close at once when they hear that; whoever does not is cut off.
        linger = min(deadline, time.monotonic() + LINGER)
        while self._crew.wait(min(linger, time.monotonic() + POLL_SLICE)):
            if time.monotonic() >= linger:
                break
            self._sessions.attend(time.monotonic())
        for session in self._sessions.all():
            session.cut()
        left = self._crew.wait(deadline)
        if left:
            # They wait for a name server, which cannot be interrupted, or for a processor.
            told = "stopped after %g s all the same: threads that had not ended by then: %d"
            self._events.log(WARNING, told, STOP_DEADLINE, left)
        if self._pinger.is_alive():
            self._pinger.join(max(0.0, deadline - time.monotonic()))
        self._events.emit(
            "stopped",
            reason=reason,
            peers=peers,
            uptime_seconds=round(time.monotonic() - self._started_at, 3),
        )
        self._events.close()
        if self._dispatcher.is_alive() and not self._events.on_dispatcher():
            self._dispatcher.join(max(0.0, deadline - time.monotonic()))

    def __enter__(self) -> "Node":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- questions --------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._live().myself.port

    @property
    def addresses(self) -> Tuple[Address, ...]:
        """What to tell others to dial, the best first."""
        myself = self._live().myself
        return myself.addresses if myself.advertise is None else (myself.advertise,)

    def peers(self) -> List[PeerInfo]:
        """The peers that are up now, longest connected first; a copy."""
        return self._live().peers()

    def matrix(self) -> List[Dict[str, Any]]:
        """Who can reach whom, as far as it is known here: each node's row, this one's own first.

        A row is a dict with ``nodeid``, ``name``, ``age`` (seconds since it was measured),
        ``lag_ms`` (how late that node itself ran) and ``links``, a list of dicts: what it measured
        to each other node.  ``wire.rst`` lists their fields.
        """
        return [
            {
                "nodeid": row.nodeid,
                "name": row.name,
                "age": round(row.age, 1),
                "lag_ms": row.lag_ms,
                "links": list(row.links),
            }
            for row in self.rows()
        ]

    def rows(self) -> List[Links]:
        """The same as the objects in which it came."""
        return self._live().rows()

    def counters(self) -> Dict[str, Any]:
        """What was counted since the start.

        ``messages`` by (``"in"`` or ``"out"``, msgtype), ``bytes`` by direction, ``dial_failures``
        by reason (probes included), ``pings`` (``buckets`` of pairs: an upper bound in seconds,
        and how many round trips took at most that; ``sum`` in seconds, ``count``),
        ``uptime_seconds``, ``lag_seconds`` (how late the node itself runs), and ``http``: by nodeid,
        ``"host:port"`` of the status pages of peers.
        """
        overlay, traffic = self._live(), self._sessions.traffic()
        buckets, total, count = overlay.round_trips.read()
        found = {("in", msgtype): number for msgtype, number in traffic.heard.items()}
        found.update((("out", msgtype), number) for msgtype, number in traffic.said.items())
        return {
            "messages": found,
            "bytes": {"in": traffic.bytes_in, "out": traffic.bytes_out},
            "dial_failures": overlay.dial_failures.counts(),
            "pings": {"buckets": buckets, "sum": total, "count": count},
            "uptime_seconds": round(time.monotonic() - self._started_at, 3),
            "lag_seconds": overlay.lateness(),
            "http": {
                peer.nodeid: str(Address(peer.address.host, peer.hello.http))
                for peer in overlay.table.up()
                if peer.hello.http is not None
            },
        }

    def lateness(self) -> float:
        """How late this node itself runs, in seconds: what one beat in ten of its pinger exceeds."""
        return self._live().lateness()

    def stale_after(self) -> float:
        """Seconds after which a row of the matrix says nothing about now.

        Three times as many as lie between two rows of one node, if it is set as this one is.
        """
        return self._live().stale_after()

    # -- talk -------------------------------------------------------------------------------

    def dial(self, address: str) -> None:
        """Dial ``"host:port"``; returns at once, ``peer_up``, ``refused`` or ``self`` follows.

        Nothing follows if its node is a peer already.  Raises ``UsageError`` for what is no
        address, or one that nobody can dial.
        """
        self._live().dial(dialable("address", address, DEFAULT_PORT))

    def send(self, nodeid: str, body: Any) -> str:
        """Say ``body`` (anything that JSON can) to one connected peer; the message's id.

        Returns when it is on its way, which is not yet arrived.  Raises ``NotConnected``,
        ``PeerBusy`` if that peer does not read, ``MessageTooLong``; ``TypeError`` or
        ``ValueError`` for what JSON cannot say.
        """
        return self._live().send(nodeid.lower(), body)

    def broadcast(self, body: Any) -> str:
        """Say ``body`` to everyone, also to those who are not our peers; the message's id.

        Before the first peer is up it is kept, and said to that one.  Raises as ``send`` does.
        """
        return self._live().broadcast(body)

    def events(self, timeout: Optional[float] = None) -> Iterator[Event]:
        """What happened and happens, as dicts, beginning with the last thousand.

        Ends after ``timeout`` seconds in all, or when the node has stopped.
        """
        return self._events.stream().read(timeout)

    def on(self, event: str, callback: Callback) -> None:
        """Call ``callback(event)`` for each event of that name, ``"*"`` for all.

        On one thread, one after the other: a slow callback delays the others, and no peer.
        """
        self._events.on(event, callback)

    def _live(self) -> Overlay:
        if not self._running:
            raise RuntimeError("the node has not been started")
        return self._overlay

    # -- the parts meet ---------------------------------------------------------------------

    def _serve_inbound(self, sock: socket.socket, place: Any) -> None:
        """The connection's own thread; it comes from ``place``."""
        self._serve(sock, from_sockaddr(place))

    def _serve_outbound(self, order: Order, sock: socket.socket, seconds: float) -> None:
        """A connector thread: the connection gets its own."""
        name = "outbound-%d" % next(self._outbound)
        try:
            self._crew.start(name, self._serve, sock, None, order, seconds)
        except RuntimeError:
            sock.close()
            self._dial_failed(order, DialFailed("unknown", "no more threads to be had"))

    def _serve(
        self,
        sock: socket.socket,
        remote: Optional[Address] = None,
        order: Optional[Order] = None,
        connect_seconds: Optional[float] = None,
    ) -> None:
        try:
            session = Session(
                sock,
                self._overlay,
                self.config.ping_timeout,
                self.config.max_rate,
                self._trace,
                remote=remote,
                target=None if order is None else order.address,
                probe=order is not None and order.probe,
                wanted=None if order is None else order.wanted,
                connect_seconds=connect_seconds,
            )
        except OSError as error:  # gone before we looked
            sock.close()
            if order is not None:
                self._dial_failed(order, DialFailed("reset", error.strerror or ""))
            return
        if not self._sessions.enter(session):
            session.close("full", "too many connections from your address")
            session.run()
            return
        try:
            if self._stopping.is_set():  # stop() may have looked for sessions before we entered
                session.close("stopping")
            session.run()
        finally:
            self._sessions.leave(session)

    def _dial_failed(self, order: Order, failure: DialFailed) -> None:
        self._overlay.dial_failed(
            order.address, order.probe, order.wanted, failure.outcome, failure.detail
        )

    def _beat(self) -> None:
        self._sessions.attend(time.monotonic())
        self._connector.attend()
        self._overlay.tick()

    def _tell_trace(self, direction: str, session: Session, lines: bytes) -> None:
        thread = self._crew.name()
        for line in lines.splitlines():
            self._events.emit(
                "trace",
                thread=thread,
                direction=direction,
                peer=str(session.remote),
                line=line.decode("utf-8", "backslashreplace"),
                size=len(line),
            )

    # -- the peers file -----------------------------------------------------------------------

    def _read_peers_file(self) -> None:
        """Before the dispatcher starts.  A file that is no good is moved aside, not overwritten."""
        path = self._peers_path
        if path is None:
            return
        folder = os.path.dirname(path)
        if not os.path.isdir(folder):
            raise CannotStart("there is no folder %s; see --peers-file" % folder)
        try:
            self._book.add_kept(address_book.load(path, time.time()), time.monotonic())
        except (OSError, ValueError) as error:
            aside = path + ".bad"
            try:
                os.replace(path, aside)
                told = "moved to %s" % aside
            except OSError as failed:
                self._peers_path = None
                told = "left there, and nothing will be saved: %s" % failed.strerror
            self._events.log(WARNING, "%s is damaged or unreadable (%s); %s", path, why(error), told)

    def _keep(self) -> None:
        """The keeper's thread: save what changed, every minute and at the end."""
        path = self._peers_path
        assert path is not None
        address_book.sweep(path, time.time())
        saved = 0
        complaint = ""
        while True:
            stopping = self._stopping.wait(SAVE_INTERVAL)
            changes = self._book.changes()
            if changes != saved:
                try:
                    address_book.save(path, self._book.kept(time.monotonic()), time.time())
                    saved = changes
                    complaint = ""
                except OSError as error:
                    if why(error) != complaint:  # once, not each minute for months
                        complaint = why(error)
                        self._events.log(WARNING, "cannot save %s: %s", path, complaint)
            if stopping:
                return


def _real(path: str) -> str:
    """A link stays a link: what it points at is written, and moved aside if it is no good."""
    try:
        return os.path.realpath(path)
    except OSError as error:  # relative to a folder that has been deleted under us
        raise CannotStart("cannot find %s from here: %s" % (path, why(error))) from error


def _status_page() -> "Type[Status]":
    """Imported only where it is wanted: ``http.server`` costs as much as all the rest."""
    page: Type[Status] = importlib.import_module("p2p_plain.web.pages").Status
    return page


def descriptors() -> int:
    """How many open files and sockets the system allows this process (``ulimit -n``)."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return sys.maxsize
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def _resolved(advertise: Address) -> Address:
    """What is told to others is numeric: a name could make everyone ask its name server."""
    if is_ip(advertise.host):
        return advertise
    try:
        found = socket.getaddrinfo(advertise.host, advertise.port, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        text = "--advertise %s: no such host (%s)" % (advertise.host, why(error))
        raise CannotStart(text) from error
    return from_sockaddr(found[0][4])


def _host_name() -> str:
    try:
        name = socket.gethostname()
    except OSError:
        name = ""
    return "".join(c for c in name if c.isprintable())[:MAX_NAME] or "node"
