"""The status page: requests that two programs would read in two ways."""

import socket

from ..node import PATIENCE, Node
from ..verdict import attack, holds
from ..world import World

SMUGGLED = {
    "two lengths": "Content-Length: 5\r\nContent-Length: 50\r\n",
    "two that are equal": "Content-Length: 5\r\nContent-Length: 5\r\n",
    "a blank before the colon": "Content-Length : 5\r\n",
    "a blank in a name": "X Content-Length: 5\r\n",
    "length and chunks": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "chunks and length": "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "chunks, spelt oddly": "Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n",
    "no number": "Content-Length: +5\r\n",
}
SECOND = b"GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def exchange(node: Node, method: str, headers: str, rest: bytes = b"") -> bytes:
    """Return all that the page says on one connection until it closes, or for a moment."""
    with socket.create_connection((node.host, node.page), PATIENCE) as sock:
        head = "%s / HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n" % (method, headers)
        sock.sendall(head.encode() + rest)
        sock.settimeout(1.0)
        said = b""
        try:
            for chunk in iter(lambda: sock.recv(65536), b""):
                said += chunk
            return said + b"(closed)"
        except socket.timeout:
            return said
        except ConnectionError:
            return said + b"(closed)"


@attack("B11")
def requests_are_smuggled(world: World) -> str:
    """Requests whose end two servers would see in two places, each followed by a second request."""
    node = world.node()
    bad = []
    for method in ("GET", "POST"):
        for kind, headers in SMUGGLED.items():
            said = exchange(node, method, headers, b"12345" + SECOND)
            refused = said.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
            if not refused or said.count(b"HTTP/1.") != 1 or not said.endswith(b"(closed)"):
                bad.append(kind)
    figure = "%d of %d get 400 and the end" % (2 * len(SMUGGLED) - len(bad), 2 * len(SMUGGLED))
    return holds(not bad, ", ".join([figure, *bad]))


@attack("B11")
def a_load_balancer_asks_for_options(world: World) -> str:
    """OPTIONS, which haproxy asks by default to see whether a server lives."""
    node = world.node()
    status, _ = node.get("/", "OPTIONS")
    return holds(200 <= status < 400, "status %d" % status)
