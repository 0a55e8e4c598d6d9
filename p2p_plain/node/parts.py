"""What the rules of one node share: ``membership``, ``discovery``, ``talk`` and ``overlay`` get it.

``node`` makes the real parts.  The tests make a network of them in one thread, with a clock, randomness
and dials of their own.
"""

from random import Random

from ..common.config import Config
from ..common.events import Events
from ..common.typing import Callable, NamedTuple
from .address_book import AddressBook
from .hooks import Hooks
from .lateness import Lateness
from .myself import Myself
from .peer import Order
from .peer_table import PeerTable


class Parts(NamedTuple):
    """Immutable; each of the objects has its own lock, or is immutable too."""

    config: Config
    myself: Myself
    table: PeerTable
    book: AddressBook
    events: Events
    dial: Callable[[Order], None]
    """Queues a dial and never blocks.  Its end is reported to the overlay: by ``receive`` and
    ``closed`` of a link, or by ``dial_failed``."""
    hooks: Hooks
    lateness: Lateness
    clock: Callable[[], float]
    """Seconds of a monotonic clock."""
    rng: Random
    tick_interval: float
    """Seconds between two ticks of the pinger."""
