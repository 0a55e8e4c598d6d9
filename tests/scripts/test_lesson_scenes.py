"""Scenes from the lessons: ``--naive`` shows the mistake, without it the mistake is gone.

The scenes are what the heads of the lessons and their exercises say to do.
"""

import os
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import PATIENCE, free_port, wait_until
from tests.support.lessons import FOLDER, LESSONS, Terminal

AT_ONCE = 8
"""Scenes that are played at the same time: they wait more than they work."""


def broken(lesson, naive=False, folder=FOLDER, until=None, times=1):
    """Run the lesson in terminal 1 and --break in terminal 2; returns what both printed.

    Waits until --break ends, or until ``until`` has appeared so many times in one of them.
    """
    words = ["--naive"] if naive else []
    with Terminal(lesson, *(words + [0]), folder=folder) as first, Terminal(
        lesson, "--break", first.port, folder=folder
    ) as second:
        if until is None:
            second.wait()
            assert second.process.returncode == 0, second.text
        else:
            wait_until(lambda: max(one.count(until) for one in (first, second)) >= times, 3 * PATIENCE)
        return first.stop(), second.text


def edited(folder, lesson, *edits):
    """Copy the lessons and change some lines, as an exercise says; returns the folder."""
    copy = os.path.join(folder, "%s-%d" % (lesson, len(os.listdir(folder))))
    shutil.copytree(FOLDER, copy)
    (path,) = [os.path.join(copy, name) for name in LESSONS if name.startswith(lesson)]
    with open(path, encoding="utf-8") as file:
        text = file.read().split("\n# Exercises")[0]
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return copy


def tie(naive=False, folder=FOLDER):
    """Run two nodes that dial each other at the same moment; returns what both printed."""
    words = ["--naive"] if naive else []
    here, there = free_port(), free_port()
    with Terminal("09", *(words + [here, there]), folder=folder) as first, Terminal(
        "09", *(words + [there, here]), folder=folder
    ) as second:
        for each in (first, second):
            each.wait_for("is here")
            if naive or folder != FOLDER:
                each.wait_for("is gone: bye, duplicate")
        end = time.monotonic() + 4.0
        wait_until(lambda: time.monotonic() > end)  # would it still go wrong?
        return first.text, second.text


def stopping(naive=False, folder=FOLDER):
    """Press Ctrl-C in terminal 1 while terminal 2 is connected; returns what both printed."""
    words = ["--naive"] if naive else []
    with Terminal("10", *(words + [0]), folder=folder) as first, Terminal(
        "10", "--break", first.port, folder=folder
    ) as second:
        second.wait_for("they say hello")
        first.wait_for("is here")
        return first.stop(), second.wait()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Play all scenes, several at a time; ``scenes(name)`` returns what one of them printed."""
    folder = str(tmp_path_factory.mktemp("exercises"))
    stays = ("    connection.close()\n\n\nif", "    time.sleep(3)\n    connection.close()\n\n\nif")
    copies = {
        "2.1": edited(folder, "02", ('b"00 to zoe\\n"', 'b"00 to zoe\\npay 1 to z"')),
        "2.2": edited(folder, "02", ("recv(4096)", "recv(1)")),
        "2.3": edited(folder, "02", ("caller.shutdown(socket.SHUT_WR)", "caller.close()")),
        "3.2": edited(
            folder,
            "03",
            ("    with locks[first]:\n        time", "    if True:\n        time"),
            ("        with locks[second]:\n", "        if True:\n            old = balance[source]\n"),
            ("balance[source] -= amount", "time.sleep(0.001); balance[source] = old - amount"),
            ('    with locks["ann"], locks["bob"]:  #', "    if True:  #"),
        ),
        "3.1": edited(folder, "03", ("sorted([source, target])", "[source, target]")),
        "4.1": edited(folder, "04", ("settimeout(max(left, 0.001))", "settimeout(None)")),
        "4.3": edited(folder, "04", ("PATIENCE\n    held", "PATIENCE\n    deadline += 3600\n    held")),
        "6.1": edited(
            folder,
            "06",
            ("    with lock:  # look", "    if True:  # look"),
            ("not in peers\n", "not in peers\n        time.sleep(0.1)\n"),
            ("import uuid", "import time\nimport uuid"),
        ),
        "9.2": edited(folder, "09", (" and (new in ours) == (who > ME)", "")),
        "10.1": edited(folder, "10", stays),
        "10.1 as well": edited(folder, "10", stays, ("connection.shutdown(SHUT_RDWR)", "pass")),
    }
    plays = {  # those that take long first
        "7 naive": lambda: broken("07", naive=True),
        "7": lambda: broken("07", until="is gone"),
        "9 naive": lambda: tie(naive=True),
        "9": tie,
        "9.2": lambda: tie(folder=copies["9.2"]),
        "4 naive": lambda: broken("04", naive=True),
        "4": lambda: broken("04"),
        "4.1": lambda: broken("04", folder=copies["4.1"]),
        "4.3": lambda: broken("04", folder=copies["4.3"]),
        "3 naive": lambda: broken("03", naive=True, until="'ann': ", times=3),
        "3": lambda: broken("03"),
        "3.1": lambda: broken("03", folder=copies["3.1"], until="no answer"),
        "3.2": lambda: broken("03", folder=copies["3.2"]),
        "2 naive": lambda: broken("02", naive=True),
        "2": lambda: broken("02"),
        "2.1": lambda: broken("02", folder=copies["2.1"]),
        "2.2": lambda: broken("02", folder=copies["2.2"]),
        "2.3": lambda: broken("02", folder=copies["2.3"], until="Bad file descriptor"),
        "10.1": lambda: stopping(folder=copies["10.1"]),
        "10.1 as well": lambda: stopping(folder=copies["10.1 as well"]),
        "10 naive": lambda: stopping(naive=True),
        "10": stopping,
        "1 naive": lambda: broken("01", naive=True, until="I hear"),
        "1": lambda: broken("01"),
        "5 naive": lambda: broken("05", naive=True),
        "5": lambda: broken("05"),
        "6 naive": lambda: broken("06", naive=True, until="peers: 4"),
        "6": lambda: broken("06", until="'reason': 'duplicate'"),
        "6.1": lambda: broken("06", folder=copies["6.1"]),
        "8 naive": lambda: broken("08", naive=True),
        "8": lambda: broken("08"),
    }
    with ThreadPoolExecutor(AT_ONCE) as pool:
        playing = {name: pool.submit(play) for name, play in plays.items()}
        yield lambda name: playing[name].result()


def test_1_a_listening_socket_carries_no_bytes(scenes):
    first, second = scenes("1 naive")
    assert "cannot send on the listening socket" in first
    assert second.count("connected to port") == 3
    assert "I hear nothing" in second


def test_1_each_accepted_call_is_a_connection_from_a_port_of_its_own(scenes):
    first, second = scenes("1")
    calls = re.findall(r"our end is port (\d+), their end is port (\d+)", first)
    from_ports = re.findall(r"I called from port (\d+)", second)
    assert [theirs for _, theirs in calls] == from_ports
    assert len(set(from_ports)) == 3
    assert {ours for ours, _ in calls}.isdisjoint(from_ports)
    assert re.findall(r"I hear b'hello, port (\d+)", second) == from_ports


def test_1_exercise_2_without_listen_a_port_refuses_calls(tmp_path):
    folder, port = edited(str(tmp_path), "01", ("listener.listen()", "report('deaf'); time.sleep(60)")), free_port()
    with Terminal("01", port, folder=folder) as first:
        first.wait_for("deaf")
        with Terminal("01", "--break", port) as second:
            assert "port %d: nothing listens there" % port in second.wait()


ORDERS = ["pay 5 to ann", "pay 7 to bob", "pay 9 to eve", "pay 3 to joe", "pay 1000 to zoe"]


def test_2_one_recv_is_not_one_order(scenes):
    first, _ = scenes("2 naive")
    heard = re.findall(r"order \d+: b'(.*)'", first)
    assert [order.replace("\\n", "") for order in heard] != ORDERS
    assert "pay 10" in heard


def test_2_lines_are_orders_and_the_half_closed_caller_still_gets_its_answer(scenes):
    first, second = scenes("2")
    assert re.findall(r"order \d+: b'(.*)'", first) == ORDERS
    assert "I heard 5 orders" in second


def test_2_exercise_1_a_last_line_without_a_newline_is_never_seen(scenes):
    first, _ = scenes("2.1")
    assert re.findall(r"order \d+: b'(.*)'", first) == ORDERS


def test_2_exercise_2_a_byte_at_a_time_changes_nothing(scenes):
    first, _ = scenes("2.2")
    assert re.findall(r"order \d+: b'(.*)'", first) == ORDERS


def test_2_exercise_3_a_caller_that_has_closed_hears_no_answer(scenes):
    _, second = scenes("2.3")
    assert "they say" not in second


def test_3_one_silent_caller_keeps_all_others_waiting(scenes):
    first, second = scenes("3 naive")
    assert second.count("no answer for 3 s") == 2
    sums = [set(map(int, pair)) for pair in re.findall(r"'ann': (\d+), 'bob': (\d+)", first)]
    assert sums == [{100}, {99, 101}, {100}]  # what the two had sent before they gave up is paid


def test_3_with_a_thread_for_each_caller_nobody_waits_and_the_money_adds_up(scenes):
    first, second = scenes("3")
    assert second.count("a hundred times") == 2
    assert "{'ann': 100, 'bob': 100}" in first.splitlines()[-1]


def test_3_exercise_1_two_locks_without_an_order_are_a_deadlock(scenes):
    _, second = scenes("3.1")
    assert "a hundred times" not in second


def test_3_exercise_2_without_locks_money_is_lost_or_made(scenes):
    first, _ = scenes("3.2")
    left = re.search(r"'ann': (-?\d+), 'bob': (-?\d+)", first.splitlines()[-1]).groups()
    assert sum(map(int, left)) != 200


def test_4_a_timeout_for_each_recv_does_not_bound_all_of_them(scenes):
    _, second = scenes("4 naive")
    assert "silent: they hung up" in second
    assert "dripping: still there" in second


def test_4_a_deadline_bounds_all_of_them(scenes):
    _, second = scenes("4")
    assert second.count("they hung up") == 2


def test_4_exercise_1_without_a_timeout_silence_lasts_forever(scenes):
    _, second = scenes("4.1")
    assert second.count("still there") == 2


def test_4_exercise_3_a_clock_that_is_set_back_is_no_deadline(scenes):
    _, second = scenes("4.3")
    assert second.count("still there") == 2


def test_5_an_endless_line_is_held_without_end(scenes):
    first, second = scenes("5 naive")
    assert "I hold 6 MB of one line" in first
    assert "they took it all" in second


def test_5_a_bound_ends_it(scenes):
    first, second = scenes("5")
    assert "a line of 14 bytes" in first
    assert "hanging up: a line of" in first
    assert "they hung up" in second


def test_6_an_address_does_not_show_which_node_it_is(scenes):
    first, _ = scenes("6 naive")
    assert "peers: 4" in first


def test_6_a_nodeid_shows_which_node_it_is(scenes):
    first, second = scenes("6")
    assert "that is me" in first
    assert re.findall(r"is here; peers: (\d)", first) == ["1"]
    assert "'reason': 'duplicate'" in second


def test_6_exercise_1_without_the_lock_both_threads_let_it_in(scenes):
    first, _ = scenes("6.1")
    assert first.count("c0ffee00-0000-4 is here") == 2


def test_7_without_pings_a_dead_peer_stays(scenes):
    first, second = scenes("7 naive")
    assert "and is put back" in second
    assert "dead0000 is here" in first
    assert "timed out" not in first


def test_7_a_peer_that_answers_no_ping_is_dropped(scenes):
    first, second = scenes("7")
    assert "dead0000 is gone: timed out; peers: 0" in first
    assert "my cable is pulled" in second
    assert "and is put back" not in second


def test_8_the_port_that_a_call_comes_from_cannot_be_dialed(scenes):
    _, second = scenes("8 naive")
    assert "I dialed it: Connection refused" in second


def test_8_the_port_in_the_hello_can_be_dialed(scenes):
    _, second = scenes("8")
    assert "somebody answers" in second


def test_9_the_first_one_stays_loses_both(scenes):
    for text in scenes("9 naive"):
        assert "is gone: bye, duplicate; peers: 0" in text


def test_9_exercise_2_the_last_one_stays_is_as_bad(scenes):
    for text in scenes("9.2"):
        assert "is gone: bye, duplicate; peers: 0" in text


def test_9_the_connection_that_the_smaller_nodeid_dialed_stays_at_both_ends(scenes):
    first, second = scenes("9")
    assert "is gone" not in first + second
    ids = [re.search(r"I am (\w+),", text).group(1) for text in (first, second)]
    kept = [re.findall(r"is here, (\w+) dialed", text)[-1] for text in (first, second)]
    assert sorted(kept) == ["they", "we"]
    if "we have another one" in first + second:  # so there was a tie
        assert kept == (["we", "they"] if ids[0] < ids[1] else ["they", "we"])


def test_10_closing_a_socket_wakes_no_thread_and_says_nothing(scenes):
    first, second = scenes("10 naive")
    assert "threads that still wait in recv: 1" in first
    assert "bye" not in second


def test_10_a_node_that_stops_says_why_and_leaves_no_thread(scenes):
    first, second = scenes("10")
    assert "threads that still wait in recv: 0" in first
    assert "they say bye stopping" in second


def test_10_exercise_1_a_peer_that_stays_is_cut_off(scenes):
    first, second = scenes("10.1")
    assert "threads that still wait in recv: 0" in first
    assert "they say bye stopping" in second
    first, _ = scenes("10.1 as well")
    assert "threads that still wait in recv: 1" in first
