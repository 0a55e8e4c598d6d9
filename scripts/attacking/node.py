"""A node under attack: its process, the events that it prints, its page, its log and its memory."""

import http.client
import json
import os
import subprocess
import tempfile
import threading
import time
from typing import Any, Dict, List, Tuple

from ..conformity.node import Node as Judged

from .verdict import Broken

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

PATIENCE = 10.0
"""Seconds for what should take milliseconds: the machine may be busy."""

NAME = "name-of-this-host"
NETWORK = "network-of-this-host"
"""What a stranger must not learn by making the node dial it."""

QUICK = ("--ping-interval", "1", "--ping-timeout", "2", "--probe-interval", "2")


class Node:
    """The process.  Its events are read by a thread of its own."""

    def __init__(self, python: str, host: str, *options: str) -> None:
        self.host, self.port, self.page = host, 6000, 8080  # each node has a host of its own
        where = "[%s]:%d" if ":" in host else "%s:%d"
        self.address = where % (host, self.port)
        self.page_address = where % (host, self.page)
        self.seen: List[Dict[str, Any]] = []
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        words = ["--json", "--port", str(self.port), "--bind", host, "--network", NETWORK, "--name", NAME]
        words += ["--http", self.page_address, *QUICK, *options]
        self._listening = threading.Event()
        self.process = subprocess.Popen(
            [python, "-m", "p2p_plain", *words],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.log,
            start_new_session=True,
        )
        self.stdout_bytes = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_listening(self) -> None:
        """Wait until it listens.  Raises ``Broken`` if it does not."""
        self._listening.wait(2 * PATIENCE)
        if not self.seen:
            raise Broken("the node does not start: %s" % self.log_text()[-200:])
        self.nodeid = str(self.seen[0]["nodeid"])

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.stdout_bytes += len(line)
            self.seen.append(json.loads(line.decode("utf-8")))
            self._listening.set()
        self._listening.set()

    def events(self, *names: str) -> List[Dict[str, Any]]:
        """Return its events of these names, or all."""
        return [one for one in list(self.seen) if not names or one["event"] in names]

    def judged(self) -> Judged:
        """Return the node as the judge of the wire sees it."""
        return Judged(self.host, self.port, network=NETWORK, patience=PATIENCE)

    def rows(self) -> List[Dict[str, Any]]:
        """Return its matrix, as any guest gets it; its own row is the first one."""
        with self.judged().greet(probe=True) as guest:
            return guest.ask_rows()

    def row(self) -> Dict[str, Dict[str, Any]]:
        """Return its own row: a link for each nodeid."""
        return {link["nodeid"]: link for link in self.rows()[0]["links"]}

    def get(self, path: str, method: str = "GET") -> Tuple[int, bytes]:
        """Return status and body of a page."""
        connection = http.client.HTTPConnection(self.host, self.page, timeout=3 * PATIENCE)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def cluster(self) -> Tuple[int, Dict[str, Any]]:
        """Return what ``/cluster`` says: 200 or 503, and the verdicts."""
        status, body = self.get("/cluster")
        return status, dict(json.loads(body.decode()))

    def peak_mb(self) -> float:
        """Return the most memory that it ever had (VmHWM), in MB."""
        with open("/proc/%d/status" % self.process.pid) as file:
            return int(file.read().partition("VmHWM:")[2].split()[0]) * 1024 / 1e6

    def log_text(self) -> str:
        """Return what it wrote to its log (stderr) so far."""
        size = os.fstat(self.log.fileno()).st_size
        return os.pread(self.log.fileno(), size, 0).decode("utf-8", "replace")

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Stop it."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()


def pause(seconds: float) -> None:
    """Let the attack last."""
    time.sleep(seconds)
