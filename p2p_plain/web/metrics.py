"""What a node knows of itself and its peers, in the words of Prometheus.

A *scraper* asks for ``/metrics`` every few seconds and keeps what it is told as time series, one
for each name with its labels.  The text is the exposition format 0.0.4::

    # HELP p2p_plain_peers Peers that are connected now, by who dialed.
    # TYPE p2p_plain_peers gauge
    p2p_plain_peers{direction="inbound"} 3
    p2p_plain_peers{direction="outbound"} 2

Names follow the conventions of Prometheus: base units (seconds, bytes), ``_total`` on what only
grows.  Nothing is remembered here: a node that is forgotten is not in the next answer, and so its
series end.

A peer is called by its name, and never by its nodeid: that is a new one after each restart, and
each would begin a new series, for ever.  Where several share a name, what tells them apart is the
address (``web (192.0.2.7)``, with the port where even the host is shared): for each of them, and
only while they share it.

Called by ``status``, on the threads of its clients.  Pure functions, but for ``process``, which
asks the system about this process.
"""

import os
import platform
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple

from .. import __version__
from ..common.outcomes import FAILURES
from ..monitor.labels import alike
from ..monitor.row_messages import Links
from ..monitor.summary import Summary

Labels = Tuple[Tuple[str, str], ...]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(
    row: Links, summary: Summary, counters: Mapping[str, Any], system: Mapping[str, float]
) -> bytes:
    """Everything at once.

    ``row`` is the node's own, ``summary`` what the rows of all say together, ``counters`` what
    ``Node.counters`` gives, ``system`` what ``process`` gives.
    """
    page = _Page()
    _node(page, counters)
    _peers(page, row)
    _round_trips(page, counters["pings"])
    _mesh(page, summary)
    _traffic(page, counters)
    for name in sorted(system):
        kind = "counter" if name.endswith("_total") else "gauge"
        page.family(name, kind, _PROCESS[name])
        page.sample(name, (), system[name])
    return page.encode()


def peer_labels(links: Iterable[Mapping[str, Any]]) -> Dict[str, str]:
    """What to call each node of a row, by nodeid; no two the same."""
    known = {link["nodeid"]: link for link in links}
    plain = {
        nodeid: str(link.get("name") or link.get("address") or "unnamed")
        for nodeid, link in known.items()
    }
    label = dict(plain)
    # Each step only for those that the ones before could not tell apart.
    steps: Tuple[Callable[[str], str], ...] = (
        lambda nodeid: _host(str(known[nodeid].get("address") or "address unknown")),
        lambda nodeid: str(known[nodeid].get("address") or "address unknown"),
    )
    for step in steps:
        for nodeids in alike(label):
            for nodeid in nodeids:
                label[nodeid] = "%s (%s)" % (plain[nodeid], step(nodeid))
    taken = set(label.values())
    for nodeids in alike(label):
        for nodeid in nodeids[1:]:
            number = 2
            while "%s #%d" % (label[nodeid], number) in taken:
                number += 1
            label[nodeid] = "%s #%d" % (label[nodeid], number)
            taken.add(label[nodeid])
    return label


def process() -> Dict[str, float]:
    """What the system says of this process: names as Prometheus' own libraries have them.

    CPU time everywhere; memory, descriptors and the start only where there is ``/proc``.
    """
    times = os.times()
    found = {"process_cpu_seconds_total": times.user + times.system}
    try:
        with open("/proc/self/stat", "rb") as file:
            # proc(5): "pid (name) state ..."; a name may hold spaces and brackets.  So we count from
            # behind it: fields[0] is what the table there calls the third.
            fields = file.read().rpartition(b")")[2].split()
        with open("/proc/stat", "rb") as file:
            booted = [line for line in file if line.startswith(b"btime ")]
        found["process_virtual_memory_bytes"] = float(fields[20])
        found["process_resident_memory_bytes"] = float(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        found["process_threads"] = float(fields[17])
        if booted:
            ticks = float(fields[19]) / os.sysconf("SC_CLK_TCK")
            found["process_start_time_seconds"] = float(booted[0].split()[1]) + ticks
        # Without the one by which the folder itself is read.
        found["process_open_fds"] = float(len(os.listdir("/proc/self/fd")) - 1)
    except (OSError, ValueError, IndexError, AttributeError):
        pass  # no such system, or out of descriptors
    return found


# -- the families, in the order in which they are told --------------------------------------


def _node(page: "_Page", counters: Mapping[str, Any]) -> None:
    page.family("p2p_plain_build_info", "gauge", "1; the labels say which program this is.")
    python = (("python", platform.python_version()), ("version", __version__))
    page.sample("p2p_plain_build_info", python, 1)
    page.family("p2p_plain_uptime_seconds", "gauge", "How long the node has been running.")
    page.sample("p2p_plain_uptime_seconds", (), counters["uptime_seconds"])
    page.family(
        "p2p_plain_self_lag_seconds",
        "gauge",
        "How late the node itself runs; while it does, its measurements say little of others.",
    )
    page.sample("p2p_plain_self_lag_seconds", (), counters["lag_seconds"])


def _peers(page: "_Page", row: Links) -> None:
    directions = [link.get("direction", "none") for link in row.links]
    page.family("p2p_plain_peers", "gauge", "Peers that are connected now, by who dialed.")
    for direction in ("inbound", "outbound"):
        page.sample("p2p_plain_peers", (("direction", direction),), directions.count(direction))
    label = peer_labels(row.links)
    links = sorted(row.links, key=lambda link: label[link["nodeid"]])
    families: Tuple[Tuple[str, str, Callable[[Dict[str, Any]], Optional[float]]], ...] = (
        ("p2p_plain_peer_up", "1 if connected now, 0 if not.", _up),
        ("p2p_plain_ping_last_seconds", "The last round trip on the standing connection.", _last),
        (
            "p2p_plain_dial_up",
            "1 if the last fresh dial got there, 0 if not, also while a connection stands.",
            _dial_up,
        ),
        ("p2p_plain_dial_last_seconds", "How long the last TCP connect took.", _dial_last),
    )
    for name, help, value_of in families:
        page.family(name, "gauge", help)
        for link in links:
            value = value_of(link)
            if value is not None:
                page.sample(name, (("peer", label[link["nodeid"]]),), value)


def _up(link: Dict[str, Any]) -> Optional[float]:
    return float(link.get("direction", "none") != "none")


def _last(link: Dict[str, Any]) -> Optional[float]:
    return _seconds(link.get("rtt_ms")) if _up(link) else None


def _dial_up(link: Dict[str, Any]) -> Optional[float]:
    dial = link.get("dial", "unknown")
    return None if dial == "unknown" else float(dial == "ok")


def _dial_last(link: Dict[str, Any]) -> Optional[float]:
    return _seconds(link.get("dial_ms")) if link.get("dial") == "ok" else None


def _round_trips(page: "_Page", pings: Mapping[str, Any]) -> None:
    name = "p2p_plain_ping_duration_seconds"
    page.family(name, "histogram", "Round trips of pings to all peers.")
    for bound, count in pings["buckets"]:
        page.sample(name + "_bucket", (("le", _number(bound)),), count)
    page.sample(name + "_bucket", (("le", "+Inf"),), pings["count"])
    page.sample(name + "_sum", (), pings["sum"])
    page.sample(name + "_count", (), pings["count"])


def _mesh(page: "_Page", summary: Summary) -> None:
    page.family("p2p_plain_nodes", "gauge", "Nodes of the network that have not left it.")
    page.sample("p2p_plain_nodes", (), summary.nodes)
    page.family(
        "p2p_plain_directions",
        "gauge",
        "Pairs of nodes by whether the first can dial the second, as everyone's rows say.",
    )
    for state in ("down", "unknown", "up"):
        page.sample("p2p_plain_directions", (("state", state),), getattr(summary, state))


def _traffic(page: "_Page", counters: Mapping[str, Any]) -> None:
    page.family("p2p_plain_dial_failures_total", "counter", "Dials that failed, by reason.")
    # Those that count zero, too: a series that begins with the first failure has no rate just then.
    failures = dict.fromkeys(FAILURES, 0)
    failures.update(counters["dial_failures"])
    for reason in sorted(failures):
        page.sample("p2p_plain_dial_failures_total", (("reason", reason),), failures[reason])
    page.family("p2p_plain_messages_total", "counter", "Messages that came in and went out.")
    for direction, msgtype in sorted(counters["messages"]):
        page.sample(
            "p2p_plain_messages_total",
            (("direction", direction), ("msgtype", msgtype)),
            counters["messages"][direction, msgtype],
        )
    page.family("p2p_plain_bytes_total", "counter", "Bytes that came in and went out.")
    for direction in sorted(counters["bytes"]):
        page.sample(
            "p2p_plain_bytes_total", (("direction", direction),), counters["bytes"][direction]
        )


_PROCESS = {
    "process_cpu_seconds_total": "CPU time that this process has used.",
    "process_virtual_memory_bytes": "Address space of this process.",
    "process_resident_memory_bytes": "Memory that this process holds.",
    "process_threads": "Threads of this process.",
    "process_start_time_seconds": "When this process began, in Unix time.",
    "process_open_fds": "Descriptors that this process has open.",
}


# -- the format ------------------------------------------------------------------------------


class _Page:
    """The text, line by line.  A family's samples follow its head, as the format wants it."""

    def __init__(self) -> None:
        self._lines: List[str] = []

    def family(self, name: str, kind: str, help: str) -> None:
        self._lines.append("# HELP %s %s" % (name, help))
        self._lines.append("# TYPE %s %s" % (name, kind))

    def sample(self, name: str, labels: Labels, value: float) -> None:
        told = ",".join('%s="%s"' % (key, _escaped(text)) for key, text in labels)
        self._lines.append("%s%s %s" % (name, "{%s}" % told if told else "", _number(value)))

    def encode(self) -> bytes:
        # A label is any UTF-8; half a surrogate pair, which Python can hold, is none.
        return ("\n".join(self._lines) + "\n").encode("utf-8", "replace")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    """As short as it can be without saying less: ``3``, ``0.00025``, ``1.5e-07``."""
    if value == int(value) and abs(value) < 1e15:
        return "%d" % value
    text = "%.12f" % value
    return text.rstrip("0") if float(text) == value else repr(float(value))


def _seconds(milliseconds: Optional[float]) -> Optional[float]:
    # Rounded, or 0.3 ms would be 0.00029999999999999997 s.
    return None if milliseconds is None else round(milliseconds / 1000, 9)


def _host(address: str) -> str:
    host, colon, _ = address.rpartition(":")
    return host.strip("[]") if colon else address
