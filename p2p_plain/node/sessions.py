"""Every open connection of a node, including those without a hello.

The peer table knows peers; this knows sockets: those that must be closed at the end, and how many
a stranger may open.
"""

from collections import OrderedDict
from threading import Lock

from ..common.address import is_loopback
from ..common.counters import Traffic
from ..common.typing import Dict, List
from .peer import GREETING, GUEST, INBOUND
from .session import Session

MAX_UNGREETED = 64
"""Inbound connections that have not said hello, and guests.  At the bound the oldest one is cut, so
that a crowd that connects and says nothing keeps nobody out."""

MAX_PER_IP = 32
"""Inbound connections from one IP address.  Loopback is exempt: many nodes may share one machine."""


class Sessions:
    """The sessions of one node.  Any thread may call any method."""

    def __init__(self) -> None:
        self._lock = Lock()
        # Guarded by _lock.  Dicts serve as sets, and an OrderedDict keeps the order of arrival.
        self._open: Dict[Session, None] = {}
        self._strangers: OrderedDict[Session, None] = OrderedDict()
        """Inbound ones that were nobody's peer when we last looked: no hello yet, or a guest."""
        self._inbound_by_ip: Dict[str, int] = {}
        self._past = Traffic()
        """The traffic of sessions that have ended."""

    def enter(self, session: Session) -> bool:
        """Note a session that is about to run; False if its address has too many."""
        evicted = None
        host = session.remote.host
        with self._lock:
            if session.direction == INBOUND:
                count = self._inbound_by_ip.get(host, 0)
                if count >= MAX_PER_IP and not is_loopback(host):
                    return False
                self._inbound_by_ip[host] = count + 1
                crowded = len(self._strangers) >= MAX_UNGREETED
                if crowded and self._prune_and_count_locked() >= MAX_UNGREETED:
                    evicted = self._strangers.popitem(last=False)[0]
                self._strangers[session] = None
            self._open[session] = None
        if evicted is not None:
            evicted.cut()
        return True

    def evict_stranger(self) -> bool:
        """Cut the connection that has been nobody's peer for longest; True if there was one."""
        with self._lock:
            if not self._prune_and_count_locked():
                return False
            evicted = self._strangers.popitem(last=False)[0]
        evicted.cut()
        return True

    def leave(self, session: Session) -> None:
        """Forget a session whose socket is closed."""
        host = session.remote.host
        with self._lock:
            del self._open[session]
            self._past.add(session.traffic)
            self._strangers.pop(session, None)
            if session.direction == INBOUND:
                self._inbound_by_ip[host] -= 1
                if not self._inbound_by_ip[host]:
                    del self._inbound_by_ip[host]

    def all(self) -> List[Session]:
        """Return the sessions that are open now."""
        with self._lock:
            return list(self._open)

    def traffic(self) -> Traffic:
        """Return the traffic of all sessions since the start."""
        found = Traffic()
        with self._lock:
            for session in self._open:
                found.add(session.traffic)
            found.add(self._past)
        return found

    def tick(self, now: float) -> None:
        """Call ``Session.tick`` of each.  The pinger's thread."""
        for session in self.all():
            session.tick(now)

    def _prune_and_count_locked(self) -> int:
        """Return how many strangers there are, without those that have become peers."""
        for known in [s for s in self._strangers if s.state not in (GREETING, GUEST)]:
            del self._strangers[known]
        return len(self._strangers)
