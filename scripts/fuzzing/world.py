"""The world around a conversation: the ports that its lines may name, and the sockets behind them.

While the fuzzer runs, each of these ports belongs to it, so an address that the node hears leads
either to the fuzzer or to nobody.
"""

import socket
from typing import FrozenSet, List, NamedTuple, Tuple

LISTENING_HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "::1")
DEAD_PORTS = 8


class World(NamedTuple):
    """What lines may mention of the world outside their conversation."""

    nodeid: str  # the node's
    node_port: int
    listeners: Tuple[str, ...]  # "ip:port" where the fuzzer accepts connections
    dead_ports: Tuple[int, ...]  # held by the fuzzer, which does not listen there

    @property
    def ports(self) -> FrozenSet[int]:
        """Return every port that a line may name."""
        listening = [int(address.rpartition(":")[2]) for address in self.listeners]
        return frozenset([self.node_port] + listening + list(self.dead_ports))


class OwnPorts:
    """The sockets that hold the ports: some accept connections, the others stay silent."""

    def __init__(self) -> None:
        self.listeners: List[socket.socket] = []
        for host in LISTENING_HOSTS:
            try:
                sock = _bound(host)
            except OSError:  # no IPv6; or not Linux, where all of 127.0.0.0/8 exists
                continue
            sock.listen(50)
            sock.setblocking(False)
            self.listeners.append(sock)
        self._dead = [_bound_everywhere() for _ in range(DEAD_PORTS)]

    def world(self, nodeid: str, node_port: int) -> World:
        """Return what lines may name while these sockets are open."""
        names = [sock.getsockname() for sock in self.listeners]
        listeners = [("[%s]:%d" if ":" in name[0] else "%s:%d") % name[:2] for name in names]
        dead = [int(sock.getsockname()[1]) for sock in self._dead]
        return World(nodeid, node_port, tuple(listeners), tuple(dead))

    def close(self) -> None:
        """Close all of them."""
        for sock in self.listeners + self._dead:
            sock.close()


def _bound(host: str) -> socket.socket:
    """Return a TCP socket at a free port of ``host``; ``::`` stands for IPv4 too."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        if host == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((host, 0))
    except OSError:
        sock.close()
        raise
    return sock


def _bound_everywhere() -> socket.socket:
    try:
        return _bound("::")
    except OSError:
        return _bound("")
