"""The shelf: the entries of the address book, under everything that they are looked up by, within bounds.

In a full book a newly proven address takes the place of one of the host that has most of them.

``address_book`` owns the shelf, decides what goes on it, and guards it with its lock.  No sockets,
threads or clock.
"""

from ..common.address import Address, is_loopback, is_shareable, site
from ..common.typing import Collection, Dict, Iterable, Optional, Set, Tuple
from .book_entries import Entry

MAX_BOOK = 4096
"""Addresses in the book.  Each takes about half a kilobyte, so strangers can fill 2 MiB."""

MAX_PER_HOST = 64
"""Addresses in the book of one host, loopback apart, unless the node is told otherwise.  Without a bound
a program that listens on 4,096 ports could fill the book with proven addresses."""

MAX_HEARD_PER_PEER = 64
"""Unproven addresses in the book from any one peer, so that a liar cannot fill it
(cf. Heilman et al., "Eclipse Attacks on Bitcoin's Peer-to-Peer Network", 2015)."""

REPLACED_AFTER = 60.0
"""Seconds of failure after which an address that a peer named makes room for another one from the
same peer, and may be tried again if it is named again.  So a peer may name a hundred new addresses a
line: we dial at most 64 of them a minute.  (Bitcoin Core takes one a second from each peer, after the
first thousand, since 2021.)"""


class Shelf:
    """Entries of the address book.  The caller holds the book's lock."""

    def __init__(self, max_per_host: int) -> None:
        self._max_per_host = max_per_host
        self._entries: Dict[Address, Entry] = {}
        self._by_site: Dict[str, Dict[Address, None]] = {}
        """By ``site``, all addresses of it, the oldest first (a dict serves as a set)."""
        self._proven: Dict[str, Set[Address]] = {}
        """By nodeid, the proven addresses that can be advertised."""
        self._heard_from: Dict[str, Dict[Address, None]] = {}
        """By peer, the unproven addresses that it named, the oldest first."""
        self.changes = 0
        """Grows whenever what the peers file keeps changes."""

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, address: Address) -> bool:
        return address in self._entries

    def get(self, address: Address) -> Optional[Entry]:
        """Return the entry of ``address``, if there is one."""
        return self._entries.get(address)

    def all(self) -> Collection[Entry]:
        """Return all entries, the oldest first."""
        return self._entries.values()

    def proven_of(self, nodeid: str) -> Collection[Address]:
        """Return the proven addresses of a node that can be advertised."""
        return self._proven.get(nodeid, ())

    def heard_from(self, source: str) -> Collection[Address]:
        """Return the unproven addresses that the peer ``source`` named, the oldest first."""
        return self._heard_from.get(source, ())

    def insert(self, address: Address, now: float) -> Entry:
        """Add and return an entry.  ``make_room`` has said that there is room, or it is our user's."""
        entry = self._entries[address] = Entry(address, now)
        self._by_site.setdefault(site(address.host), {})[address] = None
        return entry

    def make_room(self, address: Address, found: bool) -> bool:
        """Make one more entry fit by dropping another one, if need be; False if that fails.

        ``found`` is True for an address where a node has been found.
        """
        theirs = self._by_site.get(site(address.host), {})
        if len(theirs) >= self._max_per_host and not is_loopback(address.host):
            return self._evict(theirs, found)
        if len(self._entries) < MAX_BOOK:
            return True
        for heard in self._heard_from.values():
            for other in heard:
                entry = self._entries[other]
                if not entry.dialing:
                    self.drop(entry)
                    return True
        if not found:
            return False
        most = max(self._by_site.values(), key=len)
        return len(most) > len(theirs) + 1 and self._evict(most, found, proven=True)

    def _evict(self, addresses: Iterable[Address], found: bool, proven: bool = False) -> bool:
        """Drop one of ``addresses``, one that fails if possible; False if none may go.

        ``found`` is True if a node has been found at the new address.  Then an unproven address may go,
        and a proven one that fails; if ``proven``, any.  Otherwise only an unproven one that fails.
        """
        best: Optional[Tuple[bool, bool]] = None
        for address in addresses:
            entry = self._entries[address]
            if entry.bootstrap or entry.dialing or entry.up_at is not None:
                continue
            rank = (entry.proven_at is not None, entry.failing_since is None)
            if rank > ((True, proven) if found else (False, False)):
                continue
            if best is None or rank < best:
                best, evicted = rank, entry
        if best is None:
            return False
        self.drop(evicted)
        return True

    def may_add_heard(self, source: str, now: float) -> bool:
        """True if one more address may be heard from ``source``.

        It may have to take the place of its oldest one, if that has failed for long.  If it has not, it
        goes to the end, so that the next call looks at another one.  An ``addr`` with a hundred new
        addresses then costs a hundred looks, not a hundred walks through all of them.
        """
        theirs = self._heard_from.get(source, {})
        if len(theirs) < MAX_HEARD_PER_PEER:
            return True
        address = next(iter(theirs))
        entry = self._entries[address]
        since = entry.failing_since
        if since is None or now - since < REPLACED_AFTER or entry.dialing:
            del theirs[address]
            theirs[address] = None
            return False
        self.drop(entry)
        return True

    def drop(self, entry: Entry) -> None:
        """Take an entry off the shelf."""
        del self._entries[entry.address]
        place = site(entry.address.host)
        del self._by_site[place][entry.address]
        if not self._by_site[place]:
            del self._by_site[place]
        self.unprove(entry)
        self.set_source(entry, None)

    def set_source(self, entry: Entry, source: Optional[str]) -> None:
        """Count an entry among those heard from ``source``, or from nobody."""
        if entry.source is not None:
            theirs = self._heard_from[entry.source]
            del theirs[entry.address]
            if not theirs:
                del self._heard_from[entry.source]
        entry.source = source
        if source is not None:
            self._heard_from.setdefault(source, {})[entry.address] = None
            self.changes += 1

    def prove(self, entry: Entry, nodeid: str, at: float) -> None:
        """Note that ``nodeid`` was found at the entry's address."""
        if entry.proven_at is None or entry.nodeid != nodeid:
            self.unprove(entry)
            self.set_source(entry, None)
            if is_shareable(entry.address):
                self._proven.setdefault(nodeid, set()).add(entry.address)
            entry.nodeid = nodeid
        entry.proven_at = at
        self.changes += 1

    def unprove(self, entry: Entry) -> None:
        """Note that nobody knows any more which node is at the entry's address."""
        if entry.proven_at is not None and entry.nodeid is not None:
            addresses = self._proven.get(entry.nodeid, set())
            addresses.discard(entry.address)
            if not addresses:
                self._proven.pop(entry.nodeid, None)
            entry.proven_at = None
            self.changes += 1
