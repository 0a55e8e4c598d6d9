"""The judgement: what to answer, whom to dial, whom to believe, whom to drop.

Theory of operation
===================

Plumbing (``session``, ``connector``, and ``pinger``, which beats five times a second) calls in here
when something happened::

    receive(link, message)     a message arrived         on that connection's reader thread
    closed(link, reason)       a connection ended        on that connection's reader thread
    dial_failed(address, ...)  nobody answered a dial    on the thread that tried
    tick()                     time has passed           on the pinger's thread

and this module calls out through what it was given: ``dial(address, ...)`` puts a dial into
the connector's queue, ``link.send`` and ``link.close`` never block, ``emit`` tells the world.
There are no sockets and no threads here, the clock and the dice are passed in, and so the same
code runs a real node and the simulated networks of the tests.

The life of a link (``peer_table`` has the names)::

    GREETING --hello--> ADMITTED --first sign of being let in--> UP --> OVER
        |                   |                                     |
        |                   +-------------lost a tie--------------+--> SUPERSEDED --> OVER
        +--hello, probe--> PROBED --> OVER

**A hello is not yet a welcome.**  A full node, or one that we are connected to already, also
answers with hello, so that the dialer learns who lives there, and then says ``bye``.  So the
acceptor gives a newcomer its place at hello, the dialer takes the acceptor's first word after
hello (other than ``addr``, which a full node also gives) as the welcome, and either announces
``peer_up`` only when it has heard more than a hello.  That is what keeps a refused
connection from being a peer for a millisecond, at both ends.

**Who closes the loser of a tie.**  When two nodes have dialed each other at once, both ends
find by themselves that the connection dialed by the smaller nodeid stays, but not at the same
moment.  Only the node that dialed the winner closes the loser, because when it knows of the
winner the other end does too (it was let in by it).  Did the other end close it, its ``bye``
could arrive before the winner is known here: a ``peer_down`` and a ``peer_up`` for nothing.
And it closes the loser a moment later, for the sake of messages that are still under way on it.

A tie as it happens, A being the smaller, X dialed by A and Y by B; time runs downwards::

    A                                         B
    dials X, says hello                       dials Y, says hello
    hello on Y: admits Y, answers             hello on X: admits X, answers
    B's first words on Y: Y is up             A's first words on X: X is up
                                              A's first words on Y: X is here and wins,
                                                Y is superseded, and left alone
    B's first words on X: X wins, is up
      in Y's place; Y is superseded
    a second later: says bye on Y             hears bye on Y: of no consequence

**Patience.**  Whether a peer has been silent too long is measured on a clock that stands still
while this node itself does: after a suspended laptop wakes, or a loaded machine gets round to
us, our own absence must not become everybody else's timeout.
"""

import functools
import random
from collections import OrderedDict, deque
from threading import Lock
from typing import Any, Callable, Deque, Dict, Iterable, List, NamedTuple, Optional, Tuple

from ..common.address import Address, is_ip, is_loopback, is_shareable
from ..common.config import (
    ADDRESS_FRESH,
    ENOUGH_PEERS,
    HANDSHAKE_TIMEOUT,
    MAX_ADDRESSES,
    MAX_BOOK,
    MAX_DIALS,
    MAX_SEEN,
    STALE_AFTER_INTERVALS,
    Config,
)
from ..common.counters import Histogram, Tally
from ..common.errors import NotConnected, PeerBusy, PeerLeft, PeerMisbehaved, Refused
from ..common.events import DEBUG, INFO, Events
from ..common.outcomes import OK, RESET, SILENT, TIMEOUT, WRONG_PEER
from ..monitor.reach import Reach
from ..monitor.rows import LATE_BEATS, LATE_SECONDS, Matrix, is_own_fault, own_lateness, read_row
from . import messages
from .address_book import AddressBook
from .gossip import Gossip
from .messages import (
    Addr,
    AnyMessage,
    Bye,
    GetAddr,
    GetLinks,
    Hello,
    Links,
    Message,
    Ping,
    Pong,
    Unknown,
)
from .peer_table import (
    ADMITTED,
    GREETING,
    INBOUND,
    OUTBOUND,
    OVER,
    PROBED,
    SUPERSEDED,
    UP,
    Link,
    Peer,
    PeerInfo,
    PeerTable,
    in_ms,
)

Lines = Iterable[bytes]
# ``dial(address, probe, wanted nodeid)``: queue it; the outcome comes back by ``receive``
# and ``closed``, or by ``dial_failed``.
Dial = Callable[[Address, bool, Optional[str]], None]

UNSAID_BROADCASTS = 100
"""Broadcasts kept while there is nobody to hear them yet: a program that starts a node and
speaks at once should be heard by the first peers, but not collect speeches for ever."""

SECOND_PING_AFTER = 1.0
"""Seconds (at most) from the first ping to the second.  The first travels with the hello and
waits there until the other end has dealt with that, so its round trip says more about two
starting programs than about the network; that figure should not stand for a whole minute."""

TIE_GRACE = 1.0
"""Seconds from the end of a tie until the node that dialed the winner closes the loser: what
was already under way on it still arrives."""

ROW_AFTER_CHANGE = 1.0
"""Seconds between two rows of ours at the least: what changes together is told together."""

ROWS_A_SECOND = 20
"""Rows that a node gets from all its peers together, at the most: each costs it up to a millisecond
(64 links).  So among 64 nodes a row goes out every 3 s at the earliest, also after changes: when
many start at once, everything changes all the time."""

ANSWER_FRESH = 0.5
"""Seconds for which the same answer is given to everyone who asks for all rows: to make it takes
half a millisecond a row, and a peer may ask 200 times a second."""

PATIENT_WHEN_LATE = 4
"""How many times longer, at the most, a node waits that runs late: on one machine many nodes share a core."""

LATE_LATELY = 2
"""Beats in which we must have run on time for a round trip to count."""

REFUSALS_REMEMBERED = MAX_BOOK
"""Addresses of which we remember when we last said that they were refused."""


class Myself(NamedTuple):
    """Who we are and where we can be reached; immutable once the node runs.

    ``port`` is where we listen.  ``wildcard`` holds the IP versions (4, 6) for which we listen
    on every local address; ``addresses`` are those that others may dial, as far as we know.
    """

    nodeid: str
    name: str
    agent: str
    network: str
    port: int
    advertise: Optional[Address]
    wildcard: Tuple[int, ...]
    addresses: Tuple[Address, ...]
    http: Optional[int] = None
    """Port of the status page, where it may be reached by others."""

    def address_for(self, link: Link) -> Optional[Address]:
        """Where the peer at the other end of ``link`` should dial us.

        Never the wildcard itself: 0.0.0.0 is an answer to "where do you listen?", not to
        "where are you?".  The address that this connection uses on our side is one, if we
        listen there.
        """
        if self.advertise is not None:
            return self.advertise
        if link.direction == INBOUND and not self.wildcard:
            return self.addresses[0]  # they have found the only one
        host = link.local().host
        if is_ip(host) and (6 if ":" in host else 4) in self.wildcard:
            return Address(host, self.port)
        near = is_loopback(host)
        for address in self.addresses:
            if near or not is_loopback(address.host):
                return address
        return None


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
        rng: random.Random,
        tick_interval: float,
    ) -> None:
        # Immutable; each of the objects has its own lock.
        self.myself = myself
        self.table = table
        self.book = book
        self.reach = Reach(config.probe_interval, rng, events.emit)
        self.matrix = Matrix(myself.nodeid)
        self._gossip = Gossip(rng)
        self.round_trips = Histogram()
        """Of all pings that counted, since the start."""
        self.dial_failures = Tally()
        """By reason, of dials and probes alike, since the start."""
        self._config = config
        self._events = events
        self._dial = dial
        self._clock = clock
        self._rng = rng
        self._tick_interval = tick_interval
        # The pinger's thread only, but for floats, which anyone may read.
        self._patience = 0.0
        self._ticked_at = clock()
        self._ask_at = self._ticked_at + config.ping_interval
        self._beats: Deque[float] = deque(maxlen=LATE_BEATS)
        """How late the last beats were, in seconds."""
        self._lateness = 0.0
        """How late this node runs, by and large ..."""
        self._late_now = 0.0
        """... and at the worst of the last few beats."""
        self._row_at = self._ticked_at
        self._row_changes = 0
        """When our row was last sent to everyone, and what had changed by then."""

        self._lock = Lock()
        # Guarded by _lock.  A leaf: nothing else is called while it is held.
        self._stopping = False
        self._dialing = 0
        """Dials that are to make peers, queued or under way; probes are counted by ``reach``."""
        self._seen: OrderedDict[str, None] = OrderedDict()
        """Ids of messages, the oldest first (a dict serves as a set that remembers order)."""
        self._unsaid: Deque[bytes] = deque(maxlen=UNSAID_BROADCASTS)
        self._superseded: List[Tuple[float, Link]] = []
        """Losers of ties, and when to close each."""
        self._refusals: OrderedDict[str, Tuple[float, str]] = OrderedDict()
        """When and why we last told of each, by address."""
        self._answer: Tuple[float, List[bytes]] = (float("-inf"), [])
        """The last answer to ``getlinks``, and when it was made."""

    # -- what plumbing tells ----------------------------------------------------------

    def start(self) -> None:
        """Dial the bootstrap addresses, and what the peers file remembered."""
        self._dial_more()

    def stop(self) -> None:
        """Dial nobody and let nobody in from now on."""
        with self._lock:
            self._stopping = True
        self.table.close()

    def greeting(self, link: Link) -> bytes:
        """Our hello on this link; whoever dialed says it first."""
        me = self.myself
        return messages.encode_hello(
            Hello(
                nodeid=me.nodeid,
                port=me.port,
                name=me.name,
                network=me.network,
                agent=me.agent,
                probe=link.probe,
                observed=link.remote if is_shareable(link.remote) else None,
                http=me.http,
            )
        )

    def receive(self, link: Link, message: AnyMessage) -> Lines:
        """What to answer, as encoded lines.

        Raises ``PeerMisbehaved`` or another ``Refused`` to end the connection with a ``bye``,
        ``PeerLeft`` if the other end has said ``bye``.
        """
        kind = type(message)
        if isinstance(message, Bye):
            link.said_bye = True
            raise PeerLeft(message.reason, message.detail)
        if link.state is GREETING:
            if not isinstance(message, Hello):
                name = messages.name_of(message).replace("unknown", "of an unknown type")
                raise PeerMisbehaved("the first message was %s, not hello" % name)
            return self._dialed(link, message) if link.target else self._accepted(link, message)
        if kind is Hello:
            raise PeerMisbehaved("a second hello")
        if link.state is ADMITTED and kind is not Addr and kind is not Unknown:
            self._let_in(link)
        if kind is Ping:
            return (messages.PONG,)
        if kind is GetLinks:
            return self._all_rows()
        if link.peer is None:
            return ()  # a guest: a probe that stays to ask
        if kind is Pong:
            self._pong(link.peer)
        elif kind is GetAddr:
            return (self._addr_for(link),)
        elif isinstance(message, Addr):
            self._heard(link.peer, message)
        elif isinstance(message, Message):
            self._message(link.peer, message)
        elif isinstance(message, Links) and not message.end:
            now = self._clock()
            self.matrix.heard(message, message.line, link.peer.nodeid, self.table.nodeids(), now)
        return ()

    def keep(self, link: Link, line: bytes) -> bool:
        """Keep a line unread, if that is what is done with it: most rows.  Reader thread only."""
        if link.state is not UP or link.peer is None:
            return False
        return self.matrix.keep(line, link.peer.nodeid, self._clock())

    def closed(self, link: Link, reason: str, detail: str = "") -> None:
        """The conversation is over.  Called exactly once for each link."""
        now = self._clock()
        state, link.state = link.state, OVER
        if link.peer is not None:
            self._gone(link.peer, reason, now)
        if state is UP and reason == "protocol":
            self._events.log(INFO, "%s %s: %s %s", link.remote, link.direction, reason, detail)
        if link.target is not None and state in (UP, SUPERSEDED):
            self.book.ended(link.target, now)
        if link.probe:
            assert link.target is not None
            assert link.wanted is not None
            verdict = _verdict(link, reason)
            self._probe_over(link.wanted, link.target, verdict, link.connect_seconds, now)
        elif state in (GREETING, ADMITTED):
            if link.target is not None:
                self._dial_over()
                if link.wanted is not None:
                    verdict = _verdict(link, reason)
                    self.reach.seen(link.wanted, link.target, verdict, link.connect_seconds, now)
                blame = state is GREETING and reason not in ("full", "duplicate", "self", "network")
                self.book.failed(link.target, now, self.table.occupied(), blame)
            if reason not in ("self", "duplicate"):
                self._refused(link.target or link.remote, reason, detail, link.direction)
        self._dial_more()

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
        # A name that does not resolve, no descriptor left: says nothing about the other end.
        verdict = None if reason in ("unknown", "self") else reason
        if probe:
            assert wanted is not None
            self._events.log(DEBUG, "%s probe: %s %s", target, reason, detail)
            self._probe_over(wanted, target, verdict, None, now)
            return
        self._dial_over()
        if wanted is not None:
            self.reach.seen(wanted, target, verdict, None, now)
        if reason == "self":
            self.book.is_mine(target, now)
        self.book.failed(target, now, self.table.occupied(), blame=reason != "self")
        if reason != "self":
            self._refused(target, reason, detail, OUTBOUND)
        self._dial_more()

    def tick(self) -> None:
        """Do what is due.  The pinger's thread only; never blocks."""
        now = self._clock()
        # Two intervals of grace: a beat that comes later than that was our own lateness.
        self._patience += min(now - self._ticked_at, 2 * self._tick_interval)
        self._beats.append(max(0.0, now - self._ticked_at - self._tick_interval))
        self._lateness = own_lateness(self._beats)
        self._late_now = max(list(self._beats)[-LATE_LATELY:])
        self._ticked_at = now
        for peer in self.table.silent(self._patience):
            # A pong may be waiting where we have chosen not to read: no fault of the peer's.
            if self._patience - peer.link.unread_until > self._config.ping_timeout:
                peer.link.close("timeout", "no pong within %g s" % self._config.ping_timeout)
                self._gone(peer, "timeout", now)
        for peer in self.table.ping_due(now):
            self._note_ping(peer, now)
            peer.link.send(messages.PING, urgent=True)
        self._probe_due(now)
        self._close_superseded(now)
        if self._gossip.beat(now):
            self._tell_news(now)
        if now >= self._ask_at:
            self._ask_at = now + self._config.ping_interval
            peers = self.table.up()
            if peers:
                link = self._rng.choice(peers).link
                link.send(messages.GETADDR)
                if self.matrix.is_larger_than(self.table.nodeids()):
                    link.send(messages.GETLINKS)
        self._push_row(now)
        self._dial_more()

    def lateness(self) -> float:
        """How late this node itself runs, in seconds.  Any thread."""
        return self._lateness

    def patience(self) -> float:
        """Seconds on a clock that stands still while this node does.  Any thread."""
        return self._patience

    # -- what the library asks ----------------------------------------------------------

    def peers(self) -> List[PeerInfo]:
        """Who is up now, and what is known of each; copies."""
        return self.table.snapshot(self.reach.verdicts())

    def dial(self, address: Address) -> None:
        """Dial ``address`` now, unless that is under way.  The outcome comes as an event."""
        with self._lock:
            self._refusals.pop(str(address), None)  # who asks again is told again
        if self.book.knows_as_mine(address):
            self._events.emit("self", address=str(address))
            return
        self.book.note(address, self._clock())
        if self.book.begin(address):
            with self._lock:
                self._dialing += 1
            self._dial(address, False, self.book.nodeid_at(address))

    def send(self, nodeid: str, body: Any) -> str:
        """Say ``body`` to one connected peer; the message's id.

        Raises ``NotConnected``, ``PeerBusy``, ``MessageTooLong``; ``TypeError`` or
        ``ValueError`` for what JSON cannot say.
        """
        id = messages.new_uuid(self._rng)
        line = messages.encode_message(id, self.myself.nodeid, body, to=nodeid)
        peer = self.table.get(nodeid)
        if peer is None:
            raise NotConnected("no peer %s is connected" % nodeid)
        if not peer.link.send(line):
            raise PeerBusy("%s does not read what it was sent before" % (peer.address,))
        return id

    def broadcast(self, body: Any) -> str:
        """Say ``body`` to everyone; the message's id.  A peer that is not keeping up misses it.

        Said before the first peer is up, it is kept and said to the first.
        Raises ``MessageTooLong``; ``TypeError`` or ``ValueError`` for what JSON cannot say.
        """
        id = messages.new_uuid(self._rng)
        line = messages.encode_message(id, self.myself.nodeid, body)
        self._is_news(id)  # noted as heard: it may come back to us
        peers = self.table.up()
        if not peers:
            with self._lock:
                self._unsaid.append(line)
            # Whoever came up before it was kept has found nothing to be told; look again.
            peers = self.table.up()
            if peers:
                self._say_unsaid(peers[0].link)
        else:
            for peer in peers:
                peer.link.send(line)
        return id

    # -- hello ----------------------------------------------------------------------------

    def _accepted(self, link: Link, hello: Hello) -> Lines:
        """Someone dialed us and said hello: let in, or answered and sent away."""
        # Said before the peer gets its place: from that moment on, other threads may pass
        # messages on to it, and ours must be the first.  But sent with the first words: one packet
        # and one wakening of the other end less.
        link.hold(self.greeting(link))
        if hello.probe:
            link.state = PROBED
            return ()
        if hello.nodeid == self.myself.nodeid:
            raise Refused("self")
        if hello.network != self.myself.network:
            raise Refused("network", self._wrong_network(hello))
        now = self._clock()
        link.peer = peer = Peer(link, hello, now)
        link.state = ADMITTED
        self._note_ping(peer, now)
        admission = self.table.admit(peer)
        if admission.refusal == "full":
            detail = "%d peers are as many as fit here" % self._config.max_peers
            raise Refused("full", detail, [self._addr_for(link)])
        if admission.incumbent is not None:
            # Perhaps the old connection is dead and we have not noticed yet: find out.
            self.table.ping_soon(admission.incumbent, now)
            raise Refused("duplicate", "we are connected already")
        if admission.refusal is not None:
            raise Refused(admission.refusal)
        if admission.loser is not None:  # its other end dialed the winner, and will close it
            self._close_later(admission.loser.link, HANDSHAKE_TIMEOUT)
        self._meet(peer, now)
        return self._first_words(peer)

    def _dialed(self, link: Link, hello: Hello) -> Lines:
        """Whom we dialed has answered hello; a welcome will follow, or a ``bye``."""
        now = self._clock()
        target = link.target
        assert target is not None
        link.found = hello.nodeid
        if hello.nodeid == self.myself.nodeid:
            # A name may have other addresses as well, which lead elsewhere: only what was
            # reached is ours.
            if self.book.is_mine(link.remote, now) and not link.probe:
                self._events.emit("self", address=str(target))
            raise Refused("self")
        if hello.network != self.myself.network:
            raise Refused("network", self._wrong_network(hello))
        for address in {target, link.remote}:
            self._found(address, hello.nodeid, link.probe, now)
        peer = Peer(link, hello, now)
        if link.probe:
            link.state = PROBED
            known = self.table.get(hello.nodeid)
            if known is not None:
                self._tell_others(known, now)
            raise PeerLeft("closed")  # we have seen what we came for
        if self._stopping:  # read without the lock: a moment late does no harm
            raise Refused("stopping")
        if self.table.would_lose(peer):
            raise Refused("duplicate", "we are connected already")
        link.peer = peer
        link.state = ADMITTED
        self._note_ping(peer, now)
        return self._first_words(peer)

    def _wrong_network(self, hello: Hello) -> str:
        return "network %r here, %r there" % (self.myself.network, hello.network)

    def _first_words(self, peer: Peer) -> List[bytes]:
        """What each side says after hello: here I am; whom do you know; are you there?"""
        own = self.myself.address_for(peer.link)
        return [_addr_of(own, self.myself.nodeid), messages.GETADDR, messages.PING]

    def _let_in(self, link: Link) -> None:
        """The other end has said more than hello: now it is a peer."""
        peer = link.peer
        assert peer is not None
        if link.direction == OUTBOUND:
            assert link.target is not None
            now = self._clock()
            self._dial_over()
            self.book.welcomed(link.target, now)
            admission = self.table.admit(peer)
            incumbent = admission.incumbent
            if incumbent is not None and incumbent.link.direction == INBOUND:
                # A tie, and the other end dialed the winner: closing this one is up to it.
                link.state = SUPERSEDED
                self._close_later(link, HANDSHAKE_TIMEOUT)
                return
            if admission.refusal is not None:
                # We have dialed it twice (it has two names, say), or have filled up meanwhile.
                link.state = SUPERSEDED
                raise Refused(admission.refusal)
            if admission.loser is not None:
                self._close_later(admission.loser.link, TIE_GRACE)
            self._meet(peer, now)
            self.reach.seen(peer.nodeid, link.remote, OK, link.connect_seconds, now)
        if self.table.announce(peer):
            with self._lock:
                self._refusals.pop(str(link.target or link.remote.host), None)
            self._say_unsaid(link)

    def _close_later(self, link: Link, seconds: float) -> None:
        """Close the loser of a tie, if its other end has not done so before."""
        with self._lock:
            self._superseded.append((self._clock() + seconds, link))

    def _close_superseded(self, now: float) -> None:
        with self._lock:
            due = [link for at, link in self._superseded if at <= now]
            if due:
                self._superseded = [(at, link) for at, link in self._superseded if at > now]
        for link in due:
            link.close("duplicate", "another connection to you stays")

    # -- after hello ------------------------------------------------------------------------

    def _note_ping(self, peer: Peer, now: float) -> None:
        # Never more than the interval, beats of the pinger included: a dead peer is to be noticed
        # within ping_interval and ping_timeout.
        interval = self._config.ping_interval * (0.9 + 0.09 * self._rng.random())
        if peer.last_pong_at is None:
            interval = min(interval, SECOND_PING_AFTER)
        patience = self._patience + self._config.ping_timeout + self._tick_interval
        self.table.ping_sent(peer, now, now + interval, patience)

    def _pong(self, peer: Peer) -> None:
        now = self._clock()
        first = peer.last_pong_at is None
        seconds = self.table.pong(peer, now, self._late_now, now + SECOND_PING_AFTER)
        if seconds is None:
            return  # to no ping of ours: harmless
        self._events.emit(
            "rtt", nodeid=peer.nodeid, name=peer.name, rtt_ms=round(seconds * 1000, 3)
        )
        if not is_own_fault(seconds, self._late_now):
            self.round_trips.add(seconds)
        if first:
            self._tell_others(peer, now)

    def _addr_for(self, link: Link) -> bytes:
        """The addresses that we can vouch for, as many as fit, drawn at random."""
        alive = self.table.answered_since(self._clock() - ADDRESS_FRESH)
        if link.peer is not None:
            alive.pop(link.peer.nodeid, None)
        known = _may_hear(link, self.book.proven(alive))
        if len(known) > MAX_ADDRESSES:
            known = self._rng.sample(known, MAX_ADDRESSES)
        if link.peer is not None:
            self._gossip.knows(link.peer.nodeid, [nodeid for _, nodeid in known])
        return messages.encode_addr(known)

    def _heard(self, peer: Peer, message: Addr) -> None:
        """Note the addresses that a peer gives, and dial what is new."""
        now = self._clock()
        self._gossip.knows(peer.nodeid, [nodeid for _, nodeid in message.peers if nodeid])
        for address, nodeid in message.peers:
            if nodeid == self.myself.nodeid or not is_shareable(address):
                continue
            if is_loopback(address.host) and not is_loopback(peer.link.remote.host):
                continue  # theirs, not ours
            if nodeid == peer.nodeid or (nodeid is None and len(message.peers) == 1):
                self._claimed(peer, address, now)
            else:
                self.book.heard(address, nodeid, peer.nodeid, now)
        self._dial_more()

    def _message(self, peer: Peer, message: Message) -> None:
        """Hear it once, pass it on once if it is for everyone."""
        if not self._is_news(message.id):
            return
        if message.to is None or message.to == self.myself.nodeid:
            told = {"nodeid": peer.nodeid, "from": message.author, "body": message.body}
            self._events.emit("message", size=len(message.line), **told)
        if message.to is None:
            for other in self.table.up():
                if other.nodeid not in (peer.nodeid, message.author):
                    other.link.send(message.line)

    def _is_news(self, id: str) -> bool:
        with self._lock:
            if id in self._seen:
                return False
            self._seen[id] = None
            if len(self._seen) > MAX_SEEN:
                self._seen.popitem(last=False)
            return True

    def _say_unsaid(self, link: Link) -> None:
        with self._lock:
            lines, self._unsaid = list(self._unsaid), deque(maxlen=UNSAID_BROADCASTS)
        for line in lines:
            link.send(line)

    # -- rows of the matrix ---------------------------------------------------------------------

    def own_row(self) -> Links:
        """What we have measured to each node that is or was our peer."""
        verdicts = self.reach.verdicts()
        found = []
        for peer in self.table.snapshot(verdicts):
            link = {
                "nodeid": peer.nodeid,
                "name": peer.name,
                # A zone (fe80::1%eth0) means nothing elsewhere, and is refused there.
                "address": None if "%" in peer.address else peer.address,
                "direction": peer.direction,
                "rtt_ms": peer.rtt_ms,
                "rtt_p50_ms": peer.rtt_p50_ms,
                "rtt_max_ms": peer.rtt_max_ms,
                "jitter_ms": peer.jitter_ms,
                "dial": peer.dial,
                "dial_ms": peer.dial_ms,
                "up_s": round(peer.up_seconds, 1),
            }
            verdicts.pop(peer.nodeid, None)
            found.append(link)
        for nodeid, met in verdicts.items():
            link = {"nodeid": nodeid, "name": met.name, "direction": "none", "dial": met.dial}
            if met.address is not None and is_shareable(met.address):
                link["address"] = str(met.address)
            found.append(link)
        return Links(
            nodeid=self.myself.nodeid,
            name=self.myself.name,
            lag_ms=in_ms(self._lateness),
            links=tuple(_without_blanks(link) for link in found),
        )

    def rows(self) -> List[Links]:
        """The whole matrix as far as it is known here; our own row first."""
        now = self._clock()
        found = [self.own_row()]
        for row in self.matrix.rows(now):
            try:
                found.append(read_row(row, now))
            except PeerMisbehaved as error:
                self.matrix.forget(row.nodeid)
                peer = self.table.get(row.nodeid)
                if peer is not None:
                    peer.link.close(error.reason, str(error))
        return found

    def stale_after(self) -> float:
        """Seconds after which a row says nothing about now, its node being like us.  Any thread."""
        return STALE_AFTER_INTERVALS * max(self._config.ping_interval, self._least_row_interval())

    def _all_rows(self) -> List[bytes]:
        """The answer to ``getlinks``; made anew twice a second, however often somebody asks."""
        now = self._clock()
        with self._lock:
            made_at, lines = self._answer
        if now - made_at >= ANSWER_FRESH:
            lines = [messages.encode_links(row) for row in self.rows()]
            lines.append(messages.encode_end_of_links(self.myself.nodeid, self.stale_after()))
            with self._lock:
                self._answer = (now, lines)
        return lines

    def _push_row(self, now: float) -> None:
        """Send our row to everyone each ``ping_interval``, and a second after a change in it."""
        changes = self.table.changes() + self.reach.changes()
        interval = self._config.ping_interval
        if changes != self._row_changes:
            interval = min(interval, ROW_AFTER_CHANGE)
        interval = max(interval, self._least_row_interval())
        if self._lateness > LATE_SECONDS:  # we cannot keep up: do not make it worse
            # But not so long that the last row would be taken for an old one.
            interval = min(interval * PATIENT_WHEN_LATE, self.stale_after() * 2 / 3)
        if now - self._row_at < interval:
            return
        self._row_at = now
        self._row_changes = changes
        readers = [peer for peer in self.table.up() if peer.hello.version is not None]
        if readers:
            line = messages.encode_links(self.own_row())
            for peer in readers:
                peer.link.send(line)

    def _least_row_interval(self) -> float:
        return self.table.occupied() / ROWS_A_SECOND

    # -- proving and passing on addresses -------------------------------------------------------

    def _meet(self, peer: Peer, now: float) -> None:
        """From now on it is probed, beside the connection and after it."""
        self.reach.met(peer.nodeid, peer.name, now)
        self._gossip.met(peer.nodeid, now)
        if peer.link.direction == INBOUND and peer.claimed is not None:
            self._claimed(peer, peer.claimed, now, leisurely=not self._is_hub())

    def _claimed(
        self, peer: Peer, address: Address, now: float, leisurely: bool = False
    ) -> None:
        """``peer`` says that it lives there.  Connected as we are, only a probe can tell."""
        if not is_shareable(address) or self.book.knows_as_mine(address):
            return
        if self.reach.claimed(peer.nodeid, address, now, leisurely):
            self._probe_due(now)

    def _is_hub(self) -> bool:
        """Whether all our peers have dialed us: we may be the one address that everyone was given.

        Then newcomers hear of each other from us alone.  Who has dialed somebody itself has shown
        them the way there, and need not hurry.
        """
        return all(peer.link.direction == INBOUND for peer in self.table.up())

    def _found(self, address: Address, nodeid: str, probe: bool, now: float) -> None:
        """``nodeid`` lives there; so whoever lived there before is not to be found any more."""
        before = self.book.nodeid_at(address)
        self.book.found(address, nodeid, now, probe)
        if before is not None and before != nodeid and not self._may_be_found(before):
            self.reach.forget(before)
            self.matrix.forget(before)

    def _may_be_found(self, nodeid: str) -> bool:
        return nodeid in self.table.nodeids() or bool(self.book.proven([nodeid]))

    def _probe_due(self, now: float) -> None:
        while not self._stopping:  # read without the lock: a moment late does no harm
            probes = self.reach.due(now, self.table.nodeids())
            for probe in probes:
                if not self._may_be_found(probe.nodeid):
                    self.reach.forget(probe.nodeid)
                    self.reach.outcome(probe.nodeid, probe.address, None, None, now)
                elif self.book.knows_as_mine(probe.address):
                    self.reach.outcome(probe.nodeid, probe.address, WRONG_PEER, None, now)
                else:
                    self._dial(probe.address, True, probe.nodeid)
            if not probes:
                return

    def _probe_over(
        self,
        nodeid: str,
        address: Address,
        verdict: Optional[str],
        seconds: Optional[float],
        now: float,
    ) -> None:
        """Note what came of a probe, and use the place that it leaves."""
        self.reach.outcome(nodeid, address, verdict, seconds, now)
        if verdict in SILENT:
            peer = self.table.get(nodeid)
            if peer is not None:  # is it only the way there, or is the peer dead?
                self.table.ping_soon(peer, now)
        self._probe_due(now)

    def _tell_others(self, peer: Peer, now: float) -> None:
        """Tell other peers of an address that has just become worth telling.

        At once; but what follows before the next beat, all together then.  Where 32 nodes start
        at the same time each proves the address of every other one within a second or two, and to
        say so one by one was a third of all that they did.
        """
        if peer.last_pong_at is None or now - peer.last_pong_at > ADDRESS_FRESH:
            return
        proven = self.book.proven([peer.nodeid])
        if not proven or not self.table.tell_once(peer):
            return
        if self._gossip.add(peer.nodeid, [address for address, _ in proven]):
            self._tell_news(now)

    def _tell_news(self, now: float) -> None:
        for other, news in self._gossip.tell(self.table.up(), self._is_hub(), now):
            entries = _may_hear(other.link, [(one.address, one.nodeid) for one in news])
            if entries:
                other.link.send(messages.encode_addr(entries))

    # -- dialing ------------------------------------------------------------------------------

    def _dial_more(self) -> None:
        """Dial what is due, while there are fewer than half as many peers as fit."""
        now = self._clock()
        if not self.book.may_be_due(now):  # nearly always: asked whenever anything has happened
            return
        occupied = self.table.occupied()
        with self._lock:
            if self._stopping:
                return
            room = (self._config.max_peers + 1) // 2 - occupied - self._dialing
            most = min(room, MAX_DIALS - self._dialing)
            if most <= 0:
                return
            self._dialing += most  # taken before asking the book, so that two threads share it
        due = self.book.due(now, self.table.nodeids(), most)
        with self._lock:
            self._dialing -= most - len(due)
        for address in due:
            self._dial(address, False, self.book.nodeid_at(address))

    def _dial_over(self) -> None:
        with self._lock:
            self._dialing -= 1

    def _gone(self, peer: Peer, reason: str, now: float) -> None:
        """A peer is gone, unless we knew; with too few left, do not wait for any backoff."""
        # Who was never let in has no say: anyone could say goodbye for somebody else.
        left = reason == "stopping" and peer.up
        if not self.table.remove(peer, reason):
            return
        self._gossip.gone(peer.nodeid)
        self.book.lost(peer.nodeid, now, stopping=left)
        if left:
            self.reach.forget(peer.nodeid)
            self.matrix.forget(peer.nodeid)
        else:
            proven = [where for where, _ in self.book.proven([peer.nodeid])]
            self.reach.lost(peer.nodeid, proven, now)
        again = self.table.holder(peer.nodeid)
        if again is not None:  # it has come back at this very moment, on another thread
            self._meet(again, now)
        self.book.wake()
        others = self.table.occupied()
        if others < ENOUGH_PEERS:
            self.book.hurry(now, everyone=others == 0)

    def _refused(self, address: Address, reason: str, detail: str, direction: str) -> None:
        """Tell that a connection did not become a peer; not again for each retry.

        Whom we dial is told of when the reason is new; who dials us, once a second.
        """
        key = address.host if direction == INBOUND else str(address)
        now = self._clock()
        with self._lock:
            last_at, last_reason = self._refusals.get(key, (float("-inf"), ""))
            quiet = now - last_at < 1.0 if direction == INBOUND else reason == last_reason
            if quiet or self._stopping:
                return
            self._refusals[key] = (now, reason)
            self._refusals.move_to_end(key)
            if len(self._refusals) > REFUSALS_REMEMBERED:
                self._refusals.popitem(last=False)
        self._events.emit("refused", address=str(address), reason=reason)
        level = INFO if reason == "protocol" else DEBUG
        self._events.log(level, "%s %s: %s %s", address, direction, reason, detail)


@functools.lru_cache(maxsize=16)  # each peer is told, and there are as many as we have addresses
def _addr_of(own: Optional[Address], nodeid: str) -> bytes:
    """The line that says where ``nodeid`` is; none if that means nothing to others."""
    return b"" if own is None or not is_shareable(own) else messages.encode_addr([(own, nodeid)])


def _without_blanks(link: Dict[str, Any]) -> Dict[str, Any]:
    """A link of a row without what is not known: a name that nobody gave, a time not measured."""
    return {field: value for field, value in link.items() if value not in (None, "")}


def _may_hear(link: Link, entries: List[Tuple[Address, str]]) -> List[Tuple[Address, str]]:
    """Loopback addresses mean something only on this machine."""
    if is_loopback(link.remote.host):
        return entries
    return [entry for entry in entries if not is_loopback(entry[0].host)]


def _verdict(link: Link, reason: str) -> Optional[str]:
    """What a dial has shown that led to a connection; ``None`` if nothing."""
    if link.said_bye and link.found is None:
        return None  # we were too late for it, perhaps
    if link.found is not None:
        return OK if link.found == link.wanted else WRONG_PEER
    return _WITHOUT_HELLO.get(reason)


_WITHOUT_HELLO = {"closed": RESET, "timeout": TIMEOUT, "protocol": WRONG_PEER}
"""A connection, and no hello.  Who says ``full`` instead of it may be anybody."""
