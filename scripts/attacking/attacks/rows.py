"""Rows: long ones, many of them, and what they say about nodes that nobody has ever met."""

import socket
import threading
import time
from typing import Any, Dict, List

from ...conformity.grammar import encode, new_id
from ...conformity.node import make_buffers_small
from ...conformity.peer import Peer

from ..doors import Doors, as_nodes
from ..node import NAME, NETWORK, PATIENCE, Node, pause
from ..stranger import connect, join, keep_awake, row_of
from ..verdict import attack, holds
from ..world import World, wait_until

MAX_MB = 150
"""Memory of a node under everything at once, at its peak."""

REAL = (NAME + ":", "h2:", "h3:")
"""How verdicts about real nodes begin."""

HARMLESS = ("well", "slow", "slow-pair", "late", "loss")
"""Kinds of verdict with which the network is ok.  This machine may well be busy."""

VERDICTS_WITHIN = 4.0
"""Seconds for which lies are repeated and looked for in the verdicts."""


def bomb(size: int, known_only: bool) -> bytes:
    """Return a row of about ``size`` bytes, made of fields that a node knows, or of others."""
    if not known_only:
        return row_of(new_id(), junk="x" * (size - 120), age=0)
    links: List[Dict[str, Any]] = []
    while len(links) < 250 and len(row_of(new_id(), *links)) < size - 300:
        more = {"name": "n" * 60, "address": "10.0.0.1:6000", "direction": "outbound", "dial": "ok"}
        links += [dict(more, nodeid=new_id(), rtt_ms=1.5, up_s=2.5) for _ in range(10)]
    return row_of(new_id(), *links, name="n" * 60, age=0)


def send_slowly(peer: Peer, lines: List[bytes]) -> threading.Thread:
    """Send lines as fast as the node reads them, on a thread that ends when it has read them all."""

    def send() -> None:
        peer.sock.settimeout(60.0)
        before = peer.count("pong")
        try:
            for line in [*lines, encode("ping")]:
                peer.sock.sendall(line)
        except OSError:
            return
        wait_until(lambda: peer.end or peer.count("pong") > before, 60.0)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return thread


def deaf_guest(world: World, node: Node) -> None:
    """Ask for all rows once, and read nothing of the answer."""
    sock = socket.socket()
    world.keep(sock)
    make_buffers_small(sock)
    sock.bind((world.host(), 0))
    sock.connect((node.host, node.port))
    guest = Peer(sock, PATIENCE, NETWORK)
    guest.send_hello(probe=True)
    guest.expect("hello")
    guest.send("getlinks")


@attack("B7", alone=True, seconds=5)
def rows_fill_the_memory(world: World) -> str:
    """Eight peers send long rows, 48 guests ask for all and read nothing, and the page is asked for."""
    node = world.node()
    each = world.size(64, 14)
    senders = []
    for number in range(8):
        peer = keep_awake(join(world, node, world.host()))
        lines = [bomb(62000, known_only=number % 2 == 0) for _ in range(each)]
        senders.append(send_slowly(peer, lines))
    for sender in senders:
        sender.join(60.0)
    for _ in range(48):
        deaf_guest(world, node)
    for path in ("/page.json", "/matrix.json", "/metrics", "/cluster"):
        node.get(path)
    with join(world, node, world.host()):
        peak = node.peak_mb()
    return holds(peak < MAX_MB, "%.0f MB at the peak (%d at the most)" % (peak, MAX_MB))


@attack("B7", seconds=8)
def a_slow_line_asks_for_all_rows(world: World) -> str:
    """An honest peer takes its answer to getlinks at 200 KB a second and answers each ping."""
    node = world.node("--ping-timeout", "8")
    count = world.size(140, 50)
    rows = [bomb(world.size(56000, 28000), known_only=True) for _ in range(count)]
    tellers = []
    for number in range(8):
        teller = keep_awake(join(world, node, world.host()))
        tellers.append(send_slowly(teller, rows[number::8]))
    for teller in tellers:
        teller.join(60.0)
    slow = connect(world, node, world.host(), room=32 * 1024)
    slow.send_hello()
    slow.expect("ping")
    slow.send("getlinks")
    began, taken = time.monotonic(), 0
    for message in slow.messages(90.0):
        taken += len(encode(**message))
        pause(max(0.0, taken / 200e3 - (time.monotonic() - began)))
        if message.get("end"):
            break
    took = time.monotonic() - began
    good = slow.count("links", end=True) > 0 and not slow.end
    ending = "still connected" if good else slow.story(len(slow.received) - 2)
    figure = "%.1f MB in %.0f s, then %s" % (taken / 1e6, took, ending)
    return holds(good and taken > 0.5e6, figure)


def first_of(seen: Dict[str, Any]) -> str:
    """Return the first sentence about the network, shortened."""
    return str(seen["verdicts"][0]["text"])[:120] if seen["verdicts"] else ""


def mesh(world: World, *others: str) -> List[Node]:
    """Return a node and honest others that are its peers, all of it well."""
    node = world.node()
    nodes = [node] + [world.node("--name", name, bootstrap=node.address) for name in others]
    wait_until(lambda: all(len(one.row()) == len(others) for one in nodes), PATIENCE)
    wait_until(lambda: node.cluster()[0] == 200, PATIENCE)
    return nodes


@attack("B8")
def invented_nodes_cannot_dial_us(world: World) -> str:
    """One peer sends 41 rows of nodes that it made up: none of them can dial this one.

    That nobody can dial them is true, and may be said.
    """
    return lies_about(world, vouched=True)


@attack("B8", seconds=7)
def rows_for_which_nobody_vouches(world: World) -> str:
    """One peer sends the same rows, and not even its own says that it knows those nodes."""
    return lies_about(world, vouched=False)


def lies_about(world: World, vouched: bool) -> str:
    """Have invented nodes say that they cannot dial a real one, and look for that in its verdicts."""
    node = mesh(world, "h2", "h3")[0]
    liar = keep_awake(join(world, node, world.host()))
    ghosts = [new_id() for _ in range(41)]
    lied_about = {liar.nodeid, *ghosts}
    up = {"direction": "outbound", "dial": "ok", "address": "10.0.0.1:6000"}
    links = [dict(up, nodeid=ghost) for ghost in ghosts] if vouched else []
    said = row_of(liar.nodeid, *links, age=0, changes=1)
    down = {"nodeid": node.nodeid, "direction": "none", "dial": "timeout", "name": NAME}
    rows = [row_of(ghost, down, dict(up, nodeid=liar.nodeid), age=0) for ghost in ghosts]
    bad = ""
    end = time.monotonic() + VERDICTS_WITHIN
    while time.monotonic() < end and not bad:
        send_slowly(liar, [said, *rows]).join(10.0)
        pause(0.3)
        seen = node.cluster()[1]
        about = [one for one in seen["verdicts"] if one["kind"] not in HARMLESS]
        # A real node may be named as one that cannot reach an invented one: that is true.
        wrong = [one for one in about if one["text"].startswith(REAL) or not lied_about & set(one["nodes"])]
        bad = str(wrong[0]["text"])[:120] if wrong else ""
        if not vouched and (about or seen["nodes"] != 4):
            bad = bad or "%d nodes: %s" % (seen["nodes"], [one["text"][:80] for one in about])
    return holds(not bad, bad or "no verdict about a real node, of %d nodes" % seen["nodes"])


@attack("B8", seconds=7)
def ghosts_bury_an_outage(world: World) -> str:
    """Peers say that they are connected to 254 nodes that are not there; then a real node dies."""
    node, _, dying = mesh(world, "h2", "h3")
    up = {"direction": "outbound", "dial": "ok"}
    place = "10.99.250.%d:6000"
    ghosts = [dict(up, nodeid=new_id(), address=place % (n % 250)) for n in range(254)]
    for number in range(9):
        liar = keep_awake(join(world, node, world.host()))
        theirs = ghosts[number * 30 : number * 30 + 30]
        down = [{"nodeid": one["nodeid"], "direction": "none", "dial": "refused"} for one in ghosts]
        rows = [row_of(liar.nodeid, *theirs, age=0, changes=1)]
        rows += [row_of(one["nodeid"], *down[:200], age=0) for one in theirs[:3]]
        send_slowly(liar, rows).join(10.0)
    pause(0.5)
    dying.kill()

    took = wait_until(lambda: first_of(node.cluster()[1]).startswith("h3"), 2 * PATIENCE)
    pause(1.5)
    status, seen = node.cluster()
    figure = "the dead node is named first after %.1f s, of %d; then first: %s"
    figure %= (took, len(seen["verdicts"]), first_of(seen))
    return holds(took < 2 * PATIENCE and status == 503 and first_of(seen).startswith("h3"), figure)


@attack("B8", minutes=5.0)
def nodes_come_for_a_moment_and_vanish(world: World) -> str:
    """Sixty nodes that can be dialed are connected for two seconds, and vanish without a goodbye."""
    node = mesh(world, "h2")[0]
    doors = Doors([(host, 0) for host in world.hosts(world.size(60, 10))])
    nodeids = {place: new_id() for place in doors.places}
    world.keep(doors.start(as_nodes(nodeids)))
    peers = []
    for place in doors.places:
        peers.append(join(world, node, place[0], nodeids[place], port=place[1]))
        keep_awake(peers[-1])
    wait_until(lambda: len({knock.place for knock in doors.knocks}) == len(peers), 2 * PATIENCE)
    pause(2.0)
    doors.shut()
    for peer in peers:
        peer.sock.close()
    noticed = wait_until(lambda: node.cluster()[0] == 503, PATIENCE)
    forgotten = wait_until(lambda: node.cluster()[0] == 200, 60 * 12)
    figure = "noticed after %.1f s, forgotten after %.0f s" % (noticed, forgotten)
    return holds(noticed < PATIENCE and forgotten < 60 * 12, figure)
