"""Hosts, cables, switches, firewalls and the router, made of Linux network namespaces.

A host is a namespace.  Its cable is a pair of virtual interfaces (veth): the near end is ``eth0``
of the host, and the far end, named after the host, is plugged into a bridge, which is the switch.
"""

import math
import re
import subprocess
import sys
from typing import List, Optional, Set, Tuple

from .errors import WrongUsage
from .events import Record
from .node import Node
from .programs import inside, ip, nft
from .slow_line import PROGRAM, Slowness

PORT = 6000
"""The port of every node: each host has all ports to itself."""

SWITCHES = "switches"
"""The namespace of both switches.  No node runs there."""

LEFT, RIGHT, FAR = "left", "right", "far"
"""The switches, and no cable joins any two.  ``h`` hosts and the router start on the left one.  The
far one has a network of its own: ``f`` hosts, and a second cable of the host ``BETWEEN``."""

BETWEEN = "h1"

ROUTER = "router"
INSIDE = "inside"
"""The router's own switch, as in a router at home, for the hosts behind it."""

ROUTER_OUTSIDE, ROUTER_INSIDE = "10.77.0.254", "10.78.0.254"

NEAR_NETWORKS, FAR_NETWORKS = ("10.77.0.%d", "fd77::%d"), ("10.79.0.%d", "fd79::%d")
BETWEEN_NUMBER = 254
"""The number of the host ``BETWEEN`` in the far network."""

REJECTIONS = {
    "admin-prohibited": "icmpx type admin-prohibited",
    "host-unreachable": "icmpx type host-unreachable",
    "no-route": "icmpx type no-route",
    "port-unreachable": "icmpx type port-unreachable",
    "tcp-reset": "tcp reset",
}
"""How a firewall can reject a connection, in the words of nft: the four messages of ICMP that it may
send, or an answer as from a port on which nobody listens."""

MAX_HOSTS = 30
"""Hosts of both kinds together.  Each learns the hardware addresses of all others, and the kernel
keeps 1,024 of those for all namespaces together (``gc_thresh3``).  With 40 hosts most dials time
out, and so do those of the machine itself."""

EVERYONE = "*"

UNITS = {"bit": 1, "kbit": 1000, "mbit": 1000 ** 2, "gbit": 1000 ** 3}

PACKETS = ["gso_max_segs", "1"]
"""Makes a host cut what it sends into packets itself.  Otherwise a virtual cable carries up to 64 KiB
in one piece, and the size of a packet has no meaning."""


def build_switches() -> None:
    """Make the switches."""
    ip("netns", "add", SWITCHES)
    for name in LEFT, RIGHT, FAR:
        _add_switch(SWITCHES, name)


def _add_switch(namespace: str, name: str) -> None:
    """Make a bridge that forwards all multicast, as a simple switch does; IPv6 needs it.

    Its own address is fixed.  Otherwise it would change with each port that is added, and hosts
    would go on sending to the old one.
    """
    address = ["address", "02:00:00:00:00:fe"]
    ip("-n", namespace, "link", "add", name, *address, "type", "bridge", "mcast_snooping", "0")
    ip("-n", namespace, "link", "set", name, "up")


def _add_cable(socket: str, port: str, interface: str, host: str) -> None:
    """Make a cable from a port in the namespace ``socket`` to an interface of a host."""
    near_end = ["name", interface, *PACKETS, "netns", host]
    ip("-n", socket, "link", "add", port, "type", "veth", "peer", *near_end)


def _addresses(networks: Tuple[str, str], number: int, ipv6_only: bool) -> List[str]:
    """Return the host's addresses, IPv4 first."""
    return [network % number for network in networks[ipv6_only:]]


def bits_a_second(rate: str) -> int:
    """Return ``256kbit`` as a number.  Raises ``WrongUsage``."""
    found = re.match("([1-9][0-9]*)([kmg]?bit)$", rate)
    if found is None:
        raise WrongUsage("%r is not a rate; write it like 256kbit" % rate)
    return int(found.group(1)) * UNITS[found.group(2)]


def delays(text: str) -> Tuple[float, float]:
    """Return ``0-60ms`` as seconds.  Raises ``WrongUsage``."""
    found = re.match("([0-9]{1,5})-([0-9]{1,5})ms$", text)
    if found is None or int(found.group(1)) > int(found.group(2)):
        raise WrongUsage("%r is not a range of delays; write it like 0-60ms" % text)
    return int(found.group(1)) / 1000, int(found.group(2)) / 1000


class Device:
    """A namespace with one cable: a host, or the router.

    The far end of the cable is in the namespace ``socket``, plugged into ``switch`` there.
    """

    def __init__(self, name: str, socket: str = SWITCHES, switch: str = LEFT) -> None:
        self.name = name
        self.socket = socket
        self.switch = switch
        self.home = switch
        """The switch that its cable is plugged into at first."""
        self.plugged = True
        self._cables = [name]
        """Their far ends, in ``socket``."""
        self._port = name
        """The interface that is plugged into the switch."""
        self._slowness = Slowness()
        self._slow_line: Optional[subprocess.Popen[bytes]] = None
        ip("netns", "add", name)
        # Otherwise an IPv6 address waits a second or two for somebody else to claim it.
        inside(name, "sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad")
        ip("-n", name, "link", "set", "lo", "up")
        _add_cable(socket, name, "eth0", name)
        ip("-n", socket, "link", "set", name, "master", switch, "up")
        ip("-n", name, "link", "set", "eth0", "up")

    def move(self, switch: str) -> None:
        """Plug the cable into another switch."""
        ip("-n", self.socket, "link", "set", self._port, "master", switch)
        self.switch = switch

    def set_plugged(self, plugged: bool) -> None:
        """Plug the far ends in or out.  ``eth0`` gains or loses its carrier."""
        for cable in self._cables:
            ip("-n", self.socket, "link", "set", cable, "up" if plugged else "down")
        self.plugged = plugged

    @property
    def ports(self) -> List[str]:
        """The interfaces through which it sends into a switch, with those of a slow line."""
        return [*self._cables, self._slow_port]

    @property
    def _slow_port(self) -> str:
        return self.name + "-slow"

    def slow(self, **faults: float) -> None:
        """Change these fields of the line's ``Slowness``; the others stay as they are."""
        slowness = self._slowness._replace(**faults)
        if slowness == self._slowness:
            return
        self._slowness = slowness
        self.end_slow_line()
        if slowness != Slowness():
            self._begin_slow_line()

    def _begin_slow_line(self) -> None:
        """Put a program between the cable and the switch once it carries, so that nothing is lost."""
        near, far = self.name + "-line", self._slow_port
        ip("-n", self.socket, "link", "add", near, "up", "type", "veth", "peer", "name", far)
        ip("-n", self.socket, "link", "set", far, "up")
        line = [sys.executable, PROGRAM, self.name, near, *map(str, self._slowness)]
        self._slow_line = subprocess.Popen(
            ["ip", "netns", "exec", self.socket] + line, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._slow_line.stdout is not None
        self._slow_line.stdout.readline()
        ip("-n", self.socket, "link", "set", self.name, "nomaster")
        self._port = far
        self.move(self.switch)

    def end_slow_line(self) -> None:
        """Take the program out of the line again, if there is one."""
        if self._slow_line is None:
            return
        slow_port, self._port = self._port, self.name
        self.move(self.switch)
        self._slow_line.kill()
        self._slow_line.communicate()
        self._slow_line = None
        ip("-n", self.socket, "link", "del", slow_port)

    def forget(self, seconds: float, verdict: str) -> None:
        """Forget each connection that has been idle for so long, and apply ``verdict`` to its packets.

        So do stateful firewalls, and routers with NAT: packets of connections that they do not know are
        no business of theirs.  Connections that are open already are unknown, too.
        """
        self.remember()
        self._track(math.ceil(seconds), loose=0)
        chains = ("input", "output", "forward")  # not prerouting: there nothing can be rejected
        nft(
            self.name,
            "add table inet forgetful",
            *[
                line.format(chain)
                for chain in chains
                for line in (
                    "add chain inet forgetful {0} {{ type filter hook {0} priority 0; }}",
                    "add rule inet forgetful {0} ct state invalid meta l4proto tcp %s" % verdict,
                )
            ],
        )

    def remember(self) -> None:
        """Remember idle connections for five days again, and let packets of unknown ones pass."""
        nft(self.name, "add table inet forgetful", "delete table inet forgetful")
        self._track(5 * 24 * 3600, loose=1)

    def _track(self, seconds: int, loose: int) -> None:
        """Set how long idle connections are known, and whether unknown ones are taken up half-way."""
        folder = "/proc/sys/net/netfilter/nf_conntrack_tcp_"
        for name, value in ("timeout_established", seconds), ("loose", loose):
            inside(self.name, "sh", "-c", "echo %d > %s%s" % (value, folder, name))


class Router(Device):
    """A router as at home: all hosts behind it share its one outside address (IPv4 only)."""

    def __init__(self) -> None:
        super().__init__(ROUTER)
        _add_switch(ROUTER, INSIDE)
        ip("-n", ROUTER, "addr", "add", ROUTER_INSIDE + "/24", "dev", INSIDE)
        ip("-n", ROUTER, "addr", "add", ROUTER_OUTSIDE + "/24", "dev", "eth0")
        inside(ROUTER, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        nft(
            ROUTER,
            "add table ip lab",
            "add chain ip lab outward { type nat hook postrouting priority 100; }",
            'add rule ip lab outward oifname "eth0" masquerade',
        )


class Host(Device):
    """A host: ``h1`` or ``f1`` on a switch, or ``n1`` behind the router.  It runs at most one node."""

    def __init__(
        self,
        number: int,
        ipv6_only: bool = False,
        router: Optional[Router] = None,
        far: bool = False,
    ) -> None:
        self.router = router
        self.node: Optional[Node] = None
        self.impostor: Optional[Node] = None
        """The program in the place of a node, with events like a node's."""
        self.port = PORT
        """Where its node listens, or the last one did."""
        self.far_addresses: List[str] = []
        """Addresses that only ``f`` hosts can reach."""
        self.closed_to: Set[str] = set()
        """Names of the hosts that its firewall blocks, or ``EVERYONE``."""
        if router is not None:
            super().__init__("n%d" % number, ROUTER, INSIDE)
            # Remove even the link-local IPv6 address.
            ip("-n", self.name, "link", "set", "eth0", "addrgenmode", "none")
            ip("-n", self.name, "-6", "addr", "flush", "dev", "eth0")
            self.addresses = ["10.78.0.%d" % number]
        else:
            super().__init__("%s%d" % ("f" if far else "h", number), switch=FAR if far else LEFT)
            self.addresses = _addresses(FAR_NETWORKS if far else NEAR_NETWORKS, number, ipv6_only)
        self._take(self.addresses, "eth0")
        if router is not None:
            ip("-n", self.name, "route", "add", "default", "via", ROUTER_INSIDE)

    def _take(self, addresses: List[str], interface: str) -> None:
        for address in addresses:
            with_prefix = address + ("/64" if ":" in address else "/24")
            ip("-n", self.name, "addr", "add", with_prefix, "dev", interface)

    def join_far(self, ipv6_only: bool) -> None:
        """Give it a second cable, into the far switch.  It forwards nothing between the two."""
        port, me = self.name + "-far", self.name
        _add_cable(self.socket, port, "eth1", me)
        ip("-n", self.socket, "link", "set", port, "master", FAR, "up")
        ip("-n", me, "link", "set", "eth1", "up")
        self._cables.append(port)
        self.far_addresses = _addresses(FAR_NETWORKS, BETWEEN_NUMBER, ipv6_only)
        self._take(self.far_addresses, "eth1")

    @property
    def all_addresses(self) -> List[str]:
        """Its addresses in both networks."""
        return self.addresses + self.far_addresses

    def listens_at(self, caller: Optional["Host"] = None) -> str:
        """Return the address at which ``caller``, or any host of its own network, can dial its node."""
        from_far = caller is not None and caller.home == FAR and self.far_addresses
        address = (self.far_addresses if from_far else self.addresses)[0]
        return "%s:%d" % ("[%s]" % address if ":" in address else address, self.port)

    @property
    def places(self) -> Set[str]:
        """The switches that its frames reach."""
        last = self.router if self.plugged and self.router is not None else self
        return {last.switch} | ({FAR} if self.far_addresses else set()) if last.plugged else set()

    @property
    def awake(self) -> bool:
        """True if a node runs here and is not frozen."""
        return self.node is not None and not self.node.frozen and not self.node.ended()

    def peer(self, other: "Host") -> Optional[Record]:
        """Return the ``peer_up`` of its node about the one on ``other``.  Caller holds the journal's lock."""
        ups = [up for up in self.node.peers.values() if up["name"] == other.name] if self.node else []
        return ups[-1] if ups else None

    def reaches(self, other: "Host") -> bool:
        """True if cables lead to ``other``."""
        return bool(self.places & other.places)

    def block(self, sources: List["Host"], verdict: str) -> None:
        """Apply ``verdict`` to new connections from ``sources``, or from anyone if it is empty.

        As in most firewalls, connections that exist already stay: only the first packet of a
        connection is matched.
        """
        rules = ["iifname != lo"]
        if sources:
            rules = []
            seen_as = [address for host in sources for address in host.all_addresses]
            if any(host.router for host in sources):
                seen_as.append(ROUTER_OUTSIDE)
            for family, is_ipv6 in ("ip", False), ("ip6", True):
                theirs = [address for address in seen_as if (":" in address) == is_ipv6]
                if theirs:
                    rules.append("%s saddr { %s }" % (family, ", ".join(theirs)))
        first = "ct state new tcp flags & (fin | syn | rst | ack) == syn"
        nft(
            self.name,
            "add table inet lab",
            "add chain inet lab inward { type filter hook input priority 0; }",
            *["add rule inet lab inward %s %s %s" % (rule, first, verdict) for rule in rules],
        )
        self.closed_to |= {host.name for host in sources} or {EVERYONE}

    def unblock(self) -> None:
        """Remove the firewall."""
        nft(self.name, "add table inet lab", "delete table inet lab")
        self.closed_to.clear()

    def refuses(self, other: "Host") -> bool:
        """True if its firewall or its NAT keeps ``other`` from dialing it."""
        return self.router is not None or bool(self.closed_to & {EVERYONE, other.name})
