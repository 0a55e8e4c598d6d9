"""Every open connection of a node, including those without a hello.

The peer table knows peers.  This module knows sockets: which must be closed at the end, and how many
strangers may have open.
"""

from collections import Counter
from threading import Lock

from ..common.address import site
from ..common.counters import Traffic
from ..common.typing import Dict, List, Optional
from .outbox import Backlog
from .peer import GREETING, GUEST, INBOUND, OVER, RIVAL
from .session import Session

MAX_UNGREETED = 64
"""Inbound connections that have not said hello, guests, and those of both that were refused and linger.
At the bound one is cut: the oldest that lingers, or else the oldest of the address that has most of them.
So a crowd that connects and says nothing keeps nobody out.  If the oldest of all were cut, an address
that connects 238 times a second would keep out every node that needs 300 ms for its hello."""


class Sessions:
    """The sessions of one node.  Any thread may call any method."""

    def __init__(self) -> None:
        self.backlog = Backlog()
        """What waits to be sent on all of them; has its own lock."""
        self._lock = Lock()
        # Guarded by _lock.  Dicts serve as sets, and keep the order of arrival.
        self._open: Dict[Session, None] = {}
        self._strangers: Dict[Session, None] = {}
        """Inbound ones that were nobody's peer when we last looked: no hello yet, a guest, or refused."""
        self._past = Traffic()
        """The traffic of sessions that have ended."""

    def enter(self, session: Session) -> None:
        """Note a session that is about to run, and cut a stranger if there are too many."""
        evicted = None
        with self._lock:
            self._open[session] = None
            if session.direction == INBOUND:
                if len(self._strangers) >= MAX_UNGREETED:
                    evicted = self._take_stranger_locked(MAX_UNGREETED)
                self._strangers[session] = None
        if evicted is not None:
            evicted.cut()

    def evict_stranger(self) -> bool:
        """Cut a connection that is nobody's peer; True if there was one."""
        with self._lock:
            evicted = self._take_stranger_locked(1)
        if evicted is None:
            return False
        evicted.cut()
        return True

    def leave(self, session: Session) -> None:
        """Forget a session whose socket is closed."""
        with self._lock:
            del self._open[session]
            self._past.add(session.traffic)
            self._strangers.pop(session, None)

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

    def _take_stranger_locked(self, least: int) -> Optional[Session]:
        """Take the stranger that ``MAX_UNGREETED`` names; None if there are fewer than ``least``."""
        # Nobody who has shown the secret of a network for members is a stranger.
        strangers, states = self._strangers, (GREETING, GUEST, RIVAL, OVER)
        for known in [s for s in strangers if s.state not in states or s.first]:
            del strangers[known]
        if len(strangers) < least:
            return None
        evicted = next((s for s in strangers if s.state == OVER), None)  # it holds a thread, too
        if evicted is None:
            sites = Counter(site(stranger.remote.host) for stranger in strangers)
            most = max(sites.values())
            evicted = next(s for s in strangers if sites[site(s.remote.host)] == most)
        del strangers[evicted]
        return evicted
