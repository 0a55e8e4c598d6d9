"""Which nodes count: those that exist by the word of a node that we have reason to believe.

Anyone can send rows of nodes that do not exist, as many as it likes, and in each of them whatever it
likes about the nodes that do.  So a node counts only if somebody vouches for it by a standing
connection, now or earlier.  The rows of our peers come from themselves: they are *believed*, and so is
each node to which two of them are connected.  What the judging node has met itself counts anyway.

All others count by the word of one node alone: a believed one, and perhaps a chain of further ones that
begins with it.  It may be the only way to a part of the network, or it may have invented that part.
So of each such *voucher* at most ``MOST_ALONE`` nodes count, and verdicts about them come last.

A node that has been known for a few minutes only is *brief*.  It is named after those that were known
for longer.

``unmet`` asks it to see which nodes to probe, ``view`` to see which ones to judge.  No sockets,
threads or clock.  Any thread.
"""

from collections import Counter

from ..common.typing import (
    Callable, Collection, Dict, FrozenSet, Iterable, List, NamedTuple, Sequence, Set, Tuple,
)
from .row_messages import Link, Links, is_connected

MOST_ALONE = 32
"""Nodes that count by the word of one node alone: a liar can invent no more.  If a gateway is the only
way to a larger network, the rest of that network does not count."""

MOST_NODES = 512
"""Nodes that count at all: as many as there are rows (``rows.MAX_ROWS``)."""

BRIEF = 600.0
"""Seconds from which on a node that has been known is named first, and not as *brief*."""


class Belief(NamedTuple):
    """The nodes that count."""

    sure: FrozenSet[str]
    """Those that the judging node has met itself, or to which two of its peers are connected."""
    alone: Dict[str, str]
    """The others, and who vouches for each."""
    left_out: int
    """How many do not count because their voucher has vouched for too many."""

    def counts(self, nodeid: str) -> bool:
        """True if a node counts."""
        return nodeid in self.sure or nodeid in self.alone


def believed(
    peers: Collection[str], met: Iterable[str], named_by: Callable[[str], Collection[str]]
) -> Belief:
    """Return which nodes count.

    ``met`` are those that the judging node has met, itself included.  ``named_by`` returns the nodes to
    which a node is or was connected.
    """
    named = {peer: set(named_by(peer)) for peer in peers}
    votes = Counter(nodeid for others in named.values() for nodeid in others)
    sure = set(sorted(set(peers).union(met))[:MOST_NODES])
    named_by_two = sorted(nodeid for nodeid in votes.keys() - sure if votes[nodeid] > 1)
    sure.update(named_by_two[: MOST_NODES - len(sure)])
    alone: Dict[str, str] = {}
    vouched: Dict[str, int] = {}
    left_out: Set[str] = set()
    # Level by level: the nearest first.
    ahead = [(source, source) for source in sorted(sure)]
    while ahead:
        found: Dict[str, str] = {}
        for source, voucher in ahead:
            for nodeid in named[source] if source in named else named_by(source):
                if nodeid not in sure and nodeid not in alone:
                    found.setdefault(nodeid, voucher)
        ahead = []
        for nodeid, voucher in sorted(found.items()):
            vouched[voucher] = vouched.get(voucher, 0) + 1
            if vouched[voucher] <= MOST_ALONE and len(sure) + len(alone) < MOST_NODES:
                alone[nodeid] = voucher
                ahead.append((nodeid, voucher))
            else:
                left_out.add(nodeid)
    return Belief(frozenset(sure), alone, len(left_out - alone.keys()))


def counted(rows: Sequence[Links], own: Links) -> Tuple[List[Links], Belief]:
    """Return the rows and the links of the nodes that count for the node whose row is ``own``."""
    row_of = {row.nodeid: row for row in rows}

    def named_by(source: str) -> List[str]:
        row = row_of.get(source)
        return [] if row is None else [link["nodeid"] for link in row.links if _vouches(link)]

    peers = {link["nodeid"] for link in own.links if is_connected(link)}
    belief = believed(peers, [own.nodeid, *named_by(own.nodeid)], named_by)
    found = []
    for row in rows:
        if belief.counts(row.nodeid):
            links = tuple(link for link in row.links if belief.counts(link["nodeid"]))
            found.append(row if len(links) == len(row.links) else row._replace(links=links))
    return found, belief


def _vouches(link: Link) -> bool:
    """True if the author of a link has, or had, a connection to that node.

    Programs of the last version do not say whether they had one, and are believed.
    """
    return is_connected(link) or link.get("known_s") != 0


def brief_nodes(rows: Iterable[Links], own: Links, belief: Belief) -> Set[str]:
    """Return the nodes that have been known for less than ``BRIEF`` seconds.

    For nodes that it has met, the judging node's own figure is enough.  For others two nodes must give
    one, so that no single liar makes its inventions old.
    """
    figures: Dict[str, List[float]] = {}
    for row in rows:
        if row.nodeid in belief.sure:
            for link in row.links:
                seconds = max(link.get("up_s") or 0.0, link.get("known_s") or 0.0)
                figures.setdefault(link["nodeid"], []).append(seconds)
                if row.nodeid == own.nodeid and seconds:
                    figures[link["nodeid"]].append(seconds)
    known = {nodeid: sorted(its)[-2] for nodeid, its in figures.items() if len(its) > 1}
    return {nodeid for nodeid in figures if known.get(nodeid, 0.0) < BRIEF} - {own.nodeid}
