"""Loss is measured from the kernel's counts: named soon, in its own direction, and only where there is some."""

import random

import pytest

from p2p_plain.common.address import Address
from p2p_plain.monitor.packet_loss import (
    CALM, EVENTS_OF_MANY, LEAST_EVENTS, MANY_NODES, WINDOW, Meter, PacketLoss, Sample, Samples,
)
from p2p_plain.monitor.row_messages import MAX_LINKS
from p2p_plain.monitor.train import Report
from p2p_plain.node.messages import Hello
from p2p_plain.node.peer import Link, Peer
from p2p_plain.node.tcp_info import TcpInfo

N, M = "n" * 36, "m" * 36


def info(sent, again=0, duplicates=0):
    return TcpInfo(sent, again, duplicates, 0, 0, 0.001)


def play(seed, pings, there=0.0, back=0.0):
    """Counts of one connection, ping for ping: as TCP sends on a path that loses so much each way.

    A segment is sent again until its answer comes.  The report of a duplicate comes one ping late.
    """
    rng = random.Random(seed)
    sent = again = duplicates = reported = 0
    for _ in range(pings):
        tries = arrived = 0
        while True:
            tries += 1
            if rng.random() < there:
                continue
            arrived += 1
            answered = rng.random() >= back
            duplicates += arrived > 1 and answered
            if answered:
                break
        sent, again = sent + tries, again + tries - 1
        yield info(sent, again, reported)
        reported = duplicates


def metered(infos, least_events=LEAST_EVENTS):
    """A meter after these counts, and after how many pings it first named a loss."""
    infos = iter(infos)
    samples, meter, named = Samples(next(infos)), Meter(), None
    for number, one in enumerate(infos, 1):
        sample = samples.add(one)
        if sample is not None:
            meter.add(sample, least_events)
        if meter.lossy and named is None:
            named = number
    return meter, named


@pytest.mark.parametrize("loss, soon", [(0.02, 300), (0.05, 150), (0.2, 50)])
def test_the_loss_of_ones_own_direction_is_named_soon_and_measured(loss, soon):
    named, figures = [], []
    for seed in range(60):
        meter, first = metered(play(seed, 1000, there=loss))
        named.append(first or 1000)
        figures.append(meter.about().get("loss_pct", 0.0))
    assert sorted(named)[48] <= soon
    assert sum(figures) / len(figures) == pytest.approx(100 * loss, rel=0.15)


@pytest.mark.parametrize("back", [0.01, 0.05, 0.1, 0.2, 0.3])
def test_the_loss_of_the_way_back_is_not_taken_for_ones_own(back):
    """Then acknowledgements are lost, and TCP sends again what has arrived."""
    assert sum(metered(play(seed, 600, back=back))[1] is not None for seed in range(60)) <= 3


def test_where_both_ways_lose_each_is_measured():
    meters = [metered(play(seed, 600, there=0.1, back=0.1))[0] for seed in range(60)]
    figures = [meter.about()["loss_pct"] for meter in meters]
    assert sum(figures) / len(figures) == pytest.approx(10, rel=0.15)


def test_what_arrived_twice_was_not_lost():
    """On a slow line TCP sends again what is only late, and the report comes later still."""
    infos = [info(10 * n, 3 * (n // 5), 3 * ((n - 1) // 5)) for n in range(1, 200)]
    assert metered(infos)[0].lost == 0


def test_reports_of_duplicates_that_never_come_are_no_loss():
    """Where packets overtake one another and stalls come between, every seventh report does not count."""
    named = 0
    for seed in range(60):
        rng, sent, again, reported, infos = random.Random(seed), 0, 0, 0, []
        for _ in range(600):
            copies = rng.choice((1, 2)) if rng.random() < 0.1 else 0
            sent, again = sent + 1 + copies, again + copies
            infos.append(info(sent, again, reported))
            reported += sum(rng.random() < 6 / 7 for _ in range(copies))
        named += metered(infos)[1] is not None
    assert named <= 1


def test_a_cable_that_is_out_for_a_moment_is_no_loss():
    """However many segments that costs, and however often."""
    meter = Meter()
    for lost in 4 * (0, 0, 5, 7, 9, 0, 0, 0, 1, 2, 0):
        meter.add(Sample(20, lost))
        assert not meter.lossy
    assert set(meter.events()) == {21, 3}


def pull_cable(seed):
    """Samples of a ping each second, and trains, while somebody pulls a cable out four times in 15 s."""
    rng = random.Random(seed)
    begin = [4 * number + rng.uniform(0, 2) for number in range(4)]
    outages = [(one, one + rng.uniform(0.5, 2)) for one in begin]
    ready = phase = rng.random()
    for second in range(16):
        sent_at = second + phase
        if sent_at < ready:
            continue  # behind the one that is sent again and again
        lost, again_after = 0, 0.2
        while any(out <= sent_at < back for out, back in outages):
            lost += 1
            sent_at += again_after
            again_after *= 2
        ready = sent_at
        yield Sample(1 + lost, lost)
        yield from 20 * [Sample(1, 0)]


def test_a_cable_that_is_pulled_again_and_again_is_no_loss():
    """What is said while it is out gets lost twice or more."""
    named = []
    for seed in range(100):
        meter = Meter()
        for sample in pull_cable(seed):
            meter.add(sample)
            if meter.lossy:
                named.append(seed)
    assert len(set(named)) <= 3


def test_less_than_one_in_a_hundred_is_no_fault():
    meter = Meter()
    for number in range(60):
        meter.add(Sample(50, int(number % 3 == 0)))
        assert not meter.lossy
    assert meter.about() == {}


def test_in_a_large_network_it_takes_one_event_more():
    meter = Meter()
    for lost in (1, 0, 1, 0, 1, 0):
        meter.add(Sample(1, lost), EVENTS_OF_MANY)
    assert not meter.lossy
    meter.add(Sample(1, 1), EVENTS_OF_MANY)
    assert meter.lossy


def test_the_row_gives_the_figures_of_the_last_segments():
    meter = Meter()
    for _ in range(100):
        meter.add(Sample(3, 0))
    for _ in range(30):
        meter.add(Sample(1, 1))
        meter.add(Sample(3, 0))
    assert meter.about() == {"loss_pct": 10.0, "loss_segs": WINDOW, "loss_events": 30}


@pytest.mark.parametrize("loss, after", [(20, 75), (2, WINDOW)])
def test_a_loss_is_over_when_enough_has_passed_without_any(loss, after):
    """Great losses end sooner: it takes fewer segments to see that there is none."""
    meter = Meter()
    for _ in range(20):
        meter.add(Sample(100 // loss - 1, 0))
        meter.add(Sample(1, 1))
    assert meter.lossy
    clean = 0
    while meter.lossy:
        meter.add(Sample(1, 0))
        clean += 1
    assert clean == pytest.approx(after, rel=0.1)
    assert meter.about() == {}


# -- what a node makes of it -----------------------------------------------------------------


class CountedLink(Link):
    """A connection with counts of the test's."""

    def __init__(self):
        super().__init__(Address("192.0.2.7", 6000))
        self.info = info(1)

    def tcp_info(self):
        return self.info


@pytest.fixture
def loss():
    return PacketLoss()


def peer_of(nodeid=N):
    return Peer(CountedLink(), Hello(nodeid), 0.0)


def pong(loss, peer, sent, again=0):
    """A pong has come, so many segments later."""
    before = peer.link.info
    peer.link.info = info(before.sent + sent, before.sent_again + again)
    peer.last_pong_at = (peer.last_pong_at or 0.0) + 1.0
    loss.look_at([peer])


def lose(loss, peer):
    for again in (0, 1, 0, 1, 0, 1, 0):
        pong(loss, peer, 2, again)


def test_the_connection_of_a_peer_is_looked_at_after_each_pong(loss):
    peer = peer_of()
    lose(loss, peer)
    assert loss.about(N)["loss_events"] == 3 and loss.is_seen(N) and loss.changes() == 1
    before = loss.counts()
    loss.look_at([peer])
    assert loss.counts() == before


def test_the_counts_of_the_next_connection_begin_anew(loss):
    """The kernel's do, and what the first one lost stays."""
    lose(loss, peer_of())
    found = loss.counts()[N]
    later = peer_of()
    pong(loss, later, 1)
    assert loss.counts()[N] == found
    for _ in range(3):
        pong(loss, later, 10)
    assert loss.counts()[N] == {"sent": found["sent"] + 20, "lost": found["lost"]}
    assert loss.is_seen(N)


def test_a_train_counts_and_its_last_sample_does_not(loss):
    """Perhaps that was a duplicate, and the report has not come yet."""
    infos = [info(1), info(2), info(4, 1), info(5, 1), info(7, 2), info(8, 2), info(10, 3), info(11, 3)]
    loss.train(Report(N, tuple(infos), False))
    assert loss.counts()[N] == {"sent": 9, "lost": 3} and loss.is_seen(N)
    loss.train(Report(M, (info(1), info(3, 1)), False))
    assert M not in loss.counts() or not loss.counts()[M]["lost"]


def test_a_lost_syn_says_that_packets_are_lost_and_a_broken_connection_does_not(loss):
    """Nobody knows in which direction: that needs a train."""
    loss.suspect(N)
    assert loss.looks_wrong(N) and not loss.is_seen(N)
    loss.suspect(N, seen=True)
    assert loss.is_seen(N) and loss.about(N) == {}
    peer = peer_of()
    for _ in range(4):
        pong(loss, peer, CALM)
    assert not loss.is_seen(N)


@pytest.mark.parametrize("again, round_trip, wrong", [(0, 0.001, False), (1, 0.001, True), (1, 0.8, False)])
def test_a_syn_is_lost_only_where_its_answer_could_have_been_there(loss, again, round_trip, wrong):
    """On a slow line each SYN is sent again, and trains would make the line slower still."""
    peer = peer_of()
    peer.link.info = info(1, again)._replace(min_rtt=round_trip)
    peer.last_pong_at = 1.0
    loss.look_at([peer])
    assert loss.is_seen(N) is wrong


def test_what_looks_wrong_is_looked_at_more_closely_until_enough_has_passed(loss):
    peer = peer_of()
    assert not loss.looks_wrong(N)
    loss.suspect(N)
    pong(loss, peer, 1)
    for passed in range(0, CALM, 10):
        assert loss.looks_wrong(N), passed
        pong(loss, peer, 10)
    pong(loss, peer, 10)
    assert not loss.looks_wrong(N) and not loss.is_seen(N)


def test_among_many_nodes_it_takes_more(loss):
    peers = [peer_of("%036d" % number) for number in range(MANY_NODES)]
    for again in (0, 1, 0, 1, 0, 1, 0):
        for peer in peers:
            before = peer.link.info
            peer.link.info = info(before.sent + 2, before.sent_again + again)
            peer.last_pong_at = (peer.last_pong_at or 0.0) + 1.0
        loss.look_at(peers)
    assert loss.changes() == 0


def test_where_the_kernel_does_not_count_nothing_is_measured(loss):
    peer = peer_of()
    peer.link.tcp_info = lambda: None
    for number in range(3):
        peer.last_pong_at = float(number)
        loss.look_at([peer])
    loss.train(Report(N, (), False))
    assert loss.about(N) == {} and loss.counts() == {}


def test_nodes_that_come_and_go_do_not_fill_the_memory(loss):
    for number in range(2 * MAX_LINKS):
        loss.suspect("%036d" % number)
        loss.look_at([peer_of("%036d" % number)])
    assert sum(loss.looks_wrong("%036d" % number) for number in range(2 * MAX_LINKS)) == MAX_LINKS
    assert len(loss._watched) <= 2  # nothing else shows it
