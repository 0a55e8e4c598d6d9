"""Nodeids that belong to somebody else, and addresses that were said to be theirs."""

import json

from ...conformity.grammar import new_id

from ..doors import Doors, as_nodes
from ..node import PATIENCE, Node, pause
from ..stranger import connect, gossip, greet, join, keep_awake, name
from ..verdict import attack, holds
from ..world import World, wait_until

TRIES = 4
"""Strangers, each on a host of its own, that try for one nodeid."""


def smallest() -> str:
    """Return a nodeid that wins each tie by having dialed."""
    return "00000000" + new_id()[8:]


def largest() -> str:
    """Return a nodeid that wins each tie by having been dialed."""
    return "ffffffff" + new_id()[8:]


def is_at(node: Node, nodeid: str, host: str) -> bool:
    """True if the node says that its peer of that nodeid is on that host."""
    peers = json.loads(node.get("/status.json")[1].decode())["peers"]
    return any(peer["nodeid"] == nodeid and peer["address"].startswith(host + ":") for peer in peers)


@attack("B5")
def a_dialed_peer_is_displaced(world: World) -> str:
    """Strangers on other hosts dial in with the nodeid of a peer that the node has just dialed."""
    victim, nodeid = Doors([(world.host(), 0)]), smallest()
    world.keep(victim.start(as_nodes({victim.places[0]: nodeid})))
    node = world.node(bootstrap=victim.address())
    took = wait_until(lambda: node.events("rtt"), PATIENCE)
    displaced = 0
    for host in world.hosts(TRIES):
        thief = connect(world, node, host, nodeid)
        thief.send_hello()
        thief.read_for(1.2)  # the page may be a second old
        displaced += not is_at(node, nodeid, victim.places[0][0])
    ended = node.events("peer_down")
    good = took < PATIENCE and not displaced and not ended
    return holds(good, "%d of %d displaced" % (displaced + len(ended), TRIES))


@attack("B5")
def a_peer_that_dialed_is_displaced(world: World) -> str:
    """Strangers answer on other hosts with the nodeid of a peer that has just dialed the node."""
    node = world.node()
    nodeid, host = largest(), world.host()
    victim = keep_awake(join(world, node, host, nodeid))
    thieves = Doors([(thief, 0) for thief in world.hosts(TRIES)])
    world.keep(thieves.start(as_nodes(dict.fromkeys(thieves.places, nodeid))))
    entries = [[thieves.address(number), new_id()] for number in range(TRIES)]
    gossip(world, node, world.host(), *entries)
    wait_until(lambda: len({knock.place for knock in thieves.knocks}) == TRIES, 3.0)
    pause(1.2)
    displaced = not is_at(node, nodeid, host) or bool(victim.end)
    return holds(not displaced, "displaced: %s" % ("yes" if displaced else "no"))


@attack("B5")
def who_says_a_nodeid_first(world: World) -> str:
    """A stranger says a nodeid first and falls silent; the owner of the nodeid must get in."""
    node = world.node()
    nodeid = new_id()
    greet(world, node, world.host(), nodeid)
    owner_host = world.host()

    def is_in() -> bool:
        owner = greet(world, node, owner_host, nodeid)
        for message in owner.messages(1.0):
            if message["msgtype"] in ("getaddr", "bye"):
                break
        return owner.count("getaddr") > 0

    took = wait_until(is_in, 2 * PATIENCE)
    return holds(took < PATIENCE, "the owner is in after %.1f s (ping timeout 2 s)" % took)


@attack("B5", seconds=5)
def two_claim_one_nodeid(world: World) -> str:
    """While a peer is connected, somebody on another host claims its nodeid: an event names both."""
    node = world.node()
    nodeid, here, there = new_id(), world.host(), world.host()
    keep_awake(join(world, node, here, nodeid))
    thief = connect(world, node, there, nodeid)
    thief.send_hello()
    keep_awake(thief)

    def is_told() -> bool:
        told = [json.dumps(event) for event in node.events()]
        return any(nodeid in one and here in one and there in one for one in told)

    took = wait_until(is_told, PATIENCE / 2)
    return holds(took < PATIENCE, "told after %.1f s" % took)


@attack("B5")
def a_thief_is_advertised(world: World) -> str:
    """A bare addr names a thief's door that answers with a peer's nodeid; newcomers ask for that peer."""
    node = world.node()
    home, thief = Doors([(world.host(), 0)]), Doors([(world.host(), 0)])
    nodeid = new_id()
    for doors in (home, thief):
        world.keep(doors.start(as_nodes({doors.places[0]: nodeid})))
    keep_awake(join(world, node, home.places[0][0], nodeid, port=home.places[0][1]))
    liar = gossip(world, node, world.host(), thief.address(), world.host() + ":6000")
    name(liar, [thief.address(), nodeid])
    wait_until(lambda: thief.knocks, 3.0)
    pause(0.5)
    fooled = found = 0
    for host in world.hosts(6):
        newcomer = join(world, node, host)
        told = [entry[0] for entry in newcomer.ask_addresses()]
        fooled += thief.address() in told
        found += home.address() in told
    figure = "%d of 6 newcomers are led to the thief, %d to the peer" % (fooled, found)
    return holds(not fooled and found == 6, figure)


@attack("B6", seconds=8)
def the_bootstrap_is_taken_away(world: World) -> str:
    """A peer says that some connected node lives at the node's own bootstrap address."""
    where = "%s:6000" % world.host()
    node = world.node(bootstrap=where)
    nodeid = new_id()
    keep_awake(join(world, node, world.host(), nodeid))
    gossip(world, node, world.host(), [where, nodeid])
    pause(0.2)
    bootstrap = world.keep(Doors([(where.partition(":")[0], 6000)]).start())
    took = wait_until(lambda: bootstrap.knocks, 2 * PATIENCE)
    return holds(took < 13.0, "dialed after %.1f s (12 s at the most)" % took)
