"""A node under siege: how long a good peer waits while others flood, stall and lie.

Each attack runs in a process of its own against a fresh node, in turns with a node that is not
attacked.  The baselines take no part, because they have no defence.
"""

import socket
import statistics
import time
import uuid
from typing import Callable, List, Optional, Tuple

from . import load
from .cases import POLITE_PAUSE, Settings, beside
from .load import Peer, percentile
from .processes import OURS, Contestant


def flood_of_long_lines(port: int) -> None:
    """Send lines of 64 KiB that take long to parse."""
    peer = Peer(port)
    body = "[" + ",".join(["[]"] * 21000) + "]"
    while True:
        ids = '"id":"%s","from":"%s"' % (uuid.uuid4(), peer.nodeid)
        peer.sock.sendall(('{"msgtype":"message",%s,"body":%s}\n' % (ids, body)).encode())


def flood_of_addresses(port: int) -> None:
    """Send lines of a hundred addresses that cannot be dialed, as fast as the node reads."""
    peer = Peer(port)
    number = 0
    while True:
        number += 1
        entries = ["127.%d.%d.%d:1" % (number >> 8 & 255, number & 255, n) for n in range(1, 101)]
        peer.say(msgtype="addr", peers=entries)


def bad_input(port: int) -> None:
    """Connect, say hello, send something that is not JSON, and begin again."""
    while True:
        try:
            peer = Peer(port)
            peer.sock.sendall(b"{]\n")
            while peer.sock.recv(65536):
                pass
        except OSError:
            pass


def silent_connections(port: int) -> None:
    """Keep two hundred connections open that send nothing."""
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    while True:
        for number, sock in enumerate(held):
            sock.setblocking(False)
            try:
                if sock.recv(1) == b"":
                    raise ConnectionError
            except BlockingIOError:
                pass
            except OSError:
                sock.close()
                held[number] = socket.create_connection(("127.0.0.1", port))
        time.sleep(0.05)


def stalled_readers(port: int) -> None:
    """Be fifty peers that never read, and one whose messages the node forwards to them."""
    stalled = [Peer(port) for _ in range(50)]
    talker = Peer(port)
    while stalled:
        talker.say(
            msgtype="message", id=str(uuid.uuid4()), **{"from": talker.nodeid, "body": "x" * 900}
        )
        time.sleep(0.01)


ATTACKS: List[Tuple[str, Callable[[int], None]]] = [
    ("a flood of pings", load.flood),
    ("a flood of 64 KiB lines", flood_of_long_lines),
    ("a flood of addresses", flood_of_addresses),
    ("200 silent connections", silent_connections),
    ("50 stalled readers, 100 broadcasts/s", stalled_readers),
    ("bad input, one after the other", bad_input),
]


def under(attack: Optional[Callable[[int], None]], settings: Settings) -> Tuple[float, float]:
    """Return p50 and p99 of a good peer's round trip, in seconds, beside an attack on a fresh node."""
    with Contestant(OURS, settings.python) as node, Peer(node.port) as peer:
        if attack is None:
            found = load.round_trips(peer, settings.seconds, pause=POLITE_PAUSE)
        else:
            with beside(attack, node.port):
                load.round_trips(peer, min(0.7, settings.seconds), pause=POLITE_PAUSE)
                found = load.round_trips(peer, settings.seconds, pause=POLITE_PAUSE)
    return percentile(found, 50), percentile(found, 99)


def siege(settings: Settings, rounds: int) -> None:
    """Print a good peer's round trip beside each attack, and how many times the quiet one it is."""
    quiet: List[Tuple[float, float]] = []
    attacked: List[List[Tuple[float, float]]] = [[] for _ in ATTACKS]
    for _ in range(rounds):
        for (_, attack), found in zip(ATTACKS, attacked):
            quiet.append(under(None, settings))
            found.append(under(attack, settings))
    print("%-38s %9s %9s %7s %7s" % ("a good peer's round trip beside", "p50", "p99", "", ""))
    base = _show("nothing", quiet, None)
    for (name, _), found in zip(ATTACKS, attacked):
        _show(name, found, base)


def _show(
    name: str, found: List[Tuple[float, float]], base: Optional[Tuple[float, float]]
) -> Tuple[float, float]:
    """Print a line with the medians of the rounds, and return them."""
    p50, p99 = (statistics.median(column) for column in zip(*found))
    line = "%-38s %6.2f ms %6.2f ms" % (name, p50 * 1000, p99 * 1000)
    if base is not None:
        line += " %6.1fx %6.1fx" % (p50 / base[0], p99 / base[1])
    print(line, flush=True)
    return p50, p99
