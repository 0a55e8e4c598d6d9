"""How often a host is dialed because of what others say: nobody can turn this node into a weapon.

``address_book`` owns it and guards it with its lock.
"""

from collections import OrderedDict

from ..common.address import is_loopback
from ..common.typing import FrozenSet

KNOCK_PAUSE = 1.0
"""Seconds between two dials of one host that nobody has proven, whatever the ports and whoever names it:
a crowd of liars cannot have us scan its ports.  Loopback and our own host are exempt: 32 nodes on one
machine find each other at once."""

KNOCKS = 1024
"""Hosts whose last such dial is remembered: more than are dialed in ``KNOCK_PAUSE``."""


class Knocks:
    """When unproven addresses of each host were last dialed."""

    def __init__(self) -> None:
        self.exempt: FrozenSet[str] = frozenset()
        """Our own hosts."""
        self._last: OrderedDict[str, float] = OrderedDict()
        """By host, the latest last."""

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
