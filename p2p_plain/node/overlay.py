"""The rules of the network as one object: each message goes to the part that it concerns.

The folder's docstring has the theory of operation.  Here are the four calls of the plumbing
(``receive``, ``closed``, ``dial_failed``, ``tick``), and what the library asks.
"""

import os
from binascii import hexlify

from ..common.address import Address
from ..common.counters import Tally
from ..common.errors import DialFailed, PeerLeft, PeerMisbehaved
from ..common.events import DEBUG, INFO
from ..common.outcomes import (
    FOREIGN, HANGS, MEMBERS_ONLY, NO_NODE, OK, RESET, TIMEOUT, TURNED_AWAY, UNAUTHORISED, UNKNOWN,
    WRONG_PEER,
)
from ..common.typing import TYPE_CHECKING, Optional, Tuple
from . import messages
from .discovery import Discovery
from .hooks import DialEnd, Lines
from .membership import Membership
from .messages import Addr, AnyMessage, AppMessage, Bye, GetAddr, Hello, Join, Ping, Pong, Unknown
from .parts import Parts
from .peer import (
    ADMITTED, ASKING, GREETING, GUEST, OUTBOUND, OVER, RIVAL, SUPERSEDED, UP, Link, Order,
)
from .talk import Talk

if TYPE_CHECKING:
    from .handshake import FirstHello


class Overlay:
    """The rules of the network, for one node.  Any thread may call any method."""

    def __init__(self, parts: Parts) -> None:
        # Immutable; each of the objects has its own lock.
        self.myself, self.table, self.book = parts.myself, parts.table, parts.book
        self.hooks, self.lateness = parts.hooks, parts.lateness
        self.discovery = Discovery(parts)
        self.membership = Membership(parts, self.discovery)
        self.talk = Talk(parts)
        self.dial_failures = Tally()
        """By reason, of dials and probes alike, since the start."""
        self._parts, self._events, self._clock = parts, parts.events, parts.clock
        # The pinger's thread only.
        self._ask_at = self._clock() + parts.config.ping_interval
        self.hooks.attach(self)

    def start(self) -> None:
        """Dial the bootstrap addresses, and what the peers file remembered."""
        self.discovery.dial_more(self._clock())

    def stop(self) -> None:
        """Dial nobody and let nobody in from now on."""
        self.discovery.stop()
        self.membership.stop()

    def first_line(self, link: Link) -> bytes:
        """Return our hello for a link that we have dialed."""
        # Not from the node's random numbers: a machine that is resumed twice has the same ones twice.
        link.token = hexlify(os.urandom(8)).decode("ascii")
        self.membership.rivals.note_said(link.token)
        return self.myself.hello(link)

    # -- what the plumbing reports --------------------------------------------------------

    def receive(self, link: Link, message: AnyMessage) -> Lines:
        """Return what to answer, as encoded lines.

        Raises ``PeerMisbehaved`` or another ``Refused`` to end the connection with a ``bye``, and
        ``PeerLeft`` if the other end has said ``bye``.
        """
        kind = type(message)
        if link.state == GREETING or isinstance(message, (Hello, Join, Bye)):
            return self._greet(link, message)
        confirms = link.state == ADMITTED and kind is not Addr and kind is not Unknown
        if confirms and self.membership.confirmed(link):
            self.talk.peer_is_up(link)
        if link.state == RIVAL:  # any answer would be a welcome
            self.membership.rivals.spoke(link)
            return ()
        if isinstance(message, Ping):
            if message.token is not None and link.peer is not None:
                known = self.membership.rivals.answer_to(link.peer.nodeid, message.token)
                return (messages.encode_answer(message.token, known),)
            return (messages.encode_pong(message, link.held() if message.t else None),)
        if link.questions is not None and kind is Pong:
            return _next(link.questions.answered(link, self._clock()))
        peer = link.peer
        if peer is not None:  # else a guest: a probe that stays to ask
            if isinstance(message, Pong):
                self.membership.pong(peer, message)
            elif kind is GetAddr:
                return (self.discovery.addresses_for(link, self._clock()),)
            elif isinstance(message, Addr):
                self.discovery.receive_addr(peer, message, self._clock())
            elif isinstance(message, AppMessage):
                self.talk.receive(peer, message)
        if kind in messages.REGISTERED:
            return self.hooks.received(link, message)
        return ()

    def unanswered(self, link: Link) -> Lines:
        """Return what our probe asks next, now that its deadline is over.  Raises ``PeerLeft``."""
        assert link.questions is not None
        return _next(link.questions.unanswered(link, self._clock()))

    def closed(self, link: Link, reason: str, detail: str = "") -> None:
        """The conversation is over.  Called exactly once for each link."""
        now = self._clock()
        state, link.state = link.state, OVER
        # A peer and a link that refer to each other are freed only when Python searches for cycles,
        # minutes later.  (Measured: 110 of them waited, where 160 connections a minute came and went.)
        peer, link.peer = link.peer, None
        if peer is not None:
            self.membership.lost(peer, reason, now)
        if state == UP and reason == "protocol":
            self._events.log(INFO, "%s %s: %s %s", link.remote, link.direction, reason, detail)
        target = link.target
        if target is not None and state in (UP, SUPERSEDED):
            self.book.connection_over(target, now)
        if link.questions is not None:
            link.questions.over(link, now)
        if state == RIVAL:
            link.close("duplicate", "we are connected already")  # unless it has ended it itself
            self.membership.rivals.over(link)
        unfinished = state in (GREETING, ADMITTED, RIVAL)
        why = self._dial_over(link, reason, now) if target is not None and unfinished else link.why
        if target is not None and link.dial_again:
            self.discovery.dial_again(target)
        elif unfinished and not link.is_our_probe:
            if target is not None:
                strange = link.why in UNAUTHORISED
                self.discovery.made_no_peer(target, now, link.found_nodeid is None, strange)
            if reason not in ("self", "duplicate") and state != RIVAL:
                address = target or link.remote
                self.membership.failures.report(address, reason, detail, link.direction, why)
            if reason == "duplicate" and link.said_bye:
                self.membership.kept_out(link, now)
        self.discovery.dial_more(now)

    def dial_failed(self, order: Order, failure: DialFailed) -> None:
        """A dial has made no connection.  The thread that tried."""
        now = self._clock()
        target, probe, wanted = order.address, order.probe, order.wanted
        reason = failure.outcome
        self.dial_failures.count(reason)
        if wanted is not None:
            # A name that does not resolve, no descriptor left: says nothing about the other end.
            outcome = None if reason == UNKNOWN else reason
            end = DialEnd(wanted, target, outcome, None, probe, failure.why)
            self.discovery.dial_over(end, now, quick=order.timeout is not None)
        if probe:
            self._events.log(DEBUG, "%s probe: %s %s", target, reason, failure.detail)
            return
        self.discovery.made_no_peer(target, now, blame=True)
        self.membership.failures.report(target, reason, failure.detail, OUTBOUND, failure.why)
        self.discovery.dial_more(now)

    def tick(self) -> None:
        """Do what is due.  The pinger's thread only; never blocks."""
        now = self._clock()
        self.lateness.tick(now)
        self.membership.tick(now)
        if now >= self._ask_at:
            # A ping that arrives together with another line cannot be timed (``round_trips``).
            peers = [peer for peer in self.table.up() if peer.ping_sent_at is None]
            if peers:
                self._ask_at = now + self._parts.config.ping_interval
                self._parts.rng.choice(peers).link.send(messages.GETADDR)
        self.hooks.ticked(now)
        self.discovery.tick(now)

    def _greet(self, link: Link, message: AnyMessage) -> Lines:
        """Take the first message of a link, or a hello, join or bye at any time."""
        if isinstance(message, Bye):
            link.said_bye = True
            if message.reason == "unauthorised":
                link.why = MEMBERS_ONLY
            raise PeerLeft(message.reason, message.detail)
        hello = message.hello if isinstance(message, Join) else message
        if link.first is not None and isinstance(hello, Hello):
            _check_second(hello, link.first)
        if isinstance(message, Join) and link.state == GUEST:
            return self.membership.joined(link, message.hello)
        if link.state != GREETING:
            raise PeerMisbehaved("a second hello")
        if not isinstance(message, Hello):
            name = messages.name_of(message).replace("unknown", "of an unknown type")
            raise PeerMisbehaved("the first message was %s, not hello" % name)
        if link.target is None:
            return self.membership.accepted(link, message)
        answer = self.membership.dialed(link, message)
        if link.state == ASKING:  # the probe itself is over
            self._dial_over(link, "closed", self._clock())
        return answer

    def _dial_over(self, link: Link, reason: str, now: float) -> str:
        """Report what our dial has shown, if it was to find a certain node; return the why."""
        assert link.order is not None
        order = link.order
        outcome, why = self._outcome(link, reason)
        if order.wanted is not None:
            seconds = link.connect_seconds
            end = DialEnd(order.wanted, order.address, outcome, seconds, order.probe, why)
            self.discovery.dial_over(end, now, quick=order.timeout is not None)
        return why

    def _outcome(self, link: Link, reason: str) -> Tuple[Optional[str], str]:
        """Return what a dial has shown that led to a connection, and why; None if nothing."""
        wanted = None if link.order is None else link.order.wanted
        if link.why == FOREIGN or link.why in UNAUTHORISED:
            return RESET, link.why  # the node that lived there has left our network, without a goodbye
        if link.elsewhere and link.found_nodeid == wanted:
            return None, ""  # its own connection comes from elsewhere: perhaps this is an impostor
        if link.found_nodeid is not None:
            if link.found_nodeid != wanted and link.unlisted:
                return RESET, ""  # somebody forwards the connection to another node
            return (OK if link.found_nodeid == wanted else WRONG_PEER), ""
        if link.said_bye:
            # A node with too many connections says bye before hello, and so could any program.
            known = wanted is not None and self.table.get(wanted) is not None
            return (None, "") if known else (RESET, TURNED_AWAY)
        if reason not in ("closed", "timeout", "protocol"):  # we have ended it
            return None, ""
        if link.heard and not link.began_to_greet:
            return RESET, link.why or NO_NODE
        return (RESET, "") if reason == "closed" else (TIMEOUT, HANGS)

    # -- what the library asks ------------------------------------------------------------

    def dial(self, address: Address) -> None:
        """Dial ``address`` now, unless that is under way.  The outcome comes as an event."""
        self.membership.failures.report_again(address)
        if self.book.knows_as_mine(address):
            self._events.emit("self", address=str(address))
        else:
            self.discovery.dial(address, self._clock())


def _check_second(hello: Hello, first: "FirstHello") -> None:
    """Raise ``PeerMisbehaved`` if a member's second hello is of another node than its first."""
    if hello.nodeid != first.nodeid or hello.port not in (None, first.port):
        raise PeerMisbehaved("the second hello is not of the node that said the first")


def _next(lines: Optional[Lines]) -> Lines:
    """Return what a probe asks next.  Raises ``PeerLeft`` if nothing is left to ask."""
    if lines is None:
        raise PeerLeft("closed")
    return lines
