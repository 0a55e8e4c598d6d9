"""Connections that keep breaking are named once for each cause, whatever the cells say now."""

import itertools

import pytest

from p2p_plain.monitor.verdict import KINDS, Kind
from tests.support.faulty_network import World, be_late

WELL = [(Kind.WELL, [])]
IDLE = {"lost_every_s": 55.2, "lost_quiet_s": 54.1}


def unstable(*nodes):
    return [(Kind.UNSTABLE, list(nodes))]


def test_a_pair_is_unstable_from_three_losses_on():
    world = World(6)
    world.lose(1, 3, times=2)
    assert world.kinds() == WELL
    world.lose(1, 3, times=4)
    assert world.kinds() == unstable(1, 3)
    assert world.sentences() == ["n1 <-> n3 lost their connection 4 times in ten minutes (timed out)"]
    assert KINDS.index(Kind.PAIR) < KINDS.index(Kind.UNSTABLE) < KINDS.index(Kind.SLOW)


@pytest.mark.parametrize("one, other", [(2, 5), (5, 2)])
def test_of_the_two_ends_the_one_that_counted_more_is_believed(one, other):
    """The other end may have stood still, or speak only the article's words."""
    world = World(6)
    world.lost[one, other] = {"lost": 3, "lost_why": "closed"}
    assert world.sentences() == ["n2 <-> n5 lost their connection 3 times in ten minutes (closed)"]
    world.lost[other, one] = {"lost": 5, "lost_why": "timeout"}
    assert world.sentences() == ["n2 <-> n5 lost their connection 5 times in ten minutes (timed out)"]


def test_the_cause_and_what_is_done_about_it_are_named():
    """Only one end can see the pattern of a host behind a NAT; either end may keep it busy."""
    world = World(6)
    world.lost[1, 3] = {"lost": 4, "lost_why": "closed"}
    world.lost[3, 1] = dict(IDLE, lost=3, lost_why="timeout", busy_s=18.2)
    assert world.sentences() == [
        "n1 <-> n3 lost their connection 4 times in ten minutes, each time after 54 s without traffic "
        "(timed out): something on the way forgets idle connections; kept busy every 18 s since"
    ]
    world.lose(1, 3, why="closed", lost_every_s=60.0)
    assert world.sentences() == [
        "n1 <-> n3 lost their connection 3 times in ten minutes, every 1 min, traffic or not "
        "(closed): something limits how long connections last"
    ]


def test_losses_in_great_number_are_not_counted_exactly():
    world = World(6)
    for times in 30, 10 ** 300, 1e300:
        world.lose(1, 3, times=times, why="\u2603 all is well")
        assert world.sentences() == [
            "n1 <-> n3 lost their connection 30 times in ten minutes or more (closed)"
        ]


@pytest.mark.parametrize("count", [3, 6, 30])
def test_a_loose_cable_is_one_verdict_about_its_node(count):
    """As the losses come and grow old, its pairs are not equally many times unstable."""
    world = World(count)
    for y in world.others(2):
        world.lose(2, y, times=2)
    assert world.kinds() == WELL
    world.lose(2, 0, times=3)
    assert world.kinds() == unstable(2)
    (sentence,) = world.sentences()
    assert sentence.startswith("n2: lost its connections to n0, n1")
    assert sentence.endswith(" up to 3 times in ten minutes (timed out)")


def test_two_loose_cables_are_two_verdicts():
    world = World(6)
    for x, y in itertools.product((2, 4), range(6)):
        if x != y:
            world.lose(x, y)
    assert sorted(world.kinds()) == unstable(2) + unstable(4)


def test_two_pairs_of_a_node_that_is_otherwise_stable_are_two_pairs():
    world = World(6)
    world.lose(1, 2)
    world.lose(1, 3)
    assert sorted(world.kinds()) == unstable(1, 2) + unstable(1, 3)
    world.lose(1, 4)
    assert world.kinds() == unstable(1)


def test_a_switch_that_fails_for_everyone_is_one_verdict():
    world = World(8)
    for pair in itertools.combinations(range(8), 2):
        world.lose(*pair)
    assert world.kinds() == unstable(*range(8))


def test_a_loose_cable_between_two_switches_is_one_verdict():
    world = World(7)
    for pair in itertools.product([0, 1, 2], [3, 4, 5, 6]):
        world.lose(*pair, **IDLE)
    assert world.kinds() == unstable(*range(7))
    (sentence,) = world.sentences()
    parts = set(sentence.split(": lost")[0].split(" | "))
    assert parts == {"{n0, n1, n2}", "{n3, n4, n5, n6}"}
    assert "each time after 54 s without traffic" in sentence


def test_two_nodes_alone_in_the_world_are_a_pair():
    world = World(2)
    world.lose(0, 1)
    assert world.kinds() == unstable(0, 1)


def test_what_a_graver_verdict_explains_is_not_named_again():
    for dial in "timeout", "refused":
        world = World(6)
        for y in world.others(2):
            world.lose(2, y)
        world.kill(2, dial)
        assert world.kinds() == [(Kind.DOWN, [2])]
    world = World(6)
    for y in world.others(2):
        world.lose(2, y)
    world.cut([2], world.others(2))
    assert world.kinds() == [(Kind.CUT_OFF, [2])]
    world = World(6)
    world.lose(2, 3)
    world.dial[2, 3] = "timeout"
    assert world.kinds() == [(Kind.PAIR, [2, 3])]
    world = World(6)
    for pair in itertools.product([0, 1, 2], [3, 4, 5]):
        world.lose(*pair)
    world.cut([0, 1, 2], [3, 4, 5])
    assert world.kinds() == [(Kind.SPLIT, list(range(6)))]


def test_a_node_that_can_be_dialed_by_nobody_may_be_unstable_as_well():
    """A host behind a NAT that forgets: two causes, two verdicts."""
    world = World(6)
    world.block_inbound(2, "refused")
    for y in world.others(2):
        world.lose(2, y, **IDLE)
    assert world.kinds() == [(Kind.INBOUND_BLOCKED, [2])] + unstable(2)


def test_what_a_late_node_lost_is_not_held_against_others():
    world = World(6)
    be_late(world, 2)
    for y in world.others(2):
        world.lose(2, y)
    assert world.kinds() == [(Kind.LATE, [2])]


def test_an_old_row_makes_nobody_unstable():
    world = World(6)
    world.lost[1, 3] = {"lost": 5, "lost_why": "timeout"}
    world.age[1] = 200.0
    assert Kind.UNSTABLE not in [kind for kind, _ in world.kinds()]


def test_a_liar_blames_only_itself():
    world = World(8)
    for y in world.others(5):
        world.lost[5, y] = {"lost": 9, "lost_why": "timeout"}
    assert world.kinds() == unstable(5)
