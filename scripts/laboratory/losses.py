"""Packets that the network loses: some at random, or all that are too large for some cable.

The switch drops them, on their way from one host to another.  A firewall on the sender itself would
not do: it makes ``send`` fail, or tells TCP at once, and no network does that.  Nothing is sent back,
so the hosts cannot know but by what does not arrive.
"""

from typing import Dict, Iterable, List, Mapping, Tuple

from .network import EVERYONE, SWITCHES, Host
from .programs import nft

Way = Tuple[str, str]
"""The names of a sender and a receiver, one of which may be ``EVERYONE``."""

TABLE = "bridge lab"

RESET = [
    "add table " + TABLE,
    "delete table " + TABLE,
    "add table " + TABLE,
    "add chain %s sent { type filter hook prerouting priority 0; }" % TABLE,
    "add chain %s received { type filter hook postrouting priority 0; }" % TABLE,
    # Only what a router could have lost on the way.  Without its neighbours' hardware addresses a
    # host could send nothing at all; ARP, which IPv4 has for that, is no IP packet.
    "add rule %s sent icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept" % TABLE,
    "add rule %s received icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept" % TABLE,
]
"""Chains without rules, in place of those that there were."""


class Losses:
    """All losses and holes of a laboratory.  ``hosts`` are those that exist, by name."""

    def __init__(self, hosts: Mapping[str, Host]) -> None:
        self._hosts = hosts
        self._conditions: Dict[Tuple[str, Way], str] = {}
        """By "lose" or "hole" and way, a condition in the words of nft: such packets are dropped; "" is all."""

    def lose(self, percent: float, sources: Iterable[str], targets: Iterable[str]) -> None:
        """Lose so many packets on these ways, each at random, whatever became of the last one."""
        at_random = "numgen random mod 10000 < %d" % round(100 * percent)
        self._set("lose", sources, targets, at_random if percent < 100 else "")

    def hole(self, size: int, sources: Iterable[str], targets: Iterable[str]) -> None:
        """Lose all packets on these ways that are larger than ``size`` bytes, with their IP header."""
        self._set("hole", sources, targets, "meta length > %d" % size)

    def _set(self, kind: str, sources: Iterable[str], targets: Iterable[str], what: str) -> None:
        """Replace what there was of this kind.  No sources, or no targets, means all hosts."""
        senders = list(sources) or [EVERYONE]
        receivers = list(targets) or (list(self._hosts) if senders == [EVERYONE] else [EVERYONE])
        for way in ((source, target) for source in senders for target in receivers):
            if way[0] != way[1]:
                self._conditions[kind, way] = what
        self._apply()

    def repair(self, names: Iterable[str]) -> None:
        """Lose nothing any more on any way that begins or ends at one of these hosts."""
        ended = set(names)
        for kind, way in list(self._conditions):
            if ended & set(way):
                del self._conditions[kind, way]
        self._apply()

    def _apply(self) -> None:
        namespaces = {host.socket for host in self._hosts.values()} | {SWITCHES}
        rules: Dict[str, List[str]] = {namespace: [] for namespace in namespaces}
        for (_, way), condition in self._conditions.items():
            namespace, lines = self._rules(way, condition)
            rules[namespace] += lines
        for namespace in namespaces:
            nft(namespace, *RESET, *["add rule %s %s" % (TABLE, rule) for rule in rules[namespace]])

    def _rules(self, way: Way, condition: str) -> Tuple[str, List[str]]:
        """Return a namespace and the rules in it that drop packets on a way.

        They are at that end of the way where both addresses are known: behind a router, all hosts
        have one address.
        """
        sender, receiver = map(self._hosts.get, way)
        if sender and (sender.router or not (receiver and receiver.router)):
            end, other, rule, address = sender, receiver, "sent iifname", "daddr"
        else:
            assert receiver
            end, other, rule, address = receiver, sender, "received oifname", "saddr"
        rule += " { %s }" % ", ".join('"%s"' % port for port in end.ports)
        lines = []
        for family, is_ipv6 in ("ip", False), ("ip6", True):
            theirs = [one for one in other.all_addresses if (":" in one) == is_ipv6] if other else []
            if theirs:
                lines.append("%s %s %s { %s }" % (rule, family, address, ", ".join(theirs)))
        lines = lines if other else [rule + " meta protocol { ip, ip6 }"]
        return end.socket, ["%s %s drop" % (line, condition) for line in lines]
