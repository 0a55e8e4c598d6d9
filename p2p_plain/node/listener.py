"""The listening socket: accept, and hand each connection to a thread of its own.

A *listening* socket never carries data.  It has a port and a queue; for each connection that
the kernel has completed, ``accept`` takes one out of the queue and returns a new socket, which
does.  All of them share the listening port; what tells them apart is the other end's address.

``socketserver.ThreadingTCPServer`` does the accepting.  What is changed here, and why, stands
with each method.  Its own handler threads are not waited for by itself: the node does that,
for inbound and outbound connections alike and against one deadline.
"""

import errno
import socket
import socketserver
import sys
import threading
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

from ..common.address import Address, from_sockaddr, is_ip
from ..common.errors import CannotStart, why
from ..common.threads import Crew

# Address family, host, and the IP versions for which it stands for every local address.
_Place = Tuple[int, str, Tuple[int, ...]]

ACCEPT_PAUSE = 0.1
"""Seconds to wait when there is no descriptor left for another connection.  Without it the
loop would find the same connection still waiting, at once and for ever: 100 % of a core."""

EVICTION_PAUSE = 0.01
"""The same when somebody has just been sent away to make room."""

STOP_POLL = 1.0 if sys.platform.startswith("linux") else 0.1
"""Seconds between two looks of the accepting loop at whether it should stop.  On Linux it is woken
when the listening socket is shut down, and looking seldom matters: 64 nodes on one machine that look
ten times a second use a tenth of what they use at all."""

OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Listening(NamedTuple):
    """Where we listen: ``wildcard`` has the IP versions accepted on every local address."""

    port: int
    host: str
    wildcard: Tuple[int, ...]


class Server(socketserver.ThreadingTCPServer):
    """What accepting peers and accepting who looks at the status page have in common.

    The calls that one expects here are made by socketserver: ``bind_to`` leads to ``socket``,
    ``bind`` and ``listen``, and ``begin`` to its loop ``serve_forever``, which waits until somebody
    calls, has ``get_request`` call ``accept``, and gives ``process_request`` what comes of it.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, crew: Crew) -> None:
        """Raises nothing; whoever inherits goes on with ``bind_to``."""
        self._crew = crew
        self._accepted = 0
        self._serving = False
        self._stopping = threading.Event()
        # Where SO_REUSEADDR means "also while old connections linger", it is wanted; on Windows
        # it means "even if another program listens there", and is not.
        self.allow_reuse_address = not exclusive_ports()

    def bind_to(self, place: Tuple[str, int], handler: Any) -> None:
        """Take the port; ``address_family`` is set.  Raises ``OSError``."""
        super().__init__(place, handler)

    def begin(self, name: str, poll: float) -> None:
        """Begin to accept, on a thread of the crew."""
        self._crew.start(name, self.serve_forever, poll)
        self._serving = True

    def stop(self) -> None:
        """Stop accepting and give the port back.  Any thread but the accepting one."""
        self._stopping.set()
        try:
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the loop, on Linux
        except OSError:
            pass
        if self._serving:  # shutdown() waits for a loop to end, even if none ever began
            self.shutdown()
        self.server_close()

    def take_exclusively(self, accepts_ipv4: bool) -> None:
        """Before ``bind``: on IPv6 decide about IPv4, and keep Windows from sharing the port."""
        if self.address_family == getattr(socket, "AF_INET6", None):
            only = 0 if accepts_ipv4 else 1
            # On Windows Python has no name for that number before 3.8.
            level = getattr(socket, "IPPROTO_IPV6", 41)
            self.socket.setsockopt(level, socket.IPV6_V6ONLY, only)
        if exclusive_ports():
            option = vars(socket)["SO_EXCLUSIVEADDRUSE"]  # known to Windows only
            self.socket.setsockopt(socket.SOL_SOCKET, option, 1)


class Listener(Server):
    """Accepts inbound peers.  Raises ``CannotStart`` if it cannot listen there."""

    # 5 is what socketserver has: of 300 nodes that connect at once most would wait for a
    # second SYN, for 48 s in all.
    request_queue_size = 1024

    def __init__(
        self,
        bind: Optional[str],
        port: int,
        crew: Crew,
        serve: Callable[[socket.socket, Any], None],
        make_room: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(crew)
        self._serve = serve
        self._make_room = make_room
        """Called when there is no descriptor left; whether one will soon be free."""
        error: Optional[OSError] = None
        for family, host, wildcard in _places(bind):
            self.address_family = family
            self._dual = 4 in wildcard
            try:
                self.bind_to((host, port), socketserver.BaseRequestHandler)  # none is made
            except OSError as failed:
                error = failed
                if failed.errno in (errno.EADDRINUSE, errno.EACCES):
                    break  # the place is right; listening elsewhere would hide the problem
                continue
            self.listening = Listening(self.server_address[1], host if bind else "", wildcard)
            return
        assert error is not None
        raise CannotStart(_why(bind, port, error)) from error

    def start(self) -> None:
        """Begin to accept, on a thread of the crew."""
        self.begin("listener", STOP_POLL)

    # -- what socketserver calls -------------------------------------------------------

    def server_bind(self) -> None:
        """Bind; on IPv6 decide about IPv4 as well, and keep Windows from sharing the port."""
        self.take_exclusively(self._dual)
        super().server_bind()

    def get_request(self) -> Tuple[socket.socket, Any]:
        """Accept; out of descriptors, wait a moment first."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in OUT_OF_RESOURCES:
                self._stopping.wait(EVICTION_PAUSE if self._make_room() else ACCEPT_PAUSE)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start the connection's thread, without waiting until it runs.

        It calls the node, which closes the socket.  socketserver would make a handler object there
        whose constructor does that: calls inside calls that take their room on each stack.
        """
        self._accepted += 1
        try:
            self._crew.start("inbound-%d" % self._accepted, self._serve, request, client_address)
        except RuntimeError:  # no more threads to be had
            self.shutdown_request(request)
            self._stopping.wait(ACCEPT_PAUSE)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what is our own bug; socketserver would print it on the user's terminal."""
        self._crew.report("serving %s" % (client_address,))


def exclusive_ports() -> bool:
    """Whether a port has to be asked for exclusively: on Windows."""
    return sys.platform == "win32"


def _places(bind: Optional[str]) -> List[_Place]:
    """Where to try to listen, best first.

    Without ``bind``: one IPv6 socket that takes IPv4 too where the system can do both, else
    IPv4 alone.  IPv6 may be compiled in and switched off, so only trying tells.
    """
    inet6 = getattr(socket, "AF_INET6", None) if socket.has_ipv6 else None
    if bind is None:
        both: List[_Place] = [(int(inet6), "::", (4, 6))] if inet6 is not None else []
        only_ipv4 = (int(socket.AF_INET), "0.0.0.0", (4,))
        return [*both, only_ipv4]
    if not is_ip(bind):
        try:
            found = socket.getaddrinfo(bind, 0, 0, socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            text = "--bind %s: no such host (%s)" % (bind, why(error))
            raise CannotStart(text) from error
        return [(int(family), str(sockaddr[0]), ()) for family, _, _, _, sockaddr in found]
    if ":" in bind:
        if inet6 is None:
            raise CannotStart("--bind %s: this Python has no IPv6; bind an IPv4 address" % bind)
        return [(int(inet6), bind, (6,) if bind == "::" else ())]
    return [(int(socket.AF_INET), bind, (4,) if bind == "0.0.0.0" else ())]


def _why(bind: Optional[str], port: int, error: OSError) -> str:
    place = Address(bind or "*", port)
    if error.errno == errno.EADDRINUSE:
        return "port %d is taken (%s); choose another with --port, or 0 for a free one" % (
            port,
            place,
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return "%s is not an address of this machine; see --bind" % (bind,)
    if error.errno in (errno.EACCES, errno.EPERM):
        return "not allowed to listen on port %d; ports from 1024 up need no privilege" % port
    return "cannot listen on %s: %s" % (place, error.strerror or error)


def dialable_addresses(listening: Listening) -> Tuple[Address, ...]:
    """Where others reach us on this machine; loopback only if there is nothing else."""
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
    """Our own address on the way to the rest of the world.

    "Connecting" a UDP socket sends nothing; it only makes the kernel choose a route, and with
    it the address that we would send from.  Without a default route: what the network
    interfaces have, where there is a way to ask.
    """
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((_ELSEWHERE[version], 9))
            return [from_sockaddr(probe.getsockname()).host]
    except OSError:
        return _interface_hosts() if version == 4 else _interface_hosts_of_ipv6()


def _interface_hosts_of_ipv6() -> List[str]:
    """The IPv6 addresses of all interfaces that mean something on others.  Linux only."""
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
    """The IPv4 address of each interface but loopback.  Linux only; elsewhere none."""
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
