"""What the node offers to those who build on it: it reports, they need not answer.

The article's node (this folder) says hello, pings, and finds other nodes.  Everything that a
monitor wants to measure beyond that hangs on these methods, which do nothing here: see
``monitor.survey``.  Messages of further types are registered with ``messages.register``.

No lock of the node is held during a call.  ``now`` is seconds of the node's clock.
"""


from ..common.address import Address
from ..common.typing import TYPE_CHECKING, Iterable, NamedTuple, Optional
from .messages import AnyMessage
from .peer import Link, Peer

if TYPE_CHECKING:
    from .overlay import Overlay


Lines = Iterable[bytes]
"""Encoded lines, each with its newline."""


class DialEnd(NamedTuple):
    """A dial or a probe has ended, well or not."""

    nodeid: str
    """The node that should have been found there."""
    address: Address
    outcome: Optional[str]
    """A word of ``common.outcomes``; ``None`` if the dial has shown nothing about the other end."""
    seconds: Optional[float]
    """The time that the TCP connect took, if there was a connection."""
    probe: bool


class Hooks:
    """Override what is wanted.  Threads: a connection's reader, unless it says otherwise."""

    unread_prefix = b"\n"
    """Lines that begin like this are offered to ``keep`` before they are parsed (by default none
    does: no line begins with a newline)."""

    def attach(self, overlay: "Overlay") -> None:
        """The rules are made, and nothing has happened yet.  The starting thread."""

    def keep(self, link: Link, line: bytes) -> bool:
        """Take a line unparsed; True if that is all that is to be done with it."""
        return False

    def received(self, link: Link, message: AnyMessage) -> Lines:
        """Return the answer to a message of a registered type.  ``link.peer`` is None for guests."""
        return ()

    def met(self, peer: Peer, now: float) -> None:
        """A peer has been let in."""

    def claimed(self, peer: Peer, address: Address, now: float) -> None:
        """A peer says that it can be dialed at ``address``; the node probes that once."""

    def moved(self, nodeid: str, now: float) -> None:
        """Another node was found at the last address of ``nodeid``, which is connected to nobody."""

    def lost(self, peer: Peer, left: bool, now: float) -> None:
        """A peer's connection is over; ``left`` if it said that it stops.  Any thread."""

    def dial_ended(self, end: DialEnd, now: float) -> None:
        """A dial or a probe has ended.  A reader's or a connector's thread."""

    def ticked(self, now: float) -> None:
        """The pinger has ticked.  The pinger's thread; must not block."""
