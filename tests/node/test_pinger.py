"""The Timer that ticks from its start until it is cancelled."""

import threading

from p2p_plain.node.pinger import Pinger
from tests.support import wait_until


def test_it_is_a_timer_that_ticks_until_it_is_cancelled():
    ticks = []
    pinger = Pinger(0.01, lambda: ticks.append(threading.get_ident()), None)
    assert isinstance(pinger, threading.Timer)
    pinger.start()
    wait_until(lambda: len(ticks) >= 5)
    pinger.cancel()
    pinger.join(5)
    assert not pinger.is_alive()
    assert len(set(ticks)) == 1  # one thread for all ticks


def test_a_tick_that_fails_is_reported_and_others_follow():
    ticks, reports = [], []

    def tick():
        ticks.append(1)
        raise ValueError("our bug")

    pinger = Pinger(0.01, tick, reports.append)
    pinger.start()
    wait_until(lambda: len(ticks) >= 3)
    pinger.cancel()
    pinger.join(5)
    assert len(reports) == len(ticks)


def test_cancelled_before_its_start_it_never_ticks():
    ticks = []
    pinger = Pinger(0.01, lambda: ticks.append(1), None)
    pinger.cancel()
    pinger.start()
    pinger.join(5)
    assert ticks == []
