"""The node under test, and a listening socket of ours that it may dial.  Any thread."""

import contextlib
import copy
import ipaddress
import socket
import time
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from .grammar import new_id
from .outcome import Broken
from .peer import Peer

if TYPE_CHECKING:
    from .member import Key

HANDSHAKE_TIMEOUT = 10.0
"""Seconds that a node waits for hello (rule 1)."""


class Node:
    """Where the node is, what the user said about it, and its hello."""

    def __init__(
        self,
        host: str,
        port: int,
        network: str = "",
        ping_interval: float = 60.0,
        ping_timeout: float = 20.0,
        max_peers: Optional[int] = None,
        patience: float = 5.0,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
        key: "Optional[Key]" = None,
    ) -> None:
        self.key = key
        """The key of its network, if that is for members only."""
        self.host = host
        self.port = port
        self.network = network
        self.ping_interval = ping_interval
        self.ping_timeout = ping_timeout
        self.max_peers = max_peers
        self.patience = patience
        """Seconds that "at once" may take: many rules are played together."""
        self.dial_patience = 3 * patience
        """Seconds until the node dials us; it may have others to dial first."""
        self.handshake_timeout = handshake_timeout
        self.hello: Dict[str, Any] = {}
        """Its hello, as the first rule has seen it."""
        self.our_host = host
        """The address of this machine from which we reach it."""
        self.gone = False
        """True once nobody listens there any more."""

    @property
    def nodeid(self) -> str:
        """Its nodeid, in lower case."""
        return str(self.hello["nodeid"]).lower()

    @property
    def is_near(self) -> bool:
        """True if it is on this machine."""
        return ipaddress.ip_address(self.our_host).is_loopback

    def moved_to(self, host: str, port: int) -> "Node":
        """Return a node with the same settings at another address."""
        other = copy.copy(self)
        other.host, other.port = host, port
        return other

    def dial(
        self,
        nodeid: Optional[str] = None,
        small_buffers: bool = False,
        source: Optional[str] = None,
    ) -> Peer:
        """Return a connection on which nothing has been sent.  Raises ``OSError``.

        With small buffers, the node's sends soon block if we do not read.  ``source`` is the address of
        ours from which to dial.
        """
        found = socket.getaddrinfo(self.host, self.port, 0, socket.SOCK_STREAM)
        failure: OSError = OSError("no address")
        for family, kind, protocol, _, address in found:
            sock = socket.socket(family, kind, protocol)
            try:
                if small_buffers:
                    make_buffers_small(sock)
                if source is not None:
                    sock.bind((source, 0))
                sock.settimeout(self.patience)
                sock.connect(address)
            except OSError as error:
                sock.close()
                failure = error
                continue
            self.our_host = sock.getsockname()[0].partition("%")[0]
            return Peer(sock, self.patience, self.network, nodeid)
        raise failure

    def greet(self, nodeid: Optional[str] = None, **fields: Any) -> Peer:
        """Return a connection on which both sides have sent hello."""
        peer = self.dial(nodeid)
        peer.send_hello(**fields)
        peer.expect("hello")
        return peer

    def join(self, nodeid: Optional[str] = None, **fields: Any) -> Peer:
        """Return a connection on which we are the node's peer: both have sent more than hello."""
        peer = self.greet(nodeid, **fields)
        peer.round_trip()
        return peer

    def look(self) -> None:
        """Set ``gone`` if nobody listens there any more.

        A process that dies closes its sockets one by one, and may close the listening one last:
        so look twice, a moment apart.
        """
        with contextlib.suppress(OSError), self.dial() as peer:
            peer.sock.settimeout(0.1)
            peer.sock.recv(1)
        try:
            self.dial().sock.close()
        except ConnectionRefusedError:
            self.gone = True
        except OSError:
            pass  # busy


def make_buffers_small(sock: socket.socket) -> None:
    """Make both ends of a connection that is not dialed yet hold little that is unread."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    # With small segments Linux gives the other end a send buffer of 90 KB instead of 2 MB.
    with contextlib.suppress(AttributeError, OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)


class Home:
    """A listening socket at the address from which we reach the node, for one nodeid of ours."""

    def __init__(self, node: Node, nodeid: Optional[str] = None) -> None:
        self.node = node
        self.nodeid = nodeid or new_id()
        host = node.our_host
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.sock.bind((host, 0))
        self.sock.listen(16)
        self.port = self.sock.getsockname()[1]
        self.address = ("[%s]:%d" if ":" in host else "%s:%d") % (host, self.port)
        self.entry = [self.address, self.nodeid]
        """We in an ``addr``."""

    def __enter__(self) -> "Home":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def is_in(self, entries: List[Any]) -> bool:
        """True if our address is in an ``addr``, with whatever nodeid."""
        return any(self.address in (entry, entry[0]) for entry in entries)

    def accept(
        self, *awake: Peer, within: Optional[float] = None, probe: Optional[bool] = False
    ) -> Optional[Peer]:
        """Return the connection that the node dials, its hello read; ``None`` if it does not.

        A node dials to become a peer or only to probe; ``None`` takes either.  Dials of the other kind
        are answered, and so are pings to the peers that are given: a node drops them if this takes long.
        """
        deadline = time.monotonic() + (within or self.node.dial_patience)
        while time.monotonic() < deadline:
            for other in awake:
                other.read_for(0.001)
            self.sock.settimeout(max(min(deadline - time.monotonic(), 0.2), 0.001))
            try:
                sock = self.sock.accept()[0]
            except socket.timeout:
                continue
            peer = Peer(sock, self.node.patience, self.node.network, self.nodeid)
            if probe in (None, bool(peer.expect("hello").get("probe"))):
                return peer
            with peer:
                peer.send_hello()
                peer.half_close()
        return None

    def expect(self, *awake: Peer, probe: Optional[bool] = False) -> Peer:
        """Return the connection that the node dials, its hello read.  Raises ``Broken``."""
        found = self.accept(*awake, probe=probe)
        if found is None:
            what = "a probe" if probe else "a dial"
            expected = "%s to %s within %g s" % (what, self.address, self.node.dial_patience)
            raise Broken(expected, "none")
        return found

    def expect_join(self) -> Peer:
        """Return the connection that the node dials, once it is our peer.  Raises ``Broken``."""
        peer = self.expect()
        peer.send_hello()
        peer.round_trip()
        return peer
