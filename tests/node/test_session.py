"""One connection's life: deadlines, slow readers, floods, endings."""

import json
import select
import socket
import threading
import time

import pytest

from p2p_plain import Node, PeerBusy
from p2p_plain.common.address import Address
from p2p_plain.common.counters import Traffic
from p2p_plain.node import membership, messages, session
from p2p_plain.node.sessions import MAX_PER_IP, MAX_UNGREETED, Sessions
from tests.support import RawListener, RawPeer, new_id, wait_until


@pytest.fixture
def quick_second_ping(monkeypatch):
    """A new peer's second ping comes at once, instead of a second after the first."""
    monkeypatch.setattr(membership, "SECOND_PING_AFTER", 0.0)


def shrink_buffers(sock):
    """So that a peer that does not read is noticed after kilobytes and not megabytes."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)


def dial_with_small_buffer(node):
    sock = socket.socket()
    shrink_buffers(sock)
    sock.connect(("127.0.0.1", node.port))
    return RawPeer(sock)


# -- the handshake's deadline -----------------------------------------------------------------


def test_blank_lines_as_fast_as_they_are_taken_do_not_extend_the_deadline(make_node, monkeypatch):
    """There is always something to read then."""
    monkeypatch.setattr(session, "HANDSHAKE_TIMEOUT", 0.5)
    node = make_node()
    with RawPeer.dial(node) as peer:
        began = time.monotonic()
        said = b""
        peer.sock.setblocking(False)
        while b"\n" not in said and time.monotonic() - began < 8:
            readable, writable, _ = select.select([peer.sock], [peer.sock], [], 8)
            if writable:
                peer.sock.send(b"\n" * 50)
            if readable:
                said += peer.sock.recv(4096)
        assert b'"timeout"' in said
        assert time.monotonic() - began < 4


def test_whom_we_dial_must_let_us_in_by_the_deadline(make_node, monkeypatch):
    """Hello alone is not a welcome; a node that says no more than that is no peer."""
    monkeypatch.setattr(session, "HANDSHAKE_TIMEOUT", 0.5)
    with RawListener() as home:
        node = make_node(bootstrap=home.address)
        with home.accept() as peer:
            peer.hello()
            said = peer.hear_to_the_end()
        assert said[-1]["reason"] == "timeout"
        assert node.peers() == []


def test_an_established_peer_may_be_silent_for_longer_than_the_deadline(make_node, monkeypatch):
    monkeypatch.setattr(session, "HANDSHAKE_TIMEOUT", 0.3)
    monkeypatch.setattr(membership, "SECOND_PING_AFTER", 0.5)
    node = make_node()
    with RawPeer.dial(node) as peer:
        peer.become_peer()
        second_ping = peer.hear("ping")  # after the deadline
        assert second_ping and peer.answers_ping()


def test_silent_strangers_make_room_for_one_who_talks(make_node):
    """At the bound of connections without hello the oldest is cut, not the newest refused."""
    node = make_node()
    silent = [RawPeer.dial(node) for _ in range(MAX_UNGREETED + 30)]
    try:
        with RawPeer.dial(node) as peer:
            peer.become_peer()
            wait_until(lambda: node.peers())
        # Thirty of them, in the order in which their threads came to run.
        wait_until(lambda: len(node._sessions.all()) <= MAX_UNGREETED)
        assert sum(bool(select.select([peer.sock], [], [], 0)[0]) for peer in silent) >= 30
    finally:
        for peer in silent:
            peer.sock.close()


# -- answering ----------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", [b'{"msgtype":"ping"}', b'{"msgtype": "ping"}'])
def test_a_ping_is_answered_and_counted_the_same_however_it_comes(make_node, quick_second_ping, spelling):
    """By itself, with another, in two pieces, and not as either usually writes it."""
    node = make_node()
    with RawPeer.dial(node) as peer:
        peer.become_peer()
        peer.hear("ping")  # the second, after which there will be no other
        peer.say("pong")
        before = node.counters()
        for said in (spelling + b"\n", spelling + b"\n" + spelling + b"\n", spelling + b"\r\n"):
            peer.say_raw(said)
            for _ in range(said.count(b"ping")):
                peer.hear("pong")
        heard = node.counters()["bytes"]["in"]
        peer.say_raw(spelling[:9])
        wait_until(lambda: node.counters()["bytes"]["in"] == heard + 9)
        peer.say_raw(spelling[9:] + b"\n")
        peer.hear("pong")
        after = node.counters()
        for direction, msgtype in (("in", "ping"), ("out", "pong")):
            key = (direction, msgtype)
            assert after["messages"][key] - before["messages"].get(key, 0) == 5


def test_a_ping_behind_the_beginning_of_a_line_is_the_rest_of_that_line(make_node, quick_second_ping):
    node = make_node()
    with RawPeer.dial(node) as peer:
        peer.become_peer()
        peer.hear("ping")  # the second, after which there will be no other
        peer.say("pong")
        assert peer.answers_ping()
        heard = node.counters()["bytes"]["in"]
        peer.say_raw(b'{"a":')
        wait_until(lambda: node.counters()["bytes"]["in"] >= heard + 5)
        peer.say_raw(b'{"msgtype":"ping"}\n')
        assert peer.hear_any()["reason"] == "protocol"


# -- slow readers -----------------------------------------------------------------------------------


def test_a_peer_that_does_not_read_delays_nobody_and_is_dropped(make_node):
    node = make_node(ping_timeout=1.0, ping_interval=30)
    downs = []
    node.on("peer_down", downs.append)
    with dial_with_small_buffer(node) as stalled, RawPeer.dial(node) as good:
        stalled.become_peer()
        good.become_peer()
        wait_until(lambda: len(node.peers()) == 2)
        began = time.monotonic()
        for _ in range(100):  # 6 MB: more than all buffers on the way to the stalled peer
            node.broadcast("x" * 60000)
            good.hear("message")
        assert time.monotonic() - began < 5
        assert not any(s._unsent for s in node._sessions.all() if s.peer.nodeid == good.nodeid)
        wait_until(lambda: (good.answers_ping(), downs)[1])
        assert (downs[0]["nodeid"], downs[0]["reason"]) == (stalled.nodeid, "timeout")
        assert [peer.nodeid for peer in node.peers()] == [good.nodeid]


def test_a_ping_is_not_lost_behind_what_a_peer_has_still_to_read(make_node):
    """A full queue turns messages away, and not the ping on which the connection depends."""
    node = make_node(ping_timeout=3.0, ping_interval=0.5)
    with dial_with_small_buffer(node) as peer:
        peer.become_peer()
        wait_until(lambda: node.peers())
        try:
            while True:
                node.send(peer.nodeid, "x" * 60000)
        except PeerBusy:
            pass
        peer.hear("ping")  # after all that
        peer.say("pong")
        assert peer.answers_ping()


def test_what_did_not_fit_at_once_arrives_whole_and_in_order(make_node):
    """The node keeps the rest and sends it when the peer reads on, line after line."""
    node = make_node()
    with dial_with_small_buffer(node) as peer:
        peer.become_peer()
        wait_until(lambda: node.peers())
        bodies = [{"n": n, "x": "y" * 20000} for n in range(40)]
        for body in bodies:
            node.send(peer.nodeid, body)
        assert [peer.hear("message")["body"] for _ in bodies] == bodies
        assert peer.answers_ping()


def test_what_waits_is_sent_as_fast_as_the_peer_reads(make_node):
    """A slow moment is over when it is over: not a piece at each beat of the Timer."""
    node = make_node(ping_timeout=30)
    with dial_with_small_buffer(node) as peer:
        peer.become_peer()
        wait_until(lambda: node.peers())
        count = 0
        try:
            while True:
                node.send(peer.nodeid, "x" * 60000)
                count += 1
        except PeerBusy:
            pass
        began = time.monotonic()
        for _ in range(count):
            peer.hear("message")
        first = time.monotonic() - began
        assert peer.answers_ping()
        assert first < 5  # a megabyte and what the kernel held


def test_a_peer_that_takes_a_byte_now_and_then_does_not_keep_up_either(make_node, quick_second_ping):
    """Progress is not enough: what waits must be gone within the timeout."""
    node = make_node(ping_timeout=0.8, ping_interval=30)
    downs = []
    node.on("peer_down", downs.append)
    with dial_with_small_buffer(node) as peer:
        peer.become_peer()
        wait_until(lambda: node.peers())
        peer.say("pong")
        peer.hear("ping")
        peer.say("pong")
        try:
            while True:
                node.send(peer.nodeid, "x" * 60000)
        except PeerBusy:
            pass
        began = time.monotonic()
        never = threading.Event()
        peer.sock.settimeout(0.05)
        while not downs and time.monotonic() - began < 8:
            never.wait(0.01)  # 300 KB a second, where 4 MB wait
            try:
                peer.sock.recv(3000)
            except socket.timeout:
                pass
        assert [event["reason"] for event in downs] == ["timeout"]


def test_whoever_asks_without_reading_the_answers_slows_down_only_itself(make_node):
    """The node stops reading it, and what waits for it stays bounded."""
    node = make_node(max_rate=0, ping_timeout=30)
    with dial_with_small_buffer(node) as greedy, RawPeer.dial(node) as good:
        good.become_peer()
        greedy.become_peer()
        greedy.sock.settimeout(0.5)
        asked = 0
        with pytest.raises(socket.timeout):  # its own sends block: nobody reads them
            while asked < 100 * 1024 * 1024:
                greedy.say_raw(messages.PING * 10000)
                asked += len(messages.PING) * 10000
        assert good.answers_ping()
        waiting = [len(s._unsent) for s in node._sessions.all()]
        assert max(waiting) < 1024 * 1024


# -- floods ---------------------------------------------------------------------------------------------


def test_a_flood_is_read_at_the_rate_and_its_sender_stays_connected(make_node):
    node = make_node(max_rate=300, ping_timeout=0.5, ping_interval=0.2)
    with RawPeer.dial(node) as flooder, RawPeer.dial(node) as good:
        flooder.become_peer()
        good.become_peer()
        wait_until(lambda: len(node.peers()) == 2)
        began = time.monotonic()
        flooder.say_raw(messages.PING * 1000)
        for _ in range(10):
            assert good.answers_ping()
        assert time.monotonic() - began < 1.0
        for _ in range(1000):
            flooder.hear("pong")
        # 600 at once, the rest at 300 a second; what came in one read is answered together.
        assert 0.8 < time.monotonic() - began < 9
        # It was our choice not to read its pongs: not its silence.
        assert flooder.nodeid in [p.nodeid for p in node.peers()]


# -- endings ------------------------------------------------------------------------------------------------


def test_the_bye_arrives_even_when_the_peer_was_still_talking(make_node):
    """Closing with unread bytes sends a reset, and on many systems that destroys the bye."""
    node = make_node()
    resets = 0
    for _ in range(20):
        with RawPeer.dial(node) as peer:
            peer.become_peer()
            peer.say_raw(b"rubbish\n" + messages.PING * 3000)
            assert peer.hear("bye")["reason"] == "protocol"
            try:
                for _ in range(5):  # whoever is in mid-sentence may still finish it
                    peer.say_raw(messages.PING * 10)
            except OSError:
                resets += 1
    assert resets < 5  # a machine that stands still for half a second is excused


def test_what_was_said_before_a_stop_still_arrives(make_node):
    """A script that broadcasts and exits is heard, and leaves as one that stops."""
    node = make_node()
    with dial_with_small_buffer(node) as peer:
        peer.become_peer()
        wait_until(lambda: node.peers())
        count = 0
        while not node._sessions.all()[0]._unsent:
            node.broadcast("x" * 60000)
            count += 1
        node.broadcast("the last")
        stopper = threading.Thread(target=node.stop)
        stopper.start()
        said = peer.hear_to_the_end()
        stopper.join()
    assert [m["body"] for m in said if m["msgtype"] == "message"][-1] == "the last"
    assert said[-1] == {"msgtype": "bye", "reason": "stopping"}


def test_a_peer_is_gone_from_the_list_as_soon_as_it_has_misbehaved(make_node):
    node = make_node()
    with RawPeer.dial(node) as peer:
        peer.become_peer()
        wait_until(lambda: node.peers())
        peer.say_raw(b"rubbish\n")
        peer.hear("bye")
        assert node.peers() == []  # though its socket is still open


def test_a_connection_that_vanishes_ends_with_closed(make_node):
    node = make_node()
    downs = []
    node.on("peer_down", downs.append)
    with RawPeer.dial(node) as peer:
        peer.become_peer()
        wait_until(lambda: node.peers())
        # A reset instead of an orderly end: what a crash looks like.
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: downs)
    assert downs[0]["reason"] == "closed"


def test_the_reason_of_a_bye_is_told_as_it_was_said(make_node):
    node = make_node()
    downs = []
    node.on("peer_down", downs.append)
    for reason in ("stopping", "unauthorised"):
        with RawPeer.dial(node) as peer:
            peer.become_peer()
            wait_until(lambda: node.peers())
            peer.say("bye", reason=reason)
        wait_until(lambda reason=reason: [e["reason"] for e in downs][-1:] == [reason])


def test_nothing_is_traced_or_counted_as_said_on_a_connection_that_is_over():
    """The loser of a tie is closed a second later, when its other end may long have said bye."""
    node = Node(port=0, bind="127.0.0.1")
    said = []
    node.on("trace", lambda line: said.append(line["line"]) if line["direction"] == ">" else None)
    with node, RawPeer.dial(node) as peer:
        peer.become_peer()
        wait_until(lambda: node.peers())
        (left,) = node._sessions.all()
        peer.say("bye", reason="duplicate")
        assert [m for m in peer.hear_to_the_end() if m["msgtype"] == "bye"] == []
        wait_until(lambda: not node._sessions.all())
        left.close("duplicate", "another connection to you stays")
        assert left.send(messages.PING) is False
        assert "bye" not in left.traffic.said
    # The trace has been told to its end by now.
    assert said
    assert not [line for line in said if "bye" in line]


# -- lines out ---------------------------------------------------------------------------------------------


def test_a_flooded_message_is_passed_on_byte_for_byte(make_node):
    """Fields that we do not know survive, and so does a spelling that is not ours."""
    node = make_node()
    with RawPeer.dial(node) as author, RawPeer.dial(node) as reader:
        author.become_peer()
        reader.become_peer()
        wait_until(lambda: len(node.peers()) == 2)
        line = json.dumps(
            {"body": "\u00e9", "msgtype": "message", "id": new_id(), "from": author.nodeid, "x": 1e3}
        ).encode()
        author.say_raw(line + b"\n")
        heard = reader.hear_line()
        while b"message" not in heard:
            heard = reader.hear_line()
        assert heard == line


# -- how many ----------------------------------------------------------------------------------------------


class Stranger:
    """What ``Sessions`` looks at, of a session."""

    direction, state = "inbound", "greeting"

    def __init__(self, host):
        self.remote = Address(host, 40000)
        self.traffic = Traffic()
        self.was_cut = False

    def cut(self):
        self.was_cut = True


def test_one_address_may_have_32_connections_and_loopback_any_number():
    sessions = Sessions()
    crowd = [Stranger("10.0.0.1") for _ in range(MAX_PER_IP)]
    assert all(sessions.enter(stranger) for stranger in crowd)
    assert not sessions.enter(Stranger("10.0.0.1"))
    assert sessions.enter(Stranger("10.0.0.2"))
    assert all(sessions.enter(Stranger("127.0.0.1")) for _ in range(2 * MAX_PER_IP))
    sessions.leave(crowd[0])
    assert sessions.enter(Stranger("10.0.0.1"))


def test_at_the_bound_the_longest_silent_stranger_is_cut_and_never_a_peer():
    sessions = Sessions()
    peer = Stranger("127.0.0.1")
    sessions.enter(peer)
    peer.state = "up"
    silent = [Stranger("127.0.0.1") for _ in range(MAX_UNGREETED)]
    for stranger in silent:
        sessions.enter(stranger)
    assert not any(stranger.was_cut for stranger in silent)
    for late in range(3):
        sessions.enter(Stranger("127.0.0.1"))
        assert [stranger.was_cut for stranger in silent].count(True) == late + 1
    assert [stranger.was_cut for stranger in silent[:4]] == [True, True, True, False]
    assert not peer.was_cut


def test_who_has_left_is_not_remembered():
    sessions = Sessions()
    for _ in range(100):
        stranger = Stranger("10.0.0.1")
        assert sessions.enter(stranger)
        sessions.leave(stranger)
    assert sessions.all() == []
    assert sessions._inbound_by_ip == {}
    assert not sessions._strangers
