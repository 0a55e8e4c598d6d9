"""A network of this program's own, in which every address is a host that we may speak for.

The program moves into network namespaces of its own, as the laboratory does.  There the loopback
interface takes every address of 10.0.0.0/8, 169.254.0.0/16 and fd00::/8, so that one process plays
thousands of hosts.  What is sent to 10.99.0.0/16 is dropped, as by a firewall.  Nothing leaves it.
"""

import itertools
import sys
import threading
import time
from typing import Any, Callable, List

from ..laboratory.errors import CannotBuild
from ..laboratory.private_world import enter_private_world
from ..laboratory.programs import ip, run

from .node import Node

SILENT = "10.99.0.0/16"
DROPPED = """table inet silence {
    chain input {
        type filter hook input priority 0
        ip daddr %s drop
    }
}
""" % SILENT

LINK_LOCAL = "169.254.169.254"
"""Where clouds keep the secrets of their machines."""


def enter() -> None:
    """Move this program into such a network.  Raises ``CannotBuild`` if that is impossible."""
    enter_private_world()
    ip("link", "set", "lo", "up")
    ip("route", "add", "local", "10.0.0.0/8", "dev", "lo")
    ip("route", "add", "local", "169.254.0.0/16", "dev", "lo")
    run("nft", "-f", "-", feed=DROPPED)


def has_ipv6() -> bool:
    """Make every address of fd00::/8 a host of ours; False where there is no IPv6."""
    try:
        ip("-6", "route", "add", "local", "fd00::/8", "dev", "lo")
        with open("/proc/sys/net/ipv6/ip_nonlocal_bind", "w") as file:
            file.write("1")
    except (CannotBuild, OSError):
        return False
    return True


class World:
    """The network, and everything that one attack has started there.  The thread of that attack only."""

    _lock = threading.Lock()
    # Guarded by _lock: attacks are played side by side, and share the network.
    _numbers = itertools.count(1)

    def __init__(self, python: str = sys.executable, short: bool = False) -> None:
        self.python = python
        self.short = short
        """True if everything is smaller, and the figures less exact."""
        self._made: List[Any] = []

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_: object) -> None:
        for one in reversed(self._made):
            one.close()

    def keep(self, one: Any) -> Any:
        """Have ``one`` closed when the attack is over, and return it."""
        self._made.append(one)
        return one

    def size(self, full: int, short: int) -> int:
        """Return ``full``, or ``short`` if figures need not be exact."""
        return short if self.short else full

    def host(self) -> str:
        """Return the address of a host that nobody else speaks for."""
        with World._lock:
            number = next(World._numbers)
        return "10.%d.%d.%d" % (1 + number // 62500, number // 250 % 250, 1 + number % 250)

    def hosts(self, count: int) -> List[str]:
        """Return the addresses of so many hosts that nobody else speaks for."""
        return [self.host() for _ in range(count)]

    def silent(self) -> str:
        """Return an address from which nothing ever comes back."""
        with World._lock:
            number = next(World._numbers)
        return "10.99.%d.%d:6000" % (number // 250 % 250, 1 + number % 250)

    def node(self, *options: str, host: str = "", bootstrap: str = "") -> Node:
        """Start a node on a host of its own, and wait until it listens."""
        if bootstrap:
            options += ("--bootstrap", bootstrap)
        node = Node(self.python, host or self.host(), *options)
        self.keep(node)
        node.wait_listening()
        return node


def wait_until(predicate: Callable[[], Any], seconds: float) -> float:
    """Return how long it took until ``predicate`` was true; infinity if it is not in time."""
    began = time.monotonic()
    while not predicate():
        if time.monotonic() - began > seconds:
            return float("inf")
        time.sleep(0.02)
    return time.monotonic() - began
