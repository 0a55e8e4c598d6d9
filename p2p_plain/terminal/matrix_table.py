"""The matrix for a terminal: sources down, destinations across.

Pure functions from rows to lines, for ``matrix``, ``watch`` and the tour.  What they mean is judged
in ``view`` and ``verdicts``; here it is only drawn, so that the picture and the verdicts under it
never differ.

The cell of row a and column b tells of the direction a -> b:

========  =============================================================================
``0.3``   median round trip on the connection between the two, in milliseconds, as a
          measured it (``1.2s``: in seconds).  Whoever dialed: a connection has a round
          trip at both ends
``!T``    a's last dial of b timed out (``!R`` refused, ``!U`` unreachable, ``!X`` reset,
          or another node lives there), **although** a connection may stand: it does not
          come back once it breaks, and that is what nobody sees elsewhere.  It says
          nothing of b -> a, which has its own cell
``ok``    b can be dialed, and there is no round trip (no connection, or none measured)
``?``     unknown: no connection and no verdict, or a's row is stale, or a itself runs
          late and blames b
``-``     a node itself
========  =============================================================================

All marks are ASCII; colour only repeats what they say.  Names come from strangers: escaped, and
cut with ``~`` where they do not fit.
"""

from typing import List, NamedTuple, Sequence

from ..common.outcomes import MARKS
from ..common.words import ago, brief_ms, natural
from ..monitor.judge import SLOW_FACTOR, SLOW_MS
from ..monitor.view import DOWN, UP, View, count
from ..node.messages import Links
from .text import as_encoded, columns_of, pad, paint, shorten

NARROWEST = 30
"""Columns of a terminal below which lines may be longer than it is wide."""

_EXPLAINED = (
    ("!T", "!T timed out"),
    ("!R", "!R refused"),
    ("!U", "!U unreachable"),
    ("!X", "!X reset or another node"),
    ("ok", "ok can be dialed"),
    ("?", "? stale or unknown"),
    ("-", "- itself"),
)

_CORNER = "from\\to"

# ECMA-48 "Select Graphic Rendition".
_RED, _YELLOW, _GREEN, _FAINT, _BOLD = "31", "33", "32", "2", "1"


class Cell(NamedTuple):
    """One field of the matrix: its text, and the code of its colour (``""``: none)."""

    text: str
    colour: str = ""


def grid(
    rows: Sequence[Links], width: int, stale_after: float, colour: bool = False
) -> List[str]:
    """The lines of the matrix, none wider than ``width`` (columns of a terminal).

    Where the destinations do not fit, they are told in several blocks, one under the other.  A
    source keeps its number, which is also its column's.
    """
    return draw(View(rows, stale_after), width, colour)


def draw(
    view: View, width: int, colour: bool = False, encoding: str = "utf-8"
) -> List[str]:
    """``grid`` of a view, for a terminal that knows that encoding."""
    width = max(width, NARROWEST)
    shown = order(view)
    if not shown:
        return ["no rows: nothing is known"]
    cells = _cells(view, shown)
    ages = [_age(view, nodeid) for nodeid in shown]
    digits = len(str(len(shown)))
    labels = [as_encoded(view.label[nodeid], encoding) for nodeid in shown]
    # Narrow columns leave room for names, many columns do not.
    name_width = min(
        max(columns_of(label) for label in labels), max(width // 4, 8 if len(shown) > 8 else 12)
    )
    left_width = max(digits + 1 + name_width, len(_CORNER))
    cell_width = max([digits] + [len(cell.text) for row in cells for cell in row]) + 1
    blocks = _blocks(len(shown), width - left_width, cell_width, max(map(len, ages)) + 2)

    lines: List[str] = []
    for block in blocks:
        last = block is blocks[-1]
        if lines:
            lines.append("")
        header = "".join(str(number + 1).rjust(cell_width) for number in block)
        heading = _CORNER.ljust(left_width) + header + ("  age" if last else "")
        lines.append(paint(heading, _BOLD, colour))
        for number, (label, row, age) in enumerate(zip(labels, cells, ages)):
            name = "%*d %s" % (digits, number + 1, pad(shorten(label, name_width), name_width))
            line = name + " " * (left_width - digits - 1 - name_width)
            for cell in (row[column] for column in block):
                space = " " * (cell_width - len(cell.text))
                line += space + paint(cell.text, cell.colour, colour)
            if last:
                line += "  " + paint(age, _FAINT if age[0].isalpha() else "", colour)
            lines.append(line)
    occurring = {cell.text for row in cells for cell in row}
    legend = [text for mark, text in _EXPLAINED if mark in occurring]
    if any(cell.text[0].isdigit() for row in cells for cell in row):
        legend.insert(0, "milliseconds")
    hidden = len(view.replaced)
    if hidden:
        legend.append("%d restarted, not shown" % hidden)
    return lines + _wrapped(legend, width)


def order(view: View) -> List[str]:
    """The nodeids in the order in which they are numbered, by name.

    Without those that were started anew since: their old rows would only be in the way.
    """
    shown = (view.nodes | view.left) - view.replaced
    return sorted(shown, key=lambda nodeid: (natural(view.label[nodeid]), nodeid))


def _cells(view: View, shown: List[str]) -> List[List[Cell]]:
    p50 = count(view).p50_ms
    slow = float("inf") if p50 is None else max(SLOW_FACTOR * p50, p50 + SLOW_MS)
    return [[_cell(view, source, target, slow) for target in shown] for source in shown]


def _cell(view: View, source: str, target: str, slow: float) -> Cell:
    if source == target:
        return Cell("-", _FAINT)
    direction = view.directions.get((source, target))
    if direction is None:
        return Cell("?", _FAINT)
    if direction.state == DOWN:
        return Cell(MARKS[direction.dial], _RED)
    # A row that is stale, and a node that itself runs late, have no round trip to show.
    if direction.p50_ms is not None:
        colour = _YELLOW if direction.p50_ms > slow else _GREEN if direction.state == UP else ""
        return Cell(brief_ms(direction.p50_ms, ""), colour)
    return Cell("ok", _GREEN) if direction.state == UP else Cell("?", _FAINT)


def _age(view: View, nodeid: str) -> str:
    """The end of a row: ``12 s``, ``stale 4 min``, ``late 2 s``, ``gone 40 s``, ``no row``."""
    if nodeid not in view.rows:
        return "no row"
    age = view.age(nodeid)
    if age > view.stale_after:
        return "stale " + ago(age)
    if nodeid not in view.current:
        return "gone " + ago(age)
    return ("late " if nodeid in view.late else "") + ago(age)


def _blocks(columns: int, room: int, cell_width: int, age_width: int) -> List[range]:
    """Which columns stand in which block: as few blocks as can be, the last with room for ages."""
    most = max(room // cell_width, 1)
    in_the_last = max((room - age_width) // cell_width, 1)
    blocks = 1
    while (blocks - 1) * most + in_the_last < columns:
        blocks += 1
    # All full but the last, which has what is left: at least one column.
    starts = [min(i * most, columns - 1 - (blocks - 1 - i)) for i in range(blocks)] + [columns]
    return [range(start, end) for start, end in zip(starts, starts[1:])]


def _wrapped(parts: List[str], width: int) -> List[str]:
    """The parts with commas between them, as many in a line as there is room for."""
    lines: List[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) + 3 <= width:
            lines[-1] += ", " + part
        else:
            if lines:
                lines[-1] += ","
            lines.append(part)
    return lines
