"""Numbers and names as people read them: round trips, durations, counts, sort order.

Pure functions, for everything that prints.  Any thread.
"""

import re

from .typing import List, Optional, Tuple

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def brief_ms(value: float, unit: str = " ms") -> str:
    """``0.05 ms``, ``0.3 ms``, ``12 ms``, ``153 ms``, ``1.2 s``: two digits, to compare at a glance.

    With ``unit=""``, for a cell of the matrix, only seconds have a unit: ``12``, ``1.2s``.
    """
    if value >= 999.5:
        seconds = min(value / 1000, 999.0)  # more than a quarter of an hour is a clock gone mad
        return "%.*f%s" % (1 if seconds < 9.95 else 0, seconds, " s" if unit else "s")
    return "%.*f%s" % (2 if value < 0.095 else 1 if value < 9.95 else 0, value, unit)


def milliseconds(value: Optional[float]) -> str:
    """``0.31 ms``, ``12.4 ms``, ``153 ms``, ``1.20 s``: three digits, for a single measurement."""
    if value is None:
        return "-"
    return "%.2f s" % (value / 1000) if value >= 999.5 else _three_digits(value) + " ms"


def percent(value: float) -> str:
    """``0.3 %``, ``5 %``, ``12 %``."""
    return ("%.*f" % (1 if value < 9.95 else 0, value)).replace(".0", "") + " %"


def column_ms(value: Optional[float]) -> str:
    """``0.31``, ``12.4``, ``15300``: milliseconds in a column whose heading names the unit."""
    if value is None:
        return "-"
    return ">99999" if value >= 99999.5 else _three_digits(value)


def _three_digits(value: float) -> str:
    return "%.*f" % (2 if value < 9.995 else 1 if value < 99.95 else 0, value)


def ago(seconds: float) -> str:
    """``12 s``, ``4 min``, ``3 h``, ``2 d``: the largest unit, rounded down."""
    return "%d %s" % _in_units(seconds)[0]


def duration(seconds: float) -> str:
    """``0.4 s``, ``27 s``, ``3 min 2 s``, ``1 h 5 min``, ``2 d 3 h``: the two largest units."""
    if seconds < 9.95:
        return "%.1f s" % seconds
    return " ".join("%d %s" % part for part in _in_units(seconds + 0.5) if part[0])


def column_duration(seconds: Optional[float]) -> str:
    """``12s``, ``3m02s``, ``1h05m``, ``2d03h``: a duration in a column."""
    if seconds is None:
        return "-"
    (first, unit), *rest = _in_units(min(seconds, 999 * 86400))
    return "%d%s" % (first, unit[0]) + "".join("%02d%s" % (n, unit[0]) for n, unit in rest)


def _in_units(seconds: float) -> List[Tuple[int, str]]:
    """Return whole seconds in the largest unit that is not zero, and in the one below it."""
    rest = int(min(seconds, 9999 * 86400))
    parts: List[Tuple[int, str]] = []
    for size, unit in _UNITS:
        if parts or rest >= size or size == 1:
            parts.append((rest // size, unit))
            rest %= size
    return parts[:2]


def count_of(number: int, noun: str) -> str:
    """``1 peer``, ``2 peers``."""
    return "%d %s%s" % (number, noun, "" if number == 1 else "s")


def natural(label: str) -> Tuple[List[Tuple[int, str]], str]:
    """Return a sort key that puts ``web-2`` before ``web-10``."""
    # Words and numbers alternate, a word first (perhaps empty), so that like compares with like.
    parts = re.split("([0-9]+)", label.lower())
    numbers = [(int(part), "") if i % 2 else (-1, part) for i, part in enumerate(parts)]
    return numbers, label
