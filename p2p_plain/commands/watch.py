"""``watch HOST:PORT``: a node's view of all the others, live, in place, like mtr(8).

Two threads.  The *reporter* asks the node for its rows at each interval, and waits for the answer as
long as that takes.  The main thread draws (``watch_panel``), and waits for keys, signals and reports
at once (``SelfPipe``).  So a frozen node never freezes the screen, and ``q`` always works.

Where stdout is not a terminal (a pipe, a file, Windows' console), each answer is printed as a block
of lines instead.
"""

import re
import signal
import sys
import threading
import time
from argparse import Namespace

from ..common.errors import P2PError
from ..common.output import Output, let_go
from ..common.program import DONE
from ..common.signals import Interrupted, SelfPipe, stop_signals
from ..common.typing import TYPE_CHECKING, Callable, List, Optional
from ..terminal.screen import RESHAPING, Screen, is_screen, stop_ourselves
from .asking import parser, read_secret, seconds
from .guest import Asker, in_words
from .watch_panel import COLUMNS, Chosen, Known, Report, picture_of

if TYPE_CHECKING:
    from ..node.handshake import Secret

INTERVAL = 1.0
"""Seconds between two questions, as in mtr."""

PIPE_WIDTH = 160
"""Columns of a block where stdout is not a terminal."""


def watch(argv: List[str]) -> int:
    """Show a node's view until ``q``, a signal, or the end of the pipe."""
    options = parser(
        "watch",
        "A node's view of all the others, live.  Keys: q quits, s sorts by the next\n"
        "column, r reverses, m shows the whole matrix, space the next page.",
        "watch 192.0.2.2:6000",
    )
    pause = "seconds between two questions (%g)" % INTERVAL
    options.add_argument(
        "--interval", type=seconds(least=0.05), metavar="S", default=INTERVAL, help=pause
    )
    given = options.parse_args(argv)
    if sys.stdout is None:
        return DONE
    on_screen = is_screen(sys.stdout)
    secret = read_secret(given)
    with SelfPipe(stop_signals(), RESHAPING if on_screen else ()) as pipe:
        reporter = Reporter(given, secret, pipe.wake)
        show = _on_screen if on_screen else _in_blocks
        try:
            show(Known(given.address), reporter, pipe)
        except Interrupted:
            pass
        finally:
            reporter.stop()
    return DONE


def _on_screen(known: Known, reporter: "Reporter", pipe: SelfPipe) -> None:
    """Draw until a key or a signal ends it."""
    out = Output(sys.stdout)
    keyboard = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    chosen = Chosen()
    with Screen(sys.stdout, keyboard, pipe) as screen:
        try:
            reporter.start()
            while True:
                columns, lines = screen.size()
                now = time.monotonic()
                picture = picture_of(known, chosen, now, columns, lines, out.colour, out.encoding)
                if not screen.draw(picture, columns):
                    return
                # At most a second, so that "answered 3 s ago" goes on.
                keys, signals = pipe.wait(1.0, keyboard)
                if keys is None or not _obey(keys, chosen) or pipe.ended:
                    return
                if signals & {signal.SIGTSTP}:
                    screen.restore()
                    stop_ourselves()
                    screen.take()
                elif signals & {signal.SIGCONT}:  # stopped by SIGSTOP, which cannot be caught
                    screen.take()
                for report in reporter.take():
                    known.learn(report)
        finally:
            pipe.ignore()


_ESCAPES = re.compile(rb"\x1b(?:[\[O][0-?]*[ -/]*[@-~])?")
"""What arrows and function keys send (ECMA-48 section 5.4), or ESC alone."""


def _obey(keys: bytes, chosen: Chosen) -> bool:
    """Do what the keys say.  Return ``False`` to quit."""
    order = [c.key for c in COLUMNS]
    # Arrows must go first: the letters in their escape sequences are not keys.
    for key in _ESCAPES.sub(b"", keys).decode("ascii", "replace"):
        if key in "qQ\x04":  # Ctrl-D
            return False
        if key in "sS":
            step = 1 if key == "s" else -1
            chosen.sort = order[(order.index(chosen.sort) + step) % len(order)]
        elif key == "r":
            chosen.backwards = not chosen.backwards
        elif key == "m":
            chosen.whole = not chosen.whole
            chosen.page = 0
        elif key == " ":
            chosen.page += 1
    return True


def _in_blocks(known: Known, reporter: "Reporter", pipe: SelfPipe) -> None:
    """Print a block for each report, until a signal or the end of the pipe."""
    out = Output(sys.stdout)
    chosen = Chosen()
    reporter.start()
    while True:
        pipe.wait()
        if pipe.ended:
            return
        for report in reporter.take():
            known.learn(report)
            now = time.monotonic()
            lines = [time.strftime("%Y-%m-%d %H:%M:%S")]
            lines += picture_of(known, chosen, now, PIPE_WIDTH, None, False, out.encoding)
            try:
                with pipe.interruptible():
                    if not out.write("\n".join(lines) + "\n"):
                        return
            except Interrupted:
                let_go(sys.stdout)
                raise


class Reporter:
    """The thread that asks the node, and its latest report until the main thread takes it."""

    def __init__(
        self, given: Namespace, secret: "Optional[Secret]", wake: Callable[[], None]
    ) -> None:
        """``given`` are the options, as ``watch`` defines them."""
        self._interval = given.interval
        self._wake = wake
        self._stopping = threading.Event()
        self._asker = Asker(given.address, given.network, "watch", self._stopping, secret)
        # A daemon: it may be waiting for a name server, which cannot be interrupted.
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._lock = threading.Lock()
        # Guarded by _lock.  Only the latest: a main thread held up by its terminal gets no flood.
        self._latest: List[Report] = []

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Stop asking.  Does not wait for an answer that is under way."""
        self._stopping.set()

    def take(self) -> List[Report]:
        """Return the latest report once; empty if there is no new one.  Main thread."""
        with self._lock:
            latest, self._latest = self._latest, []
        return latest

    def _run(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            answer, problem = None, ""
            try:
                answer = self._asker.ask()
            except P2PError as error:
                problem = in_words(error)
            now = time.monotonic()
            with self._lock:
                self._latest = [Report(answer, problem, now)]
            self._wake()
            # A node that answers slowly is busy: it gets a pause as long as its answer took.
            self._stopping.wait(max(began + self._interval - now, now - began))
        self._asker.close()
