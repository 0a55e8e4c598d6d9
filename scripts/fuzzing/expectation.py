"""What a conversation may and must lead to, derived from what each of its lines may lead to."""

from typing import FrozenSet, List, NamedTuple, Optional

from .grammar import ACCEPT, EITHER, LEAVE, REJECT, Line
from .wire import MAX_FIRST_LINE, MAX_LINE


class Expectation(NamedTuple):
    """What a conversation may and must lead to."""

    reasons: FrozenSet[str]  # that the node's bye may give
    must: bool  # the node must say bye
    quiet: bool  # the node may close without a bye, because we may have said ours
    pongs: Optional[int]  # exactly this many, where that is certain
    enough: int  # once so many pongs have come, the node has read all lines


def expect(lines: List[Line], hello: str) -> Expectation:
    """Return what the expectations of single lines mean for the whole conversation.

    ``hello`` is the kind of the first line (see ``Grammar.hello``) where that is a valid hello.
    """
    reasons = set()
    limit, greeted, sure, must, quiet, pongs = MAX_FIRST_LINE, False, True, False, False, 0
    for line in lines:
        expected = line.expected
        longest = max(len(piece) + 1 for piece in line.data.split(b"\n"))
        if expected in (ACCEPT, LEAVE):
            if longest > limit:
                expected = REJECT if sure or longest > MAX_LINE else EITHER
            elif expected == ACCEPT and (line.kind == "hello") == greeted:
                expected = REJECT if sure else EITHER
        if expected == REJECT:
            must = not quiet
            reasons.add("protocol")
            break
        if expected == LEAVE:
            quiet = True
            break
        if expected == EITHER:
            sure = False
            reasons.update(("protocol", "network", "self", "duplicate"))
            quiet = quiet or b"bye" in line.data
        elif line.kind == "ping":
            pongs += 1
        elif not greeted:
            if line.what in ("self", "network", "polite"):
                # A duplicate is closed after a moment, and may break a rule in it.
                first = ["duplicate", "protocol"] if line.what == "polite" else [line.what]
                return Expectation(frozenset(first), True, False, None, 0)
            if line.what not in ("plain", "probe"):
                sure = False  # an unusual hello: whose nodeid it has is not known here
                reasons.update(("duplicate", "network", "self"))
            if line.what == "plain":
                limit = MAX_LINE
        greeted = True
    return Expectation(frozenset(reasons), must, quiet, pongs if sure and not must else None, pongs)
