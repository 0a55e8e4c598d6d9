"""Further steps of the laboratory: impostors, crashes, far hosts, other programs, and agreement."""

import json
import os
import shutil
import sys

import pytest

import p2p_plain
from tests.scripts.test_lab import QUICK, Played, play
from tests.support import ROOT, reason_for_no_lab

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(reason_for_no_lab()), reason=reason_for_no_lab()),
]


def test_hosts_blocked_from_each_other_before_they_start_never_meet():
    """A third node connects the network.  ``reject`` answers as it is told to."""
    played = play(
        *("--hosts", "3", "--no-nodes", "drop h3 from h2", "reject h2 from h3 with tcp-reset", "start"),
        *("expect refused on h3 about h2 reason=refused", "mesh", "show"),
    )
    (table,) = played.results("show", "table")
    assert (table["h2"]["h3"], table["h3"]["h2"]) == (".", ".")


def test_far_hosts_meet_the_others_at_h1_only():
    """There is no route between the two networks, so nodes of the one never meet those of the other."""
    played = play("--hosts", "2", "--far", "2", "mesh", "show", "unplug h1", "apart")
    (table,) = played.results("show", "table")
    for name in table:
        met = {other for other in table[name] if table[name][other] != "."}
        assert met == {"h1": {"h2", "f1", "f2"}, "h2": {"h1"}}.get(name, {"h1", "f1", "f2"} - {name})
    lost = {(event["host"], event["name"]) for event in played.events("peer_down")}
    assert lost == {(a, b) for name in ("h2", "f1", "f2") for a, b in (("h1", name), (name, "h1"))}


def test_impostor_answers_in_the_place_of_a_node_until_the_node_is_started_again():
    """An impostor that is a node would join if it were of the same network; this one is not."""
    played = play(
        *("--hosts", "2", "mesh", "kill h2", "expect peer_down on h1 about h2"),
        *("impostor h2 banner", "ask h2 ping -c 1", "impostor h2 http", "ask h2 ping -c 1"),
        *("impostor h2 foreign", "ask h2 ping -c 1", "impostor h2 none", "ask h2 ping -c 1"),
        *("impostor h2 stranger", "expect peer_up on h1", "start h2", "mesh"),
    )
    assert [event["name"] for event in played.events("peer_up", "h1")] == ["h2", "stranger", "h2"]
    banner, http, foreign, none = played.results("ask", "said")
    assert "SSH-2.0" in banner
    assert "HTTP/1.1 400" in http
    assert "--network 'foreign'" in foreign
    assert "refused" in none


def test_crashed_nodes_come_back_one_after_the_other_on_the_port_that_is_given():
    played = play("--hosts", "3", "mesh", "crash h2,h3 times 2", "crash h3 on 0", "mesh")
    ups = [(event["host"], event["addresses"][0]) for event in played.events("listening")]
    crashed = ups[3:]
    assert [host for host, _ in crashed] == ["h2", "h3", "h2", "h3", "h3"]
    assert {address for _, address in crashed[:4]} == {"10.77.0.2:6000", "10.77.0.3:6000"}
    assert crashed[4][1] != "10.77.0.3:6000"
    # Each crashed node had met a peer, one or the other, before it was killed.
    # Some may not have known yet that they had it.
    lost = {event["nodeid"]: event["name"] for event in played.events("peer_down")}
    assert 3 <= len(lost) <= 5
    assert set(lost.values()) == {"h2", "h3"}


def test_each_host_can_have_a_python_and_a_program_of_its_own(tmp_path):
    """The version of the program is in its hello, and ``ask`` runs what that host runs."""
    old = tmp_path / "old"
    shutil.copytree(os.path.join(ROOT, "p2p_plain"), str(old / "p2p_plain"))
    face = old / "p2p_plain" / "__init__.py"
    face.write_text(face.read_text().replace(p2p_plain.__version__, "0.0.1"))
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    played = play(
        *("--hosts", "3", "--folder", "h2=%s" % old, "--python", "h2,h3=%s" % link, "mesh"),
        *("ask h1 /status.json", "ask h2 /status.json", "ask h3 /status.json"),
    )
    versions = [json.loads(said)["version"] for said in played.results("ask", "said")]
    assert versions == [p2p_plain.__version__, "0.0.1", p2p_plain.__version__]


def test_nodes_that_agree_say_so_and_the_verdict_can_be_named():
    """Each is asked in five ways; so a node without a page does not answer in all of them."""
    played = play(
        *("--hosts", "3", "mesh", "agree well", "kill h3", "agree down about h3 saying refused"),
        *("agree broken on h2", "ask h1 /cluster"),
    )
    well, down, one = played.results("said", "said")
    assert sorted(well) == ["h1", "h2", "h3"]
    assert sorted(down) == ["h1", "h2"]
    assert sorted(one) == ["h2"]
    assert {word for said in down.values() for key, word in said.items() if key != "verdicts"} <= {
        *("broken", "-")
    }
    assert all(verdict.startswith("h3: down") for said in down.values() for verdict in said["verdicts"])
    (answer,) = played.results("ask", "said")
    assert json.loads(answer)["ok"] is False


def test_nodes_that_do_not_agree_in_time_fail_the_run_and_all_that_they_say_is_shown():
    played = Played("--hosts", "2", "--node", QUICK, "mesh", "agree well", "agree down about h2 within 0.1")
    assert played.code == 1
    assert played.errors == ["lab: no agreement in 0.1 s: h1, h2: not down about h2"]
    assert len(played.results("said", "said")) == 2
