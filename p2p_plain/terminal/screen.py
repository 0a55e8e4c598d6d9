"""A terminal that is ours for a while, and one place to wait for its keys, for signals and for news.

``Screen`` puts it into a state that its owner would curse if it stayed: another screen, no cursor,
no echo.  So every way out passes through ``restore``: the end of a ``with``, whatever exception
that comes with; SIGTERM, SIGINT and SIGHUP, which only write a byte into a socket that the main
thread reads; and Ctrl-Z, where it is restored, the process stopped, and all of it done again
after ``fg``.
"""

import errno
import os
import select
import signal
import socket
from typing import Any, List, Optional, Set, TextIO, Tuple

from ..node.transport import POLL_SLICE
from .output import FAREWELL
from .text import columns_of, unpainted

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]


# DEC's private modes, h sets and l resets: 1049 the other screen, 25 the cursor, 7 wrapping at the
# right margin.  H goes to the upper left corner, 2J erases everything, K and J what is to the right
# and below.
OTHER_SCREEN = "\x1b[?1049h"
HIDE = "\x1b[?25l\x1b[?7l\x1b[H\x1b[2J"
LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"

PORTION = 512
"""Bytes written at once."""


class Interrupted(Exception):
    """A signal came while the terminal did not take what we write (Ctrl-S, a dead line)."""


class Screen:
    """The terminal while it is ours.  Main thread only; use it with ``with``."""

    def __init__(self, out: TextIO, keyboard: Optional[int], desk: "Desk") -> None:
        self._desk = desk
        self._out = out.fileno()
        self._encoding = out.encoding or "ascii"
        self._keyboard = keyboard
        """A descriptor, if keys can be read."""
        self._was: Optional[List[Any]] = None
        self._ours = False

    def __enter__(self) -> "Screen":
        try:
            self.take()
        except BaseException:
            self.restore()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()

    def take(self) -> None:
        """Make the terminal ours; again, after somebody else had it."""
        entered, self._ours = self._ours, True
        if self._keyboard is not None:
            if self._was is None:
                self._was = termios.tcgetattr(self._keyboard)
            # A copy, as deep as we change it; of its seven fields 3 are the local modes, 6 the
            # control characters (see termios).
            mode = [*self._was[:6], list(self._was[6])]
            mode[3] &= ~(termios.ECHO | termios.ICANON)  # keys at once, and not shown
            mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0  # a read returns with the first
            self._set(mode)
        # Entering the other screen twice would forget where the cursor was on the first.
        self._write(HIDE if entered else OTHER_SCREEN + HIDE)

    def restore(self) -> None:
        """Give it back as it was.  May be called twice."""
        if not self._ours:
            return
        self._ours = False
        # First what cannot be held up by a terminal that takes no output.
        if self._keyboard is not None and self._was is not None:
            self._set(self._was)
        try:
            # After Ctrl-S nothing would go out.  Linux lets only who has stopped it go on.
            termios.tcflow(self._out, termios.TCOOFF)
            termios.tcflow(self._out, termios.TCOON)
        except termios.error:
            pass
        if select.select([], [self._out], [], FAREWELL)[1]:
            try:
                os.write(self._out, LEAVE.encode("ascii"))
            except OSError:
                pass  # the terminal is gone

    def draw(self, lines: List[str], columns: int) -> bool:
        """Show exactly these lines; ``False`` once the terminal is gone."""
        parts = ["\x1b[H"]
        for number, line in enumerate(lines):
            # Erased to the right only if something is there: in its last column a terminal
            # would erase the character just written.
            rest = "\x1b[K" if columns_of(unpainted(line)) < columns else ""
            parts.append("\x1b[%d;1H%s%s" % (number + 1, line, rest))
        if len(lines) < self.size()[1]:
            parts.append("\x1b[%d;1H\x1b[J" % (len(lines) + 1))
        return self._write("".join(parts))

    def size(self) -> Tuple[int, int]:
        """Columns and lines, now."""
        try:
            columns, lines = os.get_terminal_size(self._out)
        except OSError:
            columns, lines = 0, 0
        return columns or 80, lines or 24

    def _set(self, mode: List[Any]) -> None:
        while True:
            try:
                # Now, and not when all output is through: that may be never.
                termios.tcsetattr(self._keyboard, termios.TCSANOW, mode)  # type: ignore[arg-type]
                return
            except termios.error as error:
                if error.args[0] != errno.EINTR:  # stopped in the background, and continued
                    return  # the terminal is gone

    def _write(self, text: str) -> bool:
        data = text.encode(self._encoding, "backslashreplace")
        self._desk.begin_writing()
        try:
            while data:
                # In portions, each when there is room: a write that blocks hears of no signal
                # that came a moment before it.
                if select.select([], [self._out], [], POLL_SLICE)[1]:
                    data = data[os.write(self._out, data[:PORTION]) :]
                elif self._desk.ending:
                    raise Interrupted
        except OSError:
            return False
        finally:
            self._desk.writing = False
        return True


def is_screen(out: TextIO) -> bool:
    """Whether it is a terminal on which one can draw."""
    return termios is not None and out.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def stop_ourselves() -> None:
    """What Ctrl-Z does to a program that has no handler for it; returns after ``fg``."""
    handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, handler)


ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
RESHAPING = tuple(
    getattr(signal, name) for name in ("SIGTSTP", "SIGCONT", "SIGWINCH") if hasattr(signal, name)
)


class Desk:
    """Where the main thread waits for whatever comes first.

    A signal becomes a byte in a socket (``signal.set_wakeup_fd``), so that it is dealt with between
    two pictures and never in the middle of one.  News wake with a zero byte.
    """

    def __init__(self, signals: Tuple[int, ...]) -> None:
        self._signals = signals
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self.writing = False
        """Whether the main thread is where a stopped terminal or a full pipe could hold it for
        ever.  Only there a signal that ends us raises ``Interrupted``."""
        self.ending = False
        """Whether such a signal has come."""

    def __enter__(self) -> "Desk":
        signal.set_wakeup_fd(self._write.fileno())
        for number in self._signals:
            signal.signal(number, self._noted)
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        signal.set_wakeup_fd(-1)

    def leave(self) -> None:
        """The end has begun: a second Ctrl-C must not disturb it."""
        self.writing = False
        for number in self._signals:
            signal.signal(number, signal.SIG_IGN)

    def wake(self) -> None:
        """End ``wait``.  Any thread."""
        try:
            self._write.send(b"\0")
        except OSError:
            pass  # full: it will wake

    def wait(
        self, timeout: Optional[float], keyboard: Optional[int]
    ) -> Tuple[Optional[bytes], Set[int]]:
        """The keys that were pressed (``None``: no more will be) and the signals that came."""
        readers: List[Any] = [self._read] + ([] if keyboard is None else [keyboard])
        readable, _, _ = select.select(readers, [], [], timeout)
        keys: Optional[bytes] = b""
        if keyboard is not None and keyboard in readable:
            try:
                keys = os.read(keyboard, 64) or None
            except OSError:  # the terminal is gone
                keys = None
        signals = self._read.recv(4096) if self._read in readable else b""
        return keys, set(signals)

    def begin_writing(self) -> None:
        """Raises ``Interrupted`` if we are to end, and from now on also when that is said."""
        self.writing = True
        if self.ending:
            self.writing = False
            raise Interrupted

    def _noted(self, number: int, _: object) -> None:
        if number in ENDING:
            self.ending = True
            if self.writing:
                raise Interrupted
