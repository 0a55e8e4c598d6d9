"""Several attacks at the same time, and an honest newcomer in the middle of them."""

import time

from ...conformity.grammar import new_id

from ..doors import Doors, as_nodes
from ..node import PATIENCE
from ..stranger import connect, gossip, join, keep_awake
from ..verdict import attack, holds
from ..world import World, wait_until
from .crowds import Flood, lie, time_until_advertised


@attack("B5, B9, B10", alone=True)
def a_newcomer_beside_all_of_them(world: World) -> str:
    """Thieves of nodeids, liars who have a victim dialed, claims of silence and a flood, all at once."""
    home, nodeid = Doors([(world.host(), 0)]), new_id()
    world.keep(home.start(as_nodes({home.places[0]: nodeid})))
    node = world.node(bootstrap=home.address())
    wait_until(lambda: node.events("rtt"), PATIENCE)
    lie(world, node, world.size(40, 12))
    victim = Doors([(world.host(), 0) for _ in range(30)])
    world.keep(victim.start())
    for _ in range(world.size(20, 5)):
        named = [[victim.address(number), new_id()] for number in range(30)]
        gossip(world, node, world.host(), *named)
    world.keep(Flood(node, world.host(), a_second=120))
    for host in world.hosts(4):
        thief = connect(world, node, host, nodeid)
        thief.send_hello()
        keep_awake(thief)
    waits = []
    for host in world.hosts(world.size(5, 2)):
        began = time.monotonic()
        with join(world, node, host):
            waits.append(time.monotonic() - began)
    told = time_until_advertised(world, node, 80.0)
    figure = "let in after %.2f s at the most, advertised after %.1f s" % (max(waits), told)
    return holds(max(waits) < 3.0 and told < 15.0, figure)
