"""The library: nodes in one process, as a program that imports them uses them."""

import gc
import logging
import os
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

from p2p_plain import MessageTooLong, Node, NotConnected, NotRunning, P2PError, UsageError
from p2p_plain.common.errors import CannotStart
from tests.support import PATIENCE, ROOT, RawPeer, free_port, new_id, wait_until


def test_the_readmes_example_two_nodes_talk(make_node):
    """Said right after the start, before anyone is connected: heard all the same."""
    first = make_node()
    with Node(port=0, bind="127.0.0.1", bootstrap=first.addresses) as node:
        node.broadcast({"text": "hello, everyone"})
        heard = next(e for e in first.events(timeout=10) if e["event"] == "message")
        assert heard["body"] == {"text": "hello, everyone"}
        names = [event["event"] for event in node.events(timeout=0.1)]
        assert names[0] == "listening"


def test_three_nodes_find_each_other_through_the_middle_one(make_node):
    first = make_node(name="first")
    second = make_node(name="second", bootstrap=first)
    third = make_node(name="third", bootstrap=second)
    everyone = [first, second, third]
    wait_until(lambda: all(len(node.peers()) == 2 for node in everyone))
    wait_until(lambda: all(p.rtt_ms is not None for node in everyone for p in node.peers()))
    assert sorted(peer.name for peer in third.peers()) == ["first", "second"]


def test_peers_is_a_copy_with_units_in_its_names(make_node):
    first = make_node(name="first")
    second = make_node(name="second", bootstrap=first)
    wait_until(lambda: second.peers() and second.peers()[0].rtt_ms)
    (peer,) = second.peers()
    assert peer.nodeid == first.nodeid
    assert peer.name == "first"
    assert peer.address == "127.0.0.1:%d" % first.port
    assert peer.direction == "outbound"
    assert 0 < peer.rtt_ms < 5000
    assert 0 <= peer.up_seconds < 60


def test_send_reaches_one_peer_and_broadcast_everyone(make_node):
    first = make_node()
    second = make_node(bootstrap=first)
    third = make_node(bootstrap=first)
    everyone = [first, second, third]
    heard = {node: [] for node in everyone}
    for node in everyone:
        node.on("message", heard[node].append)
    wait_until(lambda: all(len(node.peers()) == 2 for node in everyone))
    id = first.send(second.nodeid.upper(), [1, {"a": None}, "\u00e9"])
    wait_until(lambda: heard[second])
    assert heard[second][0]["body"] == [1, {"a": None}, "\u00e9"]
    assert len(id) == 36
    second.broadcast("to all")
    wait_until(lambda: heard[first] and heard[third])
    assert len(heard[second]) == 1  # one does not hear oneself
    assert [e["body"] for e in heard[third]] == ["to all"]
    assert [e["from"] for e in heard[first]] == [second.nodeid]


def test_a_broadcast_reaches_nodes_that_are_not_neighbours_exactly_once(make_node):
    """A line of four, kept apart: each dials only its predecessor and has room for no more."""
    line = [make_node(max_peers=2, name="0")]
    for number in range(1, 4):
        line.append(make_node(max_peers=2, name=str(number), bootstrap=line[-1].addresses))
    heard = [[] for _ in line]
    for node, found in zip(line, heard):
        node.on("message", found.append)
    wait_until(lambda: [len(node.peers()) for node in line] == [1, 2, 2, 1])
    assert line[3].nodeid not in [p.nodeid for p in line[0].peers()]
    line[0].broadcast("pass it on")
    wait_until(lambda: all(heard[1:]))
    line[3].broadcast("and back")
    wait_until(lambda: all(len(found) >= much for found, much in zip(heard, [1, 2, 2, 1])))
    assert [[e["body"] for e in found] for found in heard] == [
        ["and back"],
        ["pass it on", "and back"],
        ["pass it on", "and back"],
        ["pass it on"],
    ]
    author_and_neighbour = ("from", "from_name", "nodeid", "name")
    assert [heard[1][0][field] for field in author_and_neighbour] == [line[0].nodeid, "0"] * 2
    assert [heard[3][0][field] for field in author_and_neighbour] == [
        line[0].nodeid,
        "",  # no peer of ours: its name is not known here
        line[2].nodeid,
        "2",
    ]


def test_sending_to_nobody_and_saying_what_json_cannot_are_errors_of_the_caller(make_node):
    node = make_node()
    with pytest.raises(NotConnected):
        node.send(new_id(), "hello?")
    with pytest.raises(MessageTooLong):
        node.broadcast("x" * 70000)
    for body in (float("nan"), b"bytes", object()):
        with pytest.raises((TypeError, ValueError)):
            node.broadcast(body)


def test_dial_makes_a_peer_or_an_event_that_says_why_not(make_node):
    first, second = make_node(), make_node()
    first.dial("127.0.0.1:%d" % second.port)
    wait_until(lambda: first.peers())
    port = free_port()
    first.dial("127.0.0.1:%d" % port)
    for event in first.events(timeout=10):
        if event["event"] == "refused":
            assert (event["address"], event["reason"]) == ("127.0.0.1:%d" % port, "refused")
            break
    else:
        pytest.fail("no event told that nobody is there")


def test_a_name_that_does_not_resolve_is_refused_as_unknown(make_node, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    node = make_node(bootstrap="no-such-host.invalid:6000")
    event = next(e for e in node.events(timeout=10) if e["event"] == "refused")
    assert (event["address"], event["reason"]) == ("no-such-host.invalid:6000", "unknown")


def no_such_name(host, *args):
    """What a name server says, without asking one."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_a_log_that_fails_does_not_silence_the_events(make_node, monkeypatch):
    """Out of descriptors even ``import logging`` fails; so may a handler of our user's."""
    node = make_node()

    def fail(*args):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(logging.getLogger("p2p_plain"), "log", fail)
    node._events.log(30, "something went wrong")
    node.dial("127.0.0.1:%d" % free_port())
    assert "refused" in [e["event"] for e in node.events(timeout=1)]


def test_long_messages_are_told_but_not_remembered(make_node):
    """Or a stranger could fill our memory with a thousand of them."""
    node = make_node()
    heard = []
    node.on("message", heard.append)
    with RawPeer.dial(node) as peer:
        peer.become_peer()
        for body in ("short", "x" * 5000):
            peer.say("message", id=new_id(), body=body, **{"from": peer.nodeid})
        wait_until(lambda: len(heard) == 2)
    assert set(heard[1]) == {"event", "time", "nodeid", "name", "from", "from_name", "body"}
    bodies = [e["body"] for e in node.events(timeout=0.1) if e["event"] == "message"]
    assert bodies == ["short"]


def test_an_iterator_that_nobody_iterates_is_forgotten(make_node):
    node = make_node()
    iterators = [node.events() for _ in range(5)]
    assert len(node._events._streams) == 5
    del iterators
    gc.collect()
    assert len(node._events._streams) == 0


# -- what cannot be meant -------------------------------------------------------------------------


def test_a_setting_that_does_not_exist_or_cannot_be_meant_is_refused_by_name():
    with pytest.raises(TypeError, match="'prot'"):
        Node(prot=0)
    with pytest.raises(TypeError, match="positional"):
        Node(6000)
    with pytest.raises(UsageError, match=r"^port: ") as error:
        Node(port=70000)
    assert error.value.setting == "port"


@pytest.mark.parametrize(
    "argument, call",
    [
        ("address", lambda node: node.dial("nonsense:port")),
        ("address", lambda node: node.dial("0.0.0.0:6000")),
        ("address", lambda node: node.dial("127.0.0.1:0")),
        ("address", lambda node: node.dial("a:1,b:2")),
        ("address", lambda node: node.dial(("127.0.0.1", 6000))),
        ("address", lambda node: node.dial(None)),
        ("nodeid", lambda node: node.send(None, "x")),
        ("nodeid", lambda node: node.send(node, "x")),
        ("event", lambda node: node.on("peerup", print)),
        ("event", lambda node: node.on(None, print)),
        ("event", lambda node: node.on("log", print)),  # the logging module has those
        ("event", lambda node: node.on("trace", print)),  # too late for it
        ("callback", lambda node: node.on("peer_up", None)),
        ("callback", lambda node: node.on("peer_up", print())),
        ("count", lambda node: node.wait_for_peers(-1)),
        ("count", lambda node: node.wait_for_peers("1")),
        ("timeout", lambda node: node.wait_for_peers(1, "1")),
        ("timeout", lambda node: node.wait_for_peers(1, -1)),
        ("timeout", lambda node: node.events(timeout=-1)),
        ("timeout", lambda node: node.events(float("nan"))),
        ("timeout", lambda node: node.events(True)),
        ("reason", lambda node: node.stop(5)),
    ],
)
def test_an_argument_that_cannot_be_meant_is_refused_at_once_by_name(argument, call, make_node):
    node = make_node()
    with pytest.raises(UsageError) as error:
        call(node)
    assert error.value.setting == argument
    assert len(str(error.value)) < 150
    assert node.peers() == []  # it still runs


def test_a_number_in_quotes_is_called_a_text():
    with pytest.raises(UsageError, match="port: '6000' is a text; give a number"):
        Node(port="6000")


def test_a_node_says_where_its_status_page_is(make_node):
    """The port that ``http=0`` has picked; on all addresses, one that others can open."""
    node = make_node(http=0)
    assert node.http == "127.0.0.1:%d" % node._page.port
    assert next(node.events(timeout=1))["http"] == node.http
    everywhere = make_node(http="0.0.0.0:0", bind=None)
    assert everywhere.http.split(":")[0] == everywhere.addresses[0].split(":")[0]
    without = make_node()
    assert without.http is None
    assert "http" not in next(without.events(timeout=1))


def test_an_unknown_event_is_answered_with_those_that_there_are():
    with pytest.raises(UsageError, match=r"peer_down, peer_up, .*, [*], and .* trace"):
        Node().on("peerup", print)


def test_a_port_that_is_taken_cannot_be_listened_on(make_node):
    node = make_node()
    with pytest.raises(CannotStart) as error:
        Node(port=node.port, bind="127.0.0.1").start()
    assert "taken" in str(error.value)
    assert "--" not in str(error.value)
    assert isinstance(error.value, P2PError)


def test_events_ends_after_its_timeout_and_when_the_node_stops(make_node):
    node = make_node()
    began = time.monotonic()
    assert [e["event"] for e in node.events(timeout=0.2)] == ["listening"]
    assert 0.15 < time.monotonic() - began < 5
    stopper = threading.Timer(0.1, node.stop)
    stopper.start()
    assert [e["event"] for e in node.events()] == ["listening", "stopped"]
    stopper.join()


def test_on_hears_by_name_and_star_hears_everything(make_node):
    node = Node(port=0, bind="127.0.0.1")
    named, everything = [], []
    node.on("listening", named.append)
    node.on("*", everything.append)
    with node:
        wait_until(lambda: everything)
    assert [e["event"] for e in named] == ["listening"]
    assert [e["event"] for e in everything] == ["listening", "stopped"]


def test_a_callback_that_fails_is_logged_and_disturbs_nobody(make_node, no_errors_logged):
    node = Node(port=0, bind="127.0.0.1")
    heard = []
    node.on("listening", lambda event: 1 / 0)
    node.on("listening", heard.append)
    with node:
        wait_until(lambda: heard)
    wait_until(lambda: no_errors_logged)
    assert "ZeroDivisionError" in no_errors_logged[0].getMessage()
    del no_errors_logged[:]


# -- for type checkers ----------------------------------------------------------------------------

PROGRAM = """
from typing import List

from p2p_plain import MessageEvent, Node, PeerUpEvent

messages: List[MessageEvent] = []

def met(event: PeerUpEvent) -> None:
    print(event["nodeid"].upper(), event["peers"] + 1)
    print(event["nodeId"])  # wrong: no such field

node = Node(port=0, bootstrap=["127.0.0.1:6000"], name="mine")
node.on("peer_up", met)
node.on("peer_up", print)
node.on("message", messages.append)
node.on("message", lambda event: print(event["from"], event["body"]["anything"]))
node.on("message", lambda event: print(event["form"]))  # wrong: no such field
node.on("message", met)  # wrong: not what it takes
node.on("peerup", print)  # wrong: no such event
node.on("*", lambda event: print(event["time"], event["event"]))
for event in node.events(timeout=1.5):
    if event["event"] == "rtt":
        print(event["rtt_ms"] / 1000)
        print(event["rtt"])  # wrong: no such field
    print(event["nodeid"])  # wrong: not every event has it
print(node.peers()[0].rtt_ms, node.addresses[0].upper())
node.wait_for_peers("one")  # wrong: not a number
Node(prot=0)  # wrong: no such setting
"""


@pytest.mark.skipif(not shutil.which("mypy"), reason="needs mypy")
def test_a_type_checker_finds_misspelt_events_fields_and_settings(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    run = subprocess.run(
        ["mypy", "--strict", "--cache-dir", os.devnull, "program.py"],
        cwd=str(tmp_path),
        env=dict(os.environ, MYPYPATH=ROOT),
        stdout=subprocess.PIPE,
    )
    found = set(re.findall(r"^program.py:(\d+): error", run.stdout.decode(), re.M))
    lines = enumerate(PROGRAM.splitlines(), 1)
    assert found == {str(number) for number, line in lines if "# wrong" in line}


# -- life ----------------------------------------------------------------------------------------

QUESTIONS = {
    "port": lambda node: node.port,
    "addresses": lambda node: node.addresses,
    "peers": lambda node: node.peers(),
    "rows": lambda node: node.rows(),
    "matrix": lambda node: node.matrix(),
    "counters": lambda node: node.counters(),
    "lateness": lambda node: node.lateness(),
    "stale_after": lambda node: node.stale_after(),
    "events": lambda node: list(node.events(0)),
}
"""Answered from the start on, and after the stop too."""

DOINGS = {
    "dial": lambda node: node.dial("127.0.0.1:1"),
    "send": lambda node: node.send(new_id(), "x"),
    "broadcast": lambda node: node.broadcast("x"),
    "wait_for_peers": lambda node: node.wait_for_peers(0),
}
"""Possible while it runs."""


def test_what_is_possible_when_and_one_error_for_all_the_rest(make_node):
    node = Node(port=0, bind="127.0.0.1")
    assert len(node.nodeid) == 36
    assert node.name
    for name, call in dict(QUESTIONS, **DOINGS).items():
        with pytest.raises(NotRunning, match="has not been started; call start"):
            pytest.fail("%s answered %r" % (name, call(node)))
    node.on("peer_up", print)
    assert node.start() is node
    with pytest.raises(NotRunning, match="runs already"):
        node.start()
    answers = {name: call(node) for name, call in QUESTIONS.items()}
    node.stop()
    after = {name: call(node) for name, call in QUESTIONS.items()}
    for name in ("port", "addresses", "peers", "stale_after"):
        assert after[name] == answers[name]
    assert [event["event"] for event in after["events"]] == ["listening", "stopped"]
    for name, call in DOINGS.items():
        with pytest.raises(NotRunning, match="has been stopped; make another"):
            pytest.fail("%s returned %r" % (name, call(node)))
    with pytest.raises(NotRunning, match="stopped"):
        node.on("peer_up", print)
    with pytest.raises(NotRunning, match="was stopped and can be started only once"):
        node.start()
    assert isinstance(NotRunning(), RuntimeError)


def test_repr_says_who_it_is_and_in_which_state(make_node):
    first = make_node(name="first")
    node = Node(port=0, bind="127.0.0.1", name="mine", bootstrap=first.addresses)
    assert repr(node) == "<Node 'mine' %s, not started>" % node.nodeid[:8]
    heard = []
    with node:
        node.wait_for_peers(1, timeout=10)
        shown = "<Node 'mine' %s, at 127.0.0.1:%d, peers: 1>" % (node.nodeid[:8], node.port)
        assert repr(node) == shown
        node.on("stopped", lambda event: heard.append(repr(node)))
    assert heard[0].endswith("stopping>")
    assert repr(node).endswith(", stopped>")


def test_wait_for_peers_returns_them_or_says_how_many_there_were(make_node):
    first = make_node()
    second = make_node(bootstrap=first.addresses)
    (peer,) = first.wait_for_peers(1, timeout=10)
    assert peer.nodeid == second.nodeid
    with pytest.raises(TimeoutError, match="1 of 2 peers after"):
        first.wait_for_peers(2, timeout=0.05)
    stopper = threading.Timer(0.05, first.stop)
    stopper.start()
    with pytest.raises(NotRunning):
        first.wait_for_peers(2)
    stopper.join()


def test_an_error_inside_the_with_statement_stops_the_node_and_passes():
    with pytest.raises(ZeroDivisionError), Node(port=0, bind="127.0.0.1") as node:
        raise ZeroDivisionError
    assert repr(node).endswith("stopped>")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", node.port))


def test_any_thread_may_call_any_method(make_node):
    """Eight threads talk through one node, look at it and iterate over its events."""
    first = make_node(max_rate=0)
    second = make_node(bootstrap=first.addresses, max_rate=0)
    for node in (first, second):
        node.wait_for_peers(1, timeout=10)
    heard, failed = [], []
    second.on("message", lambda event: heard.append(event["body"]))

    def use(number):
        try:
            events = first.events()
            for count in range(50):
                first.broadcast([number, count])
                first.send(second.nodeid, [number, count])
                for ask in (first.peers, first.matrix, first.counters, first.__repr__):
                    ask()
            assert next(events)["event"] == "listening"
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not failed
    wait_until(lambda: len(heard) == 800)
    for number in range(8):  # what one thread says keeps its order
        assert [count for one, count in heard if one == number] == sorted(list(range(50)) * 2)
