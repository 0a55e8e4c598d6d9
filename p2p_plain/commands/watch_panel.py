"""The picture that ``watch`` shows: one node's view, in so many columns and lines.

``Known`` remembers the node's answers, ``Chosen`` what the user's keys have chosen, and
``picture_of`` makes lines from both that fit the terminal.  No terminal, thread or clock here.
"""

import textwrap
from collections import deque

from ..common.address import Address
from ..common.escape import printable
from ..common.outcomes import FAILURES, IN_WORDS, LARGE_LOST, OK, UNKNOWN
from ..common.typing import Any, Callable, Deque, Dict, List, NamedTuple, Optional
from ..common.words import column_duration, column_ms, count_of, duration, natural, percent
from ..monitor.judge import Judgement
from ..monitor.row_messages import is_connected
from ..terminal.event_lines import SHORT_ID
from ..terminal.matrix_table import draw
from ..terminal.text import BOLD, RED, UNDERLINED, as_encoded, clip, columns_of, fit, paint
from .asking import who
from .guest import STALE_AFTER, Snapshot

SAMPLES = 200
"""Round trips remembered for each node: more than fit on a terminal."""

LEAST_SPARKLINE, MOST_SPARKLINE = 8, 60
"""Columns.  Fewer show nothing, more are hard to compare."""

BLOCKS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
ASCII_BLOCKS = "_.:-=+*#"

DOWN = "!"
"""In a sparkline: the connection was down."""


class Report(NamedTuple):
    """An answer, or the problem instead of one; ``at`` is a monotonic time."""

    answer: Optional[Snapshot]
    problem: str
    at: float


class Known:
    """The last answer, and the round trips of those before it.  Main thread only."""

    def __init__(self, address: Address) -> None:
        self.address = printable(str(address), 300)
        self.answer: Optional[Snapshot] = None
        self.answered_at = 0.0
        self.problem = ""
        """Why the last question had no answer; empty if it had one."""
        self.samples: Dict[str, Deque[Optional[float]]] = {}
        """New round trips by nodeid; ``None`` where the connection went down."""
        self.judged = Judgement([], STALE_AFTER)
        """What the last answer means; made once for each, so that a redraw is cheap."""

    def learn(self, report: Report) -> None:
        """Take in a report."""
        self.problem = report.problem
        if report.answer is None:
            return
        self.answer = report.answer
        self.answered_at = report.at
        self.judged = Judgement(report.answer.rows, report.answer.stale_after)
        samples, self.samples = self.samples, {}
        for link in self.links():
            value = link.get("rtt_ms") if is_connected(link) else None
            seen = samples.get(link["nodeid"]) or deque(maxlen=SAMPLES)
            self.samples[link["nodeid"]] = seen
            # A value that is the same to the last digit is the same measurement.
            if value != (seen[-1] if seen else None):
                seen.append(value)

    def links(self) -> List[Dict[str, Any]]:
        """Return the watched node's own row, with the names that the matrix and verdicts use."""
        if self.answer is None:
            return []
        own = [row for row in self.answer.rows if row.nodeid == self.answer.hello.nodeid]
        label = self.judged.view.label
        return [
            dict(link, name=label.get(link["nodeid"]) or link.get("name"))
            for link in (own[0].links if own else ())
        ]


class Chosen:
    """What the user's keys have chosen."""

    def __init__(self) -> None:
        self.sort = "name"
        self.backwards = False
        self.whole = False
        """True to show the whole matrix instead of one node's row."""
        self.page = 0
        self.pages = 1
        """How many pages the last picture had."""


# -- the lines -------------------------------------------------------------------------


class Column(NamedTuple):
    """A column of the table: ``value`` sorts it (``None`` goes last), and ``show`` prints it."""

    key: str
    title: str
    value: Callable[[Dict[str, Any]], Any]
    show: Callable[[Any], str]
    right: bool = False


LOSS = "loss"
"""The column that is shown only where packets are lost."""

_DIRECTIONS = {"outbound": "out", "inbound": "in", "none": "-"}


def _name_of(link: Dict[str, Any]) -> str:
    return str(link.get("name") or link["nodeid"][:SHORT_ID])


def _dial_of(link: Dict[str, Any]) -> str:
    dial = link.get("dial", UNKNOWN)
    return LARGE_LOST if dial == OK and link.get("big") == "lost" else IN_WORDS[dial]


def _text(value: str) -> str:
    return printable(value, 64)


COLUMNS = (
    Column("name", "NAME", _name_of, _text),
    Column("address", "ADDRESS", lambda link: link.get("address", ""), _text),
    Column("direction", "DIR", lambda link: link.get("direction", "none"), _DIRECTIONS.__getitem__),
    Column("dial", "DIAL", _dial_of, str),
    Column("last", "LAST/ms", lambda link: link.get("rtt_ms"), column_ms, True),
    Column("p50", "P50", lambda link: link.get("rtt_p50_ms"), column_ms, True),
    Column("worst", "WORST", lambda link: link.get("rtt_max_ms"), column_ms, True),
    Column("jitter", "JITTER", lambda link: link.get("jitter_ms"), column_ms, True),
    Column(LOSS, "LOSS", lambda link: link.get("loss_pct"), lambda pct: percent(pct) if pct else "-", True),
    Column("up", "UP", lambda link: link.get("up_s"), column_duration, True),
)

_FAILED = frozenset([LARGE_LOST] + [IN_WORDS[dial] for dial in FAILURES])

DROPPED_FIRST = ("jitter", "up", "address", "direction", "p50", "worst")
"""Columns that are dropped when the terminal is narrow, in this order."""

LONGEST_HEADER = 3
"""Lines below the node's name."""

LONGEST_NAME = 24
"""Columns of a name where there is not room for all."""


def picture_of(
    known: Known, chosen: Chosen, now: float, columns: int, lines: Optional[int],
    colour: bool, encoding: str,
) -> List[str]:
    """Return the picture as at most ``lines`` lines (``None``: any number) of ``columns`` columns."""
    head = _header(known, now, columns, colour)
    below: List[str] = []
    for verdict in known.judged.verdicts if known.answer is not None else ():
        below += textwrap.wrap(verdict.text, max(2, columns), subsequent_indent=" ")
    if chosen.whole and known.answer is not None:
        body = draw(known.judged.view, columns, colour, encoding)
    else:
        body = _table(known, chosen, columns, colour, encoding)
    if lines is not None:
        # The verdicts matter most, but the table gets at least half.
        room = max(0, lines - len(head) - 1)
        share = max(room // 2, room - len(body))
        if len(below) > share:
            shown, hidden = below[: max(0, share - 1)], below[max(0, share - 1) :]
            below = shown + ["... and %s more" % count_of(len(hidden), "line")][:share]
        body = _page(body, room - len(below), chosen)
        body += [""] * (room - len(body) - len(below))
    elif below:
        body.append("")
    made = head + body + below + ([] if lines is None else [_footer(chosen, columns)])
    return [clip(as_encoded(line, encoding), columns) for line in made[:lines]]


def _header(known: Known, now: float, columns: int, colour: bool) -> List[str]:
    if known.answer is None:
        name, state = known.address, known.problem or "asking"
    else:
        name = "%s  %s" % (who(known.answer.hello), known.address)
        found = known.judged.summary
        state = "%s: %s, %d of %d directions up, answered %s ago" % (
            "ok" if known.judged.ok else "not ok",
            count_of(found.nodes, "node"),
            found.up,
            found.known + found.unknown,
            duration(max(0.0, now - known.answered_at)),
        )
        if known.problem:
            state = "LOST: %s; trying again; %s" % (known.problem, state)
    good = not known.problem and (known.answer is None or known.judged.ok)
    made = [paint(name, BOLD, colour)]
    for line in textwrap.wrap(state, max(2, columns))[:LONGEST_HEADER]:
        made.append(paint(line, "" if good else RED, colour))
    return made


def _footer(chosen: Chosen, columns: int) -> str:
    """Return a line of keys, as many as fit."""
    made = "q quit"
    for part in (
        "space page %d/%d" % (chosen.page + 1, chosen.pages) if chosen.pages > 1 else "",
        "m peers" if chosen.whole else "m matrix",
        "s sort: %s" % chosen.sort,
        "r %s" % ("backwards" if chosen.backwards else "reverse"),
    ):
        if part and len(made) + 2 + len(part) <= columns:
            made += "  " + part
    return made


def _table(known: Known, chosen: Chosen, columns: int, colour: bool, encoding: str) -> List[str]:
    """Return a heading, and a line for each node that the watched one knows."""
    if known.answer is None:
        return []
    links = _in_order(known.links(), chosen)
    if not links:
        return ["the node knows no other node yet"]
    cells = {c.key: [as_encoded(c.show(c.value(link)), encoding) for link in links] for c in COLUMNS}
    widths = {c.key: max(map(columns_of, [c.title, *cells[c.key]])) for c in COLUMNS}
    if not any(link.get("loss_pct") for link in links):
        del widths[LOSS]

    def total() -> int:
        return sum(widths.values()) + len(widths)

    for key in DROPPED_FIRST:
        if total() + LEAST_SPARKLINE > columns and widths["name"] > LONGEST_NAME:
            widths["name"] = LONGEST_NAME
        if total() + LEAST_SPARKLINE > columns:
            del widths[key]
    widths["name"] = max(4, min(widths["name"], columns - (total() - widths["name"])))
    room = min(MOST_SPARKLINE, columns - total())
    shown = [c for c in COLUMNS if c.key in widths]
    titles = [
        paint(fit(c.title, widths[c.key], c.right), UNDERLINED if c.key == chosen.sort else "", colour)
        for c in shown
    ]
    made = [" ".join([*titles, "SEEN" if room >= LEAST_SPARKLINE else ""]).rstrip()]
    fine = all(block in as_encoded(BLOCKS, encoding) for block in BLOCKS)
    for number, link in enumerate(links):
        parts = []
        for c in shown:
            failed = c.key == "dial" and _dial_of(link) in _FAILED
            part = fit(cells[c.key][number], widths[c.key], c.right)
            parts.append(paint(part, RED if failed else "", colour))
        samples = known.samples.get(link["nodeid"])
        if room > 0 and samples:
            parts.append(sparkline(list(samples)[-room:], BLOCKS if fine else ASCII_BLOCKS))
        made.append(" ".join(parts).rstrip())
    return made


def _in_order(links: List[Dict[str, Any]], chosen: Chosen) -> List[Dict[str, Any]]:
    """Return the links sorted as chosen.  Those without a value go last in both directions."""
    (value,) = (c.value for c in COLUMNS if c.key == chosen.sort)

    def rank(link: Dict[str, Any]) -> Any:
        of_link = value(link)  # as text, natural() puts 10.0.0.2 before 10.0.0.10
        return natural(of_link) if isinstance(of_link, str) else of_link

    links = sorted(links, key=lambda link: (natural(_name_of(link)), link["nodeid"]))
    have = [link for link in links if value(link) is not None]
    have.sort(key=rank, reverse=chosen.backwards)
    return have + [link for link in links if value(link) is None]


def _page(body: List[str], room: int, chosen: Chosen) -> List[str]:
    """Return the chosen page of ``body``; its first line, the heading, is on every page."""
    if len(body) <= room or room < 2:
        chosen.page, chosen.pages = 0, 1
        return body[: max(0, room)]
    size = room - 1
    chosen.pages = -(-(len(body) - 1) // size)  # rounded up: // rounds down
    chosen.page %= chosen.pages
    begin = 1 + chosen.page * size
    return body[:1] + body[begin : begin + size]


def sparkline(samples: List[Optional[float]], blocks: str) -> str:
    """Return one character for each sample; the largest sample is a full block."""
    most = max((sample for sample in samples if sample is not None), default=0.0) or 1.0
    return "".join(
        DOWN if s is None else blocks[min(len(blocks) - 1, int(s / most * len(blocks)))]
        for s in samples
    )
