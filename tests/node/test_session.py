"""One connection's life, where the rules of the wire (``scripts/conformity``) do not test it."""

import contextlib
import gc
import json
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref

import pytest

from p2p_plain import Node, PeerBusy
from p2p_plain.common.address import Address
from p2p_plain.common.counters import Traffic
from p2p_plain.node import listener, membership, messages, session
from p2p_plain.node.answers import PIECE_BYTES
from p2p_plain.node.lateness import Lateness
from p2p_plain.node.outbox import MAX_UNSENT, MAX_UNSENT_IN_ALL, Backlog, Outbox
from p2p_plain.node.sessions import MAX_UNGREETED, Sessions
from tests.support import ROOT, Program, RawListener, RawPeer, new_id, wait_until


@pytest.fixture
def quick_second_ping(monkeypatch):
    """A new peer's second ping comes at once, instead of a second after the first."""
    monkeypatch.setattr(membership, "SECOND_PING_AFTER", 0.0)


def dial_with_small_buffer(node):
    """Return a peer that does not read; kilobytes fill its buffers, not megabytes."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", node.port))
    return RawPeer(sock)


# -- the handshake's deadline -----------------------------------------------------------------


def test_blank_lines_without_a_pause_do_not_extend_the_handshake(make_node, monkeypatch):
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


def test_a_node_that_we_dial_must_let_us_in_within_the_handshake(make_node, monkeypatch):
    """A node that says hello and nothing else does not become a peer."""
    monkeypatch.setattr(session, "HANDSHAKE_TIMEOUT", 0.5)
    with RawListener() as home:
        node = make_node(bootstrap=home.address)
        with home.accept() as peer:
            peer.hello()
            said = peer.hear_to_the_end()
        assert said[-1]["reason"] == "timeout"
        assert node.peers() == []


def test_a_silent_address_that_a_peer_claims_is_given_up_soon(make_node):
    """It accepts and says nothing; the probe of a claim does not wait for the whole handshake."""
    node = make_node()
    with RawListener() as home, RawPeer.dial(node) as peer:
        peer.become_peer(port=home.port)
        with home.accept() as probed:
            began = time.monotonic()
            assert probed.hear_any()["probe"]
            probed.hear_to_the_end()
            assert time.monotonic() - began < 0.5 * session.HANDSHAKE_TIMEOUT
        with home.accept() as again:  # with more patience
            assert again.hear_any()["probe"]


# -- lines and chunks -------------------------------------------------------------------------


def test_a_ping_is_answered_only_when_its_newline_has_come(make_node):
    """Even if the ping is followed by another byte in the same chunk: the line is something else."""
    node = make_node()
    with RawPeer.dial(node) as peer:
        peer.hello()
        assert peer.answers_ping()
        wait_until(node.peers)
        before = node.counters()
        peer.say_raw(b'{"msgtype":"ping"}x')
        wait_until(lambda: node.counters()["bytes"]["in"] > before["bytes"]["in"])
        peer.say_raw(b"\n")
        assert peer.hear_to_the_end()[-1]["reason"] == "protocol"
    assert node.counters()["messages"]["in", "ping"] == before["messages"]["in", "ping"]


# -- counting ----------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", [b'{"msgtype":"ping"}', b'{"msgtype": "ping"}'])
def test_every_ping_is_answered_and_counted(make_node, quick_second_ping, spelling):
    """Alone, two at once, in two pieces, and in an unusual spelling."""
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


# -- slow readers -----------------------------------------------------------------------------------


def test_a_full_queue_refuses_messages_but_not_pings(make_node):
    """The connection depends on its pings."""
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


def test_unsent_lines_arrive_whole_and_in_order(make_node):
    node = make_node()
    with dial_with_small_buffer(node) as peer:
        peer.become_peer()
        wait_until(lambda: node.peers())
        bodies = [{"n": n, "x": "y" * 20000} for n in range(40)]
        for body in bodies:
            node.send(peer.nodeid, body)
        assert [peer.hear("message")["body"] for _ in bodies] == bodies
        assert peer.answers_ping()


def test_unsent_lines_are_sent_as_fast_as_the_peer_reads(make_node):
    """And not a piece at each tick of the pinger."""
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


def test_a_peer_that_reads_too_slowly_is_dropped(make_node, quick_second_ping):
    """Unsent lines must be gone within ``ping_timeout``; a few bytes now and then are not enough."""
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


def test_a_peer_that_asks_without_reading_the_answers_slows_down_only_itself(make_node):
    """The node stops reading it, and its unsent answers are bounded."""
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
        waiting = [s.behind() for s in node._sessions.all()]
        assert max(waiting) < 1024 * 1024


class Full:
    """A socket whose kernel takes nothing."""

    def send(self, data):
        return 0


def test_what_waits_for_slow_readers_is_bounded_in_all(make_node):
    """However many they are: then each gets a line only when it has taken those before."""
    backlog, line = Backlog(), b"x" * 60000
    crowd = [Outbox(Full(), backlog, Lateness(0.2, 0.0), 20.0) for _ in range(300)]
    for box in crowd:
        while box.has_room(len(line)):
            box.offer(line)
    assert sum(map(len, crowd)) < MAX_UNSENT_IN_ALL + len(crowd) * len(line)
    assert all(map(len, crowd))
    assert max(map(len, crowd)) <= MAX_UNSENT
    for box in crowd:
        box.drop()
    assert backlog.has_room(MAX_UNSENT_IN_ALL)


def test_answers_that_are_not_read_do_not_wait_here(make_node):
    """The kernel holds what fits its buffer; the other rows are taken when there is room for them."""
    node = make_node(max_rate=0, ping_timeout=30)
    teller = RawPeer.dial(node)
    teller.become_peer()
    for _ in range(60):
        links = [{"nodeid": new_id()} for _ in range(250)]
        teller.say("links", nodeid=new_id(), age=1, links=links)
    assert teller.answers_ping()
    guests = [dial_with_small_buffer(node) for _ in range(8)]
    for guest in guests:
        guest.hello(probe=True)
        guest.hear("hello")
        for _ in range(20):
            guest.say("getlinks")
        guest.say("ping")
    wait_until(lambda: node.counters()["bytes"]["out"] > len(guests) * 100000)
    assert max(s.behind() for s in node._sessions.all()) < 64 * 1024
    guests[0].hear("pong")  # it overtakes the rows
    for _ in range(8):
        while not guests[0].hear("links").get("end"):
            pass
    assert guests[0].answers_ping()
    for peer in [teller, *guests]:
        peer.sock.close()


def test_a_peer_gets_a_long_answer_in_pieces_that_let_a_ping_through(make_node):
    """The next piece comes after the pong: however slowly it reads, no ping waits behind megabytes."""
    node = make_node(max_rate=0)
    with RawPeer.dial(node) as peer:
        peer.become_peer()
        for _ in range(60):
            links = [{"nodeid": new_id()} for _ in range(250)]
            peer.say("links", nodeid=new_id(), age=1, links=links)
        assert peer.answers_ping()
        peer.say("getlinks")
        size, pieces, said = 0, 0, {}
        while not said.get("end"):
            line = peer.hear_line()
            said = json.loads(line.decode())
            size += len(line)
            if said["msgtype"] == "ping":
                assert size < PIECE_BYTES + 64 * 1024
                assert peer.answers_ping()  # nothing else comes meanwhile
                peer.say("pong")
                size, pieces = 0, pieces + 1
        assert pieces > 3


# -- floods ---------------------------------------------------------------------------------------------


def test_a_flood_is_read_slowly_and_its_sender_stays_connected(make_node):
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
        # Its pongs waited unread, and that does not count as silence.
        assert flooder.nodeid in [p.nodeid for p in node.peers()]


# -- endings ------------------------------------------------------------------------------------------------


def test_the_bye_arrives_although_the_peer_was_still_sending(make_node):
    """Closing with unread bytes sends a reset, and on many systems that destroys the bye."""
    node = make_node()
    resets = 0
    for _ in range(20):
        with RawPeer.dial(node) as peer:
            peer.become_peer()
            peer.say_raw(b"rubbish\n" + messages.PING * 3000)
            assert peer.hear("bye")["reason"] == "protocol"
            try:
                for _ in range(5):  # it may still finish what it was sending
                    peer.say_raw(messages.PING * 10)
            except OSError:
                resets += 1
    assert resets < 5  # a machine that stands still for half a second is excused


def test_unsent_lines_still_arrive_after_a_stop(make_node):
    """So a script may broadcast and exit."""
    node = make_node(max_rate=0)
    with dial_with_small_buffer(node) as peer:
        peer.become_peer()
        wait_until(lambda: node.peers())
        count = 0
        while not node._sessions.all()[0].behind():
            node.broadcast("x" * 60000)
            count += 1
        node.broadcast("the last")
        stopper = threading.Thread(target=node.stop)
        stopper.start()
        said = peer.hear_to_the_end()
        stopper.join()
    assert [m["body"] for m in said if m["msgtype"] == "message"][-1] == "the last"
    assert said[-1] == {"msgtype": "bye", "reason": "stopping"}


def test_a_peer_that_misbehaves_is_off_the_list_at_once(make_node):
    node = make_node()
    with RawPeer.dial(node) as peer:
        peer.become_peer()
        wait_until(lambda: node.peers())
        peer.say_raw(b"rubbish\n")
        peer.hear("bye")
        assert node.peers() == []  # though its socket is still open


def test_a_reset_connection_ends_with_closed(make_node):
    node = make_node()
    downs = []
    node.on("peer_down", downs.append)
    with RawPeer.dial(node) as peer:
        peer.become_peer()
        wait_until(lambda: node.peers())
        # With SO_LINGER and 0 seconds, close() sends a reset, as after a crash.
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: downs)
    assert downs[0]["reason"] == "closed"


FLOOD = """
import sys, time
from p2p_plain import Node, PeerBusy

with Node(port=0, bootstrap=sys.argv[1]) as node:
    node.wait_for_peers(1, 10)
    time.sleep(0.1)
    print("connected", flush=True)
    sys.stdin.readline()
    try:
        while True:
            node.send(node.peers()[0].nodeid, "x" * 60000)
    except PeerBusy:
        print("full", flush=True)
    sys.stdin.readline()
"""


def test_a_node_that_is_killed_in_the_middle_of_a_long_line_breaks_no_rule():
    """Its connection is lost (``closed``): what the kernel still had of a line was cut off."""
    with Program("--port", "0", "--max-rate", "0") as reader:
        command = [sys.executable, "-c", FLOOD, "127.0.0.1:%d" % reader.port]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, bufsize=0) as writer:
            assert writer.stdout.readline() == b"connected\n"
            reader.wait_for("peer_up")
            reader.send(signal.SIGSTOP)
            writer.stdin.write(b"\n")
            assert writer.stdout.readline() == b"full\n"
            writer.kill()
        reader.send(signal.SIGCONT)
        assert reader.wait_for("peer_down")[0]["reason"] == "closed"
        assert not reader.events("refused")


@pytest.mark.parametrize("cut_off", [b'{"msgtype":"ping"}', b"nonsense"])
def test_a_line_that_the_end_of_the_stream_cuts_off_is_no_message(make_node, cut_off):
    node = make_node()
    downs = []
    node.on("peer_down", downs.append)
    with RawPeer.dial(node) as peer:
        peer.become_peer()
        wait_until(node.peers)
        peer.say_raw(cut_off)
        peer.sock.shutdown(socket.SHUT_WR)
        assert {"pong", "bye"}.isdisjoint(said["msgtype"] for said in peer.hear_to_the_end())
    assert wait_until(lambda: downs)[0]["reason"] == "closed"


def test_the_reason_of_a_bye_is_reported(make_node):
    node = make_node()
    downs = []
    node.on("peer_down", downs.append)
    for reason in ("stopping", "unauthorised"):
        with RawPeer.dial(node) as peer:
            peer.become_peer()
            wait_until(lambda: node.peers())
            peer.say("bye", reason=reason)
        wait_until(lambda reason=reason: [e["reason"] for e in downs][-1:] == [reason])


def test_nothing_is_traced_or_counted_after_the_end_of_a_connection():
    """The loser of a tie is closed a second later; the other end may have said bye before."""
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
        assert "bye" not in left.traffic.sent
    # The whole trace has been reported by now.
    assert said
    assert not [line for line in said if "bye" in line]


def test_nothing_is_kept_of_a_connection_that_is_over(make_node):
    """Its buffers are freed at once.  They do not wait until Python searches for cycles.

    Python searches what lives long only after minutes; by then it may be a hundred connections.
    """
    gc.collect()
    gc.disable()
    try:
        node = make_node()
        other = make_node(bootstrap=node)
        ended = []
        for farewell in (b"", b'{"msgtype":"bye"}\n', b"not JSON\n", b'{"msgtype":"pi'):
            with RawPeer.dial(node) as peer:
                peer.become_peer()
                ended += [weakref.ref(one) for one in node._sessions.all()]  # no public way
                peer.say_raw(farewell)
        ended += [weakref.ref(one) for one in other._sessions.all()]
        other.stop()
        with RawPeer.dial(node) as first, RawPeer.dial(node, nodeid=first.nodeid) as second:
            first.become_peer()
            second.hello()
            assert second.hear_to_the_end()[-1]["reason"] == "duplicate"
            ended += [weakref.ref(one) for one in node._sessions.all()]
        assert len(ended) >= 8
        wait_until(lambda: not any(one() for one in ended))
    finally:
        gc.enable()


# -- the bounds of all sessions ----------------------------------------------------------------------------------------------


class Stranger:
    """The part of a session that ``Sessions`` uses."""

    direction, state, first = "inbound", "greeting", None

    def __init__(self, host):
        self.remote = Address(host, 40000)
        self.traffic = Traffic()
        self.was_cut = False

    def cut(self):
        self.was_cut = True


def test_at_the_bound_the_oldest_stranger_is_cut_and_never_a_peer():
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


@pytest.mark.parametrize("crowd", ["10.0.0.1", "2001:db8:0:7::%x", "127.0.0.1"])
def test_a_crowd_from_one_address_keeps_no_other_newcomer_out(crowd):
    """However fast it connects: whoever needs a second for its hello has that second."""
    sessions = Sessions()
    slow = [Stranger(host) for host in ("10.0.0.2", "10.0.0.3", "2001:db8:0:8::1")]
    entered = []
    for number in range(3000):
        entered.append(Stranger(crowd % number if "%" in crowd else crowd))
        sessions.enter(entered[-1])
        if number in (0, 100, 1000):
            sessions.enter(slow[len([n for n in (0, 100, 1000) if n < number])])
    assert not any(stranger.was_cut for stranger in slow)
    assert [one for one in entered if not one.was_cut] == entered[-(MAX_UNGREETED - len(slow)) :]
    assert sessions.evict_stranger()
    assert not any(stranger.was_cut for stranger in slow)


def test_refused_strangers_that_linger_count_and_are_cut_first():
    """Otherwise a stranger that is refused and stays would hold a thread more with each connection."""
    sessions = Sessions()
    silent = [Stranger("10.0.0.1") for _ in range(MAX_UNGREETED - 2)]
    refused = [Stranger("10.0.0.2") for _ in range(5)]
    for stranger in silent + refused:
        sessions.enter(stranger)
        if stranger in refused:
            stranger.state = "over"
    assert [stranger.was_cut for stranger in refused] == [True, True, True, False, False]
    assert sessions.evict_stranger() and sessions.evict_stranger()
    assert all(stranger.was_cut for stranger in refused)
    assert not any(stranger.was_cut for stranger in silent)


def test_ended_sessions_are_not_remembered():
    sessions = Sessions()
    for _ in range(100):
        stranger = Stranger("10.0.0.1")
        sessions.enter(stranger)
        sessions.leave(stranger)
    assert sessions.all() == []
    assert not sessions._strangers
    assert not sessions.evict_stranger()


# -- the bound for one address -----------------------------------------------------------------


@pytest.fixture
def no_loopback(monkeypatch):
    """Bounds for one address hold for this machine too, so that a test can reach them."""
    monkeypatch.setattr(listener, "is_loopback", lambda host: False)


def test_the_refusal_of_a_crowded_address_names_the_option(make_node, no_loopback, caplog):
    node = make_node(max_per_ip=2)
    crowd = [RawPeer.dial(node) for _ in range(2)]
    for peer in crowd:
        peer.become_peer()
    wait_until(lambda: len(node.peers()) == 2)  # a peer that comes up may be refused anew
    for _ in range(3):
        with RawPeer.dial(node) as late:
            late.hello()  # unread when the node closes, and yet the bye arrives
            (bye,) = late.hear_to_the_end()
        assert (bye["msgtype"], bye["reason"]) == ("bye", "full")
        assert "--max-per-ip" in bye["detail"]
    crowd.pop().sock.close()
    wait_until(lambda: len(node.peers()) == 1)
    with RawPeer.dial(node) as again:
        again.become_peer()
    crowd.pop().sock.close()
    node.stop()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "full" in record.getMessage()
    assert "--max-per-ip" in record.getMessage()


def test_a_crowd_beyond_the_bound_for_one_address_takes_no_threads(make_node, no_loopback):
    node = make_node(max_per_ip=4)
    with contextlib.ExitStack() as opened:
        for _ in range(4):
            opened.enter_context(RawPeer.dial(node))
        wait_until(lambda: len(node._sessions.all()) == 4)
        most = 0
        for _ in range(300):
            opened.enter_context(RawPeer.dial(node))
            most = max(most, len(node._crew.names()))
    assert most <= 4 + 2


def test_loopback_has_no_bound_for_one_address(make_node):
    node = make_node(max_per_ip=1)
    with RawPeer.dial(node) as one, RawPeer.dial(node) as other:
        one.become_peer()
        other.become_peer()
