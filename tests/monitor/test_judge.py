"""Each cause of trouble is named once, and nothing else is: over networks with known faults."""

import itertools
import re
import time

import pytest

from p2p_plain.common.outcomes import FAILURES, IN_WORDS, MEANINGS, WHYS
from p2p_plain.monitor.judge import MOST_ALIKE
from p2p_plain.monitor.verdict import KINDS, Kind
from tests.support.faulty_network import HOSTILE, STALE, World, be_late, random_world, sparse

NO_ANSWER = "timed out: no answer"
REFUSED = "refused: the host is up, nobody listens on that port"

# -- all is well -----------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 4, 12, 30, 100])
def test_when_all_is_well_one_sentence_says_so(count):
    world = World(count)
    ((kind, _),) = world.kinds()
    assert kind == Kind.WELL
    assert re.match(
        r"%d nodes, %d of %d directions up, p50 0\.\d ms, worst 0\.\d ms n\d+ -> n\d+$"
        % (count, count * (count - 1), count * (count - 1)),
        world.sentences()[0],
    )


def test_the_sentence_names_the_worst_direction():
    world = World(12)
    world.rtt[3, 5] = 1.24
    assert re.search(r"132 of 132 .* worst 1\.2 ms (n3 -> n5|n5 -> n3)$", world.sentences()[0])


def test_a_single_node_is_well():
    assert World(1).sentences() == ["1 node"]


def test_a_silent_node_is_named_even_if_all_directions_are_up():
    world = World(6)
    world.age[2] = STALE + 1
    (sentence,) = world.sentences()
    assert sentence.startswith("6 nodes, 25 of 25 known directions up, 5 unknown, ")
    assert sentence.endswith(", no recent row from n2")


def test_without_any_row_nothing_is_known():
    (verdict,) = World(3).verdicts(rows=[])
    assert (verdict.kind, verdict.text) == (Kind.UNKNOWN, "no rows: nothing is known")


def test_with_old_rows_alone_nothing_is_known():
    world = World(4)
    world.age = {i: 300.0 + i for i in range(4)}
    (verdict,) = world.verdicts()
    assert (verdict.kind, verdict.text) == (Kind.UNKNOWN, "all rows are old, the youngest 5 min")
    assert (world.summary().known, world.summary().current) == (0, 0)


def test_the_order_of_the_rows_makes_no_difference():
    world = World(8)
    world.block_inbound(2)
    world.kill(5)
    world.slow(1)
    assert len({tuple(world.sentences()) for _ in range(10)}) == 1


# -- nodes that are down ---------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 6, 30])
@pytest.mark.parametrize("dial", ["refused", "timeout", "unreachable"])
def test_a_dead_node_is_one_verdict(count, dial):
    world = World(count)
    world.kill(2, dial)
    symptom = "%s: %s" % (IN_WORDS[dial], MEANINGS[dial])
    assert world.sentences() == ["n2: down, last heard from 4 min ago (%s)" % symptom]


@pytest.mark.parametrize(
    "dial, why", [("timeout", "no-pong"), ("reset", "no-node"), ("reset", "echo"), ("unreachable", "rejected")]
)
def test_the_verdict_on_a_dead_node_says_why_if_most_of_the_others_know(dial, why):
    world = World(6)
    world.kill(2, dial)
    said = "n2: down, last heard from 4 min ago (%s: %s)"
    world.why.update({(y, 2): why for y in (0, 1, 3)})
    assert world.sentences() == [said % (IN_WORDS[dial], WHYS[why])]
    del world.why[3, 2]
    assert world.sentences() == [said % (IN_WORDS[dial], MEANINGS[dial])]


def test_a_node_that_has_just_fallen_silent_is_cut_off_and_the_verdict_says_how():
    world = World(6)
    world.cut([2], world.others(2))
    world.why.update({(y, 2): "no-pong" for y in world.others(2)})
    (sentence,) = world.sentences()
    assert "nobody can dial it (5 of 5 timed out, %s)" % WHYS["no-pong"] in sentence


def test_hosts_that_accept_connections_are_not_behind_a_cut():
    """Two frozen nodes are down, each for itself; had their hosts not answered it might be a split."""
    world = World(6)
    for x in (2, 3):
        world.kill(x)
    assert world.kinds()[0][0] == Kind.SPLIT
    world.why.update({(y, x): "hangs" for x in (2, 3) for y in world.others(2, 3)})
    assert [kind for kind, _ in world.kinds()] == [Kind.DOWN, Kind.DOWN]


@pytest.mark.parametrize("why", ["no-node", "echo"])
def test_a_node_is_down_as_soon_as_something_else_answers_at_its_port(why):
    world = World(6)
    world.kill(2, "reset", since=70.0)
    assert world.kinds() != [(Kind.DOWN, [2])]  # its row is young: it may still live
    world.why.update({(y, 2): why for y in world.others(2)})
    assert world.kinds() == [(Kind.DOWN, [2])]


def test_a_dead_node_that_never_sent_a_row_is_one_verdict():
    world = World(6)
    world.kill(2)
    world.silent = {2}
    assert world.sentences() == ["n2: down (%s)" % NO_ANSWER]


def test_a_node_that_was_just_killed_is_down_even_before_its_row_is_old():
    world = World(6)
    world.kill(2, "refused", since=70.0)
    assert world.sentences() == ["n2: down, last heard from 1 min ago (%s)" % REFUSED]


def test_two_that_died_at_different_times_are_two_verdicts():
    world = World(6)
    world.kill(2, since=240)
    world.kill(4, since=4000)
    assert world.sentences() == [
        "n2: down, last heard from 4 min ago (%s)" % NO_ANSWER,
        "n4: down, last heard from 1 h ago (%s)" % NO_ANSWER,
    ]


@pytest.mark.parametrize("interval", [20.0, 200.0])
def test_whether_two_died_together_is_measured_in_their_own_intervals(interval):
    world = World(6)
    world.stale_after.update({2: 3 * interval, 4: 3 * interval})
    world.kill(2, since=700)
    world.kill(4, since=1000)
    kinds = [kind for kind, _ in world.kinds()]
    assert kinds == ([Kind.SPLIT] if interval == 200.0 else [Kind.DOWN, Kind.DOWN])


def test_a_node_whose_cable_is_cut_calls_itself_cut_off_however_far_apart_the_last_rows_came():
    world = World(4)
    world.cut([0], world.others(0))
    world.age.update({0: 0.5, 1: 190.0, 2: 190.0, 3: 360.0})  # each row is current for 180 s
    assert world.kinds() == [(Kind.CUT_OFF, [0])]


def test_two_whose_hosts_refuse_are_two_verdicts_even_if_they_died_together():
    world = World(6)
    world.kill(2, "refused", since=240)
    world.kill(4, "refused", since=250)
    assert world.kinds() == [(Kind.DOWN, [2]), (Kind.DOWN, [4])]


# -- nodes that are cut off, and splits ------------------------------------------------


@pytest.mark.parametrize("age", [0.0, 100.0])
def test_one_node_cut_off_from_the_others_is_one_verdict(age):
    world = World(6)
    world.cut([2], world.others(2))
    world.age[2] = age
    assert world.sentences() == [
        "n2: cut off: nobody can dial it (5 of 5 timed out), it can dial nobody (5 of 5 timed out)"
    ]


def test_a_node_that_just_fell_silent_is_cut_off_and_not_yet_down():
    """Its last row says that all is well.  Nobody can know whether it, or its cable, is dead."""
    world = World(6)
    world.kill(2, since=100.0)
    assert world.sentences() == ["n2: cut off: nobody can dial it (5 of 5 timed out)"]
    world.age[2] = STALE + 1
    assert world.sentences() == ["n2: down, last heard from 3 min ago (%s)" % NO_ANSWER]


def test_a_node_that_is_cut_off_does_not_call_all_others_down():
    world = World(6)
    world.age[2] = 0.0
    for y in world.others(2):
        world.age[y] = 240.0 + y
        world.dial[2, y] = "timeout"
        world.disconnect(2, y)
    assert world.sentences() == [
        "n2: cut off: it can dial nobody (5 of 5 timed out); "
        "the others were last heard from 4 min ago"
    ]


@pytest.mark.parametrize("old", range(6))
def test_while_the_rows_of_the_others_grow_old_a_node_that_is_cut_off_is_not_well(old):
    """They do so one after the other; the younger ones still say that they can dial the older ones."""
    world = World(6)
    world.age[0] = 0.0
    for y in world.others(0):
        world.age[y] = 240.0 if y <= old else 10.0
        world.dial[0, y] = "timeout"
        world.disconnect(0, y)
    assert Kind.WELL not in dict(world.kinds())


def test_a_node_that_is_cut_off_does_not_hide_that_another_is_blocked():
    """The failures of n2 are explained: it is no witness about n5."""
    world = World(6)
    world.block_inbound(5, "refused")
    world.cut([2], world.others(2))
    assert world.sentences() == [
        "n2: cut off: nobody can dial it (5 of 5 timed out), it can dial nobody (5 of 5 timed out)",
        "n5: nobody can dial it (4 of 4 refused), it dials everyone: inbound blocked",
    ]


def test_a_split_is_one_verdict_and_names_both_sides():
    world = World(5)
    world.cut([0, 1], [2, 3, 4])
    assert world.sentences() == ["split: {n0, n1} | {n2, n3, n4}"]


def test_a_split_into_three_is_one_verdict():
    world = World(8)
    world.cut([0, 1], [2, 3, 4])
    world.cut([0, 1, 2, 3, 4], [5, 6, 7])
    (sentence,) = world.sentences()
    assert sentence.startswith("split: {")
    assert sentence.count("|") == 2


def test_a_split_is_seen_from_one_side_before_the_other_sides_rows_are_old():
    """The far rows were written before the cut, and say that all is well."""
    world = World(5)
    before = [world.row(i) for i in (2, 3, 4)]
    world.cut([0, 1], [2, 3, 4])
    near = [world.row(i)._replace(age=3.0) for i in (0, 1)]
    far = [row._replace(age=row.age + 60) for row in before]
    assert world.sentences(near + far) == ["split: {n0, n1} | {n2, n3, n4}"]
    far = [row._replace(age=240.0) for row in before]
    assert world.sentences(near + far) == [
        "split: {n0, n1} | {n2, n3, n4}, or the latter are down: all last heard from 4 min ago"
    ]


# -- nodes that are blocked ------------------------------------------------------------


@pytest.mark.parametrize("count, dial", [(3, "timeout"), (6, "refused"), (30, "timeout")])
def test_a_node_that_nobody_can_dial_and_that_dials_everyone_is_blocked_inbound(count, dial):
    world = World(count)
    world.name[1] = "web-07"
    world.block_inbound(1, dial)
    failures = "%d of %d %s" % (count - 1, count - 1, IN_WORDS[dial])
    assert world.sentences() == [
        "web-07: nobody can dial it (%s), it dials everyone: inbound blocked" % failures
    ]


def test_a_node_behind_nat_needs_no_row_of_its_own_to_be_known_to_dial_everyone():
    world = World(6)
    world.block_inbound(3)
    world.silent = {3}
    assert world.sentences() == [
        "n3: nobody can dial it (5 of 5 timed out), it dials everyone: inbound blocked"
    ]


def test_a_blocked_node_dials_everyone_only_if_every_direction_is_known():
    """Two behind NAT do not know whether they reach each other: no dial, and no connection."""
    world = World(5)
    world.block_inbound(3)
    world.dial[3, 4] = world.dial[4, 3] = "unknown"
    world.disconnect(3, 4)
    assert world.sentences() == [
        "n3: nobody can dial it (3 of 3 timed out), it dials 3 of 3 known: inbound blocked"
    ]


def test_an_address_where_another_node_lives_is_not_called_blocked():
    world = World(6)
    world.block_inbound(3, "wrong-peer")
    (sentence,) = world.sentences()
    assert sentence.endswith("it dials everyone: another node lives at its address")


def test_a_node_that_can_dial_nobody_is_blocked_outbound():
    world = World(6)
    world.block_outbound(3)
    assert world.sentences() == [
        "n3: can dial nobody (5 of 5 timed out), everyone dials it: outbound blocked"
    ]


def test_two_nodes_behind_nat_are_two_verdicts_and_the_pair_between_them_is_no_third():
    world = World(6)
    world.block_inbound(2)
    world.block_inbound(4)
    world.disconnect(2, 4)
    assert world.sentences() == [
        "n%d: nobody can dial it (5 of 5 timed out), it dials everyone: inbound blocked" % n
        for n in sorted((2, 4), key=lambda n: world.ids[n])
    ]


def test_where_two_of_three_can_dial_nobody_the_third_is_not_blamed():
    world = World(3)
    world.block_outbound(0)
    world.block_outbound(1)
    assert sorted(world.kinds()) == [(Kind.OUTBOUND_BLOCKED, [0]), (Kind.OUTBOUND_BLOCKED, [1])]


def test_of_two_equal_causes_a_blocked_inbound_is_preferred():
    """Nobody can dial 2, or 1 can dial nobody: either explains the rest, beside what is wrong with 0."""
    world = World(3)
    world.block_inbound(0)
    world.block_outbound(0)
    world.dial[1, 2] = "timeout"
    assert sorted(world.kinds()) == [
        (Kind.INBOUND_BLOCKED, [0]),
        (Kind.INBOUND_BLOCKED, [2]),
        (Kind.OUTBOUND_BLOCKED, [0]),
    ]


def test_when_every_new_connection_is_blocked_it_is_one_verdict():
    world = World(6)
    world.dial = dict.fromkeys(world.dial, "timeout")
    (sentence,) = world.sentences()
    assert sentence.startswith("nobody can dial anybody (30 of 30 timed out)")


# -- groups and pairs ------------------------------------------------------------------


def test_a_firewall_between_two_groups_is_one_verdict():
    world = World(7)
    world.cut([0, 1], [2, 3, 4])
    (sentence,) = world.sentences()
    assert sentence in (
        "{n0, n1} <-> {n2, n3, n4}: no dial passes either way (12 of 12 timed out)",
        "{n2, n3, n4} <-> {n0, n1}: no dial passes either way (12 of 12 timed out)",
    )


def test_a_one_way_firewall_between_two_groups_is_one_verdict():
    world = World(7)
    for a, b in itertools.product([0, 1], [2, 3, 4]):
        world.dial[a, b] = "timeout"
    assert world.sentences() == [
        "{n0, n1} -> {n2, n3, n4}: every dial fails (6 of 6 timed out), the other way fine"
    ]


def test_the_other_way_is_fine_only_by_rows_that_are_no_older_than_the_failure():
    """The rows of a side that has just fallen silent say that all is well."""
    world = World(8)
    left, right = [0, 1, 2], [3, 4, 5]
    world.age.update(dict.fromkeys(left, 5.0))
    for a, b in itertools.product(left, right):
        world.dial[a, b] = "timeout"
        world.disconnect(a, b)
    for age, fine in ((4.0, True), (50.0, False)):
        world.age.update(dict.fromkeys(right, age))
        (sentence,) = world.sentences()
        assert sentence.startswith("{n0, n1, n2} -> {n3, n4, n5}: every dial fails")
        assert sentence.endswith(", the other way fine") is fine


def test_a_node_that_some_cannot_dial_is_one_verdict():
    world = World(6)
    for y in (0, 1, 2):
        world.dial[y, 5] = "refused"
    assert world.sentences() == ["n5: 3 of 5 cannot dial it (3 of 3 refused): n0, n1, n2"]


def test_a_node_that_cannot_dial_some_is_one_verdict():
    world = World(6)
    for y in (0, 1, 2):
        world.dial[5, y] = "timeout"
    assert world.sentences() == ["n5: cannot dial 3 of 5 (3 of 3 timed out): n0, n1, n2"]


@pytest.mark.parametrize("dial", FAILURES)
def test_a_failure_of_one_pair_says_what_it_means(dial):
    world = World(6)
    world.name.update({0: "app-01", 1: "db-02"})
    world.dial[0, 1] = dial
    (sentence,) = world.sentences()
    meaning = {
        "timeout": ", db-02 -> app-01 fine: something between them drops connections to db-02",
        "unreachable": ", db-02 -> app-01 fine: a router between them knows no route to db-02",
    }
    assert sentence == "app-01 -> db-02 %s%s" % (
        IN_WORDS[dial],
        meaning.get(dial, ": " + MEANINGS[dial]),
    )


@pytest.mark.parametrize("dial, why", [("unreachable", "rejected"), ("timeout", "hangs"), ("reset", "echo")])
def test_a_failure_of_one_pair_says_why(dial, why):
    world = World(6)
    world.dial[0, 1], world.why[0, 1] = dial, why
    (sentence,) = world.sentences()
    assert sentence.startswith("n0 -> n1 %s" % IN_WORDS[dial])
    assert sentence.endswith(": " + WHYS[why])
    world.dial[1, 0], world.why[1, 0] = dial, why
    assert world.sentences() == ["n0 <-> n1 %s both ways: %s" % (IN_WORDS[dial], WHYS[why])]


def test_what_more_is_known_in_another_version_is_ignored():
    world = World(6)
    world.dial[0, 1], world.why[0, 1] = "reset", "of another version"
    assert world.sentences() == ["n0 -> n1 reset: %s" % MEANINGS["reset"]]
    world.kill(3, "refused")
    world.why[0, 3] = "of another version"
    assert "n3: down, last heard from 4 min ago (refused: %s)" % MEANINGS["refused"] in world.sentences()


def test_a_group_says_why():
    world = World(6)
    for pair in itertools.product([0, 1], [2, 3]):
        world.dial[pair], world.why[pair] = "unreachable", "rejected"
    (sentence,) = world.sentences()
    assert "every dial fails (4 of 4 unreachable, %s)" % WHYS["rejected"] in sentence


@pytest.mark.parametrize("dial, why", [("timeout", "hangs"), ("reset", "no-node")])
def test_a_live_node_that_cannot_be_dialed_is_not_blocked_if_something_answers(dial, why):
    world = World(6)
    world.block_inbound(3, dial)
    world.why.update({(y, 3): why for y in world.others(3)})
    (sentence,) = world.sentences()
    assert sentence.startswith("n3: nobody can dial it (5 of 5 %s)" % IN_WORDS[dial])
    assert sentence.endswith(": " + WHYS[why])


@pytest.mark.parametrize("count", [2, 3])
def test_a_one_way_firewall_is_seen_as_one_way_in_the_smallest_networks(count):
    world = World(count)
    world.dialed_by(1, 0)
    world.dial[0, 1] = "timeout"
    assert world.sentences() == [
        "n0 -> n1 timed out, n1 -> n0 fine: something between them drops connections to n1"
    ]


def test_of_two_nodes_the_one_that_just_fell_silent_is_no_one_way_firewall():
    world = World(2)
    world.kill(1, since=100.0)
    assert world.sentences() == ["n0 -> n1 timed out: no answer, no connection"]


@pytest.mark.parametrize("count", [2, 6])
def test_a_pair_that_fails_both_ways_is_one_verdict(count):
    world = World(count)
    world.cut([0], [1])
    assert world.sentences() == ["n0 <-> n1 timed out both ways: nothing passes between them"]


def test_a_pair_that_refuses_both_ways_has_two_hosts_up():
    world = World(6)
    world.cut([0], [1], "refused")
    assert world.sentences() == [
        "n0 <-> n1 refused both ways: both hosts are up, nobody listens on those ports"
    ]


def test_a_pair_whose_connection_stands_while_both_dials_fail_says_so():
    world = World(6)
    world.dial[0, 1] = world.dial[1, 0] = "timeout"
    assert world.sentences() == ["n0 <-> n1 timed out both ways, while their connection stands"]


def test_a_pair_that_fails_in_two_ways_names_both():
    world = World(6)
    world.dial.update({(0, 1): "timeout", (1, 0): "refused"})
    assert world.sentences() == ["n0 -> n1 timed out, n1 -> n0 refused"]


# -- several faults --------------------------------------------------------------------


@pytest.mark.parametrize("decade", range(30))
def test_exactly_the_faults_that_there_are_are_named_and_nothing_else(decade):
    for seed in range(10 * decade, 10 * decade + 10):
        world, expected = random_world(seed)
        assert sorted(world.kinds()) == (expected or [(Kind.WELL, [])]), (seed, world.sentences())


def test_the_gravest_comes_first():
    world = World(12)
    world.slow(1)
    be_late(world, 2)
    world.dial[3, 4] = "refused"
    world.block_inbound(5)
    world.kill(6)
    assert [kind for kind, _ in world.kinds()] == [
        Kind.DOWN,
        Kind.INBOUND_BLOCKED,
        Kind.PAIR,
        Kind.SLOW,
        Kind.LATE,
    ]
    assert KINDS[0] == Kind.SPLIT
    assert KINDS[-1] == Kind.WELL


def test_a_node_may_have_two_faults():
    world = World(6)
    world.block_inbound(1)
    world.slow(1)
    assert world.kinds() == [(Kind.INBOUND_BLOCKED, [1]), (Kind.SLOW, [1])]


def test_nat_a_firewall_that_drops_and_a_narrow_line_are_three_verdicts():
    world = World(6)
    world.block_inbound(1, "unreachable")
    world.block_inbound(2, "timeout")
    world.disconnect(1, 2)
    world.slow(4)
    blocked = [(Kind.INBOUND_BLOCKED, [1]), (Kind.INBOUND_BLOCKED, [2])]
    assert sorted(world.kinds()) == blocked + [(Kind.SLOW, [4])]


def test_in_a_large_network_where_most_is_unknown_a_fault_is_named_all_the_same():
    world = sparse(300, 16, 2)
    world.block_inbound(7)
    world.kill(9)
    first, second = world.sentences()
    assert first == "n9: down, last heard from 4 min ago (%s)" % NO_ANSWER
    assert re.match(
        r"n7: nobody can dial it \((\d+) of \1 timed out\), it dials (\d+) of \2 known: inbound blocked",
        second,
    )


# -- strangers -------------------------------------------------------------------------


def test_liars_rows_fill_a_screen_at_most_and_cost_a_moment():
    world = World(120)
    for pair in world.dial:
        world.dial[pair] = world.rng.choice(("ok",) + FAILURES[1:])
    started = time.process_time()
    sentences = world.sentences()
    assert time.process_time() - started < 10
    assert len(sentences) <= 3 * MOST_ALIKE
    assert any(sentence.endswith(" more") for sentence in sentences)


@pytest.mark.parametrize(
    "name", [HOSTILE, "x" * 5000, "\u202e" * 64, " ", "", "\u6f22\u5b57" * 30, "%s%d", "{}"]
)
@pytest.mark.parametrize(
    "fault", [World.block_inbound, World.kill, World.slow, World.block_outbound, be_late]
)
def test_a_name_cannot_play_with_the_terminal(name, fault):
    world = World(6)
    world.name[2] = name
    fault(world, 2)
    (sentence,) = world.sentences()
    assert sentence.isprintable()
    assert len(sentence) < 400
    sentence.encode("utf-8")


def test_a_name_cannot_pass_for_a_verdict():
    world = World(6)
    world.name[2] = "db: down, last heard from 4 min ago (no answer), x"
    world.block_inbound(2)
    (sentence,) = world.sentences()
    assert sentence.startswith('"db: down, last heard')
