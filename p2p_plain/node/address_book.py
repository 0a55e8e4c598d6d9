"""The address book: every address that this node has heard of, and when to dial it next.

The peer table has the nodes that are connected *now*; the book has addresses that *could* be dialed.
There are three kinds:

* **bootstrap**: our user gave it; it is never forgotten.
* **proven**: we dialed it, and a node said hello.
* **heard**: a peer named it, and that may be a lie.  It goes when that peer goes, and is dialed no more
  after a few failures, at most once a second for each host.

A heard address never displaces a proven one, and of each peer only so many are kept, so a liar cannot
fill the book (``shelf``).

After a failed dial an address waits, each time twice as long as before (backoff).  Some randomness is
added, so that many nodes do not dial in step.

``discovery`` asks which addresses are due and reports what became of each dial.  Times are seconds of
a monotonic clock, which is passed in, as randomness is.  No sockets and no threads.
"""

import random
from collections import OrderedDict
from threading import Lock

from ..common.address import Address, is_shareable
from ..common.typing import Iterable, List, Mapping, Optional, Tuple
from .book_entries import Entry, HeardAddress, Kept, KeptAddress
from .knocks import UNPROVEN_A_SECOND, Knocks
from .peer import Peer
from .shelf import MAX_PER_HOST, REPLACED_AFTER, Shelf

BACKOFF_FIRST = 1.0
BACKOFF_MAX = 300.0
"""A failed address is tried again after 1 s, 2 s, 4 s ... 300 s, each with up to half of itself added
at random.  After a power cut a hundred nodes must not all dial the first one in step."""

BACKOFF_MAX_ALONE = 8.0
"""The longest backoff, in seconds, while we have no peer.  Then the fault is probably our own cable,
and its owner looks whether we are back right after plugging it in."""

ENOUGH_PEERS = 2
"""With fewer peers than this no bootstrap address waits longer than ``BACKOFF_MAX_ALONE``."""

FORGET_AFTER = 24 * 3600.0
"""Seconds of failure after which an address is dropped, unless it is a bootstrap address."""

STABLE_AFTER = 30.0
"""Seconds after which a connection forgives the failures before it.  Otherwise a peer that lets us in
and hangs up would be dialed every second."""

HEARD_TRIES = 3
"""Failures after which an address that was only heard of is dialed no more."""

HEARD_AGAIN_AFTER = 10.0
"""Seconds between two dials that do not wait for the backoff: when a peer names the address again, or
when our last peers are lost.  A peer that repeats itself must not make us dial all the time."""

MINE_FOR = 600.0
"""Seconds after which an address that led to this node is dialed again: it may lead elsewhere by now.  A
bootstrap address is, while there are few peers, as soon as any that fails: behind a load balancer every
node may reach itself first."""

CHECKED_AFTER = 15.0
"""Seconds until an address that our user gave is dialed although its node has connected from another
host.  Earlier, the new connection could be taken for one end of a tie."""

MAX_GONE = 1024
"""Nodes remembered whose addresses were forgotten, so that old hearsay does not bring them back."""

FAILURES_ALONE = 5
"""Most failures that a lone node counts.  After five the wait would be 16 s, above the limit of 8."""

BACKOFF_MAX_STRANGE = 60.0
"""The longest backoff, in seconds, while there are few peers, if one end has no secret or another one: a
mistake that a person has to mend.  With the usual five minutes somebody on the way who forges that answer
once could keep a member out for as long."""

FAILURES_STRANGE = 7
"""Most failures that are counted then.  After seven the wait would be 64 s, above the limit of 60."""

NEVER = float("inf")


class AddressBook:
    """The addresses one node knows.  Any thread may call any method."""

    def __init__(self, rng: random.Random, max_per_host: int = MAX_PER_HOST) -> None:
        self._rng = rng
        self._lock = Lock()
        # Guarded by _lock.
        self._shelf = Shelf(max_per_host)
        self._gone: OrderedDict[str, None] = OrderedDict()
        """Nodes that ``forget`` was called for, the first one first."""
        self._next_due = NEVER
        """Before this time ``due`` need not walk through 4,096 entries.  ``due`` raises it; a method
        that makes an entry due earlier must lower it."""
        self._unlisted: OrderedDict[Address, None] = OrderedDict()
        """Addresses that the nodes found there do not know as theirs, the last one last."""
        self._knocks = Knocks()

    def exempt(self, hosts: Iterable[str]) -> None:
        """Let unproven addresses of our own hosts be dialed without a pause."""
        with self._lock:
            self._knocks.exempt = frozenset(hosts)

    # -- what we learn ------------------------------------------------------------

    def add_bootstrap(self, addresses: Iterable[Address], now: float) -> None:
        """Add our user's addresses, which are never dropped."""
        with self._lock:
            for address in addresses:
                entry = self._shelf.get(address) or self._insert_locked(address, now)
                entry.bootstrap = True
                self._shelf.set_source(entry, None)

    def add_kept(self, kept: Kept, now: float) -> None:
        """Add the addresses of the peers file, within the same bounds."""
        with self._lock:
            for one in kept.proven:
                if one.address not in self._shelf and self._shelf.make_room(one.address, True):
                    entry = self._insert_locked(one.address, now)
                    self._shelf.prove(entry, one.nodeid, now - one.age)
        for address, nodeid, source in kept.heard:
            self.note_heard(address, nodeid, source, now)

    def note_heard(self, address: Address, nodeid: "Optional[str]", source: str, now: float) -> None:
        """Note that the peer ``source`` (a nodeid) says that ``nodeid`` is at ``address``."""
        with self._lock:
            if nodeid in self._gone:
                return
            entry = self._shelf.get(address)
            if entry is None:
                if self._shelf.may_add_heard(source, now) and self._shelf.make_room(address, False):
                    entry = self._insert_locked(address, now)
                    entry.nodeid = nodeid
                    self._shelf.set_source(entry, source)
                return
            if entry.mine_at is not None or entry.dialing:
                return
            # Peers advertise only addresses that answered them lately, so another try is worth it.
            if entry.left:
                if entry.gave_up_at is not None and now - entry.gave_up_at < REPLACED_AFTER:
                    return
                if entry.gave_up_at is not None:
                    entry.failures, entry.failing_since, entry.gave_up_at = 0, None, None
                entry.left = False
                self._due_locked(entry, now)
            elif entry.failures:
                again = max(now, entry.tried_at + HEARD_AGAIN_AFTER)
                self._due_locked(entry, min(entry.next_try_at, again))
            # An address that our user gave is dialed whichever node hearsay says is there.
            if entry.source is not None and nodeid is not None and nodeid != entry.nodeid:
                # Where two peers name two nodes, nobody knows which one is there.
                entry.nodeid = nodeid if entry.source == source else None
                self._look_again_locked(now)

    def note_found(self, address: Address, nodeid: str, now: float, probe: bool = False) -> None:
        """Note that ``nodeid`` said hello at ``address``, which is proven now.

        Whether that node becomes a peer is another question: see ``made_peer`` and ``failed``.  If this
        was a ``probe``, and dials had failed before, the next dial is due now.
        """
        with self._lock:
            entry = self._entry_locked(address, now)
            if entry is None:
                return
            if probe and entry.failing_since is not None:
                entry.failures = min(entry.failures, 1)
                self._due_locked(entry, now)
            self._gone.pop(nodeid, None)
            self._unlisted.pop(address, None)
            entry.failing_since = entry.gave_up_at = None
            entry.left = False
            if entry.mine_at is not None:
                entry.mine_at = None
                self._due_locked(entry, now)
            self._look_again_locked(now)
            self._shelf.prove(entry, nodeid, now)

    def note_unlisted(self, address: Address) -> None:
        """Note that the node found at ``address`` does not know it as its own.  It is not advertised."""
        with self._lock:
            self._unlisted[address] = None
            self._unlisted.move_to_end(address)
            if len(self._unlisted) > MAX_GONE:
                self._unlisted.popitem(last=False)

    def is_unlisted(self, address: Address) -> bool:
        """Return whether the node found at ``address`` does not know it as its own."""
        with self._lock:
            return address in self._unlisted

    def note_elsewhere(self, address: Address, nodeid: str) -> None:
        """Note that a program at ``address`` says ``nodeid``, which is connected from another address."""
        with self._lock:
            entry = self._shelf.get(address)
            if entry is not None:
                entry.failing_since = None
                self._shelf.unprove(entry)
                entry.nodeid = nodeid

    def note_mine(self, address: Address, now: float) -> bool:
        """Note that ``address`` leads to this node; return whether that is new."""
        with self._lock:
            entry = self._entry_locked(address, now)
            if entry is None:
                return False
            new = entry.mine_at is None
            entry.mine_at = now
            entry.next_try_at = now + MINE_FOR
            self._shelf.unprove(entry)
            entry.nodeid = None
            return new

    def made_peer(self, address: Address, now: float) -> None:
        """Note that the dial of ``address`` made a peer."""
        with self._lock:
            entry = self._shelf.get(address)
            if entry is not None:
                entry.dialing = False
                entry.tried_at = now
                entry.up_at = now
                # Another address of the same node may have waited for this dial.
                self._look_again_locked(now)

    def connection_over(self, address: Address, now: float) -> None:
        """Note that the connection that a dial of ``address`` made is over."""
        with self._lock:
            entry = self._shelf.get(address)
            if entry is not None and entry.up_at is not None:
                # ``lost`` has not done it: the connection was forwarded to a node that is elsewhere.
                self._dial_again_locked(entry, now)
            self._look_again_locked(now)

    def begin(self, address: Address, now: float) -> bool:
        """Add an address that our user wants dialed, and mark it as being dialed; False if it is already."""
        with self._lock:
            entry = self._entry_locked(address, now)
            if entry is None:
                return True  # the book is full: dial it without a mark
            if entry.dialing:
                return False
            self._begin_locked(entry, now)
            return True

    def failed(
        self, address: Address, now: float, peers: int, blame: bool = True, strange: bool = False
    ) -> None:
        """Note that the dial of ``address`` made no peer: wait longer before the next one.

        ``peers`` is the number of our peers.  Without any, the fault is probably ours, and no address
        is dropped for it; with few, bootstrap addresses do not wait long.  ``blame`` is False if the
        node is there but is full, ``strange`` is True if what is there is no member of our network.
        """
        with self._lock:
            entry = self._shelf.get(address)
            if entry is None:
                return
            if entry.orphaned and entry.source is not None:
                self._shelf.drop(entry)
                self._look_again_locked(now)
                return
            entry.dialing = False
            entry.tried_at = now
            entry.failures += 1
            delay = _backoff(entry.failures)
            if entry.mine_at is not None and entry.mine_at < entry.begun_at:
                entry.mine_at = None  # this dial has not led to us
            if peers == 0 or (peers < ENOUGH_PEERS and entry.bootstrap):
                entry.failing_since = None
                delay = min(delay, BACKOFF_MAX_STRANGE if strange else BACKOFF_MAX_ALONE)
                # Once there are peers again, the backoff goes on from that delay.
                entry.failures = min(entry.failures, FAILURES_STRANGE if strange else FAILURES_ALONE)
            elif blame:
                if entry.failing_since is None:
                    entry.failing_since = now
                elif now - entry.failing_since > FORGET_AFTER and not entry.bootstrap:
                    self._shelf.drop(entry)
                    return
                if entry.source is not None and entry.failures >= HEARD_TRIES:
                    entry.left, entry.gave_up_at = True, now
            if entry.mine_at is not None and not (entry.bootstrap and peers < ENOUGH_PEERS):
                delay = MINE_FOR
            entry.next_try_at = now + delay * (1.0 + self._rng.random() / 2.0)
            # Another address of the same node may have waited for this dial.
            self._look_again_locked(now)

    def lost(self, nodeid: str, now: float, stopping: bool) -> None:
        """Note the end of the connection to ``nodeid``: dial it again unless it said that it stops."""
        with self._lock:
            for entry in self._shelf.all():
                if entry.nodeid != nodeid:
                    continue
                if entry.gave_up_at is None:
                    entry.left = stopping and not entry.bootstrap
                if entry.left or entry.proven_at is None:
                    entry.up_at = None
                else:
                    self._dial_again_locked(entry, now)

    def forget_heard(self, source: str) -> None:
        """Drop the unproven addresses that the peer ``source`` named: it is gone."""
        with self._lock:
            for entry in map(self._shelf.get, list(self._shelf.heard_from(source))):
                if entry is None:
                    continue
                if entry.dialing:
                    entry.orphaned = True  # this dial is the last one
                else:
                    self._shelf.drop(entry)

    def forget(self, nodeid: str) -> List[Address]:
        """Drop the addresses of a node that will not be back; return them.  Hearsay of it is ignored."""
        with self._lock:
            theirs = [entry for entry in self._shelf.all() if entry.nodeid == nodeid]
            for entry in theirs:
                if entry.bootstrap:
                    self._shelf.unprove(entry)
                    entry.nodeid = None
                elif entry.up_at is None:
                    self._shelf.drop(entry)
            self._gone[nodeid] = None
            if len(self._gone) > MAX_GONE:
                self._gone.popitem(last=False)
            return [entry.address for entry in theirs]

    def hurry(self, now: float, everyone: bool) -> None:
        """Few peers are left: do not wait for the backoff of bootstrap addresses, or ``everyone``'s."""
        with self._lock:
            for entry in self._shelf.all():
                wanted = entry.bootstrap or (everyone and entry.mine_at is None)
                if wanted and entry.next_try_at > now:
                    # An address dialed just now is dialed again a little later: a node that lets us
                    # in and hangs up must not be dialed faster for it.
                    at = now + BACKOFF_FIRST * self._rng.random()
                    if now - entry.tried_at >= HEARD_AGAIN_AFTER:
                        entry.failures = min(entry.failures, 1)
                    else:
                        at = entry.tried_at + HEARD_AGAIN_AFTER
                    self._due_locked(entry, min(entry.next_try_at, at))

    def may_knock(self, host: str, now: float) -> bool:
        """Return whether an unproven address of ``host`` may be dialed now, and note that if so."""
        with self._lock:
            return self._knocks.may(host, now)

    # -- what we answer -------------------------------------------------------------

    def may_be_due(self, now: float) -> bool:
        """Return whether ``due`` may find an address: a quick answer without the lock, usually no."""
        return now >= self._next_due

    def due(self, now: float, connected: Mapping[str, Peer], most: int) -> List[Address]:
        """Return up to ``most`` addresses to dial now, marked as being dialed: proven ones first.

        ``connected`` has the peers; their addresses need not be dialed.  But what our user gave is dialed
        all the same, now and then, if its node is connected from another host: that may be an impostor.
        """
        with self._lock:
            if now < self._next_due or most <= 0:
                return []
            ready: List[Entry] = []
            self._next_due = NEVER
            # Two addresses of one node are dialed one after the other, not both at once.  An address that
            # our user gave waits only for those that are proven: peers may name any node for it.
            dialing = [entry for entry in self._shelf.all() if entry.dialing]
            known_busy = {entry.nodeid for entry in dialing if entry.source is None}
            busy = {entry.nodeid for entry in dialing}.union(connected)
            known_busy.discard(None)  # two that nobody has named are not one
            busy.discard(None)
            for entry in self._shelf.all():
                if entry.left or entry.dialing or entry.nodeid in known_busy:
                    continue
                if entry.up_at is not None:  # it is connected, under whatever nodeid
                    continue
                at = entry.next_try_at
                if entry.nodeid in busy:
                    if not entry.bootstrap:
                        continue
                    peer = connected.get(entry.nodeid or "")
                    if peer is not None:
                        if peer.is_at(entry.address):
                            continue
                        at = max(at, peer.greeted_at + CHECKED_AFTER)
                if at <= now:
                    ready.append(entry)
                self._next_due = min(self._next_due, at)
            # Sorting keeps the order of equals, so among them the shuffle decides.
            self._rng.shuffle(ready)
            ready.sort(key=lambda e: (e.proven_at is None, not e.bootstrap))
            chosen: List[Address] = []
            for entry in ready:
                if len(chosen) >= most:
                    break
                if entry.nodeid in (known_busy if entry.bootstrap else busy):
                    continue
                if not self._knocks.may_dial(entry, now):
                    continue
                self._begin_locked(entry, now)
                chosen.append(entry.address)
                if entry.nodeid is not None:
                    busy.add(entry.nodeid)
                    if entry.source is None:
                        known_busy.add(entry.nodeid)
            if not chosen:  # perhaps the bucket is empty: do not walk through the book all the time
                self._next_due = max(self._next_due, now + 1.0 / UNPROVEN_A_SECOND)
            return chosen

    def wake(self) -> None:
        """Peers have come or gone, so other addresses may be due now."""
        with self._lock:
            self._next_due = float("-inf")

    def proven(self, nodeids: Iterable[str]) -> List[Tuple[Address, str]]:
        """Return every proven address of ``nodeids``."""
        with self._lock:
            return [
                (address, nodeid) for nodeid in nodeids for address in self._shelf.proven_of(nodeid)
            ]

    def knows_as_mine(self, address: Address) -> bool:
        """Return whether the last dial of ``address`` has led to ourselves."""
        with self._lock:
            entry = self._shelf.get(address)
            return entry is not None and entry.mine_at is not None

    def trusts(self, address: Address) -> bool:
        """Return whether our user gave ``address``, or a node was found there."""
        with self._lock:
            entry = self._shelf.get(address)
            return entry is not None and (entry.bootstrap or entry.proven_at is not None)

    def is_hearsay(self, address: Address) -> bool:
        """Return whether only other nodes say that a node is at ``address``."""
        with self._lock:
            entry = self._shelf.get(address)
            return entry is not None and entry.source is not None

    def nodeid_at(self, address: Address) -> Optional[str]:
        """Return the node that was found, or is said to be, at ``address``."""
        with self._lock:
            entry = self._shelf.get(address)
            return None if entry is None else entry.nodeid

    def __len__(self) -> int:
        with self._lock:
            return len(self._shelf)

    def changes(self) -> int:
        """Return a number that grows whenever the result of ``kept`` changes."""
        with self._lock:
            return self._shelf.changes

    def kept(self, now: float) -> Kept:
        """Return the content of the peers file: proven addresses, the freshest first, and others."""
        proven: List[KeptAddress] = []
        heard: List[HeardAddress] = []
        with self._lock:
            for entry in self._shelf.all():
                if not is_shareable(entry.address) or entry.mine_at is not None:
                    continue
                if entry.proven_at is not None and entry.nodeid is not None:
                    age = max(0.0, now - entry.proven_at)
                    proven.append(KeptAddress(entry.address, entry.nodeid, age))
                elif entry.source is not None:
                    heard.append(HeardAddress(entry.address, entry.nodeid, entry.source))
        return Kept(sorted(proven, key=lambda kept: kept.age), heard)

    # -- inside; the caller holds _lock -----------------------------------------------

    def _begin_locked(self, entry: Entry, now: float) -> None:
        entry.dialing = True
        entry.begun_at = now

    def _insert_locked(self, address: Address, now: float) -> Entry:
        entry = self._shelf.insert(address, now)
        self._look_again_locked(now)
        return entry

    def _entry_locked(self, address: Address, now: float) -> Optional[Entry]:
        """Return the entry of ``address``, a new one if need be; ``None`` if the book is full."""
        entry = self._shelf.get(address)
        if entry is None and self._shelf.make_room(address, True):
            entry = self._insert_locked(address, now)
        return entry

    def _dial_again_locked(self, entry: Entry, now: float) -> None:
        """Dial ``entry`` again soon, as its connection is over; later if it did not stand for long."""
        up_at, entry.up_at = entry.up_at, None
        if up_at is None or now - up_at >= STABLE_AFTER:
            entry.failures = 0
        else:
            entry.failures += 1
        # Both ends dial again; randomness keeps them from doing so at once.
        delay = _backoff(entry.failures - 1) if entry.failures > 1 else 0.0
        self._due_locked(entry, now + delay + BACKOFF_FIRST * self._rng.random())

    def _due_locked(self, entry: Entry, at: float) -> None:
        entry.next_try_at = at
        self._look_again_locked(at)

    def _look_again_locked(self, at: float) -> None:
        """Have ``due`` walk through the book at that time, or earlier."""
        self._next_due = min(self._next_due, at)


def _backoff(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row, before randomness is added."""
    doublings = min(failures - 1, 30)  # far beyond the ceiling, far below an overflow
    return min(BACKOFF_FIRST * 2.0 ** doublings, BACKOFF_MAX)
