"""The reader at the terminal: text goes out, Enter comes in, and leaving is possible at any moment.

Main thread only; use it with ``with``.

A signal is recorded, and obeyed the next time that the main thread looks.  Only while a keyboard
or a stopped terminal (Ctrl-S) holds the main thread does the handler itself raise ``Enough``.  So
a signal never leaves a lock of a node half-way.
"""

import os
import re
import select
import signal
import sys
import textwrap
from typing import Any, List, Optional

from ..common.output import Output, let_go
from ..common.signals import ignore_stop_signals, stop_signals
from ..terminal.text import paint

COLUMNS = 80
"""Width of text at the most, and of everything where there is no terminal."""

LISTENING = 0.5
"""Seconds for which the keyboard is watched at a time.  A signal just before that is noticed after it."""

PROMPT = "-- Enter goes on, q and Enter ends --"

BOLD, GREEN, REVERSE = "1", "32", "7"

_TERM = re.compile(r"\*(\w[\w\s-]*)\*")
"""A term that the text explains, between asterisks."""


class Enough(Exception):
    """The reader typed q or Ctrl-C, or nothing reads our output any more."""


def typed(seconds: float) -> Optional[bool]:
    """True if the keyboard has input within that time; ``None`` if this system cannot know."""
    try:
        return bool(select.select([sys.stdin], [], [], seconds)[0])
    except (OSError, ValueError):
        return None  # on Windows, select works on sockets only


class Reader:
    """A terminal with a person, or a pipe without one."""

    def __init__(self, fast: bool) -> None:
        self._out = Output(sys.stdout)
        terminals = [stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout)]
        self._waits = all(terminals) and not fast
        """True if a pause waits for Enter.  In ``tour | less`` and ``tour > file`` it does not:
        the keyboard is not ours there."""
        self._leaving = False
        """True once a signal has come."""
        self._typed_ctrl_c = False
        """True if it was Ctrl-C: the terminal shows that as ^C, with no newline after it."""
        self._held = False
        """True while only a signal may free the main thread."""
        self._after_text = False
        """True if the last line was text.  A blank line sets rows apart from it."""
        self._blank = True
        """True if the last line was blank, or there was none."""
        self.colour = self._out.colour

    def __enter__(self) -> "Reader":
        for number in stop_signals():
            signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        ignore_stop_signals()
        if self._typed_ctrl_c and self._out.takes_more(0.0):
            self._out.write("")  # the shell's prompt goes on the line below ^C

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
        if self._leaving:
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
        self._held = True
        try:
            if self._leaving or not self._out.write(paint(line, code, self.colour)):
                raise Enough
            self._blank = not line
        except Enough:
            let_go(sys.stdout)
            raise
        finally:
            self._held = False

    def pause(self) -> None:
        """Wait for Enter, if a person can press it.  Raises ``Enough`` for q.

        Input from before the prompt is dropped: many press Enter while they wait for a silent peer.
        """
        while self._waits and typed(0.0):
            self._listen()
        self.check()
        if self._waits:
            self.gap()
            self.line(PROMPT, REVERSE)
            self._listen()
            self._blank = True  # Enter itself has made a blank line

    def _listen(self) -> None:
        """Read what the reader types, up to Enter.  Raises ``Enough`` for q."""
        self._held = True
        try:
            while not self._leaving and typed(LISTENING) is False:
                pass
            self.check()
            line = os.read(sys.stdin.fileno(), 1024)
        except OSError:  # the terminal is gone
            raise Enough from None
        finally:
            self._held = False
        if line.strip().lower().startswith(b"q"):
            raise Enough
        if not line:  # Ctrl-D: the keyboard is closed
            self._waits = False

    def _emphasis(self, found: Any) -> str:
        return paint(found.group(1), BOLD, True) if self.colour else str(found.group())

    def _wrapped(self, text: str, indent: str = "") -> List[str]:
        # A nodeid is one word, with its hyphens.
        return textwrap.wrap(text, self.columns, subsequent_indent=indent, break_on_hyphens=False)

    def _note(self, number: int, _: object) -> None:
        """Record a signal.  Signal handler."""
        self._leaving = True
        self._typed_ctrl_c |= number == signal.SIGINT and self._out.columns() is not None
        if self._held:
            self._held = False  # not a second time, on the way out
            raise Enough
