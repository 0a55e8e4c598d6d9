"""The command line: flags to config to node, events to stdout, a signal to the end.

Exit codes: 0 done or stopped by a signal, 1 the answer is no, 2 wrong usage, 3 cannot start.
Whatever goes wrong is one line on stderr that says what, and what to do.
"""

import json
import signal
import socket
import sys
import time

from . import display
from .codec import printable
from .errors import CannotStart, UsageError
from .events import EVERYTHING
from .node import Node
from .options import as_typed, expand_files, read_plainly
from .output import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, List, Optional

    from .events import Event

DONE, NO, WRONG_USAGE, CANNOT_START = 0, 1, 2, 3

COMMANDS = ("ping", "matrix", "check", "watch")
"""First words that ask a running node something, instead of running one."""


def main(argv: "Optional[List[str]]" = None) -> int:
    """Run the program; the exit code."""
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except UsageError as error:
        where = _option(error.setting) + ": " if error.setting else ""
        _complain("%s%s; see --help" % (where, error.problem))
        return WRONG_USAGE
    except CannotStart as error:
        _complain(str(error))
        return CANNOT_START


def _complain(text: str) -> None:
    """One line on stderr, if there is one."""
    if sys.stderr is not None:
        Output(sys.stderr).write("p2p_plain: " + printable(text, 1000))


def _option(setting: str) -> str:
    return setting if setting.startswith(("-", "@")) else "--" + setting.replace("_", "-")


# -- the other commands -----------------------------------------------------------------


def _command(word: str, rest: "List[str]") -> int:
    """Imported late: running a node should not cost what only they need."""
    if word not in COMMANDS:
        found = ", ".join(COMMANDS)
        raise UsageError("", "there is no command %r; the commands are %s" % (word, found))
    try:
        if word == "watch":
            from .watch import watch

            return watch(rest)
        from . import commands

        return {"ping": commands.ping, "matrix": commands.matrix, "check": commands.check}[word](rest)
    except KeyboardInterrupt:
        return NO  # the question has no answer


# -- the run command --------------------------------------------------------------------


def _run(argv: "List[str]") -> int:
    words = expand_files(argv)
    if words and not words[0].startswith("-"):
        return _command(words[0], words[1:])
    options = read_plainly(words)
    if options is None:
        from .usage import read_fully

        options = read_fully(words)
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
        if tracing:
            node.on("trace", printer.trace)
        node.start()
        reason = "an error"
        try:
            reason = signals.wait()
        finally:
            node.stop(reason)
    return DONE


class Printer:
    """Prints events, on the dispatcher thread: a terminal that is held up delays nobody else."""

    def __init__(self, as_json: bool, network: str, stdout_closed: "Callable[[], None]") -> None:
        self._as_json = as_json
        self._network = network
        self._stdout_closed = stdout_closed
        self._started_at = time.time()
        self._out = Output(sys.stdout)
        self._err = Output(sys.stderr)

    def event(self, event: "Event") -> None:
        """One line; under the first of them what others type to join."""
        if self._as_json:
            lines = [json.dumps(event)]
        else:
            lines = [display.human(event, time.localtime().tm_gmtoff, self._out.colour)]
            if event["event"] == "listening":
                lines += display.invitation(event["addresses"], self._network)
        if not self._out.write("\n".join(lines)):
            self._stdout_closed()

    def trace(self, event: "Event") -> None:
        """One line of the wire, on stderr."""
        self._err.write(display.trace(event, self._started_at, self._err.colour))


class Signals:
    """Turns SIGINT and SIGTERM into a byte on a socket that the main thread reads.

    A handler that set a ``threading.Event`` could run while the main thread holds that event's
    own lock, and wait for it for ever.  So Python's low-level handler writes the signal's
    number into a socket (``signal.set_wakeup_fd``), and ours does nothing.
    """

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._write.setblocking(False)

    def __enter__(self) -> "Signals":
        signal.set_wakeup_fd(self._write.fileno())
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        # Not back to what they were: the end has begun, and a second Ctrl-C must not turn
        # exit code 0 into a death by signal.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
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
