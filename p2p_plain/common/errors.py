"""Every error of this package, sorted by whose fault it is.

* **Ours** (``UsageError``, ``CannotStart``, ``NotRunning``, ``NotConnected``, ``PeerBusy``,
  ``MessageTooLong``): the caller gets it, in one line that says what to do.
* **Theirs** (``Refused``, and ``PeerMisbehaved`` and ``Unauthorised`` under it): the session sends the
  peer a ``bye`` that says why, and ends that connection.  Nothing else is affected.
* **The network's** (``DialFailed``): nobody's fault; the address is tried again later.

``PeerLeft`` is no fault at all: the other end said ``bye``.
"""

from .typing import Sequence


class P2PError(Exception):
    """The base class of all errors of this package."""


# -- ours ---------------------------------------------------------------------


class UsageError(P2PError, ValueError):
    """A setting or an argument makes no sense.  Exit code 2."""

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__("%s: %s" % (setting, problem))
        self.setting = setting
        self.problem = problem


class CannotStart(P2PError):
    """The settings make sense, but not on this machine: a port is taken, a file unreadable.

    Exit code 3.
    """


class NotRunning(P2PError, RuntimeError):
    """The node has not been started yet, or has been stopped."""


class NotConnected(P2PError, LookupError):
    """No peer with that nodeid is connected now."""


class PeerBusy(P2PError):
    """The peer, or every peer, reads more slowly than we write; a moment later it may have room."""


class MessageTooLong(P2PError, ValueError):
    """The application's message does not fit one line of the wire."""


# -- theirs -------------------------------------------------------------------


class Refused(P2PError):
    """We end this connection and say why.

    ``reason`` is one of ``messages.BYE_REASONS``; ``detail`` is for people.  ``last_words`` are
    encoded lines that go out before the ``bye``: a node without room still answers hello, and names other
    nodes.
    """

    def __init__(self, reason: str, detail: str = "", last_words: Sequence[bytes] = ()) -> None:
        super().__init__(detail or reason)
        self.reason = reason
        self.detail = detail
        self.last_words = last_words


class PeerMisbehaved(Refused):
    """The peer broke a rule of the wire; ``detail`` says which, for the author of that program."""

    def __init__(self, detail: str) -> None:
        super().__init__("protocol", detail)


class Unauthorised(Refused):
    """The other end has not shown that it has our network's key.

    ``why`` is a key of ``outcomes.WHYS``; ``detail`` is for our own log and never goes out.
    """

    def __init__(self, why: str, detail: str) -> None:
        super().__init__("unauthorised", detail)
        self.why = why


class PeerLeft(P2PError):
    """The peer said ``bye``; ``reason`` and ``detail`` are its own words."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason
        self.detail = detail


# -- the network's ------------------------------------------------------------


class DialFailed(P2PError):
    """A dial led to no node.

    ``outcome`` is one of ``outcomes``, or ``self``: the address leads to this very node.  ``why`` is
    a key of ``outcomes.WHYS`` where more is known, else empty.
    """

    def __init__(self, outcome: str, detail: str = "", why: str = "") -> None:
        super().__init__(detail or outcome)
        self.outcome = outcome
        self.detail = detail
        self.why = why


def why(error: BaseException) -> str:
    """Return the operating system's own words for ``error``, without its number."""
    return getattr(error, "strerror", None) or str(error)
