"""Text on a terminal: how many columns it takes, cut and filled to so many, and in colour.

Not every character takes one column, and what sets a colour takes none.
"""

import re
from typing import List

from ..node.codec import printable

_COLOUR = re.compile("(\x1b\\[[0-9;]*m)")
"""What sets colours (ECMA-48 "Select Graphic Rendition")."""


def columns_of(text: str) -> int:
    """How many columns of a terminal a printable text takes.

    East Asian wide characters take two (Unicode Standard Annex 11), accents that combine with
    the letter before them none.
    """
    if all(character < "\x7f" for character in text):
        return len(text)
    return sum(_width(character) for character in text)


def shorten(text: str, width: int) -> str:
    """``text`` if it fits into ``width`` columns, else its beginning and ``~``."""
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


def pad(text: str, width: int) -> str:
    """``text`` with spaces after it, up to ``width`` columns."""
    return text + " " * (width - columns_of(text))


def as_encoded(text: str, encoding: str) -> str:
    """As it will be seen, and so as wide: what the encoding does not have is escaped."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def paint(text: str, code: str, colour: bool) -> str:
    """``text`` in a colour, if there is any."""
    return "\x1b[%sm%s\x1b[0m" % (code, text) if colour and code else text


def unpainted(text: str) -> str:
    """``text`` without its colours."""
    return _COLOUR.sub("", text)


def clip(line: str, columns: int) -> str:
    """No more of ``line`` than fits; colours take no room, and end with it."""
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
    import unicodedata  # half a millisecond and 1 MB, for names that most networks do not have

    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
