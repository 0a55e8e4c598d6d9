"""How near a node's round trips are to the network's own, on an idle machine and on a busy one.

Two network namespaces, joined by a virtual cable (veth), are two hosts.  A node on each pings the other
once a second.  Beside them the kernel answers echo requests of ICMP (it wakes no program for that), and a
bare program, which only waits for a line and answers it, shows what any program measures by its clock.
"""

import json
import multiprocessing
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, NamedTuple

from .cases import Settings
from .load import PING, PONG, clock, percentile
from .processes import PATIENCE, ROOT
from .targets import shown

HOSTS = {"h1": "10.77.0.1", "h2": "10.77.0.2"}
"""The namespaces, and the address of each."""

NODE_PORT, BARE_PORT = 6000, 6001

INTERVAL = 1.0
"""Seconds from one ping to the next, of all three: a processor that was busy a moment ago answers
sooner."""

P50_WITHIN, P99_WITHIN, ENDS_WITHIN = 40e-6, 150e-6, 40e-6
"""Targets, in seconds: a node's round trips against those of ICMP, and the medians of both ends."""

PROMPT = 150e-6
"""Seconds in which a ``send`` that nothing interrupts is over."""

SO_TIMESTAMPNS = 35


class Found(NamedTuple):
    """Round trips in seconds, each list from the shortest to the longest."""

    icmp: List[float]
    bare: List[float]
    nodes: List[List[float]]
    """Those that the node on each host counted."""
    p50: List[float]
    """The medians in the rows of both."""


def accuracy(settings: Settings, as_json: bool, ip: Callable[..., None]) -> None:
    """Measure, and print a line for each comparison.  ``ip`` runs that program, in a world of our own."""
    _build(ip)
    seconds = 200 * settings.seconds
    for name, spinners in (("idle", 0), ("busy", os.cpu_count() or 1)):
        with _busy(spinners):
            found = _round_trips(settings.python, seconds)
        for line in compare(name, found):
            print(json.dumps(line) if as_json else show(line), flush=True)


def _build(ip: Callable[..., None]) -> None:
    """Make the two hosts and the cable."""
    for name in HOSTS:
        ip("netns", "add", name)
    ip("link", "add", "h1", "netns", "h1", "type", "veth", "peer", "name", "h2", "netns", "h2")
    for name, address in HOSTS.items():
        ip("-n", name, "addr", "add", address + "/24", "dev", name)
        ip("-n", name, "link", "set", name, "up")
        ip("-n", name, "link", "set", "lo", "up")


@contextmanager
def _busy(number: int) -> Iterator[None]:
    """Keep that many processors busy meanwhile."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def _round_trips(python: str, seconds: float) -> Found:
    """Start all three kinds on both hosts, and let them measure for so long."""
    first = _Node(python, "h1")
    nodes = [first, _Node(python, "h2", "--bootstrap", "%s:%d" % (HOSTS["h1"], NODE_PORT))]
    helpers = [_on_host("h2", _answer_lines)]
    found: Dict[str, List[float]] = {}
    try:
        receiving = []
        for function in _ping_by_icmp, _ping_by_lines:
            receive, send = multiprocessing.Pipe(False)
            helpers.append(_on_host("h1", function, seconds, send))
            send.close()  # so that we see the end of the helper
            receiving.append(receive)
        for receive in receiving:
            found.update(receive.recv())
        p50 = [node.row_p50() for node in nodes]
    finally:
        for process in helpers:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        counted = [sorted(node.stop()) for node in nodes]
    return Found(sorted(found["icmp"]), sorted(found["bare"]), counted, p50)


class _Node:
    """A node on a host, which pings each second.  It prints to a file, so that nobody reads along."""

    def __init__(self, python: str, host: str, *options: str) -> None:
        self._program = ["ip", "netns", "exec", host, python, "-m", "p2p_plain"]
        self._address = "%s:%d" % (HOSTS[host], NODE_PORT)
        begin = ["--port", str(NODE_PORT), "--ping-interval", "%g" % INTERVAL, "--json"]
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (closed in stop)
        self._process = subprocess.Popen(
            self._program + begin + list(options), cwd=ROOT, stdout=self._output
        )
        deadline = time.monotonic() + PATIENCE
        while not os.fstat(self._output.fileno()).st_size:  # it says where it listens
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError("the node on %s does not start" % host)
            time.sleep(0.01)

    def row_p50(self) -> float:
        """Return the median in its own row."""
        asked = subprocess.check_output(
            self._program + ["matrix", "--json", self._address], cwd=ROOT, timeout=PATIENCE
        )
        return float(json.loads(asked.decode())["rows"][0]["links"][0]["rtt_p50_ms"]) / 1000

    def stop(self) -> List[float]:
        """End it; return the round trips that it counted.

        Without the first five: its row drops those of a starting program, once there are better ones.
        """
        self._process.terminate()
        self._process.wait()
        with self._output as output:
            output.seek(0)
            events = [json.loads(line.decode()) for line in output]
        return [event["rtt_ms"] / 1000 for event in events if event["event"] == "rtt"][5:]


def _on_host(name: str, function: Any, *args: Any) -> Any:
    """Run a function on a host, in a process of its own."""
    process = multiprocessing.Process(target=_enter, args=(name, function) + args, daemon=True)
    process.start()
    return process


def _enter(name: str, function: Any, *args: Any) -> None:
    import ctypes

    with open("/var/run/netns/" + name) as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0):
            raise OSError(ctypes.get_errno(), "setns")
    function(*args)


def _answer_lines() -> None:
    """The bare program's end that answers."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((HOSTS["h2"], BARE_PORT))
    listening.listen(1)
    sock, _ = listening.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while sock.recv(4096):
        sock.sendall(PONG)


def _ping_by_lines(seconds: float, found: Any) -> None:
    """The bare program: send a line, wait for the answer, look at the clock."""
    while True:
        try:
            sock = socket.create_connection((HOSTS["h2"], BARE_PORT))
            break
        except ConnectionRefusedError:
            time.sleep(0.01)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    times = []
    end = clock() + seconds
    while clock() < end:
        time.sleep(INTERVAL)
        began = clock()
        sock.sendall(PING)
        sock.recv(4096)
        times.append(clock() - began)
    found.send({"bare": times})


def _ping_by_icmp(seconds: float, found: Any) -> None:
    """Send echo requests, and take the moment at which the kernel got each answer.

    If a ``send`` takes long, nobody knows when the request left; that one does not count.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.settimeout(PATIENCE)
    sock.connect((HOSTS["h2"], 0))
    times: List[float] = []
    uncertain: List[float] = []
    number = 0
    end = clock() + seconds
    while clock() < end:
        time.sleep(INTERVAL)
        rest = struct.pack("!HH", os.getpid() & 0xFFFF, number & 0xFFFF) + bytes(16)
        request = b"\x08\x00" + struct.pack("!H", _checksum(b"\x08\x00\x00\x00" + rest)) + rest
        began = time.time()
        sock.send(request)
        sending = time.time() - began
        while True:
            answer, ancillary, _, _ = sock.recvmsg(4096, 64)
            if answer[20:21] == b"\x00" and answer[24:] == rest:
                break
        whole, nano = struct.unpack("@ll", ancillary[0][2])
        number += 1
        (times if sending < PROMPT else uncertain).append(whole + nano / 1e9 - began)
    found.send({"icmp": times or uncertain})


def _checksum(data: bytes) -> int:
    """Return the checksum of the Internet protocols (RFC 1071)."""
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def compare(name: str, found: Found) -> List[Dict[str, Any]]:
    """Return a line for each figure: ours, ICMP's, the bare program's, and whether it is near enough.

    Of our two ends the one that is further from ICMP counts.
    """
    lines = []
    p99 = [percentile(times, 99) for times in found.nodes]
    for percent, ours, within in ((50, found.p50, P50_WITHIN), (99, p99, P99_WITHIN)):
        icmp = percentile(found.icmp, percent)
        worse = max(ours, key=lambda one: abs(one - icmp))
        line = _line("%s: p%d against ICMP" % (name, percent), worse, icmp, within)
        lines.append(dict(line, bare=percentile(found.bare, percent)))
    lines.append(_line("%s: p50 of both ends" % name, found.p50[0], found.p50[1], ENDS_WITHIN))
    return lines


def _line(label: str, ours: float, other: float, within: float) -> Dict[str, Any]:
    off = abs(ours - other)
    line = {"case": "accuracy", "label": label, "unit": "us", "p2p_plain": ours, "other": other}
    return dict(line, off=off, target="<= %g us" % (within * 1e6), met=off <= within)


def show(line: Dict[str, Any]) -> str:
    """Return a line for people."""
    ours, other, off = (shown(line[key], "us") for key in ("p2p_plain", "other", "off"))
    text = "%-38s %10s %10s  off by %10s  %s" % (line["label"], ours, other, off, line["target"])
    text += "  met" if line["met"] else "  NOT MET"
    return text + ("  (bare %s)" % shown(line["bare"], "us") if "bare" in line else "")
