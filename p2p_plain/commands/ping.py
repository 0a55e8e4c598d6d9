"""``ping HOST:PORT``: how long a node takes to answer, again and again, like ping(8).

All on the main thread; Ctrl-C and SIGTERM arrive as ``KeyboardInterrupt`` wherever that may be.
"""

import json
import math
import sys
import time
from typing import Any, Dict, List, Optional, Tuple

from ..common.address import Address
from ..common.config import GUEST_TIMEOUT
from ..common.errors import P2PError
from ..common.events import rfc3339
from ..common.words import milliseconds
from ..node.codec import printable
from ..common.output import FAREWELL, Output, let_go
from ..common.signals import ignore_stop_signals
from .asking import NO, YES, parser, positive, seconds, target, who
from .client import REQUEST_TIMEOUT, Client, in_words


def ping(argv: List[str]) -> int:
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
        due = time.monotonic()
        while run.send():
            if run.sent == given.count:
                break
            due = max(due + given.interval, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
    except KeyboardInterrupt:
        if not run.can_tell_more():
            let_go(sys.stdout)
            return run.verdict()
        ignore_stop_signals()  # the summary is short
    run.summary()
    return run.verdict()


class _Pings:
    """A run of pings to one node: connects when it must, counts, prints."""

    def __init__(self, address: Address, network: str, patience: float, as_json: bool) -> None:
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
        """Hang up, and print the last lines as ping(8) writes them."""
        if self._client is not None:
            self._client.close()
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
            # The standard deviation, as ping(8) calls it, from two sums.
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

    def can_tell_more(self) -> bool:
        """Whether there is room for the summary where we print."""
        return self._out.takes_more(FAREWELL)

    def verdict(self) -> int:
        """The exit code."""
        return YES if self.received else NO

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

    def _tell(self, text: str, event: str = "", **fields: Any) -> bool:
        if self._as_json:
            said: Dict[str, Any] = {"event": event, "time": rfc3339(time.time())}
            said.update(fields)
            text = json.dumps(said)
        if (event or not self._as_json) and not self._out.write(text):
            self._unread = True
        return not self._unread
