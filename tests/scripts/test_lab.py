"""The laboratory, and nodes in it: real cables pulled, real firewalls, a real NAT.

The nodes' promises here need a network that can break.  The laboratory promises to report what did
not happen, and to leave nothing behind.
"""

import glob
import json
import os
import re
import signal
import subprocess
import sys

import pytest

from scripts.laboratory.node import Node
from tests.support import PATIENCE, ROOT, new_id, reason_for_no_lab, wait_until

LAB = os.path.join(ROOT, "scripts", "lab.py")
QUICK = "--ping-interval 0.5 --ping-timeout 1 --probe-interval 0.5"
NOTICED = 0.5 + 1 + 3
"""Seconds until a silent peer is dropped: ping interval, timeout, and slack."""


def oldest_python():
    """The oldest Python of this machine that can run a node: 3.6, if pyenv has it."""
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    found = sorted(glob.glob(os.path.join(root, "versions", "3.6.*", "bin", "python3")))
    return (found or [sys.executable])[0]


pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(reason_for_no_lab()), reason=reason_for_no_lab()),
]


class Played:
    """One run of the laboratory, from start to end."""

    def __init__(self, *arguments, feed=""):
        run = subprocess.run(
            [sys.executable, LAB, "--json"] + list(arguments),
            input=feed.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=120,
        )
        self.code = run.returncode
        self.errors = run.stderr.decode().splitlines()
        self.records = [json.loads(line) for line in run.stdout.decode().splitlines()]

    def events(self, event, *hosts):
        """The events of that kind that these hosts, or all, reported before the end."""
        last = [number for number, record in enumerate(self.records) if "step" in record][-1]
        return [
            record
            for record in self.records[:last]
            if record.get("event") == event and record["host"] in (hosts or (record["host"],))
        ]

    def results(self, step, field="seconds"):
        """What each step of that name found."""
        return [record[field] for record in self.records if record.get("result") == step]


def play(*arguments, **more):
    """A run that goes well, with quick nodes."""
    played = Played("--node", QUICK, *arguments, **more)
    assert (played.code, played.errors) == (0, []), "\n".join(
        played.errors + [json.dumps(record) for record in played.records]
    )
    return played


# -- nodes in a network that breaks -------------------------------------------------------


def test_all_nodes_find_each_other_and_end_well():
    """The steps come from standard input here."""
    played = play(feed="# all of them\nmesh 15\n\nshow  # as each sees it\n")
    (table,) = played.results("show", "table")
    for name in table:
        for other in table[name]:
            # Two nodes that dial each other at once may both have reported the same direction first.
            assert {table[name][other], table[other][name]} <= {"<", ">"}
    assert [record["ended"] for record in played.records if "ended" in record] == [0, 0, 0, 0]


def test_split_network_is_noticed_and_heals():
    """Each half goes on undisturbed; after the heal both halves find each other."""
    steps = ["mesh", "split h4,h5,h6", "apart 15", "show", "heal", "mesh 30", "show"]
    played = play("--hosts", "6", *steps)
    assert played.results("apart")[0] < NOTICED
    halves = {"h1", "h2", "h3"}, {"h4", "h5", "h6"}
    lost = {(event["host"], event["name"]) for event in played.events("peer_down")}
    assert lost == {(a, b) for one, other in (halves, halves[::-1]) for a in one for b in other}
    assert {event["reason"] for event in played.events("peer_down")} == {"timeout"}
    tables = played.results("show", "table")
    connected = [{(a, b) for a in t for b in t[a] if "." not in t[a][b]} for t in tables]
    assert connected[1] - connected[0] == lost
    assert len(connected[1]) == 6 * 5


def test_unplugged_cable_is_noticed_at_both_ends_and_narrow_one_is_no_reason_to_part():
    played = play(
        *("--hosts", "3", "mesh", "narrow h3 64kbit", "expect rtt on h3 about h1", "wide h3"),
        *("unplug h2", "expect peer_down on h1 about h2 reason=timeout", "apart 15"),
        *("plug h2", "mesh"),
    )
    assert played.results("apart")[0] < NOTICED
    lost = {(event["host"], event["name"]) for event in played.events("peer_down")}
    assert lost == {("h1", "h2"), ("h3", "h2"), ("h2", "h1"), ("h2", "h3")}


@pytest.mark.parametrize("verdict", ["drop", "reject"])
def test_firewall_keeps_new_connections_out_and_existing_ones_stay(verdict):
    """A node that cannot be dialed dials, so a restarted neighbour becomes its peer all the same."""
    played = play(
        *("--hosts", "3", "mesh", "%s h1" % verdict),
        *("expect rtt on h1 about h2", "expect rtt on h2 about h1", "never peer_down on h1"),
        *("kill h2", "start h2", "mesh", "expect peer_up on h1 about h2 direction=outbound"),
        "never peer_down on h1 about h3",
    )
    ups = [event for event in played.events("peer_up", "h1") if event["name"] == "h2"]
    assert ups[-1]["direction"] == "outbound"


def test_firewall_against_one_host_shows_in_the_test_dials_of_that_host_only():
    """The connection stays up all the while, so only a test dial can find it."""
    played = play(
        *("--hosts", "3", "mesh", "expect rtt on h2 about h1", "reject h1 from h2"),
        "expect reach on h2 about h1 dial=unreachable within 8",
        *("never reach on h1 about h2", "never reach on h3 about h1", "open h1"),
        "expect reach on h2 about h1 dial=ok was=unreachable within 8",
    )
    assert played.events("peer_down") == []


def test_host_behind_nat_is_a_peer_of_all_and_is_never_dialed():
    """It dials out, also to a host that came later.  Its own address means nothing outside."""
    played = play(
        *("--hosts", "2", "--behind-nat", "2", "mesh", "add", "mesh", "expect rtt on n2 about h3")
    )
    for name in "n1", "n2":
        up = played.events("peer_up", name)
        assert sorted(event["name"] for event in up) == ["h1", "h2", "h3"]
        assert {event["direction"] for event in up} == {"outbound"}
    tried = [event["address"] for event in played.events("refused")]
    assert [address for address in tried if address.startswith(("10.78.", "10.77.0.254:"))] == []


def test_peers_report_how_a_node_ended():
    """Killed: the stream just ends.  Stopped: it said so.  Frozen: only a ping shows it."""
    play(
        *("--hosts", "3", "mesh"),
        *("kill h3", "expect peer_down on h1 about h3 reason=closed within 3"),
        *("expect peer_down on h2 about h3 reason=closed within 3", "start h3", "mesh"),
        *("stop h3", "expect peer_down on h1 about h3 reason=stopping within 3"),
        *("expect peer_down on h2 about h3 reason=stopping within 3", "start h3", "mesh"),
        *("restart h1", "mesh"),
        *("freeze h2", "expect peer_down on h1 about h2 reason=timeout within 6"),
        *("thaw h2", "mesh", "freeze h3"),  # thawed for the end
    )


def test_hosts_without_ipv4_form_a_network():
    played = play("--ipv6-only", "--hosts", "3", "mesh", "expect rtt on h3")
    addresses = [event["address"] for event in played.events("peer_up")]
    assert len(addresses) >= 6
    assert all(address.startswith("[fd77::") for address in addresses)
    listening = {event["host"]: event["addresses"] for event in played.events("listening")}
    assert listening["h2"] == ["[fd77::2]:6000"]  # what others join with; no 127.0.0.1


@pytest.mark.parametrize(
    "arguments, word",
    [
        (["mesh", "spilt h1"], "spilt"),
        (["split h1,h9"], "h9"),
        (["--behind-nat", "1", "split n1"], "router"),
        (["drop h1 of h2"], "drop HOST [from HOSTS]"),
        (["drop h1,h2"], "drop HOST [from HOSTS]"),
        (["wait soon"], "soon"),
        (["wait"], "wait SECONDS"),
        (["ask h1 watch"], "matrix"),
        (["expect peer_up h1"], "EVENT on HOST"),
        (["never peer_dwon on h1"], "peer_dwon"),
        (["never peer_down on h1 raeson=timeout"], "raeson"),
        (["narrow h1 fast"], "256kbit"),
        (["lose 101 to h1"], "percentage"),
        (["lose h1 20"], "percentage"),
        (["hole 1400 to h9"], "h9"),
        (["jitter h1 60"], "0-60ms"),
        (["jitter h1 60-0ms"], "0-60ms"),
        (["reject h1 with h2"], "admin-prohibited"),
        (["reject h1 with"], "[with ANSWER]"),
        (["impostor h1 spy"], "banner"),
        (["impostor h1"], "impostor HOST KIND"),
        (["crash h1 on 70000"], "65535"),
        (["agree well with h1"], "agree [VERDICT]"),
        (["--far", "1", "split f1"], "unplug"),
        (["--python", "h1=no-such-python"], "no-such-python"),
        (["--folder", "h1=/no/such/folder"], "/no/such/folder"),
        (["add", "kill h5", "kill h6"], "h6"),
        (["--hosts", "31"], "30"),
        (["--node", "'"], "quotation"),
    ],
)
def test_wrong_usage_is_one_line_before_anything_is_built(arguments, word):
    played = Played(*arguments)
    assert (played.code, played.records) == (2, [])
    (line,) = played.errors
    assert word in line


def test_wrong_line_of_standard_input_is_found_before_the_first_step():
    played = Played(feed="mesh\nmess\n")
    assert (played.code, played.records, len(played.errors)) == (2, [], 1)
    assert played.errors[0].startswith("lab: line 2: no step is called 'mess'")


@pytest.mark.parametrize(
    "step, words",
    [
        ("expect peer_down on h1 about h2 within 0.2", "no event in 0.2 s: peer_down on h1 about h2"),
        ("never peer_up on h1 direction=inbound", "peer_up on h1 direction=inbound"),
    ],
)
def test_failed_expectation_is_one_line_and_exit_code_1(step, words):
    played = Played("--hosts", "2", "--node", QUICK, "mesh", step, "wait 100")
    assert played.code == 1
    (line,) = played.errors
    assert words in line


def test_mesh_that_does_not_form_says_which_node_misses_which():
    played = Played("--hosts", "3", "--node", "--max-peers 1", "mesh 0.2")
    assert played.code == 1
    (line,) = played.errors
    misses = r"h\d misses h\d(, h\d)?"
    assert re.match(r"lab: no mesh in 0\.2 s: %s(; %s)*$" % (misses, misses), line)


def test_node_that_complains_or_does_not_start_fails_the_run():
    played = Played("--hosts", "2", "--node", "--trace", "mesh")
    assert played.code == 1
    assert "h1 wrote to stderr" in played.errors[-2]
    assert "h2 wrote to stderr" in played.errors[-1]
    played = Played("--hosts", "1", "--node", "--no-such-option")
    assert played.code == 1
    assert "does not start" in played.errors[-1]


def test_quiet_shows_steps_and_results_only():
    asked, run = "ask h2 ping -c 1", "run h2 ip addr"
    played = Played("--quiet", "--hosts", "2", "mesh", asked, run)
    assert [record.get("step") for record in played.records] == [
        *("mesh", None, asked, None, run, None, "end")
    ]
    (answer,) = played.results("ask", "said")
    assert "1 sent, 1 received" in answer
    (printed,) = played.results("run", "said")
    assert "10.77.0.2/24" in printed


def test_terminal_is_asked_for_steps_and_a_wrong_one_does_not_end_it():
    ours, theirs = os.openpty()
    try:
        os.write(ours, b"mesh\nkill h9\nquit\n?\nshow\n\x04")
        run = subprocess.run(
            [sys.executable, LAB, "--quiet", "--hosts", "2"],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=PATIENCE,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert run.returncode == 0
    assert b"no 'h9'" in run.stderr
    assert b"; Ctrl-D ends, help lists\n" in run.stderr
    for words in b"mesh: ", b"split CABLES", b"h1   h2\n", b"---- end":
        assert words in run.stdout


class Running:
    """A laboratory under way, found among all processes by a word in their command lines."""

    def __init__(self):
        self.mark = "lab-%s" % new_id()
        self.process = subprocess.Popen(
            [sys.executable, LAB, "--json", "--hosts", "2"]
            + ["--node", QUICK + " --network " + self.mark, "mesh", "wait 100"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def wait_for_mesh(self):
        assert any(json.loads(line.decode()).get("result") for line in self.process.stdout)
        assert len(self.alive()) == 4  # its process outside, the one inside, and two nodes

    def alive(self):
        found = []
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                with open(path, "rb") as file:
                    found += [path] if self.mark.encode() in file.read() else []
            except OSError:
                pass  # it ended while we looked
        return found

    def end(self, number):
        """Its exit code and stderr after a signal to the process that we started, and no other."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, errors


@pytest.fixture
def start_lab():
    """``start_lab()``: a laboratory that is gone after the test."""
    started = []

    def start():
        started.append(Running())
        return started[-1]

    yield start
    for lab in started:
        lab.process.kill()
        lab.process.wait()
        lab.process.stdout.close()
        lab.process.stderr.close()


def network_names():
    """The network namespaces that the machine itself has names for, and its interfaces."""
    return [subprocess.check_output(["ip"] + words) for words in (["netns"], ["-o", "link"])]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_of_a_laboratory_however_it_ends(start_lab, number):
    """A second one, at the same time, does not notice."""
    before = network_names()
    labs = [start_lab(), start_lab()]
    for lab in labs:
        lab.wait_for_mesh()
    assert network_names() == before
    code = -number if number == signal.SIGKILL else 130
    assert labs[0].end(number) == (code, b"")
    wait_until(lambda: not labs[0].alive())
    assert len(labs[1].alive()) == 4
    assert labs[1].end(signal.SIGINT) == (130, b"")
    wait_until(lambda: not labs[1].alive())
    assert network_names() == before


def test_signal_for_a_node_that_has_just_ended_is_ignored():
    """Private: for a moment the thread that reads its output is waiting for its end as well."""
    node = Node([sys.executable, "-c", ""], lambda *record: None)
    node.wait(PATIENCE)
    node.process.returncode = None  # as in that moment
    node.send(signal.SIGCONT)
