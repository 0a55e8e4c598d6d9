"""The crew: its threads have names, are waited for, and report their exceptions."""

import _thread
import subprocess
import sys
import threading
import time

import pytest

from p2p_plain.common.threads import Crew
from tests.support import ROOT, wait_until

SOON = 10.0
"""Seconds, a deadline that only a broken crew reaches."""


@pytest.fixture
def complaints():
    return []


@pytest.fixture
def crew(complaints):
    crew = Crew(complaints.append)
    yield crew
    assert crew.wait(time.monotonic() + SOON) == 0


def test_a_thread_runs_its_function_under_its_name(crew):
    found = []
    crew.start("reader 10.0.0.1:6000", lambda *args: found.append((crew.name(), args)), 1, "two")
    assert crew.wait(time.monotonic() + SOON) == 0
    assert found == [("reader 10.0.0.1:6000", (1, "two"))]


def test_a_thread_of_others_has_its_own_name(crew):
    assert crew.name() == threading.current_thread().name


def test_asking_for_a_name_invents_no_thread(crew):
    """``threading.current_thread`` would."""
    before = threading.enumerate()
    crew.start("quiet", crew.name)
    crew.wait(time.monotonic() + SOON)
    assert threading.enumerate() == before


def test_a_name_is_forgotten_with_its_thread(crew):
    """Thread identifiers are used again: the next thread must not inherit the name."""
    for number in range(50):
        crew.start("thread %d" % number, lambda: None)
    crew.wait(time.monotonic() + SOON)
    found = []
    stranger = threading.Thread(target=lambda: found.append(crew.name()), name="stranger")
    stranger.start()
    stranger.join(SOON)
    assert found == ["stranger"]


def test_a_thread_is_waited_for_from_the_moment_of_its_start(crew):
    stop = threading.Event()
    for number in range(5):
        crew.start("waits", stop.wait, SOON)
        assert crew.wait(0) == number + 1
    stop.set()
    assert crew.wait(time.monotonic() + SOON) == 0


def test_at_the_deadline_wait_returns_how_many_are_left(crew):
    stop = threading.Event()
    crew.start("waits", stop.wait, SOON)
    assert crew.wait(time.monotonic()) == 1
    assert crew.wait(time.monotonic() + 0.01) == 1
    stop.set()


def test_a_thread_of_the_crew_does_not_wait_for_itself(crew):
    """A callback may stop the node, and then waits for threads of which it may be one."""
    left = []
    crew.start("other", lambda: None)
    crew.start("stops", lambda: left.append(crew.wait(time.monotonic() + SOON)))
    started = time.monotonic()
    wait_until(lambda: left)
    assert left == [0]
    assert time.monotonic() - started < SOON / 2


def test_an_exception_is_reported_with_its_traceback(crew, complaints):
    def fails():
        raise KeyError("our own mistake")

    crew.start("clumsy", fails)
    assert crew.wait(time.monotonic() + SOON) == 0
    assert len(complaints) == 1
    assert complaints[0].startswith("clumsy failed:\nTraceback")
    assert "KeyError: 'our own mistake'" in complaints[0]


def test_a_thread_may_exit_without_complaint(crew, complaints):
    crew.start("leaves", _thread.exit)
    assert crew.wait(time.monotonic() + SOON) == 0
    assert complaints == []


@pytest.fixture
def no_more_threads(monkeypatch):
    def refuse(*args):
        raise RuntimeError("can't start new thread")

    return lambda: monkeypatch.setattr(_thread, "start_new_thread", refuse)


def test_a_thread_that_cannot_be_started_is_not_waited_for(crew, no_more_threads):
    no_more_threads()
    with pytest.raises(RuntimeError):
        crew.start("one too many", lambda: None)
    assert crew.wait(0) == 0


def test_a_thread_that_cannot_start_another_goes_on_under_its_name(crew, no_more_threads):
    """The accepting thread does so when the machine has no threads left."""
    found = []

    def accept():
        no_more_threads()
        try:
            crew.start("one too many", lambda: None)
        except RuntimeError:
            found.append(crew.name())

    crew.start("listener", accept)
    crew.wait(time.monotonic() + SOON)
    assert found == ["listener"]


def test_threads_may_end_without_descriptors_once_a_first_one_has_ended():
    """Until Python 3.9 a first thread that ends without descriptors aborts the process."""
    program = (
        "import os, resource, sys, time\n"
        "sys.path.insert(0, %r)\n"
        "from p2p_plain.common.threads import Crew, end_a_first_thread\n"
        "end_a_first_thread()\n"
        "crew = Crew(print)\n"
        "while len(os.listdir('/proc/self/task')) > 1: pass\n"
        "limit = len(os.listdir('/proc/self/fd')) - 1\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))\n"
        "for _ in range(50):\n"
        "    crew.start('one', int)\n"
        "    assert crew.wait(time.monotonic() + 5) == 0\n"
        "print('alive')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program % ROOT], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert run.stdout == b"alive\n", run.stderr.decode()
