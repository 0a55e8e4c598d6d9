"""The pace of a link: below what the other end reads, and a fair share for each origin."""

import random

import pytest

from p2p_plain.common.token_bucket import TokenBucket
from p2p_plain.node.pace import BURST_SECONDS, SHARE, Pace, cost_of

RATE = 200.0


def play(rates, seconds=60.0, cost=1.0, seed=1):
    """``rates`` are messages a second by origin; how many of each a second were admitted.

    Fails if the other end, which reads 200 a second, would leave the link unread for long.
    """
    rng = random.Random(seed)
    moments = []
    for origin, rate in rates.items():
        at = rng.random() / rate
        while at < seconds:
            moments.append((at, origin))
            at += rng.uniform(0.5, 1.5) / rate
    pace, reader = Pace(RATE, 0.0), TokenBucket(RATE, 2 * RATE, 0.0)
    admitted = dict.fromkeys(rates, 0)
    for now, origin in sorted(moments):
        if pace.admits(origin, cost, now):
            admitted[origin] += 1
            assert reader.spend(cost, now) < 1.0
    return {origin: number / seconds for origin, number in admitted.items()}


def test_what_is_within_the_pace_goes_out_whole():
    assert play({"a": 100.0}) == pytest.approx({"a": 100.0}, rel=0.02)
    assert play({"a": 40.0, "b": 40.0, "c": 40.0}) == pytest.approx(dict.fromkeys("abc", 40), rel=0.03)


def test_a_flood_goes_out_at_three_quarters_of_what_the_other_end_reads():
    assert play({"a": 1500.0})["a"] == pytest.approx(SHARE * RATE, rel=0.05)


def test_who_speaks_now_and_then_is_heard_beside_twelve_floods():
    rates = {"flood %d" % number: 200.0 for number in range(12)}
    heard = play(dict(rates, polite=5.0, busier=10.0))
    assert heard.pop("polite") == pytest.approx(5.0, rel=0.05)
    assert heard.pop("busier") == pytest.approx(10.0, rel=0.05)
    assert sum(heard.values()) == pytest.approx(SHARE * RATE - 15.0, rel=0.1)
    assert min(heard.values()) > max(heard.values()) / 2


def test_floods_of_the_longest_lines_leave_room_for_short_ones():
    rng = random.Random(2)
    pace, heard = Pace(RATE, 0.0), 0
    for number in range(6000):
        now = number / 100.0
        pace.admits("flood %d" % rng.randrange(3), cost_of(60000), now)
        if number % 50 == 0:
            heard += pace.admits("polite", 1.0, now)
    assert heard == 120


def test_a_burst_goes_out_at_once():
    pace = Pace(RATE, 0.0)
    burst = sum(pace.admits("a", 1.0, 0.0) for _ in range(1000))
    assert burst == pytest.approx(SHARE * RATE * BURST_SECONDS / 2, abs=1)
    assert not pace.admits("a", 1.0, 0.0)
    assert pace.admits("b", 1.0, 0.0)


def test_a_message_longer_than_the_room_goes_out_all_the_same():
    """With a low rate too: it takes its time afterwards."""
    pace = Pace(10.0, 0.0)
    assert pace.admits("a", cost_of(64 * 1024), 0.0)
    assert not pace.admits("a", 1.0, 1.0)
    assert pace.admits("a", 1.0, 20.0)


def test_without_a_limit_everything_is_admitted():
    pace = Pace(0.0, 0.0)
    assert all(pace.admits("a", 1000.0, 0.0) for _ in range(1000))


def test_origins_that_have_fallen_silent_are_forgotten():
    pace = Pace(RATE, 0.0)
    for number in range(100):
        pace.admits("origin %d" % number, 1.0, 0.0)
    pace.admits("last", 1.0, 1000.0)
    assert list(pace._parts) == ["last"]  # memory has no other face


def test_a_clock_that_stands_still_or_returns_harms_nobody():
    pace = Pace(RATE, 100.0)
    assert pace.admits("a", 1.0, 100.0)
    assert pace.admits("a", 1.0, 50.0)
