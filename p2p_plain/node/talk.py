"""Messages of applications, to one peer or to every node.

A broadcast spreads from node to node.  Each node that has not seen its id yet reports it and forwards
it to its other peers, byte for byte, so it reaches every node however many ways lead there.

Each link has a pace for this (``pace``): what is too much for the other end is dropped and counted
here.  A program that broadcasts faster than that gets ``PeerBusy`` instead.

``overlay`` calls this.  No sockets and no threads.  Any thread may call any method.
"""

from collections import OrderedDict, deque
from threading import Condition
from time import monotonic

from ..common.errors import NotConnected, PeerBusy
from ..common.events import WARNING
from ..common.counters import Tally
from ..common.token_bucket import TokenBucket
from ..common.typing import Any, Deque
from . import messages
from .messages import AppMessage
from .pace import cost_of
from .parts import Parts
from .peer import Link, Peer

MAX_SEEN = 10000
"""Ids of messages remembered, so that a broadcast is forwarded once and stops."""

UNSENT_BROADCASTS = 100
UNSENT_BYTES = 128 * 1024
"""Broadcasts that are kept while there is no peer, and their bytes: as many as the first peer may get
at once.  A program that starts a node and speaks at once is heard, and one that speaks to nobody for
a year does not fill the memory."""

OWN_SHARE = 0.5
"""The part of ``max_rate`` that this node's own program may broadcast, and with one second's worth at
once.  It is less than ``pace.SHARE``: so all of it gets through the nodes that forward it, if nobody
else speaks."""

MAX_BEHIND = 128 * 1024
"""Bytes that may wait for a peer before broadcasts are dropped for it.  Its next ping waits behind
them; on a line of 100 KB/s that is a second."""


class Talk:
    """The messages of one node's applications."""

    def __init__(self, parts: Parts) -> None:
        # Immutable; each of the objects has its own lock.
        self._nodeid, self._rng = parts.myself.nodeid, parts.rng
        self._table, self._events, self._clock = parts.table, parts.events, parts.clock
        self.dropped = Tally()
        """Broadcasts that a peer was not sent, once for each such peer: ``own`` and ``forwarded``."""
        # A leaf: nothing else is called while it is held.  With a bell, for ``wait_until_taken``.
        self._lock = Condition()
        # Guarded by _lock.
        rate = OWN_SHARE * parts.config.max_rate
        self._own = TokenBucket(rate, rate, self._clock())
        self._seen: OrderedDict[str, None] = OrderedDict()
        """Ids of messages, the oldest first (a dict serves as a set that remembers order)."""
        self._unsent: Deque[bytes] = deque()
        """Broadcasts that no peer has taken yet, the oldest first."""
        self._leaving = 0
        """Broadcasts that a thread is giving to a new peer."""
        self._overflowed = False
        """True if some of them were dropped since the last peer came up."""

    def send(self, nodeid: str, body: Any) -> str:
        """Say ``body`` to one connected peer; return the message's id.

        Raises ``NotConnected``, ``PeerBusy``, ``MessageTooLong``; ``TypeError`` or ``ValueError``
        for a body that JSON cannot say.
        """
        # Its bytes are not paced: long bodies are for this peer alone, and MAX_UNSENT bounds them.
        id = messages.new_uuid(self._rng)
        line = messages.encode_message(id, self._nodeid, body, to=nodeid)
        peer = self._table.get(nodeid)
        if peer is None:
            raise NotConnected("no peer %s is connected" % nodeid)
        if not peer.pace.admits(self._nodeid, 1.0, self._clock()) or not peer.link.send(line):
            raise PeerBusy("%s does not read what it was sent before" % (peer.address,))
        return id

    def broadcast(self, body: Any) -> str:
        """Say ``body`` to everyone; return the message's id.  A peer that is too slow misses it.

        While there is no peer, it is kept for the next one that comes up.  Raises ``PeerBusy`` if this
        is faster than others read, and nobody was sent it; ``MessageTooLong``; ``TypeError`` or
        ``ValueError`` for a body that JSON cannot say.
        """
        id = messages.new_uuid(self._rng)
        line = messages.encode_message(id, self._nodeid, body)
        peers = self._table.up()
        if peers:
            self._spend_own(cost_of(len(line)))
        self._is_new(id)  # noted as seen: it may come back to us
        slow = 0
        taken = False
        for peer in peers:
            if not self._has_room(peer, self._nodeid, len(line)):
                slow += 1
            elif peer.link.send(line):
                taken = True
        if slow and not taken:
            raise PeerBusy("no peer has room for it now")
        for _ in range(slow):
            self.dropped.count("own")
        if not taken:
            self._keep(line)
            # A peer may have come up just before we kept the line; look again.
            for peer in self._table.up()[:1]:
                self.peer_is_up(peer.link)
        return id

    def _spend_own(self, cost: float) -> None:
        """Count ``cost`` messages of our own.  Raises ``PeerBusy`` if it is too early for them."""
        now = self._clock()
        with self._lock:
            wait = self._own.spend(0.0, now)
            if not wait:
                self._own.spend(cost, now)
        if wait:
            raise PeerBusy("more than others read, for %g s yet" % round(wait, 3))

    def _has_room(self, peer: Peer, origin: str, size: int) -> bool:
        """True if ``peer`` may be sent a broadcast of ``size`` bytes from ``origin`` now; it is counted."""
        if peer.link.behind() > MAX_BEHIND:
            return False
        return peer.pace.admits(origin, cost_of(size), self._clock())

    def _keep(self, line: bytes) -> None:
        with self._lock:
            unsent = self._unsent
            unsent.append(line)
            before = len(unsent)
            while len(unsent) > UNSENT_BROADCASTS or sum(map(len, unsent)) > UNSENT_BYTES:
                unsent.popleft()
            report = len(unsent) < before and not self._overflowed
            self._overflowed = self._overflowed or report
        if report:
            text = "no peer takes broadcasts: %d wait, and older ones are dropped"
            self._events.log(WARNING, text, before - 1)

    def peer_is_up(self, link: Link) -> None:
        """Say to a new peer what no peer has taken yet."""
        with self._lock:
            lines, self._unsent = self._unsent, deque()
            self._leaving += len(lines)
            leaving = len(lines)
        while lines and link.send(lines[0]):
            lines.popleft()
        with self._lock:
            self._unsent.extendleft(reversed(lines))
            self._leaving -= leaving
            self._overflowed = False
            self._lock.notify_all()

    def wait_until_taken(self, timeout: float) -> int:
        """Wait until peers have taken every broadcast; return how many are left after ``timeout``."""
        deadline = monotonic() + timeout
        with self._lock:
            while self._unsent or self._leaving:
                left = deadline - monotonic()
                if left <= 0:
                    break
                self._lock.wait(left)
            return len(self._unsent) + self._leaving

    def receive(self, peer: Peer, message: AppMessage) -> None:
        """Report a message that is new, and forward it if it is for everyone."""
        if not self._is_new(message.id):
            return
        if message.to in (None, self._nodeid):
            author = self._table.get(message.author)
            self._events.emit(
                "message",
                size=len(message.line),
                nodeid=peer.nodeid,
                name=peer.name,
                **{"from": message.author, "from_name": author.name if author else ""},
                body=message.body
            )
        if message.to is None:
            for other in self._table.up():
                if other.nodeid in (peer.nodeid, message.author):
                    continue
                if self._has_room(other, peer.nodeid, len(message.line)):
                    other.link.send(message.line)
                else:
                    self.dropped.count("forwarded")

    def _is_new(self, id: str) -> bool:
        with self._lock:
            if id in self._seen:
                return False
            self._seen[id] = None
            if len(self._seen) > MAX_SEEN:
                self._seen.popitem(last=False)
            return True
