"""The library: nodes in one process, as a program that imports them uses them."""

import errno
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

from p2p_plain import MessageTooLong, Node, NotConnected, NotRunning, P2PError, PeerBusy, UsageError
from p2p_plain.common.errors import CannotStart
from p2p_plain.node import peers_file
from tests.support import BUSY, PATIENCE, ROOT, RawListener, RawPeer, free_port, new_id, wait_until


def tasks():
    """Threads of this process as the kernel counts them, those unknown to Python included."""
    return len(os.listdir("/proc/self/task"))


def descriptors():
    return len(os.listdir("/proc/self/fd"))


linux = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc")


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


def test_an_unknown_event_is_answered_with_those_that_there_are():
    with pytest.raises(UsageError, match=r"peer_down, peer_up, .* and [*]"):
        Node().on("peerup", print)


def test_a_port_that_is_taken_cannot_be_listened_on(make_node):
    node = make_node()
    with pytest.raises(CannotStart) as error:
        Node(port=node.port, bind="127.0.0.1").start()
    assert "taken" in str(error.value)
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


# -- stopping ------------------------------------------------------------------------------------


def test_a_broadcast_right_after_the_start_is_heard_though_the_node_stops_at_once(make_node):
    first = make_node()
    with Node(port=0, bind="127.0.0.1", bootstrap=first.addresses) as node:
        node.broadcast("hello and goodbye")
    said = [event["body"] for event in first.events(timeout=1) if event["event"] == "message"]
    assert said == ["hello and goodbye"]


def test_a_broadcast_that_nobody_could_hear_is_reported_at_the_stop(make_node, caplog):
    node = make_node()
    node.broadcast("is there anybody?")
    node.stop()
    (record,) = caplog.records
    assert record.getMessage() == "broadcasts that nobody heard, for want of a peer: 1"


def test_without_a_peer_the_latest_broadcasts_are_kept_and_a_loss_is_reported_once(make_node, caplog):
    node = make_node()
    for number in range(150):
        node.broadcast(number)
    wait_until(lambda: caplog.records)
    other = make_node(bootstrap=node.addresses, max_rate=0)
    heard = []
    other.on("message", lambda event: heard.append(event["body"]))
    wait_until(lambda: len(heard) == 100)
    assert heard == list(range(50, 150))
    node.stop()
    (record,) = caplog.records
    assert "older ones are dropped" in record.getMessage()


def slow_reader(node):
    """A peer that reads nothing and for which no more can wait, and how many messages it was sent."""
    peer = RawPeer.dial(node)
    peer.become_peer()
    node.wait_for_peers(1, timeout=10)
    sent = 0
    with pytest.raises(PeerBusy):
        while True:
            node.send(peer.nodeid, "x" * 50000)
            sent += 1
    return peer, sent


def test_stop_gives_a_slow_reader_a_moment_to_hear_everything(make_node, caplog):
    node = make_node()
    peer, sent = slow_reader(node)
    stopper = threading.Timer(0.1, node.stop)
    with peer:
        stopper.start()
        wait_until(lambda: "stopp" in repr(node))
        heard = [message["msgtype"] for message in peer.hear_to_the_end()]
        assert heard.count("message") == sent
        assert heard[-1] == "bye"
    stopper.join()
    assert not caplog.records


def test_stop_says_which_peer_has_not_read_what_it_was_sent(make_node, caplog):
    node = make_node()
    peer, _ = slow_reader(node)
    place = peer.sock.getsockname()
    with peer:
        node.stop()
    (record,) = caplog.records
    assert record.getMessage().startswith("%s:%d missed messages" % place)


@linux
def test_stop_leaves_no_thread_and_no_socket(make_node):
    tasks_before, descriptors_before = tasks(), descriptors()
    nodes = [make_node()]
    for _ in range(4):
        nodes.append(make_node(bootstrap=nodes[0]))
    wait_until(lambda: all(len(node.peers()) == 4 for node in nodes))
    began = time.monotonic()
    for node in nodes:
        node.stop()
    assert time.monotonic() - began < len(nodes) * 1.0
    wait_until(lambda: tasks() <= tasks_before, timeout=2)
    assert descriptors() <= descriptors_before


def test_stop_takes_less_than_a_second_whatever_the_peers_do(make_node):
    """Silent, half-greeted, stalled, flooding, and one that is dialed and never answers."""
    with RawListener() as mute, RawListener(backlog=0) as deaf:
        crowd = [RawPeer.dial(deaf.port) for _ in range(1)]
        node = make_node(bootstrap=[mute.address, deaf.address], max_rate=1)
        with RawPeer.dial(node) as silent, RawPeer.dial(node) as halfway, RawPeer.dial(node) as busy:
            halfway.hello()
            halfway.hear("hello")
            busy.become_peer()
            busy.say_raw(b'{"msgtype":"ping"}\n' * 5000)
            silent.say_raw(b"{")
            wait_until(lambda: len(node._sessions.all()) >= 4)
            began = time.monotonic()
            node.stop()
            assert time.monotonic() - began < 1.0 + BUSY
            assert node._crew.wait(0) == 0
        for peer in crowd:
            peer.sock.close()


def test_stop_may_be_called_twice_before_start_and_from_two_threads(make_node):
    node = make_node()
    threads = [threading.Thread(target=node.stop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2)
        assert not thread.is_alive()
    node.stop()
    never = Node(port=0)
    never.stop()
    assert repr(never).endswith("stopped>")
    with pytest.raises(NotRunning, match="stopped before it ran"):
        never.peers()
    with pytest.raises(NotRunning, match="only once"):
        never.start()


def test_stop_may_be_called_from_a_callback(make_node):
    first = make_node()
    second = Node(port=0, bind="127.0.0.1", bootstrap="127.0.0.1:%d" % first.port)
    second.on("peer_up", lambda event: second.stop())
    second.start()
    assert [e["event"] for e in second.events(timeout=10)][-1] == "stopped"
    wait_until(lambda: second._crew.wait(0) == 0)
    wait_until(lambda: not first.peers())


def test_stop_from_the_first_callback_waits_for_the_start():
    for _ in range(30):
        node = Node(port=0, bind="127.0.0.1")
        node.on("listening", lambda event, node=node: node.stop())
        node.start()
        assert [e["event"] for e in node.events(timeout=5)][-1] == "stopped"
        wait_until(lambda node=node: not node._dispatcher.is_alive())
        assert node._crew.wait(0) == 0


def test_stop_from_another_thread_during_the_start_leaves_nothing(make_node):
    for number in range(40):
        node = Node(port=0, bind="127.0.0.1")
        stopper = threading.Timer(number * 0.0001, node.stop)
        stopper.start()
        try:
            node.start()
        except RuntimeError as error:
            assert "only once" in str(error)  # the stop was faster
        stopper.join()
        assert node._crew.wait(0) == 0
        if node._was_started:
            assert not node._dispatcher.is_alive()
            assert not node._pinger.is_alive()


def test_a_start_without_threads_to_be_had_is_undone(monkeypatch):
    node = Node(port=0, bind="127.0.0.1")

    def refuse(*args):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(node._crew, "start", refuse)
    with pytest.raises(CannotStart, match="threads"):
        node.start()
    assert node._listener.socket.fileno() == -1
    assert not node._dispatcher.is_alive()
    assert not node._pinger.is_alive()
    node.stop()


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


def test_peers_are_told_of_a_stop_and_do_not_redial(make_node):
    first = make_node()
    second = make_node(bootstrap=first)
    downs, refused = [], []
    wait_until(lambda: first.peers() and second.peers())
    first.on("peer_down", downs.append)
    first.on("refused", refused.append)
    second.stop()
    wait_until(lambda: downs)
    assert downs[0]["reason"] == "stopping"
    assert downs[0]["peers"] == 0
    assert next(e for e in second.events(timeout=1) if e["event"] == "stopped")["peers"] == 1


# -- where it listens ----------------------------------------------------------------------------------


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


def own_addresses_heard_by(host, node):
    """What a node advertises of itself to a peer that dials it there."""
    with RawPeer(socket.create_connection((host, node.port), 5)) as peer:
        peer.hello()
        return peer.hear("addr")["peers"]


@ipv6
def test_a_node_on_all_addresses_advertises_the_one_that_the_connection_uses(make_node):
    """Never the wildcard itself: nobody can dial 0.0.0.0."""
    node = make_node(bind=None)
    assert own_addresses_heard_by("127.0.0.1", node) == [
        ["127.0.0.1:%d" % node.port, node.nodeid]
    ]
    assert own_addresses_heard_by("::1", node) == [["[::1]:%d" % node.port, node.nodeid]]
    assert not any(address.startswith(("0.0.0.0", "[::]")) for address in node.addresses)


def test_a_node_on_all_of_ipv4_advertises_the_one_that_the_connection_uses(make_node):
    node = make_node(bind="0.0.0.0")
    assert own_addresses_heard_by("127.0.0.2", node) == [
        ["127.0.0.2:%d" % node.port, node.nodeid]
    ]


@ipv6
def test_nodes_on_ipv6_alone_find_each_other(make_node):
    first = make_node(bind="::1")
    second = make_node(bind="::1", bootstrap="[::1]:%d" % first.port)
    third = make_node(bind="::1", bootstrap="[::1]:%d" % second.port)
    wait_until(lambda: all(len(node.peers()) == 2 for node in (first, second, third)))
    assert all(p.address.startswith("[::1]:") for p in third.peers())


@ipv6
def test_a_node_on_ipv6_alone_is_not_advertised_at_the_ipv4_address_it_dials_from(make_node):
    """Its hello names a port; that port on its IPv4 address reaches nobody."""
    hub = make_node(bind=None)
    only6 = make_node(bind="::1", bootstrap="127.0.0.1:%d" % hub.port)
    wait_until(lambda: hub.peers() and hub.peers()[0].rtt_ms)
    wanted = ["[::1]:%d" % only6.port, only6.nodeid]
    with RawPeer.dial(hub) as asker:
        asker.become_peer()

        def advertised():
            asker.say("getaddr")
            return asker.hear("addr")["peers"]

        wait_until(lambda: wanted in advertised())
        assert advertised() == [wanted]


@ipv6
def test_a_mesh_of_nodes_on_ipv4_on_ipv6_and_on_both(make_node):
    both = make_node(bind=None)
    only4 = make_node(bind="127.0.0.1", bootstrap="127.0.0.1:%d" % both.port)
    only6 = make_node(bind="::1", bootstrap="[::1]:%d" % both.port)
    wait_until(lambda: all(len(node.peers()) == 2 for node in (both, only4, only6)))


def test_advertise_is_what_others_are_told(make_node):
    node = make_node(advertise="203.0.113.7:7000")
    assert own_addresses_heard_by("127.0.0.1", node) == [["203.0.113.7:7000", node.nodeid]]
    assert node.addresses == ("203.0.113.7:7000",)


def test_a_name_to_advertise_is_told_as_the_address_it_has(make_node, monkeypatch):
    node = make_node(advertise="localhost:7000", bind="127.0.0.1")
    (told,) = own_addresses_heard_by("127.0.0.1", node)
    assert told[0] in ("127.0.0.1:7000", "[::1]:7000")
    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    with pytest.raises(CannotStart, match="gateway"):
        Node(port=0, advertise="gateway.test:7000").start()


# -- the peers file ------------------------------------------------------------------------------------


def test_the_peers_file_brings_a_node_back_without_a_bootstrap_list(make_node, tmp_path):
    path = str(tmp_path / "peers.json")
    first = make_node()
    second = make_node(bootstrap=first, peers_file=path)
    wait_until(lambda: second.peers())
    second.stop()
    again = make_node(peers_file=path)
    wait_until(lambda: again.peers())
    assert again.peers()[0].nodeid == first.nodeid
    assert os.listdir(str(tmp_path)) == ["peers.json"]


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"format": "other"}', b"[" * 100000])
def test_a_damaged_peers_file_is_moved_aside_and_the_node_starts(
    make_node, tmp_path, caplog, content
):
    path = tmp_path / "peers.json"
    path.write_bytes(content)
    node = make_node(peers_file=str(path))
    wait_until(lambda: caplog.records)
    assert len(caplog.records) == 1
    assert "damaged" in caplog.records[0].getMessage()
    node.stop()
    assert (tmp_path / "peers.json.bad").read_bytes() == content


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_a_peers_file_may_be_a_link_and_stays_one(make_node, tmp_path):
    (tmp_path / "real").mkdir()
    os.symlink(str(tmp_path / "real" / "peers.json"), str(tmp_path / "link"))
    first = make_node()
    second = make_node(bootstrap=first, peers_file=str(tmp_path / "link"))
    wait_until(lambda: second.peers())
    second.stop()
    assert os.path.islink(str(tmp_path / "link"))
    assert os.listdir(str(tmp_path / "real")) == ["peers.json"]


def test_a_peers_file_in_no_folder_is_said_at_the_start(tmp_path):
    with pytest.raises(CannotStart, match="no folder"):
        Node(port=0, peers_file=str(tmp_path / "absent" / "peers.json")).start()


def test_a_peers_file_that_is_a_folder_stops_the_start(tmp_path):
    with pytest.raises(CannotStart, match="not a regular file"):
        Node(port=0, peers_file=str(tmp_path)).start()


def test_a_peers_file_that_the_disk_does_not_give_is_moved_aside(
    make_node, tmp_path, caplog, monkeypatch
):
    """Not readable for us, or a bad sector: a warning, and the node starts without it."""
    path = tmp_path / "peers.json"
    path.write_bytes(b"precious")

    def unreadable(*args):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(peers_file, "load", unreadable)
    make_node(peers_file=str(path)).stop()
    (record,) = caplog.records
    assert "Input/output error" in record.getMessage()
    assert (tmp_path / "peers.json.bad").read_bytes() == b"precious"


def test_a_damaged_file_that_cannot_be_moved_is_left_and_never_overwritten(
    make_node, tmp_path, caplog, monkeypatch
):
    path = tmp_path / "peers.json"
    path.write_bytes(b"precious")

    def read_only(*args):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "replace", read_only)
    first = make_node()
    node = make_node(peers_file=str(path), bootstrap=first)
    wait_until(lambda: node.peers())
    monkeypatch.undo()
    node.stop()
    (record,) = caplog.records
    assert "left there" in record.getMessage()
    assert path.read_bytes() == b"precious"


def test_a_disk_that_stays_full_is_complained_of_once(make_node, tmp_path, caplog, monkeypatch):
    calls = []

    def full(*args):
        calls.append(args)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("p2p_plain.node.peers_file.SAVE_INTERVAL", 0.01)
    monkeypatch.setattr(peers_file, "save", full)
    first = make_node()
    node = make_node(peers_file=str(tmp_path / "peers.json"), bootstrap=first)
    wait_until(lambda: len(calls) >= 3)
    assert len(node.peers()) == 1
    node.stop()
    (record,) = caplog.records
    assert "No space left" in record.getMessage()
