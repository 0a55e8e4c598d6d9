"""The command line: flags to config to node, events to stdout, a signal to the end.

Exit codes: 0 done or stopped by a signal, 1 the answer is no, 2 wrong usage, 3 cannot start.
Whatever goes wrong is one line on stderr that says what, and what to do.
"""

import argparse
import json
import os
import signal
import socket
import sys
import time

from . import __version__, display
from .codec import printable
from .errors import CannotStart, P2PError, UsageError
from .events import EVERYTHING
from .node import Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Mapping, NoReturn, Optional, TextIO

    from .events import Event

DONE, ANSWER_NO, WRONG_USAGE, CANNOT_START = 0, 1, 2, 3

EXAMPLES = """\
examples:
  python3 -m p2p_plain --port 6000
  python3 -m p2p_plain --port 6001 --bootstrap 127.0.0.1:6000
  python3 -m p2p_plain @node.args        (options from a file, one a line)

Runs until SIGINT (Ctrl-C) or SIGTERM.  Exit codes: 0 stopped by a signal, 2 wrong usage,
3 cannot start.
"""


def main(argv: "Optional[List[str]]" = None) -> int:
    """Run the program; the exit code."""
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except UsageError as error:
        _complain("%s: %s; see --help" % (_option(error.setting), error.problem))
        return WRONG_USAGE
    except CannotStart as error:
        _complain(str(error))
        return CANNOT_START
    except P2PError as error:
        _complain(str(error))
        return ANSWER_NO


def _complain(text: str) -> None:
    """One line on stderr, if there is one."""
    if sys.stderr is not None:
        Output(sys.stderr).write("p2p_plain: " + printable(text, 1000))


def _option(setting: str) -> str:
    return setting if setting.startswith(("-", "@")) else "--" + setting.replace("_", "-")


# -- reading the command line -----------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """argparse that says in one line what is wrong, and survives a full disk."""

    def _print_message(self, message: str, file: "Any" = None) -> None:
        Output(file or sys.stdout).write(message.rstrip("\n"))

    def error(self, message: str) -> "NoReturn":
        what, _, problem = message.replace("argument ", "", 1).partition(": ")
        if problem:
            raise UsageError(what, problem)
        raise UsageError("options", message)


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """argparse's, told the width: it would import ``shutil`` to ask, at every start, for 5 ms."""

    def __init__(self, prog: str) -> None:
        try:
            width = os.get_terminal_size().columns
        except (OSError, ValueError):  # not a terminal, or none at all
            width = 80
        super().__init__(prog, max_help_position=26, width=max(40, width - 2))


def _parser() -> _Parser:
    parser = _Parser(
        prog="p2p_plain",
        usage="python3 -m p2p_plain [options]",
        description="A peer-to-peer node: finds every other node and watches it.",
        epilog=EXAMPLES,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--port", type=int, metavar="N", help="listening TCP port (6000); 0 picks a free one")
    add("--bind", metavar="ADDR", help="address to listen on (all, IPv6 and IPv4)")
    add(
        "--bootstrap",
        action="append",
        metavar="HOST:PORT",
        help="a node to begin with; repeat it or separate by comma; HOST alone means our own port",
    )
    add("--advertise", metavar="HOST:PORT", help="the address that others should dial (found out)")
    add("--name", metavar="LABEL", help="what to call this node (the host name)")
    add("--network", metavar="NAME", help="nodes of other networks are refused (none)")
    add("--ping-interval", type=float, metavar="S", help="seconds between pings (60)")
    add("--ping-timeout", type=float, metavar="S", help="a peer without pong is dropped (20)")
    add("--probe-interval", type=float, metavar="S", help="seconds between test dials (60)")
    add("--max-peers", type=int, metavar="N", help="peers at the most (256)")
    add("--max-rate", type=float, metavar="N", help="messages a second from each (200; 0: any)")
    add("--peers-file", metavar="PATH", help="where to keep the address book (nowhere)")
    add("--json", action="store_true", help="events as JSON lines")
    add("--trace", action="store_true", help="every line on the wire, to stderr")
    add(
        "--log-level",
        metavar="LEVEL",
        choices=("debug", "info", "warning", "error", "critical"),
        help="debug, info, warning, error or critical, to stderr (warning)",
    )
    add("--version", action="version", version="p2p_plain " + __version__)
    return parser


def expand_files(argv: "List[str]") -> "List[str]":
    """Replace each ``@file`` by the options in it, one a line; ``#`` begins a comment.

    Raises ``CannotStart`` if it cannot be read, ``UsageError`` if it makes no sense.
    """
    found: List[str] = []
    for word in argv:
        if not word.startswith("@"):
            found.append(word)
            continue
        import shlex

        try:
            with open(word[1:], encoding="utf-8") as file:
                text = file.read(1000000)
            found.extend(shlex.split(text, comments=True))
        except OSError as error:
            raise CannotStart("cannot read %s: %s" % (word[1:], error.strerror)) from error
        except ValueError as error:  # not UTF-8, or a quote that does not end
            raise UsageError(word, str(error)) from error
    return found


def as_typed(word: str) -> str:
    """Undo what Python does to arguments outside ASCII where the locale is plain ``C``."""
    try:
        return os.fsencode(word).decode("utf-8")
    except UnicodeError:
        return word


# -- the run command --------------------------------------------------------------------


def _run(argv: "List[str]") -> int:
    words = expand_files(argv)
    if words and not words[0].startswith("-"):
        raise UsageError(repr(words[0]), "there is no such command")
    options = vars(_parser().parse_args(words))
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


class Output:
    """stdout or stderr: may be closed, may be a pipe that nobody reads, may know only ASCII."""

    def __init__(self, stream: "Optional[TextIO]") -> None:
        self._stream = stream
        self.colour = stream is not None and wants_colour(stream, os.environ)

    def write(self, text: str) -> bool:
        """Write a line now; ``False`` once the reader of a pipe is gone."""
        stream = self._stream
        if stream is None:
            return True
        encoding = stream.encoding or "ascii"
        try:
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
            stream.flush()
        except BrokenPipeError:
            # Python flushes once more at exit, and would complain: give it somewhere to.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            self._stream = None
            return False
        except (OSError, ValueError):
            pass  # a full disk: this line is lost, and what matters goes on
        return True


def wants_colour(stream: "TextIO", environ: "Mapping[str, str]") -> bool:
    """Only on a terminal that can, and never against NO_COLOR (no-color.org)."""
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb" or not stream.isatty():
        return False
    # Windows' old console shows the codes themselves; its newer terminal sets WT_SESSION.
    return os.name != "nt" or "WT_SESSION" in environ


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
