"""Packet loss is named once for each cause, with its direction and its figure, and nothing else is."""

import pytest

from p2p_plain.monitor.verdict import KINDS, Kind
from tests.support.faulty_network import World

WELL = [(Kind.WELL, [])]


def lose(world, source, target, pct=20.0, segs=300):
    world.lost[source, target] = {"loss_pct": pct, "loss_segs": segs, "loss_events": 5}


def test_one_direction_of_a_pair():
    world = World(6)
    lose(world, 2, 5, 3.04)
    assert world.kinds() == [(Kind.LOSS, [2, 5])]
    assert world.sentences() == ["n2 -> n5 loses 3 %"]
    assert KINDS.index(Kind.UNKNOWN) < KINDS.index(Kind.LOSS) < KINDS.index(Kind.SLOW)


def test_both_directions_of_a_pair():
    world = World(6)
    lose(world, 5, 2, 12.0, 300)
    lose(world, 2, 5, 8.0, 100)
    assert world.sentences() == ["n2 <-> n5 loses 11 %"]


def test_a_network_that_loses_packets_is_not_broken():
    """Everyone reaches everyone; but it is not all well either."""
    world = World(6)
    lose(world, 2, 5, 3.0)
    assert world.judged().ok and world.summary().down == 0


@pytest.mark.parametrize("count", [3, 6, 30])
def test_a_host_that_loses_what_it_is_sent(count):
    world = World(count)
    for source in world.others(2):
        lose(world, source, 2, 10.0)
    assert world.kinds() == [(Kind.LOSS, [2])]
    assert world.sentences() == ["n2 loses 10 % of what it is sent"]


@pytest.mark.parametrize("count", [3, 6, 30])
def test_a_host_that_loses_what_it_sends(count):
    world = World(count)
    for target in world.others(2):
        lose(world, 2, target, 5.0)
    assert world.kinds() == [(Kind.LOSS, [2])]
    assert world.sentences() == ["n2 loses 5 % of what it sends"]


def test_a_host_that_loses_both():
    world = World(6)
    for other in world.others(2):
        lose(world, 2, other, 5.0)
        lose(world, other, 2, 10.0)
    assert world.sentences() == ["n2 loses 10 % of what it is sent and 5 % of what it sends"]


def test_while_the_loss_is_known_from_few_they_are_named():
    world = World(12)
    for source in 1, 4:
        lose(world, source, 2, 10.0)
    assert world.sentences() == ["n2 loses 10 % of what n1, n4 send it"]
    world = World(12)
    for target in 1, 4:
        lose(world, 2, target, 10.0)
    assert world.sentences() == ["n2 loses 10 % of what it sends to n1, n4"]


def test_two_hosts_are_two_verdicts_the_greater_loss_first():
    world = World(12)
    for source in world.others(2):
        lose(world, source, 2, 5.0)
    for source in world.others(7):
        lose(world, source, 7, 10.0)
    assert world.sentences()[0] == "n7 loses 10 % of what it is sent"
    assert world.kinds() == [(Kind.LOSS, [7]), (Kind.LOSS, [2])]


@pytest.mark.parametrize("count", [4, 12, 30])
def test_a_switch_that_loses_for_everyone_is_one_verdict(count):
    world = World(count)
    for source in range(count):
        for target in world.others(source):
            lose(world, source, target, 5.0)
    assert world.kinds() == [(Kind.LOSS, list(range(count)))]
    assert world.sentences()[0].endswith("}: packets between them are lost, 5 %")


def test_while_that_is_known_of_some_pairs_only_it_is_one_verdict_as_well():
    world = World(12)
    for source, target in ((0, 5), (3, 8), (4, 1), (9, 2), (7, 11), (6, 10)):
        lose(world, source, target, 2.0)
    assert world.kinds() == [(Kind.LOSS, list(range(12)))]


def test_the_way_between_two_parts_is_one_verdict():
    world = World(6)
    for source in range(3):
        for target in range(3, 6):
            lose(world, source, target, 8.0)
    assert world.kinds() == [(Kind.LOSS, list(range(6)))]
    (sentence,) = world.sentences()
    for part in ("{n0, n1, n2}", "{n3, n4, n5}"):
        assert part in sentence
    assert sentence.endswith(": packets between them are lost, 8 %")


def test_a_little_loss_against_a_great_one_is_none():
    """Lost acknowledgements look like lost segments."""
    world = World(6)
    lose(world, 2, 5, 20.0)
    lose(world, 5, 2, 2.9)
    assert world.sentences() == ["n2 -> n5 loses 20 %"]
    lose(world, 5, 2, 3.1)
    assert world.sentences()[0].startswith("n2 <-> n5 loses ")


def test_what_a_loss_explains_is_not_named_again():
    """A lost packet costs 0.2 s and more, and four in a row a connection."""
    world = World(6)
    world.rtt[2, 5] = world.rtt[5, 2] = 300.0
    world.lose(2, 5, times=4)
    assert len(world.kinds()) == 2
    for way in ((2, 5), (5, 2)):
        world.lost[way] = dict(world.lost[way], loss_pct=30.0, loss_segs=300, loss_events=40)
    assert world.sentences() == ["n2 <-> n5 loses 30 %"]


def test_an_old_row_says_nothing_about_now():
    world = World(6)
    lose(world, 2, 5, 20.0)
    world.age[2] = 3600.0
    assert all(kind != Kind.LOSS for kind, _ in world.kinds())


@pytest.mark.parametrize("pct", [1e300, 10 ** 300, 250.0])
def test_figures_of_strangers_do_no_harm(pct):
    world = World(6)
    lose(world, 2, 5, pct, segs=pct)
    assert world.sentences() == ["n2 -> n5 loses 100 %"]
    lose(world, 2, 5, pct, segs=0)
    assert world.sentences() == ["n2 -> n5 loses 100 %"]
