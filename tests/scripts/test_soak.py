"""The soak: its plan is fair and the same each time, and what is wrong with a node fails it."""

import glob
import os
import signal
import subprocess
import sys

import pytest

from tests.support import PATIENCE, ROOT, new_id, reason_for_no_lab, wait_until

sys.path.append(os.path.join(ROOT, "scripts"))  # as when it is run, for what it imports itself

from scripts import soak  # noqa: E402
from scripts.laboratory import lab, steps  # noqa: E402, F401  (lab declares the steps)

SOAK = os.path.join(ROOT, "scripts", "soak.py")
QUICK = "--ping-interval 1 --ping-timeout 1 --probe-interval 1"


needs_lab = pytest.mark.skipif(bool(reason_for_no_lab()), reason=reason_for_no_lab())


def run_soak(*arguments):
    """Exit code, stdout and stderr in lines."""
    run = subprocess.run(
        [sys.executable, SOAK] + list(arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=120,
    )
    return run.returncode, run.stdout.decode().splitlines(), run.stderr.decode().splitlines()


# -- the plan -------------------------------------------------------------------------------


def test_the_same_arguments_make_the_same_plan():
    plan = soak.make_plan(7, 300, 12)
    assert plan == soak.make_plan(7, 300, 12)
    assert plan != soak.make_plan(8, 300, 12)
    assert plan != soak.make_plan(7, 300, 5)


def test_a_plan_does_not_depend_on_the_version_of_python():
    """Else a failure on one could not be looked at on another."""
    plan = [(round(action.at, 3), action.text) for action in soak.make_plan(1, 120, 12)[:5]]
    assert plan == [
        (0.0, "calm"),
        (0.622, "drop h5 from h3,h4"),
        (1.148, "add  # h7"),
        (2.486, "freeze h1"),
        (4.518, "stop h7"),
    ]


def test_everything_happens_sooner_or_later():
    plan = soak.make_plan(1, 600, 12)
    ends = {trouble.end for trouble in soak.TROUBLES.values()} - {""}
    assert {action.kind for action in plan} == set(soak.TROUBLES) | ends | {"calm"}
    assert max(action.at for action in plan) <= 600
    assert len(plan) > 300


@pytest.mark.parametrize("hosts", [4, 5, 12, 30])
@pytest.mark.parametrize("seconds", [1, 12, 600])
def test_a_plan_leaves_the_anchors_and_three_nodes_awake_and_is_calm_in_a_calm(hosts, seconds):
    for seed in range(10):
        names = ["h%d" % number for number in range(1, soak.hosts_at_first(hosts) + 1)]
        away, frozen, others, at = set(), set(), set(), 0.0
        plan = soak.make_plan(seed, seconds, hosts)
        assert [plan[0].kind, plan[-1].kind] == ["calm", "calm"]
        assert sum(action.kind == "calm" for action in plan) >= 3
        for action in plan:
            assert action.at >= at
            at = action.at
            who = set(action.arguments)
            if action.kind == "calm":
                assert frozen | others == set()
                continue
            steps.read_step(steps.split_words(action.text), names)  # it is one
            if action.kind == "add":
                names += action.arguments
                assert len(names) <= hosts
            elif action.kind in ("stop", "kill", "restart"):
                assert not who & (away | frozen | set(soak.ANCHORS))
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
            elif action.kind in {trouble.end for trouble in soak.TROUBLES.values()}:
                others -= {(action.kind, name) for name in who}
            else:
                affected = action.arguments if action.kind == "split" else action.arguments[:1]
                others |= {(soak.TROUBLES[action.kind].end, name) for name in affected}
            assert len(set(names) - away - frozen) >= soak.LEAST_AWAKE


# -- what nodes tell ------------------------------------------------------------------------


@pytest.fixture
def ledger():
    """The account of a node on h1 that listens, and has h2 as its peer."""
    ledger = soak.Ledger()
    ledger.hear({"host": "h1", "at": 0.1, "event": "listening"})
    hear(ledger, "peer_up", "h2", 1)
    return ledger


def hear(ledger, event, name, peers):
    more = {"nodeid": name, "name": name, "peers": peers, "reason": "closed"}
    ledger.hear(dict(more, host="h1", at=1.0, event=event))


def test_peers_that_come_and_go_are_counted(ledger):
    hear(ledger, "peer_up", "h3", 2)
    hear(ledger, "peer_down", "h2", 1)
    hear(ledger, "peer_up", "h2", 2)
    assert ledger.problems == []
    assert (ledger.started, ledger.ups, ledger.downs) == (1, 3, {"closed": 1})
    assert (ledger.lives["h1"].up, ledger.lives["h1"].events) == ({"h2", "h3"}, 5)


@pytest.mark.parametrize(
    "event, name, peers, said",
    [
        ("peer_up", "h2", 1, "h1 told peer_up of h2 twice in a row"),
        ("peer_down", "h3", 1, "h1 told peer_down of h3 twice in a row"),
        ("peer_up", "h3", 3, "h1 counts 3 peers and told of 2"),
        ("peer_down", "h2", 1, "h1 counts 1 peers and told of 0"),
    ],
)
def test_what_does_not_add_up_is_a_problem(ledger, event, name, peers, said):
    hear(ledger, event, name, peers)
    (problem,) = ledger.problems
    assert said in problem


def test_a_node_started_again_has_no_peers_yet(ledger):
    ledger.expect(-9, "h1")
    ledger.hear({"host": "h1", "at": 2.0, "ended": -9})
    ledger.hear({"host": "h1", "at": 3.0, "event": "listening"})
    hear(ledger, "peer_up", "h2", 1)
    assert ledger.problems == []


@pytest.mark.parametrize(
    "expected, record, said",
    [
        (None, {"stderr": "Traceback (most recent call last):"}, "Traceback"),
        (None, {"ended": 0}, "h1 ended by itself, exit code 0"),
        (0, {"ended": -9}, "h1 ended with exit code -9"),
        (-9, {"ended": 0}, "h1 ended with exit code 0"),
    ],
)
def test_an_end_that_nobody_asked_for_is_a_problem(ledger, expected, record, said):
    if expected is not None:
        ledger.expect(expected, "h1")
    ledger.hear(dict(record, host="h1", at=2.0))
    (problem,) = ledger.problems
    assert said in problem


# -- what nodes take ------------------------------------------------------------------------


FLAT = soak.FLAT_KIB


def judged(*readings):
    return soak.judge("h1", [soak.Reading(*reading) for reading in readings])


def test_flat_is_flat():
    assert judged((18000, 16, 17, 8, 2000)) == []
    assert judged((18000, 16, 17, 8, 2000), (19500, 24, 17, 8, 9000)) == []


def test_memory_that_grows_without_a_reason_is_a_problem():
    (problem,) = judged((18000, 16, 17, 8, 2000), (18000 + FLAT + 64, 16, 17, 8, 9000))
    assert problem == "h1: memory grew by %d KiB, allowed are %d" % (FLAT + 64, FLAT)


def test_what_a_node_remembers_is_a_reason_to_grow_until_it_remembers_no_more():
    assert judged((18000, 16, 17, 8, 200), (18790 + FLAT, 16, 17, 8, 9000)) == []
    assert len(judged((18000, 16, 17, 8, 200), (18810 + FLAT, 16, 17, 8, 9000))) == 1
    assert judged((18000, 12, 13, 4, 2000), (19900, 16, 17, 8, 9000)) == []


def test_threads_and_descriptors_that_peers_do_not_explain_are_a_problem():
    few = (18000, 12, 13, 4, 2000)
    assert len(judged(few, (18000, 40, 13, 4, 2000))) == 1
    assert len(judged(few, (18000, 12, 40, 4, 2000))) == 2  # too many, and more than before
    assert len(judged(few, (18000, 12, 17, 4, 2000))) == 1
    assert judged(few, (18000, 20, 21, 12, 2000)) == []


class ToyLab:
    """A laboratory in which nothing takes time but waiting, and whose network comes and goes."""

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
    ledger = soak.Ledger()
    run = soak.Run(ToyLab(ledger, changes), ledger, patience=40.0, lasting=9.0)
    assert run._whole() == pytest.approx(seconds)


def test_a_mesh_that_comes_apart_too_late_is_none():
    ledger = soak.Ledger()
    run = soak.Run(ToyLab(ledger, [107.0, 115.0, 123.0]), ledger, patience=20.0, lasting=9.0)
    with pytest.raises(soak.Failed, match=r"came apart again 23[.]000 s into"):
        run._whole()


def test_how_long_a_mesh_must_last_follows_from_the_options_of_the_nodes():
    assert soak.lasting(QUICK.split()) == 3.0
    assert soak.lasting(["--trace", "--ping-timeout=3", "--ping-interval", "5"]) == 9.0
    assert soak.lasting([]) == 81.0


# -- the whole of it ------------------------------------------------------------------------


@needs_lab
def test_nodes_live_through_a_short_one():
    """What is done is what was planned, and the summary tells of it."""
    options = ["--seed", "5", "--for", "8", "--hosts", "5"]
    code, said, errors = run_soak("--node", QUICK, *options)
    assert (code, errors) == (0, []), "\n".join(said + errors)
    plan = soak.make_plan(5, 8, 5)
    assert {"add", "split", "kill"} <= {action.kind for action in plan}
    done = [line[8:].strip() for line in said[: len(plan)]]
    done = ["calm" if text.startswith("calm ") else text for text in done]
    assert done == [action.text for action in plan]
    summary = "\n".join(said[len(plan) :])
    assert "seed 5" in summary
    assert "3 calms, a mesh after" in summary
    for word in "h1 at first: ", "h3 at last: ", "kill 1", "peer_down: closed":
        assert word in summary


@needs_lab
def test_nodes_that_leak_fail_it(tmp_path):
    """The nodes are run by what seems to be a Python, and loses 5 MiB a second."""
    leaky = tmp_path / "python"
    leaky.write_text(
        "\n".join(
            [
                "#!" + sys.executable,
                "import os, runpy, sys, threading, time",
                "def leak(kept=[]):",
                "    while True:",
                "        kept.append(b'x' * 512 * 1024)",
                "        time.sleep(0.1)",
                "threading.Thread(target=leak, daemon=True).start()",
                "sys.path.insert(0, os.getcwd())",
                "sys.argv = sys.argv[2:]  # after -m",
                "runpy.run_module('p2p_plain', run_name='__main__', alter_sys=True)",
            ]
        )
    )
    leaky.chmod(0o755)
    options = ["--python", str(leaky), "--seed", "1", "--for", "2", "--hosts", "4"]
    code, said, errors = run_soak("--node", QUICK, *options)
    assert code == 1, "\n".join(said + errors)
    assert [line[:25] for line in errors[:2]] == [
        "soak: h1: memory grew by ",
        "soak: h3: memory grew by ",
    ]
    assert "--seed 1" in errors[-1]


@needs_lab
def test_a_mesh_that_cannot_form_fails_it_and_says_who_misses_whom():
    options = ["--seed", "5", "--for", "2", "--hosts", "4", "--patience", "1"]
    code, said, errors = run_soak("--node", QUICK + " --max-peers 1", *options)
    assert code == 1, "\n".join(said + errors)
    assert errors[0].startswith("soak: no mesh in ")
    assert "h1 misses h" in errors[0]
    assert errors[1] == "soak: the last actions were:"
    assert "calm" in errors[2]
    assert "--seed 5" in errors[-1]


@needs_lab
def test_an_interrupted_one_sums_up_and_leaves_nothing():
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
        first = process.stdout.readline().decode()
        assert " calm " in first
        assert len(alive()) > 3  # its outer process, unshare, its inner process, and nodes
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
    assert (process.returncode, errors) == (130, b"")
    assert "seed 1: " in said.decode()
    assert "peer_up" in said.decode()
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
    code, said, errors = run_soak(*arguments)
    assert (code, said, len(errors)) == (2, [], 1)
    assert word in errors[0]


def test_a_plan_can_be_read_beforehand():
    code, said, errors = run_soak("--seed", "1", "--for", "60", "--plan")
    assert (code, errors) == (0, [])
    assert [line.split(None, 1)[1] for line in said] == [
        action.text for action in soak.make_plan(1, 60, 12)
    ]
