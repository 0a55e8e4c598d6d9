"""``ping``: what it prints and what it returns."""

import json
import os
import re
import signal
import time

import pytest

from tests.support import PATIENCE, free_port, run_program, start_program
from tests.support.asked_node import FakeNode, greeted_then, wait_for_the_end


def test_ping_prints_connection_replies_and_summary(typed, make_node):
    node = make_node(name="alpha")
    code, out, err = typed("ping", "127.0.0.1:%d" % node.port, "-c", "3", "-i", "0.01")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    where = "127.0.0.1:%d" % node.port
    assert re.match(
        r"PING 127\.0\.0\.1 \(%s\): alpha %s, connected in [\d.]+ ms$" % (where, node.nodeid[:8]),
        lines[0],
    )
    for number in (1, 2, 3):
        assert re.match(r"pong from %s: seq=%d time=[\d.]+ ms$" % (where, number), lines[number])
    assert lines[4:6] == ["", "--- 127.0.0.1 ping statistics ---"]
    assert re.match(r"3 sent, 3 received, 0% loss, time \d+ ms$", lines[6])
    assert re.match(r"rtt min/avg/max/mdev = [\d.]+/[\d.]+/[\d.]+/[\d.]+ ms$", lines[7])


def test_each_ping_that_reaches_nobody_says_why(typed):
    code, out, err = typed("ping", "127.0.0.1:%d" % free_port(), "-c", "2", "-i", "0.01")
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert lines[0].endswith("no connection yet")
    refused = "lost: refused: the host is up, nobody listens on that port"
    assert lines[1:3] == ["seq=1 " + refused, "seq=2 " + refused]
    assert lines[-1].startswith("2 sent, 0 received, 100% loss, time ")


def test_ping_reconnects_and_counts_lost_pings(typed):
    """One pong a connection: every second ping finds it broken."""

    def play(peer, number):
        peer.hear("hello")
        peer.hello(name="node-%d" % number)
        peer.hear("ping")
        peer.say("pong")
        peer.hear("ping")

    with FakeNode(play=play) as node:
        code, out, _ = typed("ping", node.text, "-c", "4", "-i", "0.01")
        assert node.connections == 2
    assert code == 0
    assert "seq=2 lost: reset: " in out
    assert re.search(r"^connected: node-2 %s, connected in " % node.nodeid[:8], out, re.M)
    assert "seq=3 time=" in out
    assert "4 sent, 2 received, 50% loss" in out


def test_a_late_pong_is_lost(typed):
    with FakeNode(play=greeted_then(wait_for_the_end)) as node:
        began = time.monotonic()
        code, out, _ = typed("ping", node.text, "-c", "2", "-W", "0.1", "-i", "0.01")
        assert time.monotonic() - began < 3
    assert code == 1
    assert "seq=1 lost: timed out: no pong in time" in out


def test_json_has_one_object_a_line(typed, make_node):
    node = make_node(name="alpha")
    code, out, _ = typed("ping", "127.0.0.1:%d" % node.port, "-c", "1", "--json")
    connected, reply, summary = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert connected["event"] == "connected"
    assert (connected["name"], connected["nodeid"]) == ("alpha", node.nodeid)
    assert set(connected) == {"event", "time", "address", "name", "nodeid", "connect_ms"}
    assert (reply["event"], reply["seq"]) == ("reply", 1)
    assert reply["rtt_ms"] == summary["rtt_avg_ms"] == summary["rtt_max_ms"]
    assert (summary["sent"], summary["received"], summary["loss_percent"]) == (1, 1, 0)
    code, out, _ = typed("ping", "127.0.0.1:%d" % free_port(), "-c", "1", "--json")
    lost, summary = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert (lost["event"], lost["seq"]) == ("lost", 1)
    assert "refused" in lost["problem"]
    assert summary["rtt_min_ms"] is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("answers, code", [(True, 0), (False, 1)])
def test_a_signal_prints_the_summary(number, answers, code):
    with FakeNode(play=None if answers else greeted_then(wait_for_the_end)) as node:
        process = start_program("ping", node.text, "-i", "60", "-W", "60")
        said = process.stdout.readline()
        if answers:
            said += process.stdout.readline()
        process.send_signal(number)
        rest, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (code, b"")
        assert b"1 sent, %d received" % (1 - code) in rest


def test_ping_closes_its_connection(make_node):
    """Python warns of a socket that is not closed, if it is asked to."""
    node = make_node()
    env = dict(os.environ, PYTHONWARNINGS="error")
    code, _, err = run_program("ping", "127.0.0.1:%d" % node.port, "-c", "1", env=env)
    assert (code, err) == (0, "")


def test_text_from_the_node_is_escaped(typed):
    def play(peer, number):
        peer.hear("hello")
        peer.say("bye", reason="full", detail="\x1b[31mRED\r\n")

    with FakeNode(play=play) as node:
        _, out, _ = typed("ping", node.text, "-c", "1")
    assert "the node is full: \\x1b[31mRED\\r\\n" in out


def test_a_name_that_does_not_resolve_at_first_ends_the_run(typed):
    code, out, _ = typed("ping", "nosuch.invalid:6000")
    assert code == 1
    assert "seq=1 lost: cannot be dialed: nosuch.invalid: " in out
    assert "1 sent, 0 received" in out


def test_times_in_json_have_three_decimals(typed, make_node):
    node = make_node()
    _, out, _ = typed("ping", "127.0.0.1:%d" % node.port, "-c", "1", "--json")
    for event in map(json.loads, out.splitlines()):
        for value in event.values():
            assert not isinstance(value, float) or value == round(value, 3)
