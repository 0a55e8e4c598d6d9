"""The laboratory's bad paths do to packets what they say, and nothing else.

Plain datagrams and TCP connections are measured, without any node; ``tests/support/path_meter.py``.
"""

import json
import math
import random

import pytest

from scripts.laboratory.slow_line import BETWEEN_STALLS, Line, Slowness
from tests.support import reason_for_no_lab
from tests.support.labs import run, side_by_side, wanted

in_the_laboratory = pytest.mark.skipif(bool(reason_for_no_lab()), reason=reason_for_no_lab())

pytestmark = [pytest.mark.long, pytest.mark.once]

COUNT = 4000
"""Packets that ``loss`` counts."""

COUNTS_AS_NONE = 0.3
"""Per cent.  On a busy machine one report of a duplicate in a thousand comes too late to be counted here.
Nodes name a loss from 1 % and three events on."""

AT_ONCE = 4
"""Laboratories that run side by side.  Each sends as fast as it can at times."""


def measured(steps):
    """What the measurements among the steps printed, on three hosts and one behind NAT."""
    return run("-m", "tests.support.path_meter", "3", "1", *steps)


@pytest.fixture(scope="module")
def results(request):
    with side_by_side(wanted(request, "steps"), measured, AT_ONCE) as found:
        yield found


@pytest.fixture
def found(results, steps):
    """What the measurements among the steps of a test found."""
    code, output = results[steps].result()
    assert code == 0, output
    return [json.loads(line) for line in output.splitlines()]


def taking(*steps):
    """Have a test find what comes of these steps."""
    return pytest.mark.parametrize("steps", [steps], ids=[""])


def each(steps, **values):
    """Have a test find what comes of the steps for each value, and know the value."""
    ((name, those),) = values.items()
    runs = [(steps(value), value) for value in those]
    return pytest.mark.parametrize("steps, " + name, runs, ids=list(map(str, those)))


def is_about(found, percent, count=COUNT):
    """True if so much loss is likely where ``percent`` is true: within four standard deviations."""
    part = percent / 100
    return abs(found - percent) < 400 * math.sqrt(part * (1 - part) / count)


# -- loss ------------------------------------------------------------------------------------------


def steps_of_loss(percent):
    return (
        *("lose %s from h1 to h2" % percent, "loss h1 h2", "loss h1 h2 4000 6"),
        *("loss h2 h1", "loss h2 h1 4000 6", "loss h1 h3", "loss h3 h2"),
        "exchange h1 h2 10 100",
    )


@in_the_laboratory
@each(steps_of_loss, percent=(0.5, 5, 20))
def test_loss_is_as_great_as_it_says_in_one_direction_and_the_kernel_counts_it(found, percent):
    there, there6, *others, exchange = found
    assert is_about(there, percent)
    assert is_about(there6, percent)
    assert others == [0, 0, 0, 0]
    assert is_about(exchange["there"]["loss_pct"], percent, 1000)
    assert exchange["back"]["loss_pct"] < 0.15 * percent + 0.5
    assert exchange["unfinished"] == 0


@in_the_laboratory
@taking("lose 20 to h2", "loss h1 h2", "loss h2 h1", "loss h2 h3", "loss h1 h3")
def test_loss_to_a_host_is_that_of_all_it_is_sent(found):
    to, *nothing = found
    assert is_about(to, 20)
    assert nothing == [0, 0, 0]


@in_the_laboratory
@taking("lose 10% from n1,h2", "loss n1 h1", "loss h2 h3", "loss h1 h3", "loss h1 h2")
def test_loss_from_hosts_is_that_of_all_they_send(found):
    of_one, of_other, *nothing = found
    assert is_about(of_one, 10)
    assert is_about(of_other, 10)
    assert nothing == [0, 0]


@in_the_laboratory
@taking(
    *("lose 20 from h1 to n1", "exchange n1 h1 10 100", "repair n1"),
    *("lose 20 from n1 to h1", "loss n1 h1", "loss n1 h2"),
)
def test_loss_between_a_host_behind_nat_and_another_is_of_that_pair_only(found):
    """Behind the router, only answers can come in."""
    back, forth, other = found
    assert is_about(back["back"]["loss_pct"], 20, 1000)
    assert back["there"]["loss_pct"] < 4
    assert is_about(forth, 20)
    assert other == 0


@in_the_laboratory
@taking(
    *("lose 100 to h1,h2", "lose 10 to h2", "loss h3 h2"),
    *("repair h2", "loss h3 h2", "loss h2 h1", "repair", "loss h2 h1"),
)
def test_loss_is_replaced_repaired_for_a_host_and_repaired_for_all(found):
    replaced, repaired, other, *nothing = found
    assert is_about(replaced, 10)
    assert repaired == 0
    assert other == 100
    assert nothing == [0]


@in_the_laboratory
@taking("lose 10", "loss h1 h2", "loss h3 h1")
def test_loss_without_hosts_is_everywhere(found):
    assert all(is_about(one, 10) for one in found)


@in_the_laboratory
@taking(
    *("lose 20 from h2", "jitter h2 0-10ms", "loss h2 h1", "loss h1 h2", "repair"),
    *("jitter h2 0-10ms", "lose 20 from h2", "loss h2 h1", "loss h1 h2"),
)
def test_loss_and_slow_line_of_one_host_go_together(found):
    """Each may begin first."""
    for sent, received in found[:2], found[2:]:
        assert is_about(sent, 20)
        assert received == 0


# -- holes -----------------------------------------------------------------------------------------


def steps_of_hole(size):
    tried = "4 %d %d 1500" % (size, size + 1)
    return (
        *("hole %d to h2" % size, "sizes h1 h2 " + tried, "sizes h1 h2 6" + tried[1:]),
        *("sizes n1 h2 " + tried, "sizes h2 h1 " + tried, "sizes h1 h3 " + tried),
        *("hole %d from h1" % size, "sizes h1 h3 " + tried, "sizes h3 h1 " + tried),
        *("repair", "sizes h1 h2 " + tried),
    )


@in_the_laboratory
@each(steps_of_hole, size=(700, 1400))
def test_hole_swallows_what_is_larger_in_one_direction_and_sends_nothing_back(found, size):
    """``sizes`` would name the error of a sender that is told."""
    some, all_of_them = [size], [size, size + 1, 1500]
    assert found == [some, some, some, all_of_them, all_of_them, some, all_of_them, all_of_them]


@in_the_laboratory
@taking(
    *("hole 1400 from h1 to h2", "text h1 h2 1300", "text h1 h2 4000", "text h2 h1 4000"),
    *("hole 1500 from h1 to h2", "text h1 h2 4000"),
)
def test_hole_swallows_a_long_text_over_tcp_whose_segments_are_too_large(found):
    """Virtual cables would carry several segments in one piece, which would be too large as well."""
    small, large, back, segments_fit = found
    assert (small, back, segments_fit) == ([1300, 0], [4000, 0], [4000, 0])
    arrived, sent_again = large
    assert arrived == 0
    assert sent_again > 0


# -- slow lines ------------------------------------------------------------------------------------


@in_the_laboratory
@pytest.mark.parametrize(
    "steps, shortest, longest",
    [
        (("narrow h2 64kbit", "exchange h1 h2 20 20 0"), 15, 1500),
        (("jitter h2 20-60ms", "exchange h1 h2 40 50 0.05"), 40, 150),
        (("stall h2 0.5", "exchange h1 h2 35 20 0.2"), 0, 600),
    ],
    ids=["narrow", "jitter", "stall"],
)
def test_slow_line_loses_nothing(found, steps, shortest, longest):
    """What comes late is sent again, and then arrives twice: the kernel can tell it from loss."""
    (found,) = found
    assert found["unfinished"] == 0
    assert found["there"]["loss_pct"] < COUNTS_AS_NONE
    assert found["back"]["loss_pct"] < COUNTS_AS_NONE
    assert found["rtts_ms"][0] >= shortest
    assert found["rtts_ms"][2] < longest + 500
    if "stall" in steps[0]:
        assert found["rtts_ms"][1] < 100
        assert found["rtts_ms"][2] > 300
        assert found["there"]["retrans"] > 0


@in_the_laboratory
@taking(
    *("jitter h2 20-20ms", "narrow h2 1mbit", "exchange h1 h2 5 1"),
    *("wide h2", "exchange h1 h2 5 1", "repair h2", "exchange h1 h2 5 1"),
)
def test_change_of_a_line_loses_no_packet_and_each_fault_of_it_ends_alone(found):
    """Packets that are under way for long are lost with the line: here there are none."""
    narrow, wide, repaired = found
    assert narrow["rtts_ms"][0] > wide["rtts_ms"][0] > 40 > repaired["rtts_ms"][0]


class Draws:
    """Random numbers that a test has chosen, as parts of the range."""

    def __init__(self, *parts):
        self._parts = list(parts)

    def __call__(self, least, most):
        return least + (most - least) * (self._parts.pop(0) if self._parts else 0.5)


def test_narrow_line_takes_one_frame_after_the_other_in_each_direction():
    line = Line(Slowness(bits_a_second=8000), 10.0, Draws())
    assert line.arrival(True, 1000, 20.0) == 21.0
    assert line.arrival(True, 500, 20.0) == 21.5
    assert line.arrival(False, 500, 20.0) == 20.5
    assert line.arrival(True, 500, 30.0) == 30.5


def test_jitter_delays_each_frame_alone():
    line = Line(Slowness(shortest=0.0, longest=0.06), 0.0, Draws(0, 1, 0, 0.5))
    assert [line.arrival(True, 100, 1.0) for _ in range(3)] == [1.06, 1.0, 1.03]


def test_stalls_come_again_and_again_and_end():
    line = Line(Slowness(stall=0.5), 0.0, random.Random(1).uniform)
    times = [number / 100 for number in range(10000)]
    stalled = [line.stalled_until(now) > now for now in times]
    begins = [now for now, was, now_is in zip(times[1:], stalled, stalled[1:]) if now_is > was]
    gaps = [later - earlier - 0.5 for earlier, later in zip(begins, begins[1:])]
    assert BETWEEN_STALLS[0] - 0.02 < min(gaps) < 3 < 5 < max(gaps) < BETWEEN_STALLS[1] + 0.02
    assert abs(sum(stalled) / 100 - 0.5 * len(begins)) < 1
    still = Line(Slowness(), 0.0)
    assert not any(still.stalled_until(now) > now for now in times)
