"""``watch HOST:PORT``: a node's view of all the others, live, in place, like mtr(8).

Two threads.  The *asker* asks the node for its rows at each interval, and waits for it as long as
that takes.  The main thread draws, and waits for keys, signals and news all at once, so that a
frozen node never freezes the screen and ``q`` works at any time.

What is drawn is made by ``picture_of``, a pure function from what is known to lines of text; no line
is wider and none is more than the terminal has room for.

The terminal
------------
``Screen`` puts it into a state that its owner would curse if it stayed: another screen, no cursor,
no echo.  So every way out passes through ``restore``: the end of a ``with``, whatever exception
that comes with; SIGTERM, SIGINT and SIGHUP, which only write a byte into a socket that the main
thread reads; and Ctrl-Z, where it is restored, the process stopped, and all of it done again
after ``fg``.

On something that is no terminal (a pipe, a file, Windows' console), each answer is printed as one
block instead.
"""

import errno
import os
import re
import select
import signal
import socket
import sys
import textwrap
import threading
import time
from collections import deque

from . import display
from .asking import parser, seconds, target, who
from .client import in_words
from .codec import printable
from .commands import STALE_AFTER, Asker
from .errors import P2PError
from .grid import columns_of, draw, shorten
from .output import FAREWELL, Output, let_go
from .record import Record
from .transport import POLL_SLICE
from .verdicts import judge
from .view import View, count

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Dict, List, Optional, Set, TextIO, Tuple

    from .address import Address
    from .commands import Answer

INTERVAL = 1.0
"""Seconds between two questions, as in mtr."""

SAMPLES = 200
"""Round trips remembered for each node: more than a terminal has columns for."""

LEAST_SPARKLINE, MOST_SPARKLINE = 8, 60
"""Columns: less shows nothing, more is hard to compare."""

WIDE = 160
"""Columns of a block where there is no terminal to be narrow."""

BLOCKS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
ASCII_BLOCKS = "_.:-=+*#"

DOWN = "!"
"""In a sparkline: the connection was gone here."""


# -- what is known --------------------------------------------------------------------------


class News(Record):
    """What the asker brings: an answer, or why there is none; ``at`` is a monotonic time."""

    __slots__ = ("answer", "at", "problem")

    def __init__(self, answer: "Optional[Answer]", problem: str, at: float) -> None:
        self.answer = answer
        self.problem = problem
        self.at = at


class Known:
    """The last answer, and what the ones before have shown.  Main thread only."""

    def __init__(self, address: "Address") -> None:
        self.address = printable(str(address), 300)
        self.answer: Optional[Answer] = None
        self.answered_at = 0.0
        self.problem = ""
        """Why the last question had no answer; empty if it had."""
        self.samples: Dict[str, Deque[Optional[float]]] = {}
        """Round trips by nodeid, one for each that was new; ``None`` where the link went down."""
        # What only changes with the answer, so that a redraw costs little.
        self.view = View([], STALE_AFTER)
        self.standing = ""
        self.told: List[str] = []

    def learn(self, news: News) -> None:
        """Take in what came."""
        self.problem = news.problem
        if news.answer is None:
            return
        self.answer = news.answer
        self.answered_at = news.at
        rows = news.answer.rows
        self.view = View(rows, STALE_AFTER)
        summary = count(self.view)
        self.standing = "%s, %d of %d directions up" % (
            display.count(summary.nodes, "node"),
            summary.up,
            summary.known + summary.unknown,
        )
        self.told = [verdict.text for verdict in judge(self.view)]
        links = self.links()
        for link in links:
            up = link.get("direction", "none") != "none"
            value = link.get("rtt_ms") if up else None
            seen = self.samples.setdefault(link["nodeid"], deque(maxlen=SAMPLES))
            # The same to the last digit is the same measurement, asked for twice.
            if not seen and value is None:
                continue
            if not seen or seen[-1] != value:
                seen.append(value)
        there = {link["nodeid"] for link in links}
        for nodeid in set(self.samples) - there:
            del self.samples[nodeid]

    def links(self) -> "List[Dict[str, Any]]":
        """The watched node's own row."""
        if self.answer is None:
            return []
        own = [row for row in self.answer.rows if row.nodeid == self.answer.hello.nodeid]
        return list(own[0].links) if own else []


class Chosen:
    """What the user has chosen with keys."""

    def __init__(self) -> None:
        self.sort = "name"
        self.backwards = False
        self.whole = False
        """The whole matrix, instead of one node's row."""
        self.page = 0
        self.pages = 1
        """How many there were when it was last drawn."""


# -- from that to lines -------------------------------------------------------------------------


class Column(Record):
    """One of the table: what stands in it, and what it is sorted by (``None`` goes last)."""

    __slots__ = ("key", "right", "show", "title", "value")

    def __init__(
        self,
        key: str,
        title: str,
        value: "Callable[[Dict[str, Any]], Any]",
        show: "Callable[[Any], str]",
        right: bool = False,
    ) -> None:
        self.key = key
        self.title = title
        self.value = value
        self.show = show
        self.right = right


def _short_ms(value: "Optional[float]") -> str:
    if value is None:
        return "-"
    if value >= 99999.5:
        return ">99999"
    return "%.*f" % (2 if value < 9.995 else 1 if value < 99.95 else 0, value)


def _short_duration(value: "Optional[float]") -> str:
    """``12s``, ``3m02s``, ``1h05m``, ``2d03h``."""
    if value is None:
        return "-"
    whole = int(min(value, 999 * 86400.0))
    for size, part, unit, subunit in ((86400, 3600, "d", "h"), (3600, 60, "h", "m"), (60, 1, "m", "s")):
        if whole >= size:
            return "%d%s%02d%s" % (whole // size, unit, whole % size // part, subunit)
    return "%ds" % whole


_DIRECTIONS = {"outbound": "out", "inbound": "in", "none": "-"}
_DIALS = {"unreachable": "unreach", "wrong-peer": "other", "unknown": "?"}


def _name_of(link: "Dict[str, Any]") -> str:
    return str(link.get("name") or link["nodeid"][: display.SHORT_ID])


def _text(value: str) -> str:
    return printable(value, 64)


def _up_since(link: "Dict[str, Any]") -> "Any":
    return link.get("up_s") if link.get("direction", "none") != "none" else None


COLUMNS = (
    Column("name", "NAME", _name_of, _text),
    Column("address", "ADDRESS", lambda link: link.get("address", ""), _text),
    Column("direction", "DIR", lambda link: link.get("direction", "none"), _DIRECTIONS.__getitem__),
    Column("dial", "DIAL", lambda link: link.get("dial", "unknown"), lambda v: _DIALS.get(v, v)),
    Column("last", "LAST/ms", lambda link: link.get("rtt_ms"), _short_ms, True),
    Column("p50", "P50", lambda link: link.get("rtt_p50_ms"), _short_ms, True),
    Column("worst", "WORST", lambda link: link.get("rtt_max_ms"), _short_ms, True),
    Column("jitter", "JITTER", lambda link: link.get("jitter_ms"), _short_ms, True),
    Column("up", "UP", _up_since, _short_duration, True),
)

GIVEN_UP_FIRST = ("jitter", "up", "address", "direction", "p50", "worst")
"""Columns that go when the terminal is narrow, in this order."""

LONGEST_HEADER = 3
"""Lines, under the node's name."""

LONGEST_NAME = 24
"""Columns, where there is not room for all."""


def picture_of(
    state: Known,
    chosen: Chosen,
    now: float,
    columns: int,
    lines: "Optional[int]",
    colour: bool,
    encoding: str,
) -> "List[str]":
    """All that is to be seen: at most ``lines`` lines (``None``: any number)."""
    head = _header(state, now, columns, colour)
    below: List[str] = []
    for line in state.told:
        below += textwrap.wrap(line, max(2, columns), subsequent_indent=" ")
    if chosen.whole and state.answer is not None:
        body = draw(state.view, columns, colour)
    else:
        body = _table(state, chosen, columns, colour, encoding)
    if lines is not None:
        # What is wrong is why one looks; but the table gets at least half.
        room = max(0, lines - len(head) - 1)
        share = max(room // 2, room - len(body))
        if len(below) > share:
            shown, hidden = below[: max(0, share - 1)], below[max(0, share - 1) :]
            below = shown + ["... and %s more" % display.count(len(hidden), "line")][:share]
        body = _page(body, room - len(below), chosen)
        body += [""] * (room - len(body) - len(below))
    elif below:
        body.append("")
    made = head + body + below + ([] if lines is None else [_footer(chosen, columns)])
    return [clip(_as_encoded(line, encoding), columns) for line in made[:lines]]


def _header(state: Known, now: float, columns: int, colour: bool) -> "List[str]":
    name = state.address
    if state.answer is not None:
        name = "%s  %s" % (who(state.answer.hello), state.address)
    if state.answer is None:
        second = state.problem or "asking"
    else:
        ago = display.duration(max(0.0, now - state.answered_at))
        second = "%s, answered %s ago" % (state.standing, ago)
        if state.problem:
            second = "LOST: %s; trying again; %s" % (state.problem, second)
    made = [_paint("1", name, colour)]
    for line in textwrap.wrap(second, max(2, columns))[:LONGEST_HEADER]:
        made.append(_paint("31", line, colour) if state.problem else line)
    return made


def _footer(chosen: Chosen, columns: int) -> str:
    """As many of the keys as there is room for."""
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


def _table(
    state: Known, chosen: Chosen, columns: int, colour: bool, encoding: str
) -> "List[str]":
    """A heading, and a line for each node that the watched one knows."""
    if state.answer is None:
        return []
    links = _in_order(state.links(), chosen)
    if not links:
        return ["it has told of no other node yet"]
    cells = {c.key: [_as_encoded(c.show(c.value(link)), encoding) for link in links] for c in COLUMNS}
    widths = {c.key: max(map(columns_of, [c.title, *cells[c.key]])) for c in COLUMNS}

    def total() -> int:
        return sum(widths.values()) + len(widths)

    for key in GIVEN_UP_FIRST:
        if total() + LEAST_SPARKLINE > columns and widths["name"] > LONGEST_NAME:
            widths["name"] = LONGEST_NAME
        if total() + LEAST_SPARKLINE > columns:
            del widths[key]
    widths["name"] = max(4, min(widths["name"], columns - (total() - widths["name"])))
    room = min(MOST_SPARKLINE, columns - total())
    shown = [c for c in COLUMNS if c.key in widths]
    titles = [_pad(c.title, widths[c.key], c.right) for c in shown]
    titles = [
        _paint("4", title, colour) if c.key == chosen.sort else title
        for c, title in zip(shown, titles)
    ]
    made = [" ".join([*titles, "SEEN" if room >= LEAST_SPARKLINE else ""]).rstrip()]
    fine = all(block in _as_encoded(BLOCKS, encoding) for block in BLOCKS)
    for number, link in enumerate(links):
        parts = []
        for c in shown:
            part = _pad(cells[c.key][number], widths[c.key], c.right)
            if c.key == "dial" and link.get("dial") not in ("ok", "unknown", None):
                part = _paint("31", part, colour)
            parts.append(part)
        samples = state.samples.get(link["nodeid"])
        if room > 0 and samples:
            parts.append(sparkline(list(samples)[-room:], BLOCKS if fine else ASCII_BLOCKS))
        made.append(" ".join(parts).rstrip())
    return made


def _in_order(links: "List[Dict[str, Any]]", chosen: Chosen) -> "List[Dict[str, Any]]":
    """What has no value goes last, whichever the way."""
    (value,) = (c.value for c in COLUMNS if c.key == chosen.sort)
    links = sorted(links, key=lambda link: (_name_of(link), link["nodeid"]))
    have = [link for link in links if value(link) is not None]
    have.sort(key=value, reverse=chosen.backwards)
    return have + [link for link in links if value(link) is None]


def _page(body: "List[str]", room: int, chosen: Chosen) -> "List[str]":
    """As much of ``body`` as there is room for, its first line on every page."""
    if len(body) <= room or room < 2:
        chosen.page, chosen.pages = 0, 1
        return body[: max(0, room)]
    size = room - 1
    chosen.pages = -(-(len(body) - 1) // size)  # rounded up: // rounds down
    chosen.page %= chosen.pages
    begin = 1 + chosen.page * size
    return body[:1] + body[begin : begin + size]


def sparkline(samples: "List[Optional[float]]", blocks: str) -> str:
    """One character each, the largest of them a full block."""
    most = max((sample for sample in samples if sample is not None), default=0.0) or 1.0
    return "".join(
        DOWN if s is None else blocks[min(len(blocks) - 1, int(s / most * len(blocks)))]
        for s in samples
    )


# -- text on a terminal ----------------------------------------------------------------------


def _paint(code: str, text: str, colour: bool) -> str:
    return "\x1b[%sm%s\x1b[0m" % (code, text) if colour else text


def _as_encoded(text: str, encoding: str) -> str:
    """As it will be seen: what the terminal's encoding does not have is escaped."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _pad(text: str, width: int, right: bool) -> str:
    """Cut, with a ``~`` for what is missing, or filled with spaces."""
    text = shorten(text, width)
    space = " " * (width - columns_of(text))
    return space + text if right else text + space


_COLOUR = re.compile("(\x1b\\[[0-9;]*m)")


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


# -- the terminal -------------------------------------------------------------------------------

# DEC's private modes, h sets and l resets: 1049 the other screen, 25 the cursor, 7 wrapping at the
# right margin.  H goes to the upper left corner, 2J erases everything, K and J what is to the right
# and below.
OTHER_SCREEN = "\x1b[?1049h"
HIDE = "\x1b[?25l\x1b[?7l\x1b[H\x1b[2J"
LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"

PORTION = 512
"""Bytes written at once."""


class Interrupted(Exception):
    """A signal came while the terminal did not take what we write (Ctrl-S, a dead line)."""


class Screen:
    """The terminal while it is ours.  Main thread only; use it with ``with``."""

    def __init__(self, out: "TextIO", keyboard: "Optional[int]", desk: "Desk") -> None:
        self._desk = desk
        self._out = out.fileno()
        self._encoding = out.encoding or "ascii"
        self._keyboard = keyboard
        """A descriptor, if keys can be read."""
        self._was: Optional[List[Any]] = None
        self._ours = False

    def __enter__(self) -> "Screen":
        try:
            self.take()
        except BaseException:
            self.restore()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()

    def take(self) -> None:
        """Make the terminal ours; again, after somebody else had it."""
        entered, self._ours = self._ours, True
        if self._keyboard is not None:
            if self._was is None:
                self._was = termios.tcgetattr(self._keyboard)
            # A copy, as deep as we change it; of its seven fields 3 are the local modes, 6 the
            # control characters (see termios).
            mode = [*self._was[:6], list(self._was[6])]
            mode[3] &= ~(termios.ECHO | termios.ICANON)  # keys at once, and not shown
            mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0  # a read returns with the first
            self._set(mode)
        # Entering the other screen twice would forget where the cursor was on the first.
        self._write(HIDE if entered else OTHER_SCREEN + HIDE)

    def restore(self) -> None:
        """Give it back as it was.  May be called twice."""
        if not self._ours:
            return
        self._ours = False
        # First what cannot be held up by a terminal that takes no output.
        if self._keyboard is not None and self._was is not None:
            self._set(self._was)
        try:
            # After Ctrl-S nothing would go out.  Linux lets only who has stopped it go on.
            termios.tcflow(self._out, termios.TCOOFF)
            termios.tcflow(self._out, termios.TCOON)
        except termios.error:
            pass
        if select.select([], [self._out], [], FAREWELL)[1]:
            try:
                os.write(self._out, LEAVE.encode("ascii"))
            except OSError:
                pass  # the terminal is gone

    def draw(self, lines: "List[str]", columns: int) -> bool:
        """Show exactly these lines; ``False`` once the terminal is gone."""
        parts = ["\x1b[H"]
        for number, line in enumerate(lines):
            # Erased to the right only if something is there: in its last column a terminal
            # would erase the character just written.
            rest = "\x1b[K" if columns_of(_COLOUR.sub("", line)) < columns else ""
            parts.append("\x1b[%d;1H%s%s" % (number + 1, line, rest))
        if len(lines) < self.size()[1]:
            parts.append("\x1b[%d;1H\x1b[J" % (len(lines) + 1))
        return self._write("".join(parts))

    def size(self) -> "Tuple[int, int]":
        """Columns and lines, now."""
        try:
            columns, lines = os.get_terminal_size(self._out)
        except OSError:
            columns, lines = 0, 0
        return columns or 80, lines or 24

    def _set(self, mode: "List[Any]") -> None:
        while True:
            try:
                # Now, and not when all output is through: that may be never.
                termios.tcsetattr(self._keyboard, termios.TCSANOW, mode)  # type: ignore[arg-type]
                return
            except termios.error as error:
                if error.args[0] != errno.EINTR:  # stopped in the background, and continued
                    return  # the terminal is gone

    def _write(self, text: str) -> bool:
        data = text.encode(self._encoding, "backslashreplace")
        self._desk.begin_writing()
        try:
            while data:
                # In portions, each when there is room: a write that blocks hears of no signal
                # that came a moment before it.
                if select.select([], [self._out], [], POLL_SLICE)[1]:
                    data = data[os.write(self._out, data[:PORTION]) :]
                elif self._desk.ending:
                    raise Interrupted
        except OSError:
            return False
        finally:
            self._desk.writing = False
        return True


# -- the command -----------------------------------------------------------------------------------


def watch(argv: "List[str]") -> int:
    """Show a node's view until ``q``, a signal, or the end of the pipe."""
    options = parser(
        "watch",
        "A node's view of all the others, live.  Keys: q quits, s sorts by the next column,\n"
        "r the other way round, m shows the whole matrix, space the next page.",
        "watch 192.0.2.2:6000",
    )
    options.add_argument(
        "--interval",
        type=float,
        metavar="S",
        default=INTERVAL,
        help="seconds between two looks (%g)" % INTERVAL,
    )
    given = options.parse_args(argv)
    address, network = target(given)
    seconds("--interval", given.interval, least=0.05)
    if sys.stdout is None:
        return 0
    on_a_screen = _is_screen(sys.stdout)
    with Desk(_ENDING + _RESHAPING if on_a_screen else _ENDING) as desk:
        news = Reporter(address, network, given.interval, desk.wake)
        try:
            show = _on_a_screen if on_a_screen else _in_blocks
            show(Known(address), news, desk)
        except Interrupted:
            pass
        finally:
            news.stop()
    return 0


def _is_screen(out: "TextIO") -> bool:
    return termios is not None and out.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _on_a_screen(state: Known, news: "Reporter", desk: "Desk") -> None:
    """Until a key or a signal ends it."""
    out = sys.stdout
    colour = Output(out).colour
    keyboard = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    chosen = Chosen()
    with Screen(out, keyboard, desk) as screen:
        try:
            news.start()
            while True:
                columns, lines = screen.size()
                now = time.monotonic()
                shown = picture_of(state, chosen, now, columns, lines, colour, out.encoding or "ascii")
                if not screen.draw(shown, columns):
                    return
                # At the latest in a second: "answered 3 s ago" goes on.
                keys, signals = desk.wait(1.0, keyboard)
                if keys is None or not _obey(keys, chosen) or signals & set(_ENDING):
                    return
                if signals & {signal.SIGTSTP}:
                    screen.restore()
                    _stop_ourselves()
                    screen.take()
                elif signals & {signal.SIGCONT}:  # who stopped us did not ask us before
                    screen.take()
                for one in news.take():
                    state.learn(one)
        finally:
            desk.leave()


def _stop_ourselves() -> None:
    """What Ctrl-Z does to a program that has no handler for it; returns after ``fg``."""
    handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, handler)


_ESCAPES = re.compile(rb"\x1b(?:[\[O][0-?]*[ -/]*[@-~])?")
"""What arrows and function keys send (ECMA-48 section 5.4), or ESC alone."""


def _obey(keys: bytes, chosen: Chosen) -> bool:
    """Do what keys say; ``False`` to quit.  Arrows and the like are letters too, after an ESC."""
    order = [c.key for c in COLUMNS]
    for key in _ESCAPES.sub(b"", keys).decode("ascii", "replace"):
        if key in "qQ\x04":  # Ctrl-D
            return False
        if key in "sS":
            step = 1 if key == "s" else -1
            chosen.sort = order[(order.index(chosen.sort) + step) % len(order)]
        elif key == "r":
            chosen.backwards = not chosen.backwards
        elif key == "m":
            chosen.whole = not chosen.whole
            chosen.page = 0
        elif key == " ":
            chosen.page += 1
    return True


def _in_blocks(state: Known, news: "Reporter", desk: "Desk") -> None:
    """One block for each answer, or for each question that had none; until the pipe's end."""
    out = Output(sys.stdout)
    encoding = sys.stdout.encoding or "ascii"
    chosen = Chosen()
    news.start()
    while True:
        _, signals = desk.wait(None, None)
        if signals & set(_ENDING):
            return
        for one in news.take():
            state.learn(one)
            lines = [time.strftime("%Y-%m-%d %H:%M:%S")]
            lines += picture_of(state, chosen, time.monotonic(), WIDE, None, False, encoding)
            desk.begin_writing()
            try:
                if not out.write("\n".join(lines) + "\n"):
                    return
            except Interrupted:
                let_go(sys.stdout)
                raise
            finally:
                desk.writing = False


# -- keys, signals and news, all at one desk ---------------------------------------------------------

_ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_RESHAPING = tuple(
    getattr(signal, name) for name in ("SIGTSTP", "SIGCONT", "SIGWINCH") if hasattr(signal, name)
)


class Desk:
    """Where the main thread waits for whatever comes first.

    A signal becomes a byte in a socket (``signal.set_wakeup_fd``), so that it is dealt with between
    two pictures and never in the middle of one.  News wake with a zero byte.
    """

    def __init__(self, signals: "Tuple[int, ...]") -> None:
        self._signals = signals
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self.writing = False
        """Whether the main thread is where a stopped terminal or a full pipe could hold it for
        ever.  Only there a signal that ends us raises ``Interrupted``."""
        self.ending = False
        """Whether such a signal has come."""

    def __enter__(self) -> "Desk":
        signal.set_wakeup_fd(self._write.fileno())
        for number in self._signals:
            signal.signal(number, self._noted)
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        signal.set_wakeup_fd(-1)

    def leave(self) -> None:
        """The end has begun: a second Ctrl-C must not disturb it."""
        self.writing = False
        for number in self._signals:
            signal.signal(number, signal.SIG_IGN)

    def wake(self) -> None:
        """End ``wait``.  Any thread."""
        try:
            self._write.send(b"\0")
        except OSError:
            pass  # full: it will wake

    def wait(
        self, timeout: "Optional[float]", keyboard: "Optional[int]"
    ) -> "Tuple[Optional[bytes], Set[int]]":
        """The keys that were pressed (``None``: no more will be) and the signals that came."""
        readers: List[Any] = [self._read] + ([] if keyboard is None else [keyboard])
        readable, _, _ = select.select(readers, [], [], timeout)
        keys: Optional[bytes] = b""
        if keyboard is not None and keyboard in readable:
            try:
                keys = os.read(keyboard, 64) or None
            except OSError:  # the terminal is gone
                keys = None
        signals = self._read.recv(4096) if self._read in readable else b""
        return keys, set(signals)

    def begin_writing(self) -> None:
        """Raises ``Interrupted`` if we are to end, and from now on also when that is said."""
        self.writing = True
        if self.ending:
            self.writing = False
            raise Interrupted

    def _noted(self, number: int, _: object) -> None:
        if number in _ENDING:
            self.ending = True
            if self.writing:
                raise Interrupted


class Reporter:
    """The thread that asks, and what it has brought and nobody has taken yet."""

    def __init__(
        self, address: "Address", network: str, interval: float, wake: "Callable[[], None]"
    ) -> None:
        self._interval = interval
        self._wake = wake
        self._stopping = threading.Event()
        self._asker = Asker(address, network, "watch", self._stopping)
        # A daemon: it may be waiting for a name server, which cannot be interrupted.
        self._thread = threading.Thread(target=self._run, name="asker", daemon=True)
        self._lock = threading.Lock()
        # Guarded by _lock; only the newest: whoever reads slowly gets no flood afterwards.
        self._news: Optional[News] = None

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more.  Does not wait for an answer that is under way."""
        self._stopping.set()

    def take(self) -> "List[News]":
        """What is new, if something is.  Main thread."""
        with self._lock:
            news, self._news = self._news, None
        return [] if news is None else [news]

    def _run(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            answer, problem = None, ""
            try:
                answer = self._asker.ask()
            except P2PError as error:
                problem = in_words(error)
            now = time.monotonic()
            with self._lock:
                self._news = News(answer, problem, now)
            self._wake()
            # A node that takes long to answer has enough to do: it is left alone as long again.
            self._stopping.wait(max(began + self._interval - now, now - began))
        self._asker.close()
