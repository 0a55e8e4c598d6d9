"""A path that loses large packets is named once, with its size and its direction, and nothing else is."""

import itertools

import pytest

from p2p_plain.common.outcomes import TIMEOUT
from p2p_plain.monitor.verdict import HARMLESS, KINDS, Kind
from tests.support.faulty_network import World, be_late

WELL = [(Kind.WELL, [])]


def hole(world, source, target, passed=1400, field="big"):
    one, other = (source, target) if field == "big" else (target, source)
    fields = {field: "lost", field + "_lost": 1500}
    if passed:
        fields[field + "_passed"] = passed
    world.lost.setdefault((one, other), {}).update(fields)


def test_one_direction_of_a_pair():
    world = World(6)
    hole(world, 2, 5)
    assert world.kinds() == [(Kind.HOLE, [2, 5])]
    assert world.sentences() == ["packets over 1,400 bytes do not pass n2 -> n5 (MTU?)"]
    assert KINDS.index(Kind.PAIR) < KINDS.index(Kind.HOLE) < KINDS.index(Kind.UNSTABLE)


def test_it_is_no_harmless_verdict():
    """Connections break there, whatever program makes them."""
    world = World(6)
    hole(world, 2, 5)
    assert not world.judged().ok and Kind.HOLE not in HARMLESS


def test_both_directions_of_a_pair():
    world = World(6)
    hole(world, 5, 2, 1400)
    hole(world, 2, 5, 1360)
    assert world.sentences() == ["packets over 1,360 bytes do not pass n2 <-> n5 (MTU?)"]
    world = World(2)
    hole(world, 0, 1)
    hole(world, 1, 0)
    assert world.sentences() == ["packets over 1,400 bytes do not pass n0 <-> n1 (MTU?)"]


def test_either_end_can_tell_and_what_passed_for_one_passes():
    """The other end may be unable to dial, or have another system."""
    world = World(6)
    hole(world, 2, 5, 1346, "back")
    assert world.sentences() == ["packets over 1,346 bytes do not pass n2 -> n5 (MTU?)"]
    hole(world, 2, 5, 1360)
    assert world.sentences() == ["packets over 1,360 bytes do not pass n2 -> n5 (MTU?)"]


def test_without_a_size():
    world = World(6)
    hole(world, 2, 5, None)
    assert world.sentences() == ["large packets do not pass n2 -> n5 (MTU?)"]
    world.lost[2, 5]["big_passed"] = 10 ** 300
    assert world.sentences() == ["packets over 65,535 bytes do not pass n2 -> n5 (MTU?)"]


@pytest.mark.parametrize("count", [3, 6, 30])
def test_a_host_is_one_verdict(count):
    world = World(count)
    for other in world.others(2):
        hole(world, other, 2)
    assert world.kinds() == [(Kind.HOLE, [2])]
    assert world.sentences() == ["packets over 1,400 bytes do not reach n2 (MTU?)"]
    for other in world.others(2):
        hole(world, 2, other, 700)
    assert world.kinds() == [(Kind.HOLE, [2])]
    assert world.sentences() == ["packets over 700 bytes do not pass to or from n2 (MTU?)"]
    world.lost = {}
    for other in world.others(2):
        hole(world, 2, other)
    assert world.sentences() == ["packets over 1,400 bytes do not leave n2 (MTU?)"]


def test_two_hosts_are_two_verdicts():
    world = World(6)
    for bad in 2, 4:
        for other in world.others(bad):
            hole(world, other, bad)
            hole(world, bad, other)
    assert sorted(world.kinds()) == [(Kind.HOLE, [2]), (Kind.HOLE, [4])]


def test_a_tunnel_between_two_sites_is_one_verdict():
    world = World(6)
    for one, other in itertools.product((0, 1, 2), (3, 4, 5)):
        hole(world, one, other)
    assert world.sentences() == [
        "packets over 1,400 bytes do not pass {n0, n1, n2} -> {n3, n4, n5} (MTU?)"
    ]
    for one, other in itertools.product((0, 1, 2), (3, 4, 5)):
        hole(world, other, one)
    assert world.sentences() == [
        "packets over 1,400 bytes do not pass {n0, n1, n2} <-> {n3, n4, n5} (MTU?)"
    ]


def test_a_switch_is_one_verdict():
    """Jumbo frames everywhere but there."""
    world = World(5)
    for pair in world.dial:
        hole(world, *pair, 1500)
    assert world.kinds() == [(Kind.HOLE, [0, 1, 2, 3, 4])]
    assert world.sentences() == ["packets over 1,500 bytes do not pass between any two nodes (MTU?)"]


def test_connections_that_break_there_are_not_named_again():
    world = World(6)
    hole(world, 2, 5)
    world.lost[5, 2] = {"lost": 9, "lost_why": "timeout"}
    world.lost[2, 5].update(world.lost[5, 2])
    assert world.kinds() == [(Kind.HOLE, [2, 5])]
    world.lose(1, 3)
    assert world.kinds() == [(Kind.HOLE, [2, 5]), (Kind.UNSTABLE, [1, 3])]


def test_where_nothing_passes_the_size_is_of_no_interest():
    """The last probe that got through was before that."""
    world = World(6)
    hole(world, 2, 5)
    world.dial[2, 5] = TIMEOUT
    assert world.kinds() == [(Kind.PAIR, [2, 5])]
    world.kill(4)
    hole(world, 1, 4)
    assert Kind.HOLE not in {kind for kind, _ in world.kinds()}


def test_a_host_that_cannot_be_dialed_tells_how_it_is_sent_to():
    """It is behind a NAT, say: it dials, and large packets do not come back to it."""
    world = World(4)
    world.block_inbound(3)
    hole(world, 0, 3, field="back")
    assert sorted(world.kinds()) == [(Kind.HOLE, [0, 3]), (Kind.INBOUND_BLOCKED, [3])]
    assert "packets over 1,400 bytes do not pass n0 -> n3 (MTU?)" in world.sentences()
    for other in 1, 2:
        hole(world, other, 3, field="back")
    assert "packets over 1,400 bytes do not reach n3 (MTU?)" in world.sentences()


@pytest.mark.parametrize("late", [2, 5])
def test_a_late_node_is_no_witness_and_not_accused(late):
    world = World(6)
    hole(world, 2, 5)
    hole(world, 2, 5, field="back")
    be_late(world, late)
    assert Kind.HOLE not in {kind for kind, _ in world.kinds()}


def test_an_old_row_counts_no_more():
    world = World(6)
    hole(world, 2, 5)
    world.age[2] = 1000.0
    assert Kind.HOLE not in {kind for kind, _ in world.kinds()}


def test_words_of_another_version_mean_nothing():
    world = World(6)
    world.lost[2, 5] = {"big": "ok", "big_passed": 1400}
    assert world.kinds() == WELL
