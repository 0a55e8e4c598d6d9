"""Messages of applications: said once, and forwarded once to everyone.

A message to all is a flood.  Each node that has not seen its id yet reports it and forwards it to
its other peers, byte for byte, so it reaches every node however many ways lead there.

``overlay`` calls this.  No sockets and no threads.  Any thread may call any method.
"""

from collections import OrderedDict, deque
from random import Random
from threading import Lock

from ..common.errors import NotConnected, PeerBusy
from ..common.events import Events
from . import messages
from .messages import Message
from .peer import Link, Peer
from .peer_table import PeerTable

TYPE_CHECKING = False

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Deque

MAX_SEEN = 10000
"""Ids of messages remembered, so that a flooded message is forwarded once and stops."""

UNSENT_BROADCASTS = 100
"""Broadcasts kept while there is no peer yet.  A program that starts a node and speaks at once is
heard by the first peers, but cannot pile up messages without end."""


class Talk:
    """The messages of one node's applications."""

    def __init__(self, nodeid: str, table: PeerTable, events: Events, rng: Random) -> None:
        # Immutable.
        self._nodeid = nodeid
        self._table = table
        self._events = events
        self._rng = rng
        self._lock = Lock()
        # Guarded by _lock.  A leaf: nothing else is called while it is held.
        self._seen: OrderedDict[str, None] = OrderedDict()
        """Ids of messages, the oldest first (a dict serves as a set that remembers order)."""
        self._unsent: Deque[bytes] = deque(maxlen=UNSENT_BROADCASTS)

    def send(self, nodeid: str, body: "Any") -> str:
        """Say ``body`` to one connected peer; return the message's id.

        Raises ``NotConnected``, ``PeerBusy``, ``MessageTooLong``; ``TypeError`` or ``ValueError``
        for a body that JSON cannot say.
        """
        id = messages.new_uuid(self._rng)
        line = messages.encode_message(id, self._nodeid, body, to=nodeid)
        peer = self._table.get(nodeid)
        if peer is None:
            raise NotConnected("no peer %s is connected" % nodeid)
        if not peer.link.send(line):
            raise PeerBusy("%s does not read what it was sent before" % (peer.address,))
        return id

    def broadcast(self, body: "Any") -> str:
        """Say ``body`` to everyone; return the message's id.  A peer that is too slow misses it.

        Without any peer it is kept, and said to the first one.  Raises ``MessageTooLong``;
        ``TypeError`` or ``ValueError`` for a body that JSON cannot say.
        """
        id = messages.new_uuid(self._rng)
        line = messages.encode_message(id, self._nodeid, body)
        self._is_new(id)  # noted as seen: it may come back to us
        peers = self._table.up()
        for peer in peers:
            peer.link.send(line)
        if not peers:
            with self._lock:
                self._unsent.append(line)
            # A peer that came up before it was kept has found nothing to be told; look again.
            for peer in self._table.up()[:1]:
                self.welcomed(peer.link)
        return id

    def welcomed(self, link: Link) -> None:
        """Say to a new peer what was broadcast while there was none."""
        with self._lock:
            lines = list(self._unsent)
            self._unsent.clear()
        for line in lines:
            link.send(line)

    def unsent(self) -> int:
        """Return how many broadcasts wait for a first peer."""
        with self._lock:
            return len(self._unsent)

    def heard(self, peer: Peer, message: Message) -> None:
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
                if other.nodeid not in (peer.nodeid, message.author):
                    other.link.send(message.line)

    def _is_new(self, id: str) -> bool:
        with self._lock:
            if id in self._seen:
                return False
            self._seen[id] = None
            if len(self._seen) > MAX_SEEN:
                self._seen.popitem(last=False)
            return True
