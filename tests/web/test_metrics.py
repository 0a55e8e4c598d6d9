"""The metrics, read by a parser that is stricter than that of Prometheus."""

import math
import re
import shutil
import subprocess

import pytest

from p2p_plain.monitor.judge import Judgement
from p2p_plain.monitor.row_messages import Links
from p2p_plain.web import metrics
from p2p_plain.web.metrics import peer_labels
from tests.support import new_id, wait_until
from tests.support.page_node import PageNode, full_mesh, link

NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(r"(%s)(?:\{(%s(?:,%s)*)\})? (\S+)\Z" % (NAME, LABEL, LABEL))
BASE_UNITS = ("_seconds", "_bytes")
OTHER_UNITS = re.compile("_(ms|milliseconds|us|minutes|kb|mb|kilobytes|percent)(_|$)")


def parse(text):
    """Return ``{family: (kind, {(sample name, labels): value})}``; fails at any deviation."""
    assert text.endswith("\n") and "\r" not in text
    families, helped, current = {}, set(), None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, help = re.match("# HELP (%s) (.+)" % NAME, line).groups()
            assert name not in helped and name not in families, "twice: " + line
            assert help.strip() == help and "\\" not in help
            helped.add(name)
            continue
        if line.startswith("# TYPE "):
            current, kind = re.match("# TYPE (%s) (counter|gauge|histogram)\\Z" % NAME, line).groups()
            assert current in helped and current not in families, "twice, or without help: " + line
            families[current] = (kind, {})
            continue
        found = SAMPLE.match(line)
        assert found, "not a sample: %r" % line
        name, value = found.group(1), found.group(len(found.groups()))
        kind, samples = families[current]
        endings = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        assert name in [current + ending for ending in endings], "outside its family: " + line
        labels = re.findall(LABEL, found.group(2) or "")
        assert [key for key, _ in labels] == sorted({key for key, _ in labels}), "labels: " + line
        said = ",".join('%s="%s"' % pair for pair in labels)
        assert (found.group(2) or "") == said, "more than labels: " + line
        key = (name, tuple(labels))
        assert key not in samples, "twice: " + line
        samples[key] = float(value)
        assert not math.isnan(samples[key])
    for name, (kind, samples) in families.items():
        assert (kind == "counter") == name.endswith("_total"), name
        assert not OTHER_UNITS.search(name), name
        if kind == "counter":
            assert all(value >= 0 for value in samples.values())
        if kind == "histogram":
            check_histogram(name, samples)
    return families


def check_histogram(name, samples):
    buckets = [(dict(labels)["le"], value) for (n, labels), value in samples.items() if n == name + "_bucket"]
    bounds = [float(le) for le, _ in buckets]
    assert bounds == sorted(set(bounds)) and bounds[-1] == math.inf
    counts = [value for _, value in buckets]
    assert counts == sorted(counts)
    assert samples[name + "_count", ()] == counts[-1]
    assert samples[name + "_sum", ()] >= 0


def exposition(rows, **counters):
    """Return the metrics as families and as text."""
    said = PageNode(rows).counters()
    said.update(counters)
    text = metrics.exposition(Judgement(rows, 3.0), said, metrics.process()).decode("utf-8")
    return parse(text), text


def by_peer(families, name):
    """Return the values of a family by the label ``peer``."""
    return {dict(labels)["peer"]: value for (_, labels), value in families[name][1].items()}


def test_figures_are_in_base_units():
    families, text = exposition(full_mesh(["a", "b", "c"]))
    assert by_peer(families, "p2p_plain_ping_last_seconds") == {"b": 0.0003, "c": 0.0003}
    assert 'p2p_plain_ping_last_seconds{peer="b"} 0.0003\n' in text
    assert 'p2p_plain_ping_duration_seconds_bucket{le="0.0005"} 5\n' in text
    assert 'p2p_plain_ping_duration_seconds_bucket{le="+Inf"} 7\n' in text
    assert 'p2p_plain_peers{direction="outbound"} 2\n' in text
    assert 'p2p_plain_messages_total{direction="in",msgtype="pong"} 7\n' in text
    assert 'p2p_plain_directions{state="up"} 6\n' in text


def test_a_failed_dial_is_down_even_while_a_connection_stands():
    me = new_id()
    links = (
        link(new_id(), "blocked", dial="timeout", direction="inbound"),
        link(new_id(), "gone", dial="refused", direction="none"),
        link(new_id(), "new", dial="unknown", direction="inbound"),
        link(new_id(), "fine", dial_ms=0.25),
    )
    families, _ = exposition([Links(me, links, name="me")])
    assert by_peer(families, "p2p_plain_dial_up") == {"blocked": 0, "gone": 0, "fine": 1}
    assert by_peer(families, "p2p_plain_peer_up") == {"blocked": 1, "gone": 0, "new": 1, "fine": 1}
    assert set(by_peer(families, "p2p_plain_ping_last_seconds")) == {"blocked", "new", "fine"}
    assert by_peer(families, "p2p_plain_dial_last_seconds") == {"fine": 0.00025}


def test_lost_connections_are_counted_by_peer_and_reason_from_zero_on():
    row, *_ = rows = full_mesh(["a", "b", "c"])
    nodeid = {one["name"]: one["nodeid"] for one in row.links}
    families, _ = exposition(rows, lost={nodeid["c"]: {"timeout": 4, "protocol": 1}})
    kind, samples = families["p2p_plain_connections_lost_total"]
    assert kind == "counter"
    assert {tuple(value for _, value in labels): n for (_, labels), n in samples.items()} == {
        ("b", "closed"): 0,
        ("b", "timeout"): 0,
        ("c", "closed"): 0,
        ("c", "protocol"): 1,
        ("c", "timeout"): 4,
    }


def test_segments_are_counted_by_peer_where_the_system_counts_them():
    row, *_ = rows = full_mesh(["a", "b", "c"])
    nodeid = {one["name"]: one["nodeid"] for one in row.links}
    counts = {nodeid["c"]: {"sent": 300, "lost": 60}, "forgotten": {"sent": 5, "lost": 5}}
    families, _ = exposition(rows, segments=counts)
    assert families["p2p_plain_segments_sent_total"][0] == "counter"
    assert by_peer(families, "p2p_plain_segments_sent_total") == {"c": 300}
    assert by_peer(families, "p2p_plain_segments_lost_total") == {"c": 60}


def test_the_counters_of_failures_begin_at_zero():
    families, _ = exposition(full_mesh(["a", "b"]), dial_failures={"timeout": 3, "other": 1})
    found = {dict(labels)["reason"]: n for (_, labels), n in families["p2p_plain_dial_failures_total"][1].items()}
    assert found == {
        "refused": 0, "reset": 0, "timeout": 3, "unreachable": 0, "wrong-peer": 0, "other": 1,
    }  # fmt: skip
    families, _ = exposition(full_mesh(["a", "b"]), dropped={"own": 9})
    _, samples = families["p2p_plain_broadcasts_dropped_total"]
    assert {dict(labels)["origin"]: n for (_, labels), n in samples.items()} == {
        "own": 9, "forwarded": 0,
    }  # fmt: skip
    families, _ = exposition(full_mesh(["a", "b"]), inbound_failures={"closed": 7, "other": 1})
    _, samples = families["p2p_plain_inbound_failures_total"]
    assert {dict(labels)["reason"]: n for (_, labels), n in samples.items()} == {
        "closed": 7, "full": 0, "network": 0, "protocol": 0, "timeout": 0, "other": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", ['a"b', "a\\b", "a\\n", "a\nb", 'x"} 1', "\u00e9\u4e2d", "{}", "a,b=\"c\"", "\ud800"]
)
def test_no_name_can_end_its_label(name):
    families, _ = exposition(full_mesh(["me", name]))
    (label,) = by_peer(families, "p2p_plain_peer_up")
    plain = re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m.group(1), m.group(1)), label)
    assert plain == name.replace("\ud800", "?")


def test_no_label_contains_a_nodeid():
    rows = full_mesh(["a", "b", "b", "c"])
    del rows[0].links[2]["name"]
    _, text = exposition(rows)
    for row in rows:
        assert row.nodeid not in text and row.nodeid[:8] not in text


def test_peers_that_share_a_name_have_labels_with_addresses():
    def labels(*nodes):
        known = [dict(zip(("nodeid", "name", "address"), ("%d" % i,) + node)) for i, node in enumerate(nodes)]
        found = peer_labels(known)
        assert len(set(found.values())) == len(nodes)
        return [found["%d" % i] for i in range(len(nodes))]

    assert labels(("web", "192.0.2.1:6000"), ("db", "192.0.2.2:6000")) == ["web", "db"]
    assert labels(("web", "192.0.2.1:6000"), ("web", "[2001:db8::1]:6000")) == [
        "web (192.0.2.1)",
        "web (2001:db8::1)",
    ]
    assert labels(("web", "192.0.2.1:6000"), ("web", "192.0.2.1:6001")) == [
        "web (192.0.2.1:6000)",
        "web (192.0.2.1:6001)",
    ]
    assert labels(("web",), ("web",), ("web",)) == [
        "web (address unknown)",
        "web (address unknown) #2",
        "web (address unknown) #3",
    ]
    assert labels(("web", "a:1"), ("web", "b:1"), ("web (a)", "c:1"))  # a name like such a label
    assert labels(("x",), ("x",), ("x (address unknown) #2",), ("x (address unknown)",))


def test_the_series_of_a_forgotten_node_end():
    rows = full_mesh(["a", "b", "c"])
    assert 'peer="c"' in exposition(rows)[1]
    rows[0] = rows[0]._replace(links=rows[0].links[:1])
    assert 'peer="c"' not in exposition(rows[:2])[1]


def test_the_metrics_of_real_nodes_are_valid(make_node):
    first = make_node(name="first", ping_interval=0.2)
    second = make_node(name="second", bootstrap=first, ping_interval=0.2)
    wait_until(lambda: first.counters()["pings"]["count"] and second.peers())
    rows = first.rows()
    text = metrics.exposition(Judgement(rows, 0.6), first.counters(), metrics.process())
    families = parse(text.decode("utf-8"))
    assert by_peer(families, "p2p_plain_peer_up") == {"second": 1}
    bounds = [dict(labels).get("le") for _, labels in families["p2p_plain_ping_duration_seconds"][1]]
    assert float(bounds[0]) == 50e-6
    if shutil.which("promtool"):
        subprocess.run(["promtool", "check", "metrics"], input=text, check=True)


def test_the_process_has_the_standard_metrics():
    found = metrics.process()
    assert found["process_cpu_seconds_total"] > 0
    if "process_open_fds" in found:
        assert found["process_open_fds"] >= 3
        assert found["process_resident_memory_bytes"] > 2 ** 20
        assert 1.4e9 < found["process_start_time_seconds"] < 1e10


def test_large_packets_are_ok_or_not_by_peer():
    row, *_ = rows = full_mesh(["a", "b", "c", "d"])
    nodeid = {one["name"]: one["nodeid"] for one in row.links}
    families, _ = exposition(rows, large_packets={nodeid["c"]: True, nodeid["d"]: False, "forgotten": True})
    assert by_peer(families, "p2p_plain_peer_large_packets_ok") == {"c": 1, "d": 0}
