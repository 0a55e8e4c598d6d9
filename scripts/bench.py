#!/usr/bin/env python3
"""What it costs, measured: ratios within one run, because machines are noisy and differ.

    python3 scripts/bench.py [CASE ...] [--python PATH] [--rounds N] [--seconds S]

Cases:

``siege``   the round trip of a well-behaved peer while others misbehave, against the same peer's
            round trip just before.  Each kind of attack comes from other processes, for a few
            seconds, in turns with quiet ones, and the median of the rounds is told.

Nothing leaves this machine: everything talks to 127.0.0.1.
"""

import argparse
import json
import multiprocessing
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import time
import uuid
from typing import Any, Callable, List, Optional, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

PAUSE = 0.005
"""Seconds between two pings of the good peer: 200 a second is what a node takes from anyone."""


# -- the node and a peer --------------------------------------------------------------------


class NodeProcess:
    """``python -m p2p_plain`` on a free port."""

    def __init__(self, python: str, *options: str) -> None:
        command = [python, "-m", "p2p_plain", "--json", "--bind", "127.0.0.1", "--port", "0"]
        self.process = subprocess.Popen(
            command + ["--network", "bench"] + list(options), cwd=ROOT, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        listening = json.loads(self.process.stdout.readline().decode())
        self.port = int(listening["addresses"][0].rpartition(":")[2])
        self._drain = multiprocessing.Process(target=drain, args=(self.process.stdout.fileno(),))
        self._drain.daemon = True
        self._drain.start()

    def __enter__(self) -> "NodeProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        self._drain.terminate()
        self._drain.join()


def drain(descriptor: int) -> None:
    """Read what the node prints and throw it away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while os.read(descriptor, 65536):
        pass


class Peer:
    """A connection that has said hello and was let in."""

    def __init__(self, port: int) -> None:
        self.nodeid = str(uuid.uuid4())
        self.sock = socket.create_connection(("127.0.0.1", port), 10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.say(msgtype="hello", nodeid=self.nodeid, network="bench")
        self._held = b""
        while b'"ping"' not in self.line():
            pass
        self.say(msgtype="pong")

    def say(self, **message: Any) -> None:
        """One message."""
        self.sock.sendall(json.dumps(message).encode() + b"\n")

    def line(self) -> bytes:
        """The next line from the node."""
        while b"\n" not in self._held:
            chunk = self.sock.recv(65536)
            if not chunk:
                raise ConnectionError("the node has hung up")
            self._held += chunk
        line, _, self._held = self._held.partition(b"\n")
        return line

    def round_trip(self) -> float:
        """Seconds from our ping to its pong."""
        began = time.perf_counter()
        self.say(msgtype="ping")
        while True:
            line = self.line()
            if b'"pong"' in line:
                return time.perf_counter() - began
            if b'"ping"' in line:
                self.say(msgtype="pong")


# -- the attacks: each runs in a process of its own until it is terminated --------------------


def flood_of_pings(port: int) -> None:
    """Pings as fast as the node takes them, the answers read."""
    peer = Peer(port)
    peer.sock.setblocking(True)
    pings = b'{"msgtype":"ping"}\n' * 1000
    if os.fork():
        while True:
            peer.sock.sendall(pings)
    while peer.sock.recv(65536):
        pass


def flood_of_long_lines(port: int) -> None:
    """Lines of 64 KiB that take long to parse."""
    peer = Peer(port)
    body = "[" + ",".join(["[]"] * 21000) + "]"
    while True:
        ids = '"id":"%s","from":"%s"' % (uuid.uuid4(), peer.nodeid)
        peer.sock.sendall(('{"msgtype":"message",%s,"body":%s}\n' % (ids, body)).encode())


def flood_of_addresses(port: int) -> None:
    """A hundred addresses a line, none of them dialable, as fast as the node takes them."""
    peer = Peer(port)
    number = 0
    while True:
        number += 1
        entries = ["127.%d.%d.%d:1" % (number >> 8 & 255, number & 255, n) for n in range(1, 101)]
        peer.say(msgtype="addr", peers=entries)


def bad_input(port: int) -> None:
    """Connections that say hello and then something that is not JSON, one after the other."""
    while True:
        try:
            peer = Peer(port)
            peer.sock.sendall(b"{]\n")
            while peer.sock.recv(65536):
                pass
        except OSError:
            pass


def silent_connections(port: int) -> None:
    """Two hundred connections without a word, opened again whenever the node closes one."""
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
    """Fifty peers that never read, while a talker keeps the node broadcasting to them."""
    stalled = [Peer(port) for _ in range(50)]
    talker = Peer(port)
    while stalled:
        talker.say(
            msgtype="message", id=str(uuid.uuid4()), **{"from": talker.nodeid, "body": "x" * 900}
        )
        time.sleep(0.01)


ATTACKS = [
    ("a flood of pings", flood_of_pings),
    ("a flood of 64 KiB lines", flood_of_long_lines),
    ("a flood of addresses", flood_of_addresses),
    ("200 silent connections", silent_connections),
    ("50 stalled readers, 100 broadcasts/s", stalled_readers),
    ("bad input, one after the other", bad_input),
]  # type: List[Tuple[str, Callable[[int], None]]]


# -- measuring ----------------------------------------------------------------------------------


def sample(peer: Peer, seconds: float) -> List[float]:
    """Round trips of one polite peer, sorted."""
    found = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        found.append(peer.round_trip())
        time.sleep(PAUSE)
    return sorted(found)


def under(
    attack: Optional[Callable[[int], None]], python: str, seconds: float
) -> Tuple[float, float]:
    """The p50 and p99 of a good peer's round trip, in seconds, beside an attack on a fresh node."""
    with NodeProcess(python) as node:
        peer = Peer(node.port)
        attacker = None
        if attack is not None:
            attacker = multiprocessing.Process(target=run_attack, args=(attack, node.port))
            attacker.start()
        try:
            sample(peer, min(0.7, seconds))  # let it begin
            found = sample(peer, seconds)
        finally:
            if attacker is not None and attacker.pid is not None:
                os.killpg(attacker.pid, signal.SIGKILL)
                attacker.join()
    return found[len(found) // 2], found[len(found) * 99 // 100]


def run_attack(attack: Callable[[int], None], port: int) -> None:
    """In a process group of its own, so that its children end with it."""
    os.setsid()
    try:
        attack(port)
    except OSError:
        pass


def siege(python: str, rounds: int, seconds: float) -> None:
    """A table: each attack with the good peer's round trip, and how many times the quiet one."""
    quiet = []  # type: List[Tuple[float, float]]
    beside = {name: quiet[:] for name, _ in ATTACKS}
    for _ in range(rounds):
        for name, attack in ATTACKS:
            quiet.append(under(None, python, seconds))
            beside[name].append(under(attack, python, seconds))
    print("%-38s %9s %9s %7s %7s" % ("a good peer's round trip beside", "p50", "p99", "", ""))
    base = show("nothing", quiet, None)
    for name, _ in ATTACKS:
        show(name, beside[name], base)


def show(
    name: str, found: List[Tuple[float, float]], base: Optional[Tuple[float, float]]
) -> Tuple[float, float]:
    """One line; the medians of the rounds."""
    p50, p99 = (statistics.median(column) for column in zip(*found))
    line = "%-38s %6.2f ms %6.2f ms" % (name, p50 * 1000, p99 * 1000)
    if base is not None:
        line += " %6.1fx %6.1fx" % (p50 / base[0], p99 / base[1])
    print(line, flush=True)
    return p50, p99


CASES = {"siege": siege}


def main(argv: List[str]) -> int:
    """Run the cases that are named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", metavar="CASE", nargs="*", help="siege (all)")
    parser.add_argument("--python", default=sys.executable, help="the node's interpreter")
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement (3)")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each measurement (2)")
    options = parser.parse_args(argv)
    wrong = [case for case in options.cases if case not in CASES]
    if wrong or options.rounds < 1 or not 0.1 <= options.seconds <= 60:
        usual = "--rounds is at least 1, --seconds from 0.1 to 60"
        parser.error("there is no case %s" % wrong[0] if wrong else usual)
    version = subprocess.check_output([options.python, "-V"], stderr=subprocess.STDOUT)
    print("%s, %d cores, %s" % (platform.machine(), os.cpu_count() or 1, version.decode().strip()))
    for case in options.cases or sorted(CASES):
        CASES[case](options.python, options.rounds, options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
