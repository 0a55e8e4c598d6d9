"""The conformance script: our node holds every rule, and each wrongness breaks the one it is about.

The wrong nodes are right ones with somebody before them who is wrong in one point: ``Between``
passes on what is said, and changes, drops or adds something.
"""

import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time

import pytest
from tests.support import ROOT, Program, RawListener, free_port, new_id

from p2p_plain.node.address_book import AddressBook
from p2p_plain.node.peer_table import PeerTable
from scripts import conformance
from scripts.conformance import BROKEN, OK, SKIPPED

SCRIPT = os.path.join(ROOT, "scripts", "conformance.py")
WHOLE = os.path.join(ROOT, "scripts", "lessons", "whole.py")


def run(*words):
    """Exit code, stdout, stderr."""
    process = subprocess.Popen(
        [sys.executable, SCRIPT] + [str(word) for word in words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = process.communicate(timeout=180)
    return process.returncode, out.decode("utf-8"), err.decode("utf-8")


# -- right nodes -------------------------------------------------------------------------------


def test_our_node_holds_every_rule():
    with Program("--port", "0", "--bind", "127.0.0.1", "--ping-timeout", "2") as node:
        code, out, err = run("127.0.0.1:%d" % node.port, "--ping-timeout", "2")
        assert (code, err) == (0, ""), out
        assert BROKEN not in out
        assert [line.split()[1:3] for line in out.splitlines() if line.startswith(SKIPPED)] == [
            ["full", "9"]
        ]
        held = [line for line in out.splitlines() if line.startswith(OK)]
        assert len(held) == len(conformance.RULES) - 1
        assert "%d of %d rules held, 1 skipped" % (len(held), len(held) + 1) in out
        assert node.stop() == 0


def test_a_small_node_of_a_network_says_full():
    options = ["--max-peers", "2", "--network", "lab"]
    with Program("--port", "0", "--bind", "127.0.0.1", *options) as node:
        code, out, _ = run("127.0.0.1:%d" % node.port, "--rule", "full-is-said", *options)
        assert code == 0, out
        assert "1 of 1 rules held" in out


def test_the_last_lessons_node_holds_the_core():
    """A hundred lines and wire.py: what the README says of the smallest member."""
    process = subprocess.Popen([sys.executable, WHOLE, "0"], stdout=subprocess.PIPE)
    try:
        port = process.stdout.readline().split()[-1].decode()
        code, out, _ = run("127.0.0.1:" + port, "--level", "core")
        assert code == 0, out
        core = [rule for rule in conformance.RULES if rule.level == conformance.CORE]
        assert "%d of %d rules held" % (len(core), len(core)) in out
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


# -- wrong nodes -------------------------------------------------------------------------------


class Closed(Exception):
    """Raised by who changes a line, to end the connection instead."""


class Talk:
    """One connection through a ``Between``; who changes lines may note things here."""

    def __init__(self, client, node):
        self.client = client
        self.node = node
        self.heard = []  # msgtypes that the client has said

    def cut(self):
        for sock in (self.client, self.node):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Between:
    """Stands before a node.  ``to_node`` and ``from_node`` change lines: ``(talk, line) -> bytes``.

    ``glued``: one read is one message.  ``stays``: never closes.  ``eager``: speaks first.
    ``in_turn``: one connection after the other.  ``one_thread``: one for all that is said, and not
    a fast one.  ``fragile``: one broken connection breaks all.
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
        for run in (self._accept, self._work):
            threading.Thread(target=run, daemon=True).start()

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
        held = b""
        try:
            for chunk in iter(lambda: source.recv(65536), b""):
                if self.how.get("glued") and source is talk.client:
                    chunk = chunk.replace(b"\n", b"") + b"\n"
                if self.how.get("one_thread") or change is not None:
                    *lines, held = (held + chunk).split(b"\n")
                    for line in lines:
                        self._pass(talk, sink, change, line + b"\n")
                else:
                    sink.sendall(chunk)
            if held:
                sink.sendall(held)
        except Closed:
            talk.cut()
        except OSError:
            if self.how.get("fragile") and source is talk.client:
                for each in self.talks:
                    each.cut()
        try:
            if not (self.how.get("stays") and source is talk.node):
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _pass(self, talk, sink, change, line):
        if change is not None:
            line = change(talk, line)
        if not line:
            return
        if self.how.get("one_thread"):
            self.queue.put((sink, line))
        else:
            sink.sendall(line)

    def _work(self):
        for sink, line in iter(self.queue.get, None):
            try:
                sink.sendall(line)
            except OSError:
                pass
            time.sleep(0.002)


def read(line):
    """The object on a line; an empty one for anything else."""
    try:
        message = json.loads(line.decode("utf-8"))
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def write(message):
    return json.dumps(message).encode() + b"\n"


def dropping(*msgtypes):
    """Leaves out all messages of these types."""
    return lambda talk, line: b"" if read(line).get("msgtype") in msgtypes else line


def changing(msgtype, **fields):
    """Says something else in some fields of one type; ``None`` leaves a field out."""

    def change(talk, line):
        message = read(line)
        if message.get("msgtype") != msgtype:
            return line
        for name, value in fields.items():
            message[name] = value(message.get(name)) if callable(value) else value
            if message[name] is None:
                del message[name]
        return write(message)

    return change


def closing(is_reason):
    """Ends the connection where it need not."""

    def change(talk, line):
        talk.heard.append(read(line).get("msgtype"))
        if is_reason(talk, line):
            raise Closed
        return line

    return change


def answering_for_the_client(talk, line):
    if read(line).get("msgtype") == "ping":
        talk.node.sendall(b'{"msgtype": "pong"}\n')
    return line


def telling_the_probe(talk, line):
    return line + b'{"msgtype": "getaddr"}\n' if read(line).get("msgtype") == "hello" else line


def pinging_once(talk, line):
    if read(line).get("msgtype") == "ping":
        talk.heard.append("ping")
        if talk.heard.count("ping") > 1:
            return b""
    return line


def saying_it_twice(talk, line):
    return line * 2 if read(line).get("msgtype") == "message" else line


def believing():
    """Passes on whatever a hello claims."""
    claimed = []

    def to_node(talk, line):
        message = read(line)
        if message.get("msgtype") == "hello" and "port" in message:
            claimed.append(["127.0.0.1:%d" % message["port"], message["nodeid"]])
        return line

    def from_node(talk, line):
        return changing("addr", peers=lambda peers: peers + claimed)(talk, line)

    return {"to_node": to_node, "from_node": from_node}


def names(*beginnings):
    """The rules that begin so."""
    found = [r.name for r in conformance.RULES if r.name.startswith(beginnings)]
    assert found
    return found


KNOWN = ("hello", "ping", "pong", "getaddr", "addr", "getlinks", "links", "message", "bye")
WRONG = {
    "says no hello": ({"from_node": dropping("hello")}, ["hello-is-answered"]),
    "a new nodeid each time": (
        {"from_node": changing("hello", nodeid=lambda _: new_id())},
        ["the-nodeid-stays", "it-lives"],
    ),
    "takes a read for a message": (
        {"glued": True},
        ["a-line-may-come-in-pieces", "many-lines-may-come-at-once"],
    ),
    "has no use for blank lines": (
        {"to_node": closing(lambda talk, line: not line.strip())},
        ["blank-lines-and-crlf"],
    ),
    "knows one spelling of JSON": (
        {"to_node": closing(lambda talk, line: not line.startswith(b'{"'))},
        ["json-as-it-may-be-spelt"],
    ),
    "has no use for the unknown": (
        {"to_node": closing(lambda talk, line: talk.heard[-1] not in KNOWN)},
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
    "one after the other": (
        {"in_turn": True},
        ["nobody-waits-for-the-silent", "a-crowd-keeps-nobody-out"],
    ),
    "says no getaddr": (
        {"from_node": dropping("getaddr")},
        ["after-hello-it-asks-and-pings"],
    ),
    "says no ping": ({"from_node": dropping("ping")}, ["after-hello-it-asks-and-pings"]),
    "says no pong": ({"from_node": dropping("pong")}, ["ping-gets-pong"]),
    "says host names": (
        {"from_node": changing("addr", peers=[["example.org:80", new_id()]])},
        ["getaddr-gets-addr"],
    ),
    "says too many addresses": (
        {"from_node": changing("addr", peers=["127.0.0.1:1"] * 101)},
        ["getaddr-gets-addr"],
    ),
    "breaks with one": ({"fragile": True}, ["a-broken-connection-is-nothing-special"]),
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
        + names("bad-"),
    ),
    "knows no bounds": (
        {
            "to_node": lambda talk, line: changing("ping", padding=None)(
                talk, changing("hello", padding=None)(talk, line)
            )
        },
        ["the-bound-before-hello", "the-bound-after-hello"],
    ),
    "says where it is not": (
        {"from_node": changing("addr", peers=[["127.0.0.1:1", new_id()]])},
        ["it-says-where-it-listens"],
    ),
    "pings once": ({"from_node": pinging_once}, ["it-pings-again"]),
    "has patience without end": (
        {"from_node": answering_for_the_client},
        ["who-does-not-answer-is-dropped"],
    ),
    "has no use for a pong": (
        {"to_node": closing(lambda talk, line: talk.heard.count("pong") > 2)},
        ["a-pong-for-nothing-is-ignored"],
    ),
    "believes everything": (
        believing(),
        ["addresses-are-earned", "who-is-not-there-is-not-passed-on"],
    ),
    "counts a probe": (
        {"from_node": telling_the_probe},
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
    "dials nowhere": (
        {"to_node": lambda talk, line: line.replace(b"0.0.0.0", b"127.0.0.1")},
        ["nobody-dials-nowhere"],
    ),
    "does one thing at a time": (
        {"one_thread": True},
        ["a-flood-costs-the-flooder", "a-slow-reader-delays-nobody"],
    ),
    "has no rows": ({"from_node": dropping("links")}, ["getlinks-gets-rows"]),
    "sends its row to everyone": (
        {"to_node": changing("hello", version=1)},
        ["its-row-goes-to-who-wants-it"],
    ),
    "changes what it passes on": (
        {"from_node": changing("message", since=None)},
        ["a-message-goes-to-everyone-once"],
    ),
    "says it twice": ({"from_node": saying_it_twice}, ["a-message-goes-to-everyone-once"]),
    "tells everyone": (
        {"to_node": changing("message", to=None)},
        ["a-message-to-one-stays-with-it"],
    ),
    "is full and no help": (
        {"from_node": dropping("addr"), "max_peers": 1},
        ["full-is-said-after-addr"],
    ),
}
def losing_nobody():
    """An address book that takes nobody for one who left on purpose."""
    lost = AddressBook.lost
    return lambda book, nodeid, now, **_: lost(book, nodeid, now, stopping=False)


def each_only_once():
    """An address book that has every address dialed once, and never again."""
    due, given = AddressBook.due, set()

    def once(book, now, connected, most):
        found = [address for address in due(book, now, connected, most) if address not in given]
        given.update(found)
        return found

    return once


FROM_INSIDE = {
    "the first stays": (PeerTable, "_beats", lambda *_: False, "a-tie-that-it-wins"),
    "the last stays": (PeerTable, "_beats", lambda *_: True, "a-tie-that-we-win"),
    "dials whoever left": (AddressBook, "lost", losing_nobody(), "it-lets-go-who-left"),
    "dials nobody again": (AddressBook, "due", each_only_once(), "it-dials-again-who-broke-off"),
}


@pytest.fixture
def judge(make_node, monkeypatch):
    """``judge(names, **how)``: what becomes of these rules with a node that is wrong so.

    The handshake takes its time: one rule listens to the silence before it for a second.
    """

    def play(names, patience=1.0, ping_timeout=1.0, handshake=2.0, **how):
        monkeypatch.setattr("p2p_plain.node.session.HANDSHAKE_TIMEOUT", handshake)
        monkeypatch.setattr(conformance, "HANDSHAKE_TIMEOUT", handshake)
        monkeypatch.setattr(conformance, "PATIENCE", patience)
        settings = {"ping_interval": 1.0, "ping_timeout": ping_timeout}
        if "max_peers" in how:
            settings["max_peers"] = how.pop("max_peers")
        words = ["127.0.0.1:1"]
        for name, value in settings.items():
            words += ["--" + name.replace("_", "-"), str(value)]
        options = conformance.parser().parse_args(words)
        rules = [rule for rule in conformance.RULES if rule.name in names]
        assert len(rules) == len(names)
        with Between(make_node(**settings).port, **how) as between:
            node = conformance.Node("127.0.0.1", between.port, options)
            return {rule.name: outcome for rule, outcome in conformance.play_all(rules, node)}

    return play


@pytest.mark.parametrize("wrongness", sorted(WRONG))
def test_each_wrongness_is_found_by_the_rule_that_names_it(judge, wrongness):
    how, rules = WRONG[wrongness]
    outcomes = judge(rules, **how)
    assert [name for name, outcome in outcomes.items() if outcome.word != BROKEN] == []
    for outcome in outcomes.values():
        assert [line.split()[0] for line in outcome.detail] == ["expected", "came"]


@pytest.mark.parametrize("wrongness", sorted(FROM_INSIDE))
def test_wrong_judgement_is_found_as_well(judge, monkeypatch, wrongness):
    where, method, instead, rule = FROM_INSIDE[wrongness]
    monkeypatch.setattr(where, method, instead)
    assert judge([rule], ping_timeout=10.0)[rule].word == BROKEN


def test_somebody_between_who_changes_nothing_breaks_nothing(judge):
    """So the wrong ones are found for what they do, and not for being there."""
    rules = [rule.name for rule in conformance.RULES if not rule.name.startswith(("bad-", "full-"))]
    patient = {"patience": 5.0, "ping_timeout": 5.0, "handshake": 5.0}
    outcomes = judge(rules, to_node=lambda talk, line: line, **patient)
    assert {name: out for name, out in outcomes.items() if out.word != OK} == {}


def test_each_rule_can_be_broken():
    found = {name for _, rules in WRONG.values() for name in rules}
    found |= {rule for _, _, _, rule in FROM_INSIDE.values()}
    assert found == {rule.name for rule in conformance.RULES}


# -- what is shown -----------------------------------------------------------------------------


def test_a_broken_rule_says_what_was_expected_and_what_came(make_node):
    with Between(make_node().port, from_node=dropping("pong")) as wrong:
        place = "127.0.0.1:%d" % wrong.port
        code, out, _ = run(place, "--rule", "ping-gets-pong", "--patience", "0.5")
    assert code == 1
    assert out.splitlines() == [
        "BROKEN  core   5  A ping is answered with a pong, at once and each time.",
        "                  expected pong within 0.5 s",
        "                  came     addr, getaddr, ping, then nothing",
        "                  again    --rule ping-gets-pong",
        out.splitlines()[-1],
    ]
    assert out.splitlines()[-1].startswith("0 of 1 rules held, 1 BROKEN  (")


def test_who_does_not_even_say_hello_is_not_tried_further():
    with RawListener(backlog=100) as mute:
        code, out, _ = run("127.0.0.1:%d" % mute.port, "--patience", "0.3")
    assert code == 1
    lines = [line for line in out.splitlines() if line[0] != " "]
    assert [line.split()[0] for line in lines[:-1]] == [BROKEN] + [SKIPPED] * (
        len(conformance.RULES) - 1
    )


def test_a_node_that_dies_holds_no_rule_by_that(make_node):
    """It has closed everything then; and what it died of is told."""

    def dying_of_a_list(talk, line):
        if line.startswith(b"["):
            mortal.__exit__()
            raise Closed
        return line

    with Between(make_node().port, to_node=dying_of_a_list) as mortal:
        place = "127.0.0.1:%d" % mortal.port
        rules = ["hello-is-answered", "the-silent-are", "nonsense-is-hung-up-on", "it-lives"]
        code, out, err = run(place, *["--rule=" + rule for rule in rules])
    assert (code, err) == (1, "")
    heads = [line.split()[0] for line in out.splitlines() if line[0] != " "]
    assert heads == [OK, BROKEN, BROKEN, SKIPPED, "1"]
    assert "came its end, by this rule or one that was played with it" in " ".join(out.split())
    assert "for b'[1, 2]\\n'\n" in out
    assert "because  it listens no more" in out
    assert "1 of 4 rules held, 2 BROKEN, 1 skipped" in out


def test_every_rule_has_a_name_of_its_own_and_says_what_it_wants():
    code, out, _ = run("--list")
    assert code == 0
    named = [line.split()[-1] for line in out.splitlines() if line[0] != " "]
    assert sorted(named) == sorted({rule.name for rule in conformance.RULES})
    for rule in conformance.RULES:
        assert rule.text.endswith("."), rule.name
        assert 0 <= rule.number <= 12


def test_nobody_there_is_one_line():
    port = free_port()
    code, out, err = run("127.0.0.1:%d" % port)
    assert (code, out) == (1, "")
    assert err == "cannot try 127.0.0.1 port %d: Connection refused\n" % port


def test_another_network_is_one_line(make_node):
    code, out, err = run("127.0.0.1:%d" % make_node(network="lab").port)
    assert (code, out) == (1, "")
    assert err.endswith("it belongs to the network 'lab'; see --network\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["127.0.0.1"],
        ["127.0.0.1:0"],
        ["127.0.0.1:x"],
        [":6000"],
        ["127.0.0.1:6000", "--level", "most"],
        ["127.0.0.1:6000", "--rule", "no-such-rule"],
        ["127.0.0.1:6000", "--patience", "nan"],
        ["127.0.0.1:6000", "--ping-timeout", "-1"],
    ],
)
def test_what_cannot_be_meant_is_said(words):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
