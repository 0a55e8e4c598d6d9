"""A terminal that the program takes over for a while, and gives back as it was.

``Screen`` changes the terminal: another screen, no cursor, no echo.  A terminal left like that is
unusable, so every way out passes through ``restore``: the end of the ``with``, also after an
exception; SIGTERM, SIGINT and SIGHUP, which only wake the main thread (``SelfPipe``); and Ctrl-Z,
where the terminal is restored, the process stopped, and the terminal taken again after ``fg``.
"""

import errno
import os
import select
import signal

from ..common.output import FAREWELL
from ..common.signals import SelfPipe
from ..common.typing import Any, List, Optional, TextIO, Tuple
from ..node.transport import POLL_SLICE
from .text import columns_of, unpainted

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]


# DEC's private modes; h sets one and l resets it: 1049 is the other screen, 25 the cursor, 7
# wrapping at the right margin.  H goes to the upper left corner, 2J erases everything, K erases to
# the right, J below.
OTHER_SCREEN = "\x1b[?1049h"
HIDE = "\x1b[?25l\x1b[?7l\x1b[H\x1b[2J"
LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"

PORTION = 512
"""Bytes written at a time."""


class Screen:
    """The terminal while it is taken.  Main thread only; use it with ``with``."""

    def __init__(self, out: TextIO, keyboard: Optional[int], pipe: SelfPipe) -> None:
        self._pipe = pipe
        self._out = out.fileno()
        self._encoding = out.encoding or "ascii"
        self._keyboard = keyboard
        """The descriptor of the keyboard, if there is one."""
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
        """Take the terminal over, for the first time or after the shell had it."""
        entered, self._ours = self._ours, True
        if self._keyboard is not None:
            if self._was is None:
                self._was = termios.tcgetattr(self._keyboard)
            # A copy, as deep as it is changed here.  Of its seven fields, 3 holds the local modes
            # and 6 the control characters (see termios).
            mode = [*self._was[:6], list(self._was[6])]
            mode[3] &= ~(termios.ECHO | termios.ICANON)  # keys come at once and are not shown
            mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0  # a read returns after one
            self._set(mode)
        # Entering the other screen twice would lose the position of the cursor on the first.
        self._write(HIDE if entered else OTHER_SCREEN + HIDE)

    def restore(self) -> None:
        """Give the terminal back as it was.  May be called twice."""
        if not self._ours:
            return
        self._ours = False
        # First the part that a stopped terminal cannot block.
        if self._keyboard is not None and self._was is not None:
            self._set(self._was)
        try:
            # After Ctrl-S nothing would go out.  Linux resumes only output that TCOOFF stopped.
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
        """Show exactly these lines.  Return ``False`` once the terminal is gone."""
        parts = ["\x1b[H"]
        for number, line in enumerate(lines):
            # In its last column a terminal would erase the character just written.
            rest = "\x1b[K" if columns_of(unpainted(line)) < columns else ""
            parts.append("\x1b[%d;1H%s%s" % (number + 1, line, rest))
        if len(lines) < self.size()[1]:
            parts.append("\x1b[%d;1H\x1b[J" % (len(lines) + 1))
        return self._write("".join(parts))

    def size(self) -> Tuple[int, int]:
        """Return the columns and lines that the terminal has now."""
        try:
            columns, lines = os.get_terminal_size(self._out)
        except OSError:
            columns, lines = 0, 0
        return columns or 80, lines or 24

    def _set(self, mode: List[Any]) -> None:
        while True:
            try:
                # TCSANOW: the other modes wait for output to drain, which may never happen.
                termios.tcsetattr(self._keyboard, termios.TCSANOW, mode)  # type: ignore[arg-type]
                return
            except termios.error as error:
                if error.args[0] != errno.EINTR:  # stopped in the background, and continued
                    return  # the terminal is gone

    def _write(self, text: str) -> bool:
        data = text.encode(self._encoding, "backslashreplace")
        try:
            with self._pipe.interruptible():
                while data:
                    # In portions, each when there is room: a write that blocks would not notice a
                    # signal that came just before it.
                    if select.select([], [self._out], [], POLL_SLICE)[1]:
                        data = data[os.write(self._out, data[:PORTION]) :]
        except OSError:
            return False
        return True


def is_screen(out: TextIO) -> bool:
    """True if ``out`` is a terminal that can show a screen."""
    return termios is not None and out.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def stop_ourselves() -> None:
    """Stop the process as Ctrl-Z does by default.  Returns after ``fg``."""
    handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, handler)


RESHAPING = tuple(
    getattr(signal, name) for name in ("SIGTSTP", "SIGCONT", "SIGWINCH") if hasattr(signal, name)
)
"""Signals after which the screen is drawn anew: Ctrl-Z, ``fg``, another size."""
