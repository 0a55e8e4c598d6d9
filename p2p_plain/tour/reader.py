"""The reader at the terminal: text goes out, Enter comes in, and leaving is possible at any moment.

Main thread only; use it with ``with``.

A signal is recorded, and the main thread acts on it when it looks next.  Only while a stopped terminal
(Ctrl-S) blocks the main thread does the handler itself raise an exception.  So a signal never
interrupts a thread that holds a lock of a node.
"""

import os
import re
import signal
import sys
import textwrap

from ..common.output import Output, let_go
from ..common.signals import Interrupted, SelfPipe, stop_signals
from ..common.typing import Any, List, Optional
from ..terminal.text import BOLD, REVERSE, paint

COLUMNS = 80
"""Width of text at the most, and of everything where there is no terminal."""

PROMPT = "-- Enter goes on, q and Enter ends --"

_TERM = re.compile(r"\*(\w[\w\s-]*)\*")
"""A term that the text explains, between asterisks."""


class Enough(Exception):
    """The reader typed q or Ctrl-C, or nothing reads our output any more."""


class Reader:
    """A terminal with a person, or a pipe without one."""

    def __init__(self, fast: bool) -> None:
        self._out = Output(sys.stdout)
        terminals = [stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout)]
        self._waits = all(terminals) and not fast
        """True if a pause waits for Enter.  In ``tour | less`` and ``tour > file`` it does not:
        the keyboard is not ours there."""
        self._pipe = SelfPipe(stop_signals())
        self._after_text = False
        """True if the last line was text.  A blank line sets rows apart from it."""
        self._blank = True
        """True if the last line was blank, or there was none."""
        self.colour = self._out.colour

    def __enter__(self) -> "Reader":
        self._pipe.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.__exit__()
        on_terminal = self._out.columns() is not None
        if self._pipe.ended == signal.SIGINT and on_terminal and self._out.takes_more(0.0):
            self._out.write("")  # the terminal shows ^C: the shell's prompt goes on the line below

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        return self._out.columns() or COLUMNS

    @property
    def columns(self) -> int:
        """Columns for text."""
        return min(self.width, COLUMNS)

    def check(self) -> None:
        """Raise ``Enough`` if a signal has come."""
        if self._pipe.ended:
            raise Enough

    def paragraphs(self, text: str) -> None:
        """Write paragraphs, newly wrapped."""
        for paragraph in text.split("\n\n"):
            self.gap()
            # A term of several words stays on one line: no-break spaces hold it together.
            words = _TERM.sub(lambda term: term.group().replace(" ", "\xa0"), " ".join(paragraph.split()))
            for line in self._wrapped(words):
                self.line(_TERM.sub(self._emphasis, line).replace("\xa0", " "))
        self._after_text = True

    def row(self, row: str, code: str = "") -> None:
        """Write one line as it is."""
        if self._after_text:
            self.gap()
        self._after_text = False
        self.line(row, code)

    def rows(self, text: str, indent: int, code: str = "") -> None:
        """Write one row of words on as many lines as it takes."""
        for row in self._wrapped(text, " " * indent):
            self.row(row, code)

    def gap(self) -> None:
        """Write a blank line, unless there is one."""
        if not self._blank:
            self.line("")

    def line(self, line: str, code: str = "") -> None:
        """Write a line.  Raises ``Enough`` if the reader has left."""
        try:
            with self._pipe.interruptible():
                if not self._out.write(paint(line, code, self.colour)):
                    raise Enough
        except (Enough, Interrupted):
            let_go(sys.stdout)
            raise Enough from None
        self._blank = not line

    def pause(self) -> None:
        """Wait for Enter, if a person can press it.  Raises ``Enough`` for q.

        Input from before the prompt is dropped: many press Enter while they wait for a silent peer.
        """
        while self._waits and self._typed(0.0):
            pass
        self.check()
        if self._waits:
            self.gap()
            self.line(PROMPT, REVERSE)
            self._typed(None)
            self._blank = True  # Enter itself has made a blank line

    def _typed(self, timeout: Optional[float]) -> bool:
        """Wait for a line from the keyboard.  Return ``False`` if none came.  Raises ``Enough``."""
        keyboard = sys.stdin.fileno()
        try:
            keys, _ = self._pipe.wait(timeout, keyboard)
        except OSError:  # on Windows, select works on sockets only
            if timeout is not None:
                return False
            try:
                with self._pipe.interruptible():
                    keys = os.read(keyboard, 1024) or None
            except Interrupted:
                raise Enough from None
        self.check()
        if keys is None:  # Ctrl-D: the keyboard is closed
            self._waits = False
        elif keys.strip().lower().startswith(b"q"):
            raise Enough
        return bool(keys)

    def _emphasis(self, found: Any) -> str:
        return paint(found.group(1), BOLD, True) if self.colour else str(found.group())

    def _wrapped(self, text: str, indent: str = "") -> List[str]:
        # A nodeid is one word, with its hyphens.
        return textwrap.wrap(text, self.columns, subsequent_indent=indent, break_on_hyphens=False)
