"""``check``: when it is ok, how long it waits, and what it lists."""

import json
import re
import time

import pytest

from p2p_plain.commands import check
from tests.support import Program, free_port, start_program
from tests.support.asked_node import FakeNode, ids, mesh, with_dial


def test_a_whole_mesh_is_ok(typed):
    with FakeNode(mesh(3)) as node:
        for option in ([], ["--expect", "3"], ["--within", "0"]):
            code, out, err = typed("check", node.text, *option)
            assert (code, err) == (0, "")
            assert re.match(r"ok after \d\.\d s: 3 nodes, 6 of 6 directions up, .*\n$", out)


def test_what_is_wrong_is_named_and_then_each_direction_that_is_down(typed):
    rows = with_dial(mesh(3), 0, 2, "refused")
    with FakeNode(rows) as node:
        code, out, err = typed("check", node.text, "--within", "0.2")
        assert (code, err) == (1, "")
        first, cause, direction = out.splitlines()
        assert first.startswith("not ok after ")
        assert cause.startswith("node-01 -> node-03 refused: ")
        assert direction == "node-01 -> node-03: refused"
        code, out, _ = typed("check", node.text, "--within", "0", "--json")
    said = json.loads(out)
    assert (code, said["ok"], said["directions"], said["expected"]) == (1, False, 6, 2)
    assert said["down"] == [
        {"from": ids(3)[0], "to": ids(3)[2], "state": "down", "dial": "refused"}
    ]


def test_too_few_nodes_are_not_ok(typed):
    with FakeNode(mesh(3)) as node:
        code, out, _ = typed("check", node.text, "--expect", "4", "--within", "0.1")
    assert code == 1
    assert "4 nodes are expected" in out


def test_a_direction_known_from_an_old_row_is_not_up(typed):
    rows = mesh(3)
    rows[1]["age"] = 1000
    with FakeNode(rows) as node:
        code, out, _ = typed("check", node.text, "--within", "0")
    assert code == 1
    assert "node-02 -> node-01: " in out


@pytest.mark.parametrize("age, stale_after, code", [(1000, 1800.0, 0), (10, 3.0, 1), (10, None, 0)])
def test_the_node_says_how_old_a_row_may_be(typed, age, stale_after, code):
    """Rows of a network that pings every ten minutes are good for longer than those of another."""
    rows = mesh(3)
    rows[1]["age"] = age
    with FakeNode(rows, stale_after=stale_after) as node:
        assert typed("check", node.text, "--within", "0")[0] == code
        _, out, _ = typed("matrix", node.text)
    assert ("stale" in out) == bool(code)


def test_check_waits_until_every_direction_is_up(typed):
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


def test_check_waits_for_a_node_that_has_not_started():
    port = free_port()
    checking = start_program("check", "127.0.0.1:%d" % port, "--network", "later")
    common = ("--bind", "127.0.0.1", "--network", "later")
    with Program("--port", "0", *common) as first:
        where = "127.0.0.1:%d" % first.port
        with Program("--port", str(port), "--bootstrap", where, *common):
            out, err = checking.communicate(timeout=20)
    assert (checking.returncode, err) == (0, b"")
    assert b"2 nodes, 2 of 2 directions up" in out


def test_an_address_without_a_node_is_reported_after_the_time_is_up(typed):
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


def test_check_reconnects_when_the_node_makes_room(typed):
    """A guest makes room for newcomers.  That says nothing about the network."""
    rows = with_dial(mesh(3), 0, 1, "timeout")

    def play(peer, number):
        if number == 2:
            with_dial(rows, 0, 1, "ok")
        node.greet(peer)
        node.answer(peer)

    with FakeNode(rows, play=play) as node:
        assert typed("check", node.text)[0] == 0
        assert node.connections == 2


def test_the_list_of_directions_has_a_bound(typed, monkeypatch):
    monkeypatch.setattr(check, "MANY", 3)
    rows = mesh(4)
    for row in rows:
        for entry in row["links"]:
            entry["dial"] = "refused"
    with FakeNode(rows) as node:
        _, out, _ = typed("check", node.text, "--within", "0")
    assert sum(": refused" in line and "->" in line for line in out.splitlines()) == 3
    assert out.splitlines()[-1] == "... and 9 more; --json has all"
