"""One node: a process of p2p_plain on a host, and what its events say about its peers."""

import json
import os
import signal
import subprocess
import threading
from typing import Callable, Dict, List, NamedTuple, Optional

from .events import Record

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
"""The project's folder, from which ``python -m p2p_plain`` runs."""


PAGE_PORT = 8080
"""Where each node serves its status page, to its own host."""


class Program(NamedTuple):
    """What runs on a host."""

    python: str
    folder: str = ROOT
    """The folder with the p2p_plain to run."""

    @property
    def words(self) -> List[str]:
        """The beginning of a command line that runs it in its folder."""
        return [self.python, "-m", "p2p_plain"]


class Node:
    """Runs ``command`` in ``folder`` and calls ``hear(node, record)`` for each line that it prints.

    Two reader threads, one for each stream, call ``hear``.  It calls ``take`` while it holds the
    journal's lock, which guards what ``take`` writes.
    """

    def __init__(
        self, command: List[str], hear: Callable[["Node", Record], None], folder: str = ROOT
    ) -> None:
        self._hear = hear
        self.frozen = False
        # Guarded by the journal's lock.
        self.nodeid = ""
        """Empty until the node listens.  A node has a new one each time it is started."""
        self.port = 0
        self.page = "127.0.0.1:%d" % PAGE_PORT
        """The address of its status page, on its own host."""
        self.peers: Dict[str, Record] = {}
        """By nodeid, the ``peer_up`` of each present peer."""
        self.dials: Dict[str, str] = {}
        """By nodeid, the result of the last test dial, once a ``reach`` event has reported one."""
        self.complaints: List[str] = []
        """Lines of stderr."""
        # A session of its own keeps Ctrl-C away from the node.
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self._readers = [
            threading.Thread(target=read, daemon=True)
            for read in (self._read_stdout, self._read_stderr)
        ]
        for reader in self._readers:
            reader.start()

    def _read_stdout(self) -> None:
        """Reader thread: report each event, and at last the exit code."""
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._hear(self, _parse(line.rstrip("\n")))
        self._hear(self, {"ended": self.process.wait()})

    def _read_stderr(self) -> None:
        """Reader thread.  A node that runs well writes nothing there."""
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self._hear(self, {"stderr": line.rstrip("\n")})

    def take(self, record: Record) -> None:
        """Remember what an event says.  Caller holds the journal's lock."""
        event = record.get("event")
        if event == "listening":
            self.nodeid = record["nodeid"]
            self.port = int("".join(record["addresses"][:1]).rpartition(":")[2] or 0)
            self.page = record.get("http", self.page)  # older versions do not report it
        elif event == "peer_up":
            self.peers[record["nodeid"]] = record
        elif event == "peer_down":
            self.peers.pop(record["nodeid"], None)
        elif event == "reach":
            self.dials[record["nodeid"]] = record["dial"]
        elif "stderr" in record:
            self.complaints.append(record["stderr"])

    def ended(self) -> bool:
        """True if the process has ended, for any reason."""
        return self.process.poll() is not None

    def send(self, number: int) -> None:
        """Send a signal.  A frozen process receives it when it is thawed; SIGKILL works at once."""
        try:
            self.process.send_signal(number)
        except ProcessLookupError:
            pass  # a reader has just waited for its end; Python 3.9 and later check for this

    def wait(self, seconds: Optional[float] = None) -> int:
        """Return the exit code when all output has been read.  Raises ``subprocess.TimeoutExpired``."""
        code = self.process.wait(seconds)
        for reader in self._readers:
            reader.join()
        return code

    def kill(self) -> None:
        """End the process at once and wait for it."""
        self.send(signal.SIGKILL)
        self.wait()


def _parse(line: str) -> Record:
    """Return the event of a line of stdout; any other text counts as a complaint."""
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    return record if isinstance(record, dict) and "event" in record else {"stderr": line}
