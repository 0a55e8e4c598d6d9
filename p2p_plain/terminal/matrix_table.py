"""The matrix as a table: sources down, targets across.

Pure functions from a view to lines, for ``matrix``, ``watch`` and the tour.  The view says what is
true and the judge what is wrong; here it is only drawn, so the table and the verdicts under it never
differ.

The cell in row a and column b describes the direction a -> b:

========  =============================================================================
``0.3``   median round trip in milliseconds on the connection between the two, as a
          measured it (``1.2s``: in seconds), whichever end dialed it
``0.3*``  packets that a sends to b are lost; the verdicts say how many
``!T``    a's last dial of b timed out (or another mark of ``common.outcomes``), **even
          if** a connection stands: once that breaks, a cannot make another.  It says
          nothing about b -> a, which has its own cell
``!M``    small packets get from a to b, and large ones are lost
``ok``    a can dial b, and there is no round trip (no connection, or none measured)
``?``     unknown: no connection and no dial, or a's row is stale, or a itself runs late
          and blames b
``!?``    unknown for so long that something is wrong (``monitor.gaps``)
``-``     the node itself
========  =============================================================================

All marks are ASCII; colour only repeats what they say.  Names come from strangers: they are
escaped, and cut with ``~`` where they do not fit.
"""

from ..common.outcomes import IN_WORDS, LARGE_LOST_MARK, MARKS
from ..common.typing import Dict, List, NamedTuple
from ..common.words import ago, brief_ms
from ..monitor.slowness import is_slow
from ..monitor.summary import Summary, summarize
from ..monitor.view import State, View
from .text import BOLD, FAINT, GREEN, RED, YELLOW, as_encoded, columns_of, fit, paint, shorten

NARROWEST = 30
"""Columns.  On a narrower terminal, lines are longer than it is wide."""

_LEGEND: Dict[str, str] = {
    mark: " or ".join(IN_WORDS[dial] for dial in MARKS if MARKS[dial] == mark)
    for mark in MARKS.values()
}
_LEGEND[LARGE_LOST_MARK] = "large packets lost"
_LEGEND.update(
    {"ok": "can be dialed", "?": "stale or unknown", "!?": "unknown for too long", "-": "itself"}
)

LOSSY = "*"
"""After a round trip: packets are lost on that way, in the direction of the cell."""

_CORNER = "from\\to"


class Cell(NamedTuple):
    """The text of one cell, and the code of its colour (``""``: none)."""

    text: str
    colour: str = ""


def draw(view: View, width: int, colour: bool = False, encoding: str = "utf-8") -> List[str]:
    """Return the lines of the table, none wider than ``width`` columns of the terminal.

    Where the targets do not fit, they stand in several blocks, one under the other.  A node's number
    is the same as a source and as a target.  What ``encoding`` cannot express is escaped.
    """
    width = max(width, NARROWEST)
    shown = view.in_order()
    if not shown:
        return ["no rows: nothing is known"]
    summary = summarize(view)
    cells = [[_cell(view, summary, source, target) for target in shown] for source in shown]
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
        lines.append(paint(heading, BOLD, colour))
        for number, (label, row, age) in enumerate(zip(labels, cells, ages)):
            name = fit(shorten(label, name_width), left_width - digits - 1)
            line = "%*d %s" % (digits, number + 1, name)
            for cell in (row[column] for column in block):
                space = " " * (cell_width - len(cell.text))
                line += space + paint(cell.text, cell.colour, colour)
            if last:
                line += "  " + paint(age, FAINT if age[0].isalpha() else "", colour)
            lines.append(line)
    occurring = {cell.text for row in cells for cell in row}
    legend = ["%s %s" % (mark, text) for mark, text in _LEGEND.items() if mark in occurring]
    if any(cell.text[0].isdigit() for row in cells for cell in row):
        legend.insert(0, "milliseconds")
    if any(cell.text.endswith(LOSSY) for row in cells for cell in row):
        legend.append("%s packets lost" % LOSSY)
    if view.replaced:
        legend.append("%d restarted, not shown" % len(view.replaced))
    return lines + _wrapped(legend, width)


def _cell(view: View, summary: Summary, source: str, target: str) -> Cell:
    if source == target:
        return Cell("-", FAINT)
    if (source, target) in summary.gaps.overdue:
        return Cell("!?", RED)
    direction = view.directions.get((source, target))
    if direction is None:
        return Cell("?", FAINT)
    if direction.state == State.DOWN:
        return Cell(MARKS[direction.dial], RED)
    if direction.hole is not None:
        return Cell(LARGE_LOST_MARK, RED)
    colour = GREEN if direction.state == State.UP else ""
    if direction.p50_ms is not None:
        slow = is_slow(direction.p50_ms, summary.p50_ms or 0.0)
        if direction.loss_pct:
            return Cell(brief_ms(direction.p50_ms, "") + LOSSY, YELLOW)
        return Cell(brief_ms(direction.p50_ms, ""), YELLOW if slow else colour)
    return Cell("ok", colour) if direction.state == State.UP else Cell("?", FAINT)


def _age(view: View, nodeid: str) -> str:
    """Return the end of a line: ``12 s``, ``stale 4 min``, ``late 2 s``, ``gone 40 s``, ``no row``."""
    if nodeid not in view.rows:
        return "no row"
    age = view.age(nodeid)
    if age > view.stale_after_of(nodeid):
        return "stale " + ago(age)
    if nodeid not in view.current:
        return "gone " + ago(age)
    return ("late " if nodeid in view.late else "") + ago(age)


def _blocks(columns: int, room: int, cell_width: int, age_width: int) -> List[range]:
    """Divide the columns into as few blocks as possible; the last one has room for the ages."""
    most = max(room // cell_width, 1)
    in_the_last = max((room - age_width) // cell_width, 1)
    blocks = 1
    while (blocks - 1) * most + in_the_last < columns:
        blocks += 1
    # All full but the last, which has what is left: at least one column.
    starts = [min(i * most, columns - 1 - (blocks - 1 - i)) for i in range(blocks)] + [columns]
    return [range(start, end) for start, end in zip(starts, starts[1:])]


def _wrapped(parts: List[str], width: int) -> List[str]:
    """Join the parts with commas, as many in a line as fit."""
    lines: List[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) + 3 <= width:
            lines[-1] += ", " + part
        else:
            if lines:
                lines[-1] += ","
            lines.append(part)
    return lines
