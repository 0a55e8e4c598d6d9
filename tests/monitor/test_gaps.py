"""What is unknown counts against the network once it should be known, and never before."""

import random

import pytest

from p2p_plain.monitor.judge import Judgement
from p2p_plain.monitor.verdict import Kind
from tests.support.faulty_network import STALE, World, be_late, random_world
from tests.support.simulation import World as Simulation

pytestmark = pytest.mark.long  # whole networks in one thread

LONG = 1000.0
PATIENCE = 2 * 60.0 + STALE
"""Seconds in the network after which a pair is overdue: two probe intervals, and the way of the rows."""


def settled(count, seed=0):
    """A network in which all have been connected for long, and rows are a minute old at most."""
    world = World(count, seed)
    world.up_s = LONG
    return world


def test_a_pair_that_neither_end_reports_on_is_a_fault_once_it_is_overdue():
    world = World(4)
    world.never_met(1, 2)
    for source in (1, 2):
        world.age[source] = 0.0
    for world.up_s, kinds in ((PATIENCE - 1, Kind.WELL), (PATIENCE + 1, Kind.UNKNOWN)):
        world.age.update({0: 0.0, 3: 0.0})
        judged = world.judged()
        assert [verdict.kind for verdict in judged.verdicts] == [kinds]
        assert judged.ok is (kinds == Kind.WELL)
    assert world.sentences() == ["n1 <-> n2: nothing known for over 2 probe intervals"]


def test_what_was_not_yet_there_when_a_row_was_measured_is_not_missing_in_it():
    world = World(4)
    world.never_met(1, 2)
    world.up_s = PATIENCE + 1
    world.age = dict.fromkeys(world.age, 0.0)
    assert not world.judged().ok
    world.age = dict.fromkeys(world.age, 60.0)  # everything happened a minute earlier
    assert not world.judged().ok
    world.up_s = PATIENCE - 30
    assert world.judged().ok


def test_a_connection_that_a_never_dialed_back_is_overdue_too():
    """It stands because b dialed, and says nothing about whether a could."""
    world = settled(4)
    world.dialed_by(1, 0)
    world.dial[0, 1] = "unknown"
    assert world.sentences() == ["n0 -> n1: nothing known for over 2 probe intervals"]


@pytest.mark.parametrize("count", [3, 30])
def test_a_node_that_nobody_reports_on_is_one_verdict(count):
    world = settled(count)
    for y in world.others(1):
        world.dialed_by(1, y)
        world.dial[y, 1] = "unknown"
    (verdict,) = world.verdicts()
    assert (verdict.kind, verdict.nodes[0]) == (Kind.UNKNOWN, world.ids[1])
    assert verdict.text.startswith("n0, n2")
    assert " -> n1: nothing known" in verdict.text
    assert len(verdict.text) < 120


def test_a_node_that_reports_on_nobody_is_one_verdict():
    world = settled(5)
    for y in world.others(3):
        world.dialed_by(y, 3)
        world.dial[3, y] = "unknown"
    assert world.sentences() == ["n3 -> n0, n1, n2, n4: nothing known for over 2 probe intervals"]


@pytest.mark.parametrize("seed", range(10))
def test_however_much_is_overdue_it_fits_on_a_screen_and_all_of_it_is_named(seed):
    rng = random.Random(seed)
    world = settled(rng.randrange(4, 25), seed)
    for pair in rng.sample(sorted(world.dial), rng.randrange(1, len(world.dial) // 3)):
        world.disconnect(*pair)
        world.unmet.add(pair)
    judged = world.judged()
    overdue = judged.summary.gaps.overdue
    if overdue:
        assert len(judged.verdicts) <= 8
        named = {nodeid for verdict in judged.verdicts for nodeid in verdict.nodes}
        assert {nodeid for pair in overdue for nodeid in pair} <= named
    assert judged.ok is (not overdue)


# -- rows that do not come any more -----------------------------------------------------


def test_a_connected_node_without_a_recent_row_is_a_fault_once_it_is_overdue():
    world = settled(5)
    for age, ok in ((STALE - 1, True), (STALE + 119, True), (STALE + 121, False)):
        world.age[2] = age
        assert world.judged().ok is ok
    assert world.sentences() == [
        "no recent row from n2, the last 5 min ago, although it is connected"
    ]
    world.age[4] = 400.0
    assert world.sentences() == [
        "no recent row from n2, n4, the last 5 min ago, although they are connected"
    ]


def test_well_is_never_said_while_a_row_is_overdue():
    world = settled(5)
    world.age[2] = STALE + 121
    be_late(world, 3)
    assert [kind for kind, _ in world.kinds()] == [Kind.UNKNOWN, Kind.LATE]


# -- what is exempt ---------------------------------------------------------------------


def test_a_node_that_sends_no_rows_is_no_fault_and_is_named():
    world = settled(4)
    world.silent = {3}
    for y in range(3):
        world.dial[y, 3] = "unknown"
        world.dialed_by(3, y)
    judged = world.judged()
    assert judged.ok
    assert judged.summary.pending == 0
    assert judged.summary.text().startswith(
        "4 nodes, 9 of 9 known directions up, 3 unknown (n3 sends no rows), "
    )


def test_two_nodes_that_send_no_rows_are_exempt_between_them_too():
    world = settled(4)
    world.silent = {2, 3}
    judged = world.judged()
    assert judged.ok
    assert judged.summary.pending == 0
    assert "(n2, n3 send no rows)" in judged.summary.text()


def test_a_node_that_was_just_started_may_still_send_a_row():
    """``check`` waits for it, and nothing says that it sends none."""
    world = World(3)
    world.silent = {2}
    world.age = dict.fromkeys(world.age, 0.0)
    for world.up_s, pending in ((1.0, 2), (60.0, 0)):
        judged = world.judged()
        assert judged.ok
        assert judged.summary.pending == pending
        assert ("sends no rows" in judged.summary.text()) is (not pending)


def test_a_node_of_the_last_version_need_not_report_on_nodes_that_it_never_met():
    world = settled(4)
    world.never_met(1, 2)
    world.be_older(1)
    assert world.sentences() == ["n2 -> n1: nothing known for over 2 probe intervals"]
    world.be_older(2)
    judged = world.judged()
    assert judged.ok
    assert judged.summary.pending == 0
    assert "2 unknown (n1, n2 have an older version)" in judged.summary.text()


def test_what_is_exempt_and_what_is_not_yet_known_are_counted_apart():
    world = settled(4)
    world.never_met(1, 2)
    world.be_older(1)
    world.be_older(2)
    world.dial[0, 3] = "unknown"
    world.dialed_by(3, 0)
    world.probe_interval[0] = LONG
    judged = world.judged()
    assert judged.ok
    assert judged.summary.pending == 1
    assert "3 unknown (2: n1, n2 have an older version)" in judged.summary.text()


@pytest.mark.parametrize("late", [1, 2])
def test_a_late_node_is_excused(late):
    world = settled(4)
    world.never_met(1, 2)
    world.lag[late] = 500.0
    assert [kind for kind, _ in world.kinds()] == [Kind.LATE]


def test_in_a_network_of_more_than_128_nodes_not_everyone_dials_everyone():
    for count, kind in ((128, Kind.UNKNOWN), (129, Kind.WELL)):
        world = settled(count)
        world.never_met(1, 2)
        assert [verdict.kind for verdict in world.verdicts()] == [kind]


# -- intervals, and liars ---------------------------------------------------------------


@pytest.mark.parametrize("interval", [1.0, 60.0, 600.0])
def test_each_source_has_two_of_its_own_probe_intervals(interval):
    world = World(4)
    world.age = dict.fromkeys(world.age, 0.0)
    world.never_met(1, 2)
    world.probe_interval[1] = interval
    patience = 2 * max(5.0, interval) + STALE
    for world.up_s, overdue in ((patience - 1, False), (patience + 1, True)):
        gaps = world.judged().summary.gaps
        assert ((world.ids[1], world.ids[2]) in gaps.overdue) is overdue


def test_a_liar_cannot_make_another_node_older_than_it_is():
    world = World(5)
    world.never_met(1, 2)
    rows = [world.row(x) for x in world.others(4)]
    links = tuple(dict(link, up_s=1e9) for link in world.row(4).links)
    assert world.judged([*rows, world.row(4)._replace(links=links)]).ok
    links += (dict(links[0], nodeid=world.ids[4]),)  # nor itself
    rows[1] = world.row(1)._replace(links=tuple(dict(link, up_s=1e9) for link in world.row(1).links))
    assert world.judged([*rows, world.row(4)._replace(links=links)]).ok


# -- faults of other kinds --------------------------------------------------------------


@pytest.mark.parametrize("decade", range(10))
def test_faults_that_are_named_leave_no_gaps(decade):
    """However long they last: nothing is said beside the causes."""
    for seed in range(10 * decade, 10 * decade + 10):
        world, expected = random_world(seed)
        world.up_s = LONG
        assert sorted(world.kinds()) == (expected or [(Kind.WELL, [])]), (seed, world.sentences())


# -- a whole network, simulated ---------------------------------------------------------


def test_nodes_that_measure_often_and_seldom_are_well_together():
    """Neither is stale to the other, also where the rows between two must take a detour."""
    for broken in (False, True):
        world = Simulation(3)
        nodes = [
            world.node(
                number, ping_interval=seconds, probe_interval=seconds, bootstrap=["10.0.0.1:6000"]
            )
            for number, seconds in ((1, 1.0), (2, 20.0), (3, 1.0), (4, 20.0))
        ]
        world.broken = {nodes[2], nodes[3]} if broken else set()
        world.run(20.0)
        for _ in range(80):
            world.run(0.5)
            for node in nodes:
                judged = Judgement(node.survey.exchange.matrix(), node.survey.exchange.stale_after())
                (verdict,) = judged.verdicts
                assert verdict.kind == (Kind.PAIR if broken else Kind.WELL), verdict
                assert judged.view.current == judged.view.nodes


def test_a_network_that_is_well_is_called_well_at_every_moment():
    """Nodes join, one knows only the article, one stops: all that is seen twice a second."""
    world = Simulation(5)
    fast = {"ping_interval": 1.0, "probe_interval": 1.0}
    nodes = [world.node(number, **fast) for number in range(1, 8)]
    world.run(5.0)
    for second in range(60):
        if second in (5, 15):
            nodes.append(world.node(len(nodes) + 1, **fast))
        if second == 10:
            bare = world.node(50, bare=True, bootstrap=["10.0.0.1:6000"])
        if second == 40:
            leaver = nodes.pop()
            for peer in leaver.table.up():
                peer.link.close("stopping")
            leaver.alive = False
            del world.towns[leaver.address]
        for _ in range(2):
            world.run(0.5)
            for node in (nodes[0], nodes[3], nodes[-1]):
                judged = Judgement(node.survey.exchange.matrix(), node.survey.exchange.stale_after())
                assert judged.ok
                assert [v.kind for v in judged.verdicts] == [Kind.WELL], judged.verdicts
    assert bare.nodeid in judged.view.live
    # Those from the bare node that it has not dialed itself are unknown, and that is no fault.
    assert judged.summary.nodes == 9
    assert judged.summary.up >= 8 * 8
