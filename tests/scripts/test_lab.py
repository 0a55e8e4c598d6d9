"""The laboratory, and nodes in it: real cables pulled, real firewalls, a real NAT.

What is promised here about nodes needs a network that can break; what is promised about the
laboratory is that it says when something did not happen, and that nothing of it is ever left.
"""

import glob
import json
import re
import os
import signal
import subprocess
import sys

import pytest
from tests.support import PATIENCE, ROOT, new_id, reason_for_no_lab, wait_until

from scripts.laboratory.node import Node

LAB = os.path.join(ROOT, "scripts", "lab.py")
QUICK = "--ping-interval 1 --ping-timeout 1 --probe-interval 1"
NOTICED = 1 + 1 + 3
"""Seconds until a silent peer is dropped: ping interval, timeout, and slack."""


pytestmark = pytest.mark.skipif(bool(reason_for_no_lab()), reason=reason_for_no_lab())


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
        """What these hosts, or all, told of that kind before the end."""
        last = [number for number, record in enumerate(self.records) if "step" in record][-1]
        return [
            record
            for record in self.records[:last]
            if record.get("event") == event and record["host"] in (hosts or (record["host"],))
        ]

    def seconds(self, step):
        """How long each step of that name took to come true."""
        return [record["seconds"] for record in self.records if record.get("result") == step]


def play(*arguments, **more):
    """A run that goes well, with quick nodes."""
    played = Played("--node", QUICK, *arguments, **more)
    assert (played.code, played.errors) == (0, []), "\n".join(
        played.errors + [json.dumps(record) for record in played.records]
    )
    return played


# -- nodes in a network that breaks -------------------------------------------------------


def test_everyone_finds_everyone_and_all_end_well():
    """The steps come from standard input here."""
    played = play(feed="# all of them\nmesh 15\n\nshow  # as each sees it\n")
    (table,) = [record["table"] for record in played.records if record.get("result") == "show"]
    for name in table:
        for other in table[name]:
            # Of two that have dialed each other at once both may have told the same first.
            assert {table[name][other], table[other][name]} <= {"<", ">"}
    assert [record["ended"] for record in played.records if "ended" in record] == [0, 0, 0, 0]


def test_a_split_network_is_noticed_and_heals():
    """Each half goes on undisturbed; after the heal both halves find each other."""
    steps = ["mesh", "split h4,h5,h6", "apart 15", "show", "heal", "mesh 30", "show"]
    played = play("--hosts", "6", *steps)
    assert played.seconds("apart")[0] < NOTICED
    halves = {"h1", "h2", "h3"}, {"h4", "h5", "h6"}
    lost = {(event["host"], event["name"]) for event in played.events("peer_down")}
    assert lost == {(a, b) for one, other in (halves, halves[::-1]) for a in one for b in other}
    assert {event["reason"] for event in played.events("peer_down")} == {"timeout"}
    tables = [record["table"] for record in played.records if record.get("result") == "show"]
    connected = [{(a, b) for a in t for b in t[a] if "." not in t[a][b]} for t in tables]
    assert connected[1] - connected[0] == lost
    assert len(connected[1]) == 6 * 5


def test_a_pulled_cable_is_noticed_at_both_ends_and_a_narrow_one_is_no_reason_to_part():
    played = play(
        "--hosts",
        "3",
        "mesh",
        "narrow h3 64kbit",
        "expect rtt on h3 about h1",
        "wide h3",
        "unplug h2",
        "expect peer_down on h1 about h2 reason=timeout",
        "apart 15",
        "plug h2",
        "mesh",
    )
    assert played.seconds("apart")[0] < NOTICED
    lost = {(event["host"], event["name"]) for event in played.events("peer_down")}
    assert lost == {("h1", "h2"), ("h3", "h2"), ("h2", "h1"), ("h2", "h3")}


@pytest.mark.parametrize("verdict", ["drop", "reject"])
def test_a_firewall_keeps_new_connections_out_and_those_that_stand_stay(verdict):
    """Who cannot be dialed dials, so a restarted neighbour is its peer again all the same."""
    played = play(
        "--hosts",
        "3",
        "mesh",
        "%s h1" % verdict,
        "expect rtt on h1 about h2",
        "expect rtt on h2 about h1",
        "never peer_down on h1",
        "kill h2",
        "start h2",
        "mesh",
        "expect peer_up on h1 about h2 direction=outbound",
        "never peer_down on h1 about h3",
    )
    after_the_drop = [event for event in played.events("peer_up", "h1") if event["name"] == "h2"]
    assert after_the_drop[-1]["direction"] == "outbound"


def test_a_firewall_against_one_shows_in_the_probes_of_that_one_only():
    """The connection stands all the while, so nothing but a probe can find it."""
    played = play(
        "--hosts",
        "3",
        "mesh",
        "expect rtt on h2 about h1",
        "drop h1 from h2",
        "expect reach on h2 about h1 dial=timeout within 8",
        "never reach on h1 about h2",
        "never reach on h3 about h1",
        "open h1",
        "expect reach on h2 about h1 dial=ok was=timeout within 8",
    )
    assert played.events("peer_down") == []


def test_a_host_behind_nat_is_everyones_peer_and_dialed_by_nobody():
    """It dials out, also to a host that came later; what it listens at means nothing outside."""
    played = play(
        "--hosts", "2", "--behind-nat", "2", "mesh", "add", "mesh", "expect rtt on n2 about h3"
    )
    for name in "n1", "n2":
        up = played.events("peer_up", name)
        assert sorted(event["name"] for event in up) == ["h1", "h2", "h3"]
        assert {event["direction"] for event in up} == {"outbound"}
    tried = [event["address"] for event in played.events("refused")]
    assert [address for address in tried if address.startswith(("10.78.", "10.77.0.254:"))] == []


def test_whichever_is_asked_the_answer_is_the_same_and_names_the_causes():
    """Six hosts: one behind NAT, one behind a firewall, one with a narrow link; nothing else."""
    played = Played(
        "--node",
        "--ping-interval 3 --ping-timeout 3 --probe-interval 2",
        "--hosts",
        "5",
        "--behind-nat",
        "1",
        "narrow h4 64kbit",
        "drop h3",
        "restart h4",  # that what it has measured before does not count
        "mesh 20",
        *("expect reach on %s about h3 dial=timeout within 10" % h for h in ("h1", "h2", "h4", "h5")),
        "wait 12",  # two ping intervals, and two more: a busy machine is late, and leaves samples out
        *("ask %s matrix --json" % host for host in ("h1", "h2", "h3", "h4", "h5", "n1")),
        "ask h2 ping -c 2 -i 0.1",
    )
    assert (played.code, played.errors) == (0, [])
    said = [record["said"] for record in played.records if record.get("result") == "ask"]
    assert "2 sent, 2 received" in said.pop()
    assert len(said) == 6
    for answer in said:
        texts = sorted(verdict["text"] for verdict in json.loads(answer)["verdicts"])
        assert [re.sub(r" \(.*?\)", "", text) for text in texts] == [
            "h3: nobody can dial it, it dials everyone: inbound blocked",
            "h4: slow to everyone",
            "n1: nobody can dial it, it dials everyone: inbound blocked",
        ]


def test_how_a_node_ended_is_told_by_its_peers():
    """Killed: the stream just ends.  Stopped: it said so.  Frozen: only a ping can tell."""
    play(
        "--hosts",
        "3",
        "mesh",
        "kill h3",
        "expect peer_down on h1 about h3 reason=closed within 3",
        "expect peer_down on h2 about h3 reason=closed within 3",
        "start h3",
        "mesh",
        "stop h3",
        "expect peer_down on h1 about h3 reason=stopping within 3",
        "expect peer_down on h2 about h3 reason=stopping within 3",
        "start h3",
        "mesh",
        "restart h1",
        "mesh",
        "freeze h2",
        "expect peer_down on h1 about h2 reason=timeout within 6",
        "thaw h2",
        "mesh",
        "freeze h3",  # thawed for the end
    )


def test_hosts_without_ipv4_are_a_network_too():
    played = play("--ipv6-only", "--hosts", "3", "mesh", "expect rtt on h3")
    addresses = [event["address"] for event in played.events("peer_up")]
    assert len(addresses) >= 6
    assert all(address.startswith("[fd77::") for address in addresses)
    told = {event["host"]: event["addresses"] for event in played.events("listening")}
    assert told["h2"] == ["[fd77::2]:6000"]  # what others join with; nobody has 127.0.0.1


# -- what the laboratory promises ---------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, word",
    [
        (["mesh", "spilt h1"], "spilt"),
        (["split h1,h9"], "h9"),
        (["--behind-nat", "1", "split n1"], "router"),
        (["drop h1 of h2"], "from"),
        (["wait soon"], "soon"),
        (["never peer_dwon on h1"], "peer_dwon"),
        (["never peer_down on h1 raeson=timeout"], "raeson"),
        (["narrow h1 fast"], "256kbit"),
        (["add", "kill h5", "kill h6"], "h6"),
        (["--hosts", "31"], "30"),
        (["--node", "'"], "quotation"),
    ],
)
def test_wrong_usage_is_one_line_before_anything_is_built(arguments, word):
    played = Played(*arguments)
    assert (played.code, played.records) == (2, [])
    assert len(played.errors) == 1
    assert word in played.errors[0]


def test_a_wrong_line_of_standard_input_is_found_before_the_first_is_taken():
    played = Played(feed="mesh\nmess\n")
    assert (played.code, played.records, len(played.errors)) == (2, [], 1)


@pytest.mark.parametrize(
    "step, said",
    [
        ("expect peer_down on h1 about h2 within 0.2", "no event in 0.2 s: peer_down on h1 about h2"),
        ("never peer_up on h1 direction=inbound", "peer_up on h1 direction=inbound"),
    ],
)
def test_what_did_not_happen_is_one_line_and_exit_code_1(step, said):
    played = Played("--hosts", "2", "--node", QUICK, "mesh", step, "wait 100")
    assert played.code == 1
    (line,) = played.errors
    assert said in line


def test_a_mesh_that_does_not_come_says_who_misses_whom():
    steps = ["mesh", "drop h1 from h2", "unplug h2", "apart", "plug h2", "mesh 0"]
    played = Played("--hosts", "2", "--node", QUICK, *steps)
    assert played.code == 1
    assert played.errors == ["lab: no mesh in 0 s: h1 misses h2; h2 misses h1"]


def test_a_node_that_complains_or_does_not_start_fails_the_run():
    played = Played("--hosts", "2", "--node", "--trace", "mesh")
    assert played.code == 1
    assert "h1 wrote to stderr" in played.errors[-2]
    assert "h2 wrote to stderr" in played.errors[-1]
    played = Played("--hosts", "1", "--node", "--no-such-option")
    assert played.code == 1
    assert "does not start" in played.errors[-1]


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
        # Its outer process, unshare, its inner process, and two nodes.
        assert len(self.alive()) == 5

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


def test_a_signal_for_a_node_that_has_just_ended_is_for_nobody():
    """The thread that reads what it says waits for its end as well."""
    node = Node([sys.executable, "-c", ""], lambda *record: None)
    node.wait(PATIENCE)
    node.process.returncode = None  # as for a moment while that thread is in wait()
    node.send(signal.SIGCONT)


def network_names():
    """The network namespaces that the machine itself has names for, and its interfaces."""
    return [subprocess.check_output(["ip"] + words) for words in (["netns"], ["-o", "link"])]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_of_a_laboratory_however_it_ends(start_lab, number):
    """And a second one, at the same time, does not notice."""
    before = network_names()
    labs = [start_lab(), start_lab()]
    for lab in labs:
        lab.wait_for_mesh()
    assert network_names() == before
    code = -number if number == signal.SIGKILL else 130
    assert labs[0].end(number) == (code, b"")
    wait_until(lambda: not labs[0].alive())
    assert len(labs[1].alive()) == 5
    assert labs[1].end(signal.SIGINT) == (130, b"")
    wait_until(lambda: not labs[1].alive())
    assert network_names() == before
