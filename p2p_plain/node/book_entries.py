"""What the address book holds: its entries, and what the peers file keeps of them.

``address_book`` and ``peers_file`` use these.  No sockets and no threads.
"""

from ..common.address import Address
from ..common.typing import NamedTuple, Optional, Sequence


class Entry:
    """One address and what we know about it.  Guarded by the book's lock."""

    def __init__(self, address: Address, now: float) -> None:
        self.address = address
        self.bootstrap = False
        self.mine_at: Optional[float] = None
        """When it last led to this node, if it did so the last time."""
        self.left = False
        """True if its node said that it stops, or if we gave up: not dialed until it is heard of again."""
        self.gave_up_at: Optional[float] = None
        """When it had failed so often that we gave it up, if it was only heard of."""
        self.dialing = False
        self.nodeid: Optional[str] = None
        """The node found there if proven, otherwise the one said to be there."""
        self.proven_at: Optional[float] = None
        self.source: Optional[str] = None
        """The peer from which an unproven address was heard."""
        self.orphaned = False
        """True if that peer has gone while the address was being dialed."""
        self.failures = 0
        self.failing_since: Optional[float] = None
        self.begun_at = float("-inf")
        self.tried_at = float("-inf")
        """When its last dial began, and when it ended without a peer."""
        self.up_at: Optional[float] = None
        """When a dial of it became the connection that stands now, if one does."""
        self.next_try_at = now


class KeptAddress(NamedTuple):
    """A proven address in the peers file; ``age`` is the seconds since it was proven."""

    address: Address
    nodeid: str
    age: float


class HeardAddress(NamedTuple):
    """An unproven address in the peers file: its node, if known, and the peer that named it."""

    address: Address
    nodeid: Optional[str]
    source: str


class Kept(NamedTuple):
    """The content of the peers file."""

    proven: Sequence[KeptAddress] = ()
    heard: Sequence[HeardAddress] = ()
