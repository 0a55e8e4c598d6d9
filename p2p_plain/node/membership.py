"""Being a member of the network: hello, which peers are let in, ties, pings, bye.

**A hello is not yet a welcome.**  A node without room also answers with hello, so that the dialer
learns which node lives there, and then says ``bye``.  It does the same when it is already connected
to the dialer.  Therefore the acceptor gives a newcomer its seat at hello, and the dialer takes the
acceptor's first message after hello (other than ``addr``, which a node without room sends too) as
the welcome.  Either end announces ``peer_up`` only when it has received more than a hello.  So a
refused connection is a peer at neither end, not even for a millisecond.  (A newcomer that says hello
and then nothing has its seat until the ping timeout.)

**Hearsay is greeted as by a probe.**  Any program may listen at an address that only other nodes have
named, and it must not learn our name and network.  So our hello leaves them out.  They follow in a
``join``, once the other end has said the hello of a node of our network.  A node that knows no ``join``
takes us for a probe; then we dial again.

**Which end closes the loser of a tie.**  When two nodes have dialed each other at once, both find
by themselves that the connection dialed by the smaller nodeid stays, but not at the same moment.
Only the node that dialed the winner closes the loser.  When that node knows of the winner, the
other end does too, because it let the winner in.  If the other end closed the loser, its ``bye``
could arrive before the winner is known here: a ``peer_down`` and a ``peer_up`` for nothing.  The
loser is closed a moment later, because messages may still be under way on it.

A tie step by step; A has the smaller nodeid, X is dialed by A and Y by B; time runs downwards::

    A                                         B
    dials X, says hello                       dials Y, says hello
    hello on Y: admits Y, answers             hello on X: admits X, answers
    B's first words on Y: Y is up             A's first words on X: X is up
                                              A's first words on Y: X is here and wins,
                                                Y is superseded, and left alone
    B's first words on X: X wins, is up
      in Y's place; Y is superseded
    a second later: says bye on Y             hears bye on Y: of no consequence

If B knows of X already when A's hello arrives on Y, B refuses Y.  A has not announced Y, so nobody
notices.

**Possession counts.**  A connection that has answered a ping is not replaced by one from another host:
that may be an impostor's (``rivals``).  A node with two addresses can have an honest tie across two
hosts, and for one round trip only one end knows that the ping was answered.  If A refuses X then, B has
let it in; so B gives the seat back to Y, which is still open.

``overlay`` calls all of this.  No sockets and no threads; the clock and the randomness are passed
in.
"""

import functools
from collections import OrderedDict
from threading import Lock

from ..common.address import Address, is_shareable
from ..common.counters import Histogram
from ..common.errors import PeerLeft, PeerMisbehaved, Refused
from ..common.events import WARNING
from ..common.outcomes import ECHO, FOREIGN, MEMBERS_ONLY, OK
from ..common.typing import List, Optional, Set, Tuple
from . import messages
from .discovery import Discovery
from .failures import Failures
from .hooks import DialEnd, Lines
from .messages import Hello, Pong
from .parts import Parts
from .peer import (
    ADMITTED, ASKING, GREETING, GUEST, HANDSHAKE_TIMEOUT, OUTBOUND, OVER, RIVAL, SUPERSEDED, Link, Peer,
    claimed_by,
)
from .peer_table import TIE_WINDOW
from .rivals import HEARD, RIVAL_PATIENCE, Rivals

SECOND_PING_AFTER = 1.0
"""Seconds (at most) from the first ping to the second.  The first travels with the hello and waits
there until the other end has dealt with that.  So its round trip says more about two starting
programs than about the network, and should not stand as the only figure for a whole minute."""

PATIENCE = 3
"""How many times the ping timeout a peer has for its pong while whole lines arrive from it."""

MAX_UNLISTED = 8
"""Addresses that are named in a warning because others dial them and we do not know them as ours."""

KEPT_OUT_AFTER = 3
"""Ping timeouts for which others may say that we are connected to them already, while we are not, before
that is reported.  For one ping timeout it may be an old connection of ours that they do not know is dead."""

MAX_KEPT_OUT = 256
"""Nodes that say so and are remembered."""

TIE_GRACE = 1.0
"""Seconds from the end of a tie until the node that dialed the winner closes the loser: messages
that are under way on it still arrive."""


class Membership:
    """The connections of one node, from hello to bye.

    Methods that take a link run on that link's reader thread, unless they say otherwise.
    """

    def __init__(self, parts: Parts, discovery: Discovery) -> None:
        # Immutable; each of the objects has its own lock.
        self.round_trips = Histogram()
        """Of all pings that counted, since the start."""
        self.failures = Failures(parts.events, parts.clock)
        self.rivals = Rivals(parts.book, parts.events, parts.clock)
        self._parts, self._discovery = parts, discovery
        self._myself, self._table, self._lateness = parts.myself, parts.table, parts.lateness
        self._events, self._clock = parts.events, parts.clock

        self._lock = Lock()
        # Guarded by _lock.  A leaf: nothing else is called while it is held.
        self._stopping = False
        self._unlisted: Set[Address] = set()
        """Addresses that were dialed and that we do not know as ours."""
        self._superseded: List[Tuple[float, Link]] = []
        """Losers of ties, and rivals, and when to close each."""
        self._kept_out: OrderedDict[str, float] = OrderedDict()
        """Since when nodes have said that we are connected to them while we are not; the oldest first."""

    def stop(self) -> None:
        """Let nobody in from now on."""
        with self._lock:
            self._stopping = True
        self.failures.stop()
        self._table.admit_nobody_more()

    def tick(self, now: float) -> None:
        """Drop silent peers, ping the others, close losers of ties.  The pinger's thread."""
        awake_now, timeout = self._lateness.awake_clock, self._parts.config.ping_timeout
        for peer in self._table.silent(awake_now):
            # The pong may be waiting where we chose not to read: that is no fault of the peer.
            if awake_now - peer.link.unread_until <= timeout:
                continue
            # Or behind other messages, which are still arriving.  But they do not replace it for ever.
            late = awake_now - peer.ping_expires_at
            if awake_now - peer.link.line_at <= timeout and late <= (PATIENCE - 1) * timeout:
                continue
            peer.link.close("timeout", "no pong within %g s" % timeout)
            self.lost(peer, "timeout", now)
        for peer in self._table.ping_due(now):
            self._expect_pong(peer, now)
            question = self.rivals.question_for(peer)
            if question is None:
                peer.link.ping()
            else:
                peer.link.send(question, urgent=True)
        with self._lock:
            due = [link for at, link in self._superseded if at <= now]
            if due:
                self._superseded = [(at, link) for at, link in self._superseded if at > now]
        for link in due:
            link.close("duplicate", "another connection to you stays")
        self.failures.tick(now)

    # -- hello ----------------------------------------------------------------------------

    def accepted(self, link: Link, hello: Hello) -> Lines:
        """Answer the hello of a node that dialed us: let it in, or raise ``Refused``."""
        # Our hello must be the first line.  So it comes before the peer gets its seat: if that wins a
        # tie the peer is up at once, and other threads may forward messages to it.  But it is sent
        # together with the first words: one packet less, and one wake-up of the other end less.
        if link.first is not None:
            self._find_unlisted(link, link.first.dialed)
        link.hold(self._myself.hello(link, joins=hello.probe))
        link.heard_token = hello.token
        self.rivals.note_heard(link.heard_token, hello.nodeid)
        if hello.probe:
            link.state = GUEST
            return ()
        return self._let_in(link, hello)

    def joined(self, link: Link, hello: Hello) -> Lines:
        """Answer the ``join`` of a guest: let it in, or raise ``Refused``."""
        link.state = GREETING
        self.rivals.note_heard(link.heard_token, hello.nodeid)
        return self._let_in(link, hello)

    def _find_unlisted(self, link: Link, dialed: Optional[Address]) -> None:
        """Note if the other end has dialed an address that we do not know as ours.

        Perhaps an outsider forwards the connection, and wants the whole network to come through it.
        """
        # That a dial of ours has led back to us proves nothing: that, too, can be forwarded.
        link.unlisted = not self._myself.is_at(dialed, link)
        if not link.unlisted or dialed is None:
            return
        with self._lock:
            new = dialed not in self._unlisted and len(self._unlisted) < MAX_UNLISTED
            if new:
                self._unlisted.add(dialed)
        if new:
            text = "%s has dialed %s, and nobody else hears of that address; if it is ours: --advertise %s"
            self._events.log(WARNING, text, link.remote, dialed, dialed)

    def _let_in(self, link: Link, hello: Hello) -> Lines:
        now = self._clock()
        if hello.nodeid == self._myself.nodeid and not self.rivals.is_ours(link.heard_token):
            self._found_twin(link, hello)
        self._check(link, hello)
        max_rate, is_known = self._parts.config.max_rate, self._parts.book.trusts
        link.peer = peer = Peer(link, hello, now, max_rate, is_known)
        if link.unlisted and peer.claimed is not None and not peer.known:
            self._parts.book.note_unlisted(peer.claimed)  # the host may be that of a forwarder
        link.state = ADMITTED
        self._expect_pong(peer, now)
        admission = self._table.admit(peer)
        if admission.incumbent is not None:
            return self._ask_about(link, hello, admission.incumbent, now)
        if admission.refusal == "full":
            detail = "%d peers fit here, and the last seats are kept for known nodes"
            detail %= self._table.max_peers
            raise Refused("full", detail, [self._discovery.addresses_for(link, now)])
        if admission.refusal is not None:
            raise Refused(admission.refusal)
        if admission.loser is not None:  # its other end dialed the winner, and will close it
            self._close_later(admission.loser.link, now + HANDSHAKE_TIMEOUT)
        self._discovery.met(peer, now)
        return self._first_words(peer)

    def dialed(self, link: Link, hello: Hello) -> Lines:
        """Continue where a node that we dialed has answered hello; a welcome or ``bye`` follows.

        Raises ``Refused``, and ``PeerLeft`` if this was a probe.
        """
        now = self._clock()
        target = link.target
        assert target is not None
        link.unlisted = link.first is not None and hello.unlisted
        if hello.nodeid == self._myself.nodeid:
            self._found_ourselves(link, hello, target, now)
        link.found_nodeid = hello.nodeid
        self.rivals.note_said(link.token or "", hello.nodeid)
        if hello.network != self._myself.network:
            link.why = FOREIGN
        self._check(link, hello)
        holder = None
        if link.unlisted:
            self._parts.book.note_unlisted(link.remote)
        else:
            holder = self._discovery.note_found(link, hello.nodeid, now)
        if link.is_our_probe:
            if holder is not None and self.rivals.begin(holder, link, hello, stays=False):
                self._table.ping_soon(holder, now)
            return self._ask(link, hello.nodeid, now)
        peer = Peer(link, hello, now, self._parts.config.max_rate)
        if self._stopping:  # read without the lock: a moment late does no harm
            raise Refused("stopping")
        incumbent = self._table.loses_to(peer)
        if incumbent is not None:
            return self._ask_about(link, hello, incumbent, now)
        if link.is_discreet and not hello.joins:
            link.dial_again = True
            raise PeerLeft("closed")  # it takes us for a probe
        link.peer = peer
        link.state = ADMITTED
        self._expect_pong(peer, now)
        introduction = [self._myself.join(link)] if link.is_discreet else []
        return introduction + self._first_words(peer)

    def _ask(self, link: Link, nodeid: str, now: float) -> Lines:
        """Continue a probe that has found ``nodeid``.  Raises ``PeerLeft`` if nothing is left to ask."""
        questions = None if self._stopping else self._parts.hooks.probe_found(link, nodeid, now)
        link.questions = questions  # from now on it learns of the end
        lines = None if questions is None else questions.begin(link, now)
        if lines is None:
            raise PeerLeft("closed")  # we have seen what we came for
        link.state = ASKING
        return lines

    def _ask_about(self, link: Link, hello: Hello, holder: Peer, now: float) -> Lines:
        """Have ``holder``, which has the seat, asked whether it is at the other end of ``link`` too.

        Perhaps its connection is dead, and we have not noticed yet: then it does not answer the ping.
        Raises ``Refused`` if too many wait already.
        """
        self._table.ping_soon(holder, now)
        # Where we have dialed, the other end may take us for a probe, and would not show what it wants.
        # Or it has given up the first connection for this one, and should have it back soon.
        is_tie = holder.link.direction != link.direction and now - holder.greeted_at <= TIE_WINDOW
        is_urgent = link.target is not None and (link.is_discreet or is_tie)
        if not self.rivals.begin(holder, link, hello, stays=not is_urgent) or is_urgent:
            raise Refused("duplicate", "we are connected already")
        link.peer = None
        link.state = RIVAL
        self._close_later(link, now + RIVAL_PATIENCE)
        return ()

    def _found_twin(self, link: Link, hello: Hello) -> None:
        """Report that another program has our nodeid."""
        own, other = self._myself.address_for(link), claimed_by(link, hello) or link.remote
        self.rivals.conflict(self._myself.nodeid, self._myself.name, own, other)

    def _found_ourselves(self, link: Link, hello: Hello, target: Address, now: float) -> None:
        """Note that our dial has come back to us.

        Raises ``PeerMisbehaved`` if only our hello has, and ``Refused`` if our nodeid is another program's.
        """
        # Whoever accepts, this node too, says no token.
        if hello.token is not None and hello.token.lower() == link.token:
            link.why = ECHO
            raise PeerMisbehaved("it sends back what it is sent")
        # If this node is at the other end, that end has heard the token before it answered.
        if self.rivals.answer_to(self._myself.nodeid, link.token or "") != HEARD:
            link.found_nodeid = hello.nodeid
            self._found_twin(link, hello)
            raise Refused("self", "another program has the same nodeid")
        if link.unlisted:
            return  # somebody sends us back to ourselves, perhaps from where another node lives
        new = self._parts.book.note_mine(link.remote, now)
        if not new and target != link.remote:
            # A name may have further addresses that lead elsewhere.  But those that are known as ours
            # are dialed after all others, so this name has none.
            self._parts.book.note_mine(target, now)
        if new and not link.is_our_probe:
            self._events.emit("self", address=str(target))

    def confirmed(self, link: Link) -> bool:
        """Note that the other end has sent more than a hello; True if the peer is up now.

        That is the welcome, if we dialed.  Raises ``Refused`` if no seat is left for it.
        """
        peer = link.peer
        assert peer is not None
        if link.direction == OUTBOUND:
            now = self._clock()
            admission = self._table.admit(peer)
            if admission.incumbent is not None and not admission.tie:
                self._ask_about(link, peer.hello, admission.incumbent, now)
                return False
            self._discovery.made_peer(link, now)
            if admission.tie:
                # The other end dialed the winner: closing this one is up to it.
                link.state = SUPERSEDED
                self._close_later(link, now + HANDSHAKE_TIMEOUT)
                return False
            if admission.refusal is not None:  # we have filled up meanwhile
                link.state = SUPERSEDED
                raise Refused(admission.refusal)
            if admission.loser is not None:
                self._close_later(admission.loser.link, now + TIE_GRACE)
            if link.elsewhere:  # no longer: this is the node's connection now
                self._discovery.note_found(link, peer.nodeid, now)
            self._discovery.met(peer, now)
            end = DialEnd(peer.nodeid, link.remote, OK, link.connect_seconds, False)
            self._discovery.dial_over(end, now)
        if not self._table.announce(peer):
            return False
        self.failures.report_again(link.target or link.remote)
        return True

    def _check(self, link: Link, hello: Hello) -> None:
        """Raise ``Refused`` if that is ourselves, or a node of another network."""
        if hello.members_only:
            link.why = MEMBERS_ONLY
            raise Refused("unauthorised", "its network is for members only")
        if hello.nodeid == self._myself.nodeid:
            raise Refused("self")
        if hello.network != self._myself.network:
            here = "another one" if link.is_discreet else repr(self._myself.network)
            raise Refused("network", "network %s here, %r there" % (here, hello.network))

    def _first_words(self, peer: Peer) -> List[bytes]:
        """Return what each side says after hello: where I am; whom do you know; are you there?"""
        own = self._myself.address_for(peer.link)
        return [_addr_of(own, self._myself.nodeid), messages.GETADDR, messages.PING]

    def _close_later(self, link: Link, at: float) -> None:
        """Close the loser of a tie at that time, unless its other end does so before."""
        with self._lock:
            self._superseded.append((at, link))

    # -- ping -----------------------------------------------------------------------------

    def _expect_pong(self, peer: Peer, now: float) -> None:
        """Note a ping that is about to be sent: afterwards the pinger might send a second one."""
        # With the tick that it waits for, never more than the interval: a dead peer is to be noticed
        # within ping_interval and ping_timeout.
        parts = self._parts
        longest = min(parts.config.ping_interval, peer.ping_every) - parts.tick_interval
        interval = longest * (0.9 + 0.1 * parts.rng.random())
        if peer.last_pong_at is None:
            interval = min(interval, SECOND_PING_AFTER)
        timeout = parts.config.ping_timeout + parts.tick_interval
        self._table.ping_sent(peer, now, now + interval, self._lateness.awake_clock + timeout)

    def pong(self, peer: Peer, pong: Pong) -> None:
        """Note that ``peer`` has answered; a pong to no ping of ours is harmless."""
        now = self._clock()
        if self.rivals.answered(peer, pong):
            self._table.ping_soon(peer, now)
        measured = peer.link.round_trip(pong.held)
        first = peer.last_pong_at is None
        again_at = now + SECOND_PING_AFTER
        found = self._table.pong(peer, now, self._lateness, again_at, measured)
        if found is None:
            return
        seconds, counts = found
        rtt_ms = round(seconds * 1000, 3)
        self._events.emit("rtt", nodeid=peer.nodeid, name=peer.name, rtt_ms=rtt_ms)
        if counts:
            self.round_trips.add(seconds)
        if first:
            self._discovery.answered(peer, now)

    # -- the end --------------------------------------------------------------------------

    def lost(self, peer: Peer, reason: str, now: float) -> None:
        """The connection to ``peer`` is over, unless that is known already.  Any thread."""
        # A peer that was never let in has no say: anyone could say goodbye for somebody else.
        if reason == "stopping" and not peer.up:
            reason = "closed"
        heir = self._heir_of(peer) if reason == "duplicate" and peer.link.said_bye else None
        if self._table.remove(peer, reason, heir):
            self._discovery.lost(peer, reason, now)
        self.rivals.forget(peer)
        if heir is not None and self._table.holder(peer.nodeid) is heir:
            with self._lock:
                self._superseded = [one for one in self._superseded if one[1] is not heir.link]
            if heir.link.state == OVER:  # it has ended at this very moment
                self.lost(heir, "closed", now)
            elif self._table.announce(heir):
                self._discovery.met(heir, now)

    def _heir_of(self, peer: Peer) -> Optional[Peer]:
        """Return the loser of the tie that ``peer`` has won, if the other end keeps that one instead."""
        with self._lock:
            for _, link in self._superseded:
                heir = link.peer
                if link.state == SUPERSEDED and heir is not None and heir.nodeid == peer.nodeid:
                    return heir
        return None

    def kept_out(self, link: Link, now: float) -> None:
        """Note that a node says that we are connected to it already; report it if that lasts.

        Then somebody else has our nodeid's seat there.
        """
        nodeid = link.found_nodeid
        if nodeid is None or link.target is None:
            return
        here = self._table.holder(nodeid) is not None
        with self._lock:
            since = now if here else self._kept_out.setdefault(nodeid, now)
            if here:
                self._kept_out.pop(nodeid, None)
            elif len(self._kept_out) > MAX_KEPT_OUT:
                self._kept_out.popitem(last=False)
        if now - since >= KEPT_OUT_AFTER * self._parts.config.ping_timeout:
            detail = "it says that we are connected already, and we are not"
            self.failures.report(link.target, "duplicate", detail, OUTBOUND)


@functools.lru_cache(maxsize=16)  # the same line for each peer, for as many as we have addresses
def _addr_of(own: Optional[Address], nodeid: str) -> bytes:
    """Return the line that says where ``nodeid`` is; empty if that means nothing to others."""
    return b"" if own is None or not is_shareable(own) else messages.encode_addr([(own, nodeid)])
