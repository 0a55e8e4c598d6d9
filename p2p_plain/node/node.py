"""A node: builds the parts, starts them in order, stops them in reverse.

Nothing is decided here and nothing is read from a socket; this is where the parts get to know each
other.  ``full_node`` adds the monitor and the status page.
"""

import functools
import importlib
import itertools
import random
import socket
import threading
import time

from .. import __version__
from ..common.address import Address, from_sockaddr, is_ip, site
from ..common.config import DEFAULT_PORT, MAX_NAME, Config, dialable, seconds, whole
from ..common.errors import CannotStart, DialFailed, NotRunning, PeerBusy, UsageError
from ..common.events import (
    BESIDE, ERROR, EVENTS, EVERYTHING, INFO, TRACE, WARNING, Callback, Events, types_by_name,
)
from ..common.machine import descriptors, dialable_addresses, host_name, look_up
from ..common.threads import Crew, end_a_first_thread
from ..common.typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Tuple, Union
from .address_book import AddressBook
from .connector import Connector
from .discovery import MAX_DIALS
from .hooks import Hooks
from .lateness import Lateness
from .listener import Listener
from .messages import encode_bye, new_uuid
from .myself import Myself
from .overlay import Overlay
from .parts import Parts
from .peer import INBOUND, Order, PeerInfo
from .peer_table import PeerTable
from .peers_file import PeersFile
from .pinger import Pinger
from .session import LINGER, Session
from .sessions import Sessions
from .shelf import MAX_BOOK
from .transport import POLL_SLICE

if TYPE_CHECKING:
    from ..common.event_types import AnyEvent
    from .handshake import Secret

TICK = 0.2
"""Seconds between two ticks of the pinger.  A ping, a timeout or a retry is at most that late;
shorter intervals, as tests have them, make it shorter."""

RESERVED_DESCRIPTORS = 32
"""Descriptors that no peer gets: sixteen for dials, the others for newcomers, for files, and for
what the program around us has open.  A node without descriptors cannot even say that it is full."""

BOOKED_PER_IP = 2
"""Addresses in the book of one host, for each connection that it may have: 64 by default.  A user who
allows more nodes behind one address wants to know them too.  Some of the ports are of nodes that have
gone."""

ANY_NUMBER = 1000000
"""The bound for connections from one address where all peers are members."""

BUSY_PAUSE = 0.01
"""Seconds after which a broadcast that waits is tried again: the time of a message at the default rate."""

STOP_DEADLINE = 0.9
"""Seconds that ``stop`` takes at the longest, whatever the peers do."""

LEAVE_DEADLINE = 0.4
"""Seconds that ``stop`` waits for a first peer if there are broadcasts that no peer has taken yet."""


class Node:
    """One member of the network: the article's node, without a monitor.

    Use it as a context manager, or call ``start`` and ``stop``.  A node lives once, as its nodeid
    does.  Before ``start`` it takes only ``on`` and ``stop``.  After ``stop`` it still answers
    questions, but starts, dials, says and reports nothing any more.  What does not work at the moment
    raises ``NotRunning``.  Any thread may call any method.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.nodeid = new_uuid(random.SystemRandom())
        """A random UUID, for this session only."""
        self.name = config.name or host_name()[:MAX_NAME]
        """The label that others see."""
        self._events = Events()
        self._crew = Crew(lambda text: self._events.log(ERROR, "%s", text))
        self._sessions = Sessions()
        self._peers_file: Optional[PeersFile] = None
        self._secret: Optional[Secret] = None
        self._session: Callable[..., Session] = Session
        """Makes the session of a connection."""
        self._started_at = 0.0
        self._outbound_numbers = itertools.count(1)  # next() is one step, for sixteen threads too

        # Held while the parts are built and started: a stop from another thread, or from a callback
        # that hears of "listening", waits that moment.
        self._life = threading.Lock()
        self._was_started = False
        """True from the start on, also after the stop."""
        self._stopping = threading.Event()
        self._leaving = False
        """True once ``stop`` has begun to close connections."""
        self._stopped = threading.Event()

        # Held to decide which thread stops first.
        self._lock = threading.Lock()

    # -- life -----------------------------------------------------------------------------

    def start(self) -> "Node":
        """Listen, and begin to dial.  Return the node itself, at once.

        Raises ``CannotStart`` if the machine does not allow it (port taken, address not ours), and
        ``NotRunning`` if the node was started or stopped before.
        """
        with self._life:
            if self._stopping.is_set():
                raise NotRunning("the node was stopped and can be started only once; make another")
            if self._was_started:
                raise NotRunning("the node runs already; start() and with are once for each")
            try:
                self._build()
                self._was_started = True
                self._launch()
            except BaseException as error:
                self._stopping.set()
                if self._was_started:
                    self._shut_down("it could not start")
                else:
                    self._close_extras()
                self._stopped.set()
                if isinstance(error, RuntimeError):
                    raise CannotStart("no more threads to be had; see ulimit -u") from error
                raise
        return self

    def _build(self) -> None:
        """Make the parts.  Whatever can fail comes before the port is taken, and that last."""
        config = self.config
        rng = random.Random()
        max_per_ip, booked_per_ip = config.max_per_ip, BOOKED_PER_IP * config.max_per_ip
        if config.secret_file:
            # Imported only where it is wanted: cryptography takes 3 of the 60 ms of a start.
            members = importlib.import_module("p2p_plain.node.member_session")
            self._secret = members.Secret(config.secret_file)
            self._session = functools.partial(members.MemberSession, self._secret)
            # Strangers have no say, so no bound needs to keep them from crowding others out.
            max_per_ip, booked_per_ip = ANY_NUMBER, MAX_BOOK
        self._book = AddressBook(rng, booked_per_ip)
        if config.peers_file is not None:
            self._peers_file = PeersFile(config.peers_file, self._book, self._events)
            self._peers_file.read()
        advertise = None if config.advertise is None else _resolved(config.advertise)
        seats = self._build_extras(max(1, descriptors() - RESERVED_DESCRIPTORS))
        make_room = self._sessions.evict_stranger
        self._listener = Listener(
            config.bind, config.port, self._crew, self._serve_inbound, make_room,
            max_per_ip, self._too_many,
        )
        self._started_at = time.monotonic()
        listening = self._listener.listening
        addresses = dialable_addresses(listening)
        self._myself = Myself(
            nodeid=self.nodeid,
            name=self.name,
            agent="p2p_plain/" + __version__,
            network=config.network,
            port=listening.port,
            advertise=advertise,
            wildcard=listening.wildcard,
            addresses=addresses,
            http=self._http_port(addresses),
        )
        seats = min(config.max_peers, seats)
        self._table = PeerTable(
            self.nodeid, seats, time.monotonic, self._events.emit, self._secret is not None
        )
        is_mine = self._book.knows_as_mine
        self._connector = Connector(
            self._crew, MAX_DIALS, self._serve_outbound, self._dial_failed, is_mine
        )
        tick_interval = min(TICK, config.ping_interval / 4, config.ping_timeout / 4)
        self._overlay = Overlay(
            Parts(
                config=config,
                myself=self._myself,
                table=self._table,
                book=self._book,
                events=self._events,
                dial=self._connector.order,
                hooks=self._make_hooks(rng),
                lateness=Lateness(tick_interval, time.monotonic()),
                clock=time.monotonic,
                rng=rng,
                tick_interval=tick_interval,
            )
        )
        self._pinger = Pinger(tick_interval, self._tick, self._crew.report)
        self._dispatcher = threading.Thread(target=self._events.run, name="events", daemon=True)
        self._trace = self._report_trace if self._events.wants(TRACE) else None

    def _launch(self) -> None:
        """Start the threads: those that report first, those that dial last."""
        end_a_first_thread()
        self._book.add_bootstrap(self.config.bootstrap, time.monotonic())
        self._dispatcher.start()
        self._events.emit(
            "listening",
            nodeid=self.nodeid,
            name=self.name,
            addresses=list(self.addresses),
            **self._about_extras()
        )
        self._launch_extras()
        self._listener.start()
        self._pinger.start()
        if self._peers_file is not None:
            self._crew.start("keeper", self._peers_file.keep, self._stopping)
        self._overlay.start()

    def stop(self, reason: str = "stop") -> None:
        """Say goodbye to every peer and end every thread, within a second.

        What was said gets a moment to leave: 0.4 s for broadcasts that still wait for a first peer,
        and 0.5 s for peers to read what waits for them.  A warning is logged about the rest.  ``reason``
        is for the ``stopped`` event.

        May be called twice, before ``start``, and from a callback (then the thread that runs callbacks
        ends when the callback returns).
        """
        if not isinstance(reason, str):
            raise UsageError("reason", "%.60r is not a text" % (reason,))
        with self._lock:
            first = not self._stopping.is_set()
            self._stopping.set()
        if not first:
            # Another thread is at it; wait for that, unless it waits for us.
            if not self._events.on_dispatcher():
                self._stopped.wait(STOP_DEADLINE)
            return
        try:
            with self._life:
                running = self._was_started
            if running:
                self._shut_down(reason)
        finally:
            self._stopped.set()

    def _shut_down(self, reason: str) -> None:
        """Stop the parts in reverse, against one deadline.  Any of them may not have begun."""
        deadline = time.monotonic() + STOP_DEADLINE
        if self._pinger.is_alive():
            unsent = self._overlay.talk.wait_until_taken(LEAVE_DEADLINE)
            if unsent:
                self._events.log(WARNING, "broadcasts that nobody heard, for want of a peer: %d", unsent)
        self._leaving = True
        peers = self._table.count()
        self._close_extras()
        self._overlay.stop()
        self._pinger.cancel()
        self._listener.stop()
        self._connector.stop()
        sessions = self._sessions.all()
        for session in sessions:
            session.close("stopping")
        # Most peers close at once when they hear that; the others are cut off.
        linger = min(deadline, time.monotonic() + LINGER)
        while self._crew.wait(min(linger, time.monotonic() + POLL_SLICE)):
            if time.monotonic() >= linger:
                break
            self._sessions.tick(time.monotonic())
        for session in sessions:
            untaken = session.untaken()
            if untaken:
                text = "%s missed messages: it did not read the last %d bytes in time"
                self._events.log(WARNING, text, session.remote, untaken)
        for session in self._sessions.all():
            session.cut()
        left = self._crew.wait(deadline)
        if left:
            # They wait for a name server, which cannot be interrupted, or for a processor.
            text = "stopped after %g s all the same: threads that had not ended by then: %d"
            self._events.log(WARNING, text, STOP_DEADLINE, left)
        if self._pinger.is_alive():
            self._pinger.join(max(0.0, deadline - time.monotonic()))
        uptime = round(time.monotonic() - self._started_at, 3)
        self._events.emit("stopped", reason=reason, peers=peers, uptime_seconds=uptime)
        self._events.close()
        if self._dispatcher.is_alive() and not self._events.on_dispatcher():
            self._dispatcher.join(max(0.0, deadline - time.monotonic()))

    def __enter__(self) -> "Node":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        if self._stopping.is_set():
            state = "stopped" if self._stopped.is_set() else "stopping"
        elif not self._was_started:
            state = "not started"
        else:
            state = "at %s, peers: %d" % (", ".join(self.addresses), self._table.count())
        return "<%s %r %s, %s>" % (type(self).__name__, self.name, self.nodeid[:8], state)

    # -- what a node with more to it overrides ----------------------------------------------

    def _build_extras(self, seats: int) -> int:
        """Make the extras, before the port is taken; return how many of the seats peers get."""
        return seats

    def _launch_extras(self) -> None:
        """Start the extras, after the dispatcher and before the listener."""

    def _about_extras(self) -> Dict[str, str]:
        """Return what ``listening`` says of the extras."""
        return {}

    def _close_extras(self) -> None:
        """Stop the extras, before all other parts; they may not have begun."""

    def _make_hooks(self, rng: random.Random) -> Hooks:
        """Return what listens to the rules."""
        return Hooks()

    def _http_port(self, addresses: Tuple[Address, ...]) -> Optional[int]:
        """Return the port of the status page that our hello gives."""
        return None

    def read_secret_again(self) -> None:
        """Read the files of ``secret_file`` again.  Connections that stand go on with their old keys.

        If that fails, the keys stay as they are, and the log says why.
        """
        self._live()
        if self._secret is None:
            return
        try:
            self._secret.read_again()
        except CannotStart as error:
            self._events.log(WARNING, "the keys stay as they are: %s", error)
        else:
            self._events.log(INFO, "keys: %s", ", ".join(key.id for key in self._secret.keys))

    # -- questions --------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port where it listens."""
        return self._started().myself.port

    @property
    def addresses(self) -> Tuple[str, ...]:
        """The addresses that others can dial (``"host:port"``), the best first."""
        myself = self._started().myself
        own = myself.addresses if myself.advertise is None else (myself.advertise,)
        return tuple(str(address) for address in own)

    def peers(self) -> List[PeerInfo]:
        """Return a copy of the list of peers that are up now, the longest connected first."""
        return self._started().table.snapshot({})

    def wait_for_peers(self, count: int = 1, timeout: Optional[float] = None) -> List[PeerInfo]:
        """Wait until at least ``count`` peers are up, and return all that are.

        Raises ``TimeoutError`` after ``timeout`` seconds, which says how many there were, and
        ``NotRunning`` if the node is stopped meanwhile.
        """
        count = whole("count", count, 0, 1000000)
        timeout = _timeout(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._live().table.wait_for(count, deadline):
            self._live()
            peers = len(self.peers())
            raise TimeoutError("%d of %d peers after %g s" % (peers, count, timeout or 0.0))
        return self.peers()

    # -- talk -------------------------------------------------------------------------------

    def dial(self, address: Union[str, Address]) -> None:
        """Dial ``"host:port"`` and return at once; the event ``peer_up``, ``refused`` or ``self`` follows.

        No event follows if a peer lives there already.  A host alone means port 6000.  Raises
        ``UsageError`` if it is no address, or one that nobody can dial.
        """
        self._live().dial(dialable("address", address, DEFAULT_PORT))

    def send(self, nodeid: str, body: Any) -> str:
        """Say ``body`` (any JSON value, a little under 64 KiB) to one peer.  Return the message's id.

        The message is on its way then, which is not yet arrived.  Raises ``NotConnected`` if that
        node is not a peer now, ``PeerBusy`` if it does not read what it was sent before,
        ``MessageTooLong``, and ``TypeError`` or ``ValueError`` for a body that JSON cannot say.
        """
        if not isinstance(nodeid, str):
            raise UsageError("nodeid", "%.60r is not a text; see peers()" % (nodeid,))
        return self._live().talk.send(nodeid.lower(), body)

    def broadcast(self, body: Any, wait: bool = False) -> str:
        """Say ``body`` to every node, peer of this one or not.  Return the message's id.

        While there is no peer, the last hundred broadcasts are kept for the next one.  A peer that
        reads too slowly misses some.  Half of ``max_rate`` is as fast as others surely read: a
        program that is faster gets ``PeerBusy``, or waits here if ``wait`` is true.  Raises
        ``NotRunning`` if the node is stopped meanwhile, ``MessageTooLong``, and ``TypeError`` or
        ``ValueError`` for a body that JSON cannot say.
        """
        while True:
            try:
                return self._live().talk.broadcast(body)
            except PeerBusy:
                if not wait:
                    raise
            self._stopping.wait(BUSY_PAUSE)

    def events(self, timeout: Optional[float] = None) -> "Iterator[AnyEvent]":
        """Iterate over events as they happen, beginning with the last thousand before.

        Ends after ``timeout`` seconds in all, or when the node has stopped.  Any number of threads
        may iterate, each with an iterator of its own.
        """
        timeout = _timeout(timeout)
        self._started()
        return self._events.stream().read(timeout)

    @types_by_name
    def on(self, event: str, callback: Callback) -> None:
        """Call ``callback(event)`` for each event of that name from now on; ``"*"`` means every event.

        All callbacks run on one thread, one after the other: a slow one delays the others, and no
        peer.  One that fails is logged.  Before ``start`` the name may be ``"trace"``: every line on
        the wire.  Raises ``UsageError`` for an unknown name, and for what cannot be called.
        """
        if not isinstance(event, str) or event not in EVENTS.union(BESIDE, (EVERYTHING,)):
            known = ", ".join(sorted(EVENTS))
            text = "no %.60r; there are %s, *, and before the start trace"
            raise UsageError("event", text % (event, known))
        if not callable(callback):
            raise UsageError("callback", "%.60r cannot be called" % (callback,))
        if self._was_started or self._stopping.is_set():
            self._live()
            if event == TRACE:
                raise UsageError("event", "the trace has to be asked for before the start")
        self._events.on(event, callback)

    def _started(self) -> Overlay:
        if not self._was_started:
            if self._stopping.is_set():
                raise NotRunning("the node was stopped before it ran; make another")
            raise NotRunning("the node has not been started; call start() first")
        return self._overlay

    def _live(self) -> Overlay:
        overlay = self._started()
        if self._stopping.is_set():
            raise NotRunning("the node has been stopped; make another")
        return overlay

    # -- the parts meet ---------------------------------------------------------------------

    def _serve_inbound(self, sock: socket.socket, sockaddr: Any) -> None:
        """Serve a connection that comes from ``sockaddr``.  Its own thread."""
        self._serve(sock, from_sockaddr(sockaddr))

    def _too_many(self, remote: Address) -> bytes:
        """Report a connection beyond the bound for its address; return the bye.  The listener's thread."""
        detail = "%d connections from %s, and --max-per-ip allows no more"
        detail %= (self.config.max_per_ip, site(remote.host))
        self._overlay.membership.failures.report(remote, "full", detail, INBOUND, level=WARNING)
        return encode_bye("full", detail)

    def _serve_outbound(self, order: Order, sock: socket.socket, seconds: float) -> None:
        """Give a connection that a connector's thread has made a thread of its own."""
        name = "outbound-%d" % next(self._outbound_numbers)
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
            session = self._session(
                sock, self._overlay, self.config, self._trace, remote, order, connect_seconds,
                self._sessions.backlog,
            )
        except OSError as error:  # gone before we looked
            sock.close()
            if order is not None:
                self._dial_failed(order, DialFailed("reset", error.strerror or ""))
            return
        self._sessions.enter(session)
        try:
            if self._leaving:  # stop() may have looked for sessions before we entered
                session.close("stopping")
            session.run()
        finally:
            self._sessions.leave(session)

    def _dial_failed(self, order: Order, failure: DialFailed) -> None:
        self._overlay.dial_failed(order, failure)

    def _tick(self) -> None:
        self._sessions.tick(time.monotonic())
        self._connector.tick()
        self._overlay.tick()

    def _report_trace(self, direction: str, session: Session, lines: bytes) -> None:
        thread = self._crew.name()
        for line in lines.splitlines():
            self._events.emit(
                TRACE,
                thread=thread,
                direction=direction,
                peer=str(session.remote),
                line=line.decode("utf-8", "backslashreplace"),
                size=len(line),
            )


def _timeout(value: Optional[float]) -> Optional[float]:
    return None if value is None else seconds("timeout", value, 0)


def _resolved(advertise: Address) -> Address:
    """Return a numeric address: a name could make every node ask its name server."""
    if is_ip(advertise.host):
        return advertise
    found = look_up("--advertise %s" % advertise.host, advertise.host, advertise.port)
    return from_sockaddr(found[0][4])
