"""Crowds: liars, floods of connections, and many honest nodes behind one address."""

import contextlib
import json
import os
import socket
import tempfile
import threading
import time

from ...conformity.grammar import new_id

from ..doors import Doors, as_nodes
from ..node import PATIENCE, Node, pause
from ..stranger import connect, greet, join, keep_awake, leave, name
from ..verdict import Skipped, attack, holds
from ..world import World, has_ipv6, wait_until


class Flood:
    """Connections from one host, as many as possible or so many a second, that say nothing."""

    def __init__(self, node: Node, host: str, a_second: float = 0.0, held: int = 100) -> None:
        self.count = 0
        self._place, self._host = (node.host, node.port), host
        self._pause, self._held = 1.0 / a_second if a_second else 0.0, held
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        socks = []
        while not self._over.wait(self._pause):
            sock = socket.socket()
            with contextlib.suppress(OSError):
                sock.bind((self._host, 0))
                sock.settimeout(1.0)
                sock.connect(self._place)
                self.count += 1
            socks.append(sock)
            if len(socks) > self._held:
                socks.pop(0).close()
        for sock in socks:
            sock.close()

    def close(self) -> None:
        """End it."""
        self._over.set()
        self._thread.join(5.0)


def lie(world: World, node: Node, liars: int) -> None:
    """Have so many peers, each on its own host, claim five silent addresses each."""
    for host in world.hosts(liars):
        liar = keep_awake(join(world, node, host, port=6000))
        for _ in range(5):
            name(liar, [world.silent(), liar.nodeid])


def time_until_advertised(world: World, node: Node, seconds: float) -> float:
    """Return the seconds until a newcomer's address is advertised; infinity if that takes too long."""
    home, nodeid = Doors([(world.host(), 0)]), new_id()
    world.keep(home.start(as_nodes({home.places[0]: nodeid})))
    asker = keep_awake(join(world, node, world.host()))

    def is_told() -> bool:
        asker.send("getaddr")
        told = [message["peers"] for message in list(asker.received) if message["msgtype"] == "addr"]
        return any([home.address(), nodeid] in peers for peers in told)

    began = time.monotonic()
    keep_awake(join(world, node, home.places[0][0], nodeid, port=home.places[0][1]))
    took = wait_until(is_told, seconds)
    return took if took == float("inf") else time.monotonic() - began


@attack("B10", alone=True)
def liars_keep_a_newcomer_unproven(world: World) -> str:
    """Peers claim five silent addresses each; an honest newcomer waits to be found and advertised."""
    node = world.node()
    liars = world.size(40, 20)
    lie(world, node, liars)
    took = time_until_advertised(world, node, 80.0)
    return holds(took < 12.0, "advertised after %.1f s beside %d liars" % (took, liars))


@attack("B10", seconds=6)
def one_host_fills_the_book(world: World) -> str:
    """Nodes on many ports of one host are found, one after the other; then one on another host."""
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "peers.json")
    node = world.node("--peers-file", path)
    count = world.size(120, 70)
    host = world.host()
    doors = Doors([(host, 0) for _ in range(count)] + [(world.host(), 0)])
    nodeids = {place: new_id() for place in doors.places}
    world.keep(doors.start(as_nodes(nodeids)))
    for first in range(0, count + 1, 24):
        some = doors.places[first : first + 24]
        peers = [join(world, node, place[0], nodeids[place], port=place[1]) for place in some]
        for peer in peers:
            keep_awake(peer)
        wait_until(lambda: {knock.place for knock in doors.knocks}.issuperset(some), 5.0)  # noqa: B023
        before = len(node.events("peer_down"))
        for peer in peers:
            leave(peer)
        wait_until(lambda: len(node.events("peer_down")) >= before + len(peers), 5.0)  # noqa: B023
    node.close()
    with open(path, "rb") as file:
        kept = file.read().decode()
    os.remove(path)
    os.rmdir(folder)
    theirs = sum('"%s:%d"' % place in kept for place in doors.places[:-1])
    other = '"%s:%d"' % doors.places[-1] in kept
    figure = "%d of %d are kept (64 at the most), and the other host %s"
    figure %= (theirs, count, "is" if other else "is not")
    return holds(0 < theirs <= 64 and other, figure)


@attack("B10")
def one_ipv6_network_takes_all_places(world: World) -> str:
    """Connections from as many addresses of one IPv6 /64, none of which says anything."""
    if not has_ipv6():
        raise Skipped("this system has no IPv6")
    node = world.node(host="fd00::1")
    count = world.size(254, 60)
    crowd = [connect(world, node, "fd00:0:0:7::%x" % number) for number in range(1, count + 1)]
    pause(0.5)
    left = 0
    for one in crowd:
        one.sock.settimeout(0.001)
        try:
            left += one.sock.recv(4096) == b"never"
        except socket.timeout:
            left += 1
        except OSError:
            pass
    with join(world, node, "fd00:0:0:8::1"):
        pass
    return holds(left <= 32, "%d of %d have a place (32 at the most)" % (left, count))


@attack("B10")
def strangers_take_every_seat(world: World) -> str:
    """Strangers from as many hosts fill a node of 16 seats; then a node that it knows comes back."""
    home, nodeid = Doors([(world.host(), 0)]), new_id()
    world.keep(home.start(as_nodes({home.places[0]: nodeid})))
    node = world.node("--max-peers", "16", bootstrap=home.address())
    wait_until(lambda: node.events("rtt"), PATIENCE)
    inside = 0
    for host in world.hosts(24):
        stranger = greet(world, node, host)
        for message in stranger.messages(1.0):
            if message["msgtype"] in ("ping", "bye"):
                break
        keep_awake(stranger)
        inside += not stranger.count("bye")
    # Two seats are kept: one of them for peers that the node has dialed.
    known = nodeid in node.row()
    return holds(known and inside <= 14, "strangers got %d of 16 (14 at the most)" % inside)


@attack("B10", alone=True)
def a_flood_keeps_out_a_slow_newcomer(world: World) -> str:
    """Four hosts connect 480 times a second; a newcomer on another one needs 300 ms for its hello."""
    node = world.node()
    floods = [world.keep(Flood(node, host, 120, held=1000)) for host in world.hosts(4)]
    wait_until(lambda: all(flood.count > 50 for flood in floods), PATIENCE)
    tries = world.size(10, 4)
    good = 0
    for host in world.hosts(tries):
        newcomer = connect(world, node, host)
        pause(0.3)
        newcomer.send_hello()
        for message in newcomer.messages(3.0):
            if message["msgtype"] == "getaddr":
                good += 1
                break
        newcomer.sock.close()
    return holds(good == tries, "%d of %d newcomers are in" % (good, tries))


@attack("B10")
def a_flood_takes_threads(world: World) -> str:
    """One host connects as fast as it can, far beyond what one address may hold."""
    node = world.node()
    flood = world.keep(Flood(node, world.host(), held=400))
    tasks = "/proc/%d/task" % node.process.pid
    most, end = 0, time.monotonic() + world.size(5, 2)
    while time.monotonic() < end:
        most = max(most, len(os.listdir(tasks)))
        time.sleep(0.02)
    return holds(most < 80 and flood.count > 100, "%d threads at the most" % most)


@attack("B12")
def many_behind_one_address(world: World) -> str:
    """Forty-one nodes come from one address: 32 fit, and the option that is named makes room for all."""
    found = []
    for options in ((), ("--max-per-ip", "41")):
        node = world.node(*options)
        host, refused, named = world.host(), 0, 0
        for _ in range(41):
            peer = connect(world, node, host)
            peer.send_hello()
            for message in peer.messages(2.0):
                if message["msgtype"] in ("ping", "bye"):
                    break
            byes = [message for message in peer.received if message["msgtype"] == "bye"]
            refused += len(byes)
            named += "max-per-ip" in json.dumps(byes) + node.log_text() if byes else 0
            keep_awake(peer)
        found.append((41 - refused, named))
    (some, named), (everyone, _) = found
    figure = "%d of 41 are in, with the option %d; %d refusals name it" % (some, everyone, named)
    return holds((some, everyone) == (32, 41) and named == 9, figure)


@attack("B13", seconds=4)
def churn_fills_the_log(world: World) -> str:
    """Health checks and scanners connect and close, all the time."""
    node = world.node("--log-level", "info")
    before = node.stdout_bytes + len(node.log_text())
    count, seconds, hosts = 0, world.size(45, 3), world.hosts(20)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with connect(world, node, hosts[count % len(hosts)]) as one:
            if count % 3 == 0:
                one.send_raw(b"GET / HTTP/1.0\r\n\r\n")
        count += 1
        pause(0.002)
    pause(0.3)
    lines = node.log_text().count("\n") + len(node.seen) - 1
    size = node.stdout_bytes + len(node.log_text()) - before
    metrics = node.get("/metrics")[1].decode()
    counted = [line for line in metrics.splitlines() if "inbound_failures_total{" in line]
    total = sum(float(line.split()[-1]) for line in counted)
    figure = "%d connections, %d lines, %.1f KB; %.0f are counted" % (count, lines, size / 1e3, total)
    return holds(lines <= 20 and size < 20000 and total >= 0.9 * count, figure)
