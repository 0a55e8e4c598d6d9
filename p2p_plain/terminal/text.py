"""Text on a terminal: the columns that it takes, cutting and filling it, and colour.

Not every character takes one column, and codes that set a colour take none.  Pure functions.
"""

import re

from ..common.escape import printable
from ..common.typing import List

# The codes of ECMA-48 "Select Graphic Rendition".
BOLD, FAINT, UNDERLINED, REVERSE = "1", "2", "4", "7"
RED, GREEN, YELLOW, CYAN = "31", "32", "33", "36"

_COLOUR = re.compile("(\x1b\\[[0-9;]*m)")
"""What sets a colour on a terminal."""


def columns_of(text: str) -> int:
    """Return how many columns of a terminal a printable text takes.

    East Asian wide characters take two (Unicode Standard Annex 11).  Accents that combine with the
    letter before them take none.
    """
    if all(character < "\x7f" for character in text):
        return len(text)
    return sum(_width(character) for character in text)


def shorten(text: str, width: int) -> str:
    """Return ``text`` if it fits into ``width`` columns, else its beginning and ``~``."""
    if columns_of(text) <= width:
        return text
    kept = ""
    used = 1  # the ~
    for character in text:
        used += _width(character)
        if used > width:
            break
        kept += character
    return kept + "~"


def fit(text: str, width: int, right: bool = False) -> str:
    """Return ``text`` in exactly ``width`` columns: shortened, or with spaces (``right``: before it)."""
    text = shorten(text, width)
    space = " " * (width - columns_of(text))
    return space + text if right else text + space


def as_encoded(text: str, encoding: str) -> str:
    """Return ``text`` as an ``Output`` prints it: characters that the encoding lacks are escaped."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def paint(text: str, code: str, colour: bool) -> str:
    """Return ``text`` in a colour, if ``colour`` is true and there is a ``code``."""
    return "\x1b[%sm%s\x1b[0m" % (code, text) if colour and code else text


def unpainted(text: str) -> str:
    """Return ``text`` without its colours."""
    return _COLOUR.sub("", text)


def clip(line: str, columns: int) -> str:
    """Return the part of ``line`` that fits into ``columns``; a colour ends where the line does."""
    if len(line) <= columns and line.isprintable() and columns_of(line) <= columns:
        return line
    kept: List[str] = []
    left = columns
    coloured = False
    for part in _COLOUR.split(line):
        if part.startswith("\x1b"):
            coloured = part not in ("\x1b[0m", "\x1b[m")
            kept.append(part)
            continue
        for character in printable(part, len(part)):
            left -= columns_of(character)
            if left < 0:
                return "".join(kept) + ("\x1b[0m" if coloured else "")
            kept.append(character)
    return "".join(kept)


def _width(character: str) -> int:
    import unicodedata  # 1 MB of memory, for names that most networks do not have

    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
