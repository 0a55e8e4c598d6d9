"""stdout and stderr, which may be closed, a pipe without a reader, a full disk, or ASCII only.

Every command prints through an ``Output``, each on one thread.  A write blocks while the other end
does not read, so a node prints on the dispatcher's thread.
"""

import errno
import os
import select

from ..common.errors import why
from .typing import Mapping, Optional, TextIO

FAREWELL = 1.0
"""Seconds that a stopped terminal or pipe gets to take the last lines."""


class Output:
    """stdout or stderr, whatever state it is in.  ``None`` stands for a closed one."""

    def __init__(self, stream: Optional[TextIO]) -> None:
        self._stream = stream
        self.colour = stream is not None and wants_colour(stream, os.environ)
        self.problem = ""
        """Why the last line could not be written, unless its reader is gone."""
        self.encoding = stream.encoding or "ascii" if stream is not None else "utf-8"

    def write(self, text: str, now: bool = True) -> bool:
        """Write a line, now or with the next ``flush``.  Return ``False`` once the reader is gone."""
        if self._stream is None:
            return True
        # Characters that the encoding lacks become escapes.
        seen = text.encode(self.encoding, "backslashreplace").decode(self.encoding)
        return self._put(seen + "\n", now)

    def flush(self) -> bool:
        """Write out the waiting lines.  Return ``False`` once the reader is gone."""
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
                return True  # a full disk: this line is lost, and the program continues
            let_go(stream)
            self._stream = None
            return False
        return True

    def takes_more(self, seconds: float) -> bool:
        """True if a few lines can be written within so many seconds, or if that cannot be known."""
        try:
            return self._stream is None or bool(select.select([], [self._stream], [], seconds)[1])
        except (OSError, ValueError):
            return True  # on Windows, select works on sockets only

    def columns(self) -> Optional[int]:
        """Return the width of the terminal now; ``None`` if there is none, or it is unknown."""
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or None  # type: ignore[union-attr]
        except (AttributeError, OSError, ValueError):
            return None


def occupy_standard_descriptors() -> None:
    """Open the null device wherever descriptor 0, 1 or 2 is closed.

    The system gives out the lowest free number.  So a program that is started without stdout would
    get it for a socket, and whatever is written to descriptor 1 or 2 would go to a peer.
    """
    try:
        while True:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor > 2:
                os.close(descriptor)
                return
    except OSError:
        pass  # no null device here, or no descriptor left: there is nothing better to do


def finish(stream: Optional[TextIO]) -> None:
    """Flush ``stream`` before Python does, which would turn a full disk into exit code 120."""
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):
        let_go(stream)


def let_go(stream: Optional[TextIO]) -> None:
    """Discard everything that is waiting and that will be written.

    Python flushes once more at exit.  It would complain if the reader is gone, and never end if the
    reader is stopped.
    """
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):
        pass  # there is no stream, or it is not a file


def reader_is_gone(error: Exception) -> bool:
    """True if the error means that nobody reads this pipe; on Windows that is EINVAL."""
    if isinstance(error, BrokenPipeError):
        return True
    return on_windows() and isinstance(error, OSError) and error.errno == errno.EINVAL


def on_windows() -> bool:
    """True on Windows.  The tests replace it."""
    return os.name == "nt"


def wants_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """True on a terminal with colours, unless NO_COLOR is set (no-color.org)."""
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb" or not stream.isatty():
        return False
    # Windows' old console prints the codes; the newer terminal sets WT_SESSION.
    return not on_windows() or "WT_SESSION" in environ
