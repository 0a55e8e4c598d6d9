"""What the tests share: peers made of a bare socket, nodes as processes, waiting with a deadline."""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, Optional, Tuple

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATIENCE = 10.0
"""Seconds that a test waits for what should take milliseconds: these machines are noisy."""

BUSY = 0.5
"""Seconds that a promise may be late because other programs had the processors meanwhile."""


def wait_until(predicate: Callable[[], Any], timeout: float = PATIENCE) -> Any:
    """What ``predicate`` returned when it was true; fails after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("waited %g s in vain for %s" % (timeout, predicate))
        time.sleep(0.005)


def new_id() -> str:
    return str(uuid.uuid4())


SMALL_ID = "00000000-0000-4000-8000-000000000001"
LARGE_ID = "ffffffff-ffff-4fff-bfff-ffffffffffff"


class RawPeer:
    """The other end of a connection, played line by line: what the wire looks like to anyone.

    It says nothing by itself, so a test can misbehave at exactly one point.
    """

    def __init__(self, sock: socket.socket, nodeid: Optional[str] = None) -> None:
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        self.nodeid = nodeid or new_id()
        self._held = b""

    @classmethod
    def dial(cls, node: Any, nodeid: Optional[str] = None) -> "RawPeer":
        """Connect to a node (or a port of 127.0.0.1)."""
        port = node if isinstance(node, int) else node.port
        return cls(socket.create_connection(("127.0.0.1", port), PATIENCE), nodeid)

    def __enter__(self) -> "RawPeer":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def say(self, msgtype: str, **fields: Any) -> None:
        message = {"msgtype": msgtype}  # type: Dict[str, Any]
        message.update(fields)
        self.say_raw(json.dumps(message).encode() + b"\n")

    def say_raw(self, data: bytes) -> None:
        self.sock.sendall(data)

    def hello(self, **fields: Any) -> None:
        self.say("hello", nodeid=self.nodeid, **fields)

    def hear_line(self) -> Optional[bytes]:
        """The next line, or ``None`` at the end of the stream."""
        while b"\n" not in self._held:
            try:
                chunk = self.sock.recv(65536)
            except ConnectionError:
                return None
            if not chunk:
                return None
            self._held += chunk
        line, _, self._held = self._held.partition(b"\n")
        return line

    def hear_any(self) -> Dict[str, Any]:
        """The next message, whatever it is."""
        line = self.hear_line()
        assert line is not None, "the connection ended"
        return dict(json.loads(line.decode("utf-8")))

    def hear(self, msgtype: str) -> Dict[str, Any]:
        """The next message of that type; others before it are passed over, pings answered."""
        while True:
            line = self.hear_line()
            assert line is not None, "the connection ended before a %s" % msgtype
            message = json.loads(line.decode("utf-8"))  # type: Dict[str, Any]
            if message["msgtype"] == msgtype:
                return message
            if message["msgtype"] == "ping":
                self.say("pong")

    def hear_to_the_end(self) -> List[Dict[str, Any]]:
        """Every message until the other end closes."""
        return [json.loads(line.decode("utf-8")) for line in iter(self.hear_line, None)]

    def become_peer(self, **fields: Any) -> Dict[str, Any]:
        """Say hello and behave until we are let in; the node's hello."""
        self.hello(**fields)
        theirs = self.hear("hello")
        self.hear("ping")
        self.say("pong")
        return theirs

    def answers_ping(self) -> bool:
        self.say("ping")
        return self.hear("pong") == {"msgtype": "pong"}


class RawListener:
    """A listening socket that a node can be told to dial."""

    def __init__(self, host: str = "127.0.0.1", backlog: int = 50) -> None:
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.sock.bind((host, 0))
        self.sock.listen(backlog)
        self.sock.settimeout(PATIENCE)
        self.port = self.sock.getsockname()[1]
        self.address = ("[%s]:%d" if ":" in host else "%s:%d") % (host, self.port)

    def accept(self, nodeid: Optional[str] = None) -> RawPeer:
        return RawPeer(self.sock.accept()[0], nodeid)

    def __enter__(self) -> "RawListener":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


def free_port() -> int:
    """A port on which nobody listens, and from which nobody dials.

    Linux takes the ports of outgoing connections from 32768 up: one of those could be gone a moment
    later, to a connection of the very test that asked for it.
    """
    while True:
        port = random.randrange(10000, 32768)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@contextlib.contextmanager
def full_pipe() -> Iterator[BinaryIO]:
    """The writing end of a pipe that is full, and that nobody reads."""
    read, write = os.pipe()
    with open(read, "rb"), open(write, "wb") as stdout:
        os.set_blocking(write, False)
        with pytest.raises(BlockingIOError):
            while True:
                os.write(write, b"x")
        os.set_blocking(write, True)
        yield stdout


def waits_for_a_pipe(pid: int) -> bool:
    """Whether that process' main thread is where only a pipe or a signal may get it out.  Linux only."""
    with open("/proc/%d/wchan" % pid) as file:
        return "pipe" in file.read()


class Program:
    """``python -m p2p_plain --json`` as a process, its events collected as they come.

    ``what`` is what Python runs: the folder by default, or the one file.
    """

    def __init__(
        self,
        *options: str,
        python: str = sys.executable,
        flags: Any = (),
        env: Optional[Dict[str, str]] = None,
        cwd: str = ROOT,
        prefix: Any = (),
        what: Any = ("-m", "p2p_plain")
    ) -> None:
        command = list(prefix) + [python] + list(flags) + list(what) + ["--json"] + list(options)
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.seen = []  # type: List[Dict[str, Any]]
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.seen.append(json.loads(line.decode("utf-8")))

    def events(self, name: str) -> List[Dict[str, Any]]:
        return [event for event in list(self.seen) if event["event"] == name]

    def wait_for(self, name: str, count: int = 1, timeout: float = PATIENCE) -> List[Dict[str, Any]]:
        """Wait for this many events of that name and return them; fail if the program ends before."""
        wait_until(lambda: len(self.events(name)) >= count or not self._reader.is_alive(), timeout)
        events = self.events(name)
        if len(events) < count:
            assert self.process.stderr is not None
            code, said = self.process.wait(timeout), self.process.stderr.read().decode("utf-8", "replace")
            raise AssertionError("exit code %d before %d %s: %s" % (code, count, name, said))
        return events

    @property
    def port(self) -> int:
        return int(self.wait_for("listening")[0]["addresses"][0].rpartition(":")[2])

    @property
    def nodeid(self) -> str:
        return str(self.wait_for("listening")[0]["nodeid"])

    def peers(self) -> Dict[str, Dict[str, Any]]:
        """Who is up, as the events tell it."""
        up = {}  # type: Dict[str, Dict[str, Any]]
        for event in list(self.seen):
            if event["event"] == "peer_up":
                assert event["nodeid"] not in up, "up twice: %r" % event
                up[event["nodeid"]] = event
            elif event["event"] == "peer_down":
                del up[event["nodeid"]]
        return up

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it with a signal; its exit code.  What it said on stderr fails the test."""
        self.send(number)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stderr is not None
        errors = self.process.stderr.read().decode("utf-8", "replace")
        assert not errors, errors
        return code

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def start_program(
    *words: str, what: Any = ("-m", "p2p_plain"), **settings: Any
) -> "subprocess.Popen[bytes]":
    """Start ``python -m p2p_plain`` with these words and no keyboard; both outputs are pipes."""
    pipe = subprocess.PIPE
    known = {"cwd": ROOT, "stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": pipe}
    return subprocess.Popen([sys.executable, *what, *words], **dict(known, **settings))


def run_program(*words: str, **settings: Any) -> Tuple[int, str, str]:
    """Run it to its end: exit code, stdout, stderr."""
    process = start_program(*words, **settings)
    try:
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    return process.returncode, (out or b"").decode(), (err or b"").decode()


def reason_for_no_lab() -> str:
    """Why no laboratory can be built here; empty if one can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are a thing of Linux"
    if os.geteuid() != 0:
        return "needs root"
    missing = [name for name in ("ip", "nft", "unshare", "mount") if not shutil.which(name)]
    if missing:
        return "needs " + ", ".join(missing)
    if subprocess.call(["unshare", "--net", "--mount", "true"], stderr=subprocess.DEVNULL):
        return "may not make namespaces here"
    return ""
