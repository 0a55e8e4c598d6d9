"""One connection with a node under attack, or many, from a host that the attack chooses."""

import contextlib
import socket
import threading
from typing import Any, Optional

from ..conformity.grammar import encode
from ..conformity.peer import Peer

from .node import NETWORK, PATIENCE, Node
from .world import World


def connect(
    world: World, node: Node, host: str, nodeid: Optional[str] = None, room: int = 0
) -> Peer:
    """Return a connection from ``host`` on which nothing has been said.

    ``room`` is how many unread bytes the kernel holds for it; 0 leaves that to the kernel.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family)
    sock.settimeout(PATIENCE)
    world.keep(sock)
    if room:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    sock.bind((host, 0))
    sock.connect((node.host, node.port))
    return Peer(sock, PATIENCE, NETWORK, nodeid)


def greet(
    world: World, node: Node, host: str, nodeid: Optional[str] = None, **hello: Any
) -> Peer:
    """Return a connection on which both sides have said hello."""
    peer = connect(world, node, host, nodeid)
    peer.send_hello(**hello)
    peer.expect("hello")
    return peer


def join(world: World, node: Node, host: str, nodeid: Optional[str] = None, **hello: Any) -> Peer:
    """Return a connection that is the node's peer; it has answered a ping."""
    peer = greet(world, node, host, nodeid, **hello)
    peer.expect("ping")
    peer.round_trip()
    return peer


def gossip(world: World, node: Node, host: str, *entries: Any) -> Peer:
    """Return a new peer of the node that has named these addresses, and that answers pings."""
    peer = join(world, node, host)
    name(peer, *entries)
    return keep_awake(peer)


def name(peer: Peer, *entries: Any) -> None:
    """Name these addresses, a hundred a line."""
    for first in range(0, len(entries), 100):
        peer.send("addr", peers=list(entries[first : first + 100]))


def keep_awake(peer: Peer) -> Peer:
    """Have a thread answer the pings on a connection until it ends; others may still send."""
    thread = threading.Thread(target=_read, args=(peer,), daemon=True)
    thread.start()
    return peer


def leave(peer: Peer) -> None:
    """End a connection at once, also while a thread reads it, and without a bye."""
    with contextlib.suppress(OSError):
        peer.sock.shutdown(socket.SHUT_RDWR)


def _read(peer: Peer) -> None:
    try:
        while not peer.end:
            peer.read_for(1.0)
    except (OSError, ValueError):
        peer.end = peer.end or "closed by us"


def row_of(nodeid: str, *links: Any, **fields: Any) -> bytes:
    """Return a row as a line."""
    return encode("links", nodeid=nodeid, links=list(links), **fields)
