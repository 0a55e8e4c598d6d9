"""How often this node dials, in all and each host.  So nobody can turn it into a weapon.

``address_book`` owns it and guards it with its lock.  No sockets and no threads; the clock is passed in.
"""

from collections import OrderedDict

from ..common.address import is_loopback
from ..common.token_bucket import TokenBucket
from ..common.typing import FrozenSet
from .book_entries import Entry

DIALS_A_SECOND = 32
DIALS_AT_ONCE = 256
"""Pace of dials, bootstrap addresses excepted.  A lone node tries each address every 8 s; with 4,096
dead ones in its book that would keep a core busy."""

UNPROVEN_A_SECOND = 16
UNPROVEN_AT_ONCE = 256
"""Pace of dials of addresses that peers name.  Those that peers claim (``claims``) have the same pace
once more.  A network that starts has its burst; a crowd of liars cannot make us dial strangers faster."""

KNOCK_PAUSE = 1.0
"""Seconds between two dials of unproven addresses of one host, whatever the ports and whoever names them.
So a crowd of liars cannot make us scan its ports.  Loopback and our own host are exempt: 32 nodes on one
machine find each other at once."""

KNOCKS = 1024
"""Hosts whose last such dial is remembered: more than are dialed in ``KNOCK_PAUSE``."""


class Knocks:
    """When unproven addresses of each host were last dialed, and how many addresses in all."""

    def __init__(self) -> None:
        self._pace = TokenBucket(DIALS_A_SECOND, DIALS_AT_ONCE, float("-inf"))
        self._hearsay = TokenBucket(UNPROVEN_A_SECOND, UNPROVEN_AT_ONCE, float("-inf"))
        """The pace of dials of heard addresses, besides ``_pace``."""
        self.exempt: FrozenSet[str] = frozenset()
        """Our own hosts."""
        self._last: OrderedDict[str, float] = OrderedDict()
        """By host, the latest last."""

    def may_dial(self, entry: Entry, now: float) -> bool:
        """Return whether the pace allows a dial of ``entry``, and count it if so."""
        if entry.bootstrap:
            return True
        heard = entry.source is not None
        buckets = [self._pace, self._hearsay] if heard else [self._pace]
        if not all(bucket.spare(now) for bucket in buckets):
            return False
        if heard and not self.may(entry.address.host, now):
            return False
        for bucket in buckets:
            bucket.spend(1, now)
        return True

    def may(self, host: str, now: float) -> bool:
        """Return whether an unproven address of ``host`` may be dialed now, and note that if so."""
        if is_loopback(host) or host in self.exempt:
            return True
        if now - self._last.get(host, float("-inf")) < KNOCK_PAUSE:
            return False
        self._last[host] = now
        self._last.move_to_end(host)
        if len(self._last) > KNOCKS:
            self._last.popitem(last=False)
        return True
