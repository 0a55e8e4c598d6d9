"""The commands that ask a running node and end: ``ping``, ``matrix`` and ``check``.

``cli`` imports this when the first word of the command line is one of them.  Each is a function
from the words after that to an exit code: 0 done, 1 the answer is no.  All on the main thread;
Ctrl-C arrives as ``KeyboardInterrupt`` wherever that may be.
"""

import argparse
import json
import math
import shutil
import signal
import sys
import time

from .client import REQUEST_TIMEOUT, Client, in_words
from .codec import printable
from .config import DEFAULT_PORT, GUEST_TIMEOUT, STALE_AFTER_INTERVALS, Config, dialable
from .display import SHORT_ID, duration, milliseconds
from .errors import DialFailed, P2PError, PeerLeft, UsageError
from .events import rfc3339
from .grid import draw
from .options import as_typed
from .output import Output
from .record import Record
from .usage import Parser
from .verdicts import judge, lines
from .view import DOWN, FAILURES, UNKNOWN, UP, Direction, View, count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from threading import Event
    from typing import Any, Dict, List, Optional, Tuple

    from .address import Address
    from .messages import Hello, Links

YES, NO = 0, 1

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
from outside one cannot know a network's own."""

PIPE_WIDTH = 200
"""Columns of the matrix where there is no terminal to be narrow."""


# -- the command line ----------------------------------------------------------------------


def parser(command: str, description: str, example: str) -> argparse.ArgumentParser:
    """What all of these commands take: ``HOST:PORT``, ``--network``, ``--help`` with an example."""
    made = Parser(
        prog="python3 -m p2p_plain " + command,
        description=description,
        epilog="example:\n  python3 -m p2p_plain %s" % example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument(
        "address", metavar="HOST:PORT", help="any node; HOST alone means port %d" % DEFAULT_PORT
    )
    made.add_argument("--network", metavar="NAME", default="", help="the node's network (none)")
    return made


def target(given: argparse.Namespace) -> "Tuple[Address, str]":
    """The node's address and its network.  Raises ``UsageError``."""
    try:
        address = dialable("", as_typed(given.address), DEFAULT_PORT)
    except UsageError as error:
        raise UsageError("", error.problem) from error
    return address, Config(network=as_typed(given.network)).network


def seconds(option: str, value: float, least: float = 0.001) -> float:
    """``value`` if it is a time that can be waited for.  Raises ``UsageError``."""
    if not least <= value <= 1e9:  # NaN neither
        raise UsageError(option, "%g is not a time in seconds; at least %g" % (value, least))
    return value


def positive(option: str, value: "Optional[int]") -> "Optional[int]":
    """``value`` if it counts something.  Raises ``UsageError``."""
    if value is not None and not 1 <= value <= 1000000000:
        raise UsageError(option, "%d is not a number of 1 or more" % value)
    return value


def complain(address: "Address", problem: str) -> None:
    """One line on stderr: what is wrong with the node that was asked."""
    Output(sys.stderr).write("p2p_plain: %s: %s" % (printable(str(address), 300), problem))


def who(hello: "Hello") -> str:
    """``alpha 176571dc``."""
    return " ".join(filter(None, (printable(hello.name or "", 64), hello.nodeid[:SHORT_ID])))


def nodes(view: View) -> "List[Dict[str, Any]]":
    """Every node that there is or was, as it is printed with ``--json``."""
    return [
        {
            "nodeid": nodeid,
            "name": view.label[nodeid],
            "state": "live" if nodeid in view.live else "down" if nodeid in view.down else "left",
        }
        for nodeid in sorted(view.label)
    ]


def named(row: "Links") -> "Dict[str, Any]":
    """A row as it is printed with ``--json``."""
    return {
        "nodeid": row.nodeid,
        "name": row.name,
        "age": row.age,
        "lag_ms": row.lag_ms,
        "links": list(row.links),
    }


# -- ping ------------------------------------------------------------------------------------


def ping(argv: "List[str]") -> int:
    """Ping a node until the count is reached or Ctrl-C; ``YES`` if there was a reply."""
    options = parser(
        "ping",
        "How long a node takes to answer, again and again, like ping(8).",
        "ping -c 3 192.0.2.2:6000",
    )
    options.add_argument("-c", dest="count", type=int, metavar="N", help="stop after N (never)")
    options.add_argument(
        "-i", dest="interval", type=float, metavar="S", default=1.0, help="seconds between two (1)"
    )
    options.add_argument(
        "-W",
        dest="patience",
        type=float,
        metavar="S",
        default=REQUEST_TIMEOUT,
        help="seconds to wait for each reply, the connect included (%g)" % REQUEST_TIMEOUT,
    )
    options.add_argument("--json", action="store_true", help="one object a line")
    given = options.parse_args(argv)
    address, network = target(given)
    positive("-c", given.count)
    seconds("-i", given.interval)
    seconds("-W", given.patience)
    run = _Pings(address, network, given.patience, given.json)
    # One that is silent for longer than the node lets a guest be would find itself shown out.
    run.hang_up = given.interval > GUEST_TIMEOUT / 2
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        due = time.monotonic()
        while run.send():
            if run.sent == given.count:
                break
            due = max(due + given.interval, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
    except KeyboardInterrupt:
        pass
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the summary is short
    run.summary()
    return YES if run.received else NO


class _Pings:
    """A run of pings to one node: connects when it must, counts, prints."""

    def __init__(self, address: "Address", network: str, patience: float, as_json: bool) -> None:
        self._address = address
        self._network = network
        self._patience = patience
        self._as_json = as_json
        self._out = Output(sys.stdout)
        self._client: Optional[Client] = None
        self._began = time.monotonic()
        self._unread = False
        """Whether whoever read what we print is gone."""
        self.hang_up = False
        """Whether to connect anew for each."""
        self.sent = self.received = 0
        # All that the summary needs: a run may be endless, and its memory must not grow.
        self._least, self._most, self._sum, self._squares = float("inf"), 0.0, 0.0, 0.0

    def send(self) -> bool:
        """One ping and what comes of it; ``False`` once nobody reads what we print."""
        self.sent += 1
        deadline = time.monotonic() + self._patience
        try:
            client = self._client
            if client is None or client.closed:
                client = Client(self._address, self._network, self._patience, "ping")
                self._client = client
                self._tell_connected(client)
            rtt_ms = client.ping(max(0.001, deadline - time.monotonic())) * 1000
        except P2PError as error:
            if self.sent == 1 and self._client is None:
                self._tell("PING %s (%s): no connection yet" % (self._host, self._where))
            problem = in_words(error)
            return self._tell(
                "seq=%d lost: %s" % (self.sent, problem), "lost", seq=self.sent, problem=problem
            )
        self.received += 1
        self._least, self._most = min(self._least, rtt_ms), max(self._most, rtt_ms)
        self._sum += rtt_ms
        self._squares += rtt_ms * rtt_ms
        if self.hang_up:
            client.close()
        return self._tell(
            "pong from %s: seq=%d time=%s" % (client.remote, self.sent, milliseconds(rtt_ms)),
            "reply",
            seq=self.sent,
            rtt_ms=rtt_ms,
        )

    def summary(self) -> None:
        """The last lines, as ping(8) writes them."""
        lost = 100.0 * (self.sent - self.received) / max(1, self.sent)
        took = (time.monotonic() - self._began) * 1000
        lines = [
            "",
            "--- %s ping statistics ---" % self._host,
            "%d sent, %d received, %s%% loss, time %.0f ms"
            % (self.sent, self.received, ("%.1f" % lost).replace(".0", ""), took),
        ]
        figures: Tuple[Optional[float], ...] = (None,) * 4
        if self.received:
            mean = self._sum / self.received
            mdev = math.sqrt(max(0.0, self._squares / self.received - mean * mean))
            figures = (self._least, mean, self._most, mdev)
            lines.append("rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms" % figures)
        self._tell(
            "\n".join(lines),
            "summary",
            sent=self.sent,
            received=self.received,
            loss_percent=lost,
            time_ms=took,
            **dict(zip(("rtt_min_ms", "rtt_avg_ms", "rtt_max_ms", "rtt_mdev_ms"), figures))
        )

    @property
    def _host(self) -> str:
        return printable(self._address.host, 300)

    @property
    def _where(self) -> str:
        return printable(str(self._address), 300)

    def _tell_connected(self, client: Client) -> None:
        connect_ms = client.connect_seconds * 1000
        # A node that was away says who it is now: after a restart it is another one.
        begin = "PING %s (%s)" % (self._host, client.remote) if self.sent == 1 else "connected"
        if not (self.hang_up and self.sent > 1):
            self._tell(
                "%s: %s, connected in %s" % (begin, who(client.hello), milliseconds(connect_ms)),
                "connected",
                address=str(client.remote),
                nodeid=client.hello.nodeid,
                name=client.hello.name,
                connect_ms=connect_ms,
            )

    def _tell(self, text: str, event: str = "", **fields: "Any") -> bool:
        if self._as_json:
            said: Dict[str, Any] = {"event": event, "time": rfc3339(time.time())}
            said.update(fields)
            text = json.dumps(said)
        if (event or not self._as_json) and not self._out.write(text):
            self._unread = True
        return not self._unread


# -- matrix ------------------------------------------------------------------------------------


def matrix(argv: "List[str]") -> int:
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
    except P2PError as error:
        complain(address, in_words(error))
        return NO
    out = Output(sys.stdout)
    view = View(rows, STALE_AFTER)
    if given.json:
        found = [
            {"kind": verdict.kind, "nodes": verdict.nodes, "text": verdict.text}
            for verdict in judge(view)
        ]
        said = {"nodes": nodes(view), "rows": [named(row) for row in rows], "verdicts": found}
        out.write(json.dumps(said))
        return YES
    drawn = draw(view, given.width or terminal_width(), out.colour)
    out.write("\n".join([*drawn, "", *lines(judge(view))]))
    return YES


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
        self, address: "Address", network: str, name: str, stopping: "Optional[Event]" = None
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
                return Answer(client.hello, client.rows(timeout))
            except PeerLeft:
                pass  # a guest makes room for newcomers, and may come again
            except DialFailed as failure:
                if failure.verdict != "reset":
                    raise
        self._client = client = Client(
            self._address, self._network, timeout, self._name, self._stopping
        )
        return Answer(client.hello, client.rows(timeout))

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.close()


class Answer(Record):
    """Who was asked, and every row that it has."""

    __slots__ = ("hello", "rows")

    def __init__(self, hello: "Hello", rows: "List[Links]") -> None:
        self.hello = hello
        self.rows = rows


def check(argv: "List[str]") -> int:
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
    view = View(answer.rows if answer is not None else [], STALE_AFTER)
    summary, down = count(view), not_up(view)
    good = answer is not None and not down and summary.nodes >= expected
    out = Output(sys.stdout)
    if given.json:
        said = {
            "ok": good,
            "expected": expected,
            "nodes": nodes(view),
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


def not_up(view: View) -> "List[Direction]":
    """Every direction between two nodes that is not known to be up, by their labels."""
    found = []
    for source in sorted(view.nodes, key=view.label.__getitem__):
        for target in sorted(view.nodes, key=view.label.__getitem__):
            if source != target:
                known = view.directions.get((source, target))
                one = Direction(source, target, UNKNOWN) if known is None else known
                if one.state != UP:
                    found.append(one)
    return found


def _what_is_missing(view: View, expected: int, problem: str, took: float) -> "List[str]":
    summary, down = count(view), not_up(view)
    told = ["not ok after %s: %s" % (duration(took), summary.text())]
    if summary.nodes < expected:
        told[0] += "; %d nodes are expected" % expected
    if problem:
        told.append("the node does not answer any more: %s" % problem)
    for one in down[:MANY]:
        # The word of the dial, where it was the dial that failed.
        why = FAILURES.get(one.dial, one.state) if one.state == DOWN else one.state
        told.append("%s -> %s: %s" % (view.label[one.source], view.label[one.target], why))
    if len(down) > MANY:
        told.append("... and %d more; --json has all" % (len(down) - MANY))
    return told


def _wait_for_all(
    address: "Address", network: str, expected: int, deadline: float
) -> "Tuple[Optional[Answer], str]":
    """The last answer, if there was one, and why the last question had none."""
    asker = Asker(address, network, "check")
    answer, problem, pause = None, "", FIRST_PAUSE
    while True:
        try:
            left = max(LEAST_TRY, deadline - time.monotonic())
            answer, problem = asker.ask(min(REQUEST_TIMEOUT, left)), ""
            view = View(answer.rows, STALE_AFTER)
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
