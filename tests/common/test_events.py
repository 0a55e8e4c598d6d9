"""Events: reported in order, on one thread, within bounds, and never at the cost of the emitter."""

import logging
import subprocess
import sys
import threading
import time

import pytest

from p2p_plain.common import events as module
from p2p_plain.common.events import (
    DEBUG, ERROR, EVERYTHING, GATHER, MAX_WAITING_BYTES, MAX_WAITING_EVENTS, REMEMBERED_EVENTS,
    REPORTED, WARNING, Events, rfc3339,
)
from tests.support import BUSY, PATIENCE, ROOT, wait_until


@pytest.fixture
def events():
    return Events(wall_clock=lambda: 1454587200.25)


def report(events):
    """Be the dispatcher until all waiting events are reported."""
    events.close()
    events.run()


def numbers(reported):
    return [event["number"] for event in reported]


def test_a_listener_hears_its_events_in_order(events):
    heard, all_heard = [], []
    events.on("a", heard.append)
    events.on(EVERYTHING, all_heard.append)
    for number in range(6):
        events.emit("ab"[number % 2], number=number)
    assert heard == []
    report(events)
    assert numbers(heard) == [0, 2, 4]
    assert numbers(all_heard) == list(range(6))
    assert heard[0] == {"event": "a", "time": "2016-02-04T12:00:00.250Z", "number": 0}


def test_many_listeners_hear_the_same_event(events):
    heard = []
    events.on("a", lambda event: heard.append("first"))
    events.on("a", lambda event: heard.append("second"))
    events.emit("a")
    report(events)
    assert heard == ["first", "second"]


def test_a_listener_that_fails_is_logged_and_the_others_still_hear(
    events, caplog, no_errors_logged
):
    heard = []

    def fails(event):
        raise KeyError("the listener's own mistake")

    events.on("a", fails)
    events.on("a", heard.append)
    events.emit("a", number=1)
    events.emit("a", number=2)
    report(events)
    assert numbers(heard) == [1, 2]
    assert [record.levelno for record in caplog.records] == [ERROR, ERROR]
    assert "the listener's own mistake" in caplog.records[0].getMessage()
    del no_errors_logged[:]


def test_trace_lines_are_reported_only_to_listeners_that_name_them(events):
    traced, all_heard = [], []
    events.on("trace", traced.append)
    events.on(EVERYTHING, all_heard.append)
    stream = events.stream()
    events.emit("trace", number=1)
    report(events)
    assert numbers(traced) == [1]
    assert all_heard == []
    assert list(stream.read(0)) == []
    assert list(events.stream().read(0)) == []


@pytest.fixture
def dispatched(events):
    """Events with a running dispatcher."""
    dispatcher = threading.Thread(target=events.run)
    dispatcher.start()
    yield events
    events.close()
    dispatcher.join(PATIENCE)
    assert not dispatcher.is_alive()


def test_quick_events_are_reported_in_batches_and_each_batch_has_an_end(dispatched):
    """Otherwise a crowd would wake the dispatcher for each of its members."""
    heard = []
    dispatched.on("a", lambda event: heard.append(event["number"]))
    dispatched.on(REPORTED, lambda event: heard.append(REPORTED))
    began = time.monotonic()
    emitted = 0
    while time.monotonic() < began + 10 * GATHER:
        if emitted - len(heard) < 500:  # a machine that is busy elsewhere may let us run far ahead
            dispatched.emit("a", number=emitted)
            emitted += 1
        time.sleep(0)  # the dispatcher's turn, if it wants one
    wait_until(lambda: heard[-2:] == [emitted - 1, REPORTED])
    batches = heard.count(REPORTED)
    assert batches <= (time.monotonic() - began) / GATHER + 2
    assert [one for one in heard if one != REPORTED] == list(range(emitted))


def test_the_first_event_a_message_and_the_end_are_reported_at_once(
    dispatched, monkeypatch
):
    monkeypatch.setattr(module, "GATHER", 3600.0)
    heard = []
    dispatched.on(EVERYTHING, lambda event: heard.append(event["number"]))
    dispatched.on(REPORTED, lambda event: heard.append(REPORTED))
    dispatched.emit("a", number=1)
    wait_until(lambda: heard == [1, REPORTED])
    dispatched.emit("a", number=2)
    dispatched.emit("a", number=3)
    dispatched.emit("message", number=4)
    wait_until(lambda: heard == [1, REPORTED, 2, 3, 4, REPORTED])
    dispatched.emit("a", number=5)
    dispatched.close()
    wait_until(lambda: heard == [1, REPORTED, 2, 3, 4, REPORTED, 5, REPORTED])


def test_round_trips_wait_for_each_other_or_for_the_next_other_event(dispatched, monkeypatch):
    monkeypatch.setattr(module, "GATHER_ROUND_TRIPS", 3600.0)
    heard = []
    dispatched.on(EVERYTHING, lambda event: heard.append(event["number"]))
    dispatched.on(REPORTED, lambda event: heard.append(REPORTED))
    dispatched.emit("a", number=1)
    wait_until(lambda: heard == [1, REPORTED])
    dispatched.emit("rtt", number=2)
    dispatched.emit("rtt", number=3)
    dispatched.emit("a", number=4)
    wait_until(lambda: heard == [1, REPORTED, 2, 3, 4, REPORTED])
    del heard[:]
    for number in range(module.MANY):
        dispatched.emit("rtt", number=number)
    wait_until(lambda: heard == [*range(module.MANY), REPORTED])


def test_round_trips_are_reported_within_a_second(dispatched):
    heard = []
    dispatched.on("rtt", lambda event: heard.append(time.monotonic() - event["at"]))
    dispatched.on(REPORTED, lambda event: heard.append(REPORTED))
    began = time.monotonic()
    emitted = 0
    while time.monotonic() < began + 0.2:
        dispatched.emit("rtt", at=time.monotonic())
        emitted += 1
        time.sleep(0.001)
    wait_until(lambda: len(heard) == emitted + heard.count(REPORTED) and heard[-1] == REPORTED)
    assert heard.count(REPORTED) <= (time.monotonic() - began) / module.GATHER_ROUND_TRIPS + 2
    assert max(late for late in heard if late != REPORTED) < module.GATHER_ROUND_TRIPS + BUSY


def test_wants_returns_whether_anyone_listens(events):
    assert not events.wants("trace")
    events.on("trace", print)
    assert events.wants("trace")


def test_a_listener_may_emit_and_listen_and_close(events):
    heard = []

    def answers(event):
        heard.append(event["event"])
        events.on("answer", lambda event: heard.append(event["event"]))
        events.emit("answer")
        events.close()

    events.on("question", answers)
    events.emit("question")
    events.run()
    assert heard == ["question", "answer"]


def test_a_callback_knows_that_it_runs_on_the_dispatcher(events):
    found = []
    events.on("a", lambda event: found.append(events.on_dispatcher()))
    events.emit("a")
    events.close()
    dispatcher = threading.Thread(target=events.run)
    dispatcher.start()
    dispatcher.join(10)
    assert found == [True]
    assert not events.on_dispatcher()


def test_beyond_the_bound_the_oldest_are_dropped_and_counted(events, caplog):
    heard = []
    events.on("a", heard.append)
    for number in range(MAX_WAITING_EVENTS + 3):
        events.emit("a", number=number)
    report(events)
    assert numbers(heard) == list(range(3, MAX_WAITING_EVENTS + 3))
    assert [record.getMessage() for record in caplog.records] == [
        "3 events were dropped: a listener is too slow"
    ]


def test_emit_never_waits_for_a_listener(events):
    emitted, heard = threading.Event(), []

    def stands_still(event):
        assert emitted.wait(10)
        heard.append(event)

    events.on("a", stands_still)
    dispatcher = threading.Thread(target=events.run)
    dispatcher.start()
    for number in range(100):
        events.emit("a", number=number)
    emitted.set()
    events.close()
    dispatcher.join(10)
    assert numbers(heard) == list(range(100))


def test_the_events_of_each_thread_keep_their_order(events):
    heard = []
    events.on("a", heard.append)

    def speak(who):
        for number in range(200):
            events.emit("a", who=who, number=number)

    dispatcher = threading.Thread(target=events.run)
    speakers = [threading.Thread(target=speak, args=(who,)) for who in range(5)]
    for thread in [dispatcher, *speakers]:
        thread.start()
    for thread in speakers:
        thread.join(10)
    events.close()
    dispatcher.join(10)
    for who in range(5):
        assert numbers(e for e in heard if e["who"] == who) == list(range(200))


# -- streams ------------------------------------------------------------------------


def test_a_stream_begins_with_the_remembered_events(events):
    for number in range(REMEMBERED_EVENTS + 2):
        events.emit("a", number=number)
    report(events)
    assert numbers(events.stream().read(None)) == list(range(2, REMEMBERED_EVENTS + 2))


def test_every_event_is_in_a_stream_once_whether_reported_before_or_after_its_start(events):
    streams = []
    events.on("a", lambda event: streams.append(events.stream()))
    for number in range(5):
        events.emit("a", number=number)
    report(events)
    for stream in streams:
        assert numbers(stream.read(None)) == list(range(5))


def test_a_stream_ends_when_the_node_does(events):
    stream = events.stream()
    found = []
    reader = threading.Thread(target=lambda: found.extend(stream.read(None)))
    reader.start()
    events.emit("a", number=1)
    report(events)
    reader.join(10)
    assert numbers(found) == [1]


def test_a_stream_begun_after_the_end_ends(events):
    events.emit("a", number=1)
    report(events)
    assert numbers(events.stream().read(None)) == [1]


def test_a_stream_ends_after_its_timeout(events):
    assert list(events.stream().read(0)) == []
    assert list(events.stream().read(0.01)) == []


def test_a_stream_ends_after_its_timeout_although_events_go_on(events):
    """Otherwise a reader slower than the events would never end."""
    stream = events.stream()
    stream.put({"number": 0})
    found = []
    for event in stream.read(0):
        found.append(event["number"])
        if len(found) > 5:
            break
        stream.put({"number": len(found)})
    assert found == [0]


def test_a_stream_that_is_not_read_any_more_is_not_filled(events):
    stream = events.stream()
    stream.put({"number": 1})
    reading = stream.read(None)
    next(reading)
    reading.close()
    events.emit("a", number=2)
    report(events)
    assert len(stream.waiting) == 0
    events.forget(stream)


def test_each_reader_has_its_own_copy_of_an_event(events):
    early = events.stream()
    events.emit("a", number=1)
    report(events)
    for stream in (early, events.stream(), events.stream()):
        for event in stream.read(None):
            assert event["number"] == 1
            event["number"] = "changed"


def test_a_listener_cannot_change_the_event_of_a_reader(events):
    early = events.stream()
    events.on("a", lambda event: event.update(number="changed"))
    events.emit("a", number=1)
    report(events)
    assert numbers(early.read(None)) == [1]
    assert numbers(events.stream().read(None)) == [1]


# -- the log ------------------------------------------------------------------------


def test_log_records_go_to_the_package_logger_and_to_no_listener(events, caplog):
    heard = []
    events.on(EVERYTHING, heard.append)
    caplog.set_level(logging.DEBUG, "p2p_plain")
    events.log(WARNING, "%s inbound: %d", "10.0.0.1:6000", 5)
    events.log(DEBUG, "100%% of %r", "\n")
    assert caplog.records == []
    report(events)
    assert [(r.name, r.levelno, r.getMessage()) for r in caplog.records] == [
        ("p2p_plain", logging.WARNING, "10.0.0.1:6000 inbound: 5"),
        ("p2p_plain", logging.DEBUG, "100% of '\\n'"),
    ]
    assert heard == []


def test_logging_is_not_imported_before_there_is_something_to_log():
    code = (
        "import sys; from p2p_plain.common.events import *; e = Events(); e.log(DEBUG, 'x');"
        "e.emit('a'); e.close(); e.run(); assert 'logging' not in sys.modules;"
        "e.log(WARNING, 'x'); e.run(); assert 'logging' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1454587200.25, "2016-02-04T12:00:00.250Z"),
        (1454587199.9999, "2016-02-04T11:59:59.999Z"),
        (951782400, "2000-02-29T00:00:00.000Z"),
    ],
)
def test_time_is_utc_to_the_millisecond(seconds, text):
    assert rfc3339(seconds) == text


def test_waiting_events_are_bounded_in_bytes_too(events):
    """Otherwise a stranger could fill our memory while a terminal is stopped with Ctrl-S."""
    stream = events.stream()
    line = MAX_WAITING_BYTES // 16
    for number in range(100):
        events.emit("message", number=number, size=line)
    assert len(events._waiting) == 16
    assert [event["number"] for event in events._waiting.take()] == list(range(84, 100))
    for number in range(100):
        stream.put({"number": number}, line)
    stream.end()
    assert [event["number"] for event in stream.read(None)] == list(range(84, 100))
