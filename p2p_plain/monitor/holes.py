"""Paths on which packets over some size vanish: small ones pass, so everything looks well.

That happens where a tunnel has room for less than its ends believe, and a firewall drops the message
that would tell them so (RFC 2923 calls it a black hole).  A connection is made, says hello, and breaks
with the first large message.  The next one does the same.

So a probe whose train (``train``) was answered goes on with one ping of ``BIG`` bytes, whose pong is as
large.  If neither is lost, that takes one round trip.  If the pong does not come, the kernel knows more:
our bytes were sent again and again, and none was acknowledged; or all were, and it is the pong that is lost.

The next probe *climbs*: it says pings of growing size until one gets stuck.  If that happens too, the path
has a *hole*.  Further climbs begin where the last one ended, with smaller steps, until the limit is known to
the byte.  Two climbs that reach the top end it.

Connections through a hole live if their segments are small enough (``Hooks.mss``).  Probes have large ones,
or they could not see the hole.

No sockets, threads or clock.  Any thread may call any method of ``Holes``; a ``Climb`` belongs to the reader
thread of its link.
"""

from collections import OrderedDict
from threading import Lock

from ..common.typing import TYPE_CHECKING, Any, Dict, NamedTuple, Optional, Sequence
from ..node import messages
from ..node.peer import Link, Questions
from .row_messages import MAX_LINKS
from .train import PINGS, Train

if TYPE_CHECKING:
    from ..node.tcp_info import TcpInfo

BIG = 4000
"""Bytes of the largest ping, the newline included.  A guest's line may have 4,096."""

LADDER = (200, 500, 700, 960, 1180, 1308, 1388, 1448, BIG)
"""Sizes of the first climb: up to the usual limits of tunnels, and the 1,500 bytes of Ethernet."""

STEPS = 8
"""Sizes of a further climb, from the largest that has passed to the smallest that has not."""

SECONDS = 3.0
"""How long a pong may take.  Within that time a segment that gets lost is sent five times.  (Measured: at
20 % loss one pong in ten thousand takes longer.)"""

STUCK = 2
"""How often in a row the kernel must have sent our ping again in vain."""

MOST_LOST = 0.2
"""A path that loses a larger part of the small packets can lose a few large ones by chance."""

NARROW = 536
"""Bytes of a segment that any path should carry (RFC 9293 section 3.7.1)."""

AGREE = 2
"""Probes running that must agree before a hole begins, or ends."""

THERE, BACK = "big", "back"
"""The two ways, by their fields in a link: from this node to the other one, and from that to this."""

_REPEAT_BYTES = len(',"repeat":true')
"""A pong is so much shorter than its ping."""


class Climbed(NamedTuple):
    """What one climb has shown.  Sizes are those of pings, in bytes."""

    passed: int
    """The largest that was answered."""
    lost: int = 0
    """The one that was not; 0 if all were."""
    way: str = ""
    """On which way it was lost, or its pong."""
    ends_at: int = 0
    """The largest size that is one segment: longer ones are cut in two."""
    headers: int = 0
    """Bytes of the headers of IP and TCP."""


class Climb(Questions):
    """Pings of growing size, until one is not answered."""

    def __init__(self, train: Train, sizes: Sequence[int]) -> None:
        """It follows ``train`` on the same connection; ``sizes`` are in ascending order."""
        self._train = train
        self._ahead = list(sizes)
        self._passed = self._size = 0
        self._before: Optional["TcpInfo"] = None
        """The kernel's counts before the last ping."""
        self.result: Optional[Climbed] = None
        """``None`` as long as nothing is shown."""

    def begin(self, link: Link, now: float) -> Optional[Sequence[bytes]]:
        """Send the first ping, unless the path loses many small ones."""
        report = self._train.report
        if not report.complete:
            return None
        first, last = report.infos[0], report.infos[-1]
        lost = last.sent_again - first.sent_again - (last.duplicates - first.duplicates)
        return None if lost > MOST_LOST * PINGS else self._next(link, now)

    def answered(self, link: Link, now: float) -> Optional[Sequence[bytes]]:
        """Send the next ping."""
        self._passed = self._size
        if not self._ahead:
            self.result = Climbed(self._passed)
        return self._next(link, now)

    def unanswered(self, link: Link, now: float) -> Optional[Sequence[bytes]]:
        """Find out on which way the ping or its pong was lost, if that is certain."""
        before, info = self._before, link.tcp_info()
        if before is None or info is None:
            return None
        acknowledged = info.acknowledged - before.acknowledged
        way, shorter = "", 0
        if not acknowledged and info.stalled >= STUCK:
            way = THERE
        elif acknowledged >= self._size and (
            # A lost pong takes the acknowledgement of its ping with it, which is then sent needlessly again.
            info.sent_again - before.sent_again <= info.duplicates - before.duplicates
        ):
            way, shorter = BACK, _REPEAT_BYTES
        ends_at = info.mss + shorter
        # Of two that are as large for the network, one has passed: that was chance.
        if way and min(self._passed, ends_at) < min(self._size, ends_at):
            ip = 40 if ":" in link.remote.host else 20
            headers = ip + (32 if info.timestamps else 20) - shorter
            self.result = Climbed(self._passed, self._size, way, ends_at, headers)
        return None

    def over(self, link: Link, now: float) -> None:
        """Do not let the kernel go on with a ping that does not get through."""
        if self._size > self._passed:
            link.end_with_reset()

    def _next(self, link: Link, now: float) -> Optional[Sequence[bytes]]:
        self._before = link.tcp_info()
        if self._before is None or not self._ahead:
            return None
        self._size = self._ahead.pop(0)
        self.deadline = now + SECONDS
        return [messages.encode_long_ping(self._size - link.seal_bytes())]


class Holes:
    """The holes that one node has found, by the nodeid at the other end."""

    def __init__(self) -> None:
        self._lock = Lock()
        # Guarded by _lock.  A leaf: nothing else is called while it is held.
        self._paths: "OrderedDict[str, _Path]" = OrderedDict()
        """As many as a row has links; the one that was made last is the last."""
        self._changes = 0

    def suspect(self, nodeid: str) -> bool:
        """Note that a connection behaves as it would in a hole; True if that is news."""
        with self._lock:
            path = self._path_locked(nodeid)
            news = not path.in_doubt
            path.suspect = True
            return news

    def in_doubt(self, nodeid: str) -> bool:
        """True if each probe of that node should climb."""
        with self._lock:
            path = self._paths.get(nodeid)
            return path is not None and path.in_doubt

    def known(self, nodeid: str) -> bool:
        """True if the path to that node has a hole, there or back."""
        with self._lock:
            path = self._paths.get(nodeid)
            return path is not None and any(way.is_hole for way in path.ways.values())

    def begin(self, nodeid: str) -> Sequence[int]:
        """Return the sizes for a climb that begins; none if one is under way.  ``end`` has to follow."""
        with self._lock:
            path = self._path_locked(nodeid)
            path.climbing += 1
            return () if path.climbing > 1 else path.sizes()

    def end(self, nodeid: str, found: Optional[Climbed]) -> bool:
        """Note what a climb has shown; True if there should be another one soon."""
        with self._lock:
            path = self._paths.get(nodeid)
            if path is None:
                return False  # forgotten since
            path.climbing -= 1
            if found is None:
                return False
            before = path.about()
            again = path.climbed(found)
            self._changes += path.about() != before
            return again

    def mss(self, nodeid: str) -> Optional[int]:
        """Return the most bytes of a segment with which a connection lives; ``None`` for any."""
        with self._lock:
            path = self._paths.get(nodeid)
            if path is None or not path.seems_narrow:
                return None
            known = [way.passed for way in path.ways.values() if way.passed]
            return min([NARROW] + [passed - _REPEAT_BYTES for passed in known])

    def about(self, nodeid: str) -> Dict[str, Any]:
        """Return the fields of a link that say what is lost; mostly none."""
        with self._lock:
            path = self._paths.get(nodeid)
            return {} if path is None else path.about()

    def passing(self) -> Dict[str, bool]:
        """Return whether large packets reach each node, by nodeid, where that was measured."""
        with self._lock:
            return {n: path.passes for n, path in self._paths.items() if path.passes is not None}

    def changes(self) -> int:
        """Return a number that grows whenever ``about`` changes."""
        with self._lock:
            return self._changes

    def forget(self, nodeid: str) -> None:
        """Drop a node that has left for good."""
        with self._lock:
            self._paths.pop(nodeid, None)

    def _path_locked(self, nodeid: str) -> "_Path":
        path = self._paths.get(nodeid)
        if path is None:
            path = self._paths[nodeid] = _Path()
            if len(self._paths) > MAX_LINKS:
                self._paths.popitem(last=False)
        return path


class _Way:
    """One of the two ways.  Under the lock of ``Holes``."""

    def __init__(self) -> None:
        self.is_hole = False
        self.disagree = 0
        """How many climbs running have shown that it has changed: that it is one, or is none any more."""
        self.passed = self.lost = 0
        """Sizes of pings, of the last climb that got stuck."""
        self.headers = 0

    def climbed(self, stuck: Optional[Climbed]) -> None:
        """Note that the last climb was ``stuck`` on this way, or has reached the top."""
        if stuck is not None:
            self.passed, self.lost = stuck.passed, min(stuck.lost, stuck.ends_at)
            self.headers = stuck.headers
        self.disagree = self.disagree + 1 if self.is_hole != (stuck is not None) else 0
        if self.disagree == AGREE:
            self.is_hole, self.disagree = stuck is not None, 0
        if not self.is_hole and stuck is None:
            self.passed = self.lost = 0

    def about(self, field: str) -> Dict[str, Any]:
        """Return the fields of a link, beginning with ``field``."""
        if not self.is_hole:
            return {}
        said: Dict[str, Any] = {field: "lost", field + "_lost": self.lost + self.headers}
        if self.passed:
            said[field + "_passed"] = self.passed + self.headers
        return said


class _Path:
    """What is known of the path to one node and back.  Under the lock of ``Holes``."""

    def __init__(self) -> None:
        self.ways = {THERE: _Way(), BACK: _Way()}
        self.suspect = False
        """True if a connection got stuck since the last climb that has shown something."""
        self.climbing = 0
        """Probes under way that would climb."""
        self.passes: Optional[bool] = None
        """What the last climb has shown of the way there."""

    @property
    def in_doubt(self) -> bool:
        """True if it has a hole, may have one, or may have none any more."""
        return self.suspect or self.seems_narrow

    @property
    def seems_narrow(self) -> bool:
        """True if a climb has got stuck, and since then not enough of them have reached the top."""
        return any(way.is_hole or way.disagree for way in self.ways.values())

    def about(self) -> Dict[str, Any]:
        """Return the fields of a link that say what is lost."""
        return {**self.ways[THERE].about(THERE), **self.ways[BACK].about(BACK)}

    def sizes(self) -> Sequence[int]:
        """Return the sizes for the next climb."""
        narrow = min((way for way in self.ways.values() if way.lost), key=lambda way: way.lost, default=None)
        if narrow is None:
            return (BIG,)
        passed, lost = narrow.passed, narrow.lost
        if not passed:
            return LADDER
        step = -(-(lost - passed) // STEPS)  # rounded up: // rounds down
        return sorted({*range(passed, lost, step), lost, BIG})

    def climbed(self, found: Climbed) -> bool:
        """Note what a climb has shown; True if there should be another one soon."""
        self.suspect = False
        stuck = self.ways.get(found.way)
        # Beyond where one way is stuck, nothing is known of the other one.
        shown = [way for way in self.ways.values() if way is not stuck]
        if stuck is not None:
            shown = [way for way in shown if 0 < way.lost <= found.passed]
        for way in shown:
            way.climbed(None)
        if stuck is not None:
            stuck.climbed(found)
            shown.append(stuck)
        if found.way != BACK:
            self.passes = stuck is None
        rough = stuck is not None and stuck.lost - stuck.passed > 1
        return rough or any(way.disagree for way in shown)
