"""A node as a program: options in, events out, a signal to the end, an exit code.

``python3 -m p2p_plain`` and ``python3 -m p2p_plain.node`` share this.  The main thread waits for a
signal; a node does everything else on its own threads.
"""

import json
import os
import signal
import sys
import time

from .errors import CannotStart, UsageError
from .escape import printable
from .events import EVERYTHING, REPORTED, Event
from .options import expand_files
from .output import Output, finish, let_go, occupy_standard_descriptors
from .signals import (
    SelfPipe, ignore_rereading_signals, rereading_signals, stop_signals, treat_all_like_ctrl_c,
)
from .typing import Any, Callable, Dict, List

DONE, NO, WRONG_USAGE, CANNOT_START = 0, 1, 2, 3
"""Exit codes.  ``NO`` is the answer of a command that asks, for example ``check``."""


def main(program: Callable[[List[str]], int], argv: List[str]) -> int:
    """Run ``program`` with the words of ``argv``, each ``@file`` replaced.  Return its exit code.

    Reports a ``UsageError`` or ``CannotStart`` in one line on stderr.
    """
    occupy_standard_descriptors()
    try:
        treat_all_like_ctrl_c()
        words = expand_files(argv)
        if words and words[0].startswith("-") and any(w.startswith("--secret-file") for w in words):
            ignore_rereading_signals()  # a service may be asked to reload as soon as it is started
        return program(words)
    except UsageError as error:
        setting = error.setting
        if setting and not setting.startswith(("-", "@")):
            setting = "--" + setting.replace("_", "-")
        complain("%s%s; see --help" % (setting + ": " if setting else "", error.problem))
        return WRONG_USAGE
    except CannotStart as error:
        complain(str(error))
        return CANNOT_START
    except KeyboardInterrupt:  # a stop signal before anything ran that could be stopped
        let_go(sys.stdout)
        # A node has stopped as it was told; a command's question has no answer.
        return NO if argv and not argv[0].startswith(("-", "@")) else DONE
    finally:
        finish(sys.stdout)


def complain(text: str) -> None:
    """Print one line on stderr, if there is a stderr."""
    Output(sys.stderr).write("p2p_plain: " + printable(text, 1000))


def plain_fields(event: Event) -> str:
    """Return the fields of an event as ``name=value``, safe to print."""
    fields = ["%s=%s" % item for item in event.items() if item[0] not in ("event", "time")]
    return printable("  ".join(fields), 1000)


def plain_event(event: Event, out: Output) -> str:
    """Return an event as one line: time, name, fields."""
    return "%s  %-10s %s" % (event["time"], event["event"], plain_fields(event))


def plain_trace(event: Event, started_at: float, err: Output) -> str:
    """Return a line of the wire as one line: seconds since the start, thread, peer, direction."""
    seconds = event["time"] - started_at
    words = (seconds, event["thread"], event["peer"], event["direction"], event["line"])
    return printable("%9.4f  %-14s %-21s %s %s" % words, 1000)


def json_event(event: Event, out: Output) -> str:
    """Return an event as one line of JSON."""
    return json.dumps(event)


class Printer:
    """Prints events on the dispatcher's thread, so that a stopped terminal delays nothing else."""

    def __init__(
        self,
        event_line: Callable[[Event, Output], str],
        trace_line: Callable[[Event, float, Output], str],
        stdout_closed: Callable[[], None],
    ) -> None:
        self._event_line = event_line
        self._trace_line = trace_line
        self._stdout_closed = stdout_closed
        self._started_at = time.time()
        self._out = Output(sys.stdout)
        self._err = Output(sys.stderr)
        self._stopped = False
        self.done = False
        """True once the last event is written."""

    def event(self, event: Event) -> None:
        """Write one event, to be flushed with its batch."""
        if not self._out.write(self._event_line(event, self._out), now=False):
            self._stdout_closed()
        self._stopped = event["event"] == "stopped"

    def flush(self, _: Event) -> None:
        """Flush a batch of events with one write."""
        if not self._out.flush():
            self._stdout_closed()
        self.done = self._stopped

    def trace(self, event: Event) -> None:
        """Write one line of the wire to stderr."""
        self._err.write(self._trace_line(event, self._started_at, self._err))


def take_output_options(settings: Dict[str, Any]) -> Dict[str, Any]:
    """Remove the options of ``add_output_options`` from ``settings`` and return them."""
    return {name: settings.pop(name, None) for name in ("json", "trace", "log_level")}


def run_node(
    node: Any,
    output: Dict[str, Any],
    event_line: Callable[[Event, Output], str] = plain_event,
    trace_line: Callable[[Event, float, Output], str] = plain_trace,
) -> int:
    """Run ``node`` until a stop signal, or until nobody reads stdout.  Return the exit code.

    ``output`` comes from ``take_output_options``.  Raises ``CannotStart``.
    """
    if output["log_level"] is not None:
        import logging  # takes a tenth of the start, and few want it

        level = output["log_level"].upper()
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s")
    _raise_descriptor_limit()
    rereading = rereading_signals() if node.config.secret_file else ()
    with SelfPipe([n for n in stop_signals() if n not in rereading], rereading) as pipe:
        printer = Printer(json_event if output["json"] else event_line, trace_line, pipe.wake)
        node.on(EVERYTHING, printer.event)
        node.on(REPORTED, printer.flush)
        if output["trace"]:
            node.on("trace", printer.trace)
        node.start()
        reason = "an error"
        try:
            _, signals = pipe.wait()
            while signals and signals <= set(rereading):
                node.read_secret_again()
                _, signals = pipe.wait()
            reason = signal.Signals(min(signals)).name if signals else "stdout was closed"
        finally:
            node.stop(reason)
    if not printer.done:
        # The dispatcher waits for a terminal or pipe that takes nothing, and holds the lock of
        # stdout's buffer.  The interpreter's own shutdown would want that lock too, and abort.
        os._exit(DONE)
    return DONE


def _raise_descriptor_limit() -> None:
    """Raise the limit of open descriptors, and so of connections, from soft to hard."""
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
