"""A node as a program: events to stdout, a signal to the end.

``cli`` imports this when the command line names no other command.  The main thread waits for a
signal; everything else happens on the node's own threads.
"""

import json
import os
import signal
import socket
import sys
import time
from typing import Any, Callable, Dict

from ..common.events import EVERYTHING, TOLD, Event
from ..monitor.rows import LATE_SECONDS
from ..node.node import Node
from ..terminal import event_lines
from ..terminal.output import Output
from ..terminal.signals import ignore_stop_signals, stop_signals
from .options import as_typed, program

SWITCH_INTERVAL, WHEN_CROWDED = 0.005, 0.05
"""Seconds after which a thread that waits for the interpreter asks for it: Python's own value, and
that of a node which runs late.  Each asking is a wakening of its own.  Of 100 nodes on two cores,
each with 200 threads, none got anything done any more for asking; now they recover."""


def run(options: Dict[str, Any]) -> None:
    """Run a node until SIGINT or SIGTERM, or until nobody reads what it prints.

    ``options`` are as ``options.read_plainly`` gives them.  Raises ``UsageError``, ``CannotStart``.
    """
    as_json, tracing, level = (options.pop(word) for word in ("json", "trace", "log_level"))
    for setting in ("name", "network"):
        if options[setting] is not None:
            options[setting] = as_typed(options[setting])
    node = Node(**{name: value for name, value in options.items() if value is not None})
    if level is not None:
        import logging

        logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    _raise_descriptor_limit()
    with Signals() as signals:
        printer = Printer(as_json, node.config.network, stdout_closed=signals.wake)
        node.on(EVERYTHING, printer.event)
        node.on(TOLD, printer.flush)
        node.on(TOLD, lambda told: ask_less_when_late(node.lateness()))
        if tracing:
            node.on("trace", printer.trace)
        node.start()
        reason = "an error"
        try:
            reason = signals.wait()
        finally:
            node.stop(reason)
    if not printer.done:
        # The dispatcher waits for a terminal or a pipe that takes nothing, and holds the lock of
        # stdout's buffer.  The interpreter's own end would want that lock too, and abort.
        os._exit(0)


def ask_less_when_late(lateness: float) -> None:
    """Set how long threads wait before they ask for the interpreter.  ``lateness`` in seconds.

    For the whole process, so it is a matter of the program and not of the library.
    """
    sys.setswitchinterval(WHEN_CROWDED if lateness > LATE_SECONDS else SWITCH_INTERVAL)


class Printer:
    """Prints events, on the dispatcher thread: a terminal that is held up delays nobody else."""

    def __init__(self, as_json: bool, network: str, stdout_closed: Callable[[], None]) -> None:
        self._as_json = as_json
        self._network = network
        self._stdout_closed = stdout_closed
        self._started_at = time.time()
        self._out = Output(sys.stdout)
        self._err = Output(sys.stderr)
        self._stopped = False
        self.done = False
        """Whether the last event is out: nothing more will be written."""

    def event(self, event: Event) -> None:
        """One line; under the first of them what others type to join."""
        if self._as_json:
            lines = [json.dumps(event)]
        else:
            lines = [event_lines.human(event, time.localtime().tm_gmtoff, self._out.colour)]
            if event["event"] == "listening":
                lines += event_lines.invitation(event["addresses"], self._network, program())
        if not self._out.write("\n".join(lines), now=False):
            self._stdout_closed()
        self._stopped = event["event"] == "stopped"

    def flush(self, told: Event) -> None:
        """After each batch of events: one write for all of them."""
        if not self._out.flush():
            self._stdout_closed()
        self.done = self._stopped

    def trace(self, event: Event) -> None:
        """One line of the wire, on stderr."""
        err = self._err
        err.write(event_lines.trace(event, self._started_at, err.colour, err.columns()))


class Signals:
    """Turns what asks us to stop into a byte on a socket that the main thread reads.

    A handler that set a ``threading.Event`` could run while the main thread holds that event's
    own lock, and wait for it for ever.  So Python's low-level handler writes the signal's
    number into a socket (``signal.set_wakeup_fd``), and ours does nothing.
    """

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._write.setblocking(False)

    def __enter__(self) -> "Signals":
        signal.set_wakeup_fd(self._write.fileno())
        for number in stop_signals():
            signal.signal(number, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        # Not back to what they were: the end has begun, and a second Ctrl-C must not turn
        # exit code 0 into a death by signal.
        ignore_stop_signals()
        signal.set_wakeup_fd(-1)
        self._read.close()
        self._write.close()

    def wait(self) -> str:
        """Wait for a signal or for ``wake``; what it was, in a word."""
        number = self._read.recv(1)[0]
        return signal.Signals(number).name if number else "stdout was closed"

    def wake(self) -> None:
        """End ``wait`` without a signal.  Any thread."""
        try:
            self._write.send(b"\0")
        except OSError:
            pass


def _raise_descriptor_limit() -> None:
    """As many open connections as the system lets us have without asking: soft limit to hard."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            pass  # macOS calls "unlimited" a limit that it does not accept
