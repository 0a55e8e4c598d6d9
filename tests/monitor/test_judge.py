"""What is wrong is named by its cause, once, and nothing else is: over networks with known faults."""

import itertools
import random
import re
import time
import uuid

import pytest

from p2p_plain.common.config import MAX_LINKS
from p2p_plain.monitor import judge as v
from p2p_plain.monitor.judge import lines, verdicts
from p2p_plain.monitor.view import View, directions, summary
from p2p_plain.node.messages import Links
from tests.support.faulty_network import HOSTILE, STALE, World, be_late

# -- all is well --------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 4, 12, 30, 100])
def test_when_all_is_well_one_line_says_so(count):
    world = World(count)
    (line,) = world.told()
    assert re.match(
        r"%d nodes, (\d+) of \1 directions up, p50 0\.\d ms, worst 0\.\d ms n\d+ -> n\d+$" % count,
        line,
    )
    assert "%d of %d" % ((count * (count - 1),) * 2) in line
    assert world.verdicts()[0].kind == v.WELL


def test_the_line_names_the_worst_direction():
    world = World(12)
    world.rtt[3, 5] = 1.24
    assert re.search(r"132 of 132 .* worst 1\.2 ms (n3 -> n5|n5 -> n3)$", world.told()[0])


def test_no_rows_say_nothing_and_do_not_say_that_all_is_well():
    (verdict,) = verdicts([], STALE)
    assert verdict.kind == v.UNKNOWN
    assert verdict.text == "no rows: nothing is known"


def test_a_single_node_is_well():
    assert World(1).told() == ["1 node"]


def test_only_old_rows_are_not_well():
    world = World(4)
    world.age = {i: 300.0 + i for i in range(4)}
    (verdict,) = world.verdicts()
    assert (verdict.kind, verdict.text) == (v.UNKNOWN, "all rows are old, the youngest 5 min")
    assert world.summary().known == 0
    assert world.summary().current == 0


def test_the_end_of_an_answer_is_no_row():
    world = World(3)
    end = Links(world.ids[0], (), end=True)
    assert verdicts([end] + world.rows() + [end], STALE) == world.verdicts()


def test_of_two_rows_of_a_node_the_younger_one_counts():
    world = World(4)
    old = [row._replace(age=row.age + 100) for row in world.rows()]
    world.dial[0, 1] = "refused"
    new = world.row(0)
    rest = [row for row in old if row.nodeid != new.nodeid]
    outdated = [row for row in old if row.nodeid == new.nodeid]
    for order in (rest + outdated + [new], rest + [new] + outdated):
        assert lines(verdicts(order, STALE)) == ["n0 -> n1 refused: host up, port closed"]


def test_the_order_of_the_rows_makes_no_difference():
    world = World(8)
    world.block_inbound(2)
    world.kill(5)
    world.slow(1)
    assert len({tuple(world.told()) for _ in range(10)}) == 1


# -- one fault -----------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 6, 30])
def test_a_node_that_nobody_can_dial_and_that_dials_everyone_is_blocked_inbound(count):
    world = World(count)
    world.name[1] = "web-07"
    world.block_inbound(1)
    tally = "%d of %d" % (count - 1, count - 1)
    assert world.told() == [
        "web-07: nobody can dial it (%s timed out), it dials everyone: inbound blocked" % tally
    ]


def test_behind_nat_every_connection_is_its_own_and_it_is_blocked_inbound():
    world = World(6)
    world.block_inbound(3, "refused")
    (line,) = world.told()
    assert line == "n3: nobody can dial it (5 of 5 refused), it dials everyone: inbound blocked"


def test_without_a_row_of_its_own_a_node_behind_nat_is_still_known_to_dial_everyone():
    world = World(6)
    world.block_inbound(3)
    world.silent = {3}
    (line,) = world.told()
    assert line == "n3: nobody can dial it (5 of 5 timed out), it dials everyone: inbound blocked"


def test_a_node_that_can_dial_nobody_is_blocked_outbound():
    world = World(6)
    world.block_outbound(3)
    (line,) = world.told()
    assert line == ("n3: can dial nobody (5 of 5 timed out), everyone dials it: outbound blocked")


def test_two_nodes_behind_nat_are_two_lines_and_not_reaching_each_other_is_no_third():
    world = World(6)
    world.block_inbound(2)
    world.block_inbound(4)
    world.disconnect(2, 4)
    assert world.told() == [
        "n%d: nobody can dial it (5 of 5 timed out), it dials everyone: inbound blocked" % n
        for n in sorted((2, 4), key=lambda n: world.ids[n])
    ]


def test_where_two_of_three_can_dial_nobody_the_third_is_not_to_blame():
    world = World(3)
    world.block_outbound(0)
    world.block_outbound(1)
    assert sorted(world.kinds()) == [(v.OUTBOUND, [0]), (v.OUTBOUND, [1])]


def test_of_two_causes_that_explain_as_much_it_is_who_nobody_can_dial():
    """2 cannot be dialed, or 1 can dial nobody: either would do, with what is wrong with 0."""
    world = World(3)
    world.block_inbound(0)
    world.block_outbound(0)
    world.dial[1, 2] = "timeout"
    assert sorted(world.kinds()) == sorted([(v.INBOUND, [0]), (v.INBOUND, [2]), (v.OUTBOUND, [0])])


def test_when_every_new_connection_is_blocked_it_is_one_line():
    world = World(6)
    for pair in world.dial:
        world.dial[pair] = "timeout"
    (line,) = world.told()
    assert line.startswith("nobody can dial anybody (30 of 30 timed out)")


@pytest.mark.parametrize("count", [3, 6, 30])
@pytest.mark.parametrize(
    "dial, why",
    [
        ("refused", "refused by host: not running"),
        ("timeout", "no answer from the host"),
        ("unreachable", "no way to the host"),
    ],
)
def test_a_dead_node_is_one_line(count, dial, why):
    world = World(count)
    world.kill(2, dial)
    assert world.told() == ["n2: down, last heard of 4 min ago (%s)" % why]


def test_one_dead_node_never_blanks_the_view():
    world = World(6)
    world.kill(2)
    counts = world.summary()
    assert (counts.nodes, counts.current) == (6, 5)
    assert (counts.up, counts.down, counts.unknown) == (20, 5, 5)
    assert counts.known == 25
    assert counts.p50_ms < 1


def test_a_dead_node_that_never_sent_a_row_is_one_line():
    world = World(6)
    world.kill(2)
    world.silent = {2}
    assert world.told() == ["n2: down (no answer from the host)"]


def test_a_node_that_was_just_killed_is_down_although_its_row_is_not_yet_old():
    world = World(6)
    world.kill(2, "refused", since=70.0)
    assert world.told() == ["n2: down, last heard of 1 min ago (refused by host: not running)"]
    assert world.state(2, 3) == "stale"


def test_two_that_died_at_different_times_are_two_lines():
    world = World(6)
    world.kill(2, since=240)
    world.kill(4, since=4000)
    assert world.told() == [
        "n2: down, last heard of 4 min ago (no answer from the host)",
        "n4: down, last heard of 1 h ago (no answer from the host)",
    ]


def test_two_that_were_refused_are_two_lines_whenever_they_died():
    world = World(6)
    world.kill(2, "refused", since=240)
    world.kill(4, "refused", since=250)
    assert world.told() == [
        "n2: down, last heard of 4 min ago (refused by host: not running)",
        "n4: down, last heard of 4 min ago (refused by host: not running)",
    ]


def test_a_refused_pair_is_told_with_what_it_means():
    world = World(6)
    world.name.update({0: "app-01", 1: "db-02"})
    world.dial[0, 1] = "refused"
    assert world.told() == ["app-01 -> db-02 refused: host up, port closed"]


@pytest.mark.parametrize("count", [2, 3, 6])
def test_a_one_way_firewall_is_seen_as_one_way(count):
    world = World(count)
    world.dialed_by(1, 0)
    world.dial[0, 1] = "timeout"
    assert world.told() == [
        "n0 -> n1 timed out, n1 -> n0 fine: something between them drops connections to n1"
    ]
    assert world.state(0, 1) == "down"
    assert world.state(1, 0) == "up"


@pytest.mark.parametrize("count", [2, 6])
def test_a_pair_that_fails_both_ways_is_one_line(count):
    world = World(count)
    world.cut([0], [1])
    assert world.told() == ["n0 <-> n1 timed out both ways: nothing passes between them"]


def test_a_pair_whose_connection_stands_while_both_dials_fail_says_so():
    world = World(6)
    world.dial[0, 1] = world.dial[1, 0] = "timeout"
    assert world.told() == ["n0 <-> n1 timed out both ways, while their connection stands"]


def test_a_pair_that_fails_in_two_ways_tells_both():
    world = World(6)
    world.dial.update({(0, 1): "timeout", (1, 0): "refused"})
    assert world.told() == ["n0 -> n1 timed out, n1 -> n0 refused"]


@pytest.mark.parametrize("dial", sorted(v.FAILURES))
def test_every_failure_of_a_pair_has_words(dial):
    world = World(6)
    world.dial[0, 1] = dial
    (line,) = world.told()
    assert line.startswith("n0 -> n1 %s" % v.IN_WORDS[dial])
    assert ": " in line
    assert "%" not in line


def test_a_split_is_one_line_and_names_both_sides():
    world = World(5)
    world.cut([0, 1], [2, 3, 4])
    assert world.told() == ["split: {n0, n1} | {n2, n3, n4}"]


def test_a_split_into_three_is_one_line():
    world = World(8)
    world.cut([0, 1], [2, 3, 4])
    world.cut([0, 1, 2, 3, 4], [5, 6, 7])
    (line,) = world.told()
    assert line.startswith("split: {")
    assert line.count("|") == 2


def test_a_split_is_seen_from_one_side_before_the_other_sides_rows_are_old():
    """The far rows were written before the cut, and say that all is well."""
    world = World(5)
    before = [world.row(i) for i in (2, 3, 4)]
    world.cut([0, 1], [2, 3, 4])
    near = [world.row(i)._replace(age=3.0) for i in (0, 1)]
    far = [row._replace(age=row.age + 60) for row in before]
    assert lines(verdicts(near + far, STALE)) == ["split: {n0, n1} | {n2, n3, n4}"]
    far = [row._replace(age=240.0) for row in before]
    (line,) = lines(verdicts(near + far, STALE))
    assert line == (
        "split: {n0, n1} | {n2, n3, n4}; "
        "the latter were last heard of 4 min ago, all at once: or they are down"
    )


def test_one_node_cut_off_from_the_others_is_one_line():
    world = World(6)
    world.cut([2], world.others(2))
    for age in (0.0, 100.0):
        world.age[2] = age
        assert world.told() == [
            "n2: cut off: nobody can dial it (5 of 5 timed out), "
            "it can dial nobody (5 of 5 timed out)"
        ]


def test_a_node_that_just_fell_silent_is_cut_off_and_not_yet_down():
    """Its last row says that all is well: who is to know whether it, or its cable, is dead?"""
    world = World(6)
    world.kill(2, since=100.0)
    assert world.told() == ["n2: cut off: nobody can dial it (5 of 5 timed out)"]
    world.age[2] = STALE + 1
    assert world.told() == ["n2: down, last heard of 3 min ago (no answer from the host)"]


def test_of_two_nodes_the_one_that_just_fell_silent_is_no_one_way_firewall():
    world = World(2)
    world.kill(1, since=100.0)
    assert world.told() == ["n0 -> n1 timed out: no answer, no connection"]


def test_who_is_cut_off_does_not_hide_that_another_is_blocked():
    """What n2 had to say of n5 is explained; it is no witness that somebody can dial n5."""
    world = World(6)
    world.block_inbound(5, "refused")
    world.cut([2], world.others(2))
    assert world.told() == [
        "n2: cut off: nobody can dial it (5 of 5 timed out), it can dial nobody (5 of 5 timed out)",
        "n5: nobody can dial it (4 of 4 refused), it dials everyone: inbound blocked",
    ]


def test_asked_itself_a_node_that_is_cut_off_does_not_say_that_all_others_are_down():
    world = World(6)
    world.age[2] = 0.0
    for y in world.others(2):
        world.age[y] = 240.0 + y
        world.dial[2, y] = "timeout"
        world.disconnect(2, y)
    assert world.told() == [
        "n2: cut off: it can dial nobody (5 of 5 timed out); the others were last heard of 4 min ago"
    ]


def test_a_firewall_between_two_groups_is_one_line():
    world = World(7)
    world.cut([0, 1], [2, 3, 4])
    (line,) = world.told()
    assert line in (
        "{n0, n1} <-> {n2, n3, n4}: no dial passes either way (12 of 12 timed out)",
        "{n2, n3, n4} <-> {n0, n1}: no dial passes either way (12 of 12 timed out)",
    )


def test_a_one_way_firewall_between_two_groups_is_one_line():
    world = World(7)
    for a, b in itertools.product([0, 1], [2, 3, 4]):
        world.dial[a, b] = "timeout"
    assert world.told() == [
        "{n0, n1} -> {n2, n3, n4}: every dial fails (6 of 6 timed out), the other way fine"
    ]


def test_a_node_that_most_cannot_dial_is_one_line():
    world = World(6)
    for y in (0, 1, 2):
        world.dial[y, 5] = "refused"
    assert world.told() == ["n5: 3 of 5 cannot dial it (3 of 3 refused): n0, n1, n2"]


def test_a_node_that_cannot_dial_most_is_one_line():
    world = World(6)
    for y in (0, 1, 2):
        world.dial[5, y] = "timeout"
    assert world.told() == ["n5: cannot dial 3 of 5 (3 of 3 timed out): n0, n1, n2"]


# -- slow, and late --------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 6, 30])
def test_a_node_with_a_narrow_link_is_slow_to_everyone(count):
    world = World(count)
    world.name[2] = "db-02"
    world.rtt = dict.fromkeys(world.rtt, 0.3)
    world.slow(2)
    assert world.told() == ["db-02: slow to everyone (p50 80 ms, others 0.3 ms)"]


def test_two_slow_nodes_are_two_lines():
    world = World(6)
    world.slow(2, 80)
    world.slow(4, 120)
    world.rtt[2, 4] = 200
    assert [(kind, nodes) for kind, nodes in world.kinds()] == [(v.SLOW, [4]), (v.SLOW, [2])]


def test_two_sites_far_from_each_other_are_no_fault():
    world = World(7)
    for a, b in itertools.product([0, 1, 2], [3, 4, 5, 6]):
        world.rtt[a, b] = 80.0
    assert [kind for kind, _ in world.kinds()] == [v.WELL]


def test_a_slow_pair_is_named_if_there_is_a_faster_way_round():
    world = World(6)
    world.rtt = dict.fromkeys(world.rtt, 0.3)
    world.rtt[1, 4] = 80.0
    (line,) = world.told()
    assert re.match(r"n1 <-> n4 slow \(p50 80 ms, by way of n[0235] 0\.6 ms\)$", line)


@pytest.mark.parametrize("one, other", [(60.0, 90.0), (90.0, 60.0)])
def test_of_slow_pairs_the_slowest_comes_first(one, other):
    world = World(8)
    world.rtt[0, 1], world.rtt[2, 3] = one, other
    expected = [(v.SLOW_PAIR, [0, 1]), (v.SLOW_PAIR, [2, 3])]
    assert world.kinds() == (expected if one > other else expected[::-1])


def test_what_one_end_alone_finds_slow_is_not():
    world = World(6)
    rows = world.rows()
    for row in rows:
        if row.nodeid == world.ids[2]:
            for link in row.links:
                link["rtt_ms"] = link["rtt_p50_ms"] = 80.0
    assert [verdict.kind for verdict in verdicts(rows, STALE)] == [v.WELL]


def test_a_node_that_only_one_has_measured_is_not_slow_to_everyone():
    """Who knows which of the two is slow?"""
    world = World(6)
    for y in world.others(0, 5):
        world.disconnect(y, 5)
    world.rtt[0, 5] = 80.0
    assert [kind for kind, _ in world.kinds()] == [v.WELL]


def test_the_others_are_all_pairs_without_the_slow_and_not_only_the_near_ones():
    world = World(7)
    world.rtt = dict.fromkeys(world.rtt, 2.0)
    for pair in ((0, 1), (2, 3), (4, 5)):
        world.rtt[pair] = 0.3
    world.slow(6)
    assert world.told() == ["n6: slow to everyone (p50 80 ms, others 2.0 ms)"]


def test_what_was_slow_and_is_no_longer_is_no_news():
    """A network that starts up on busy machines has few round trips to take the median of."""
    world = World(6)
    world.rtt[1, 4] = 80.0
    world.last[1, 4] = 0.4
    world.slow(2)
    world.last.update({pair: 0.4 for pair in world.rtt if 2 in pair})
    assert [kind for kind, _ in world.kinds()] == [v.WELL]


@pytest.mark.parametrize("jitter, slow", [(60.0, True), (75.0, False), (200.0, False)])
def test_a_pair_whose_round_trips_change_by_as_much_as_they_take_is_not_surely_slow(jitter, slow):
    """On a busy machine that comes by chance, and no third node is witness."""
    world = World(6)
    world.rtt[1, 4] = 80.0
    world.jitter[1, 4] = jitter
    assert [kind for kind, _ in world.kinds()] == [v.SLOW_PAIR if slow else v.WELL]


def test_a_node_that_is_slow_to_everyone_is_so_however_its_round_trips_change():
    """At the end of a narrow line they depend on what else is on it."""
    world = World(6)
    world.slow(2)
    world.jitter = dict.fromkeys(world.rtt, 100.0)
    assert [kind for kind, _ in world.kinds()] == [v.SLOW]


def test_whom_the_other_end_says_was_dialed_is_reached_though_the_own_row_has_no_verdict_yet():
    """Rows come one by one: the dialed one's may tell of a connection of which the dialer's does not."""
    world = World(4)
    rows = world.rows()
    for row in rows:
        for link in row.links:
            if {row.nodeid, link["nodeid"]} == {world.ids[0], world.ids[1]}:
                link.update(direction="inbound", dial="unknown", rtt_p50_ms=7.0, rtt_ms=7.0)
    found = directions(rows, STALE)[world.ids[0], world.ids[1]]
    assert (found.state, found.connected, found.p50_ms, found.dial) == ("up", True, 7.0, "unknown")


def test_nobody_is_slow_while_there_are_too_few_round_trips_for_a_median():
    """The first two are measured within a second of the start."""
    world = World(6)
    world.slow(2)
    rows = world.rows()
    for row in rows:
        for link in row.links:
            link["rtt_p50_ms"] = None
    assert [verdict.kind for verdict in verdicts(rows, STALE)] == [v.WELL]
    assert max(d.p50_ms for d in directions(rows, STALE).values()) == 80.0  # it is shown


def test_what_the_two_nodes_own_lateness_explains_is_not_the_networks():
    world = World(6)
    world.rtt[1, 4] = 12.0
    assert [kind for kind, _ in world.kinds()] == [v.SLOW_PAIR]
    world.lag[1] = 9.0
    assert [kind for kind, _ in world.kinds()] == [v.WELL]
    world.rtt[1, 4] = 80.0
    assert [kind for kind, _ in world.kinds()] == [v.SLOW_PAIR]


def test_a_switch_more_on_the_way_is_no_news():
    world = World(6)
    world.rtt = dict.fromkeys(world.rtt, 0.2)
    world.slow(2, 1.5)
    assert [kind for kind, _ in world.kinds()] == [v.WELL]


def test_a_slow_observer_blames_nobody():
    world = World(6)
    be_late(world, 2)
    assert world.told() == ["n2: itself slow (runs 250 ms late); its measurements are left out"]
    counts = world.summary()
    assert (counts.up, counts.down, counts.unknown) == (25, 0, 5)
    assert counts.worst.p50_ms < 1


def test_a_very_slow_node_is_why_dials_of_it_time_out():
    world = World(6)
    be_late(world, 2, 8000.0)
    for y in world.others(2):
        world.dial[y, 2] = "timeout"
    assert world.told() == ["n2: itself slow (runs 8.0 s late); its measurements are left out"]


def test_a_slow_node_that_is_refused_is_refused():
    world = World(6)
    be_late(world, 2)
    world.dial[1, 2] = "refused"
    assert world.told() == [
        "n1 -> n2 refused: host up, port closed",
        "n2: itself slow (runs 250 ms late); its measurements are left out",
    ]


def test_a_dead_node_is_not_slow_as_well():
    world = World(6)
    world.lag[2] = 500.0
    world.kill(2)
    assert world.told() == ["n2: down, last heard of 4 min ago (no answer from the host)"]


# -- what is never said ---------------------------------------------------------------------


@pytest.mark.parametrize("dial", sorted(v.FAILURES))
@pytest.mark.parametrize("dialer", [0, 1])
def test_a_failed_dial_is_never_green_whatever_connection_stands(dial, dialer):
    world = World(4)
    world.dialed_by(dialer, 1 - dialer)
    world.dial[0, 1] = dial
    assert world.state(0, 1) == "down"
    assert world.state(1, 0) == "up"
    assert world.verdicts()[0].kind != v.WELL


def test_an_old_row_is_never_current():
    world = World(6)
    world.age[2] = STALE + 1
    for y in world.others(2):
        world.dial[2, y] = "refused"
        world.dialed_by(*((y, 2) if y % 2 else (2, y)))
        assert world.state(2, y) == "stale"
        assert world.state(y, 2) == "up"
    (line,) = world.told()
    assert line.startswith("6 nodes, 25 of 25 known directions up, 5 unknown, ")
    assert line.endswith(", no row lately from n2")
    world.age[2] = STALE
    assert world.state(2, 3) == "down"


def test_no_verdict_and_no_connection_is_unknown_and_not_down():
    world = World(4)
    world.disconnect(0, 1)
    for pair in ((0, 1), (1, 0)):
        world.dial[pair] = "unknown"
        assert world.state(*pair) == "unknown"
    (line,) = world.told()
    assert line.startswith("4 nodes, 10 of 10 known directions up, 2 unknown, ")


def test_without_a_verdict_the_dialer_of_a_standing_connection_is_up():
    world = World(4)
    world.dial.update({(0, 1): "unknown", (1, 0): "unknown"})
    assert world.state(0, 1) == "up"
    assert world.state(1, 0) == "unknown"
    world.silent = {0}
    assert world.state(0, 1) == "up"


def test_a_connection_that_the_younger_row_does_not_know_does_not_stand():
    world = World(4)
    world.dial.update({(0, 1): "unknown", (1, 0): "unknown"})
    rows = {i: world.row(i) for i in range(4)}
    world.disconnect(0, 1)
    rows[1] = world.row(1)
    for age, state in ((rows[1].age + 1, "unknown"), (rows[1].age / 2, "up")):
        rows[0] = rows[0]._replace(age=age)
        found = directions(list(rows.values()), STALE)
        assert found[world.ids[0], world.ids[1]].state == state


def sparse(count, degree, seed):
    """A random graph: each node dialed some, and nobody knows of the rest."""
    world = World(count, seed)
    keep = set()
    for a in range(count):
        keep.update(world.key(a, b) for b in world.rng.sample(world.others(a), degree // 2))
    world.dialed = dict.fromkeys(keep, True)
    return world


def sparse_rows(world):
    """Rows that name only those that are connected."""
    return [
        row._replace(links=tuple(link for link in row.links if link["direction"] != "none"))
        for row in world.rows()
    ]


@pytest.mark.parametrize("count", [130, 300])
def test_in_a_large_network_absent_links_are_unknown_and_not_down(count):
    world = sparse(count, 16, 1)
    rows = sparse_rows(world)
    started = time.process_time()
    (verdict,) = verdicts(rows, STALE)
    assert time.process_time() - started < 5
    assert verdict.kind == v.WELL
    counts = summary(rows, STALE)
    assert counts.down == 0
    assert counts.up == 2 * len(world.dialed)
    assert counts.up + counts.unknown == count * (count - 1)


def test_in_a_large_network_a_fault_is_named_all_the_same():
    world = sparse(300, 16, 2)
    world.block_inbound(7)
    world.kill(9)
    rows = sparse_rows(world)
    for i, row in enumerate(rows):  # the killed node is nobody's peer, but its old peers still try it
        a = world.ids.index(row.nodeid)
        if a != 9 and world.key(a, 9) in world.dialed:
            rows[i] = row._replace(links=row.links + (world.link(a, 9),))
    found = lines(verdicts(rows, STALE))
    assert len(found) == 2
    assert found[0] == "n9: down, last heard of 4 min ago (no answer from the host)"
    assert re.match(
        r"n7: nobody can dial it \((\d+) of \1 timed out\), it dials everyone: inbound blocked",
        found[1],
    )


def test_a_full_row_is_no_word_on_whom_it_had_no_room_for():
    world = World(MAX_LINKS + 2)
    rows = {i: world.row(i) for i in range(len(world))}
    rows[1] = rows[1]._replace(age=2.0)
    for room, stands in ((MAX_LINKS, True), (MAX_LINKS - 1, False)):
        links = tuple(world.link(0, b) for b in world.others(0, 1)[:room])
        rows[0] = rows[0]._replace(age=1.0, links=links)
        found = directions(list(rows.values()), STALE)[world.ids[1], world.ids[0]]
        assert found.connected is stands


def test_a_node_that_said_goodbye_is_no_fault():
    """The others have forgotten it; its last row lies about for a while."""
    for age in (100.0, 1000.0):
        world = World(6)
        goner = world.row(2)._replace(age=age)
        rows = []
        for a in world.others(2):
            row = world.row(a)
            links = tuple(link for link in row.links if link["nodeid"] != world.ids[2])
            rows.append(row._replace(links=links))
        found = lines(verdicts(rows + [goner], STALE))
        assert len(found) == 1
        assert found[0].startswith("5 nodes, 20 of 20 directions up, ")
        assert found[0].endswith(", 1 left")


def test_a_node_started_anew_is_no_fault_and_keeps_its_name():
    """It has another nodeid, and whoever dials the old one finds another peer there."""
    world = World(6)
    world.kill(2, "wrong-peer")
    world.name[3] = world.name[2]
    (line,) = world.told()
    assert line.startswith("5 nodes, 20 of 20 directions up, ")
    assert line.endswith(", 1 left")
    view = View(world.rows(), STALE)
    assert view.label[world.ids[3]] == "n2"
    assert view.replaced == {world.ids[2]}


def test_a_node_of_the_article_without_rows_is_known_by_its_connections():
    world = World(4)
    world.silent = {3}
    for y in range(3):
        world.dial[y, 3] = "unknown"
        world.dialed_by(3, y)
    (line,) = world.told()
    assert line.startswith("4 nodes, 9 of 9 known directions up, 3 unknown")


def test_a_stranger_cannot_make_up_nodes_that_are_down():
    world = World(6)
    row = world.row(2)
    ghosts = tuple(
        {"nodeid": str(uuid.UUID(int=i)), "name": "ghost", "dial": "refused"} for i in range(200)
    )
    row = row._replace(links=row.links + ghosts)
    rows = [world.row(a) for a in world.others(2)] + [row]
    (verdict,) = verdicts(rows, STALE)
    assert verdict.kind == v.WELL
    assert summary(rows, STALE).nodes == 6


def test_a_liar_cannot_take_the_row_of_another_away():
    world = World(6)
    world.age[1] = 0.0
    world.dial[1, 2] = "refused"
    world.disconnect(1, 2)
    assert world.state(2, 3) == "up"
    assert world.told() == ["n1 -> n2 refused: host up, port closed"]


def test_liars_rows_make_a_screenful_at_most_and_cost_a_moment():
    world = World(120)
    for pair in world.dial:
        world.dial[pair] = world.rng.choice(["ok", "refused", "timeout", "reset", "wrong-peer"])
    started = time.process_time()
    told = world.told()
    assert time.process_time() - started < 10
    assert len(told) <= 3 * v.MOST_ALIKE
    assert any(line.endswith(" more") for line in told)


# -- names ------------------------------------------------------------------------------


def test_two_nodes_of_the_same_name_are_told_apart():
    world = World(6)
    world.name = dict.fromkeys(range(6), "same")
    world.dial[0, 1] = "refused"
    a, b = (world.ids[i][:4] for i in (0, 1))
    assert world.told() == ["same (%s) -> same (%s) refused: host up, port closed" % (a, b)]


def test_a_node_without_a_name_goes_by_its_nodeid():
    world = World(6)
    world.name[0] = None
    world.dial[0, 1] = "refused"
    assert world.told()[0].startswith("%s -> n1 refused" % world.ids[0][:8])


def test_even_nodeids_that_begin_alike_get_labels_of_their_own():
    world = World(4)
    world.ids = ["01234567-89ab-4cde-8f01-%012x" % i for i in range(4)]
    world.name = dict.fromkeys(range(4), "same")
    label = View(world.rows(), STALE).label
    assert len(set(label.values())) == 4


def test_a_name_cannot_imitate_the_label_of_another():
    world = World(4)
    world.name = {0: "same", 1: "same", 2: "same (%s)" % world.ids[0][:4], 3: "n3"}
    label = View(world.rows(), STALE).label
    assert len(set(label.values())) == 4


@pytest.mark.parametrize(
    "name", [HOSTILE, "x" * 5000, "\u202e" * 64, " ", "", "\u6f22\u5b57" * 30, "%s%d", "{}"]
)
def test_what_a_node_calls_itself_cannot_play_with_the_terminal(name):
    for fault in (World.block_inbound, World.kill, World.slow, World.block_outbound, be_late):
        world = World(6)
        world.name[2] = name
        fault(world, 2)
        (line,) = world.told()
        assert line.isprintable()
        assert len(line) < 400
        line.encode("utf-8")


def test_a_name_cannot_pass_for_a_verdict():
    world = World(6)
    world.name[2] = "db: down, last heard of 4 min ago (no answer), x"
    world.block_inbound(2)
    (line,) = world.told()
    assert line.startswith('"db: down, last heard')


@pytest.mark.parametrize(
    "links",
    [
        {"direction": None, "dial": None, "rtt_p50_ms": None, "name": None},
        {"direction": "sideways", "dial": "green", "rtt_p50_ms": "fast", "name": 7},
        {"direction": "inbound", "dial": ["ok"], "rtt_p50_ms": True, "name": {}},
        {"direction": ["inbound"], "rtt_ms": 10**20, "up_s": -1},
        {},
    ],
)
def test_a_row_of_nonsense_neither_breaks_nor_greens_anything(links):
    world = World(4)
    nonsense = tuple(dict(links, nodeid=nodeid) for nodeid in world.ids) * 2
    rows = [world.row(0)._replace(links=nonsense)] + [world.row(i) for i in (1, 2, 3)]
    found = directions(rows, STALE)
    assert found.get((world.ids[1], world.ids[2])).state == "up"
    assert (world.ids[0], world.ids[0]) not in found
    assert verdicts(rows, STALE)
    assert summary(rows, STALE).nodes == 4


# -- any faults together ---------------------------------------------------------------------


def random_world(seed):
    """A network with a few faults that do not touch one another, and what is to be told of it."""
    rng = random.Random(seed)
    world = World(rng.choice([8, 9, 12, 20, 30]), seed)
    free = world.others()
    rng.shuffle(free)
    expected = []
    faults = ["in", "out", "dead", "refused", "slow", "late", "pair", "one-way", "slow-pair"]
    died = 240.0
    for fault in rng.sample(faults, rng.randrange(0, 4)):
        x = free.pop()
        if fault == "in":
            world.block_inbound(x, rng.choice(["timeout", "refused"]))
            expected.append((v.INBOUND, [x]))
        elif fault == "out":
            world.block_outbound(x, rng.choice(["timeout", "unreachable"]))
            expected.append((v.OUTBOUND, [x]))
        elif fault in ("dead", "refused"):
            world.kill(x, "timeout" if fault == "dead" else "refused", died)
            expected.append((v.DOWN, [x]))
        elif fault == "slow":
            world.slow(x, rng.uniform(20, 300))
            expected.append((v.SLOW, [x]))
        elif fault == "late":
            be_late(world, x, rng.uniform(150, 900))
            expected.append((v.LATE, [x]))
        else:
            y = free.pop()
            if fault == "slow-pair":
                world.rtt[world.key(x, y)] = 100.0
                expected.append((v.SLOW_PAIR, sorted((x, y))))
            else:
                world.dial[x, y] = rng.choice(sorted(v.FAILURES))
                if fault == "pair":
                    world.dial[y, x] = rng.choice(sorted(v.FAILURES))
                    world.disconnect(x, y)
                expected.append((v.PAIR, sorted((x, y))))
    return world, sorted(expected)


@pytest.mark.parametrize("decade", range(30))
def test_exactly_the_faults_that_there_are_are_named_and_nothing_else(decade):
    for seed in range(10 * decade, 10 * decade + 10):
        world, expected = random_world(seed)
        found = sorted(world.kinds())
        assert found == (expected or [(v.WELL, [])]), (seed, world.told())
        assert len(world.told()) == max(len(expected), 1)


@pytest.mark.parametrize("seed", range(20))
def test_the_counts_add_up_whatever_is_wrong(seed):
    world, _ = random_world(seed)
    counts = world.summary()
    assert counts.up + counts.down == counts.known
    assert counts.known + counts.unknown == counts.nodes * (counts.nodes - 1)
    states = [direction.state for direction in directions(world.rows(), STALE).values()]
    assert states.count("up") == counts.up
    assert states.count("down") == counts.down


def test_the_gravest_comes_first():
    world = World(12)
    world.slow(1)
    be_late(world, 2)
    world.dial[3, 4] = "refused"
    world.block_inbound(5)
    world.kill(6)
    kinds = [verdict.kind for verdict in world.verdicts()]
    assert kinds == [v.DOWN, v.INBOUND, v.PAIR, v.SLOW, v.LATE]


def test_nat_a_firewall_that_drops_and_a_narrow_link_are_three_lines():
    world = World(6)
    world.block_inbound(1, "unreachable")
    world.block_inbound(2, "timeout")
    world.disconnect(1, 2)
    world.slow(4)
    assert sorted(world.kinds()) == [(v.INBOUND, [1]), (v.INBOUND, [2]), (v.SLOW, [4])]


def test_a_node_may_have_two_faults():
    world = World(6)
    world.block_inbound(1)
    world.slow(1)
    assert world.kinds() == [(v.INBOUND, [1]), (v.SLOW, [1])]
