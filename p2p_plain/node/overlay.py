"""The rules of the network as one object: what arrives is given to the part that it concerns.

Theory of operation
===================

The plumbing (``session``, ``connector``, and ``pinger``, which ticks five times a second) calls in
here when something happened::

    receive(link, message)     a message arrived         on that connection's reader thread
    closed(link, reason)       a connection ended        on that connection's reader thread
    dial_failed(address, ...)  a dial made no connection on the thread that tried
    tick()                     time has passed           on the pinger's thread

Three parts decide, each with its own state and lock: ``membership`` (hello, ties, ping, bye),
``discovery`` (getaddr, addr, dialing) and ``talk`` (applications' messages).  They call out through
what they were given: ``dial(address, ...)`` puts a dial into the connector's queue, ``link.send``
and ``link.close`` never block, ``emit`` reports an event, and ``hooks`` serves those who build on
the node.

There are no sockets and no threads here, and the clock and the randomness are passed in.  So the
same code runs a real node and the simulated networks of the tests.
"""

from random import Random

from ..common.address import Address
from ..common.config import Config
from ..common.counters import Tally
from ..common.errors import PeerLeft, PeerMisbehaved
from ..common.events import DEBUG, INFO, Events
from ..common.outcomes import OK, RESET, TIMEOUT, WRONG_PEER
from ..common.typing import Callable, Optional
from . import messages
from .address_book import AddressBook
from .discovery import Dial, Discovery
from .hooks import DialEnd, Hooks, Lines
from .lateness import Lateness
from .membership import Membership
from .messages import Addr, AnyMessage, Bye, GetAddr, Hello, Message, Ping, Pong, Unknown
from .myself import Myself
from .peer import ADMITTED, GREETING, OUTBOUND, OVER, SUPERSEDED, UP, Link
from .peer_table import PeerTable
from .talk import Talk


class Overlay:
    """The rules of the network, for one node.  Any thread may call any method."""

    def __init__(
        self,
        myself: Myself,
        config: Config,
        table: PeerTable,
        book: AddressBook,
        events: Events,
        dial: Dial,
        clock: Callable[[], float],
        rng: Random,
        tick_interval: float,
        hooks: Optional[Hooks] = None,
    ) -> None:
        # Immutable; each of the objects has its own lock.
        self.myself = myself
        self.table = table
        self.book = book
        self.hooks = hooks or Hooks()
        self.lateness = Lateness(tick_interval, clock())
        self.discovery = Discovery(
            myself.nodeid, config.max_peers, table, book, dial, rng, self.hooks
        )
        self.membership = Membership(
            myself,
            config,
            table,
            book,
            self.discovery,
            events,
            self.lateness,
            clock,
            rng,
            tick_interval,
        )
        self.talk = Talk(myself.nodeid, table, events, rng)
        self.dial_failures = Tally()
        """By reason, of dials and probes alike, since the start."""
        self._config = config
        self._events = events
        self._clock = clock
        self._rng = rng
        # The pinger's thread only.
        self._ask_at = clock() + config.ping_interval
        self.hooks.attach(self)

    def start(self) -> None:
        """Dial the bootstrap addresses, and what the peers file remembered."""
        self.discovery.dial_more(self._clock())

    def stop(self) -> None:
        """Dial nobody and let nobody in from now on."""
        self.discovery.stop()
        self.membership.stop()

    # -- what the plumbing reports --------------------------------------------------------

    def receive(self, link: Link, message: AnyMessage) -> Lines:
        """Return what to answer, as encoded lines.

        Raises ``PeerMisbehaved`` or another ``Refused`` to end the connection with a ``bye``, and
        ``PeerLeft`` if the other end has said ``bye``.
        """
        kind = type(message)
        if link.state is GREETING or isinstance(message, (Hello, Bye)):
            return self._greet(link, message)
        welcome = link.state is ADMITTED and kind is not Addr and kind is not Unknown
        if welcome and self.membership.welcome(link):
            self.talk.welcomed(link)
        if kind is Ping:
            return (messages.PONG,)
        peer = link.peer
        if peer is not None:  # else a guest: a probe that stays to ask
            if kind is Pong:
                self.membership.pong(peer)
            elif kind is GetAddr:
                return (self.discovery.addresses_for(link, self._clock()),)
            elif isinstance(message, Addr):
                self.discovery.heard(peer, message, self._clock())
            elif isinstance(message, Message):
                self.talk.heard(peer, message)
        if kind in messages.REGISTERED:
            return self.hooks.received(link, message)
        return ()

    def closed(self, link: Link, reason: str, detail: str = "") -> None:
        """The conversation is over.  Called exactly once for each link."""
        now = self._clock()
        state, link.state = link.state, OVER
        if link.peer is not None:
            self.membership.lost(link.peer, reason, now)
        if state is UP and reason == "protocol":
            self._events.log(INFO, "%s %s: %s %s", link.remote, link.direction, reason, detail)
        target = link.target
        if target is not None and state in (UP, SUPERSEDED):
            self.book.ended(target, now)
        unfinished = state in (GREETING, ADMITTED)
        if target is not None and link.wanted is not None and (link.probe or unfinished):
            outcome = _outcome(link, reason)
            end = DialEnd(link.wanted, target, outcome, link.connect_seconds, link.probe)
            self.discovery.ended(end, now)
        if unfinished and not link.probe:
            if target is not None:
                blame = state is GREETING and reason not in ("full", "duplicate", "self", "network")
                self.discovery.not_welcomed(target, now, blame)
            if reason not in ("self", "duplicate"):
                self.membership.refused(target or link.remote, reason, detail, link.direction)
        self.discovery.dial_more(now)

    def dial_failed(
        self,
        target: Address,
        probe: bool,
        wanted: Optional[str],
        reason: str,
        detail: str = "",
    ) -> None:
        """There is no connection to ``target``; ``reason`` is the word of a ``DialFailed``."""
        now = self._clock()
        self.dial_failures.count(reason)
        if wanted is not None:
            # A name that does not resolve, no descriptor left: says nothing about the other end.
            outcome = None if reason in ("unknown", "self") else reason
            self.discovery.ended(DialEnd(wanted, target, outcome, None, probe), now)
        if probe:
            self._events.log(DEBUG, "%s probe: %s %s", target, reason, detail)
            return
        if reason == "self":
            self.book.note_mine(target, now)
        self.discovery.not_welcomed(target, now, blame=reason != "self")
        if reason != "self":
            self.membership.refused(target, reason, detail, OUTBOUND)
        self.discovery.dial_more(now)

    def tick(self) -> None:
        """Do what is due.  The pinger's thread only; never blocks."""
        now = self._clock()
        self.lateness.beat(now)
        self.membership.tick(now)
        if now >= self._ask_at:
            self._ask_at = now + self._config.ping_interval
            peers = self.table.up()
            if peers:
                self._rng.choice(peers).link.send(messages.GETADDR)
        self.hooks.ticked(now)
        self.discovery.tick(now)

    def _greet(self, link: Link, message: AnyMessage) -> Lines:
        """Take the first message of a link, or a hello or bye at any time."""
        if isinstance(message, Bye):
            link.said_bye = True
            raise PeerLeft(message.reason, message.detail)
        if link.state is not GREETING:
            raise PeerMisbehaved("a second hello")
        if not isinstance(message, Hello):
            name = messages.name_of(message).replace("unknown", "of an unknown type")
            raise PeerMisbehaved("the first message was %s, not hello" % name)
        if link.target is None:
            return self.membership.accepted(link, message)
        return self.membership.dialed(link, message)

    # -- what the library asks ------------------------------------------------------------

    def dial(self, address: Address) -> None:
        """Dial ``address`` now, unless that is under way.  The outcome comes as an event."""
        self.membership.report_again(address)
        if self.book.knows_as_mine(address):
            self._events.emit("self", address=str(address))
        else:
            self.discovery.dial(address, self._clock())


def _outcome(link: Link, reason: str) -> Optional[str]:
    """Return what a dial has shown that led to a connection; None if nothing."""
    if link.said_bye and link.found is None:
        return None  # we were too late for it, perhaps
    if link.found is not None:
        return OK if link.found == link.wanted else WRONG_PEER
    return _WITHOUT_HELLO.get(reason)


_WITHOUT_HELLO = {"closed": RESET, "timeout": TIMEOUT, "protocol": WRONG_PEER}
"""Outcomes of connections without a hello.  A ``full`` instead of it may be said by anybody."""
