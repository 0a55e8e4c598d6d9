"""Trains: what a probe asks of the node that it has found, when it does, and what may follow."""

import random

import pytest

from p2p_plain.monitor.row_messages import MAX_LINKS
from p2p_plain.monitor.train import AT_ONCE, EVERY, PINGS, SECONDS, InTurn, Train, Trains
from p2p_plain.node import messages
from p2p_plain.node.peer import Questions
from p2p_plain.node.tcp_info import TcpInfo


class CountedLink:
    """A connection of which the kernel says that each ping was one segment."""

    def __init__(self):
        self.sent = 0

    def tcp_info(self):
        self.sent += 1
        return TcpInfo(self.sent, 0, 0, 0, 0, 0.001)


class Once(Questions):
    """Asks one thing, and notes what comes."""

    def __init__(self, told, name):
        self.told, self.name = told, name

    def begin(self, link, now):
        self.deadline = now + 3.0
        return self.note("begin", (b"big\n",))

    def answered(self, link, now):
        return self.note("answered", None)

    def unanswered(self, link, now):
        return self.note("unanswered", None)

    def over(self, link, now):
        self.note("over", None)

    def note(self, what, lines):
        self.told.append((self.name, what))
        return lines


@pytest.fixture
def told():
    return []


def test_a_train_is_twenty_pings_one_after_the_other():
    """A ping waits for the pong to the one before, so that a node is never asked two things at once."""
    link, train = CountedLink(), Train("n")
    said = [train.begin(link, 5.0)]
    while said[-1] is not None:
        said.append(train.answered(link, 5.5))
    assert said == [[messages.PING]] * PINGS + [None]
    assert train.deadline == 5.0 + SECONDS
    report = train.report
    assert (report.answered, report.complete, report.infos[-1].sent) == (PINGS, True, PINGS + 1)


def test_a_train_ends_after_two_seconds():
    link, train = CountedLink(), Train("n")
    train.begin(link, 5.0)
    train.answered(link, 6.9)
    assert train.unanswered(link, 5.0 + SECONDS) is None
    assert (train.report.answered, train.report.complete) == (1, False)


def test_what_follows_a_train_begins_when_its_last_pong_has_come(told):
    """It reads what the train has seen."""
    link, train = CountedLink(), Train("n")
    questions = InTurn([train, Once(told, "one"), Once(told, "two")], lambda: told.append("end"))
    assert questions.begin(link, 1.0) == [messages.PING]
    for _ in range(PINGS - 1):
        assert questions.answered(link, 1.0) == [messages.PING]
    assert questions.answered(link, 2.0) == (b"big\n",)
    assert questions.deadline == 5.0 and train.report.complete
    assert questions.answered(link, 2.0) == (b"big\n",)
    assert questions.answered(link, 2.0) is None
    questions.over(link, 3.0)
    assert told == [
        ("one", "begin"), ("one", "answered"), ("two", "begin"), ("two", "answered"),
        ("one", "over"), ("two", "over"), "end",
    ]


def test_a_pong_that_comes_too_late_is_no_answer_to_what_follows(told):
    link = CountedLink()
    questions = InTurn([Train("n"), Once(told, "big")], lambda: None)
    questions.begin(link, 1.0)
    assert questions.unanswered(link, 3.0) == (b"big\n",)
    assert questions.answered(link, 3.1) == ()  # the train's
    assert told == [("big", "begin")]
    assert questions.answered(link, 3.2) is None
    assert told[1:] == [("big", "answered")]


def test_without_counts_nothing_is_asked(told):
    """Where the kernel counts nothing, a train would teach nothing."""
    link = CountedLink()
    link.tcp_info = lambda: None
    questions = InTurn([Train("n")], lambda: told.append("end"))
    assert questions.begin(link, 1.0) is None
    questions.over(link, 1.0)
    assert told == ["end"]


def test_every_tenth_probe_has_a_train_from_a_random_start():
    """So a defect is found within ten probes, and nodes that start together do not do it in step."""
    starts = set()
    for seed in range(30):
        trains = Trains(random.Random(seed))
        which = [number for number in range(5 * EVERY) if has_train(trains, "n")]
        starts.add(which[0])
        assert which == list(range(which[0], 5 * EVERY, EVERY)) and which[0] < EVERY
    assert len(starts) > EVERY // 2


def test_each_probe_has_one_while_something_looks_wrong():
    trains = Trains(random.Random(1))
    assert all(has_train(trains, "n", wrong=True) for _ in range(20))


def test_trains_are_few_at_once_and_a_node_that_found_no_place_is_next():
    """Each holds a connection and a thread."""
    trains = Trains(random.Random(1))
    assert [trains.begin("n%d" % n, True) for n in range(AT_ONCE + 1)] == [True] * AT_ONCE + [False]
    trains.end()
    assert trains.begin("n%d" % AT_ONCE, False)


def test_nodes_that_come_and_go_do_not_fill_the_memory():
    trains = Trains(random.Random(1))
    for number in range(3 * MAX_LINKS):
        has_train(trains, "n%d" % number)
    assert len(trains._ahead) == MAX_LINKS  # nothing else shows it


def has_train(trains, nodeid, wrong=False):
    begun = trains.begin(nodeid, wrong)
    if begun:
        trains.end()
    return begun
