"""What a secret costs (``--secret-file``): the same node with one and without, in turns.

The client seals its pings before they are measured, so what is measured is the node.
"""

import os
import statistics
import subprocess
import tempfile
from typing import Any, Callable, Dict, List, Optional, Tuple

from .cases import Settings, discovery
from .load import PING, clock, percentile
from .processes import OURS, ROOT, UNLIMITED, Contestant, on_one_core

IN_FLIGHT = 128
PINGS_A_SECOND = 100000
"""Pings that are sealed for each second of the measurement: more than a node answers with a secret."""

MESH = "processes started, each knows all"

FIGURES = [
    ("round trip: p50", "us"),
    ("CPU a ping", "us"),
    ("pings a second, 128 in flight", "/s"),
    ("handshakes a second, in turn", "/s"),
    ("CPU a handshake", "us"),
    (MESH, "s"),
]


Join = Callable[[int, Optional[str]], Any]
"""``join(port, path)``: a member's connection, by the key file ``path`` if there is one.  Both ends have
said hello, and the node has pinged."""


def sealed_pings(peer: Any, path: Optional[str], number: int) -> List[bytes]:
    """Return so many pings, ready to be sent."""
    return [PING if path is None else peer.sealed(PING) for _ in range(number)]


def lines_in(chunk: bytes) -> int:
    """Return how many lines are complete in ``chunk``."""
    if not chunk:
        raise ConnectionError("the other end has hung up")
    return chunk.count(b"\n")


def pings(settings: Settings, options: List[str], join: Join, path: Optional[str]) -> Dict[str, float]:
    """One connection: one ping at a time, then many in flight."""
    found: Dict[str, float] = {}
    options = [*UNLIMITED, *options]
    with on_one_core(), Contestant(OURS, settings.python, options) as server, join(
        server.port, path
    ) as peer:
        said = sealed_pings(peer, path, int(settings.seconds * 20000))
        times, before = [], server.cpu()
        for line in said:
            began = clock()
            peer.sock.sendall(line)
            while not lines_in(peer.sock.recv(65536)):
                pass
            times.append(clock() - began)
        found["CPU a ping"] = (server.cpu() - before) / len(times)
        found["round trip: p50"] = percentile(sorted(times), 50)
    with Contestant(OURS, settings.python, options) as server, join(server.port, path) as peer:
        said = sealed_pings(peer, path, int(settings.seconds * PINGS_A_SECOND))
        sent = answered = 0
        began = clock()
        while answered < len(said):
            more = min(IN_FLIGHT - (sent - answered), len(said) - sent)
            if more:
                peer.sock.sendall(b"".join(said[sent : sent + more]))
                sent += more
            answered += lines_in(peer.sock.recv(65536))
        found["pings a second, 128 in flight"] = answered / (clock() - began)
    return found


def handshakes(settings: Settings, options: List[str], join: Join, path: Optional[str]) -> Dict[str, float]:
    """Connections that exchange hellos and end, one after the other."""
    with Contestant(OURS, settings.python, [*UNLIMITED, *options]) as server:
        join(server.port, path).sock.close()
        done, began, before = 0, clock(), server.cpu()
        while clock() < began + settings.seconds:
            with join(server.port, path) as peer:
                peer.send("bye", reason="stopping")
            done += 1
        took = clock() - began
        cpu = (server.cpu() - before) / done
    return {"handshakes a second, in turn": done / took, "CPU a handshake": cpu}


def measure(settings: Settings, join: Join, path: Optional[str]) -> Dict[str, float]:
    """Return all figures, with the key in a file or without."""
    options = [] if path is None else ["--secret-file", path]
    found = pings(settings, options, join, path)
    found.update(handshakes(settings, options, join, path))
    nodes = settings.nodes[-1:]
    return dict(found, **{MESH: discovery(OURS, settings._replace(nodes=nodes), options)[str(nodes[0])]})


def secret(settings: Settings, rounds: int, join: Join) -> None:
    """Print what a node does with a secret and without one, and the ratio."""
    found: Tuple[List[Dict[str, float]], List[Dict[str, float]]] = ([], [])
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "bench.key")
        command = [settings.python, "-m", "p2p_plain", "keygen", path]
        subprocess.check_call(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        for _ in range(rounds):
            for values, file in zip(found, (None, path)):
                values.append(measure(settings, join, file))
    print("%-40s %12s %12s %7s" % ("", "without", "secret", ""))
    for name, unit in FIGURES:
        factor = 1e6 if unit == "us" else 1
        without, having = (statistics.median(one[name] for one in values) for values in found)
        shown = tuple("%.*f %s" % (1 if unit != "/s" else 0, x * factor, unit) for x in (without, having))
        label = "%d %s" % (settings.nodes[-1], name) if name == MESH else name
        print("%-40s %12s %12s %6.2fx" % (label, *shown, having / without), flush=True)
