"""The Timer that beats: again and again, from a start to a cancel, whatever a beat does."""

import threading

from p2p_plain.node.pinger import Pinger
from tests.support import wait_until


def test_it_is_a_timer_that_beats_until_it_is_cancelled():
    beats = []
    pinger = Pinger(0.01, lambda: beats.append(threading.get_ident()), None)
    assert isinstance(pinger, threading.Timer)
    pinger.start()
    wait_until(lambda: len(beats) >= 5)
    pinger.cancel()
    pinger.join(5)
    assert not pinger.is_alive()
    assert len(set(beats)) == 1  # one thread, not one a beat


def test_a_beat_that_fails_is_reported_and_not_the_last():
    beats, reports = [], []

    def beat():
        beats.append(1)
        raise ValueError("our bug")

    pinger = Pinger(0.01, beat, reports.append)
    pinger.start()
    wait_until(lambda: len(beats) >= 3)
    pinger.cancel()
    pinger.join(5)
    assert len(reports) == len(beats)


def test_cancelled_before_it_began_it_never_beats():
    beats = []
    pinger = Pinger(0.01, lambda: beats.append(1), None)
    pinger.cancel()
    pinger.start()
    pinger.join(5)
    assert beats == []
