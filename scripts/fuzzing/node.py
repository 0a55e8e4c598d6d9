"""The node under test: its process, the events that it prints, and what the kernel says of it."""

import json
import os
import queue
import re
import subprocess
import threading
import time
from collections import Counter
from typing import Any, Callable, Dict, NamedTuple, Optional

from .wire import NETWORK, TIMEOUT, reject_constant, shown

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OPTIONS = (
    "--json --port 0 --bind 127.0.0.1 --max-rate 0 --ping-interval 1 --ping-timeout %g"
    " --probe-interval 2 --log-level error --name victim --network %s" % (TIMEOUT, NETWORK)
).split()
EVENTS = frozenset((
    "listening", "peer_up", "peer_down", "self", "conflict", "refused", "rtt", "reach", "message",
    "stopped",
))
MAX_ERRORS = 20000
"""Bytes of stderr that are kept."""


class Vitals(NamedTuple):
    """What a process uses: descriptors, threads, resident memory and seconds of processor time."""

    fds: int
    threads: int
    rss_kib: int
    cpu: float


class Node:
    """The process.  ``complain`` is called for each broken promise, from any thread."""

    def __init__(self, python: str, complain: Callable[[str], None]) -> None:
        self._complain = complain
        self.process = subprocess.Popen(
            [python, "-m", "p2p_plain"] + OPTIONS,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the fuzzer
        )
        self.events: Dict[str, int] = Counter()
        self.up: Dict[str, Any] = {}
        """The peers by nodeid, as the events have it."""
        self.errors = b""
        self.stopped_in = 0.0
        self._listening: "queue.Queue[Optional[Dict[str, Any]]]" = queue.Queue()
        readers = (self._read_events, self._read_errors)
        self._threads = [threading.Thread(target=reader, daemon=True) for reader in readers]
        for thread in self._threads:
            thread.start()

    def wait_listening(self) -> Optional[Dict[str, Any]]:
        """Return the event ``listening``; ``None`` if the node ends or takes too long."""
        try:
            return self._listening.get(timeout=4 * TIMEOUT)
        except queue.Empty:
            return None

    def _read_events(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                event = json.loads(line.decode("utf-8"), parse_constant=reject_constant)
                self._note(event)
            except (ValueError, KeyError, TypeError) as error:
                self._complain("stdout has %s: %s" % (shown(line), error))
        self._listening.put(None)

    def _note(self, event: Dict[str, Any]) -> None:
        """Count an event; ``ValueError`` if it contradicts the events before it."""
        name = event["event"]
        if name not in EVENTS or not re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z\Z", event["time"]):
            raise ValueError("an unknown event")
        self.events[name] += 1
        if name == "listening":
            self._listening.put(event)
        if name not in ("peer_up", "peer_down"):
            return
        nodeid = event["nodeid"]
        if (nodeid in self.up) == (name == "peer_up"):
            raise ValueError("%s twice in a row" % name)
        if name == "peer_up":
            self.up[nodeid] = event
        else:
            del self.up[nodeid]
        if event["peers"] != len(self.up):
            raise ValueError("the events before it leave %d peers" % len(self.up))

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if len(self.errors) < MAX_ERRORS:
                self.errors += line

    def died(self, grace: float = 0.0) -> bool:
        """Return True if the process has ended, or ends within ``grace`` seconds."""
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Ask the node to stop, and complain if it does not stop well."""
        began = time.monotonic()
        self.process.terminate()
        if not self.died(grace=TIMEOUT):
            self._complain("the node does not stop within %g s of SIGTERM" % TIMEOUT)
            self.process.kill()
            self.process.wait()
        self.stopped_in = time.monotonic() - began
        if self.process.returncode:
            self._complain("the node's exit code is %d" % self.process.returncode)
        for thread in self._threads:
            thread.join(TIMEOUT)  # until everything that the node printed is read
        if self.errors:
            self._complain("stderr: %s" % self.errors.decode("utf-8", "replace"))

    def vitals(self) -> Optional[Vitals]:
        """Return what the process uses now; ``None`` where there is no /proc."""
        home = "/proc/%d" % self.process.pid
        try:
            with open(home + "/status") as file:
                status = file.read()
            with open(home + "/stat") as file:
                times = file.read().rpartition(")")[2].split()[11:13]
            return Vitals(
                len(os.listdir(home + "/fd")),
                len(os.listdir(home + "/task")),
                int(status.partition("VmRSS:")[2].split()[0]),
                sum(map(int, times)) / os.sysconf("SC_CLK_TCK"),
            )
        except (OSError, IndexError, ValueError):
            return None
