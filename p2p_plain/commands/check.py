"""The commands that ask a running node about the whole network: ``matrix`` and ``check``.

``cli`` imports this when the first word of the command line is one of them.  Each is a function
from the words after that to an exit code: 0 done, 1 the answer is no.  All on the main thread;
Ctrl-C and SIGTERM arrive as ``KeyboardInterrupt`` wherever that may be.
"""

import json
import shutil
import sys
import time
from threading import Event
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ..common.address import Address
from ..common.config import STALE_AFTER_INTERVALS
from ..common.errors import DialFailed, P2PError, PeerLeft
from ..common.outcomes import IN_WORDS, RESET
from ..common.words import duration
from ..monitor.judge import judge
from ..monitor.summary import summarize
from ..monitor.view import Direction, State, View
from ..node.messages import Hello, Links
from ..terminal.matrix_table import draw
from ..common.output import Output
from .asking import NO, YES, complain, parser, positive, seconds, target
from .client import REQUEST_TIMEOUT, Client, in_words

WITHIN = 30.0
"""Seconds that ``check`` waits: a network started by one script finds itself in two or three."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
"""Seconds between two looks of ``check``, doubling: an answer of a large network is megabytes."""

LEAST_TRY = 0.5
"""Seconds that the last question has at least, so that what ``check`` reports is what the node said,
and not that it had no time to say it."""

MANY = 100
"""Lines of what is down that ``check`` prints; ``--json`` has all."""

STALE_AFTER = STALE_AFTER_INTERVALS * 60.0
"""Seconds after which a row says nothing about now, for a network with the default ping interval:
for a node that does not say."""

PIPE_WIDTH = 200
"""Columns of the matrix where there is no terminal to be narrow."""


# -- what is printed with --json -----------------------------------------------------------


def named(row: Links) -> Dict[str, Any]:
    """A row as it is printed with ``--json``."""
    return {
        "nodeid": row.nodeid,
        "name": row.name,
        "age": row.age,
        "lag_ms": row.lag_ms,
        "links": list(row.links),
    }


# -- matrix ------------------------------------------------------------------------------------


def matrix(argv: List[str]) -> int:
    """Print who can reach whom, as one node knows it; ``NO`` if that does not answer."""
    options = parser(
        "matrix",
        "Who can reach whom and how fast, as one node knows it of all.",
        "matrix 192.0.2.2:6000",
    )
    options.add_argument("--width", type=int, metavar="N", help="columns (those of the terminal)")
    options.add_argument("--json", action="store_true", help="all of it as one object")
    given = options.parse_args(argv)
    address, network = target(given)
    positive("--width", given.width)
    try:
        with Client(address, network, name="matrix") as client:
            rows = client.rows()
            stale_after = client.stale_after or STALE_AFTER
    except P2PError as error:
        complain(address, in_words(error))
        return NO
    out = Output(sys.stdout)
    view = View(rows, stale_after)
    if given.json:
        said = {
            "nodes": [view.node_as_dict(nodeid) for nodeid in sorted(view.fate)],
            "rows": [named(row) for row in rows],
            "stale_after": view.stale_after,
            "summary": summarize(view).text(),
            "verdicts": [verdict.as_dict() for verdict in judge(view)],
        }
        return _handed_over(out, json.dumps(said))
    drawn = draw(view, given.width or terminal_width(), out.colour, out.encoding)
    return _handed_over(out, "\n".join([*drawn, "", *(verdict.text for verdict in judge(view))]))


def _handed_over(out: Output, text: str) -> int:
    """``NO`` if the answer could not be written: whoever reads that file must not take it for one."""
    out.write(text)
    if out.problem:
        Output(sys.stderr).write("p2p_plain: cannot write the answer: %s" % out.problem)
    return NO if out.problem else YES


def terminal_width() -> int:
    """Columns of the terminal on stdout, or of no terminal at all."""
    if sys.stdout is None or not sys.stdout.isatty():
        return PIPE_WIDTH
    return shutil.get_terminal_size().columns


# -- check ---------------------------------------------------------------------------------------


class Asker:
    """Asks one node for its rows, again and again, over a connection that is made anew if need be.

    ``watch`` has one on a thread of its own, and there ``stopping`` ends it.
    """

    def __init__(
        self, address: Address, network: str, name: str, stopping: Optional[Event] = None
    ) -> None:
        self._address = address
        self._network = network
        self._name = name
        self._stopping = stopping
        self._client: Optional[Client] = None

    def ask(self, timeout: float = REQUEST_TIMEOUT) -> "Answer":
        """All that the node has.  Raises what ``Client`` raises."""
        client = self._client
        if client is not None and not client.closed:
            try:
                return _asked(client, timeout)
            except PeerLeft:
                pass  # a guest makes room for newcomers, and may come again
            except DialFailed as failure:
                if failure.outcome != RESET:
                    raise
        self._client = client = Client(
            self._address, self._network, timeout, self._name, self._stopping
        )
        return _asked(client, timeout)

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.close()


class Answer(NamedTuple):
    """Who was asked, every row that it has, and how old one may be (``stale_after``, seconds)."""

    hello: Hello
    rows: List[Links]
    stale_after: float = STALE_AFTER


def _asked(client: Client, timeout: float) -> Answer:
    rows = client.rows(timeout)
    return Answer(client.hello, rows, client.stale_after or STALE_AFTER)


def check(argv: List[str]) -> int:
    """Wait until every node can dial every other; ``NO`` if they cannot in time."""
    options = parser(
        "check",
        "Wait until every node can dial every other one: for scripts, cron and CI.",
        "check 192.0.2.2:6000 --expect 12 --within 60",
    )
    options.add_argument(
        "--expect", type=int, metavar="N", help="nodes that there must be at least (2)"
    )
    options.add_argument(
        "--within", type=float, metavar="S", default=WITHIN, help="seconds to wait (%g)" % WITHIN
    )
    options.add_argument("--json", action="store_true", help="the outcome as one object")
    given = options.parse_args(argv)
    address, network = target(given)
    expected = positive("--expect", given.expect) or 2
    seconds("--within", given.within, least=0)
    began = time.monotonic()
    answer, problem = _wait_for_all(address, network, expected, began + given.within)
    took = time.monotonic() - began
    view = View([], STALE_AFTER) if answer is None else View(answer.rows, answer.stale_after)
    summary, down = summarize(view), not_up(view)
    good = answer is not None and not down and summary.nodes >= expected
    out = Output(sys.stdout)
    if given.json:
        said = {
            "ok": good,
            "expected": expected,
            "nodes": [view.node_as_dict(nodeid) for nodeid in sorted(view.fate)],
            "directions": summary.nodes * (summary.nodes - 1),
            "down": [
                {"from": one.source, "to": one.target, "state": one.state, "dial": one.dial}
                for one in down
            ],
            "seconds": took,
            "problem": problem,
        }
        out.write(json.dumps(said))
    elif answer is None:
        complain(address, "%s; waited %s" % (problem, duration(took)))
    elif good:
        out.write("ok after %s: %s" % (duration(took), summary.text()))
    else:
        out.write("\n".join(_what_is_missing(view, expected, problem, took)))
    return YES if good else NO


def not_up(view: View) -> List[Direction]:
    """Every direction between two nodes that is not known to be up, by their labels."""
    found = []
    for source in sorted(view.nodes, key=view.label.__getitem__):
        for other in sorted(view.nodes, key=view.label.__getitem__):
            if source != other:
                known = view.directions.get((source, other))
                one = Direction(source, other, State.UNKNOWN) if known is None else known
                if one.state != State.UP:
                    found.append(one)
    return found


def _what_is_missing(view: View, expected: int, problem: str, took: float) -> List[str]:
    summary, down = summarize(view), not_up(view)
    told = ["not ok after %s: %s" % (duration(took), summary.text())]
    if summary.nodes < expected:
        told[0] += "; %d nodes are expected" % expected
    if problem:
        told.append("the node does not answer any more: %s" % problem)
    for one in down[:MANY]:
        # The word of the dial, where it was the dial that failed.
        why = IN_WORDS.get(one.dial, one.state) if one.state == State.DOWN else one.state
        told.append("%s -> %s: %s" % (view.label[one.source], view.label[one.target], why))
    if len(down) > MANY:
        told.append("... and %d more; --json has all" % (len(down) - MANY))
    return told


def _wait_for_all(
    address: Address, network: str, expected: int, deadline: float
) -> Tuple[Optional[Answer], str]:
    """The last answer, if there was one, and why the last question had none."""
    asker = Asker(address, network, "check")
    answer, problem, pause = None, "", FIRST_PAUSE
    while True:
        try:
            left = max(LEAST_TRY, deadline - time.monotonic())
            answer, problem = asker.ask(min(REQUEST_TIMEOUT, left)), ""
            view = View(answer.rows, answer.stale_after)
            if len(view.nodes) >= expected and not not_up(view):
                break
        except P2PError as error:
            problem = in_words(error)
        left = deadline - time.monotonic()
        if left <= 0:
            break
        time.sleep(min(pause, left))
        pause = min(2 * pause, LONGEST_PAUSE)
    asker.close()
    return answer, problem
