"""stdout and stderr as they may be: closed, a pipe that nobody reads, a full disk, ASCII only.

Whoever prints does so through an ``Output``, on one thread (but for ``watch``, which has a whole
terminal).  It blocks as long as the other end does; so ``run`` prints on the dispatcher's thread.
"""

import errno
import os
import select
from typing import Mapping, Optional, TextIO

from ..common.errors import why

FAREWELL = 1.0
"""Seconds that a terminal or a pipe which takes no output gets to take our last."""


class Output:
    """stdout or stderr: may be closed, may be a pipe that nobody reads, may know only ASCII."""

    def __init__(self, stream: Optional[TextIO]) -> None:
        self._stream = stream
        self.colour = stream is not None and wants_colour(stream, os.environ)
        self.problem = ""
        """Why the last line could not be written, where that is not for want of a reader."""
        self.encoding = stream.encoding or "ascii" if stream is not None else "utf-8"

    def write(self, text: str, now: bool = True) -> bool:
        """Write a line, now or with the next ``flush``; ``False`` once a pipe's reader is gone."""
        if self._stream is None:
            return True
        # There and back again: what the terminal's encoding lacks comes out as an escape.
        seen = text.encode(self.encoding, "backslashreplace").decode(self.encoding)
        return self._put(seen + "\n", now)

    def flush(self) -> bool:
        """Write out what was not to be written at once; ``False`` once a pipe's reader is gone."""
        return self._put("", True)

    def _put(self, text: str, now: bool) -> bool:
        stream = self._stream
        if stream is None:
            return True
        self.problem = ""
        try:
            stream.write(text)
            if now:
                stream.flush()
        except (OSError, ValueError) as error:
            if not reader_is_gone(error):
                self.problem = why(error)
                return True  # a full disk: this line is lost, and what matters goes on
            let_go(stream)
            self._stream = None
            return False
        return True

    def takes_more(self, seconds: float) -> bool:
        """Whether a few lines can go out without waiting longer than that, as far as can be told."""
        try:
            return self._stream is None or bool(select.select([], [self._stream], [], seconds)[1])
        except (OSError, ValueError):
            return True  # Windows asks sockets only

    def columns(self) -> Optional[int]:
        """How wide the terminal is now; ``None`` where there is none, or it does not know."""
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or None  # type: ignore[union-attr]
        except (AttributeError, OSError, ValueError):
            return None


def finish(stream: Optional[TextIO]) -> None:
    """Write out what is left, before Python does: it would turn a full disk into exit code 120."""
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):
        let_go(stream)


def let_go(stream: Optional[TextIO]) -> None:
    """Forget what has not gone out, and what will be written.

    Python flushes once more at exit.  It would complain if nobody reads any more, and wait for ever
    if somebody could and does not.
    """
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):
        pass  # there is none, or it is no file


def reader_is_gone(error: Exception) -> bool:
    """Whether that is what a pipe says that nobody reads any more: on Windows "invalid argument"."""
    if isinstance(error, BrokenPipeError):
        return True
    return on_windows() and isinstance(error, OSError) and error.errno == errno.EINVAL


def on_windows() -> bool:
    """Whether stdout is what it is there."""
    return os.name == "nt"


def wants_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Only on a terminal that can, and never against NO_COLOR (no-color.org)."""
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb" or not stream.isatty():
        return False
    # Windows' old console shows the codes themselves; its newer terminal sets WT_SESSION.
    return not on_windows() or "WT_SESSION" in environ
