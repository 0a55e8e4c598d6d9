"""Slow nodes, slow pairs, late nodes: named where all evidence agrees, and nowhere else."""

import itertools
import re

import pytest

from p2p_plain.monitor.verdict import Kind
from tests.support.faulty_network import World, be_late

WELL = [(Kind.WELL, [])]


@pytest.mark.parametrize("count", [3, 6, 30])
def test_a_node_with_a_narrow_line_is_slow_to_everyone(count):
    world = World(count)
    world.name[2] = "db-02"
    world.rtt = dict.fromkeys(world.rtt, 0.3)
    world.slow(2)
    assert world.sentences() == ["db-02: slow to everyone (p50 80 ms, others 0.3 ms)"]


def test_two_slow_nodes_are_two_verdicts_the_slower_one_first():
    world = World(6)
    world.slow(2, 80)
    world.slow(4, 120)
    world.rtt[2, 4] = 200
    assert world.kinds() == [(Kind.SLOW, [4]), (Kind.SLOW, [2])]


def test_two_sites_far_from_each_other_are_no_fault():
    world = World(7)
    for a, b in itertools.product([0, 1, 2], [3, 4, 5, 6]):
        world.rtt[a, b] = 80.0
    assert world.kinds() == WELL


def test_a_slow_pair_is_named_if_there_is_a_faster_detour():
    world = World(6)
    world.rtt = dict.fromkeys(world.rtt, 0.3)
    world.rtt[1, 4] = 80.0
    (sentence,) = world.sentences()
    assert re.match(r"n1 <-> n4 slow \(p50 80 ms, via n[0235] 0\.6 ms\)$", sentence)


@pytest.mark.parametrize("one, other", [(60.0, 90.0), (90.0, 60.0)])
def test_of_slow_pairs_the_slowest_comes_first(one, other):
    world = World(8)
    world.rtt[0, 1], world.rtt[2, 3] = one, other
    expected = [(Kind.SLOW_PAIR, [0, 1]), (Kind.SLOW_PAIR, [2, 3])]
    assert world.kinds() == (expected if one > other else expected[::-1])


def test_slow_is_only_what_both_ends_find_slow():
    world = World(6)
    rows = world.rows()
    for row in rows:
        if row.nodeid == world.ids[2]:
            for link in row.links:
                link["rtt_ms"] = link["rtt_p50_ms"] = 80.0
    assert world.kinds(rows) == WELL


def test_a_node_that_only_one_other_has_measured_is_not_slow_to_everyone():
    """Nobody can say which one of the two is slow."""
    world = World(6)
    for y in world.others(0, 5):
        world.disconnect(y, 5)
    world.rtt[0, 5] = 80.0
    assert world.kinds() == WELL


def test_a_slow_node_is_compared_with_all_other_pairs_and_not_only_the_nearest():
    world = World(7)
    world.rtt = dict.fromkeys(world.rtt, 2.0)
    for pair in ((0, 1), (2, 3), (4, 5)):
        world.rtt[pair] = 0.3
    world.slow(6)
    assert world.sentences() == ["n6: slow to everyone (p50 80 ms, others 2.0 ms)"]


def test_what_was_slow_and_no_longer_is_is_not_reported():
    """A network that starts up on busy machines has few round trips to take the median of."""
    world = World(6)
    world.rtt[1, 4] = 80.0
    world.slow(2)
    world.last = dict.fromkeys(world.rtt, 0.4)
    assert world.kinds() == WELL


@pytest.mark.parametrize("jitter, slow", [(60.0, True), (75.0, False), (200.0, False)])
def test_a_pair_with_as_much_jitter_as_delay_is_not_slow(jitter, slow):
    """On a busy machine that happens by chance, and no third node is a witness."""
    world = World(6)
    world.rtt[1, 4] = 80.0
    world.jitter[1, 4] = jitter
    assert world.kinds() == ([(Kind.SLOW_PAIR, [1, 4])] if slow else WELL)


def test_a_node_that_is_slow_to_everyone_is_so_with_any_jitter():
    """At the end of a narrow line round trips depend on the other traffic."""
    world = World(6)
    world.slow(2)
    world.jitter = dict.fromkeys(world.rtt, 100.0)
    assert world.kinds() == [(Kind.SLOW, [2])]


def test_nobody_is_slow_before_there_are_enough_round_trips_for_a_median():
    """The first two are measured within a second of the start.  They are shown all the same."""
    world = World(6)
    world.slow(2)
    rows = world.rows()
    for row in rows:
        for link in row.links:
            link["rtt_p50_ms"] = None
    assert world.kinds(rows) == WELL
    assert world.direction(1, 2, rows).p50_ms == 80.0


def test_delay_that_the_nodes_own_lateness_explains_is_not_the_networks():
    slow = [(Kind.SLOW_PAIR, [1, 4])]
    world = World(6)
    world.rtt[1, 4] = 12.0
    assert world.kinds() == slow
    world.lag[1] = 9.0
    assert world.kinds() == WELL
    world.rtt[1, 4] = 80.0
    assert world.kinds() == slow


def test_one_more_switch_on_the_way_is_not_slow():
    world = World(6)
    world.rtt = dict.fromkeys(world.rtt, 0.2)
    world.slow(2, 1.5)
    assert world.kinds() == WELL


# -- late nodes ------------------------------------------------------------------------


def holding(world, held_ms):
    """The rows, in which everyone says of some nodes how long they hold pings."""
    rows = world.rows()
    for row in rows:
        for link in row.links:
            for number, ms in held_ms.items():
                if link["nodeid"] == world.ids[number]:
                    link["held_ms"] = ms
    return rows


def test_a_node_that_holds_pings_is_slow_itself_and_not_the_network():
    world = World(6)
    world.rtt = dict.fromkeys(world.rtt, 0.1)
    sentences = world.sentences(holding(world, {2: 12.0}))
    assert sentences == ["n2: itself slow (answers 12 ms late; the network takes 0.1 ms)"]


def test_where_all_hold_pings_alike_nobody_is_named():
    """Many nodes on one busy machine."""
    world = World(6)
    assert world.kinds(holding(world, dict.fromkeys(range(6), 30.0))) == WELL


def test_one_account_of_a_held_ping_names_nobody():
    world = World(6)
    rows = holding(world, {2: 12.0})
    for row in rows[1:]:
        for link in row.links:
            link.pop("held_ms", None)
    assert world.kinds(rows) == WELL


def test_a_late_observer_blames_nobody():
    world = World(6)
    be_late(world, 2)
    assert world.sentences() == ["n2: itself slow (runs 250 ms late); its measurements are left out"]
    found = world.summary()
    assert (found.up, found.down, found.unknown) == (25, 0, 5)
    assert found.worst.p50_ms < 1


def test_a_very_late_node_explains_why_dials_of_it_time_out():
    world = World(6)
    be_late(world, 2, 8000.0)
    for y in world.others(2):
        world.dial[y, 2] = "timeout"
    assert world.sentences() == ["n2: itself slow (runs 8.0 s late); its measurements are left out"]


def test_lateness_does_not_explain_a_refused_dial():
    world = World(6)
    be_late(world, 2)
    world.dial[1, 2] = "refused"
    assert world.kinds() == [(Kind.PAIR, [1, 2]), (Kind.LATE, [2])]


def test_a_dead_node_is_not_late_as_well():
    world = World(6)
    world.lag[2] = 500.0
    world.kill(2)
    assert world.kinds() == [(Kind.DOWN, [2])]
