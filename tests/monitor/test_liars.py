"""Nodes that do not exist: what one peer says of them proves nothing about those that do."""

import pytest

from p2p_plain.monitor.belief import MOST_ALONE
from p2p_plain.monitor.judge import MOST_ALIKE
from p2p_plain.monitor.row_messages import Links
from p2p_plain.monitor.verdict import Kind
from tests.support import new_id
from tests.support import simulation
from tests.support.faulty_network import World
from tests.support.simulation import raw_link, say

HONEST = 5


@pytest.fixture
def world():
    """Node 0 is asked, and the last node lies."""
    world = World(HONEST)
    world.age[0] = 0.0
    return world


def told(world, ghosts, vouched=True, about=1, **claim):
    """Everyone's rows, and those of ghosts, which claim something about node ``about``."""
    rows = world.rows()
    invented = [new_id() for _ in range(ghosts)]
    liar, victim = world.ids[-1], world.ids[about]
    for number, row in enumerate(rows):
        if vouched and row.nodeid == liar:
            links = [{"nodeid": one, "direction": "outbound", "dial": "ok", "up_s": 1e9} for one in invented]
            rows[number] = row._replace(links=(*row.links, *links))
        elif vouched:
            links = [{"nodeid": one, "dial": "timeout", "known_s": 0.0} for one in invented]
            rows[number] = row._replace(links=(*row.links, *links))
    claim = dict(claim, nodeid=victim)
    back = {"nodeid": liar, "direction": "inbound", "dial": "ok"}
    rows += [Links(one, (claim, back), name="g", probe_interval=60.0, stale_after=180.0) for one in invented]
    return rows


def test_rows_of_nodes_that_nobody_is_connected_to_are_ignored(world):
    assert world.sentences(told(world, 41, vouched=False, dial="timeout")) == world.sentences()
    assert world.judged(told(world, 41, vouched=False, dial="timeout")).ok


@pytest.mark.parametrize("about", [0, 1])
def test_no_invented_node_makes_a_real_one_impossible_to_dial(world, about):
    """The asked node itself, or another one, that has never heard of them."""
    rows = told(world, 41, about=about, dial="timeout")
    for number, row in enumerate(rows[:HONEST]):
        if row.nodeid != world.ids[-1]:
            rows[number] = world.row(world.ids.index(row.nodeid))
    judged = world.judged(rows)
    assert judged.ok
    assert not judged.summary.down


@pytest.mark.parametrize("ghosts", [41, 250])
def test_a_real_outage_is_named_before_all_that_one_peer_has_invented(world, ghosts):
    world.kill(2)
    rows = told(world, ghosts, dial="timeout")
    judged = world.judged(rows)
    assert judged.verdicts[0].text.startswith("n2: down")
    assert judged.verdicts[0].nodes == (world.ids[2],)
    assert judged.summary.nodes == HONEST + MOST_ALONE
    assert judged.summary.left_out == ghosts - MOST_ALONE
    real = set(world.ids)
    about = [set(verdict.nodes) <= real for verdict in judged.verdicts]
    assert about == sorted(about, reverse=True)


@pytest.mark.parametrize("claim", [{"dial": "ok"}, {"dial": "ok", "direction": "outbound", "up_s": 50.0}])
def test_no_invented_node_keeps_a_dead_one_alive(world, claim):
    world.kill(2, "refused")
    world.age[2] = 50.0  # its row is not old yet
    judged = world.judged(told(world, 10, about=2, **claim))
    assert judged.view.down == {world.ids[2]}
    assert judged.verdicts[0].text.startswith("n2: down")


def test_no_invented_node_makes_a_real_one_slow(world):
    claim = {"dial": "ok", "direction": "outbound", "rtt_ms": 900.0, "rtt_p50_ms": 900.0, "up_s": 50.0}
    judged = world.judged(told(world, 30, **claim))
    assert Kind.SLOW not in [verdict.kind for verdict in judged.verdicts]
    assert not any(judged.view.connected(world.ids[1], one) for one in judged.view.belief.alone)


def test_three_hosts_of_which_two_cannot_meet_are_told_as_that():
    for asked in range(3):
        world = World(3)
        world.age[asked] = 0.0
        world.cut([0], [2])
        assert world.kinds() == [(Kind.PAIR, [0, 2])]


def test_nodes_behind_the_only_one_that_reaches_them_count():
    world = World(20)
    world.age[0] = 0.0
    near, far = range(5), range(6, 20)
    world.cut(near, far)
    judged = world.judged()
    assert judged.summary.nodes == 20
    assert [verdict.kind for verdict in judged.verdicts] == [Kind.GROUP]


def test_a_smaller_trouble_of_real_nodes_comes_before_a_larger_one_of_invented_ones(world):
    world.cut([0], [1])
    ghosts = [{"nodeid": new_id(), "dial": "refused", "known_s": 5000.0} for _ in range(10)]
    rows = [
        row._replace(links=(*row.links, *ghosts)) if row.nodeid == world.ids[-1] else row for row in world.rows()
    ]
    rows += [Links(ghost["nodeid"], (), age=500.0) for ghost in ghosts]
    kinds = [verdict.kind for verdict in world.verdicts(rows)]
    assert kinds[0] == Kind.PAIR
    assert set(kinds[1:]) == {Kind.DOWN}


def vanished(world, known_s, count):
    """``count`` nodes that everyone had known for so long, and cannot dial any more."""
    gone = [new_id() for _ in range(count)]
    return [{"nodeid": one, "name": "v", "dial": "refused", "known_s": known_s} for one in gone]


def test_what_was_known_for_long_is_named_before_a_crowd_that_came_and_went(world):
    brief, old = vanished(world, 20.0, 60), vanished(world, 50000.0, 1)
    rows = [row._replace(links=(*row.links, *brief, *old)) for row in world.rows()]
    first, *others = world.verdicts(rows)
    assert (first.kind, first.nodes) == (Kind.DOWN, (old[0]["nodeid"],))
    assert len(others) == MOST_ALIKE - 1
    assert not world.judged(rows).ok


@pytest.mark.parametrize("vouched", [True, False])
def test_nobody_is_looked_for_where_rows_of_unknown_nodes_say_that_it_is(vouched):
    """Somebody there would be dialed, and what answers be reported, because a stranger wants it."""
    world = simulation.World(1)
    node = world.node(1)
    unmet, ghost = new_id(), new_id()
    for number, others in enumerate(([unmet], [ghost] if vouched else [])):
        link = raw_link(node, new_id(), host="10.0.5.%d" % number)
        say(link, msgtype="links", nodeid=link.peer.nodeid, age=0,
            links=[{"nodeid": one, "direction": "inbound"} for one in others])
    there = {"nodeid": unmet, "direction": "outbound", "dial": "ok", "address": "10.0.9.9:6000"}
    say(link, msgtype="links", nodeid=ghost, age=0, links=[there])
    world.run(19.0)
    dialed = "10.0.9.9:6000" in [str(address) for _, address, _ in node.dials]
    assert dialed == vouched
