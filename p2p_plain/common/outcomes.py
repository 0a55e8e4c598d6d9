"""The outcomes of a dial: what can become of one node's attempt to connect to another.

Rows and ``reach`` events carry the word in ``dial``, ``refused`` events in ``reason``, the metrics
as a label.  Only this module lists the words and says what they mean; whoever shows an outcome
takes one of the forms below.  No state.  Any thread.
"""

OK = "ok"  # the expected node said hello
REFUSED = "refused"
TIMEOUT = "timeout"  # nothing came back: a firewall that drops, a host that is off, a frozen node
UNREACHABLE = "unreachable"  # a router on the way, or this host, says so
RESET = "reset"
WRONG_PEER = "wrong-peer"
UNKNOWN = "unknown"  # not tried yet, or the dial showed nothing

FAILURES = (REFUSED, TIMEOUT, UNREACHABLE, RESET, WRONG_PEER)
OUTCOMES = frozenset((OK, UNKNOWN) + FAILURES)
"""Every word that a row may carry in ``dial``."""

IN_WORDS = {
    OK: "ok",
    REFUSED: "refused",
    TIMEOUT: "timed out",
    UNREACHABLE: "unreachable",
    RESET: "reset",
    WRONG_PEER: "wrong peer",
    UNKNOWN: "unknown",
}
"""The outcome in a sentence: ``a -> b timed out``."""

MEANINGS = {
    REFUSED: "the host is up, nobody listens on that port",
    TIMEOUT: "no answer",
    UNREACHABLE: "no route to the host",
    RESET: "broken off before the hello",
    WRONG_PEER: "another node lives there",
}
"""What a failure says about the other end."""

MARKS = {TIMEOUT: "!T", REFUSED: "!R", UNREACHABLE: "!U", RESET: "!X", WRONG_PEER: "!X"}
"""A failure in a cell of the matrix: two ASCII characters."""

LARGE_LOST = "large lost"
LARGE_LOST_MARK = "!M"
"""The same for a way on which dials succeed and large packets are lost; M is for MTU."""


REJECTED = "rejected"
HANGS = "hangs"
NO_NODE = "no-node"
TURNED_AWAY = "turned-away"
ECHO = "echo"
NO_PONG = "no-pong"
GONE = "gone"
FOREIGN = "foreign"
NO_KEY = "no-key"
UNKNOWN_KEY = "unknown-key"
WRONG_KEY = "wrong-key"
NOT_ACCEPTED = "not-accepted"
MEMBERS_ONLY = "members-only"

WHYS = {
    REJECTED: "rejected by a firewall, or no route",
    HANGS: "it accepts connections and says nothing",
    NO_NODE: "something else answers there",
    TURNED_AWAY: "it turns every connection away",
    ECHO: "something there sends back what it is sent",
    NO_PONG: "it does not answer pings",
    GONE: "its connection has ended, and nobody knows where to dial it",
    FOREIGN: "a node of another network answers there",
    NO_KEY: "it does not have the secret of our network",
    UNKNOWN_KEY: "it has the secret of another network",
    WRONG_KEY: "its proof of the secret is wrong",
    NOT_ACCEPTED: "it does not accept our secret",
    MEMBERS_ONLY: "its network needs a secret (--secret-file)",
}
"""What is known beyond a failure's word, where it is: a row carries the key in ``why``.  Programs of
other versions may send keys that are not here; those are ignored."""


UNAUTHORISED = frozenset((NO_KEY, UNKNOWN_KEY, WRONG_KEY, NOT_ACCEPTED, MEMBERS_ONLY))
"""Those of a connection on which one end did not accept the other as a member."""


def is_silent(failure: str, why: str = "") -> bool:
    """True if the host itself gave no answer: it may be off."""
    return failure in (TIMEOUT, UNREACHABLE) and why != HANGS


def is_vacant(failure: str, why: str = "") -> bool:
    """True if the host answered, and the node does not live at that port any more."""
    return failure == REFUSED or why in (NO_NODE, ECHO, FOREIGN)


def explain(failure: str, why: str = "") -> str:
    """``refused: the host is up, nobody listens on that port``; with a ``why`` that says more, that."""
    return "%s: %s" % (IN_WORDS[failure], WHYS.get(why, MEANINGS[failure]))
