"""Stopping a node: what was said may leave, peers are told, and nothing is left behind."""

import os
import threading
import time

import pytest

from p2p_plain import Node, NotRunning, PeerBusy
from p2p_plain.common.errors import CannotStart
from tests.support import BUSY, RawListener, RawPeer, wait_until


def tasks():
    """Threads of this process as the kernel counts them, those unknown to Python included."""
    return len(os.listdir("/proc/self/task"))


def descriptors():
    return len(os.listdir("/proc/self/fd"))


linux = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc")


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
