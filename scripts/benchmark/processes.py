"""Runs contestants as processes, and reads their processor time and memory from the system.

A contestant prints to a file.  So nobody has to read along while it is measured, and afterwards
the file says what happened when.
"""

import json
import os
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional, Sequence

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

OURS, RAW, ASYNCIO = "p2p_plain", "raw", "asyncio"
CONTESTANTS = (OURS, RAW, ASYNCIO)

PATIENCE = 30.0
"""Seconds until something that should take a moment has failed."""

UNLIMITED = ("--max-rate", "0", "--max-peers", "5000")
"""Options for cases that measure how fast a node can go: by default it answers each peer 200 messages
a second and reads more slowly beyond that."""


class Contestant:
    """A process of one of the three kinds.  It listens on a free port of 127.0.0.1.

    ``options`` go to ``p2p_plain`` only; the others have none.
    """

    def __init__(
        self,
        kind: str,
        python: str,
        options: Sequence[str] = (),
        ping_interval: float = 60.0,
        bootstrap: Optional[int] = None,
    ) -> None:
        self.kind = kind
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __exit__)
        command = _command(kind, ping_interval, bootstrap) + (list(options) if kind == OURS else [])
        self.process = subprocess.Popen(
            [python] + command,
            cwd=ROOT,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
        )
        self.pid = self.process.pid

    def __enter__(self) -> "Contestant":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self._output.close()

    @property
    def port(self) -> int:
        """Its port.  Waits until it listens."""
        deadline = time.monotonic() + PATIENCE
        while True:
            told = self.told()
            if b"\n" in told:
                listening = json.loads(told.partition(b"\n")[0].decode())
                return int(listening["addresses"][0].rpartition(":")[2])
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("%s does not start" % self.kind)
            time.sleep(0.0002)

    def told(self) -> bytes:
        """Return everything that it has printed so far."""
        return os.pread(self._output.fileno(), os.fstat(self._output.fileno()).st_size, 0)

    def events(self) -> List[Dict[str, Any]]:
        """Return the events that it has printed; a half-written line is left out."""
        return [json.loads(line.decode()) for line in self.told().split(b"\n")[:-1]]

    # -- what it costs ---------------------------------------------------------------------

    def cpu(self) -> float:
        """Return the processor time of all its threads so far, in seconds."""
        return cpu_seconds(self.pid)

    def memory(self) -> float:
        """Return its resident memory in KiB."""
        try:
            with open("/proc/%d/statm" % self.pid) as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024
        except OSError:
            return float(_ps("rss", self.pid))

    def threads(self) -> int:
        """Return how many it has now; 0 where /proc is missing."""
        try:
            return len(os.listdir("/proc/%d/task" % self.pid))
        except OSError:
            return 0


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process, to the microsecond if the system has that."""
    try:
        # The clock of clock_getcpuclockid(3) on Linux.  /proc/PID/stat counts in steps of 10 ms,
        # the time of several hundred pings.
        return time.clock_gettime((~pid << 3) | 2)
    except (AttributeError, OSError, OverflowError):
        pass
    try:
        with open("/proc/%d/stat" % pid) as file:
            user, system = file.read().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return read_ps_time(_ps("time", pid))


def _ps(column: str, pid: int) -> str:
    return subprocess.check_output(["ps", "-o", column + "=", "-p", str(pid)]).decode().strip()


def read_ps_time(text: str) -> float:
    """Return the seconds of ``1-02:03:04`` or ``3:04.56``; formats differ between systems."""
    days, _, clock = text.rpartition("-")
    seconds = 0.0
    for part in clock.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds + 86400 * int(days or 0)


def _environment() -> Dict[str, str]:
    """Return our environment, but let programs keep their bytecode, as they usually do.

    Otherwise ``p2p_plain`` would compile itself at each start; asyncio, which is installed, would not.
    """
    return {key: os.environ[key] for key in os.environ if key != "PYTHONDONTWRITEBYTECODE"}


def _command(kind: str, ping_interval: float, bootstrap: Optional[int]) -> List[str]:
    if kind == RAW:
        return [os.path.join(HERE, "raw.py")]
    where = [] if bootstrap is None else ["127.0.0.1:%d" % bootstrap]
    if kind == ASYNCIO:
        return [os.path.join(HERE, "asyncio_node.py"), str(ping_interval)] + where
    command = ["-m", "p2p_plain", "--json", "--bind", "127.0.0.1", "--port", "0"]
    command += ["--network", "bench", "--ping-interval", str(ping_interval)]
    return command + (["--bootstrap"] + where if where else [])


@contextmanager
def on_one_core() -> Iterator[None]:
    """Keep this process, and those that it starts meanwhile, on one core.

    Two processes that take turns need no more.  On two cores the scheduler may have to wake a
    sleeping core for each turn, and in a virtual machine that takes longer than the turn itself.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def allow_descriptors(number: int) -> bool:
    """True if this process, and those that it starts, may have that many connections."""
    try:
        import resource
    except ImportError:
        return True
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass
    return soft == resource.RLIM_INFINITY or soft > number + 64
