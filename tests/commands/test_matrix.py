"""``matrix``: the table, the verdicts, and JSON."""

import json
import os
import subprocess
import sys

import pytest

from tests.support import PATIENCE, ROOT, free_port, run_program
from tests.support.asked_node import FakeNode, ids, mesh, with_dial


def test_matrix_shows_every_node_and_the_summary(typed):
    with FakeNode(mesh(3)) as node:
        code, out, err = typed("matrix", node.text)
    assert (code, err) == (0, "")
    for name in ("node-01", "node-02", "node-03"):
        assert name in out
    assert out.splitlines()[-1].startswith("3 nodes, 6 of 6 directions up")


def test_width_limits_the_matrix(typed):
    with FakeNode(mesh(12)) as node:
        _, narrow, _ = typed("matrix", node.text, "--width", "40")
        _, wide, _ = typed("matrix", node.text)
    grid = narrow.partition("\n\n")[0].splitlines()
    assert max(map(len, grid)) <= 40
    assert narrow.count("\n") > wide.count("\n")


def test_on_a_terminal_columns_limits_it_as_in_other_programs():
    master, slave = os.openpty()
    with FakeNode(mesh(12)) as node, open(master, "rb", buffering=0) as terminal:
        command = [sys.executable, "-m", "p2p_plain", "matrix", node.text]
        env = dict(os.environ, COLUMNS="40", TERM="dumb")
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=slave)
        os.close(slave)
        shown = b""
        while b"directions up" not in shown:
            shown += terminal.read(4096)
        assert process.wait(PATIENCE) == 0
    grid = shown.decode().replace("\r", "").partition("\n\n")[0].splitlines()
    assert 20 < max(map(len, grid)) <= 40


def test_matrix_names_the_cause_in_words_and_in_json(typed):
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


def test_an_address_without_a_node_is_exit_code_1_and_one_line(typed):
    where = "127.0.0.1:%d" % free_port()
    for option in ([], ["--json"]):
        code, out, err = typed("matrix", where, *option)
        assert (code, out) == (1, "")
        assert err.startswith("p2p_plain: %s: refused: " % where)
        assert err.count("\n") == 1


def test_a_node_of_another_network_is_named_with_the_option_to_use(typed):
    with FakeNode(network="o'hara") as node:
        code, _, err = typed("matrix", node.text)
        assert code == 1
        assert "belongs to another network; try --network 'o'\\''hara'" in err
        assert typed("matrix", node.text, "--network", "o'hara")[0] == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("option", [[], ["--json"]])
def test_a_full_disk_is_exit_code_1_and_one_line(option):
    with open("/dev/full", "w") as full, FakeNode() as node:
        code, _, err = run_program("matrix", node.text, *option, stdout=full)
    assert code == 1
    assert err == "p2p_plain: cannot write the answer: No space left on device\n"
