"""The article's node, ``python3 -m p2p_plain.node``, is a full member of a network of full nodes."""

import re

import pytest

from tests.support import Program, run_program, wait_until

ALONE = ("-m", "p2p_plain.node")


@pytest.fixture
def start():
    """``start(bootstrap)``: the article's node as a process, on a free port of 127.0.0.1."""
    started = []

    def begin(*words):
        program = Program("--port", "0", "--bind", "127.0.0.1", *words, what=ALONE)
        started.append(program)
        return program

    yield begin
    for program in started:
        program.__exit__()


def address(program):
    return "127.0.0.1:%d" % program.port


def test_it_finds_and_is_found_and_spreads_the_addresses_of_its_inbound_peers(make_node, start):
    """A chain of four, each told of the one before.  The first learns of the last through article's
    nodes alone, and those advertise only what they have probed."""
    first = make_node(name="first")
    second = start("--bootstrap", first.addresses[0], "--name", "second")
    third = start("--bootstrap", address(second), "--name", "third")
    last = make_node(name="last", bootstrap=address(third))
    for node in (first, last):
        node.wait_for_peers(3, timeout=10)
    for program in (second, third):
        wait_until(lambda program=program: len(program.peers()) == 3)
    assert sorted(peer.name for peer in first.peers()) == ["last", "second", "third"]
    # It takes part in what applications say, too.
    last.broadcast("hello")
    for program in (second, third):
        assert program.wait_for("message")[0]["body"] == "hello"
    assert second.stop() == 0
    down = next(event for event in first.events(timeout=10) if event["event"] == "peer_down")
    assert (down["name"], down["reason"]) == ("second", "stopping")


def test_the_matrix_of_a_full_node_has_nothing_false_about_it(make_node, start):
    """Others measure it; it measures nothing, so its own row is unknown, and nothing is blamed."""
    first = make_node(name="first", probe_interval=0.2, ping_interval=0.2)
    last = make_node(name="last", probe_interval=0.2, ping_interval=0.2, bootstrap=first.addresses)
    alone = start("--bootstrap", first.addresses[0], "--name", "alone")

    def measured():
        rows = {row["name"]: row["links"] for row in first.matrix()}
        return [
            link["name"]
            for name in ("first", "last")
            for link in rows.get(name, ())
            if link["name"] == "alone" and link.get("dial") == "ok" and "rtt_ms" in link
        ]

    wait_until(lambda: measured() == ["alone", "alone"])
    code, out, err = run_program("matrix", first.addresses[0])
    assert (code, err) == (0, "")
    table, _, summary = out.partition("\n\n")
    (row,) = [line.split()[1:] for line in table.splitlines() if "alone" in line]
    assert row[:2] + row[4:] == ["alone", "-", "no", "row"]
    assert set(row[2:4]) <= {"?", "ok"}  # ok: it is known to have dialed that one
    assert "!" not in table  # no failure
    # On a busy machine a node may answer late.
    said = [line for line in summary.splitlines() if "itself slow" not in line]
    assert all(re.match(r"3 nodes, (\d) of \1 (known )?directions up", line) for line in said)
    assert alone.stop() == 0
    assert last.peers()
