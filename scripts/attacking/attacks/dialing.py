"""A node as a weapon: strangers have it dial others."""

import time

from ...conformity.grammar import new_id

from ..doors import Doors, slam
from ..node import NAME, NETWORK, pause
from ..stranger import gossip, join, keep_awake, leave, name, row_of
from ..verdict import attack, holds
from ..world import LINK_LOCAL, World, wait_until

PORTS = 60
"""Ports of the victim, each with a listening socket."""


@attack("B9", seconds=7)
def three_nodes_dial_one_victim(world: World) -> str:
    """Strangers name sixty ports of a victim, as addresses and in rows: twenty for each of three nodes."""
    nodes = [world.node() for _ in range(3)]
    host = world.host()
    victim = Doors([(host, 0) for _ in range(PORTS)])
    world.keep(victim.start(slam))
    began = time.monotonic()
    liars = []
    for node in nodes:
        for number in range(world.size(20, 6)):
            entries = [[victim.address(port), new_id()] for port in range(PORTS)]
            liars.append(gossip(world, node, world.host(), *entries))
            up = {"direction": "outbound", "dial": "ok"}
            links = [dict(up, nodeid=nodeid, address=address) for address, nodeid in entries[:30]]
            if number < 3:  # more than 128 nodes would not be looked for
                liars[-1].send_raw(row_of(liars[-1].nodeid, *links, age=0, changes=1))
    pause(world.size(20, 3))
    seconds = time.monotonic() - began
    rate = victim.since(began) / seconds / len(nodes)
    for liar in liars:
        leave(liar)
    pause(1.0)  # a dial that is under way
    over = time.monotonic()
    pause(world.size(10, 2))
    after = victim.since(over)
    bound = 1.0 + 2.0 / seconds
    figure = "%.2f dials a second and node (1 at the most), %d after the liars left" % (rate, after)
    return holds(0 < rate <= bound and not after, figure)


@attack("B9")
def secrets_and_services_are_dialed(world: World) -> str:
    """Strangers name and claim low ports, and the link-local address where clouds keep secrets."""
    node = world.node()
    host = world.host()
    places = [(LINK_LOCAL, 80), (LINK_LOCAL, 6000)] + [(host, port) for port in (22, 80, 443, 1023)]
    victim = world.keep(Doors(places).start())
    allowed = world.keep(Doors([(world.host(), 0)]).start())
    entries = [[victim.address(number), new_id()] for number in range(len(places))]
    liar = gossip(world, node, world.host(), *entries)
    for number in range(len(places)):
        claimant = keep_awake(join(world, node, world.host()))
        name(claimant, [victim.address(number), claimant.nodeid], allowed.address())
    name(liar, *entries)
    took = wait_until(lambda: allowed.knocks, 5.0)  # so there was time
    pause(1.0)
    figure = "%d dials, of %d addresses" % (len(victim.knocks), len(places))
    return holds(took < 5.0 and not victim.knocks, figure)


@attack("B9")
def a_stranger_hears_who_we_are(world: World) -> str:
    """A stranger listens at an address that a peer names or claims, and reads the node's hello."""
    node = world.node()
    doors = world.keep(Doors([(world.host(), 0), (world.host(), 0)]).start())
    liar = gossip(world, node, world.host(), [doors.address(0), new_id()])
    name(liar, [doors.address(1), liar.nodeid], world.host() + ":6000")
    wait_until(lambda: len({place for place, _ in doors.said}) == 2, 5.0)
    said = [line.decode() for _, line in list(doors.said)]
    leaks = [line for line in said if NAME in line or NETWORK in line]
    figure = "name or network in %d of %d first lines" % (len(leaks), len(said))
    return holds(len(said) >= 2 and not leaks, figure)


@attack("B9", seconds=6)
def the_row_is_a_port_scan(world: World) -> str:
    """Strangers claim ports of other hosts as their own, and read in the matrix what answered there."""
    node = world.node()
    victim = world.keep(Doors([(world.host(), 0)]).start(slam))
    spies = []
    for address in (victim.address(), world.host() + ":6000"):  # one is open, one is closed
        spies.append(keep_awake(join(world, node, world.host())))
        name(spies[-1], [address, spies[-1].nodeid])
    wait_until(lambda: victim.knocks, 5.0)
    pause(3.0)
    row = node.row()
    told = sum(row.get(spy.nodeid, {}).get("dial", "unknown") != "unknown" for spy in spies)
    return holds(bool(victim.knocks) and not told, "%d of 2 outcomes are in the row" % told)
