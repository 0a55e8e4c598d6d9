"""The connections that one node has lost: how often, how regularly, and which ones it keeps busy.

A pair of nodes whose connection breaks again and again looks well most of the time, because each
loss is followed by a new connection.  So the losses of the last ten minutes are remembered, and the
node's row gives their number.  Three make the pair *unstable*.

Losses that are *alike* have a cause that can be named.  They are those after which the other node
could be dialed again at once: neither it nor the network was down.

* If each of three connections ended in a long silence, something on the way forgets idle
  connections: a NAT or a firewall.  Then the node *keeps the next ones busy*: it pings that peer
  three times as often.  If they end in silences even so, it divides by three again.
* If three connections lasted equally long, and had survived silences or did not end in one,
  something limits how long a connection may last.  No ping helps.

A goodbye is no loss, and neither is the end of a tie.  A node that stood still, or runs late, does
not count what it loses: the others may have dropped it for that.

``survey`` reports what happened; ``stability`` judges what the rows say.  No sockets, threads or
clock.  Any thread may call any method.
"""

from collections import Counter, OrderedDict, deque
from threading import Lock

from ..common.outcomes import OK
from ..common.typing import Any, Deque, Dict, NamedTuple, Optional, Sequence
from ..node.peer import Peer
from .row_messages import MAX_LINKS

LATELY = 600.0
"""Seconds for which a loss counts."""

UNSTABLE_FROM = 3
"""Losses in that time that make a pair unstable.  A restarted switch or a pulled cable makes one or two."""

SHAKY_FROM = 2
"""Losses from which on a row gives their number: where one pair is unstable, the shaky ones beside it
show what they have in common."""

MOST_COUNTED = 30
"""Losses remembered of each node: one every 20 s."""

ALIKE = 3
"""Losses in a row that must be alike."""

EQUAL = 0.15
EQUAL_SECONDS = 0.5
"""Connections lasted equally long if they differ by at most this part of the longest one, or by so many
seconds."""

FIRST_SILENCE = 1.5
GREETING_SECONDS = 2.0
"""A connection that lasted more than so many ping intervals, after the seconds in which each one is busy
(hello, two pings, a row), has survived a silence."""

BUSIER = 3
"""A connection is kept busy at a third of the silence that was too long for it."""

BUSIEST = 1.0
"""Least seconds between two pings that keep a connection busy."""

LOST_SYN = 0.9
"""Seconds from which on a TCP connect shows that its first packet was lost: that is sent again after
one second (RFC 6298)."""

NOT_LOST = frozenset(("stopping", "duplicate"))
"""Reasons of a ``bye`` that is no loss."""


class Loss(NamedTuple):
    """One connection that was lost."""

    at: float
    reason: str
    lasted: float
    """Seconds from its hello to its end, or to the ping that was not answered."""
    quiet: float
    """Seconds before that in which nothing was heard."""
    silent: bool
    """True if that was a long silence."""
    survivor: bool
    """True if it was not the first long one."""


class Pattern(NamedTuple):
    """What losses have in common."""

    every: float
    """Seconds that the connections lasted."""
    quiet: Optional[float]
    """Seconds in which nothing was heard before each end; ``None`` if silence is not the reason."""


class Losses:
    """The lost connections of one node, by the nodeid at the other end."""

    def __init__(self, ping_interval: float, ping_timeout: float, now: float) -> None:
        self._ping_interval, self._ping_timeout = ping_interval, ping_timeout
        self._lock = Lock()
        # Guarded by _lock.  A leaf: nothing else is called while it is held.
        self._nodes: "OrderedDict[str, _Node]" = OrderedDict()
        """As many as a row has links; the one that lost a connection last is the last."""
        self._ticked_at = now
        self._excused_until = float("-inf")
        """Others may have dropped us until then, because we stood still."""

    def ticked(self, now: float) -> None:
        """Note that this node runs: five times a second, or it stands still."""
        with self._lock:
            self._excuse_locked(now)
            self._ticked_at = now

    def lost(self, peer: Peer, reason: str, late: bool, now: float) -> Optional[Pattern]:
        """Count the loss of a connection; ``late`` says that this node itself runs late.

        Return what the last losses have in common if the peer is to be pinged more often from now on.
        """
        if reason in NOT_LOST or late or peer.last_pong_at is None:
            return None
        with self._lock:
            self._excuse_locked(now)
            if now < self._excused_until:
                return None
            node = self._nodes.pop(peer.nodeid, None) or _Node(self._ping_interval)
            self._nodes[peer.nodeid] = node
            if len(self._nodes) > MAX_LINKS:
                self._nodes.popitem(last=False)
            loss = self._loss(peer, reason, node.pace, now)
            node.counts[reason] += 1
            node.losses.append(loss)
            node.alike.append(loss)
            node.pattern = pattern = pattern_of(node.alike)
            if pattern is None or pattern.quiet is None:
                return None
            pace = max(BUSIEST, pattern.quiet / BUSIER)
            if pace >= node.pace:
                return None
            node.pace = pace
            node.alike.clear()  # they say nothing about busier connections
            return pattern

    def dialed(self, nodeid: str, outcome: str, seconds: Optional[float]) -> None:
        """Note the end of a dial or a probe.

        If it failed, or a packet of it was lost, the node or the network was down.
        """
        if outcome != OK or (seconds is not None and seconds > LOST_SYN):
            with self._lock:
                node = self._nodes.get(nodeid)
                if node is not None:
                    node.alike.clear()

    def pace(self, nodeid: str) -> Optional[float]:
        """Return the seconds between two pings that keep a peer busy; ``None`` if it is not."""
        with self._lock:
            node = self._nodes.get(nodeid)
            return node.pace if node is not None and node.pace < self._ping_interval else None

    def explained(self, nodeid: str) -> None:
        """Do not hold losses against a node any more that had a cause of their own.  They stay counted."""
        with self._lock:
            node = self._nodes.get(nodeid)
            if node is not None:
                node.losses.clear()
                node.alike.clear()
                node.pattern = None

    def forget(self, nodeid: str) -> None:
        """Drop a node that has left for good."""
        with self._lock:
            self._nodes.pop(nodeid, None)

    def about(self, nodeid: str, now: float) -> Dict[str, Any]:
        """Return the fields of a link that say how often it was lost; mostly none."""
        with self._lock:
            node = self._nodes.get(nodeid)
            if node is None:
                return {}
            lately = [loss for loss in node.losses if now - loss.at <= LATELY]
            pace, pattern = node.pace, node.pattern
        found: Dict[str, Any] = {}
        if len(lately) >= SHAKY_FROM:
            ((why, _),) = Counter(loss.reason for loss in lately).most_common(1)
            found.update(lost=len(lately), lost_why=why)
            if pattern is not None:
                found["lost_every_s"] = round(pattern.every, 1)
                if pattern.quiet is not None:
                    found["lost_quiet_s"] = round(pattern.quiet, 1)
        if pace < self._ping_interval:
            found["busy_s"] = round(pace, 1)
        return found

    def counts(self) -> Dict[str, Dict[str, int]]:
        """Return how many connections were lost: by nodeid, then by reason."""
        with self._lock:
            return {nodeid: dict(node.counts) for nodeid, node in self._nodes.items()}

    # -- inside -------------------------------------------------------------------------

    def _excuse_locked(self, now: float) -> None:
        """Note that we stood still for so long that others may have dropped us.

        What that did to a connection may show only when its next ping is not answered.
        """
        if now - self._ticked_at > self._ping_timeout / 2:
            self._excused_until = now + self._ping_interval + self._ping_timeout

    def _loss(self, peer: Peer, reason: str, pace: float, now: float) -> Loss:
        # The ping that was not answered went out a timeout ago.
        end = now - self._ping_timeout if reason == "timeout" else now
        quiet = max(0.0, end - max(peer.link.heard_at, peer.greeted_at))
        lasted = max(0.0, end - peer.greeted_at)
        survivor = lasted > FIRST_SILENCE * pace + GREETING_SECONDS
        silent = quiet >= max(min(pace, lasted) / 2, GREETING_SECONDS)
        return Loss(now, reason, lasted, quiet, silent, survivor)


class _Node:
    """What is remembered of one node.  Under the lock of ``Losses``."""

    def __init__(self, pace: float) -> None:
        self.losses: Deque[Loss] = deque(maxlen=MOST_COUNTED)
        self.alike: Deque[Loss] = deque(maxlen=ALIKE)
        """The last ones of those, while nothing speaks against a cause of their own."""
        self.pattern: Optional[Pattern] = None
        self.counts: "Counter[str]" = Counter()
        """By reason, since the first one."""
        self.pace = pace
        """Seconds from one ping to the next."""


def pattern_of(losses: Sequence[Loss]) -> Optional[Pattern]:
    """Return what the losses have in common; ``None`` if nothing, or if they are too few."""
    if len(losses) < ALIKE:
        return None
    lasted = sorted(loss.lasted for loss in losses)
    usual, usual_quiet = lasted[ALIKE // 2], sorted(loss.quiet for loss in losses)[ALIKE // 2]
    silent = all(loss.silent for loss in losses)
    equal = lasted[-1] - lasted[0] <= max(EQUAL * lasted[-1], EQUAL_SECONDS)
    if equal and (not silent or all(loss.survivor for loss in losses)):
        return Pattern(usual, None)
    return Pattern(usual, usual_quiet) if silent else None
