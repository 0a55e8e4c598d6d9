"""Floods of broadcasts: a node that forwards them keeps its peers, and who speaks softly is heard."""

import threading
import time

import pytest

from p2p_plain import PeerBusy
from tests.support import PATIENCE, RawPeer, new_id, wait_until

QUICK = {"ping_interval": 1, "ping_timeout": 2}
"""A ping that waits for two seconds of backlog costs the peer."""


def downs(node):
    """Collects what ``peer_down`` says of ``node``."""
    found = []
    node.on("peer_down", found.append)
    return found


def messages_heard(node):
    found = []
    node.on("message", lambda event: found.append(event["body"]))
    return found


class Stranger:
    """A peer that says so many messages a second, reads what it gets, and answers pings."""

    def __init__(self, node, rate, size):
        self._peer = RawPeer.dial(node)
        self._peer.become_peer()
        self._rate, self._body = rate, "x" * size
        self._lock = threading.Lock()
        self.ended = threading.Event()
        self._threads = [threading.Thread(target=one) for one in (self._flood, self._answer)]
        for thread in self._threads:
            thread.start()

    def _flood(self):
        pause = max(1.0 / self._rate, 0.05)
        try:
            while not self.ended.wait(pause):
                for _ in range(int(self._rate * pause)):
                    about = {"id": new_id(), "from": self._peer.nodeid, "body": self._body}
                    with self._lock:
                        self._peer.say("message", **about)
        except OSError:
            self.ended.set()

    def _answer(self):
        try:
            for line in iter(self._peer.hear_line, None):
                if b'"ping"' in line:
                    with self._lock:
                        self._peer.say("pong")
        except OSError:
            pass

    def end(self):
        self.ended.set()
        self._peer.sock.shutdown(2)
        for thread in self._threads:
            thread.join()
        self._peer.sock.close()


@pytest.mark.parametrize("count, rate, size", [(8, 150, 1), (3, 12, 60000)], ids=["tiny", "long"])
def test_a_node_that_strangers_flood_keeps_its_honest_peers(make_node, count, rate, size):
    hub = make_node(**QUICK)
    others = [make_node(bootstrap=hub, **QUICK) for _ in range(2)]
    nodes = [hub, *others]
    wait_until(lambda: all(len(node.peers()) == 2 for node in nodes))
    lost = [downs(node) for node in nodes]
    heard = messages_heard(others[1])
    strangers = [Stranger(hub, rate, size) for _ in range(count)]
    try:
        end, said = time.monotonic() + 8, 0
        while time.monotonic() < end:
            said += 1
            others[0].broadcast(["polite", said])
            strangers[0].ended.wait(0.1)
            wait_until(lambda: ["polite", said] in heard)  # noqa: B023
    finally:
        honest = [[one for one in found if one["name"]] for found in lost]
        dropped = hub.counters()["dropped"]
        for stranger in strangers:
            stranger.end()
    assert honest == [[], [], []]
    assert dropped["forwarded"] > 0


def test_a_program_that_broadcasts_too_fast_is_told_so_and_keeps_its_peers(make_node):
    first = make_node(**QUICK)
    second = make_node(bootstrap=first, **QUICK)
    first.wait_for_peers(timeout=PATIENCE)
    lost, heard = downs(first), messages_heard(second)
    said = busy = 0
    end = time.monotonic() + 6
    while time.monotonic() < end:
        for _ in range(15):
            try:
                first.broadcast("x")
                said += 1
            except PeerBusy:
                busy += 1
        threading.Event().wait(0.01)
    assert lost == []
    assert busy > said > 0
    wait_until(lambda: len(heard) == said)


def test_direct_messages_that_are_too_fast_are_refused_as_well(make_node):
    first = make_node(**QUICK)
    second = make_node(bootstrap=first, **QUICK)
    (peer,) = first.wait_for_peers(timeout=PATIENCE)
    heard = messages_heard(second)
    said = 0
    with pytest.raises(PeerBusy):
        while said < 10000:
            first.send(peer.nodeid, said)
            said += 1
    assert said < 400
    wait_until(lambda: len(heard) == said)


def test_a_broadcast_that_may_wait_goes_as_fast_as_everyone_reads(make_node):
    """Through three hops, and nothing is lost on the way."""
    line = [make_node(max_peers=8)]
    for _ in range(3):
        # A node with as many peers as half of its seats dials nobody: a chain stays a chain.
        line.append(make_node(bootstrap=line[-1], max_peers=2))
    wait_until(lambda: all(node.peers() for node in line))
    heard = messages_heard(line[-1])
    began = time.monotonic()
    for number in range(300):
        line[0].broadcast(number, wait=True)
    assert 1.5 < time.monotonic() - began < PATIENCE
    wait_until(lambda: len(heard) == 300)
    assert sum(node.counters()["dropped"].get("forwarded", 0) for node in line[1:]) == 0


def test_a_broadcast_that_waits_ends_with_the_node(make_node):
    first = make_node(max_rate=0.5)
    make_node(bootstrap=first)
    first.wait_for_peers(timeout=PATIENCE)
    first.broadcast("the only one for a while")
    failed = []

    def speak():
        try:
            first.broadcast("another", wait=True)
        except BaseException as error:
            failed.append(type(error).__name__)

    speaker = threading.Thread(target=speak)
    speaker.start()
    first.stop()
    speaker.join(PATIENCE)
    assert failed == ["NotRunning"]


# -- who counts as alive -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "says, least, most", [(b"", 0.4, 1.9), (b" ", 0.4, 1.9), (b'{"msgtype":"later"}\n', 2.0, 5.0)],
    ids=["frozen", "drips", "talks"],
)
def test_a_pong_may_wait_behind_messages_but_not_for_ever(make_node, says, least, most):
    """Whole lines count as life for three times the timeout; half a line and silence do not."""
    node = make_node(ping_interval=0.5, ping_timeout=1)
    lost = downs(node)
    with RawPeer.dial(node) as peer:
        peer.become_peer()
        peer.hear("ping")
        began = time.monotonic()
        never = threading.Event()
        while not lost and time.monotonic() - began < PATIENCE:
            try:
                peer.say_raw(says)
            except OSError:
                break
            never.wait(0.05)
        wait_until(lambda: lost)
        took = time.monotonic() - began
    assert lost[0]["reason"] == "timeout"
    assert least < took < most
