"""The polite peers: three that keep to the rules, ping all the time, and expect answers.

They live in a process of their own, so that the fuzzer's work does not delay what they measure:
this module, run with ``python3 -m fuzzing.polite``.  It prints JSON lines: numbers are round trips
in milliseconds, a string is the failure that ended it.
"""

import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from typing import Callable, List, Optional, Tuple

from .wire import MAX_LINE, PING, POLITE_IDS, PONG, TIMEOUT, LineBuffer, hello, parse, shown

SCRIPTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LONGEST_PAUSE = 0.05


class PolitePeers:
    """The process, seen from the fuzzer.  ``complain`` is called from the thread that reads it."""

    def __init__(
        self,
        address: Tuple[str, int],
        every: float,
        complain: Callable[[str], None],
        timeout: float = TIMEOUT,
    ) -> None:
        self.failed = False
        self._complain = complain
        self._stopping = False
        self._ready = threading.Event()
        self._samples: List[float] = []
        numbers = [str(number) for number in (address[1], every, timeout)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fuzzing.polite", address[0]] + numbers,
            cwd=SCRIPTS,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the fuzzer
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        failure = "its process ended"
        with self._process.stdout as lines:
            for line in lines:
                answer = json.loads(line.decode("utf-8"))
                if isinstance(answer, str):
                    failure = answer
                else:
                    self._samples.append(answer)
                    self._ready.set()
        if not self._stopping:
            self.failed = True
            self._complain("a polite peer: " + failure)
        self._ready.set()

    def wait_ready(self) -> bool:
        """Return True once all of them are peers and have received a pong."""
        if not self._ready.wait(3 * TIMEOUT):
            self._complain("the polite peers do not become peers")
            return False
        return not self.failed

    def take(self) -> List[float]:
        """Return the round trips since the last call, in milliseconds."""
        samples, self._samples = self._samples, []
        return samples

    def stop(self) -> None:
        """End the process, and with it all of its connections."""
        self._stopping = True
        self._process.kill()
        self._process.wait()
        self._thread.join()


def percentile(samples: List[float], part: float) -> float:
    """Return the sample at that part of all, 0.5 for the median; 0 if there are none."""
    ordered = sorted(samples) or [0.0]
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


class PolitePeer:
    """One of them, in the process of their own.

    Its methods raise ``ValueError`` for what a node must not do to a polite peer.
    """

    def __init__(self, address: Tuple[str, int], nodeid: str, timeout: float) -> None:
        self.sock = socket.create_connection(address, timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answered = False
        self._timeout = timeout
        self._received = LineBuffer()
        self._pinged_at: Optional[float] = None
        self._ping_at = time.monotonic()
        self.sock.sendall(hello(nodeid, "polite"))

    def ping_if_due(self, every: float) -> float:
        """Send a ping if it is time for one; return the seconds until the next may be due."""
        now = time.monotonic()
        if self._pinged_at is not None:
            if now - self._pinged_at > self._timeout:
                raise ValueError("no pong within %g s" % self._timeout)
            return LONGEST_PAUSE
        if now >= self._ping_at:
            self._pinged_at, self._ping_at = now, now + every
            self.sock.sendall(PING + b"\n")
        return max(0.0, self._ping_at - now)

    def receive(self) -> List[float]:
        """Read once and return the round trip that ended, if one did, in milliseconds."""
        chunk = self.sock.recv(1 << 20)
        now = time.monotonic()
        if not chunk:
            raise ValueError("the node closed the connection")
        round_trips = []
        for line in self._received.feed(chunk):
            msgtype = _check(line)
            if msgtype == "pong":
                if self._pinged_at is None:
                    raise ValueError("a pong without a ping")
                round_trips.append(1000 * (now - self._pinged_at))
                self._pinged_at, self.answered = None, True
            elif msgtype == "ping":
                self.sock.sendall(PONG + b"\n")
        return round_trips


def _check(line: bytes) -> str:
    """Return the msgtype of a line; ``ValueError`` if a node must not send it to a polite peer."""
    try:
        msgtype = parse(line)["msgtype"]
    except ValueError as error:
        raise ValueError("received %s: %s" % (shown(line), error)) from None
    if len(line) >= MAX_LINE:
        raise ValueError("received a line of %d bytes" % len(line))
    if msgtype == "bye":
        raise ValueError("received %s" % shown(line))
    return str(msgtype)


def be_polite(address: Tuple[str, int], every: float, timeout: float) -> None:
    """Ping and print round trips, until somebody kills the process or a peer fails."""
    peers = [PolitePeer(address, nodeid, timeout) for nodeid in POLITE_IDS]
    by_sock = {peer.sock: peer for peer in peers}
    while True:
        pause = min(peer.ping_if_due(every) for peer in peers)
        ready = select.select(list(by_sock), [], [], min(pause, LONGEST_PAUSE))[0]
        round_trips = [trip for sock in ready for trip in by_sock[sock].receive()]
        if round_trips and all(peer.answered for peer in peers):
            print("\n".join(map(str, round_trips)), flush=True)


if __name__ == "__main__":
    host, port, every, timeout = sys.argv[1:]
    try:
        be_polite((host, int(port)), float(every), float(timeout))
    except (OSError, ValueError) as error:
        print(json.dumps(str(error)), flush=True)
