"""How many of the packets that this node sends to each other one are lost on the way.

The kernel counts which segments it has sent again, and which of those the other end had already
(``node.tcp_info``); the rest were lost.  Counts of one connection become *samples*: so many sent, so many
lost, from one pong to the next.  The connection between peers gives one each ping, and a train (``train``)
gives twenty.

* The report that a segment was a duplicate may come later than the pong.  So a sample is judged when the
  next one is taken.  Otherwise a slow line would seem to lose 4 %.
* A cable that is out for a moment is no lossy path, however often somebody pulls it.  It loses whatever is
  said meanwhile, and what is sent again.  A lossy path mostly loses a single packet, and the next one gets
  through.  So lossy samples with no clean one between them count as one *event*, and loss is named from
  three events on that were one packet each.
* If it is the way back that loses packets, our segments arrive, their acknowledgements are lost, and so
  may be the reports of duplicates.  Such a *leak* is never as many as the duplicates that are reported.
  (Measured: at 20 % on the way back 1 % leaks, beside 3 % of duplicates.)  So more than those must be
  lost.
* A SYN that was sent again, or a connection that broke, says that something is wrong, and not in which
  direction.  Then each probe has a train until enough segments have passed.

Each end measures what it sends itself.  Where the kernel does not count, nothing is measured.

``survey`` reports what happened; ``lossy`` judges what the rows say.  No sockets, threads or clock.  Any
thread, unless a method says otherwise.
"""

from collections import OrderedDict, deque
from threading import Lock

from ..common.typing import TYPE_CHECKING, Any, Deque, Dict, List, NamedTuple, Optional, Sequence
from ..node.peer import Link, Peer
from .row_messages import MAX_LINKS
from .train import Report

if TYPE_CHECKING:
    from ..node.tcp_info import TcpInfo

WINDOW = 300
"""Segments that are looked at.  With fewer, one loss of 1 % would be too rare to be seen three times."""

LEAST_EVENTS = 3
MANY_NODES = 30
EVENTS_OF_MANY = 4
"""Events of one packet in the window that make a loss, also in a network of more than ``MANY_NODES``: there
are more pairs there that could have three by chance.  (Nine events in ten are of one packet at 5 % loss, and
six in ten at 20 %.  Of a cable that is pulled for a second, one event in five is: when the segment was sent
again for the first time, it was in its place again.)"""

LEAST_LOSS = 0.01
"""The part that must be lost.  TCP does well with less."""

CLEARED_AT = 15.0
"""A loss is over once so many would have been lost, at the rate so far, and none was: after 75 segments at
20 %.  A full window without any ends it too."""

CALM = 100
"""Segments without loss that have to pass after something looked wrong.  At 1 % loss, two of three such
runs have another one."""


SLOW_LINE = 0.5
"""Shortest round trip, in seconds, from which on a SYN is sent again before its answer can be there."""


def begins_with_loss(info: "TcpInfo") -> bool:
    """True if a new connection had to send something again, the SYN or the hello, and is not slow."""
    return info.sent_again > info.duplicates and info.min_rtt < SLOW_LINE


class Sample(NamedTuple):
    """Segments with data, from one look at a connection to the next."""

    sent: int
    lost: int
    duplicates: int = 0
    """Those that were sent again, and had arrived."""


class Samples:
    """The samples of one connection, from the kernel's counts.  One thread."""

    def __init__(self, info: "TcpInfo") -> None:
        self._before = self._last = info
        self._lost = info.sent_again - info.duplicates
        """How many were lost up to ``_before``."""

    def add(self, info: "TcpInfo") -> Optional[Sample]:
        """Take new counts, and return the sample that ended with those before; ``None`` if it is empty."""
        lost = max(self._lost, self._last.sent_again - info.duplicates)
        sent = self._last.sent - self._before.sent
        sample = Sample(sent, lost - self._lost, info.duplicates - self._last.duplicates)
        self._before, self._last, self._lost = self._last, info, lost
        return sample if sample.sent else None


class Meter:
    """Whether one direction loses packets.  The caller's lock."""

    def __init__(self) -> None:
        self.sent = self.lost = 0
        """Since the start: segments."""
        self.lossy = False
        """True once the loss is worth naming, until it is over."""
        self.uncalm = 0
        """Segments that still have to pass without loss until all looks well."""
        self.seen = False
        """True from the first packet that was lost, a SYN perhaps, until all looks well."""
        self._window: Deque[Sample] = deque()
        self._in_window = Sample(0, 0)
        """The sum of the window."""
        self._clean = 0
        """Segments since the last one that was lost."""

    def add(self, sample: Sample, least_events: int = LEAST_EVENTS) -> None:
        """Take a sample in."""
        self.sent += sample.sent
        self.lost += sample.lost
        window = self._window
        window.append(sample)
        total = Sample(*(one + more for one, more in zip(self._in_window, sample)))
        while total.sent - window[0].sent >= WINDOW:
            total = Sample(*(one - less for one, less in zip(total, window.popleft())))
        self._in_window = total
        if sample.lost:
            self._clean, self.uncalm, self.seen = 0, CALM, True
            surely = total.lost - total.duplicates
            least = max(LEAST_LOSS * total.sent, least_events if total.duplicates else 0)
            if self._single_events() >= least_events and surely >= least:
                self.lossy = True
            return
        self._clean += sample.sent
        self.uncalm = max(0, self.uncalm - sample.sent)
        self.seen = self.seen and self.uncalm > 0
        before = total.sent - self._clean
        if self.lossy and (not total.lost or self._clean * total.lost >= CLEARED_AT * before):
            self.lossy = False
            window.clear()
            self._in_window = Sample(0, 0)

    def events(self) -> List[int]:
        """Return how many packets each event in the window has lost."""
        events: List[int] = []
        before = 0
        for sample in self._window:
            if sample.lost and before:
                events[-1] += sample.lost
            elif sample.lost:
                events.append(sample.lost)
            before = sample.lost
        return events

    def _single_events(self) -> int:
        return self.events().count(1)

    def about(self) -> Dict[str, Any]:
        """Return the fields of a link that say it, if it is worth naming."""
        if not self.lossy:
            return {}
        total = self._in_window
        pct = round(100.0 * total.lost / total.sent, 1)
        return {"loss_pct": pct, "loss_segs": total.sent, "loss_events": len(self.events())}


class PacketLoss:
    """What one node measures of the loss to each other one, by nodeid."""

    def __init__(self) -> None:
        self._lock = Lock()
        # Guarded by _lock.  A leaf: nothing else is called while it is held.
        self._meters: "OrderedDict[str, Meter]" = OrderedDict()
        """As many as a row has links; the one that was made last is the last."""
        self._changes = 0
        self._least_events = LEAST_EVENTS
        # The pinger's thread only.
        self._watched: Dict[str, _Watched] = {}

    def look_at(self, peers: Sequence[Peer]) -> None:
        """Look at the connection of each peer that has answered since.  The pinger's thread."""
        if len(self._watched) > len(peers):  # some are gone
            up = {peer.nodeid for peer in peers}
            self._watched = {n: watched for n, watched in self._watched.items() if n in up}
        with self._lock:
            self._least_events = EVENTS_OF_MANY if len(peers) >= MANY_NODES else LEAST_EVENTS
        for peer in peers:
            nodeid = peer.nodeid
            watched = self._watched.get(nodeid)
            if watched is None or watched.link is not peer.link:
                watched = self._watched[nodeid] = _Watched(peer.link)
            if peer.last_pong_at == watched.pong_at:
                continue
            watched.pong_at = peer.last_pong_at
            info = peer.link.tcp_info()
            if info is None:
                continue
            if watched.samples is None:
                watched.samples = Samples(info)
                if begins_with_loss(info):
                    self.suspect(nodeid, seen=True)
                continue
            sample = watched.samples.add(info)
            if sample is not None:
                self._add(nodeid, [sample])

    def train(self, report: Report) -> None:
        """Take what a train has seen."""
        if not report.infos:
            return
        samples = Samples(report.infos[0])
        found = [samples.add(info) for info in report.infos[1:]]
        self._add(report.nodeid, [sample for sample in found if sample is not None])

    def suspect(self, nodeid: str, seen: bool = False) -> None:
        """Note that something looks wrong; ``seen`` if a packet was lost, and nobody knows which way."""
        with self._lock:
            meter = self._meter_locked(nodeid)
            meter.uncalm, meter.seen = CALM, meter.seen or seen

    def looks_wrong(self, nodeid: str) -> bool:
        """True if it should be looked at more closely."""
        with self._lock:
            meter = self._meters.get(nodeid)
            return meter is not None and (meter.lossy or meter.uncalm > 0)

    def is_seen(self, nodeid: str) -> bool:
        """True if packets were lost lately, on the way to that node or back."""
        with self._lock:
            meter = self._meters.get(nodeid)
            return meter is not None and (meter.lossy or meter.seen)

    def about(self, nodeid: str) -> Dict[str, Any]:
        """Return the fields of a link that say how much is lost; mostly none."""
        with self._lock:
            meter = self._meters.get(nodeid)
            return {} if meter is None else meter.about()

    def counts(self) -> Dict[str, Dict[str, int]]:
        """Return how many segments were ``sent`` and ``lost``, by nodeid, since the start."""
        with self._lock:
            return {n: {"sent": meter.sent, "lost": meter.lost} for n, meter in self._meters.items()}

    def changes(self) -> int:
        """Return a number that grows whenever a loss begins or ends."""
        with self._lock:
            return self._changes

    def forget(self, nodeid: str) -> None:
        """Drop a node that has left for good."""
        with self._lock:
            self._meters.pop(nodeid, None)

    # -- inside -------------------------------------------------------------------------

    def _add(self, nodeid: str, samples: List[Sample]) -> None:
        with self._lock:
            meter = self._meter_locked(nodeid)
            was = meter.lossy
            for sample in samples:
                meter.add(sample, self._least_events)
            self._changes += meter.lossy != was

    def _meter_locked(self, nodeid: str) -> Meter:
        meter = self._meters.get(nodeid)
        if meter is None:
            meter = self._meters[nodeid] = Meter()
            if len(self._meters) > MAX_LINKS:
                self._meters.popitem(last=False)
        return meter


class _Watched:
    """The connection to one peer.  The pinger's thread only."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.pong_at: Optional[float] = None
        """When the last pong had come, as of the last look."""
        self.samples: Optional[Samples] = None
