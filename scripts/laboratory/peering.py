"""Compares the peers that nodes report with the peers that the network allows.

The caller holds the journal's lock.
"""

from typing import Dict, List, Tuple

from .network import Host
from .node import Node

Pairs = List[Tuple[str, str]]
"""Names of two hosts each: the node on the first has a problem with the second."""


def missing(hosts: Dict[str, Host]) -> Pairs:
    """Return the pairs that the network lets meet, and whose first is not a peer of the second."""
    awake = _awake(hosts)
    return [
        (one.name, other.name)
        for one, node in awake
        for other, other_node in awake
        if _can_meet(one, other) and other_node.nodeid not in node.peers
    ]


def out_of_reach(hosts: Dict[str, Host]) -> Pairs:
    """Return the pairs that are peers, although no cable leads from the first to the second."""
    return [
        (one.name, up["name"])
        for one, node in _awake(hosts)
        for up in node.peers.values()
        if not one.place or one.place != hosts[up["name"]].place
    ]


def _awake(hosts: Dict[str, Host]) -> List[Tuple[Host, Node]]:
    return [(host, host.node) for host in hosts.values() if host.node is not None and host.awake]


def _can_meet(one: Host, other: Host) -> bool:
    if one is other or not one.place or one.place != other.place:
        return False
    return not (one.refuses(other) and other.refuses(one))


def in_words(verb: str, pairs: Pairs) -> str:
    """Return ``h1 misses h2, h3; h2 misses h1``."""
    by_first: Dict[str, List[str]] = {}
    for one, other in pairs:
        by_first.setdefault(one, []).append(other)
    return "; ".join("%s %s %s" % (one, verb, ", ".join(by_first[one])) for one in by_first)


def table(hosts: Dict[str, Host]) -> Dict[str, Dict[str, str]]:
    """Return the ``show`` table: by host and other host, a mark that ``show.LEGEND`` explains."""
    return {
        name: {other: _mark(host, hosts[other]) for other in hosts if other != name}
        for name, host in hosts.items()
    }


def _mark(one: Host, other: Host) -> str:
    node = one.node
    if node is None or node.ended():
        return "-"
    # By name, because a node that was started again has a new nodeid.
    directions = [up["direction"] for up in node.peers.values() if up["name"] == other.name]
    connected = "<>"[directions[-1] == "outbound"] if directions else "."
    dial = node.dials.get(other.node.nodeid, "ok") if other.node else "ok"
    return connected if dial == "ok" else connected + "x"
