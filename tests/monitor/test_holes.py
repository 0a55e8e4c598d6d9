"""Large packets that vanish: found by the kernel's counts, measured to the byte, and never by mistake."""

import json

import pytest

from p2p_plain.common.address import Address
from p2p_plain.monitor.holes import AGREE, BIG, LADDER, NARROW, STEPS, Climb, Holes
from p2p_plain.monitor.row_messages import MAX_LINKS
from p2p_plain.monitor.train import InTurn, Train
from p2p_plain.node import messages
from p2p_plain.node.tcp_info import TcpInfo
from tests.support.simulation import lonely_pair

HEADERS = 52
"""Of IPv4 and of TCP with timestamps."""


class Path:
    """A connection, and what becomes of pings on it.  ``there`` and ``back`` are the largest packets."""

    def __init__(self, there=None, back=None, mss=1448, host="192.0.2.1", timestamps=True):
        self.remote = Address(host, 6000)
        self.there, self.back, self.mss, self.timestamps = there, back, mss, timestamps
        self.headers = (60 if ":" in host else 40) + 12 * timestamps
        self.deaf_from = BIG + 1
        """Pings of this size are acknowledged, and their receiver says nothing: it was frozen."""
        self.lost_again = 0
        """Of the small pings, so many were sent again."""
        self.stalled = 2
        """How often the kernel has tried."""
        self.reset = False
        self.asked = []
        self.needless = True
        """Where a pong is lost, TCP sends the ping once more.  True if that was needless."""
        self._sent = self._acknowledged = self._tries = 0
        self._unanswered = False

    def seal_bytes(self):
        return 0

    def tcp_info(self):
        again = self.lost_again if self._sent > 10 else 0
        again, duplicates = (again + 1, int(self.needless)) if self._unanswered else (again, 0)
        counts = self._sent, again, duplicates, self._acknowledged, self._tries
        return TcpInfo(*counts, 0.001, self.mss, self.timestamps)

    def end_with_reset(self):
        self.reset = True

    def passes(self, size, limit):
        return limit is None or min(size, self.mss) + self.headers <= limit

    def answers(self, line):
        """True if the pong comes."""
        if not self.passes(len(line), self.there):
            self._tries = self.stalled
            return False
        self._sent += 1
        self._acknowledged += len(line)
        pong = messages.encode_pong(messages.parse(line[:-1]))
        self._unanswered = len(line) >= self.deaf_from or not self.passes(len(pong), self.back)
        return not self._unanswered


def probe(holes, path, nodeid="n"):
    """One probe with a train; True if another one should follow soon."""
    train = Train(nodeid)
    climb = Climb(train, holes.begin(nodeid))
    questions = InTurn([train, climb], lambda: None)
    lines = questions.begin(path, 0.0)
    path.asked = []
    while lines:
        (line,) = lines
        if line != messages.PING:
            path.asked.append(len(line))
        lines = (questions.answered if path.answers(line) else questions.unanswered)(path, 0.0)
    questions.over(path, 0.0)
    return holes.end(nodeid, climb.result)


def climb_on(holes, path, most=10):
    """Probe as often as it asks for; return how often that was."""
    for count in range(1, most + 1):
        if not probe(holes, path):
            return count
    raise AssertionError("it never ends")


@pytest.fixture
def holes():
    return Holes()


def test_on_a_good_path_one_large_ping_is_all(holes):
    """It costs one round trip, and nothing is said of it."""
    path = Path()
    assert not probe(holes, path)
    assert path.asked == [BIG]
    assert (holes.about("n"), holes.mss("n"), holes.in_doubt("n"), path.reset) == ({}, None, False, False)
    assert holes.passing() == {"n": True} and holes.changes() == 0


@pytest.mark.parametrize("limit", [1499, 1492, 1400, 1280, 800, 700, 576, 553])
@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
@pytest.mark.parametrize("timestamps", [True, False])
def test_the_limit_is_known_to_the_byte(holes, limit, host, timestamps):
    """After a few probes, whatever the headers are."""
    headers = (60 if ":" in host else 40) + 12 * timestamps
    path = Path(there=limit, mss=1500 - headers, host=host, timestamps=timestamps)
    assert climb_on(holes, path) <= 6
    assert holes.about("n") == {"big": "lost", "big_passed": limit, "big_lost": limit + 1}
    assert path.reset  # or the kernel would go on for a minute


def test_it_is_named_after_two_probes_roughly_and_the_next_ones_measure_it(holes):
    path = Path(there=1400)
    assert probe(holes, path)
    assert (path.asked, holes.about("n"), holes.changes()) == ([BIG], {}, 0)
    assert holes.in_doubt("n") and holes.mss("n") == NARROW
    assert probe(holes, path)
    assert path.asked == list(LADDER[: LADDER.index(1388) + 1])
    assert holes.about("n") == {"big": "lost", "big_passed": 1308 + HEADERS, "big_lost": 1388 + HEADERS}
    assert holes.known("n") and holes.changes() == 1 and holes.passing() == {"n": False}
    assert probe(holes, path)
    assert path.asked[0] == 1308 and len(path.asked) <= STEPS + 1


def test_a_known_limit_costs_little_from_then_on(holes):
    path = Path(there=1400)
    climb_on(holes, path)
    assert not probe(holes, path)
    assert path.asked == [1400 - HEADERS, 1401 - HEADERS]


def test_the_way_back_is_measured_with_the_pongs(holes):
    """The other end may be unable to dial this one."""
    path = Path(back=1400)
    climb_on(holes, path)
    assert holes.about("n") == {"back": "lost", "back_passed": 1400, "back_lost": 1401}
    assert holes.mss("n") == NARROW and holes.passing() == {}


def test_two_different_limits(holes):
    """The smaller one hides the larger one, until it is gone."""
    path = Path(there=1400, back=700)
    climb_on(holes, path)
    assert holes.about("n")["back_passed"] == 700
    path.back = None
    for _ in range(8):
        probe(holes, path)
    assert holes.about("n")["big_passed"] == 1400


@pytest.mark.parametrize("way", ["there", "back"])
def test_it_is_gone_after_two_probes_that_reach_the_top(holes, way):
    path = Path(**{way: 1400})
    climb_on(holes, path)
    setattr(path, way, None)
    assert probe(holes, path)
    assert holes.known("n") and path.asked[-1] == BIG
    assert not probe(holes, path)
    assert (holes.about("n"), holes.mss("n"), holes.in_doubt("n")) == ({}, None, False)


@pytest.mark.parametrize("first, then", [(1400, 700), (700, 1400), (1400, 1450)])
def test_a_limit_that_changes_is_followed(holes, first, then):
    path = Path(there=first)
    climb_on(holes, path)
    path.there = then
    climb_on(holes, path)
    assert holes.about("n")["big_passed"] == then


def test_jumbo_frames_on_a_switch_for_normal_ones(holes):
    """All packets of the ladder pass, and the large ping is a single one."""
    path = Path(there=1500, mss=8948)
    climb_on(holes, path)
    assert holes.about("n") == {"big": "lost", "big_passed": 1500, "big_lost": 1501}


def test_a_connection_through_a_very_small_limit_has_still_smaller_segments(holes):
    path = Path(there=400)
    climb_on(holes, path)
    assert 200 < holes.mss("n") + HEADERS <= 400


# -- what is no hole ------------------------------------------------------------------------------


def test_a_single_failure_is_no_hole(holes):
    """A cable may be pulled just then."""
    probe(holes, Path(there=1400))
    assert not probe(holes, Path())
    assert not holes.in_doubt("n") and holes.about("n") == {}


def test_where_our_ping_was_not_sent_again_in_vain_there_is_no_hole(holes):
    """A congested line, or this node itself stood still."""
    for _ in range(5):
        path = Path(there=1400)
        path.stalled = 1
        assert not probe(holes, path)
        assert path.reset and not holes.in_doubt("n")


def test_a_node_that_freezes_is_no_hole(holes):
    """Its kernel acknowledges; but next time it says no hello, or answers again."""
    path = Path()
    path.deaf_from = 200
    probe(holes, path)
    probe(holes, Path())
    assert not holes.in_doubt("n") and holes.about("n") == {}


def test_a_ping_that_was_lost_and_arrived_late_says_nothing_of_its_pong(holes):
    """On a way that loses packets."""
    path = Path(back=1400)
    path.needless = False
    assert not probe(holes, path) and not holes.in_doubt("n")


def test_where_many_small_packets_are_lost_nothing_is_said_of_large_ones(holes):
    for _ in range(5):
        path = Path(there=1400)
        path.lost_again = 5
        assert not probe(holes, path)
    assert path.asked == [] and holes.about("n") == {}


def test_what_gets_stuck_above_the_largest_segment_was_lost_by_chance(holes):
    """Packets of 1,500 bytes have passed, and there are no larger ones."""
    path = Path(there=1400)
    probe(holes, path)
    path.there = None
    path.answers = lambda line: len(line) <= 1448
    path.tcp_info = lambda: TcpInfo(9, 0, 0, 9, 3, 0.001)
    assert not probe(holes, path)
    assert path.asked == list(LADDER) and holes.about("n") == {}


def test_a_train_that_is_not_answered_is_followed_by_nothing(holes):
    train = Train("n")
    path = Path()
    train.begin(path, 0.0)
    climb = Climb(train, (BIG,))
    assert climb.begin(path, 2.0) is None
    climb.over(path, 2.0)
    assert climb.result is None and not path.reset


# -- keeping house --------------------------------------------------------------------------------


def test_one_climb_at_a_time(holes):
    """Probes may overlap while one of them is stuck."""
    assert holes.begin("n") == (BIG,)
    assert holes.begin("n") == ()
    holes.end("n", None)
    holes.end("n", None)
    assert holes.begin("n") == (BIG,)


def test_a_stuck_connection_makes_the_next_probe_look(holes):
    assert holes.suspect("n") and not holes.suspect("n")
    assert holes.in_doubt("n") and holes.mss("n") is None
    probe(holes, Path())
    assert not holes.in_doubt("n")


def test_a_node_that_left_is_forgotten_and_strangers_do_not_fill_the_memory(holes):
    holes.begin("n")
    holes.forget("n")
    assert not holes.end("n", None)
    for number in range(3 * MAX_LINKS):
        holes.suspect(str(number))
    assert len(holes._paths) == MAX_LINKS  # nothing else shows it


def test_agreement_is_needed_in_a_row(holes):
    assert AGREE == 2
    for _ in range(5):
        probe(holes, Path(there=1400))
        probe(holes, Path())
    assert holes.about("n") == {}


def test_every_ping_fits_the_line_of_a_guest():
    for size in LADDER:
        line = messages.encode_long_ping(size)
        assert len(line) == size <= 4096 and json.loads(line.decode())["repeat"] is True


# -- what a node does about it --------------------------------------------------------------------


def test_the_next_connection_has_small_segments_and_probes_have_large_ones():
    """Or they could not see the hole."""
    world, first, second = lonely_pair()
    orders = []
    for node in first, second:
        node.connect = lambda order, connect=node.connect: (orders.append(order), connect(order))
        node.survey.holes.mss = lambda nodeid: 500
    second.table.get(first.nodeid).link.end("closed")
    world.run(200)
    assert {(order.probe, order.mss) for order in orders} == {(False, 500), (True, None)}


def test_a_connection_that_is_stuck_is_looked_at_and_ended_once_the_hole_is_known():
    """The kernel would go on for a quarter of an hour."""
    world, first, second = lonely_pair()
    stuck = first.table.get(second.nodeid).link
    stuck.tcp_info = lambda: TcpInfo(9, 3, 0, 9, 3, 0.001)
    begun = len(first.dials)
    world.run(2)
    assert first.survey.holes.in_doubt(second.nodeid) and stuck.open
    assert any(probe for _, _, probe in first.dials[begun:])
    first.survey.holes.known = lambda nodeid: True
    world.run(2)
    assert not stuck.open and ("peer_down", "timeout") in [
        (event, fields.get("reason")) for event, fields in first.told
    ]
    world.run(10)
    assert first.peers() == {second.nodeid}


def test_losses_before_the_hole_was_known_are_explained_by_it():
    """A pair is not named as unstable as well, neither now nor after the repair."""
    world, first, second = lonely_pair(ping_interval=8.0, ping_timeout=2.0, probe_interval=8.0)
    for _ in range(3):
        first.table.get(second.nodeid).link.reset()
        world.run(30)
    assert "lost" in first.survey.own_row().links[0]
    for _ in range(2):
        path = Path(there=700)
        train = Train(second.nodeid)
        climb = Climb(train, first.survey.holes.begin(second.nodeid))
        train.begin(path, 0.0)
        while train.answered(path, 0.0) is not None:
            pass
        lines = climb.begin(path, 0.0)
        while lines:
            lines = (climb.answered if path.answers(lines[0]) else climb.unanswered)(path, 0.0)
        first.survey._asked(train.report, climb)  # as the probe's end does
    link = first.survey.own_row().links[0]
    assert link["big"] == "lost" and "lost" not in link
    assert first.survey.losses.counts() == {second.nodeid: {"closed": 3}}
