"""The cases: each starts a contestant, loads it, and returns its figures by their keys.

``targets`` names the figures and has their targets.
"""

import calendar
import multiprocessing
import os
import signal
import statistics
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence

from . import load
from .load import Peer, percentile
from .processes import PATIENCE, UNLIMITED, Contestant, on_one_core

Measured = Dict[str, float]


class Settings(NamedTuple):
    """How much to measure."""

    python: str
    seconds: float
    peers: int
    nodes: List[int]


def round_trip(kind: str, settings: Settings) -> Measured:
    """One connection and one ping at a time; then two pings in one segment."""
    with on_one_core(), Contestant(kind, settings.python, UNLIMITED) as server, Peer(
        server.port
    ) as peer:
        load.round_trips(peer, settings.seconds / 5)  # warm
        before = server.cpu()
        single = load.round_trips(peer, settings.seconds)
        cpu = (server.cpu() - before) / len(single)
        double = load.round_trips(peer, settings.seconds / 2, pings=2)
        return {
            "p50": percentile(single, 50),
            "p99": percentile(single, 99),
            "cpu": cpu,
            "two": percentile(double, 50),
        }


def throughput(kind: str, settings: Settings) -> Measured:
    """Pings per second, with many unanswered at any moment."""
    found = {}
    with Contestant(kind, settings.python, UNLIMITED) as server:
        for name, connections, in_flight in (("1x128", 1, 128), ("50x32", 50, 32), ("50x1", 50, 1)):
            peers = [Peer(server.port) for _ in range(connections)]
            load.pings_in_flight(peers, in_flight, settings.seconds / 5)
            for peer in peers:  # pings that are still under way would count twice
                peer.sock.close()
            peers = [Peer(server.port) for _ in range(connections)]
            done = load.pings_in_flight(peers, in_flight, settings.seconds)
            found[name] = done.a_second
            found[name + " busy"] = done.busy
            for peer in peers:
                peer.sock.close()
    return found


def handshakes(kind: str, settings: Settings) -> Measured:
    """Connections per second that exchange hellos and end."""
    with Contestant(kind, settings.python, UNLIMITED) as server:
        load.handshakes(server.port, 1, settings.seconds / 5)
        in_turn = load.handshakes(server.port, 1, settings.seconds)
        at_once = load.handshakes(server.port, 32, settings.seconds)
        return {
            "in turn": in_turn.a_second,
            "in turn busy": in_turn.busy,
            "32 at once": at_once.a_second,
            "32 at once busy": at_once.busy,
            "failed": in_turn.failed + at_once.failed,
        }


def held(kind: str, settings: Settings) -> Measured:
    """Many connections; each pings the contestant once a second."""
    with Contestant(kind, settings.python, UNLIMITED) as server:
        Peer(server.port).sock.close()
        _wait_for_threads(server)
        memory, threads = server.memory(), server.threads()
        peers = [Peer(server.port) for _ in range(settings.peers)]
        load.ping_each_second(peers, 1.0)
        before = server.cpu()
        pinged = load.ping_each_second(peers, settings.seconds * 3)
        found = {
            "cpu": (server.cpu() - before) / max(1, pinged.done),
            "memory": (server.memory() - memory) / len(peers),
            "threads": (server.threads() - threads) / len(peers),
            "unanswered": pinged.failed,
        }
        for peer in peers:
            peer.sock.close()
        _wait_for_threads(server)
        found["threads left"] = server.threads() - threads
        return found


def _wait_for_threads(server: Contestant) -> None:
    """Wait until no thread has ended for half a second."""
    least, since = server.threads(), time.monotonic()
    while time.monotonic() < since + 0.5:
        time.sleep(0.05)
        if server.threads() < least:
            least, since = server.threads(), time.monotonic()


def pinging(kind: str, settings: Settings) -> Measured:
    """Many connections; the contestant pings each once a second."""
    with Contestant(kind, settings.python, UNLIMITED, ping_interval=1.0) as server:
        peers = [Peer(server.port) for _ in range(settings.peers)]
        load.answer_pings(peers, 1.5)
        before = server.cpu()
        pinged = load.answer_pings(peers, max(2.0, settings.seconds * 5))
        # Per ping, because a contestant that pings all at once does so two or three times in 3 s.
        cpu = (server.cpu() - before) / max(1, pinged.pings)
        return {"cpu": cpu, "gap": pinged.gaps[-1]}


STARTS = 5
"""Starts in a round.  A start is short, so one disturbance would decide the figure."""


def start_up(kind: str, settings: Settings) -> Measured:
    """From the start of the process to its answer to hello."""
    found = []
    for _ in range(STARTS):
        began = load.clock()
        with Contestant(kind, settings.python) as server, Peer(server.port):
            found.append((load.clock() - began, server.memory()))
    times, memory = zip(*found)
    return {"time": statistics.median(times), "memory": statistics.median(memory)}


def discovery(kind: str, settings: Settings, options: Sequence[str] = ()) -> Measured:
    """Processes that start with the address of the first, until each has all others as peers."""
    found = {}
    for number in settings.nodes:
        with _mesh(kind, settings.python, number, options) as (nodes, began):
            deadline = time.monotonic() + PATIENCE
            while not all(node.told().count(b'"peer_up"') >= number - 1 for node in nodes):
                if time.monotonic() > deadline:
                    break
                time.sleep(0.05)
            told = [node.events() for node in nodes]
        complete = [_complete_at(events, number - 1) for events in told]
        started = [_seconds(events[0]["time"]) for events in told]
        found["%d" % number] = max(complete) - began
        found["%d after" % number] = max(0.0, max(complete) - max(started))
    return found


@contextmanager
def _mesh(kind: str, python: str, number: int, options: Sequence[str]) -> Iterator[Any]:
    """Yield the nodes, and the time when the second one was started."""
    nodes = [Contestant(kind, python, options)]
    try:
        port = nodes[0].port
        began = time.time()
        while len(nodes) < number:
            nodes.append(Contestant(kind, python, options, bootstrap=port))
        yield nodes, began
    finally:
        for node in nodes:
            node.process.send_signal(signal.SIGTERM)
        for node in nodes:
            node.__exit__()


def _complete_at(events: List[Dict[str, Any]], others: int) -> float:
    """Return when the node first had that many peers; infinity if never."""
    up = set()
    for event in events:
        if event["event"] == "peer_up":
            up.add(event["nodeid"])
            if len(up) == others:
                return _seconds(event["time"])
        elif event["event"] == "peer_down":
            up.discard(event["nodeid"])
    return float("inf")


def _seconds(moment: Any) -> float:
    """Return seconds since the epoch, from a number or an ISO 8601 text."""
    if isinstance(moment, float):
        return moment
    whole = calendar.timegm(time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S"))
    return whole + float(moment[19:].rstrip("Z"))


POLITE_PAUSE = 0.005
"""Seconds between two pings of a polite peer: a node answers 200 messages a second."""


def fairness(kind: str, settings: Settings) -> Measured:
    """A polite peer beside one that floods and fifty that never read."""
    with Contestant(kind, settings.python, ping_interval=1.0) as server:
        port = server.port
        with Peer(port) as peer, beside(load.stall, port), beside(load.flood, port):
            load.round_trips(peer, min(1.0, settings.seconds), pause=POLITE_PAUSE)
            found: List[float] = []
            lost = 0
            try:
                peer.sock.settimeout(5)
                found = load.round_trips(peer, settings.seconds * 2, pause=POLITE_PAUSE)
            except OSError:
                lost = 1
    found = found or [float("inf")]
    return {
        "p50": percentile(found, 50),
        "p99": percentile(found, 99),
        "answered": len(found) / (settings.seconds * 2),
        "lost": lost,
    }


@contextmanager
def beside(attack: Callable[[int], None], port: int) -> Iterator[None]:
    """Run an attack meanwhile, in a process group so that its children end with it."""
    process = multiprocessing.Process(target=_run_attack, args=(attack, port))
    process.start()
    try:
        yield
    finally:
        assert process.pid is not None
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except OSError:  # it has not made its group yet
            os.kill(process.pid, signal.SIGKILL)
        process.join()


def _run_attack(attack: Callable[[int], None], port: int) -> None:
    os.setsid()
    try:
        attack(port)
    except OSError:
        pass


CASES: Dict[str, Callable[[str, Settings], Measured]] = {
    "round-trip": round_trip,
    "throughput": throughput,
    "handshakes": handshakes,
    "held": held,
    "pinging": pinging,
    "start-up": start_up,
    "discovery": discovery,
    "fairness": fairness,
}
