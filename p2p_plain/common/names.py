"""Which texts may be a name: one rule, the same on every Python.

``str.isprintable`` will not do.  Each Python asks the Unicode tables that it was built with, so the
same name is fine on one machine and an error on another.  A character that is not assigned yet is
accepted here: some later version may assign it, and all machines must agree before and after.

Any thread.
"""

import functools
from bisect import bisect

from .typing import Tuple

# The general categories Cc, Cf, Cs, Co, Zl, Zp, and Zs without the space, as of Unicode 16
# (DerivedGeneralCategory.txt), besides noncharacters.  No Python finds any of these printable.
_UNPRINTABLE = (
    (0x0000, 0x001F), (0x007F, 0x00A0), (0x00AD, 0x00AD), (0x0600, 0x0605), (0x061C, 0x061C),
    (0x06DD, 0x06DD), (0x070F, 0x070F), (0x0890, 0x0891), (0x08E2, 0x08E2), (0x1680, 0x1680),
    (0x180E, 0x180E),
    (0x2000, 0x200F),  # spaces and joiners
    (0x2028, 0x202F), (0x205F, 0x206F),  # ends of lines, and marks that turn the direction
    (0x3000, 0x3000),
    (0xD800, 0xF8FF),  # surrogates and private use
    (0xFDD0, 0xFDEF), (0xFEFF, 0xFEFF), (0xFFF0, 0xFFFB), (0xFFFE, 0xFFFF),
    (0x110BD, 0x110BD), (0x110CD, 0x110CD), (0x13430, 0x1343F), (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A), (0x1FFFE, 0x1FFFF), (0x2FFFE, 0x2FFFF),
    (0x3FFFE, 0xE00FF),  # ten planes without a character, and tags
    (0xE01F0, 0x10FFFF),  # private use
)  # fmt: skip
"""First and last of each range of characters that no name may hold."""

# Default_Ignorable_Code_Point of Unicode 16 (DerivedCoreProperties.txt), as far as it is printable,
# besides the space, Braille without a dot, and a musical notehead without ink.
_BLANK = (
    (0x0020, 0x0020), (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x2800, 0x2800), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0x1D159, 0x1D159),
    (0xE0100, 0xE01EF),
)  # fmt: skip
"""First and last of each range of printable characters that leave no ink."""


class _Ranges:
    """A set of characters."""

    def __init__(self, *ranges: Tuple[int, int]) -> None:
        self._borders = [border for first, last in ranges for border in (first, last + 1)]

    def __contains__(self, character: str) -> bool:
        return bisect(self._borders, ord(character)) % 2 == 1


_unprintable, _blank = _Ranges(*_UNPRINTABLE), _Ranges(*_BLANK)


_ASKED_AGAIN = functools.lru_cache(maxsize=1024)  # each name is in everyone's row


@_ASKED_AGAIN
def is_printable(text: str) -> bool:
    """True if no character of ``text`` is a control, a format character, or nobody's."""
    return not any(character in _unprintable for character in text)


@_ASKED_AGAIN
def shows_something(text: str) -> bool:
    """True if a reader would see more of ``text`` than empty space."""
    return not all(character in _blank for character in text)


def only_printable(text: str) -> str:
    """Return ``text`` without its unprintable characters."""
    return "".join(character for character in text if character not in _unprintable)
