"""The main job, on real processes with the default intervals: find everyone, watch, stop."""

import os
import signal
import time

import pytest

from tests.support import BUSY, ROOT, Program, free_port, new_id, wait_until


@pytest.fixture
def start():
    """``start(options...)``: a process on a free port of 127.0.0.1; killed afterwards.

    In a network of its own: a port that is free here may be one that a node of some other test
    run on this machine still dials.
    """
    started = []
    network = "test-%s" % new_id()

    def go(*options, **kwargs):
        if "--port" not in options:
            options += ("--port", "0")
        options += ("--bind", "127.0.0.1", "--network", network)
        started.append(Program(*options, **kwargs))
        return started[-1]

    yield go
    for program in started:
        program.__exit__()


def meshed(programs):
    """Whether each has exactly the others as peers."""
    everyone = {program.nodeid for program in programs}
    return all(set(p.peers()) == everyone - {p.nodeid} for p in programs)


def start_chain(start, count, *options):
    """Each bootstrapped only from the one before; returned once all know all."""
    programs = [start("--name", "n0", *options)]
    for number in range(1, count):
        before = "127.0.0.1:%d" % programs[-1].port
        programs.append(start("--name", "n%d" % number, "--bootstrap", before, *options))
    began = time.monotonic()
    wait_until(lambda: meshed(programs), timeout=20)
    seconds = time.monotonic() - began
    # A tie may still be under way.  It is over when everyone has answered a second ping.
    wait_until(lambda: all(len(p.events("rtt")) >= 2 * (count - 1) for p in programs))
    return programs, seconds


def test_eight_in_a_chain_know_each_other_and_stop_at_once(start):
    """Within 5 s, one peer_up for each peer and no peer_down, stopped within 1 s."""
    programs, seconds = start_chain(start, 8)
    assert seconds < 5
    for program in programs:
        assert len(program.events("peer_up")) == 7
        assert program.events("peer_down") == []
    for number, program in enumerate(programs):
        began = time.monotonic()
        assert program.stop(signal.SIGTERM if number % 2 else signal.SIGINT) == 0
        assert time.monotonic() - began < 1.0 + BUSY


def test_four_at_once_with_the_same_list_become_a_full_mesh(start):
    """Each recognises itself once."""
    ports = [free_port() for _ in range(4)]
    everyone = ",".join("127.0.0.1:%d" % port for port in ports)
    programs = [start("--port", str(port), "--bootstrap", everyone) for port in ports]
    wait_until(lambda: meshed(programs))
    for program, port in zip(programs, ports):
        (event,) = program.wait_for("self")
        assert event["address"] == "127.0.0.1:%d" % port
        assert len(program.events("peer_up")) == 3


def test_a_killed_node_is_missed_by_all_others_at_once(start):
    programs, _ = start_chain(start, 4)
    victim = programs.pop(1)
    nodeid = victim.nodeid
    began = time.monotonic()
    victim.process.kill()
    wait_until(lambda: all(nodeid not in program.peers() for program in programs))
    assert time.monotonic() - began < 5
    for program in programs:
        (down,) = program.events("peer_down")
        assert (down["nodeid"], down["reason"], down["peers"]) == (nodeid, "closed", 2)


@pytest.mark.long
def test_a_node_that_falls_silent_is_dropped_within_interval_and_timeout(start):
    """SIGSTOP keeps its connections open: only the missing pong tells."""
    programs, _ = start_chain(start, 3, "--ping-interval", "1", "--ping-timeout", "1")
    silent = programs.pop()
    nodeid = silent.nodeid
    silent.send(signal.SIGSTOP)
    try:
        began = time.monotonic()
        wait_until(lambda: all(nodeid not in program.peers() for program in programs))
        assert time.monotonic() - began < 4
        for program in programs:
            (down,) = [e for e in program.events("peer_down") if e["nodeid"] == nodeid]
            assert down["reason"] == "timeout"
    finally:
        silent.send(signal.SIGCONT)
    # Awake again, it is found again by itself; its own sleep is nobody else's fault.
    programs.append(silent)
    wait_until(lambda: meshed(programs), timeout=30)


@pytest.mark.long
def test_a_stopped_nodes_own_absence_is_nobodys_timeout(start):
    """After a sleep longer than the timeout, nobody is blamed for what the sleeper missed."""
    first = start("--ping-interval", "0.2", "--ping-timeout", "1")
    second = start("--bootstrap", "127.0.0.1:%d" % first.port, "--ping-timeout", "60")
    wait_until(lambda: first.events("rtt") and second.events("rtt"))
    first.send(signal.SIGSTOP)
    asleep_at = time.monotonic()
    wait_until(lambda: time.monotonic() - asleep_at > 2)
    first.send(signal.SIGCONT)
    count = len(first.events("rtt"))
    wait_until(lambda: len(first.events("rtt")) >= count + 3)
    assert first.events("peer_down") == []
    assert second.events("peer_down") == []


def test_a_bootstrap_node_that_restarts_with_a_new_nodeid_is_found_again(start):
    port = str(free_port())
    boot = start("--port", port)
    others = [start("--bootstrap", "127.0.0.1:" + port) for _ in range(2)]
    wait_until(lambda: meshed([boot] + others))
    boot.process.kill()
    wait_until(lambda: meshed(others))
    again = start("--port", port)
    assert again.nodeid != boot.nodeid
    wait_until(lambda: meshed([again] + others), timeout=20)


def test_from_another_folder_with_nothing_but_the_interpreter(start, tmp_path):
    """Copied to a machine where nothing can be installed: PYTHONPATH is not even needed."""
    target = tmp_path / "copied"
    target.mkdir()
    os.symlink(os.path.join(ROOT, "p2p_plain"), str(target / "p2p_plain"))
    first = start(cwd=str(target), flags=["-S"], env={})
    second = start(
        "--bootstrap", "127.0.0.1:%d" % first.port, cwd=str(target), flags=["-S"], env={}
    )
    wait_until(lambda: meshed([first, second]))
    assert second.stop() == 0
    wait_until(lambda: not first.peers())
    assert first.stop() == 0
