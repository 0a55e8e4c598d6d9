"""The judge of the wire: our node holds every rule, and each wrong node breaks the rules about it.

A wrong node is a right one behind a ``Between``, a relay that changes, drops or adds something.
"""

import json
import os
import queue
import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from tests.support import ROOT, RawListener, free_port, new_id

from p2p_plain import Node
from scripts.conformity import node as conformity_node
from scripts.conformity.judge import play_all
from scripts.conformity.outcome import BROKEN, OK, SKIPPED
from scripts.conformity.rules import RULES

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


def place(port):
    return "127.0.0.1:%d" % port


# -- right nodes -------------------------------------------------------------------------------


def test_our_node_holds_every_rule(make_node):
    """One rule is skipped: it needs to know how many peers a node has room for."""
    code, out, err = run(place(make_node(ping_timeout=2).port), "--ping-timeout", "2")
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


class Closed(Exception):
    """Raised by a change to close the connection instead."""


class Talk:
    """One connection through a ``Between``."""

    def __init__(self, client, node):
        self.client = client
        self.node = node
        self.noted = []
        """For changes that depend on earlier lines."""

    def cut(self):
        for sock in (self.client, self.node):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Between:
    """A relay before a node.  ``to_node`` and ``from_node`` change lines: ``(talk, line) -> bytes``.

    ``glued``: takes each read for one message.  ``stays``: never closes.  ``eager``: speaks first.
    ``in_turn``: serves one connection after the other.  ``one_thread``: sends everything on one
    thread, each line in so many seconds.  ``fragile``: one broken connection breaks all.
    ``once``: accepts one connection only.
    """

    def __init__(self, port, to_node=None, from_node=None, **how):
        self.node_port = port
        self.to_node = to_node
        self.from_node = from_node
        self.how = how
        self.talks = []
        self.queue = queue.Queue()
        self.listener = RawListener(backlog=200)
        self.listener.sock.settimeout(None)
        self.port = self.listener.port
        for target in (self._accept, self._send_queued):
            threading.Thread(target=target, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.listener.sock.shutdown(socket.SHUT_RDWR)  # wakes accept
        except OSError:
            pass
        self.listener.sock.close()
        for talk in self.talks:
            talk.cut()
        self.queue.put(None)

    def _accept(self):
        while True:
            try:
                client = self.listener.sock.accept()[0]
            except OSError:
                return
            if self.how.get("once"):
                self.listener.sock.close()
            if self.how.get("in_turn"):
                self._serve(client)
            else:
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        node = socket.create_connection(("127.0.0.1", self.node_port))
        for sock in (client, node):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        talk = Talk(client, node)
        self.talks.append(talk)
        if self.how.get("eager"):
            client.sendall(b'{"msgtype": "getaddr"}\n')
        back = threading.Thread(target=self._pump, args=(talk, node, client, self.from_node))
        back.daemon = True
        back.start()
        self._pump(talk, client, node, self.to_node)
        back.join()
        if not self.how.get("stays"):
            client.close()
        node.close()

    def _pump(self, talk, source, sink, change):
        from_client = source is talk.client
        buffer = b""
        try:
            for chunk in iter(lambda: source.recv(65536), b""):
                if self.how.get("glued") and from_client:
                    chunk = chunk.replace(b"\n", b"") + b"\n"
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    self._pass_on(talk, sink, change, line + b"\n")
                if change is None and "one_thread" not in self.how:
                    sink.sendall(buffer)
                    buffer = b""
            sink.sendall(buffer)
        except Closed:
            talk.cut()
        except OSError:
            if self.how.get("fragile") and from_client:
                for each in self.talks:
                    each.cut()
        try:
            if from_client or not self.how.get("stays"):
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _pass_on(self, talk, sink, change, line):
        if change is not None:
            line = change(talk, line)
        if "one_thread" in self.how:
            self.queue.put((sink, line))
        else:
            sink.sendall(line)

    def _send_queued(self):
        for sink, line in iter(self.queue.get, None):
            try:
                sink.sendall(line)
            except OSError:
                pass
            time.sleep(self.how["one_thread"])


def read(line):
    """The object on a line; an empty one for anything else."""
    try:
        message = json.loads(line.decode("utf-8"))
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def dropping(*msgtypes):
    """Leave out all messages of these types."""
    return lambda talk, line: b"" if read(line).get("msgtype") in msgtypes else line


def changing(msgtype, **fields):
    """Replace some fields of one type; ``None`` removes a field."""

    def change(talk, line):
        message = read(line)
        if message.get("msgtype") != msgtype:
            return line
        for name, value in fields.items():
            message[name] = value(message.get(name)) if callable(value) else value
            if message[name] is None:
                del message[name]
        return json.dumps(message).encode() + b"\n"

    return change


def adding(msgtype, line_to_add):
    """Add a line after each message of one type."""
    return lambda talk, line: line + line_to_add * (read(line).get("msgtype") == msgtype)


def closing(is_unwanted):
    """Close the connection at some lines; ``talk.noted`` has the types up to this one."""

    def change(talk, line):
        talk.noted.append(read(line).get("msgtype"))
        if is_unwanted(talk, line):
            raise Closed
        return line

    return change


def without_padding(talk, line):
    return changing("ping", padding=None)(talk, changing("hello", padding=None)(talk, line))


def answering_for_the_client(talk, line):
    if read(line).get("msgtype") == "ping":
        talk.node.sendall(b'{"msgtype": "pong"}\n')
    return line


def pinging_once(talk, line):
    if read(line).get("msgtype") == "ping":
        talk.noted.append("ping")
        return line if len(talk.noted) == 1 else b""
    return line


def losing_a_tie(talk, line):
    """Part with the nodeid of the tie that it should lose: cut our connection, which should stay."""
    message = read(line)
    if message.get("msgtype") == "ping" and talk.noted:
        talk.client.sendall(b'{"msgtype": "bye", "reason": "duplicate"}\n')
    if str(message.get("nodeid")).startswith("00000000-0000-4000"):
        talk.noted.append("tie")
    return line


def hearing_it_again_and_again(talk, line):
    """Give the node each ``addr`` again, so that it dials a node that has left."""

    def again():
        for _ in range(4):
            time.sleep(0.3)
            try:
                talk.node.sendall(line)
            except OSError:
                return

    if read(line).get("msgtype") == "addr":
        threading.Thread(target=again, daemon=True).start()
    return line


def dialing_once(talk, line):
    """Send the node to a relay that accepts a single connection."""

    def relayed(entry):
        home = int(entry[0].rpartition(":")[2])
        return [place(Between(home, once=True).port), entry[1]]

    return changing("addr", peers=lambda peers: [relayed(entry) for entry in peers])(talk, line)


def believing():
    """Pass on any address that a hello claims."""
    claimed = []

    def to_node(talk, line):
        message = read(line)
        if message.get("msgtype") == "hello" and "port" in message:
            claimed.append([place(message["port"]), message["nodeid"]])
        return line

    return {"to_node": to_node, "from_node": changing("addr", peers=lambda peers: peers + claimed)}


KNOWN = ("hello", "ping", "pong", "getaddr", "addr", "getlinks", "links", "message", "bye")
WRONG = {
    "sends no hello": ({"from_node": dropping("hello")}, ["hello-is-answered"]),
    "a new nodeid each time": (
        {"from_node": changing("hello", nodeid=lambda _: new_id())},
        ["the-nodeid-stays", "it-lives"],
    ),
    "takes a read for a message": (
        {"glued": True},
        ["a-line-may-come-in-pieces", "many-lines-may-come-at-once"],
    ),
    "rejects blank lines": (
        {"to_node": closing(lambda talk, line: not line.strip())},
        ["blank-lines-and-crlf"],
    ),
    "knows one spelling of JSON": (
        {"to_node": closing(lambda talk, line: not line.startswith(b'{"'))},
        ["json-as-it-may-be-spelt"],
    ),
    "rejects unknown types": (
        {"to_node": closing(lambda talk, line: talk.noted[-1] not in KNOWN)},
        ["the-unknown-is-ignored"],
    ),
    "never closes": (
        {"stays": True},
        [
            "hello-comes-first",
            "the-silent-are-sent-away",
            "the-dripping-are-sent-away",
            "oneself-is-hung-up-on",
            "nonsense-is-hung-up-on",
            "an-endless-line-is-hung-up-on",
            "the-end-is-answered-with-the-end",
            "after-bye-it-closes",
        ],
    ),
    "serves one after the other": (
        {"in_turn": True},
        ["nobody-waits-for-the-silent", "a-crowd-keeps-nobody-out"],
    ),
    "sends no getaddr": ({"from_node": dropping("getaddr")}, ["after-hello-it-asks-and-pings"]),
    "sends no ping": ({"from_node": dropping("ping")}, ["after-hello-it-asks-and-pings"]),
    "sends no pong": ({"from_node": dropping("pong")}, ["ping-gets-pong"]),
    "advertises host names": (
        {"from_node": changing("addr", peers=[["example.org:80", new_id()]])},
        ["getaddr-gets-addr"],
    ),
    "advertises too many addresses": (
        {"from_node": changing("addr", peers=["127.0.0.1:1"] * 101)},
        ["getaddr-gets-addr"],
    ),
    "breaks with one connection": (
        {"fragile": True},
        ["a-broken-connection-is-nothing-special"],
    ),
    "speaks first": ({"eager": True}, ["who-was-dialed-waits"]),
    "has one reason for everything": (
        {"from_node": changing("bye", reason="unauthorised")},
        [
            "hello-comes-first-or-bye-protocol",
            "a-second-hello-is-an-error",
            "networks-refuse-each-other",
            "oneself-is-told-so",
            "of-two-alike-the-first-stays",
            "a-tie-that-it-wins",
            "who-does-not-answer-is-dropped",
            "the-bound-before-hello",
            "the-bound-after-hello",
            "an-addr-has-at-most-100",
            "a-line-cut-off",
        ]
        + [rule.name for rule in RULES if rule.name.startswith("bad-")],
    ),
    "knows no bounds": (
        {"to_node": without_padding},
        ["the-bound-before-hello", "the-bound-after-hello"],
    ),
    "loses a tie that it should win": ({"from_node": dropping("bye")}, ["a-tie-that-it-wins"]),
    "wins a tie that it should lose": (
        {"to_node": losing_a_tie},
        ["a-tie-that-we-win"],
    ),
    "says where it is not": (
        {"from_node": changing("addr", peers=[["127.0.0.1:1", new_id()]])},
        ["it-says-where-it-listens"],
    ),
    "pings once": ({"from_node": pinging_once}, ["it-pings-again"]),
    "waits for a pong for ever": (
        {"from_node": answering_for_the_client},
        ["who-does-not-answer-is-dropped"],
    ),
    "rejects a pong": (
        {"to_node": closing(lambda talk, line: talk.noted.count("pong") > 2)},
        ["a-pong-for-nothing-is-ignored"],
    ),
    "believes everything": (
        believing(),
        ["addresses-are-earned", "who-is-not-there-is-not-passed-on"],
    ),
    "takes a probe for a peer": (
        {"from_node": adding("hello", b'{"msgtype": "getaddr"}\n')},
        ["a-probe-is-answered-and-not-counted"],
    ),
    "does not probe": (
        {"to_node": changing("hello", port=None)},
        ["it-probes-where-a-peer-says-it-listens"],
    ),
    "does not dial": (
        {"to_node": dropping("addr")},
        ["it-dials-what-it-hears-of", "an-address-may-be-bare", "it-dials-again-who-broke-off"],
    ),
    "dials once": ({"to_node": dialing_once}, ["it-dials-again-who-broke-off"]),
    "dials a node that left": (
        {"to_node": hearing_it_again_and_again},
        ["it-lets-go-who-left"],
    ),
    "dials nowhere": (
        {"to_node": lambda talk, line: line.replace(b"0.0.0.0", b"127.0.0.1")},
        ["nobody-dials-nowhere"],
    ),
    "serves a flood to its end": ({"one_thread": 0.002}, ["a-flood-costs-the-flooder"]),
    "waits for a slow reader": ({"one_thread": 0}, ["a-slow-reader-delays-nobody"]),
    "has no rows": ({"from_node": dropping("links")}, ["getlinks-gets-rows"]),
    "sends its row to everyone": (
        {"to_node": changing("hello", version=1)},
        ["its-row-goes-to-who-wants-it"],
    ),
    "changes what it passes on": (
        {"from_node": changing("message", since=None)},
        ["a-message-goes-to-everyone-once"],
    ),
    "passes it on twice": (
        {"from_node": lambda talk, line: line * (1 + (read(line).get("msgtype") == "message"))},
        ["a-message-goes-to-everyone-once"],
    ),
    "passes on what is meant for it": (
        {"to_node": changing("message", to=None)},
        ["a-message-to-one-stays-with-it"],
    ),
    "is full and of no help": (
        {"from_node": dropping("addr"), "max_peers": 1},
        ["full-is-said-after-addr"],
    ),
}
"""How each node is wrong, and the rules that it must break."""


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
        found = {name: pool.submit(judge, rules, **how) for name, (how, rules) in WRONG.items()}
        wait(found.values())
    return found


@pytest.mark.parametrize("wrongness", sorted(WRONG))
def test_a_wrong_node_breaks_the_rules_about_it(judged, wrongness):
    outcomes = judged[wrongness].result()
    assert sorted(outcomes) == sorted(WRONG[wrongness][1])
    assert {name: outcome for name, outcome in outcomes.items() if outcome.word != BROKEN} == {}
    for outcome in outcomes.values():
        assert [line.split()[0] for line in outcome.detail] == ["expected", "came"]


def test_a_relay_that_changes_nothing_breaks_nothing():
    """So the wrong nodes are found for what they do, and not for being relayed."""
    names = [rule.name for rule in RULES if not rule.name.startswith(("bad-", "full-"))]
    outcomes = judge(names, patience=5.0, ping_timeout=3.0, to_node=lambda talk, line: line)
    assert {name: outcome for name, outcome in outcomes.items() if outcome.word != OK} == {}


def test_every_rule_is_broken_by_some_wrong_node():
    assert {name for _, names in WRONG.values() for name in names} == {rule.name for rule in RULES}


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
    with open(os.path.join(SCRIPTS, "CONFORMANCE.rst"), encoding="utf-8") as manual:
        assert "\n".join("    " + line for line in lines).replace("0.5 s", "5 s") in manual.read()


def test_without_hello_nothing_else_is_tried():
    with RawListener(backlog=100) as mute:
        code, out, _ = run(place(mute.port), "--patience", "0.3")
    assert code == 1
    words = [line.split()[0] for line in out.splitlines()[:-1] if line[0] != " "]
    assert words == [BROKEN] + [SKIPPED] * (len(RULES) - 1)


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
    assert len({rule.name for rule in RULES}) == len(RULES) == 83
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
