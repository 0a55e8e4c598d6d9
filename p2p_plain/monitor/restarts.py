"""Which nodes were replaced: their program ended without a goodbye, and was started again.

A restarted node has a new nodeid, and perhaps a new port.  What is left of the old nodeid (its row,
the failed dials of all others) would be shown as a dead node for a day, although nothing is wrong.

Each node has a *life*: from the start of its program to the last time that somebody heard from it.  A
node that died is replaced by one of the same name on the same host that started later.  Each new node
replaces one old one at the most: several nodes may run on one machine, under its name.  If two of them
die and one comes back, the other is still down.

``view`` asks this of everyone's rows, for what it shows.  ``survey`` asks it of what its own node
remembers, to forget those that were replaced.  No sockets, threads or clock.  Any thread.
"""

from ..common.address import Address, is_loopback
from ..common.typing import Dict, FrozenSet, Iterable, List, Mapping, NamedTuple


class Life(NamedTuple):
    """What is known of one node's life.  Times are seconds on any one clock."""

    nodeid: str
    name: str
    addresses: FrozenSet[Address]
    """Where others have found it, or look for it."""
    start: float
    """When its program started, or later if that is not known."""
    heard: float
    """When it was last heard from."""
    dead: bool
    """True if nobody is connected to it, and nobody has been able to dial it since."""


NONE: Mapping[str, str] = {}


def find_replaced(lives: Iterable[Life], known: Mapping[str, str] = NONE) -> Dict[str, str]:
    """Return the nodes that were replaced, and by which one each.

    ``known`` is what was found before.  Perhaps nothing is left of some of the old ones, and still the
    node that has replaced one replaces no other.
    """
    taken = set(known.values())
    alike: Dict[str, List[Life]] = {}
    for life in lives:
        if life.name:
            alike.setdefault(life.name, []).append(life)
    found: Dict[str, str] = {}
    for group in alike.values():
        dead = [life for life in group if life.dead]
        for new in sorted(group, key=lambda life: (life.start, life.nodeid)) if dead else ():
            here = _hosts(new.addresses)
            old = [old for old in dead if old.heard < new.start or old.nodeid in known]
            old = [old for old in old if known.get(old.nodeid, new.nodeid) == new.nodeid]
            old = [old for old in old if here & _hosts(old.addresses)]
            if new.nodeid in taken:
                old = [old for old in old if old.nodeid in known]
            if old:
                # The one at the same address, else the one that died last.
                same = max(old, key=lambda o: (bool(o.addresses & new.addresses), o.heard, o.nodeid))
                found[same.nodeid] = new.nodeid
                dead.remove(same)
    return found


def _hosts(addresses: FrozenSet[Address]) -> FrozenSet[str]:
    """Return the hosts.  Loopback counts only if there is no other: each machine has it."""
    hosts = frozenset(address.host for address in addresses)
    return frozenset(host for host in hosts if not is_loopback(host)) or hosts
