"""Compares the peers that nodes report with the peers that the network allows.

The caller holds the journal's lock.
"""

from typing import Callable, Dict

from .network import Host


def misses(hosts: Dict[str, Host]) -> str:
    """Return ``h1 misses h2, h3; h2 misses h1``, of nodes that could be peers; empty if all are."""

    def is_missed(one: Host, other: Host) -> bool:
        if not other.awake or not one.reaches(other) or (one.refuses(other) and other.refuses(one)):
            return False
        # Not by name: the peer of that name could be the node that ran there before.
        return other.node is None or one.node is None or other.node.nodeid not in one.node.peers

    return _faults("misses", hosts, is_missed)


def still_counts(hosts: Dict[str, Host]) -> str:
    """Return ``h1 still counts h4``, of peers to which no cable leads; empty if there are none."""
    return _faults(
        "still counts", hosts, lambda one, other: bool(one.peer(other)) and not one.reaches(other)
    )


def _faults(verb: str, hosts: Dict[str, Host], is_fault: Callable[[Host, Host], bool]) -> str:
    lines = []
    for one in hosts.values():
        others = [other.name for other in hosts.values() if other is not one and is_fault(one, other)]
        if one.awake and others:
            lines.append("%s %s %s" % (one.name, verb, ", ".join(others)))
    return "; ".join(lines)


def table(hosts: Dict[str, Host]) -> Dict[str, Dict[str, str]]:
    """Return the ``show`` table: by host and other host, a mark that ``show.LEGEND`` explains."""
    return {
        name: {other: _mark(host, hosts[other]) for other in hosts if other != name}
        for name, host in hosts.items()
    }


def _mark(one: Host, other: Host) -> str:
    if one.node is None or one.node.ended():
        return "-"
    peer = one.peer(other)
    connected = "<>"[peer["direction"] == "outbound"] if peer else "."
    dial = one.node.dials.get(other.node.nodeid, "ok") if other.node else "ok"
    return connected if dial == "ok" else connected + "x"
