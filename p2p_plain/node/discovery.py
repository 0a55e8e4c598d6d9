"""Finding other nodes: ``getaddr`` and ``addr``, which addresses to trust, and whom to dial.

An address goes through this module from hearsay to advertisement:

1. **Heard.**  A peer names it in an ``addr``, or claims it as its own.  It may be a lie.
2. **Dialed.**  The address book says when.  A program that answers does not learn our name before it
   has said hello (``membership``).  A peer that dialed us is probed where it claims to listen
   (``claims``): its connection does not show that others could dial it.
3. **Proven.**  A node said hello there.  Only now can it be advertised.
4. **Advertised.**  As an answer to ``getaddr``, and once, unasked, when it is new.

A new address spreads from node to node, once: the first news of a tick go out at once, further ones
together with the next tick.  A peer that is known to know a newcomer is left out.  If two newcomers
heard of each other at the same time, both would dial.  So the node from which they hear of each other
reports the second one's address a little later.  Where both dial all the same, ``peer_table`` settles
that.

``membership`` reports peers and connections, ``overlay`` everything else.  No sockets and no
threads.  Any thread may call any method.
"""

from collections import OrderedDict, deque
from threading import Lock

from ..common.address import Address, is_link_local, is_loopback, is_shareable
from ..common.outcomes import TIMEOUT
from ..common.typing import Deque, Iterable, List, Optional, Set, Tuple
from . import messages
from .address_book import ENOUGH_PEERS
from .claims import CLAIMS_A_PEER, Claim, Claims
from .hooks import DialEnd
from .knocks import KNOCK_PAUSE
from .messages import MAX_ADDRESSES, Addr
from .parts import Parts
from .peer import INBOUND, Link, Order, Peer

MAX_DIALS = 16
"""Dials under way at once, and threads in the connector's pool.  Each may wait for ``DIAL_TIMEOUT``
where a firewall drops packets: sixteen threads get through 64 dead addresses in 20 s."""

ADDRESS_FRESH = 240.0
"""An address is advertised only if its node has answered a ping within so many seconds: four default
ping intervals, as the article says."""

ADVERTISED_AT_ONCE = 8
"""Peers that hear of a newly proven address at once; they advertise it further.  With eight random
neighbours a network of 1,000 survives the death of half of it in 18 of 20 runs; with four in none."""

UNPRIVILEGED_FROM = 1024
"""Ports below it belong to the system's services.  A node listens there only if its user wants it so."""

NEW_FOR = 30.0
"""Seconds for which a peer counts as a newcomer: until its address is proven and advertised."""

SECOND_NEWS_AFTER = 2.0
"""Seconds until a newcomer hears of another one that has heard of it.  By then the other one has dialed
it, unless a firewall is in the way.  (Measured: where 32 nodes start together, it saves 25 connections
of 100, and a tenth of the processor time.)"""


class Discovery:
    """The addresses of one node's network, and its dials."""

    def __init__(self, parts: Parts) -> None:
        # Immutable; each of the objects has its own lock.
        self._nodeid, self._rng, self._dial = parts.myself.nodeid, parts.rng, parts.dial
        self._table, self._book, self._hooks = parts.table, parts.book, parts.hooks
        self._claims = Claims(parts.rng)
        self._privileged = parts.myself.port < UNPRIVILEGED_FROM
        self._book.exempt(address.host for address in parts.myself.addresses)

        self._lock = Lock()
        # Guarded by _lock.  A leaf: nothing else is called while it is held.
        self._stopping = False
        self._dialing = 0
        """Dials that are to make peers, queued or under way.  Probes do not count."""
        self._newcomers: OrderedDict[str, Tuple[float, Set[str]]] = OrderedDict()
        """By nodeid, the oldest first: when we met it, and the peers that know it."""
        self._news: List[str] = []
        """Nodeids of peers whose addresses are to be advertised."""
        self._advertised = False
        """True if something was advertised since the last tick; further news wait for the next."""
        self._second_news: Deque[Tuple[float, Peer, List[str]]] = deque()
        """When which newcomer is to hear of others that have heard of it; the earliest first."""

    def stop(self) -> None:
        """Dial nobody from now on."""
        with self._lock:
            self._stopping = True

    def stopping(self) -> bool:
        """True after ``stop``.  Read without the lock: a moment late does no harm."""
        return self._stopping

    def tick(self, now: float) -> None:
        """Do what is due.  The pinger's thread."""
        self._probe_claims(now)
        with self._lock:
            while self._newcomers and now - next(iter(self._newcomers.values()))[0] >= NEW_FOR:
                self._newcomers.popitem(last=False)
            self._advertised = bool(self._news)  # what goes out now counts for this tick
            news, self._news = self._news, []
            second = []
            while self._second_news and self._second_news[0][0] <= now:
                second.append(self._second_news.popleft())
        for _, peer, nodeids in second:
            self._tell(peer, [nodeid for nodeid in nodeids if self._table.get(nodeid)])
        if news:
            self._advertise(news, now)
        self.dial_more(now)

    # -- getaddr and addr ---------------------------------------------------------------

    def addresses_for(self, link: Link, now: float) -> bytes:
        """Return an ``addr`` with proven addresses of live peers, as many as fit, drawn at random."""
        alive = self._table.answered_since(now - ADDRESS_FRESH)
        if link.peer is not None:
            alive.pop(link.peer.nodeid, None)
        known = _meant_for(link, self._proven(alive.values()))
        if len(known) > MAX_ADDRESSES:
            known = self._rng.sample(known, MAX_ADDRESSES)
        if link.peer is not None:
            self._knows(link.peer.nodeid, [nodeid for _, nodeid in known])
        return messages.encode_addr(known)

    def receive_addr(self, peer: Peer, message: Addr, now: float) -> None:
        """Note the addresses that ``peer`` names, and dial what is new."""
        self._knows(peer.nodeid, [nodeid for _, nodeid in message.peers if nodeid])
        for address, nodeid in message.peers:
            if nodeid == self._nodeid or not self.may_name(peer.link, address):
                continue
            # A program that knows only the article gives no nodeids; a single address is its own.
            if nodeid == peer.nodeid or (nodeid is None and len(message.peers) == 1):
                self._claimed(peer, address, now)
            else:
                self._book.note_heard(address, nodeid, peer.nodeid, now)
        self.dial_more(now)

    def _proven(self, peers: Iterable[Peer]) -> List[Tuple[Address, str]]:
        """Return all addresses of ``peers`` that may be advertised, with their nodeids.

        Addresses where another program has said a peer's nodeid are left out: others would take that
        program for the peer.
        """
        homes = {peer.nodeid: peer.homes for peer in peers}
        return [one for one in self._book.proven(homes) if one[0] in homes[one[1]]]

    def may_name(self, link: Link, address: Address) -> bool:
        """True if we may dial ``address``, unproven, because the peer at the other end of ``link`` names it.

        Without that rule strangers could make us dial services that never were nodes: on our own machine,
        on our own link (where clouds keep their secrets), or on well-known ports.
        """
        remote = link.remote.host
        if not is_shareable(address):
            return False
        if is_loopback(address.host):
            return is_loopback(remote)  # else it is the peer's own machine, not ours
        if is_link_local(address.host) and not is_link_local(remote):
            return False
        return self.has_usual_port(address)

    def has_usual_port(self, address: Address) -> bool:
        """True if a node may well listen on that port; see ``UNPRIVILEGED_FROM``."""
        if address.port >= UNPRIVILEGED_FROM or self._privileged:
            return True
        return self._book.trusts(address) or address.host in self._table.callers()

    def may_knock(self, host: str, now: float) -> bool:
        """True if an unproven address of ``host`` may be dialed now, which is noted then."""
        return self._book.may_knock(host, now)

    # -- peers come and go --------------------------------------------------------------

    def met(self, peer: Peer, now: float) -> None:
        """Note a peer that has been let in, and have its claim probed if it dialed us."""
        with self._lock:
            self._newcomers.setdefault(peer.nodeid, (now, set()))
        self._hooks.met(peer, now)
        if peer.link.direction == INBOUND and peer.claimed is not None:
            self._claimed(peer, peer.claimed, now, at_leisure=not self._is_hub())

    def lost(self, peer: Peer, reason: str, now: float) -> None:
        """A peer's connection is over; it will not come back if the reason is ``stopping``."""
        with self._lock:
            self._newcomers.pop(peer.nodeid, None)
        self._claims.forget(peer.nodeid)
        self._book.forget_heard(peer.nodeid)
        self._book.lost(peer.nodeid, now, stopping=reason == "stopping")
        self._hooks.lost(peer, reason, now)
        again = self._table.holder(peer.nodeid)
        if again is not None:  # it has come back at this very moment, on another thread
            self.met(again, now)
        self._book.wake()
        others = self._table.occupied()
        if others < ENOUGH_PEERS:
            self._book.hurry(now, everyone=others == 0)

    def answered(self, peer: Peer, now: float) -> None:
        """Advertise ``peer`` if that has just become possible: it is proven and answers pings.

        At once, if it is the first of this tick.  Where 32 nodes start together each proves every
        other one within a second or two, and an ``addr`` for each was a third of all traffic.
        """
        if peer.last_pong_at is None or now - peer.last_pong_at > ADDRESS_FRESH:
            return
        if not self._proven([peer]) or not self._table.advertise_once(peer):
            return
        with self._lock:
            self._news.append(peer.nodeid)
            if self._advertised:
                return
            self._advertised = True
            news, self._news = self._news, []
        self._advertise(news, now)

    # -- dials and probes ---------------------------------------------------------------

    def note_found(self, link: Link, nodeid: str, now: float) -> Optional[Peer]:
        """Note that a dial has found ``nodeid``: an earlier node of that address is not there any more.

        Return the peer with that nodeid if it is not known to be at that address.  Then the dial proves
        nothing new, as any program can say a nodeid.
        """
        assert link.target is not None
        holder = self._table.holder(nodeid)
        if holder is not None and (holder.link is link or link.remote in holder.homes + holder.also_at):
            holder = None
        was_proven = (link.remote, nodeid) in self._book.proven([nodeid])
        link.elsewhere = holder is not None and not was_proven
        for address in {link.target, link.remote}:
            before = self._book.nodeid_at(address)
            if not link.elsewhere:
                self._book.note_found(address, nodeid, now, link.is_our_probe)
            else:
                self._book.note_elsewhere(address, nodeid)
            if before is not None and before != nodeid and not self.may_be_found(before):
                self._hooks.moved(before, now)
        known = self._table.get(nodeid) if link.is_our_probe else None
        if known is not None:
            self.answered(known, now)
        return holder

    def may_be_found(self, nodeid: str) -> bool:
        """True if that node is connected, or has a proven address."""
        return nodeid in self._table.nodeids() or bool(self._book.proven([nodeid]))

    def made_peer(self, link: Link, now: float) -> None:
        """The dial behind ``link`` has made a peer."""
        assert link.target is not None
        with self._lock:
            self._dialing -= 1
        self._book.made_peer(link.target, now)

    def made_no_peer(
        self, target: Address, now: float, blame: bool, strange: bool = False
    ) -> None:
        """The dial of ``target`` has made no peer; see ``AddressBook.failed`` for ``blame``.

        ``strange`` if one end is no member of the other's network.
        """
        with self._lock:
            self._dialing -= 1
        self._book.failed(target, now, self._table.occupied(), blame, strange)

    def dial_over(self, end: DialEnd, now: float, quick: bool = False) -> None:
        """A dial or probe that should find a certain node has shown what it could.

        The timeout of a ``quick`` one shows nothing: a longer one follows.
        """
        late = quick and end.outcome == TIMEOUT
        if end.probe:
            self._claims.over(end.nodeid, end.address, late)
        if not late:
            self._hooks.dial_ended(end, now)
        if end.probe:
            self._probe_claims(now)

    def probe(self, address: Address, nodeid: str, timeout: Optional[float] = None) -> None:
        """Dial ``address`` only to see whether ``nodeid`` answers; ``Hooks.dial_ended`` follows."""
        self._dial(Order(address, True, nodeid, timeout=timeout))

    def dial(self, address: Address, now: float) -> None:
        """Dial ``address`` now unless that is under way."""
        if self._book.begin(address, now):
            with self._lock:
                self._dialing += 1
            self._order_dial(address, hearsay=False)

    def dial_more(self, now: float) -> None:
        """Dial what is due, while there is room for peers that we dial (``PeerTable.room``)."""
        if not self._book.may_be_due(now):  # nearly always: asked whenever anything has happened
            return
        room = self._table.room()
        with self._lock:
            if self._stopping:
                return
            most = min(room, MAX_DIALS) - self._dialing
            if most <= 0:
                return
            self._dialing += most  # taken before asking the book, so that two threads share it
        due = self._book.due(now, self._table.holders(), most)
        with self._lock:
            self._dialing -= most - len(due)
        for address in due:
            self._order_dial(address, self._book.is_hearsay(address))

    def dial_again(self, target: Address) -> None:
        """Dial a node that does not know ``join`` again, and say who we are: a node is there for sure."""
        self._order_dial(target, hearsay=False)

    def _order_dial(self, address: Address, hearsay: bool) -> None:
        nodeid = self._book.nodeid_at(address)
        mss = None if nodeid is None else self._hooks.mss(nodeid)
        self._dial(Order(address, False, nodeid, mss, hearsay=hearsay))

    def _claimed(self, peer: Peer, address: Address, now: float, at_leisure: bool = False) -> None:
        if not self.may_name(peer.link, address) or self._book.knows_as_mine(address):
            return
        if address not in peer.homes:
            peer.homes = (peer.homes + (address,))[-CLAIMS_A_PEER - 1 :]
        self._hooks.claimed(peer, address, now)
        if (address, peer.nodeid) not in self._book.proven([peer.nodeid]):
            self._claims.note(Claim(peer.nodeid, address, peer.link.remote.host), now, at_leisure)
            self._probe_claims(now)

    def _probe_claims(self, now: float) -> None:
        if self._stopping:
            return
        for claim in self._claims.due(now):
            if self._book.knows_as_mine(claim.address):
                self._claims.over(claim.nodeid, claim.address)
            elif claim.address.host != claim.host and not self.may_knock(claim.address.host, now):
                self._claims.again_at(claim, now + KNOCK_PAUSE)
            else:
                self.probe(claim.address, claim.nodeid, claim.timeout)

    # -- news ---------------------------------------------------------------------------

    def _is_hub(self) -> bool:
        """True if all our peers have dialed us: we may be the one address that every node was given.

        Then newcomers hear of each other from us alone.  A node that has dialed somebody itself has
        shown its peers the way there, and need not hurry.
        """
        return all(peer.link.direction == INBOUND for peer in self._table.up())

    def _knows(self, nodeid: str, others: Iterable[str]) -> None:
        """Note that peer ``nodeid`` knows ``others``: it named them to us, or heard of them from us."""
        with self._lock:
            if self._newcomers:
                for other in others:
                    if other in self._newcomers:
                        self._newcomers[other][1].add(nodeid)

    def _advertise(self, news: List[str], now: float) -> None:
        """Send the addresses of ``news`` to peers that may not know them: to all, or to a few."""
        peers = self._table.up()
        here = {peer.nodeid for peer in peers}
        news = [nodeid for nodeid in news if nodeid in here]
        hub = self._is_hub()
        most = len(peers) if hub else ADVERTISED_AT_ONCE
        for peer in self._rng.sample(peers, len(peers)):
            if self._tell(peer, self._not_put_off(peer, news, now) if hub else news):
                most -= 1
                if most == 0:
                    return

    def _not_put_off(self, peer: Peer, news: List[str], now: float) -> List[str]:
        """Return the part of ``news`` that ``peer`` should hear now, and put off the rest."""
        with self._lock:
            _, dialing = self._newcomers.get(peer.nodeid, (0.0, set()))
            second = [nodeid for nodeid in news if nodeid in dialing and nodeid != peer.nodeid]
            if second:
                self._second_news.append((now + SECOND_NEWS_AFTER, peer, second))
        return [nodeid for nodeid in news if nodeid not in second]

    def _tell(self, peer: Peer, nodeids: List[str]) -> bool:
        """Send those addresses that ``peer`` may not know yet; False if there are none."""
        with self._lock:
            new = [
                nodeid
                for nodeid in nodeids
                if nodeid != peer.nodeid
                and peer.nodeid not in self._newcomers.get(nodeid, (0.0, ()))[1]
            ]
        holders = self._table.holders()
        entries = _meant_for(peer.link, self._proven([holders[one] for one in new if one in holders]))
        if not entries:
            return False
        entries = self._rng.sample(entries, min(len(entries), MAX_ADDRESSES))
        self._knows(peer.nodeid, [nodeid for _, nodeid in entries])
        peer.link.send(messages.encode_addr(entries))
        return True


def _meant_for(link: Link, entries: List[Tuple[Address, str]]) -> List[Tuple[Address, str]]:
    """Leave out addresses that mean something else to the other end, or nothing: see ``may_name``."""
    remote = link.remote.host
    if is_loopback(remote):
        return entries
    near = is_link_local(remote)
    return [
        (address, nodeid)
        for address, nodeid in entries
        if not is_loopback(address.host) and (near or not is_link_local(address.host))
    ]
