"""The judge of the wire: our node holds every rule, and each wrong node breaks the rules about it.

``tests/support/wrong_node.py`` has the wrong nodes.
"""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from p2p_plain import Node
from p2p_plain.common.config import Config
from p2p_plain.common.keys import make_key_file
from p2p_plain.node import node
from scripts.conformity import node as conformity_node
from scripts.conformity.judge import play_all
from scripts.conformity.outcome import BROKEN, OK, SKIPPED
from scripts.conformity.rules import MEMBERS_RULES, RULES
from tests.support import ROOT, RawListener, free_port, new_id
from tests.support.wrong_node import (
    Between, Closed, adding, answering_for_the_client, believing, changing, closing,
    dialing_through, doubling, dropping, pinging_once, place, repeating_addresses, winning_each_tie, without_padding,
)

pytestmark = pytest.mark.long

SCRIPTS = os.path.join(ROOT, "scripts")
HANDSHAKE_TIMEOUT = 2.0
"""Seconds that nodes wait for hello here.  One rule listens to the silence before it for 1 s."""


@pytest.fixture(scope="module", autouse=True)
def short_handshake():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("p2p_plain.node.session.HANDSHAKE_TIMEOUT", HANDSHAKE_TIMEOUT)
        yield


def start(*command, **how):
    return subprocess.Popen(
        [sys.executable] + [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **how
    )


def run(*words, **how):
    """The judge's exit code, stdout and stderr."""
    process = start(os.path.join(SCRIPTS, "conformance.py"), *words, **how)
    out, err = process.communicate(timeout=180)
    return process.returncode, out.decode("utf-8"), err.decode("utf-8")


def manual():
    with open(os.path.join(SCRIPTS, "CONFORMANCE.rst"), encoding="utf-8") as file:
        return file.read()


# -- right nodes -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rights():
    """By name, the futures of what is found of right nodes: side by side, since judging mostly waits."""
    judging = {"ours": judge_ours, "the article's": judge_the_articles, "relayed": judge_relayed}
    with ThreadPoolExecutor(len(judging)) as pool:
        yield {name: pool.submit(function) for name, function in judging.items()}


def judge_ours():
    ours = Node(port=0, bind="127.0.0.1", ping_timeout=2).start()
    try:
        return run(place(ours.port), "--ping-timeout", "2")
    finally:
        ours.stop()


def test_our_node_holds_every_rule(rights):
    """One rule is skipped: it needs to know how many peers a node has room for."""
    code, out, err = rights["ours"].result()
    assert (code, err) == (0, ""), out
    words = [line.split()[:3] for line in out.splitlines() if line[0] != " "]
    assert words.pop()[:3] == [str(len(RULES) - 1), "of", str(len(RULES))]
    assert [word for word in words if word[0] != OK] == [[SKIPPED, "full", "9"]]
    assert len(words) == len(RULES)


def test_a_node_with_little_room_holds_the_rule_about_full(make_node):
    port = make_node(max_peers=2, network="lab").port
    code, out, _ = run(place(port), "--rule=full-is-said", "--max-peers=2", "--network=lab")
    assert code == 0, out
    assert "1 of 1 rules held" in out


def test_our_node_holds_the_rules_for_members(make_node, tmp_path):
    key = str(tmp_path / "network.key")
    make_key_file(key)
    port = make_node(secret_file=key, network="lab").port
    words = [place(port), "--level=members", "--secret-file=" + key, "--network=lab"]
    code, out, err = run(*words)
    assert (code, err) == (0, ""), out
    assert "%d of %d rules held" % (len(MEMBERS_RULES), len(MEMBERS_RULES)) in out


def test_a_node_that_believes_strangers_breaks_the_rules_for_members(make_node, tmp_path):
    key = str(tmp_path / "network.key")
    make_key_file(key)
    port = make_node().port
    code, out, _ = run(place(port), "--level=members", "--secret-file=" + key, "--patience=1")
    assert code == 1
    assert "0 of %d rules held" % len(MEMBERS_RULES) in out


ABOUT_ROWS = {
    "a-probe-is-answered-and-not-counted",  # a guest may ask for rows
    "getlinks-gets-rows",
    "its-row-goes-to-who-wants-it",
    "bad-a-row-that-is-no-list",
}


def judge_the_articles():
    others = [rule for rule in RULES if rule.name not in ABOUT_ROWS]
    settings = Config(port=0, bind="127.0.0.1", ping_timeout=2)
    with node.Node(settings) as alone:
        judged = conformity_node.Node(
            "127.0.0.1", alone.port, ping_timeout=2, handshake_timeout=HANDSHAKE_TIMEOUT
        )
        return {rule.name: outcome for rule, outcome in play_all(others, judged)}


def test_the_articles_node_holds_every_rule_but_those_about_rows(rights):
    found = rights["the article's"].result()
    assert len(found) == len(RULES) - len(ABOUT_ROWS)
    assert [name for name in found if found[name].word != OK] == ["full-is-said-after-addr"], found


def test_the_last_lesson_holds_the_core():
    """A hundred lines are enough for a member of the network."""
    lessons = os.path.join(SCRIPTS, "lessons")
    hurry = "import sys, runpy, wire; wire.HELLO_WITHIN = 1.0; sys.argv[1:] = ['0'];"
    process = start("-c", hurry + "runpy.run_path('whole.py', run_name='__main__')", cwd=lessons)
    try:
        port = int(process.stdout.readline().split()[-1])
        code, out, _ = run(place(port), "--level", "core")
        assert code == 0, out
        core = sum(rule.level == "core" for rule in RULES)
        assert "%d of %d rules held" % (core, core) in out
    finally:
        process.kill()
        process.communicate()


# -- wrong nodes -------------------------------------------------------------------------------

KNOWN = ("hello", "join", "ping", "pong", "getaddr", "addr", "getlinks", "links", "message", "bye")


def breaks(names, **how):
    """The names of the rules that a node breaks, and how it is wrong."""
    return names.split(), how


WRONG = {
    "sends no hello": breaks("hello-is-answered", from_node=dropping("hello")),
    "a new nodeid each time": breaks(
        "the-nodeid-stays it-lives", from_node=changing("hello", nodeid=lambda _: new_id())
    ),
    "sends the token back": breaks(
        "a-token-is-not-sent-back", from_node=changing("hello", token="0123456789abcdef")
    ),
    "takes a read for a message": breaks(
        "a-line-may-come-in-pieces many-lines-may-come-at-once", glued=True
    ),
    "rejects blank lines": breaks(
        "blank-lines-and-crlf", to_node=closing(lambda talk, line: not line.strip())
    ),
    "knows one spelling of JSON": breaks(
        "json-as-it-may-be-spelt", to_node=closing(lambda talk, line: not line.startswith(b'{"'))
    ),
    "rejects unknown types": breaks(
        "the-unknown-is-ignored", to_node=closing(lambda talk, line: talk.noted[-1] not in KNOWN)
    ),
    "never closes": breaks(
        "hello-comes-first the-silent-are-sent-away the-dripping-are-sent-away "
        "oneself-is-hung-up-on nonsense-is-hung-up-on an-endless-line-is-hung-up-on "
        "the-end-is-answered-with-the-end after-bye-it-closes",
        stays=True,
    ),
    "serves one after the other": breaks(
        "nobody-waits-for-the-silent a-crowd-keeps-nobody-out", in_turn=True
    ),
    "sends no getaddr": breaks("after-hello-it-asks-and-pings", from_node=dropping("getaddr")),
    "sends no ping": breaks("after-hello-it-asks-and-pings", from_node=dropping("ping")),
    "sends no pong": breaks("ping-gets-pong", from_node=dropping("pong")),
    "advertises host names": breaks(
        "getaddr-gets-addr", from_node=changing("addr", peers=[["example.org:80", new_id()]])
    ),
    "advertises too many addresses": breaks(
        "getaddr-gets-addr", from_node=changing("addr", peers=["127.0.0.1:1"] * 101)
    ),
    "breaks with one connection": breaks("a-broken-connection-is-nothing-special", fragile=True),
    "speaks first": breaks("who-was-dialed-waits", eager=True),
    "has one reason for everything": breaks(
        "hello-comes-first-or-bye-protocol a-second-hello-is-an-error networks-refuse-each-other "
        "oneself-is-told-so of-two-alike-the-first-stays who-does-not-answer-is-dropped "
        "the-bound-before-hello the-bound-after-hello an-addr-has-at-most-100 "
        + " ".join(rule.name for rule in RULES if rule.name.startswith("bad-")),
        from_node=changing("bye", reason="unauthorised"),
    ),
    "takes the end of the stream for the end of a line": breaks(
        "a-line-cut-off", to_node=dropping(), completes=True
    ),
    "knows no bounds": breaks(
        "the-bound-before-hello the-bound-after-hello", to_node=without_padding
    ),
    "loses a tie that it should win": breaks("a-tie-that-it-wins", from_node=dropping("bye")),
    "wins a tie that it should lose": breaks("a-tie-that-we-win", to_node=winning_each_tie),
    "lets another host take a peer's place": breaks(
        "who-has-answered-keeps-its-place", one_host=True
    ),
    "says where it is not": breaks(
        "it-says-where-it-listens", from_node=changing("addr", peers=[["127.0.0.1:1", new_id()]])
    ),
    "pings once": breaks("it-pings-again", from_node=pinging_once),
    "waits for a pong for ever": breaks(
        "who-does-not-answer-is-dropped", from_node=answering_for_the_client
    ),
    "rejects a pong": breaks(
        "a-pong-for-nothing-is-ignored",
        to_node=closing(lambda talk, line: talk.noted.count("pong") > 2),
    ),
    "believes everything": breaks(
        "addresses-are-earned who-is-not-there-is-not-passed-on", **believing()
    ),
    "takes a probe for a peer": breaks(
        "a-probe-is-answered-and-not-counted",
        from_node=adding("hello", b'{"msgtype": "getaddr"}\n'),
    ),
    "does not probe": breaks(
        "it-probes-where-a-peer-says-it-listens", to_node=changing("hello", port=None)
    ),
    "does not dial": breaks(
        "it-dials-what-it-hears-of an-address-may-be-bare", to_node=dropping("addr")
    ),
    "tells everyone its name": breaks(
        "hearsay-learns-no-name",
        to_node=dialing_through(to_node=changing("hello", name="web-07")),
    ),
    "lets nobody join": breaks("a-probe-may-join", to_node=dropping("join")),
    "never joins": breaks(
        "it-joins-where-it-may", to_node=dialing_through(to_node=dropping("join"))
    ),
    "dials once": breaks("it-dials-again-who-broke-off", to_node=dialing_through(once=True)),
    "dials a node that left": breaks("it-lets-go-who-left", to_node=repeating_addresses),
    "dials nowhere": breaks(
        "nobody-dials-nowhere", to_node=lambda talk, line: line.replace(b"0.0.0.0", b"127.0.0.1")
    ),
    "serves a flood to its end": breaks("a-flood-costs-the-flooder", one_thread=0.002),
    "waits for a slow reader": breaks("a-slow-reader-delays-nobody", one_thread=0),
    "has no rows": breaks("getlinks-gets-rows", from_node=dropping("links")),
    "sends its row to everyone": breaks(
        "its-row-goes-to-who-wants-it", to_node=changing("hello", version=1)
    ),
    "changes what it passes on": breaks(
        "a-message-goes-to-everyone-once", from_node=changing("message", since=None)
    ),
    "passes it on twice": breaks("a-message-goes-to-everyone-once", from_node=doubling("message")),
    "passes on what is meant for it": breaks(
        "a-message-to-one-stays-with-it", to_node=changing("message", to=None)
    ),
    "is full and of no help": breaks(
        "full-is-said-after-addr", from_node=dropping("addr"), max_peers=1
    ),
}
"""Each wrong node: the rules that it breaks, and how."""


def judge(names, patience=1.0, ping_timeout=1.0, max_peers=None, **how):
    """The outcome of each of the rules with a node behind a ``Between``."""
    settings = {"ping_interval": 1.0, "ping_timeout": ping_timeout}
    node = Node(port=0, bind="127.0.0.1", max_peers=max_peers or 256, **settings).start()
    try:
        with Between(node.port, **how) as between:
            settings.update(handshake_timeout=HANDSHAKE_TIMEOUT, patience=patience)
            judged = conformity_node.Node(
                "127.0.0.1", between.port, max_peers=max_peers, **settings
            )
            rules = [rule for rule in RULES if rule.name in names]
            return {rule.name: outcome for rule, outcome in play_all(rules, judged)}
    finally:
        node.stop()


@pytest.fixture(scope="module")
def judged():
    """The outcomes for all wrong nodes, judged side by side."""
    with ThreadPoolExecutor(8) as pool:
        found = {name: pool.submit(judge, rules, **how) for name, (rules, how) in WRONG.items()}
        wait(found.values())
    return found


@pytest.mark.parametrize("wrongness", sorted(WRONG))
def test_a_wrong_node_breaks_the_rules_about_it(judged, wrongness):
    outcomes = judged[wrongness].result()
    assert sorted(outcomes) == sorted(WRONG[wrongness][0])
    assert {name: outcome for name, outcome in outcomes.items() if outcome.word != BROKEN} == {}
    for outcome in outcomes.values():
        assert [line.split()[0] for line in outcome.detail] == ["expected", "came"]


def judge_relayed():
    names = [rule.name for rule in RULES if not rule.name.startswith(("bad-", "full-"))]
    return judge(names, patience=5.0, ping_timeout=3.0, to_node=lambda talk, line: line)


def test_a_relay_that_changes_nothing_breaks_nothing(rights):
    """So the wrong nodes are found for what they do, and not for being relayed."""
    outcomes = rights["relayed"].result()
    assert {name: outcome for name, outcome in outcomes.items() if outcome.word != OK} == {}


def test_every_rule_is_broken_by_some_wrong_node():
    assert {name for names, _ in WRONG.values() for name in names} == {rule.name for rule in RULES}


# -- output ------------------------------------------------------------------------------------


def test_a_broken_rule_says_what_was_expected_and_what_came(make_node):
    """The manual shows the same lines."""
    with Between(make_node().port, from_node=dropping("pong")) as wrong:
        code, out, _ = run(place(wrong.port), "--rule", "ping-gets-pong", "--patience", "0.5")
    assert code == 1
    *lines, summary = out.splitlines()
    assert lines == [
        "BROKEN  core   5  A ping is answered with a pong, at once and each time.",
        "                  expected pong within 0.5 s",
        "                  came     addr, getaddr, ping, then nothing",
        "                  again    --rule ping-gets-pong",
    ]
    assert summary.startswith("0 of 1 rules held, 1 BROKEN  (")
    assert "\n".join("    " + line for line in lines).replace("0.5 s", "5 s") in manual()


def test_the_manual_has_every_option():
    code, out, _ = run("--help")
    assert code == 0
    assert set(re.findall(r"  (--\w[\w-]+)", out)) == set(re.findall(r"^``(--[\w-]+)", manual(), re.M))


def test_without_hello_nothing_else_is_tried():
    with RawListener(backlog=100) as mute:
        code, out, _ = run(place(mute.port), "--patience", "0.3")
    assert code == 1
    words = [line.split()[0] for line in out.splitlines()[:-1] if line[0] != " "]
    assert words == [BROKEN] + [SKIPPED] * (len(RULES) - 1)


def test_a_rule_that_could_not_be_tried_is_no_success(make_node):
    code, out, _ = run(place(make_node().port), "--rule=full-is-said")  # how many peers is full?
    assert code == 1
    assert "0 of 1 rules held, 1 skipped" in out


@pytest.mark.skipif(os.name == "nt", reason="pipes break otherwise")
@pytest.mark.parametrize("words", [("conformance.py", "--list"), ("fuzz.py", "--cases")])
def test_a_reader_that_has_seen_enough_ends_a_script_quietly(words):
    script = os.path.join(ROOT, "scripts", words[0])
    read_end, write_end = os.pipe()
    os.close(read_end)
    ended = subprocess.run([sys.executable, script, words[1]], stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_a_node_that_dies_breaks_the_rule_that_killed_it(make_node):
    """It has closed all connections, but does not hold the rules that demand just that."""

    def dying_of_a_list(talk, line):
        if line.startswith(b"["):
            mortal.__exit__()
            raise Closed
        return line

    with Between(make_node().port, to_node=dying_of_a_list) as mortal:
        rules = ["hello-is-answered", "the-silent-are", "nonsense-is-hung-up-on", "it-lives"]
        code, out, err = run(place(mortal.port), *["--rule=" + rule for rule in rules])
    assert (code, err) == (1, "")
    heads = [line.split()[0] for line in out.splitlines() if line[0] != " "]
    assert heads == [OK, BROKEN, BROKEN, SKIPPED, "1"]
    assert "came its end, in this rule or in one played at the same time" in " ".join(out.split())
    assert "for b'[1, 2]\\n'\n" in out
    assert "because  it no longer listens" in out
    assert "1 of 4 rules held, 2 BROKEN, 1 skipped" in out


def test_the_list_has_every_rule_once_with_its_text(tmp_path):
    """From any folder."""
    code, out, _ = run("--list", cwd=str(tmp_path))
    assert code == 0
    assert re.findall(r"^(\w+) +(\d*)  (\S+)$", out, re.M) == [
        (rule.level, str(rule.number or ""), rule.name)
        for rule in sorted(RULES, key=lambda rule: rule.alone)
    ]
    assert len({rule.name for rule in RULES}) == len(RULES) == 88
    assert all(rule.text.endswith(".") and rule.number <= 12 for rule in RULES)


def test_an_unreachable_node_is_reported_in_one_line():
    port = free_port()
    message = "cannot try 127.0.0.1 port %d: Connection refused\n" % port
    assert run(place(port)) == (1, "", message)


def test_another_network_is_reported_in_one_line(make_node):
    code, out, err = run(place(make_node(network="lab").port))
    assert (code, out) == (1, "")
    assert err.endswith("it belongs to the network 'lab'; see --network\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        "",
        "127.0.0.1",
        "127.0.0.1:0",
        "127.0.0.1:x",
        ":6000",
        "127.0.0.1:6000 --level most",
        "127.0.0.1:6000 --rule no-such-rule",
        "127.0.0.1:6000 --patience nan",
        "127.0.0.1:6000 --ping-timeout -1",
        "127.0.0.1:6000 --max-peers 0",
    ],
)
def test_wrong_usage_is_exit_code_2(words):
    code, out, err = run(*words.split())
    assert (code, out) == (2, "")
    assert "Traceback" not in err
