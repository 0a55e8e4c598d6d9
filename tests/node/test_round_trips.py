"""Round trips are the network's: what the programs at both ends took is not in them."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from p2p_plain.commands.guest import Guest
from p2p_plain.common.address import Address
from p2p_plain.node import messages
from p2p_plain.node.round_trips import (
    ARRIVAL, BY_PROGRAM, EXCUSED, MOST_LEFT_OUT, NETWORK, Moment, RoundTrip, RoundTrips, between, since,
)
from p2p_plain.node.tcp_info import is_counted
from p2p_plain.node.transport import Transport, ask_for_stamps
from tests.support import ROOT, RawPeer, wait_until

SENT = Moment(steady=100.0, wall=5000.0)
SEEN = Moment(steady=100.050, wall=5000.050)
"""Our program looked at the clock 50 ms after the ping left."""


def stamped_pair():
    """A socket, and a transport at its other end; the kernel notes when segments arrive, if it can."""
    with socket.socket() as listening:
        ask_for_stamps(listening)
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        theirs = socket.create_connection(listening.getsockname())
        ours = Transport(listening.accept()[0])
    deadline = time.monotonic() + 1
    while ours.arrived is None and time.monotonic() < deadline:  # the first may have none
        theirs.sendall(b"x")
        ours.receive()
    return theirs, ours


def stamps_work():
    theirs, ours = stamped_pair()
    theirs.close()
    ours.close()
    return ours.arrived is not None


with_stamps = pytest.mark.skipif(not stamps_work(), reason="no stamps of arrival on this system")
needs_sigstop = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="it stops a process")


def in_ms(trip):
    return round(trip.seconds * 1000, 3), trip.kind, round(trip.held * 1000, 3)


def test_what_both_programs_took_is_taken_out():
    """The pong arrived after 10 ms, and the other end had held the ping for 7 of them."""
    assert in_ms(between(SENT, 5000.010, SEEN, 0.007)) == (3.0, NETWORK, 7.0)


def test_of_a_node_that_says_nothing_only_our_own_part_is_taken_out():
    assert in_ms(between(SENT, 5000.010, SEEN, None)) == (10.0, ARRIVAL, 0.0)


def test_without_a_stamp_it_is_what_the_programs_took():
    assert in_ms(between(SENT, None, SEEN, 0.007)) == (50.0, BY_PROGRAM, 0.0)


@pytest.mark.parametrize("step", [3600.0, 0.001, 0.00005, -0.00005, -0.001, -3600.0])
@pytest.mark.parametrize("before_the_pong", [True, False])
def test_a_clock_that_was_set_meanwhile_is_not_used(step, before_the_pong):
    """However little, and also if that was between the pong's arrival and our look at the clock."""
    arrived = 5000.010 + (step if before_the_pong else 0.0)
    trip = between(SENT, arrived, SEEN._replace(wall=SEEN.wall + step), 0.007)
    assert in_ms(trip) == (50.0, BY_PROGRAM, 0.0)


@pytest.mark.parametrize("held", [0.0101, 1.0, 1e13])
def test_nobody_can_have_held_a_ping_longer_than_it_took(held):
    """Such a figure is ignored: no round trip is ever negative."""
    assert in_ms(between(SENT, 5000.010, SEEN, held)) == (10.0, ARRIVAL, 0.0)


@pytest.mark.parametrize("arrived", [4999.9, 5000.051, 0.0, 1e12])
def test_a_stamp_from_before_the_ping_or_after_now_is_not_used(arrived):
    assert in_ms(between(SENT, arrived, SEEN, 0.0)) == (50.0, BY_PROGRAM, 0.0)


@pytest.mark.parametrize(
    "sending, kind",
    [
        (0.0001, NETWORK),  # as usual
        (0.0005, NETWORK),  # interrupted, but that matters little
        (0.0030, ARRIVAL),  # perhaps that is the whole round trip
        (0.0200, NETWORK),  # interrupted for longer than it took: the packet had left
    ],
)
def test_a_ping_whose_program_was_interrupted_before_it_left_does_not_count(sending, kind):
    """The round trip is 3 ms, and it took so long until ``send`` had returned."""
    assert between(SENT, 5000.010, SEEN, 0.007, sending).kind == kind


def test_how_long_the_other_end_holds_pings_is_known_if_it_is_not_normal():
    trips = RoundTrips()
    for held in 0.012, 0.011:
        trips.add(RoundTrip(0.0001, NETWORK, held))
        assert trips.held is None
    trips.add(RoundTrip(0.0001, NETWORK, 0.0001))
    assert trips.held == 0.011
    for _ in range(10):
        trips.add(RoundTrip(0.0001, NETWORK, 0.0001))
    assert trips.held is None


def test_a_time_held_is_never_negative():
    """Somebody may set the clock back while we hold a ping."""
    assert since(time.time() + 60) is None
    assert since(None) is None
    assert 60 <= since(time.time() - 60) < 120


def test_once_there_are_exact_ones_all_others_go():
    trips = RoundTrips()
    assert trips.add(RoundTrip(0.030)) and trips.add(RoundTrip(0.002, ARRIVAL))
    assert list(trips.seconds) == [0.002]
    assert trips.add(RoundTrip(0.0001, NETWORK))
    assert not trips.add(RoundTrip(0.030)) and not trips.add(RoundTrip(0.002, ARRIVAL))
    assert list(trips.seconds) == [0.0001]
    assert trips.has_median  # there were three, and so it comes no later than it used to


def test_a_long_round_trip_counts_though_it_is_not_exact():
    """A segment that was lost is sent again together with the next line: that is the network's fault."""
    trips = RoundTrips()
    trips.add(RoundTrip(0.0001, NETWORK))
    assert trips.add(RoundTrip(EXCUSED, ARRIVAL))
    assert list(trips.seconds) == [0.0001, EXCUSED]


def test_a_long_round_trip_does_not_count_if_nothing_was_sent_again():
    """The ping was acknowledged, so it was the other program that took so long."""
    trips = RoundTrips()
    trips.add(RoundTrip(0.0001, NETWORK))
    assert not trips.add(RoundTrip(EXCUSED, ARRIVAL, on_time=True))
    assert trips.add(RoundTrip(EXCUSED, NETWORK, on_time=True))
    assert list(trips.seconds) == [0.0001, EXCUSED]


def test_exact_figures_do_not_outlive_their_time():
    """If no more of them come, others must show what the network is like now."""
    trips = RoundTrips()
    trips.add(RoundTrip(0.0001, NETWORK))
    taken = [trips.add(RoundTrip(0.050)) for _ in range(MOST_LEFT_OUT + 2)]
    assert taken == [False] * MOST_LEFT_OUT + [True] * 2
    assert list(trips.seconds) == [0.050] * 2
    assert trips.add(RoundTrip(0.0001, NETWORK))
    assert list(trips.seconds) == [0.0001]


# -- over real sockets ------------------------------------------------------------------------------


@with_stamps
def test_a_pong_says_how_long_the_ping_was_held(make_node):
    """Only if it is asked."""
    with RawPeer.dial(make_node()) as peer:
        peer.become_peer()
        peer.say("ping", t=True)
        held_us = peer.hear("pong")["held_us"]
        assert type(held_us) is int and 0 <= held_us < 5000000
        for fields in {}, {"t": False}:
            peer.say("ping", **fields)
            assert "held_us" not in peer.hear("pong")


@with_stamps
def test_what_came_before_the_last_line_is_not_timed(make_node):
    """The stamp is that of the last segment, so nobody knows when the other lines arrived."""
    with RawPeer.dial(make_node()) as peer:
        peer.become_peer()
        peer.say_raw(messages.TIMED_PING + messages.PING + messages.TIMED_PING)
        assert ["held_us" in peer.hear("pong") for _ in range(3)] == [False, False, True]
        peer.say_raw(messages.TIMED_PING + b'{"msgtype":')
        assert "held_us" not in peer.hear("pong")


NODE = """
import sys
from p2p_plain import Node
with Node(port=0, bind="127.0.0.1", ping_interval=1.0) as node:
    print(node.port, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other():
    """A node in a process of its own, and its port."""
    process = subprocess.Popen(
        [sys.executable, "-c", NODE], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield process.pid, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


@with_stamps
@needs_sigstop
def test_a_ping_that_finds_the_program_stopped_shows_the_network(other):
    """And says how long the program took."""
    pid, port = other
    with Guest(Address("127.0.0.1", port)) as guest:
        guest.ping()
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)  # until it has stopped
        waking = threading.Timer(0.200, os.kill, (pid, signal.SIGCONT))
        waking.start()
        trip = guest.ping()
        waking.join()
    assert trip.kind == NETWORK
    assert trip.held > 0.100 and trip.seconds < 0.100


@with_stamps
@needs_sigstop
def test_the_row_shows_the_network_while_the_other_program_hardly_runs(make_node, other):
    """It stands still for three quarters of the time: most pings wait, for thirty milliseconds on average."""
    pid, port = other
    node = make_node(ping_interval=1.0, bootstrap="127.0.0.1:%d" % port)
    wait_until(lambda: node.peers() and node.peers()[0].rtt_ms is not None)
    over = threading.Event()

    def disturb():
        while not over.is_set():
            os.kill(pid, signal.SIGSTOP)
            over.wait(0.060)
            os.kill(pid, signal.SIGCONT)
            over.wait(0.020)

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    try:
        wait_until(lambda: node.peers()[0].rtt_p50_ms is not None)
    finally:
        over.set()
        disturbing.join()
    assert node.peers()[0].rtt_p50_ms < 5.0


@with_stamps
@pytest.mark.skipif(not is_counted(), reason="no counts of the kernel on this system")
def test_a_peer_that_answers_late_and_says_more_is_not_a_slow_network(make_node):
    """Nobody knows when its pong arrived; but its kernel acknowledged the ping at once."""
    node = make_node(ping_interval=1.0)
    seen = []
    node.on("rtt", lambda event: seen.append(event["rtt_ms"]))
    with RawPeer.dial(node) as peer:
        peer.become_peer()
        while len(seen) < 3:  # one that was interrupted is left out
            peer.hear("ping")
            peer.say("pong", held_us=0)
        peer.hear("ping")
        before = len(seen)
        threading.Event().wait(EXCUSED + 0.1)  # late
        peer.say_raw(messages.PONG + messages.PONG)
        peer.hear("ping")
    assert all(ms < 1000 * EXCUSED for ms in seen[before:])


@with_stamps
def test_a_reader_that_comes_late_knows_when_the_bytes_arrived():
    """Neither its own lateness nor bytes that arrived before matter."""
    theirs, ours = stamped_pair()
    theirs.sendall(b"first")
    ours.receive()
    before = time.time()
    theirs.sendall(b"second")
    after = time.time()
    ours.wait(False, False, 0.050)  # late
    assert ours.receive() == b"second"
    assert before - 0.001 <= ours.arrived <= after + 0.025
    assert time.time() - ours.arrived > 0.025
