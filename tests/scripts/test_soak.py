"""The soak: its plan is fair and the same each time, and every fault of a node fails it."""

import glob
import json
import os
import signal
import subprocess
import sys

import pytest

from tests.support import PATIENCE, ROOT, new_id, reason_for_no_lab, wait_until

sys.path.append(os.path.join(ROOT, "scripts"))  # the package imports the laboratory, as when run

from scripts import soak  # noqa: E402
from scripts.soaking import resources  # noqa: E402
from scripts.soaking.ledger import Ledger  # noqa: E402
from scripts.soaking.plan import (  # noqa: E402
    ANCHORS,
    LEAST_AWAKE,
    TROUBLES,
    hosts_at_first,
    make_plan,  # noqa: E402
)

pytestmark = pytest.mark.long

SOAK = os.path.join(ROOT, "scripts", "soak.py")
QUICK = "--ping-interval 0.5 --ping-timeout 1 --probe-interval 1"

needs_lab = pytest.mark.skipif(bool(reason_for_no_lab()), reason=reason_for_no_lab())


class Soak:
    """A soak that has been started, from a folder that has nothing to do with it."""

    def __init__(self, *arguments):
        self._process = subprocess.Popen(
            [sys.executable, SOAK] + list(arguments),
            cwd=os.path.dirname(sys.executable),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def finish(self):
        """Return the exit code, and stdout and stderr in lines."""
        try:
            output, errors = self._process.communicate(timeout=120)
        finally:
            self._process.kill()
            self._process.wait()
        return self._process.returncode, output.decode().splitlines(), errors.decode().splitlines()


# -- the plan -------------------------------------------------------------------------------


def test_the_same_arguments_make_the_same_plan():
    plan = make_plan(7, 300, 12)
    assert plan == make_plan(7, 300, 12)
    assert plan != make_plan(8, 300, 12)
    assert plan != make_plan(7, 300, 5)


def test_a_plan_does_not_depend_on_the_version_of_python():
    """So a failure on one version can be repeated on another."""
    plan = [(round(action.at, 3), action.text) for action in make_plan(1, 120, 12)[:5]]
    assert plan == [
        (0.0, "calm"),
        (0.622, "drop h5 from h3,h4"),
        (1.148, "add  # h7"),
        (2.486, "freeze h1"),
        (4.518, "stop h7"),
    ]


def test_a_plan_can_be_shown_without_being_followed():
    code, output, errors = Soak("--seed", "1", "--for", "60", "--plan").finish()
    assert (code, errors) == (0, [])
    texts = [line.split(None, 1)[1] for line in output]
    assert texts == [action.text for action in make_plan(1, 60, 12)]


def test_ten_minutes_have_every_kind_of_trouble_and_every_end():
    plan = make_plan(1, 600, 12)
    ends = {trouble.end for trouble in TROUBLES.values()} - {""}
    assert {action.kind for action in plan} == set(TROUBLES) | ends | {"calm"}
    assert max(action.at for action in plan) <= 600
    assert len(plan) > 300


@pytest.mark.parametrize("hosts", [4, 5, 12, 30])
@pytest.mark.parametrize("seconds", [1, 12, 600])
def test_a_plan_is_fair(hosts, seconds):
    """It spares the anchors, leaves three nodes awake, and ends all trouble before a calm."""
    for seed in range(10):
        names = ["h%d" % number for number in range(1, hosts_at_first(hosts) + 1)]
        away, frozen, others, at = set(), set(), set(), 0.0
        plan = make_plan(seed, seconds, hosts)
        assert [plan[0].kind, plan[-1].kind] == ["calm", "calm"]
        assert sum(action.kind == "calm" for action in plan) >= 3
        for action in plan:
            assert action.at >= at
            at = action.at
            who = set(action.arguments)
            if action.kind == "calm":
                assert frozen | others == set()
                continue
            soak.read_step(soak.split_words(action.text), names)  # the laboratory understands it
            if action.kind == "add":
                names += action.arguments
                assert len(names) <= hosts
            elif action.kind in ("stop", "kill", "restart"):
                assert not who & (away | frozen | set(ANCHORS))
                away |= who if action.kind != "restart" else set()
            elif action.kind == "start":
                assert who <= away
                away -= who
            elif action.kind == "freeze":
                assert not who & (away | frozen)
                frozen |= who
            elif action.kind == "thaw":
                assert who <= frozen
                frozen -= who
            elif action.kind in {trouble.end for trouble in TROUBLES.values()}:
                others -= {(action.kind, name) for name in who}
            else:
                affected = action.arguments if action.kind == "split" else action.arguments[:1]
                others |= {(TROUBLES[action.kind].end, name) for name in affected}
            assert len(set(names) - away - frozen) >= LEAST_AWAKE


# -- what nodes report ----------------------------------------------------------------------


@pytest.fixture
def ledger():
    """The ledger of one node on h1 that listens and has h2 as its peer."""
    ledger = Ledger()
    ledger.take({"host": "h1", "at": 0.1, "event": "listening"})
    report(ledger, "peer_up", "h2", 1)
    return ledger


def report(ledger, event, name, peers, reason="closed"):
    more = {"nodeid": name, "name": name, "peers": peers, "reason": reason}
    ledger.take(dict(more, host="h1", at=1.0, event=event))


def test_peers_that_come_and_go_are_counted(ledger):
    report(ledger, "peer_up", "h3", 2)
    report(ledger, "peer_down", "h2", 1)
    report(ledger, "peer_up", "h2", 2)
    assert ledger.problems == []
    assert (ledger.started, ledger.ups, ledger.downs) == (1, 3, {"closed": 1})
    assert (ledger.lives["h1"].up, ledger.lives["h1"].events) == ({"h2", "h3"}, 5)


@pytest.mark.parametrize(
    "event, name, peers, problem",
    [
        ("peer_up", "h2", 1, "h1 reported peer_up of h2 twice in a row"),
        ("peer_down", "h3", 1, "h1 reported peer_down of h3 twice in a row"),
        ("peer_up", "h3", 3, "h1 counts 3 peers in peer_up of h3, its events 2"),
        ("peer_down", "h2", 1, "h1 counts 1 peers in peer_down of h2, its events 0"),
    ],
)
def test_reports_that_contradict_each_other_are_a_problem(ledger, event, name, peers, problem):
    report(ledger, event, name, peers)
    (found,) = ledger.problems
    assert problem in found


def test_a_good_node_that_is_dropped_for_bad_input_is_a_problem(ledger):
    report(ledger, "peer_down", "h2", 0, reason="protocol")
    assert ledger.problems == ["h1 dropped h2 for bad input, and all nodes are good ones (at 1.000)"]


def test_a_node_that_is_started_again_has_no_peers_yet(ledger):
    ledger.expect(-9, "h1")
    ledger.take({"host": "h1", "at": 2.0, "ended": -9})
    ledger.take({"host": "h1", "at": 3.0, "event": "listening"})
    report(ledger, "peer_up", "h2", 1)
    assert ledger.problems == []


@pytest.mark.parametrize(
    "expected, record, problem",
    [
        (None, {"stderr": "Traceback (most recent call last):"}, "Traceback"),
        (None, {"ended": 0}, "h1 ended by itself, exit code 0"),
        (0, {"ended": -9}, "h1 ended with exit code -9"),
        (-9, {"ended": 0}, "h1 ended with exit code 0"),
    ],
)
def test_errors_and_unexpected_ends_are_a_problem(ledger, expected, record, problem):
    if expected is not None:
        ledger.expect(expected, "h1")
    ledger.take(dict(record, host="h1", at=2.0))
    (found,) = ledger.problems
    assert problem in found


# -- what nodes use -------------------------------------------------------------------------


FLAT = resources.FLAT_KIB


def judged(*readings):
    return resources.judge("h1", [resources.Reading(*reading) for reading in readings])


def test_a_node_may_use_what_it_used_before_and_a_little_more():
    assert judged((18000, 16, 17, 8, 2000)) == []
    assert judged((18000, 16, 17, 8, 2000), (19500, 24, 17, 8, 9000)) == []


def test_memory_that_grows_without_a_cause_is_a_problem():
    (problem,) = judged((18000, 16, 17, 8, 2000), (18000 + FLAT + 64, 16, 17, 8, 9000))
    assert problem == "h1: memory grew by %d KiB; %d are allowed" % (FLAT + 64, FLAT)


@pytest.mark.parametrize("kib_a_minute, leaks", [(0, False), (30, False), (50, True)])
def test_in_the_second_half_of_an_hour_memory_is_flat(kib_a_minute, leaks):
    """Whatever it was in the first half, and although it goes up and down with the peers."""
    minutes = [
        (18000 + min(2000, 100 * m) + kib_a_minute * m + resources.THREAD_KIB * (m % 3), 16, 17, 8 + m % 3, 2000)
        for m in range(60)
    ]
    assert any("second half" in problem for problem in judged(*minutes)) is leaks
    assert not any("second half" in problem for problem in judged(*minutes[:20]))


def test_remembered_events_and_threads_are_causes():
    """A node remembers its last 1,000 events, so those explain growth until there are so many."""
    assert judged((18000, 16, 17, 8, 200), (18790 + FLAT, 16, 17, 8, 9000)) == []
    assert len(judged((18000, 16, 17, 8, 200), (18810 + FLAT, 16, 17, 8, 9000))) == 1
    peers = (18000, 12, 13, 4, 2000), (18300 + FLAT, 16, 17, 8, 9000)
    assert judged(*peers) == []
    # What a thread has used stays with the process when it ends.
    assert judged(*peers, (18300 + FLAT, 12, 13, 4, 9000)) == []
    assert len(judged(peers[0], (18300 + FLAT, 12, 13, 4, 9000))) == 1


def test_threads_and_descriptors_that_peers_do_not_explain_are_a_problem():
    few = (18000, 12, 13, 4, 2000)
    assert len(judged(few, (18000, 40, 13, 4, 2000))) == 1
    assert len(judged(few, (18000, 12, 40, 4, 2000))) == 2  # too many, and more than before
    assert len(judged(few, (18000, 12, 17, 4, 2000))) == 1
    assert judged(few, (18000, 20, 21, 12, 2000)) == []


# -- when a network is whole ----------------------------------------------------------------


class ToyLab:
    """A laboratory in which only ``wait`` takes time, and whose network comes and goes."""

    def __init__(self, ledger, changes):
        self.journal = self
        self._now = 100.0
        self._ledger = ledger
        self._changes = changes  # times, the last of which makes a mesh

    def clock(self):
        return self._now

    def wait(self, seconds):
        self._now += seconds
        for at in self._changes:
            if at <= self._now:
                self._ledger.changed_at = at

    def mesh(self, seconds):
        pass


@pytest.mark.parametrize("changes, seconds", [([], 0.0), ([103.0], 3.0), ([103.0, 110.0], 10.0)])
def test_a_mesh_counts_from_its_last_change(changes, seconds):
    ledger = Ledger()
    run = soak.Run(ToyLab(ledger, changes), ledger, patience=40.0, lasting=9.0)
    assert run.wait_whole() == pytest.approx(seconds)


def test_a_mesh_that_comes_apart_too_late_fails():
    ledger = Ledger()
    run = soak.Run(ToyLab(ledger, [107.0, 115.0, 123.0]), ledger, patience=20.0, lasting=9.0)
    with pytest.raises(soak.Failed, match=r"came apart again 23[.]000 s into"):
        run.wait_whole()


def test_how_long_a_mesh_must_last_follows_from_the_nodes_options():
    assert soak.lasting(QUICK.split()) == pytest.approx(2.05)
    assert soak.lasting(["--trace", "--ping-timeout=3", "--ping-interval", "5"]) == 9.0
    assert soak.lasting([]) == pytest.approx(86.5)


# -- whole runs -----------------------------------------------------------------------------


LEAKY = """#!%s
import os, runpy, sys, threading, time
def leak(kept=[]):
    while True:
        kept.append(b'x' * 1024 * 1024)
        time.sleep(0.1)
threading.Thread(target=leak, daemon=True).start()
sys.path.insert(0, os.getcwd())
sys.argv = sys.argv[2:]  # after -m
runpy.run_module('p2p_plain', run_name='__main__', alter_sys=True)
"""


@pytest.fixture(scope="module")
def soaks(tmp_path_factory):
    """Three soaks that run side by side, because each of them mostly waits."""
    folder = tmp_path_factory.mktemp("soaks")
    leaky = folder / "python"
    leaky.write_text(LEAKY % sys.executable)
    leaky.chmod(0o755)
    events = str(folder / "events")
    common = ["--seed", "1", "--for", "2", "--hosts", "5", "--node"]
    started = {
        "good": Soak(*common + [QUICK, "--events", events]),
        "leaky": Soak(*common + [QUICK, "--python", str(leaky)]),
        "lonely": Soak(*common + [QUICK + " --max-peers 1", "--patience", "1"]),
    }
    finished = {name: soak.finish() for name, soak in started.items()}
    with open(events) as file:
        finished["events"] = [json.loads(line) for line in file]
    return finished


@needs_lab
def test_good_nodes_survive_a_short_run(soaks):
    """The plan is followed, the summary is complete, and ``--events`` has the reports."""
    code, output, errors = soaks["good"]
    assert (code, errors) == (0, []), "\n".join(output + errors)
    plan = make_plan(1, 2, 5)
    assert {"add", "split", "kill", "freeze", "stop"} <= {action.kind for action in plan}
    done = [line[8:].strip() for line in output[: len(plan)]]
    done = ["calm" if text.startswith("calm ") else text for text in done]
    assert done == [action.text for action in plan]
    summary = "\n".join(output[len(plan) :])
    for words in "seed 1", "3 calms, a mesh after", "h1 at first: ", "h3 at last: ", "kill 1":
        assert words in summary
    reported = {record.get("event") for record in soaks["events"]}
    assert {"listening", "peer_up", "stopped"} <= reported


@needs_lab
def test_nodes_that_leak_memory_fail(soaks):
    """The nodes are run by an executable that seems to be a Python, and loses 10 MiB a second."""
    code, output, errors = soaks["leaky"]
    assert code == 1, "\n".join(output + errors)
    for host, error in zip(ANCHORS, errors):
        assert error.startswith("soak: %s: memory grew by " % host)
    assert "--seed 1" in errors[-1]


@needs_lab
def test_a_mesh_that_cannot_form_fails_and_says_who_misses_whom(soaks):
    code, output, errors = soaks["lonely"]
    assert code == 1, "\n".join(output + errors)
    assert errors[0].startswith("soak: no mesh in ")
    assert "h1 misses h" in errors[0]
    assert errors[1] == "soak: the last actions were:"
    assert "calm" in errors[2]
    assert "--seed 1" in errors[-1]


@needs_lab
def test_ctrl_c_ends_every_process_and_sums_up():
    mark = "soak-%s" % new_id()

    def alive():
        found = []
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                with open(path, "rb") as file:
                    found += [path] if mark.encode() in file.read() else []
            except OSError:
                pass  # it ended while we looked
        return found

    process = subprocess.Popen(
        [sys.executable, SOAK, "--seed", "1", "--for", "60", "--hosts", "4"]
        + ["--node", QUICK + " --network " + mark],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert b" calm " in process.stdout.readline()
        assert len(alive()) > 3  # the soak twice, unshare, and nodes
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
    assert (process.returncode, errors) == (130, b"")
    assert "seed 1: " in output.decode()
    wait_until(lambda: not alive())


@pytest.mark.parametrize(
    "arguments, word",
    [
        (["--for", "60"], "--seed"),
        (["--seed", "1"], "--for"),
        (["--seed", "x", "--for", "60"], "--seed"),
        (["--seed", "1", "--for", "0"], "--for"),
        (["--seed", "1", "--for", "nan"], "--for"),
        (["--seed", "1", "--for", "60", "--hosts", "3"], "4 to 30"),
        (["--seed", "1", "--for", "60", "--hosts", "31"], "4 to 30"),
        (["--seed", "1", "--for", "60", "--python", "/no/such"], "/no/such"),
        (["--seed", "1", "--for", "60", "--node", "'"], "quotation"),
        (["--seed", "1", "--for", "60", "--patience", "-1"], "--patience"),
    ],
)
def test_wrong_usage_is_one_line_before_anything_is_built(arguments, word):
    code, output, errors = Soak(*arguments).finish()
    assert (code, output, len(errors)) == (2, [], 1)
    assert word in errors[0]
