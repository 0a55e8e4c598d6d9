"""Everything that can go wrong, as one tree, sorted by whose fault it is.

Three kinds, and each wants something different done about it:

* **Ours** (``UsageError``, ``CannotStart``, ``NotRunning``, ``NotConnected``, ``PeerBusy``, ``MessageTooLong``):
  whoever called us is told, in one line that says what to do.
* **Theirs** (``Refused``, and ``PeerMisbehaved`` under it): the connection is ended with a
  ``bye`` that says why; nobody else notices.
* **The network's** (``DialFailed``): nobody's fault; try again later.

``PeerLeft`` is no fault at all: the other end said ``bye``.

What a ``bye`` is, a hello or a probe: ``help wire``.
"""

from typing import Sequence


class P2PError(Exception):
    """What every error of this package is."""


# -- ours ---------------------------------------------------------------------


class UsageError(P2PError, ValueError):
    """A setting or an argument that cannot be meant.  Exit code 2."""

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__("%s: %s" % (setting, problem))
        self.setting = setting
        self.problem = problem


class CannotStart(P2PError):
    """The settings make sense, but this machine does not let us: port taken, file unreadable.

    Exit code 3.
    """


class NotRunning(P2PError, RuntimeError):
    """The node has not been started yet, or has been stopped."""


class NotConnected(P2PError, LookupError):
    """No peer with that nodeid is connected now."""


class PeerBusy(P2PError):
    """The peer reads more slowly than we write, and what waits for it has reached its bound."""


class MessageTooLong(P2PError, ValueError):
    """What the application wants to say does not fit one line of the wire."""


# -- theirs -------------------------------------------------------------------


class Refused(P2PError):
    """We end this connection, and say why.

    ``reason`` is a word of ``messages.BYE_REASONS``; ``detail`` is for people.
    ``last_words`` are encoded lines that the peer gets before the ``bye``: a full node still
    answers hello and tells whom else to ask.
    """

    def __init__(self, reason: str, detail: str = "", last_words: Sequence[bytes] = ()) -> None:
        super().__init__(detail or reason)
        self.reason = reason
        self.detail = detail
        self.last_words = last_words


class PeerMisbehaved(Refused):
    """The peer broke a rule of the wire; ``detail`` says which, for whoever wrote it."""

    def __init__(self, detail: str) -> None:
        super().__init__("protocol", detail)


class PeerLeft(P2PError):
    """The peer said ``bye``; ``reason`` is its word."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason
        self.detail = detail


# -- the network's ------------------------------------------------------------


class DialFailed(P2PError):
    """Nothing useful answered at an address.

    ``outcome`` is a word of ``outcomes``, or ``self``: the name leads nowhere but to this node.
    """

    def __init__(self, outcome: str, detail: str = "") -> None:
        super().__init__(detail or outcome)
        self.outcome = outcome
        self.detail = detail


def why(error: BaseException) -> str:
    """What went wrong in the system's own words, without its numbers."""
    return getattr(error, "strerror", None) or str(error)
