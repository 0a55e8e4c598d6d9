"""Nodes that crash and come back: the old nodeid is no dead node, and nothing of it is kept."""

import json

import pytest

from p2p_plain.common.address import Address
from p2p_plain.monitor.judge import Judgement
from p2p_plain.monitor.restarts import Life, find_replaced
from p2p_plain.monitor.row_messages import Links
from p2p_plain.monitor.view import View
from tests.support import LARGE_ID as NODE
from tests.support import Program, run_program, wait_until
from tests.support.faulty_network import World as FaultyNetwork
from tests.support.simulation import World, mesh

pytestmark = pytest.mark.long  # whole networks in one thread

# -- lives -----------------------------------------------------------------------------


def life(nodeid, start, heard=None, host="192.0.2.1", port=6000, name="web"):
    """A node that lives, or that was last ``heard`` from then and is dead."""
    at = frozenset([Address(host, port)])
    return Life(nodeid, name, at, start, 1000.0 if heard is None else heard, heard is not None)


def test_of_thirty_restarts_in_a_chain_one_node_is_left():
    chain = [life("%02d" % i, start=10 * i, heard=10 * i + 8, port=6000 + i) for i in range(30)]
    replaced = find_replaced(chain[:-1] + [life("29", start=290, port=6029)])
    assert replaced == {"%02d" % i: "%02d" % (i + 1) for i in range(29)}


def test_a_dead_node_that_nobody_has_replaced_is_not_replaced():
    assert find_replaced([life("a", 0, heard=100)]) == {}


@pytest.mark.parametrize("other", [{"name": "db"}, {"host": "192.0.2.2"}, {"name": ""}])
def test_only_a_node_of_the_same_name_on_the_same_host_replaces_another(other):
    assert find_replaced([life("a", 0, heard=100), life("b", 200)]) == {"a": "b"}
    assert find_replaced([life("a", 0, heard=100), life("b", 200, **other)]) == {}


def test_nodes_without_a_name_replace_nobody():
    assert find_replaced([life("a", 0, heard=100, name=""), life("b", 200, name="")]) == {}


def test_loopback_is_not_the_same_host_where_there_are_other_addresses():
    """Two machines may have one name, and nodes know those of their own machine by 127.0.0.1."""
    here, there = Address("192.0.2.1", 6000), Address("192.0.2.2", 6000)
    loopback = Address("127.0.0.1", 6000)
    dead, new = life("a", 0, heard=100), life("b", 200)
    for places, same in (
        (({here, loopback}, {there, loopback}), False),
        (({here, loopback}, {here}), True),
        (({loopback}, {loopback}), True),
    ):
        lives = [one._replace(addresses=frozenset(at)) for one, at in zip((dead, new), places)]
        assert bool(find_replaced(lives)) is same


def test_nodes_that_lived_at_the_same_time_do_not_replace_each_other():
    """Several nodes may run on one machine, under its name."""
    assert find_replaced([life("a", 0, heard=100), life("b", 50, port=6001)]) == {}


def test_where_two_died_and_one_came_back_the_other_is_still_down():
    lives = [life("a", 0, heard=100), life("b", 0, heard=110, port=6001)]
    assert find_replaced(lives + [life("c", 200, port=6002)]) == {"b": "c"}
    assert find_replaced(lives + [life("c", 200, port=6000)]) == {"a": "c"}
    again = [life("c", 200, port=6002), life("d", 201, port=6003)]
    assert find_replaced(lives + again) == {"b": "c", "a": "d"}


def test_a_node_that_has_replaced_one_already_does_not_replace_a_second_one():
    """Nothing is left of the first one, and the second one is still down."""
    lives = [life("a", 0, heard=100), life("c", 200)]
    assert find_replaced(lives, {"b": "c"}) == {}
    assert find_replaced(lives + [life("b", 0, heard=90)], {"b": "c"}) == {"b": "c"}


# -- what is shown ---------------------------------------------------------------------


def restarted(world, x, port=6001):
    """Return the rows of a network in which node ``x`` was killed and started again."""
    world.kill(x, "refused", since=300.0)
    new = "99999999-0000-4000-8000-%012d" % x
    rows = []
    for row in world.rows():
        if row.nodeid != world.ids[x]:
            (old,) = [link for link in row.links if link["nodeid"] == world.ids[x]]
            place = "%s:%d" % (old["address"].rpartition(":")[0], port)
            link = dict(old, nodeid=new, address=place, direction="inbound", dial="ok", up_s=200.0)
            row = row._replace(links=row.links + (link,))
        rows.append(row)
    links = tuple(dict(world.link(x, y), direction="outbound", dial="ok") for y in world.others(x))
    return rows + [Links(new, links, name=world.name[x], age=1.0, up_s=200.0)]


def test_a_node_that_came_back_at_another_port_is_no_fault():
    world = FaultyNetwork(6)
    view = View(restarted(world, 2), 180.0)
    assert view.replaced == view.left == {world.ids[2]}
    assert not view.down
    assert world.kinds(restarted(world, 2)) == [("well", [])]


def test_a_node_that_does_not_say_how_long_it_runs_started_before_its_oldest_connection():
    world = FaultyNetwork(6)
    *rows, new = restarted(world, 2)
    links = tuple(dict(link, up_s=150.0) for link in new.links)
    assert View(rows + [new._replace(up_s=None, links=links)], 180.0).replaced == {world.ids[2]}
    links = tuple(dict(link, up_s=900.0) for link in new.links)
    assert View(rows + [new._replace(up_s=None, links=links)], 180.0).down == {world.ids[2]}


def test_where_another_one_was_replaced_the_one_that_was_not_is_down():
    """Nothing is left of that other one, but a peer still knows of it."""
    world = FaultyNetwork(6)
    *rows, new = restarted(world, 2)
    told = [row._replace(replaced={NODE: new.nodeid}) if row.age < 180 else row for row in rows]
    assert View(told + [new], 180.0).down == {world.ids[2]}


def test_a_liar_cannot_hide_that_a_node_is_down():
    """Unless another one of its name lives on its host."""
    world = FaultyNetwork(6)
    world.kill(2, "refused", since=300.0)
    rows = [row._replace(replaced={world.ids[2]: world.ids[1]}) for row in world.rows()]
    assert world.kinds(rows) == [("down", [2])]


def test_the_rows_of_dead_nodes_that_name_each_other_keep_none_of_them_alive():
    """Two that were killed in the same minute: each one's last row is young, and has the other."""
    world = FaultyNetwork(8)
    for x in (2, 5):
        world.kill(x, "refused", since=70.0)
    assert sorted(world.kinds()) == [("down", [2]), ("down", [5])]


def test_a_real_split_is_a_split_even_if_the_other_sides_rows_are_young():
    world = FaultyNetwork(8)
    world.cut(range(3), range(3, 8))
    assert world.kinds() == [("split", list(range(8)))]


# -- what is kept ----------------------------------------------------------------------


def look(node):
    return Judgement(node.survey.exchange.matrix(), node.survey.exchange.stale_after())


@pytest.mark.parametrize("move", [0, 1])
def test_a_network_in_which_every_node_crashed_once_keeps_nothing_of_the_dead(move):
    """At the same port as before, and at another one each time."""
    world = World(40 + move)
    first = ["10.0.0.1:6000", "10.0.0.2:6000"]
    nodes = {number: world.node(number, bootstrap=first) for number in range(1, 13)}
    world.run(30.0)
    assert mesh(nodes.values())
    for number in nodes:
        nodes[number].crash()
        world.run(world.rng.uniform(1.0, 4.0))
        port = 6000 + move if number > 2 else 6000
        nodes[number] = world.node(number, port=port, bootstrap=first)
        world.run(world.rng.uniform(5.0, 40.0))
        for looked_at in (1, number, 12):
            judged = look(nodes[looked_at])
            assert [verdict.kind for verdict in judged.verdicts] == ["well"], judged.in_words()
    world.run(400.0)
    for node in nodes.values():
        assert len(node.survey.rows.all(world.now)) == len(node.survey.reach.all()) == 11
        assert len(node.book) <= 12
        assert node.survey.own_row().replaced == {}
    before = sum(len(node.dials) for node in nodes.values())
    world.run(60.0)
    probes = sum(len(node.dials) for node in nodes.values()) - before
    assert probes <= 1.2 * 12 * 11  # one an interval


@pytest.mark.parametrize("apart", [0.0, 0.3, 5.0])
def test_where_two_nodes_of_one_machine_die_and_one_comes_back_the_other_stays_down(apart):
    """Also after everything about the first one was forgotten."""
    world = World(42)
    nodes = [world.node(number) for number in range(1, 5)]
    pair = [world.node(9, port=port, bootstrap=["10.0.0.1:6000"]) for port in (7000, 7001)]
    world.run(700.0)  # they are missed as long
    assert mesh(nodes + pair)
    for node in pair:
        node.crash()
        world.run(apart)
    world.run(2.0)
    world.node(9, port=7002, bootstrap=["10.0.0.1:6000"])
    late = None
    for moment in range(30):
        world.run(20.0)
        if moment == 20:
            late = world.node(5)  # it has seen nothing of all that
            world.run(20.0)
        downs = []
        for node in nodes + ([late] if late else []):
            view = look(node).view
            downs.append(view.down)
            assert len(view.live) == 5 + (late is not None)
        assert downs == downs[:1] * len(downs), moment  # they all say the same
        assert len(downs[0]) == 1
        assert apart < 1.0 or downs[0] == {pair[0].nodeid}
    assert all(len(node.survey.rows.all(world.now)) == 6 for node in nodes)
    assert all(node.survey.own_row().replaced for node in nodes)


def test_a_buried_node_that_comes_back_as_a_peer_is_believed():
    """It was cut off, and not dead."""
    world = World(43)
    first, second = world.node(1), world.node(2)
    world.run(10.0)
    first.survey.rows.bury(second.nodeid, world.now)
    assert not first.survey.rows.all(world.now)
    world.run(70.0)
    assert [row.nodeid for row in first.survey.rows.all(world.now)] == [second.nodeid]


def test_a_program_that_is_killed_again_and_again_leaves_no_dead_node():
    """Each time at another port.  All are on one host, and have its name."""
    with Program("--port", "0") as first, Program("--port", "0", *to(first)) as second:
        for _ in range(4):
            with Program("--port", "0", *to(first)) as third:
                third.wait_for("peer_up", 2)
                code, said, _ = run_program("check", at(first), "--expect", "3", "--within", "8")
                assert code == 0, said
        with Program("--port", "0", *to(first)) as third:
            third.wait_for("peer_up", 2)
            here = [first, second, third]
            expected = dict.fromkeys((node.nodeid for node in here), "live")
            for node in here:
                wait_until(lambda: states(node) == expected)  # noqa: B023
                code, said, _ = run_program("check", at(node), "--expect", "3", "--within", "8")
                assert code == 0, said


def states(program):
    """What has become of each node that has not left, as that program has it."""
    nodes = json.loads(run_program("matrix", at(program), "--json")[1])["nodes"]
    return {one["nodeid"]: one["state"] for one in nodes if one["state"] != "left"}


def at(program):
    return "127.0.0.1:%d" % program.port


def to(program):
    return ["--bootstrap", at(program), "--probe-interval", "1"]
