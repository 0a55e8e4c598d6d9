"""What a probe asks beside who is there: a *train*, small pings one after the other, and what follows it.

TCP repairs lost packets, so a loss shows only in the kernel's counts (``node.tcp_info``), and only where
enough is sent to lose some.  The connections between peers carry a few packets a minute.  So now and then
a probe that has found its node stays for a train: 4 kB on the wire, at most two seconds.

``Survey.probe_found`` asks ``Trains`` which probe does, and returns the questions ``InTurn``.  To ask
something further, write a ``Questions`` (``node.peer``) and put it behind the train there.  It has its own
``deadline``; when it begins, ``Train.report`` of the one before it is final; pongs that come too late for
that one are kept from it; and in its ``over`` it hands to the survey what it has found.

No sockets, threads or clock.  Questions belong to the reader thread of their link.
"""

from collections import OrderedDict
from random import Random
from threading import Lock

from ..common.typing import TYPE_CHECKING, Callable, List, NamedTuple, Optional, Sequence, Tuple
from ..node import messages
from ..node.peer import Link, Questions
from .row_messages import MAX_LINKS

if TYPE_CHECKING:
    from ..node.tcp_info import TcpInfo

PINGS = 20
"""Pings in a train.  At 5 % loss two trains of three lose one at least."""

SECONDS = 2.0
"""A train takes no longer than this.  Each lost packet is sent again after 0.2 s, so at 20 % loss it mostly
comes to its end all the same."""

EVERY = 10
"""One probe in so many of a healthy node has a train: for every probe it would be too much traffic."""

AT_ONCE = 8
"""Trains under way at once, with what follows them: each holds a connection and a thread.  A probe that finds
no place closes as usual."""


class Report(NamedTuple):
    """What one train has seen."""

    nodeid: str
    """The node at the other end."""
    infos: Tuple["TcpInfo", ...]
    """The kernel's counts at the hello, and after each pong.  ``sent`` is 1 at first: the hello."""
    complete: bool
    """True if all pongs have come in time."""

    @property
    def answered(self) -> int:
        """How many pongs have come."""
        return len(self.infos) - 1


class Train(Questions):
    """Small pings, one after the other."""

    def __init__(self, nodeid: str) -> None:
        self._nodeid = nodeid
        self._infos: List["TcpInfo"] = []

    @property
    def report(self) -> Report:
        """What it has seen so far."""
        return Report(self._nodeid, tuple(self._infos), len(self._infos) > PINGS)

    def begin(self, link: Link, now: float) -> Optional[Sequence[bytes]]:
        """Note how often the SYN and the hello were sent, and send the first ping."""
        self.deadline = now + SECONDS
        return self._next(link)

    def answered(self, link: Link, now: float) -> Optional[Sequence[bytes]]:
        """Send the next ping."""
        return self._next(link)

    def _next(self, link: Link) -> Optional[Sequence[bytes]]:
        info = link.tcp_info()
        if info is None:
            return None
        self._infos.append(info)
        return [messages.PING] if len(self._infos) <= PINGS else None


class InTurn(Questions):
    """Several ``Questions``, each when the one before has nothing left to ask."""

    def __init__(self, parts: Sequence[Questions], over: Callable[[], None]) -> None:
        """``over`` is called when the connection is over, after the same method of all that have begun."""
        self._ahead = list(parts)
        self._begun: List[Questions] = []
        self._over = over
        self._outstanding = 0
        """Pings that have not been answered yet."""
        self._late = 0
        """How many of those somebody sent who has given up on them."""

    @property
    def deadline(self) -> float:  # type: ignore[override]
        """The deadline of the one that is asking."""
        return self._begun[-1].deadline

    def begin(self, link: Link, now: float) -> Optional[Sequence[bytes]]:
        """Begin the first one that asks anything."""
        return self._or_next(None, link, now)

    def answered(self, link: Link, now: float) -> Optional[Sequence[bytes]]:
        """Go on: a pong has come."""
        self._outstanding = max(0, self._outstanding - 1)
        if self._late:
            self._late -= 1  # it was for the one before
            return ()
        return self._or_next(self._begun[-1].answered(link, now), link, now)

    def unanswered(self, link: Link, now: float) -> Optional[Sequence[bytes]]:
        """Go on: no pong has come before the deadline."""
        return self._or_next(self._begun[-1].unanswered(link, now), link, now)

    def over(self, link: Link, now: float) -> None:
        """Pass it on to all that have begun."""
        for part in self._begun:
            part.over(link, now)
        self._over()

    def _or_next(
        self, lines: Optional[Sequence[bytes]], link: Link, now: float
    ) -> Optional[Sequence[bytes]]:
        while lines is None and self._ahead:
            self._begun.append(self._ahead.pop(0))
            self._late = self._outstanding
            lines = self._begun[-1].begin(link, now)
        self._outstanding += len(lines or ())
        return lines


class Trains:
    """Which probes have a train.  Any thread may call any method."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._lock = Lock()
        # Guarded by _lock.  A leaf: nothing else is called while it is held.
        self._ahead: "OrderedDict[str, int]" = OrderedDict()
        """By nodeid, as many as a row has links: how many probes without a train come first."""
        self._under_way = 0

    def begin(self, nodeid: str, wrong: bool) -> bool:
        """True if the probe that has found ``nodeid`` has a train, which begins: ``end`` has to follow.

        It is every tenth one, from a random start, or else nodes that were started together would have
        them in step; and each one while something looks ``wrong`` about the node.
        """
        with self._lock:
            ahead = self._ahead.pop(nodeid, None)
            ahead = self._rng.randrange(EVERY) if ahead is None else ahead
            if wrong:
                ahead = 0
            due = not ahead and self._under_way < AT_ONCE
            self._ahead[nodeid] = EVERY - 1 if due else max(0, ahead - 1)
            if len(self._ahead) > MAX_LINKS:
                self._ahead.popitem(last=False)
            self._under_way += due
            return due

    def end(self) -> None:
        """A train, and all that followed it, is over."""
        with self._lock:
            self._under_way -= 1
