"""The nodes that exist and that this node has not met: those that others are connected to.

A pair of nodes that was blocked from each other before both started never meets.  If each reported
only on nodes that it has met, nobody would report that pair.  So a node dials also the nodes that it
knows of only from rows.

*A node exists* if a node that we have reason to believe (``belief``) has a connection to it.  The old
rows of dead nodes, which still name each other, do not count.

``survey`` asks.  No sockets, no threads, no clock.
"""

from ..common.address import Address, is_loopback, is_shareable, parse_wire
from ..common.outcomes import OK, UNKNOWN
from ..common.typing import (
    Callable, Dict, FrozenSet, Iterable, List, Mapping, NamedTuple, Optional, Tuple,
)
from ..node.claims import CLAIMS_A_PEER
from .belief import believed
from .row_messages import Link, Links, is_connected
from .rows import Row

MOST_NODES = 128
"""Nodes of a network, this one included, in which each dials every other one.  With 128 that is two
dials a second for each node (``probe_interval`` 60), and the longest row still fits its line."""

ROWS_ABOUT_EACH = 4
"""Rows that are asked for the addresses of one unmet node: one of them may be wrong."""

ROWS_A_LOOK = 16
"""Rows that are read in one look, at up to 4 ms each.  The next look, a second later, reads others."""


class Unmet(NamedTuple):
    """What others say of a node that exists and that we have not met."""

    nodeid: str
    name: str
    addresses: List[Address]
    """At most ``CLAIMS_A_PEER``, the most likely one first; none if it does not listen."""


def unmet_nodes(
    rows: Iterable[Row], peers: FrozenSet[str], nodeid: str, gone: Mapping[str, float]
) -> Dict[str, float]:
    """Return the nodes that exist besides ``peers`` and this one, each with when that was last said.

    None are returned if more than ``MOST_NODES`` exist.  Nodes for which one node alone vouches do not
    count there, and are left out if there would be too many with them: a few liars may have invented
    them.  ``gone`` has the nodes that have left, and when: only rows that are younger count.
    """
    known = peers | {nodeid}
    if len(known) > MOST_NODES:
        return {}
    rows = list(rows)
    if all(row.connected <= known for row in rows):  # nearly always: a whole mesh
        return {}
    row_of = {row.nodeid: row for row in rows}
    said_at: Dict[str, float] = {}

    def named_by(source: str) -> List[str]:
        row = row_of.get(source)
        if row is None:
            return []
        at = _said_at(row)
        named = [other for other in row.connected if at > gone.get(other, float("-inf"))]
        said_at.update((other, max(at, said_at.get(other, at))) for other in named)
        return named

    belief = believed(peers, known, named_by)
    found = set(belief.sure)
    if len(found) + len(belief.alone) <= MOST_NODES:
        found.update(belief.alone)
    return {other: said_at[other] for other in found - known} if len(found) <= MOST_NODES else {}


def _said_at(row: Row) -> float:
    """Return when the node of a row was last known to have the connections that we know."""
    if row.changes is not None and row.is_unchanged(row.line):
        return row.measured_at
    return min(row.measured_at, row.read_at)


def rows_about(rows: Iterable[Row], nodeids: Iterable[str]) -> List[Row]:
    """Return a few rows, the first ones, whose nodes are connected to some of ``nodeids``."""
    wanted = dict.fromkeys(nodeids, ROWS_ABOUT_EACH)
    found: List[Row] = []
    for row in rows:
        named = row.connected & wanted.keys()
        if named and len(found) < ROWS_A_LOOK:
            found.append(row)
            for nodeid in named:
                wanted[nodeid] -= 1
                if not wanted[nodeid]:
                    del wanted[nodeid]
    return found


def described(
    rows: Iterable[Links], nodeids: FrozenSet[str], is_here: Callable[[str], bool]
) -> List[Unmet]:
    """Return what ``rows`` say about those of ``nodeids`` that they name.

    ``is_here`` is true for nodes on this machine: only they can mean it by a loopback address.
    """
    names: Dict[str, str] = {}
    votes: Dict[str, Dict[Address, Tuple[int, int]]] = {}
    """By nodeid and address: how many have found it there, and how many have dialed it there."""
    for row in rows:
        here = is_here(row.nodeid)
        for link in row.links:
            nodeid = link["nodeid"]
            if nodeid not in nodeids or not is_connected(link):
                continue
            names.setdefault(nodeid, link.get("name", ""))
            places = votes.setdefault(nodeid, {})
            address = _where(link)
            if address is not None and (here or not is_loopback(address.host)):
                found, dialed = places.get(address, (0, 0))
                places[address] = (found + (link.get("dial") == OK), dialed + 1)
    return [
        Unmet(nodeid, names.get(nodeid, ""), sorted(its, key=lambda a: its[a], reverse=True)[:CLAIMS_A_PEER])
        for nodeid, its in votes.items()
    ]


def _where(link: Link) -> Optional[Address]:
    """Return the address in a link if a dial has gone there: others are ends of connections."""
    text = link.get("address")
    if text is None or (link["direction"] != "outbound" and link.get("dial", UNKNOWN) == UNKNOWN):
        return None
    address = parse_wire(text)
    return address if is_shareable(address) else None
