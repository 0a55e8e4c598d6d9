"""What the node reports to code that is built on it, such as ``monitor.survey``.

The article's node (this folder) says hello, pings, and finds other nodes.  Everything that a
monitor wants to measure beyond that hangs on these methods, which do nothing here.  Messages of
further types are registered with ``messages.register``.

No lock of the node is held during a call, except in ``attach``.  ``now`` is seconds of the node's
clock.
"""

from ..common.address import Address
from ..common.typing import TYPE_CHECKING, Iterable, Iterator, NamedTuple, Optional
from .messages import AnyMessage
from .peer import Link, Peer, Questions

if TYPE_CHECKING:
    from .overlay import Overlay


Lines = Iterable[bytes]
"""Encoded lines, each with its newline."""


class LongAnswer:
    """Lines that may be megabytes: each is made when the other end has taken those before."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines

    def __iter__(self) -> Iterator[bytes]:
        """Return the lines, once."""
        return self._lines


class DialEnd(NamedTuple):
    """A dial or a probe has ended, well or not."""

    nodeid: str
    """The node that was found there if the dial made a peer, else the one that should have been."""
    address: Address
    outcome: Optional[str]
    """A word of ``common.outcomes``; ``None`` if the dial has shown nothing about the other end."""
    seconds: Optional[float]
    """The time that the TCP connect took, if there was a connection."""
    probe: bool
    why: str = ""
    """A key of ``outcomes.WHYS`` where more is known than the outcome."""


class Hooks:
    """Override what is wanted.  Threads: a connection's reader, unless a method says otherwise."""

    unparsed_prefix: Optional[bytes] = None
    """Lines that begin like this are offered to ``take_unparsed`` before they are parsed."""

    def attach(self, overlay: "Overlay") -> None:
        """The rules are made, and nothing has happened yet.  The starting thread."""

    def take_unparsed(self, link: Link, line: bytes) -> bool:
        """Take a line as it is; True if nothing else is to be done with it."""
        return False

    def received(self, link: Link, message: AnyMessage) -> Lines:
        """Return the answer to a message of a registered type, perhaps a ``LongAnswer``.

        ``link.peer`` is None for guests.
        """
        return ()

    def met(self, peer: Peer, now: float) -> None:
        """A peer has been let in."""

    def claimed(self, peer: Peer, address: Address, now: float) -> None:
        """A peer says that it can be dialed at ``address``; the node probes that once."""

    def moved(self, nodeid: str, now: float) -> None:
        """Another node was found at an address of ``nodeid``.

        We have no connection to that node, and know no other address of it.
        """

    def lost(self, peer: Peer, reason: str, now: float) -> None:
        """A peer's connection is over.  Any thread.

        ``reason`` is that of the ``peer_down`` event; ``stopping`` means that the peer has left.
        """

    def dial_ended(self, end: DialEnd, now: float) -> None:
        """A dial or a probe has ended.  A reader's or a connector's thread."""

    def probe_found(self, link: Link, nodeid: str, now: float) -> Optional[Questions]:
        """Return what else to ask ``nodeid``, which our probe has found; ``None`` to close at once.

        ``dial_ended`` follows at once, either way.
        """
        return None

    def mss(self, nodeid: str) -> Optional[int]:
        """Return the most bytes that a segment on a connection to ``nodeid`` may have; ``None``: any.

        Asked before each dial but probes.  Any thread.
        """
        return None

    def ticked(self, now: float) -> None:
        """The pinger has ticked.  The pinger's thread; must not block."""
