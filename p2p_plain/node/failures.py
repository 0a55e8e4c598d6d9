"""Connections that became no peer: which of them are reported, and when.

A person who looks for a mistake wants to see each failure at once.  A port that is open to the world
gets many: health checks that connect and close, port scanners, nodes of other networks that try for
months.  So everything is counted, the first of a kind is reported at once, and the rest once a minute
together.

``membership`` owns it.  No sockets and no threads; the clock is passed in.
"""

from collections import OrderedDict
from threading import Lock

from ..common.address import Address, site
from ..common.counters import Tally
from ..common.events import DEBUG, INFO, Events
from ..common.typing import Callable, Dict, Set, Tuple
from .peer import INBOUND
from .shelf import MAX_BOOK

SUMMARY_INTERVAL = 60.0
"""Seconds between two reports of inbound failures that are not reported one by one."""

AT_ONCE = 4
"""Hosts and reasons that are reported at once in each such interval.  Someone who connects from many
addresses would otherwise write the log as fast as the network carries it."""

MAX_REPORTED = 256
"""Hosts and reasons that are remembered as reported."""


class Failures:
    """The failed connections of one node.  Any thread may call any method."""

    def __init__(self, events: Events, clock: Callable[[], float]) -> None:
        self.inbound = Tally()
        """Failed inbound connections by reason, since the start."""
        # Immutable; each has its own lock.
        self._events, self._clock = events, clock
        self._lock = Lock()
        # Guarded by _lock.  A leaf: nothing else is called while it is held.
        self._stopping = False
        self._dials: OrderedDict[str, Tuple[str, str]] = OrderedDict()
        """Why a dial last failed, by address, the oldest first."""
        self._reported: Set[Tuple[str, str]] = set()
        """Hosts and reasons of inbound failures that were reported at once, until all is quiet."""
        self._at_once = 0
        """How many of them in this interval."""
        self._waiting: Dict[str, Tuple[int, Address]] = {}
        """By reason: how many inbound failures are to be reported together, and the last address."""
        self._summary_at = float("-inf")
        """When this interval ends."""

    def stop(self) -> None:
        """Report nothing from now on."""
        with self._lock:
            self._stopping = True

    def report(
        self,
        address: Address,
        reason: str,
        detail: str,
        direction: str,
        why: str = "",
        level: int = DEBUG,
    ) -> None:
        """Count a failed connection, and report it as ``refused`` now, with others later, or not again.

        A dial is reported when the reason is new for its address.  ``why`` is a key of
        ``outcomes.WHYS``, if more is known; ``level`` is that of the line in the log.
        """
        if direction == INBOUND:
            self.inbound.count(reason)
        with self._lock:
            if self._stopping:
                return
            if direction == INBOUND:
                now = self._is_reported_now_locked(address, reason, why)
            else:
                now = self._dials.get(str(address)) != (reason, why)
                self._dials[str(address)] = (reason, why)
                self._dials.move_to_end(str(address))
                if len(self._dials) > MAX_BOOK:
                    self._dials.popitem(last=False)
        if now:
            more = {"why": why} if why else {}
            self._events.emit("refused", address=str(address), reason=reason, **more)
            level = max(level, INFO if reason in ("protocol", "unauthorised") else DEBUG)
            self._events.log(level, "%s %s: %s %s", address, direction, reason, detail)

    def report_again(self, address: Address) -> None:
        """Report the next failure of ``address`` whatever was reported before."""
        with self._lock:
            self._dials.pop(str(address), None)
            self._reported = {one for one in self._reported if one[0] != site(address.host)}

    def tick(self, now: float) -> None:
        """Report what has gathered, once a minute.  The pinger's thread."""
        with self._lock:
            if now < self._summary_at or self._stopping:
                return
            waiting, self._waiting = self._waiting, {}
            self._at_once = 0
            if not waiting:
                self._reported.clear()
                return
            self._summary_at = now + SUMMARY_INTERVAL
        counts = {reason: count for reason, (count, _) in waiting.items()}
        most = max(counts, key=lambda reason: counts[reason])
        total = sum(counts.values())
        self._events.emit("refused", address=str(waiting[most][1]), reason=most, count=total)
        each = ", ".join("%s %d" % one for one in sorted(counts.items()))
        self._events.log(INFO, "further inbound connections that became no peer: %s", each)

    def _is_reported_now_locked(self, address: Address, reason: str, why: str) -> bool:
        now = self._clock()
        if now >= self._summary_at and not self._waiting:
            self._summary_at = now + SUMMARY_INTERVAL
            self._at_once = 0
            self._reported.clear()
        kind = (site(address.host), reason + why)
        room = self._at_once < AT_ONCE and len(self._reported) < MAX_REPORTED
        if room and kind not in self._reported:
            self._reported.add(kind)
            self._at_once += 1
            return True
        count = self._waiting.get(reason, (0, address))[0]
        self._waiting[reason] = (count + 1, address)
        return False
