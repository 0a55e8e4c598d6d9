"""``watch HOST:PORT``: a node's view of all the others, live, in place, like mtr(8).

Two threads.  The *asker* asks the node for its rows at each interval, and waits for it as long as
that takes.  The main thread draws (see ``panel``), and waits for keys, signals and news all at once
(see ``terminal``), so that a frozen node never freezes the screen and ``q`` works at any time.

On something that is no terminal (a pipe, a file, Windows' console), each answer is printed as one
block instead.
"""

import re
import signal
import sys
import threading
import time
from typing import Callable, List, Optional

from ..common.address import Address
from ..common.errors import P2PError
from ..common.output import Output, let_go
from ..common.signals import Interrupted, SelfPipe
from ..terminal.screen import ENDING, RESHAPING, Screen, is_screen, stop_ourselves
from .asking import parser, seconds, target
from .check import Asker
from .client import in_words
from .watch_panel import COLUMNS, Chosen, Known, Report, picture_of

INTERVAL = 1.0
"""Seconds between two questions, as in mtr."""

WIDE = 160
"""Columns of a block where there is no terminal to be narrow."""


def watch(argv: List[str]) -> int:
    """Show a node's view until ``q``, a signal, or the end of the pipe."""
    options = parser(
        "watch",
        "A node's view of all the others, live.  Keys: q quits, s sorts by the next column,\n"
        "r the other way round, m shows the whole matrix, space the next page.",
        "watch 192.0.2.2:6000",
    )
    options.add_argument(
        "--interval",
        type=float,
        metavar="S",
        default=INTERVAL,
        help="seconds between two looks (%g)" % INTERVAL,
    )
    given = options.parse_args(argv)
    address, network = target(given)
    seconds("--interval", given.interval, least=0.05)
    if sys.stdout is None:
        return 0
    on_a_screen = is_screen(sys.stdout)
    with SelfPipe(ENDING, RESHAPING if on_a_screen else ()) as pipe:
        news = Reporter(address, network, given.interval, pipe.wake)
        try:
            show = _on_a_screen if on_a_screen else _in_blocks
            show(Known(address), news, pipe)
        except Interrupted:
            pass
        finally:
            news.stop()
    return 0


def _on_a_screen(state: Known, news: "Reporter", pipe: SelfPipe) -> None:
    """Until a key or a signal ends it."""
    out = Output(sys.stdout)
    keyboard = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    chosen = Chosen()
    with Screen(sys.stdout, keyboard, pipe) as screen:
        try:
            news.start()
            while True:
                columns, lines = screen.size()
                now = time.monotonic()
                shown = picture_of(state, chosen, now, columns, lines, out.colour, out.encoding)
                if not screen.draw(shown, columns):
                    return
                # At the latest in a second: "answered 3 s ago" goes on.
                keys, signals = pipe.wait(1.0, keyboard)
                if keys is None or not _obey(keys, chosen) or signals & set(ENDING):
                    return
                if signals & {signal.SIGTSTP}:
                    screen.restore()
                    stop_ourselves()
                    screen.take()
                elif signals & {signal.SIGCONT}:  # who stopped us did not ask us before
                    screen.take()
                for one in news.take():
                    state.learn(one)
        finally:
            pipe.ignore()


_ESCAPES = re.compile(rb"\x1b(?:[\[O][0-?]*[ -/]*[@-~])?")
"""What arrows and function keys send (ECMA-48 section 5.4), or ESC alone."""


def _obey(keys: bytes, chosen: Chosen) -> bool:
    """Do what keys say; ``False`` to quit.  Arrows and the like are letters too, after an ESC."""
    order = [c.key for c in COLUMNS]
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


def _in_blocks(state: Known, news: "Reporter", pipe: SelfPipe) -> None:
    """One block for each answer, or for each question that had none; until the pipe's end."""
    out = Output(sys.stdout)
    chosen = Chosen()
    news.start()
    while True:
        _, signals = pipe.wait()
        if signals & set(ENDING):
            return
        for one in news.take():
            state.learn(one)
            lines = [time.strftime("%Y-%m-%d %H:%M:%S")]
            lines += picture_of(state, chosen, time.monotonic(), WIDE, None, False, out.encoding)
            try:
                with pipe.interruptible():
                    if not out.write("\n".join(lines) + "\n"):
                        return
            except Interrupted:
                let_go(sys.stdout)
                raise


class Reporter:
    """The thread that asks, and what it has brought and nobody has taken yet."""

    def __init__(
        self, address: Address, network: str, interval: float, wake: Callable[[], None]
    ) -> None:
        self._interval = interval
        self._wake = wake
        self._stopping = threading.Event()
        self._asker = Asker(address, network, "watch", self._stopping)
        # A daemon: it may be waiting for a name server, which cannot be interrupted.
        self._thread = threading.Thread(target=self._run, name="asker", daemon=True)
        self._lock = threading.Lock()
        # Guarded by _lock; only the newest: whoever reads slowly gets no flood afterwards.
        self._news: Optional[Report] = None

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more.  Does not wait for an answer that is under way."""
        self._stopping.set()

    def take(self) -> List[Report]:
        """What is new, if something is.  Main thread."""
        with self._lock:
            news, self._news = self._news, None
        return [] if news is None else [news]

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
                self._news = Report(answer, problem, now)
            self._wake()
            # A node that takes long to answer has enough to do: it is left alone as long again.
            self._stopping.wait(max(began + self._interval - now, now - began))
        self._asker.close()
