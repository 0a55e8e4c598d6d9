"""ping, matrix and check as they are typed: what they print, and their exit codes."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from p2p_plain import cli
from p2p_plain.commands import check
from tests.support import (
    PATIENCE,
    ROOT,
    Program,
    free_port,
    full_pipe,
    wait_until,
    waits_for_a_pipe,
)
from tests.support.asked_node import FakeNode, greeted_then, ids, mesh, wait_for_the_end


def run(*words, timeout=PATIENCE, env=None):
    """A command as a process: exit code, stdout, stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "p2p_plain", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=timeout,
        env=env,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def typed(capsys):
    """The same in this process, which is quicker: ``typed("ping", ...)``."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def go(*words):
        code = cli.main(list(words))
        said = capsys.readouterr()
        return code, said.out, said.err

    yield go
    for number, handler in handlers.items():
        signal.signal(number, handler)


def with_dial(rows, source, target, dial):
    """The rows, with another verdict in one direction."""
    (entry,) = [e for e in rows[source]["links"] if e["nodeid"] == rows[target]["nodeid"]]
    entry["dial"] = dial
    return rows


# -- all of them -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_a_command_has_an_example(command):
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    assert ("HOST:PORT" in out) == (command not in ("tour", "help"))  # these ask no node
    assert "example:\n  python3 -m p2p_plain %s " % command in out


@pytest.mark.parametrize(
    "words, says",
    [
        (["ping"], "HOST:PORT"),
        (["ping", "host:x"], "'x' in 'host:x' is not a port"),
        (["ping", "host:0"], "nobody can dial host:0"),
        (["ping", "0.0.0.0:6000"], "nobody can dial"),
        (["ping", "a b"], "'a b' is not HOST:PORT"),
        (["ping", "host", "-c", "0"], "-c: '0' is not a whole number of 1 or more"),
        (["ping", "host", "-c", "x"], "-c: 'x' is not a whole number"),
        (["ping", "host", "-i", "0"], "-i: '0' is not a time in seconds"),
        (["ping", "host", "-i", "nan"], "-i: 'nan' is not a time"),
        (["ping", "host", "-W", "inf"], "-W: 'inf' is not a time"),
        (["ping", "host", "--network", "x" * 65], "--network: must be 0 to 64"),
        (["ping", "host", "--jso"], "--jso"),
        (["matrix", "host", "--width", "0"], "--width: '0' is not"),
        (["check", "host", "--expect", "-1"], "--expect: '-1' is not"),
        (["check", "host", "--within", "-1"], "--within: '-1' is not"),
        (["watch", "host", "--interval", "0"], "--interval: '0' is not"),
        (["wat", "host"], "there is no command 'wat'; the commands are ping, matrix, check, watch, tour"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage_said_in_one_line(typed, words, says):
    code, out, err = typed(*words)
    assert (code, out) == (2, "")
    assert says in err
    assert err.startswith("p2p_plain: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_matrix_and_check_end_quietly_at_a_signal(number):
    """With the exit code of no: what they were to find out is not known."""
    asked = []

    def play(peer, number):
        asked.append(number)
        wait_for_the_end(peer)

    for command in ("matrix", "check"):
        with FakeNode(play=play) as node:
            process = subprocess.Popen(
                [sys.executable, "-m", "p2p_plain", command, node.text],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            wait_until(lambda: asked)
            process.send_signal(number)
            out, err = process.communicate(timeout=PATIENCE)
            assert (process.returncode, out, err) == (1, b"", b"")
            del asked[:]


@pytest.mark.skipif(not os.path.exists("/proc/self/wchan"), reason="asks Linux who waits for what")
@pytest.mark.parametrize("command", [*cli.COMMANDS, "--help"])
def test_a_pipe_that_takes_nothing_does_not_hold_up_the_end(command):
    """``p2p_plain ping HOST | less``, and Ctrl-C: Python's own last flush would wait for ever."""
    with FakeNode() as node, full_pipe() as stdout:
        rest = {"tour": ["--fast"], "help": ["options"], "--help": []}.get(command, [node.text])
        process = subprocess.Popen(
            [sys.executable, "-m", "p2p_plain", command, *rest],
            cwd=ROOT,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )
        wait_until(lambda: waits_for_a_pipe(process.pid))
        process.send_signal(signal.SIGTERM)
        try:
            assert process.communicate(timeout=PATIENCE) == (None, b"")
        finally:
            process.kill()
    assert process.returncode == (1 if command in ("ping", "matrix", "check", "help") else 0)


@pytest.mark.parametrize("words", [["matrix"], ["check"], ["ping", "-i", "0.01"]])
def test_a_closed_pipe_is_no_complaint(words):
    with FakeNode() as node, subprocess.Popen(
        [sys.executable, "-m", "p2p_plain", words[0], node.text] + words[1:],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
        assert process.stderr.read() == b""
        assert process.returncode == 0


def test_names_that_the_terminal_cannot_show_are_escaped():
    env = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}
    with FakeNode(mesh(2, "z\u00fcrich-%d"), name="z\u00fcrich") as node:
        code, out, err = run("ping", "-c", "1", node.text, env=env)
        assert (code, err) == (0, "")
        assert "z\\xfcrich" in out
        code, out, err = run("matrix", node.text, env=env)
        assert (code, err) == (0, "")
        assert "z\\xfcrich-1" in out


# -- ping ----------------------------------------------------------------------------------------------


def test_ping_a_real_node(typed, make_node):
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


def test_ping_where_nobody_is_says_so_on_each_line(typed):
    code, out, err = typed("ping", "127.0.0.1:%d" % free_port(), "-c", "2", "-i", "0.01")
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert lines[0].endswith("no connection yet")
    refused = "lost: refused: the host is up, nobody listens on that port"
    assert lines[1:3] == ["seq=1 " + refused, "seq=2 " + refused]
    assert lines[-1].startswith("2 sent, 0 received, 100% loss, time ")


def test_ping_connects_again_and_counts_what_was_lost(typed):
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


def test_a_pong_that_does_not_come_in_time_is_lost(typed):
    with FakeNode(play=greeted_then(wait_for_the_end)) as node:
        began = time.monotonic()
        code, out, _ = typed("ping", node.text, "-c", "2", "-W", "0.1", "-i", "0.01")
        assert time.monotonic() - began < 3
    assert code == 1
    assert "seq=1 lost: timed out: no pong in time" in out


def test_ping_as_json(typed, make_node):
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
        process = subprocess.Popen(
            [sys.executable, "-m", "p2p_plain", "ping", node.text, "-i", "60", "-W", "60"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        said = process.stdout.readline()
        if answers:
            said += process.stdout.readline()
        process.send_signal(number)
        rest, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (code, b"")
        assert b"1 sent, %d received" % (1 - code) in rest


def test_ping_hangs_up_when_it_is_done(make_node):
    """Python tells of a socket that is just left behind, where it is asked to."""
    node = make_node()
    env = dict(os.environ, PYTHONWARNINGS="error")
    code, _, err = run("ping", "127.0.0.1:%d" % node.port, "-c", "1", env=env)
    assert (code, err) == (0, "")


def test_what_the_other_end_says_is_escaped(typed):
    def play(peer, number):
        peer.hear("hello")
        peer.say("bye", reason="full", detail="\x1b[31mRED\r\n")

    with FakeNode(play=play) as node:
        _, out, _ = typed("ping", node.text, "-c", "1")
    assert "the node is full: \\x1b[31mRED\\r\\n" in out


# -- matrix ----------------------------------------------------------------------------------------------


def test_matrix_shows_every_node_and_the_verdict(typed):
    with FakeNode(mesh(3)) as node:
        code, out, err = typed("matrix", node.text)
    assert (code, err) == (0, "")
    for name in ("node-01", "node-02", "node-03"):
        assert name in out
    assert out.splitlines()[-1].startswith("3 nodes, 6 of 6 directions up")


def test_matrix_is_as_narrow_as_asked(typed):
    with FakeNode(mesh(12)) as node:
        _, narrow, _ = typed("matrix", node.text, "--width", "40")
        _, wide, _ = typed("matrix", node.text)
    grid = narrow.partition("\n\n")[0].splitlines()
    assert max(map(len, grid)) <= 40
    assert narrow.count("\n") > wide.count("\n")


def test_matrix_tells_the_cause(typed):
    rows = mesh(4)
    for source in (0, 1, 2):
        with_dial(rows, source, 3, "timeout")
    with FakeNode(rows) as node:
        code, out, _ = typed("matrix", node.text)
        assert code == 0
        assert "node-04: nobody can dial it (3 of 3 timed out)" in out
        code, out, _ = typed("matrix", node.text, "--json")
    said = json.loads(out)
    assert code == 0
    assert [n["name"] for n in said["nodes"]] == ["node-%02d" % n for n in (1, 2, 3, 4)]
    assert said["rows"][0]["links"][0]["rtt_ms"] == 0.3
    assert said["stale_after"] == 180.0
    assert said["summary"].startswith("4 nodes, 9 of 12 directions up, p50 0.3 ms")
    (verdict,) = said["verdicts"]
    assert verdict["nodes"] == [ids(4)[3]]
    assert "nobody can dial it" in verdict["text"]


def test_matrix_of_nobody_is_exit_code_1_in_one_line(typed):
    where = "127.0.0.1:%d" % free_port()
    for option in ([], ["--json"]):
        code, out, err = typed("matrix", where, *option)
        assert (code, out) == (1, "")
        assert err.startswith("p2p_plain: %s: refused: " % where)
        assert err.count("\n") == 1


def test_matrix_of_another_network_says_which(typed):
    with FakeNode(network="o'hara") as node:
        code, _, err = typed("matrix", node.text)
        assert code == 1
        assert "belongs to another network; try --network 'o'\\''hara'" in err
        assert typed("matrix", node.text, "--network", "o'hara")[0] == 0


# -- check -------------------------------------------------------------------------------------------------


def test_check_is_content_with_a_whole_mesh(typed):
    with FakeNode(mesh(3)) as node:
        for option in ([], ["--expect", "3"], ["--within", "0"]):
            code, out, err = typed("check", node.text, *option)
            assert (code, err) == (0, "")
            assert re.match(r"ok after \d\.\d s: 3 nodes, 6 of 6 directions up, .*\n$", out)


def test_check_names_what_is_down(typed):
    rows = with_dial(mesh(3), 0, 2, "refused")
    with FakeNode(rows) as node:
        code, out, err = typed("check", node.text, "--within", "0.2")
        assert (code, err) == (1, "")
        first, second = out.splitlines()
        assert first.startswith("not ok after ")
        assert second == "node-01 -> node-03: refused"
        code, out, _ = typed("check", node.text, "--within", "0", "--json")
    said = json.loads(out)
    assert (code, said["ok"], said["directions"], said["expected"]) == (1, False, 6, 2)
    assert said["down"] == [
        {"from": ids(3)[0], "to": ids(3)[2], "state": "down", "dial": "refused"}
    ]


def test_check_misses_whom_it_expects(typed):
    with FakeNode(mesh(3)) as node:
        code, out, _ = typed("check", node.text, "--expect", "4", "--within", "0.1")
    assert code == 1
    assert "4 nodes are expected" in out


def test_a_row_that_is_too_old_is_not_up(typed):
    rows = mesh(3)
    rows[1]["age"] = 1000
    with FakeNode(rows) as node:
        code, out, _ = typed("check", node.text, "--within", "0")
    assert code == 1
    assert "node-02 -> node-01: " in out


@pytest.mark.parametrize("age, stale_after, code", [(1000, 1800.0, 0), (10, 3.0, 1), (10, None, 0)])
def test_how_old_a_row_may_be_is_for_the_node_to_say(typed, age, stale_after, code):
    """A network that pings each ten minutes is well, and one that pings each second is quick."""
    rows = mesh(3)
    rows[1]["age"] = age
    with FakeNode(rows, stale_after=stale_after) as node:
        assert typed("check", node.text, "--within", "0")[0] == code
        _, out, _ = typed("matrix", node.text)
    assert ("stale" in out) == bool(code)


def test_check_waits_until_it_is_well(typed):
    node_rows = mesh(3)

    def play(peer, number):
        node.greet(peer)
        node.answer(peer)
        with_dial(node_rows, 0, 1, "ok")
        while node.answer(peer):
            pass

    with_dial(node_rows, 0, 1, "timeout")
    with FakeNode(node_rows, play=play) as node:
        code, out, _ = typed("check", node.text)
    assert (code, out[:3]) == (0, "ok ")


def test_check_waits_for_a_node_that_is_not_there_yet():
    port = free_port()
    checking = subprocess.Popen(
        [sys.executable, "-m", "p2p_plain", "check", "127.0.0.1:%d" % port, "--network", "later"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    common = ("--bind", "127.0.0.1", "--network", "later")
    with Program("--port", "0", *common) as first:
        where = "127.0.0.1:%d" % first.port
        with Program("--port", str(port), "--bootstrap", where, *common):
            out, err = checking.communicate(timeout=20)
    assert (checking.returncode, err) == (0, b"")
    assert b"2 nodes, 2 of 2 directions up" in out


def test_check_of_nobody_gives_up_in_time(typed):
    began = time.monotonic()
    code, out, err = typed("check", "127.0.0.1:%d" % free_port(), "--within", "0.3")
    assert 0.3 <= time.monotonic() - began < 3
    assert (code, out) == (1, "")
    assert "refused: the host is up" in err
    assert err.count("\n") == 1
    code, out, _ = typed("check", "127.0.0.1:%d" % free_port(), "--within", "0", "--json")
    said = json.loads(out)
    assert (code, said["ok"], said["nodes"]) == (1, False, [])
    assert "refused: the host is up" in said["problem"]


def test_check_comes_again_when_it_is_shown_out(typed):
    """A guest makes room for newcomers; that is not the network's fault."""
    rows = with_dial(mesh(3), 0, 1, "timeout")

    def play(peer, number):
        if number == 2:
            with_dial(rows, 0, 1, "ok")
        node.greet(peer)
        node.answer(peer)

    with FakeNode(rows, play=play) as node:
        assert typed("check", node.text)[0] == 0
        assert node.connections == 2


def test_the_list_of_what_is_down_has_a_bound(typed, monkeypatch):
    monkeypatch.setattr(check, "MANY", 3)
    rows = mesh(4)
    for row in rows:
        for entry in row["links"]:
            entry["dial"] = "refused"
    with FakeNode(rows) as node:
        _, out, _ = typed("check", node.text, "--within", "0")
    assert len(out.splitlines()) == 5
    assert out.splitlines()[-1] == "... and 9 more; --json has all"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("option", [[], ["--json"]])
def test_a_full_disk_is_no_answer(option):
    """And no traceback."""
    with open("/dev/full", "w") as full, FakeNode() as node:
        done = subprocess.run(
            [sys.executable, "-m", "p2p_plain", "matrix", node.text, *option],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=PATIENCE,
        )
    assert done.returncode == 1
    assert done.stderr == b"p2p_plain: cannot write the answer: No space left on device\n"
