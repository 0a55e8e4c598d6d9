"""The machine that runs us: its addresses and its name, and what it looks up and allows."""

import socket
import sys

from .address import Address, from_sockaddr
from .errors import CannotStart, why
from .names import only_printable, shows_something
from .typing import Any, List, NamedTuple, Tuple, Union


def find_host(host: str, port: int) -> List[Any]:
    """Return what ``getaddrinfo`` finds.  Raises ``OSError`` or ``UnicodeError``.  Any thread."""
    try:
        # For a name in a str Python loads its tables of Unicode: 3 of the 48 ms of a start.
        name: Union[bytes, str] = host.encode("ascii")
    except UnicodeEncodeError:
        name = host
    return socket.getaddrinfo(name, port, 0, socket.SOCK_STREAM)


def look_up(option: str, host: str, port: int) -> List[Any]:
    """Return what ``getaddrinfo`` finds.  Raises ``CannotStart``, which names the ``option``."""
    try:
        return find_host(host, port)
    except (OSError, UnicodeError) as error:
        raise CannotStart("%s: no such host (%s)" % (option, why(error))) from error


class Listening(NamedTuple):
    """Where a node listens.

    ``wildcard`` has the IP versions (4, 6) accepted on every local address, and is empty if the node
    listens on ``host`` alone.
    """

    port: int
    host: str
    wildcard: Tuple[int, ...]


def dialable_addresses(listening: Listening) -> Tuple[Address, ...]:
    """Return where others reach us; a loopback address only if there is no other."""
    if not listening.wildcard:
        return (Address(listening.host, listening.port),)
    hosts: List[str] = []
    for version in listening.wildcard:
        hosts.extend(_own_hosts(version))
    if not hosts:
        hosts = ["127.0.0.1" if 4 in listening.wildcard else "::1"]
    return tuple(Address(host, listening.port) for host in hosts)


# Addresses that belong to nobody (RFC 5737, RFC 3849).
_ELSEWHERE = {4: "192.0.2.1", 6: "2001:db8::1"}


def _own_hosts(version: int) -> List[str]:
    """Return the address that this machine would send from to the rest of the world.

    "Connecting" a UDP socket sends nothing; the kernel only chooses a route, and with it our own
    address.  Without a default route, ask for the addresses of all network interfaces.
    """
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((_ELSEWHERE[version], 9))
            return [from_sockaddr(probe.getsockname()).host]
    except OSError:
        return _interface_hosts() if version == 4 else _interface_hosts_of_ipv6()


def _interface_hosts_of_ipv6() -> List[str]:
    """Return the global IPv6 addresses of all interfaces.  Linux only; elsewhere none."""
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as file:
            lines = [line.split() for line in file]
    except OSError:
        return []
    # Per line: the address in 32 hexadecimal digits, then numbers of the interface and the
    # prefix, the scope (00 is global), flags, and the name.
    return [
        from_sockaddr((":".join(line[0][i : i + 4] for i in range(0, 32, 4)), 0)).host
        for line in lines
        if line[3] == "00"
    ]


def _interface_hosts() -> List[str]:
    """Return the IPv4 address of each interface but loopback.  Linux only; elsewhere none."""
    try:
        import fcntl

        names = [name for _, name in socket.if_nameindex()]
    except (ImportError, AttributeError, OSError):
        return []
    hosts: List[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        for name in names:
            try:
                # SIOCGIFADDR of netdevice(7): an ifreq is 16 bytes of name, then a sockaddr_in.
                answer = fcntl.ioctl(asker, 0x8915, name.encode()[:15].ljust(40, b"\0"))
            except OSError:
                continue  # no IPv4 address
            host = socket.inet_ntoa(answer[20:24])
            if not host.startswith("127."):
                hosts.append(host)
    return hosts


def host_name() -> str:
    """Return the printable characters of this machine's name; ``node`` if it has none."""
    try:
        name = socket.gethostname()
    except OSError:
        name = ""
    name = only_printable(name)
    return name if shows_something(name) else "node"


def descriptors() -> int:
    """Return how many open files and sockets the system allows this process (``ulimit -n``)."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return sys.maxsize
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
