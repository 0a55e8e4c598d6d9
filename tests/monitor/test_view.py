"""The facts that everyone's rows give together: which nodes there are, and who reaches whom."""

import uuid

import pytest

from p2p_plain.common.outcomes import FAILURES
from p2p_plain.monitor.row_messages import MAX_LINKS
from p2p_plain.monitor.view import Fate, MOST_STALE_AFTER, View
from tests.support.faulty_network import STALE, World, random_world, sparse

# -- directions ------------------------------------------------------------------------


@pytest.mark.parametrize("dial", FAILURES)
@pytest.mark.parametrize("dialer", [0, 1])
def test_a_failed_dial_is_down_even_while_a_connection_stands(dial, dialer):
    world = World(4)
    world.dialed_by(dialer, 1 - dialer)
    world.dial[0, 1] = dial
    assert world.state(0, 1) == "down"
    assert world.state(1, 0) == "up"


def test_an_old_row_says_nothing_about_now():
    world = World(6)
    world.age[2] = STALE + 1
    for y in world.others(2):
        world.dial[2, y] = "refused"
        world.dialed_by(*((y, 2) if y % 2 else (2, y)))
        assert world.state(2, y) == "stale"
        assert world.state(y, 2) == "up"
    world.age[2] = STALE
    assert world.state(2, 3) == "down"


def asked(world, x=0):
    """The rows as node ``x`` has them: its own first, and of the age 0."""
    world.age[x] = 0.0
    return [world.row(x)] + [world.row(y) for y in world.others(x) if y not in world.silent]


def test_each_row_is_current_for_as_long_as_it_says():
    """A node that measures once a minute is not stale to one that measures every five seconds."""
    world = World(4)
    world.stale_after[2] = 15.0
    for ours in (15.0, STALE):
        world.stale_after[0] = ours
        for x, limit in ((1, STALE), (2, 15.0)):
            for age, state in ((limit, "up"), (limit + 1, "stale")):
                world.age.update({1: 1.0, 2: 1.0, 3: 1.0})
                world.age[x] = age
                view = View(asked(world), ours)
                assert view.directions[world.ids[x], world.ids[3]].state == state
                assert view.stale_after_of(world.ids[x]) == limit


def test_a_row_that_does_not_say_it_is_current_for_as_long_as_the_asked_nodes_own():
    world = World(4)
    world.be_older(2)
    world.age[2] = 20.0
    for ours, state in ((15.0, "stale"), (30.0, "up")):
        view = View(asked(world), ours)
        assert view.directions[world.ids[2], world.ids[3]].state == state


def test_a_row_that_comes_second_hand_may_be_as_old_as_the_answers_that_bring_it():
    """The asked node asks once a minute for the rows of nodes that are no peers of its own."""
    world = World(4)
    world.stale_after[2] = 15.0
    world.age[2] = 50.0
    assert world.ids[2] not in View(asked(world), STALE).current
    world.disconnect(0, 2)
    assert world.ids[2] in View(asked(world), STALE).current


def test_a_row_of_a_node_that_had_few_peers_then_holds_until_the_next_among_many():
    """Among 101 nodes rows are five seconds apart at least, whatever the ping interval."""
    world = World(101)
    world.stale_after[2] = 3.0
    assert View(asked(world), STALE).stale_after_of(world.ids[2]) == 15.0


@pytest.mark.parametrize("ours, limit", [(15.0, MOST_STALE_AFTER), (1e6, 1e6)])
def test_no_row_holds_for_ever(ours, limit):
    world = World(4)
    world.stale_after[2] = 1e300
    view = View(asked(world), ours)
    assert view.stale_after_of(world.ids[2]) == limit


def test_a_direction_without_dial_and_connection_is_unknown_and_not_down():
    world = World(4)
    world.disconnect(0, 1)
    for pair in ((0, 1), (1, 0)):
        world.dial[pair] = "unknown"
        assert world.state(*pair) == "unknown"


def test_before_the_first_dial_a_standing_connection_counts_for_the_end_that_made_it():
    world = World(4)
    world.dial.update({(0, 1): "unknown", (1, 0): "unknown"})
    assert world.state(0, 1) == "up"
    assert world.state(1, 0) == "unknown"
    world.silent = {0}
    assert world.state(0, 1) == "up"


def test_the_targets_row_alone_can_show_that_the_source_dialed_it():
    """Rows come one by one: the source's may not have the dial yet."""
    world = World(4)
    rows = world.rows()
    for row in rows:
        for link in row.links:
            if {row.nodeid, link["nodeid"]} == {world.ids[0], world.ids[1]}:
                link.update(direction="inbound", dial="unknown", rtt_p50_ms=7.0, rtt_ms=7.0)
    found = world.direction(0, 1, rows)
    assert (found.state, found.connected, found.p50_ms, found.dial) == ("up", True, 7.0, "unknown")


def test_of_two_rows_the_younger_one_decides_whether_a_connection_stands():
    world = World(4)
    world.dial.update({(0, 1): "unknown", (1, 0): "unknown"})
    rows = {i: world.row(i) for i in range(4)}
    world.disconnect(0, 1)
    rows[1] = world.row(1)
    for age, state in ((rows[1].age + 1, "unknown"), (rows[1].age / 2, "up")):
        rows[0] = rows[0]._replace(age=age)
        assert world.state(0, 1, rows.values()) == state


def test_a_full_row_does_not_deny_the_connections_that_it_had_no_room_for():
    world = World(MAX_LINKS + 2)
    rows = {i: world.row(i) for i in range(len(world))}
    rows[1] = rows[1]._replace(age=2.0)
    for room, stands in ((MAX_LINKS, True), (MAX_LINKS - 1, False)):
        links = tuple(world.link(0, b) for b in world.others(0, 1)[:room])
        rows[0] = rows[0]._replace(age=1.0, links=links)
        assert world.direction(1, 0, rows.values()).connected is stands


@pytest.mark.parametrize(
    "link",
    [
        {},
        {"direction": "inbound", "dial": "ok"},
        {"direction": "outbound", "dial": "unknown", "rtt_p50_ms": None, "jitter_ms": None},
        {"direction": "inbound", "rtt_ms": 10**20},
    ],
)
def test_an_odd_row_spoils_nothing_of_the_others(link):
    """It is as sparse as the wire allows, names each node twice, and itself."""
    world = World(4)
    odd = tuple(dict(link, nodeid=nodeid) for nodeid in world.ids) * 2
    rows = [world.row(0)._replace(links=odd)] + [world.row(i) for i in (1, 2, 3)]
    assert world.state(1, 2, rows) == "up"
    assert (world.ids[0], world.ids[0]) not in world.view(rows).directions
    assert world.verdicts(rows)
    assert world.summary(rows).nodes == 4


# -- nodes -----------------------------------------------------------------------------


def test_one_dead_node_leaves_the_facts_about_the_others():
    world = World(6)
    world.kill(2)
    found = world.summary()
    assert (found.nodes, found.current) == (6, 5)
    assert (found.up, found.down, found.unknown) == (20, 5, 5)
    assert found.known == 25
    assert found.p50_ms < 1


def test_a_refused_dial_overtakes_a_row_that_is_not_yet_old():
    world = World(6)
    world.kill(2, "refused", since=70.0)
    assert world.state(2, 3) == "stale"


def test_a_liar_cannot_take_away_another_nodes_row():
    world = World(6)
    world.age[1] = 0.0
    world.dial[1, 2] = "refused"
    world.disconnect(1, 2)
    assert world.state(2, 3) == "up"
    assert world.sentences()[0].startswith("n1 -> n2 refused: ")


def test_a_stranger_cannot_invent_nodes():
    world = World(6)
    row = world.row(2)
    ghosts = tuple(
        {"nodeid": str(uuid.UUID(int=i)), "name": "ghost", "dial": "refused"} for i in range(200)
    )
    rows = [world.row(a) for a in world.others(2)] + [row._replace(links=row.links + ghosts)]
    assert world.kinds(rows) == [("well", [])]
    assert world.summary(rows).nodes == 6


@pytest.mark.parametrize("age", [100.0, 1000.0])
def test_a_node_that_said_goodbye_is_no_fault(age):
    """The others have forgotten it; its last row stays for a while."""
    world = World(6)
    rows = [world.row(2)._replace(age=age)]
    for a in world.others(2):
        row = world.row(a)
        links = tuple(link for link in row.links if link["nodeid"] != world.ids[2])
        rows.append(row._replace(links=links))
    (sentence,) = world.sentences(rows)
    assert sentence.startswith("5 nodes, 20 of 20 directions up, ")
    assert "left" not in sentence  # anyone can send a row of a node that nobody knows


def test_a_restarted_node_is_no_fault_and_keeps_its_name():
    """It has another nodeid, and whoever dials the old one finds another node there."""
    world = World(6)
    world.kill(2, "wrong-peer")
    world.name[3] = world.name[2]
    (sentence,) = world.sentences()
    assert sentence.startswith("5 nodes, 20 of 20 directions up, ")
    assert sentence.endswith(", 1 left")
    assert world.view().label[world.ids[3]] == "n2"
    assert world.view().replaced == {world.ids[2]}


def test_the_last_version_does_not_know_another_node_from_another_program():
    """So its word counts only where no newer node has tried."""
    world = World(6)
    world.kill(2, "reset")
    for y in world.others(2):
        world.why[y, 2] = "no-node"
    world.dial[0, 2] = "wrong-peer"
    del world.why[0, 2]
    world.probe_interval[0] = None
    assert world.view().fate[world.ids[2]] == Fate.DOWN
    world.probe_interval[0] = 60.0
    assert world.view().fate[world.ids[2]] == Fate.LEFT



def test_a_node_of_the_article_without_rows_is_known_by_its_connections():
    world = World(4)
    world.silent = {3}
    for y in range(3):
        world.dial[y, 3] = "unknown"
        world.dialed_by(3, y)
    (sentence,) = world.sentences()
    assert sentence.startswith("4 nodes, 9 of 9 known directions up, 3 unknown")


# -- counts ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_the_counts_add_up_whatever_is_wrong(seed):
    world, _ = random_world(seed)
    view, found = world.view(), world.summary()
    assert found.known + found.unknown == found.nodes * (found.nodes - 1)
    states = [direction.state for direction in view.directions.values()]
    assert (states.count("up"), states.count("down")) == (found.up, found.down)


@pytest.mark.parametrize("count", [130, 300])
def test_in_a_large_network_missing_links_are_unknown_and_not_down(count):
    world = sparse(count, 16, 1)
    found = world.summary()
    assert (found.down, found.up) == (0, 2 * len(world.dialed))
    assert found.up + found.unknown == count * (count - 1)


# -- labels ----------------------------------------------------------------------------


def test_two_nodes_of_the_same_name_get_a_part_of_their_nodeids():
    world = World(6)
    world.name = dict.fromkeys(range(6), "same")
    label = world.view().label
    assert label == {nodeid: "same (%s)" % nodeid[:4] for nodeid in world.ids}


def test_a_node_without_a_name_goes_by_its_nodeid():
    world = World(6)
    world.name[0] = None
    assert world.view().label[world.ids[0]] == world.ids[0][:8]


def test_even_nodeids_that_begin_alike_get_labels_of_their_own():
    world = World(4)
    world.ids = ["01234567-89ab-4cde-8f01-%012x" % i for i in range(4)]
    world.name = dict.fromkeys(range(4), "same")
    assert len(set(world.view().label.values())) == 4


def test_a_name_cannot_imitate_the_label_of_another():
    world = World(4)
    world.name = {0: "same", 1: "same", 2: "same (%s)" % world.ids[0][:4], 3: "n3"}
    assert len(set(world.view().label.values())) == 4
