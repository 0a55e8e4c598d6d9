"""``ping HOST:PORT``: how long a node takes to answer, again and again, like ping(8).

Main thread only; Ctrl-C and SIGTERM arrive as ``KeyboardInterrupt``.
"""

import json
import math
import sys
import time
from argparse import Namespace

from ..common.errors import P2PError
from ..common.escape import printable
from ..common.events import rfc3339
from ..common.outcomes import UNKNOWN
from ..common.output import FAREWELL, Output, let_go
from ..common.program import DONE, NO
from ..common.signals import ignore_stop_signals
from ..common.typing import Any, List, Optional, Tuple
from ..common.words import milliseconds
from ..node.lateness import LATE_SECONDS
from ..node.peer import GUEST_TIMEOUT
from .asking import parser, positive, read_secret, seconds, who
from .guest import REQUEST_TIMEOUT, Guest, in_words


def ping(argv: List[str]) -> int:
    """Ping a node until the count is reached or Ctrl-C.  Return ``NO`` if nothing was answered."""
    options = parser(
        "ping",
        "How long a node takes to answer, again and again, like ping(8).",
        "ping -c 3 192.0.2.2:6000",
    )
    add = options.add_argument
    add("-c", dest="count", type=positive, metavar="N", help="stop after N pings (never)")
    pause = "seconds from one ping to the next (1)"
    add("-i", dest="interval", type=seconds(), metavar="S", default=1.0, help=pause)
    wait = "seconds to wait for each answer, connecting included (%g)" % REQUEST_TIMEOUT
    add("-W", dest="patience", type=seconds(), metavar="S", default=REQUEST_TIMEOUT, help=wait)
    add("--json", action="store_true", help="print each line as a JSON object")
    given = options.parse_args(argv)
    run = _Pings(given)
    try:
        due = time.monotonic()
        while run.send():
            if run.sent == given.count:
                break
            due = max(due + given.interval, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
    except KeyboardInterrupt:
        if not run.out.takes_more(FAREWELL):  # no room for the summary
            let_go(sys.stdout)
            return DONE if run.received else NO
        ignore_stop_signals()  # the summary is short
    run.summary()
    return DONE if run.received else NO


class _Pings:
    """A run of pings to one node: connects when it must, counts, prints."""

    def __init__(self, given: Namespace) -> None:
        self._given = given
        """The options, as ``ping`` defines them."""
        self._secret = read_secret(given)
        self._host = printable(given.address.host, 300)
        self.out = Output(sys.stdout)
        self._guest: Optional[Guest] = None
        self._began = time.monotonic()
        self._reader_is_gone = False
        # The node drops a guest that is silent for too long: then each ping connects anew.
        self._reconnect = given.interval > GUEST_TIMEOUT / 2
        self.sent = self.received = 0
        self._segments = self._sent_again = 0
        """As the kernel counts them, on all connections that are closed."""
        # Sums, from which the summary is made: a run may be endless, and its memory must not grow.
        self._least, self._most, self._sum, self._squares = float("inf"), 0.0, 0.0, 0.0
        self._held = 0.0

    def send(self) -> bool:
        """Ping once and print the result.  Return ``False`` if the run is over."""
        self.sent += 1
        deadline = time.monotonic() + self._given.patience
        try:
            guest = self._guest
            if guest is None or guest.closed:
                self._count_segments()
                given = self._given
                self._guest = guest = Guest(
                    given.address, given.network, given.patience, "ping", secret=self._secret
                )
                self._print_connected(guest)
            trip = guest.ping(max(0.001, deadline - time.monotonic()))
        except P2PError as error:
            problem = in_words(error)
            if self.sent == 1 and self._guest is None:
                address = printable(str(self._given.address), 300)
                self._print("PING %s (%s): no connection yet" % (self._host, address))
            text = "seq=%d lost: %s" % (self.sent, problem)
            reads = self._print(text, "lost", seq=self.sent, problem=problem)
            # As ping(8): a name that does not resolve at first is a mistake.
            return reads and (self.sent > 1 or getattr(error, "outcome", "") != UNKNOWN)
        rtt_ms = trip.seconds * 1000
        self.received += 1
        self._held += trip.held
        self._least, self._most = min(self._least, rtt_ms), max(self._most, rtt_ms)
        self._sum += rtt_ms
        self._squares += rtt_ms * rtt_ms
        if self._reconnect:
            guest.close()
        text = "pong from %s: seq=%d time=%s" % (guest.remote, self.sent, milliseconds(rtt_ms))
        return self._print(text, "reply", seq=self.sent, rtt_ms=rtt_ms)

    def summary(self) -> None:
        """Close the connection, and print the last lines in the form of ping(8)."""
        if self._guest is not None:
            self._guest.close()
        self._count_segments()
        lost = 100.0 * (self.sent - self.received) / max(1, self.sent)
        loss = "%s%% loss" % ("%.1f" % lost).replace(".0", "")
        if self._sent_again:  # TCP has hidden it: the pings arrived all the same
            again = "%d of %d segments sent again" % (self._sent_again, self._segments)
            loss = "%s, %s" % (loss, again) if lost else again
        took_ms = (time.monotonic() - self._began) * 1000
        lines = [
            "",
            "--- %s ping statistics ---" % self._host,
            "%d sent, %d received, %s, time %.0f ms" % (self.sent, self.received, loss, took_ms),
        ]
        figures: Tuple[Optional[float], ...] = (None,) * 4
        held_ms = None
        if self.received:
            mean = self._sum / self.received
            # The standard deviation, which ping(8) calls mdev.
            mdev = math.sqrt(max(0.0, self._squares / self.received - mean * mean))
            figures = (self._least, mean, self._most, mdev)
            lines.append("rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms" % figures)
            held_ms = 1000 * self._held / self.received
            if held_ms > 1000 * LATE_SECONDS:
                lines.append("the node answers %s late; that is not in the rtt" % milliseconds(held_ms))
        self._print(
            "\n".join(lines),
            "summary",
            sent=self.sent,
            received=self.received,
            loss_percent=lost,
            segments=self._segments or None,
            sent_again=self._sent_again if self._segments else None,
            time_ms=took_ms,
            **dict(zip(("rtt_min_ms", "rtt_avg_ms", "rtt_max_ms", "rtt_mdev_ms"), figures)),
            held_avg_ms=held_ms
        )

    def _count_segments(self) -> None:
        """Add what was counted on the last connection, once it is closed."""
        guest, self._guest = self._guest, None
        if guest is not None and guest.segments is not None:
            self._segments += guest.segments.sent
            self._sent_again += guest.segments.sent_again

    def _print_connected(self, guest: Guest) -> None:
        if self._reconnect and self.sent > 1:
            return
        connect_ms = guest.connect_seconds * 1000
        # Printed anew after each reconnect: a node that restarted has another nodeid.
        begin = "PING %s (%s)" % (self._host, guest.remote) if self.sent == 1 else "connected"
        self._print(
            "%s: %s, connected in %s" % (begin, who(guest.hello), milliseconds(connect_ms)),
            "connected",
            address=str(guest.remote),
            nodeid=guest.hello.nodeid,
            name=guest.hello.name,
            connect_ms=connect_ms,
        )

    def _print(self, text: str, event: str = "", **fields: Any) -> bool:
        """Print a line, or with ``--json`` an event.  A line without an event is for people only."""
        if self._given.json:
            fields = {name: round(x, 3) if isinstance(x, float) else x for name, x in fields.items()}
            text = json.dumps(dict(fields, event=event, time=rfc3339(time.time())))
        if (event or not self._given.json) and not self.out.write(text):
            self._reader_is_gone = True
        return not self._reader_is_gone
