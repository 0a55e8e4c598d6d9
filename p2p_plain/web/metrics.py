"""The node in the words of Prometheus: ``/metrics``.

A *scraper* asks every few seconds and keeps the answers as time series, one for each name with its
labels.  The text is the exposition format 0.0.4::

    # HELP p2p_plain_peers Connected peers, by which end dialed.
    # TYPE p2p_plain_peers gauge
    p2p_plain_peers{direction="inbound"} 3
    p2p_plain_peers{direction="outbound"} 2

Names follow the conventions of Prometheus: base units (seconds, bytes), ``_total`` on counters.
Nothing is remembered here, so the series of a forgotten node end.

A peer's label is its name, never its nodeid: each restart makes a new nodeid, and so would begin new
series without end.  Peers that share a name get their addresses as well: ``web (192.0.2.7)``.

Pure functions except ``process``, which asks the system.  Any thread.
"""

import os
import platform

from .. import __version__
from ..common.outcomes import FAILURES, OK, UNKNOWN
from ..common.typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple
from ..monitor.labels import alike
from ..monitor.judge import Judgement
from ..monitor.row_messages import Link, Links, is_connected

Sample = Tuple[Dict[str, str], Optional[float]]
"""Labels and a value; without a value it is left out."""

INBOUND_FAILURES = ("closed", "full", "network", "protocol", "timeout")
"""Usual reasons for which an inbound connection becomes no peer."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(
    seen: Judgement, counters: Mapping[str, Any], system: Mapping[str, float]
) -> bytes:
    """Return the whole text.

    ``seen`` is what the node knows of the network, ``counters`` comes from ``Node.counters`` and
    ``system`` from ``process``.
    """
    summary = seen.summary
    text = _Text()
    gauge = text.gauge
    version = {"python": platform.python_version(), "version": __version__}
    gauge("build_info", "1; the labels name the version of the program.", (version, 1))
    gauge("uptime_seconds", "How long the node has been running.", ({}, counters["uptime_seconds"]))
    help = "How late the node itself runs; a late node's measurements say little about others."
    gauge("self_lag_seconds", help, ({}, counters["lag_seconds"]))
    _peers(text, seen.rows[0])
    _losses(text, seen.rows[0], counters["lost"])
    _segments(text, seen.rows[0], counters["segments"])
    _large_packets(text, seen.rows[0], counters["large_packets"])
    _round_trips(text, counters["pings"])
    help = "1 if all is well, as the verdicts say; 0 if anything is broken, or unknown for too long."
    gauge("network_ok", help, ({}, int(seen.ok)))
    gauge("nodes", "Nodes of the network that have not left it.", ({}, summary.nodes))
    gauge(
        "directions",
        "Pairs of nodes, by whether the first can dial the second, judged from all rows.",
        *(({"state": state}, getattr(summary, state)) for state in ("down", "unknown", "up"))
    )
    _traffic(text, counters)
    for name in sorted(system):
        kind = "counter" if name.endswith("_total") else "gauge"
        text.family(name, kind, _PROCESS[name], [({}, system[name])])
    return text.encode()


def peer_labels(links: Iterable[Link]) -> Dict[str, str]:
    """Return a label for each node of a row, by nodeid; no two are the same.

    Nodes that share a name get their host as well.  Those that share the host too get their port, and
    those that share everything get a number.
    """
    known = {link["nodeid"]: link for link in links}
    plain = {
        nodeid: str(link.get("name") or link.get("address") or "unnamed")
        for nodeid, link in known.items()
    }
    address = {
        nodeid: str(link.get("address") or "address unknown") for nodeid, link in known.items()
    }
    label = dict(plain)
    for distinct in ({nodeid: _host(address[nodeid]) for nodeid in address}, address):
        for nodeids in alike(label):
            for nodeid in nodeids:
                label[nodeid] = "%s (%s)" % (plain[nodeid], distinct[nodeid])
    taken = set(label.values())
    for nodeids in alike(label):
        for nodeid in nodeids[1:]:
            number = 2
            while "%s #%d" % (label[nodeid], number) in taken:
                number += 1
            label[nodeid] += " #%d" % number
            taken.add(label[nodeid])
    return label


def process() -> Dict[str, float]:
    """Return what the system knows of this process, under the names of Prometheus' own libraries.

    CPU time everywhere; memory, threads, descriptors and the start only where there is ``/proc``.
    """
    times = os.times()
    found = {"process_cpu_seconds_total": times.user + times.system}
    try:
        with open("/proc/self/stat", "rb") as file:
            # proc(5): "pid (name) state ...".  A name may hold spaces and brackets, so fields are
            # counted from the last bracket: fields[0] is the third one of the manual.
            fields = file.read().rpartition(b")")[2].split()
        with open("/proc/stat", "rb") as file:
            booted = [line for line in file if line.startswith(b"btime ")]
        found["process_virtual_memory_bytes"] = float(fields[20])
        found["process_resident_memory_bytes"] = float(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        found["process_threads"] = float(fields[17])
        if booted:
            ticks = float(fields[19]) / os.sysconf("SC_CLK_TCK")
            found["process_start_time_seconds"] = float(booted[0].split()[1]) + ticks
        # Without the descriptor with which the folder itself is read.
        found["process_open_fds"] = float(len(os.listdir("/proc/self/fd")) - 1)
    except (OSError, ValueError, IndexError, AttributeError):
        pass  # no /proc, or no descriptor left
    return found


# -- the families, in the order of the text --------------------------------------------------


def _peers(text: "_Text", row: Links) -> None:
    directions = [link.get("direction", "none") for link in row.links]
    text.gauge(
        "peers",
        "Connected peers, by which end dialed.",
        *(({"direction": way}, directions.count(way)) for way in ("inbound", "outbound"))
    )
    label = peer_labels(row.links)
    links = sorted(row.links, key=lambda link: label[link["nodeid"]])
    families: Tuple[Tuple[str, str, Callable[[Link], Optional[float]]], ...] = (
        ("peer_up", "1 if the peer is connected, 0 if not.", is_connected),
        (
            "ping_last_seconds",
            "The last round trip on the connection.",
            lambda link: _seconds(link.get("rtt_ms")) if is_connected(link) else None,
        ),
        (
            "dial_up",
            "1 if the last dial succeeded, 0 if not, even while a connection stands.",
            lambda link: None if link.get("dial", UNKNOWN) == UNKNOWN else link["dial"] == OK,
        ),
        (
            "dial_last_seconds",
            "How long the last TCP connect took.",
            lambda link: _seconds(link.get("dial_ms")) if link.get("dial") == OK else None,
        ),
    )
    for name, help, value_of in families:
        values = [({"peer": label[link["nodeid"]]}, value_of(link)) for link in links]
        text.gauge(name, help, *values)


def _losses(text: "_Text", row: Links, lost: Mapping[str, Mapping[str, int]]) -> None:
    label = peer_labels(row.links)
    samples: List[Sample] = []
    for nodeid in sorted(label, key=lambda nodeid: label[nodeid]):
        # Zeros too: a series that begins with the first loss shows no increase.
        counts = {"closed": 0, "timeout": 0, **lost.get(nodeid, {})}
        for reason in sorted(counts):
            samples.append(({"peer": label[nodeid], "reason": reason}, counts[reason]))
    help = "Connections to the peer that broke; goodbyes do not count."
    text.counter("connections_lost_total", help, *samples)


def _segments(text: "_Text", row: Links, counts: Mapping[str, Mapping[str, int]]) -> None:
    label = peer_labels(row.links)
    known = sorted((label[nodeid], nodeid) for nodeid in counts if nodeid in label)
    for what, help in (
        ("sent", "TCP segments with data sent to the peer, those sent again included."),
        ("lost", "TCP segments lost on the way to the peer."),
    ):
        samples = (({"peer": name}, counts[nodeid][what]) for name, nodeid in known)
        text.counter("segments_%s_total" % what, help, *samples)


def _large_packets(text: "_Text", row: Links, passing: Mapping[str, bool]) -> None:
    label = peer_labels(row.links)
    known = sorted((label[nodeid], nodeid) for nodeid in passing if nodeid in label)
    samples = (({"peer": name}, int(passing[nodeid])) for name, nodeid in known)
    text.gauge("peer_large_packets_ok", "1 if large packets reached the peer, 0 if they were lost.", *samples)


def _round_trips(text: "_Text", pings: Mapping[str, Any]) -> None:
    name = "p2p_plain_ping_duration_seconds"
    text.family(name, "histogram", "Round trips of pings to all peers.", [])
    for bound, count in pings["buckets"]:
        text.sample(name + "_bucket", {"le": _number(bound)}, count)
    text.sample(name + "_bucket", {"le": "+Inf"}, pings["count"])
    text.sample(name + "_sum", {}, pings["sum"])
    text.sample(name + "_count", {}, pings["count"])


def _traffic(text: "_Text", counters: Mapping[str, Any]) -> None:
    # Failures that count zero, too: a series that begins with the first failure shows no increase.
    failures = dict.fromkeys(FAILURES, 0)
    failures.update(counters["dial_failures"])
    by_reason = (({"reason": reason}, failures[reason]) for reason in sorted(failures))
    text.counter("dial_failures_total", "Failed dials, by reason.", *by_reason)
    inbound = dict.fromkeys(INBOUND_FAILURES, 0)
    inbound.update(counters["inbound_failures"])
    by_reason = (({"reason": reason}, inbound[reason]) for reason in sorted(inbound))
    help = "Inbound connections that became no peer, by reason."
    text.counter("inbound_failures_total", help, *by_reason)
    dropped = dict({"own": 0, "forwarded": 0}, **counters["dropped"])
    by_origin = (({"origin": origin}, number) for origin, number in sorted(dropped.items()))
    help = "Broadcasts that a peer was not sent, as it could not have read them in time."
    text.counter("broadcasts_dropped_total", help, *by_origin)
    help = "How often two programs claimed to be one node."
    text.counter("nodeid_conflicts_total", help, ({}, counters["conflicts"]))
    by_type = (
        ({"direction": direction, "msgtype": msgtype}, number)
        for (direction, msgtype), number in sorted(counters["messages"].items())
    )
    text.counter("messages_total", "Messages received and sent, by type.", *by_type)
    by_way = (({"direction": way}, number) for way, number in sorted(counters["bytes"].items()))
    text.counter("bytes_total", "Bytes received and sent.", *by_way)


_PROCESS = {
    "process_cpu_seconds_total": "CPU time that this process has used.",
    "process_virtual_memory_bytes": "Address space of this process.",
    "process_resident_memory_bytes": "Physical memory of this process.",
    "process_threads": "Threads of this process.",
    "process_start_time_seconds": "When this process started, in Unix time.",
    "process_open_fds": "Open descriptors of this process.",
}


# -- the format ------------------------------------------------------------------------------


class _Text:
    """The text, line by line."""

    def __init__(self) -> None:
        self._lines: List[str] = []

    def gauge(self, name: str, help: str, *samples: Sample) -> None:
        self.family("p2p_plain_" + name, "gauge", help, samples)

    def counter(self, name: str, help: str, *samples: Sample) -> None:
        self.family("p2p_plain_" + name, "counter", help, samples)

    def family(self, name: str, kind: str, help: str, samples: Iterable[Sample]) -> None:
        self._lines.append("# HELP %s %s" % (name, help))
        self._lines.append("# TYPE %s %s" % (name, kind))
        for labels, value in samples:
            if value is not None:
                self.sample(name, labels, value)

    def sample(self, name: str, labels: Dict[str, str], value: float) -> None:
        """Add a sample of the last family."""
        shown = ",".join('%s="%s"' % (key, _escaped(text)) for key, text in labels.items())
        self._lines.append("%s%s %s" % (name, "{%s}" % shown if shown else "", _number(value)))

    def encode(self) -> bytes:
        # Labels are UTF-8, in which the lone surrogates that a Python string can hold do not exist.
        return ("\n".join(self._lines) + "\n").encode("utf-8", "replace")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    """Return the shortest exact form: ``3``, ``0.00025``, ``1.5e-07``."""
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
