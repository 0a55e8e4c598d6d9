"""A simulated network: overlays on a made-up clock, with dice from one seed and links of two objects."""

import heapq
import json
import random

from p2p_plain.common.address import Address
from p2p_plain.common.config import Config
from p2p_plain.common.errors import DialFailed, PeerLeft, Refused
from p2p_plain.common.events import Events
from p2p_plain.monitor.survey import Survey
from p2p_plain.node import messages
from p2p_plain.node.address_book import AddressBook
from p2p_plain.node.connector import DIAL_TIMEOUT
from p2p_plain.node.hooks import Hooks
from p2p_plain.node.lateness import Lateness
from p2p_plain.node.myself import Myself
from p2p_plain.node.overlay import Overlay
from p2p_plain.node.parts import Parts
from p2p_plain.node.peer import Link
from p2p_plain.node.peer_table import PeerTable

TICK = 0.2


class World:
    """A clock, dice, and what is going to happen when."""

    def __init__(self, seed):
        self.now = 1000.0
        self.rng = random.Random(seed)
        self.towns = {}
        self.cut = set()
        """These are cut off from all others."""
        self.broken = set()
        """These two from each other."""
        self.balancers = {}
        """Addresses that lead to the nodes of a list in turn."""
        self.deaf = set()
        """These get no connections, but can make some."""
        self.one_way = set()
        """Of each of these pairs the first cannot dial the second."""
        self.forgetful = set()
        """Between these two something forgets connections without traffic for ``forgets_after``."""
        self.forgets_after = 30.0
        self.resets = False
        """True if it then answers with a reset, and not with silence."""
        self.lasts = {}
        """By pair (a frozenset): seconds after which every connection is reset, traffic or not."""
        self._queue = []
        self._count = 0

    def clock(self):
        return self.now

    def later(self, seconds, function, *args):
        self._count += 1
        heapq.heappush(self._queue, (self.now + seconds, self._count, function, args))

    def run(self, seconds):
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, _, function, args = heapq.heappop(self._queue)
            function(*args)
        self.now = end

    def stand_still(self, seconds):
        """Time passes, and nobody does anything: the whole process was suspended."""
        self.now += seconds
        self._queue = [(at + seconds, n, f, args) for at, n, f, args in self._queue]

    def node(self, number, bare=False, port=6000, nodeid=None, **settings):
        settings.setdefault("bootstrap", ["10.0.0.%d:6000" % (number - 1)] if number > 1 else [])
        node = SimulatedNode(self, number, settings, bare, port, nodeid)
        self.towns[node.address] = node
        return node

    def reachable(self, one, other):
        if {one, other} == self.broken:
            return False
        return not (one in self.cut) ^ (other in self.cut)


class SimulatedNode:
    """An overlay with everything around it played."""

    def __init__(self, world, number, settings, bare=False, port=6000, nodeid=None):
        self.world = world
        self.address = Address("10.0.0.%d" % number, port)
        self.calls_from = self.address.host
        config = Config(**settings)
        self.told = []
        events = Events(world.clock)
        events.emit = self.emit
        nodeid = nodeid or messages.new_uuid(world.rng)
        myself = Myself(nodeid, "n%d" % number, "test", "", port, None, (), (self.address,))
        self.table = PeerTable(myself.nodeid, config.max_peers, world.clock, self.emit)
        self.book = AddressBook(world.rng)
        self.survey = None if bare else Survey(config, events, world.clock, world.rng)
        """A bare node is the article's: it has no monitor."""
        self.overlay = Overlay(
            Parts(
                config=config,
                myself=myself,
                table=self.table,
                book=self.book,
                events=events,
                dial=self.dial,
                hooks=self.survey or Hooks(),
                lateness=Lateness(TICK, world.now),
                clock=world.clock,
                rng=world.rng,
                tick_interval=TICK,
            )
        )
        self.nodeid = myself.nodeid
        self.dials = []
        self.alive = True
        self.book.add_bootstrap(config.bootstrap, world.now)
        self.overlay.start()
        world.later(TICK, self.tick)

    def emit(self, event, **fields):
        self.told.append((event, fields))

    def count(self, name):
        return len(self.events(name))

    def events(self, name):
        return [fields for told, fields in self.told if told == name]

    def tick(self):
        if self.alive:
            self.overlay.tick()
            self.world.later(TICK, self.tick)

    def dial(self, order):
        self.dials.append((self.world.now, order.address, order.probe))
        self.world.later(self.world.rng.uniform(0.001, 0.02), self.connect, order)

    def connect(self, order):
        other = self.world.towns.get(order.address)
        behind = self.world.balancers.get(order.address)
        if behind:
            behind.append(behind.pop(0))
            other = behind[-1]
        if not self.alive:
            return
        lost = other is not None and not self.world.reachable(self, other)
        if lost or other in self.world.deaf or (self, other) in self.world.one_way:
            self.world.later(order.timeout or DIAL_TIMEOUT, self.fail, order, "timeout")
            return
        if other is None or not other.alive:
            self.fail(order, "refused")
            return
        ours = SimulatedLink(self, order.address, Address("10.0.0.99", 40000), order)
        theirs = SimulatedLink(other, Address(self.calls_from, 40000), order.address)
        ours.other, theirs.other = theirs, ours
        limit = self.world.lasts.get(frozenset((self, other)))
        if limit is not None:
            self.world.later(limit, ours.reset)
            self.world.later(limit, theirs.reset)
        ours.send(self.overlay.first_line(ours))

    def fail(self, order, reason):
        if self.alive:
            self.overlay.dial_failed(order, DialFailed(reason))

    def peers(self):
        return {peer.nodeid for peer in self.table.up()}

    def crash(self):
        self.alive = False
        del self.world.towns[self.address]
        for peer in list(self.table.up()):
            peer.link.end("closed")


class SimulatedLink(Link):
    """One end of a connection; lines arrive at the other end a little later, in order."""

    def __init__(self, node, remote, local, order=None):
        super().__init__(remote, order)
        self.address = local
        self.node = node
        self.open = True
        self.other = None
        self.said = []
        self.passed_at = node.world.now
        """When traffic last reached this end."""

    def local(self):
        return self.address

    def send(self, line, urgent=False):
        if self.open:
            for one in line.splitlines():
                self.said.append(json.loads(one.decode()))
                # A constant delay keeps the order; that is all TCP promises, too.
                self.node.world.later(0.005, self.other.arrive, one)
        return self.open

    def arrive(self, line):
        if not self.open or not self.node.alive:
            return
        if not self.node.world.reachable(self.node, self.other.node):
            return
        if self.forgotten():
            if self.node.world.resets:
                self.other.reset()
            return
        self.passed_at = self.node.world.now
        self.heard = True
        hooks = self.node.overlay.hooks
        try:
            unparsed = hooks.unparsed_prefix is not None and line.startswith(hooks.unparsed_prefix)
            if not (unparsed and hooks.take_unparsed(self, line)):
                for answer in self.node.overlay.receive(self, messages.parse(line)):
                    self.send(answer)
            self.heard_at = self.node.world.now
        except PeerLeft as left:
            self.end(left.reason)
        except Refused as refused:
            for word in refused.last_words:
                self.send(word)
            self.close(refused.reason, refused.detail)

    def close(self, reason, detail=""):
        if self.open:
            self.send(messages.encode_bye(reason, detail))
            self.end(reason)

    def end(self, reason):
        if self.open:
            self.open = False
            self.node.overlay.closed(self, reason)
            self.node.world.later(0.006, self.other.hang_up)

    def hang_up(self):
        if self.node.world.reachable(self.node, self.other.node) and not self.forgotten():
            self.end("closed")

    def forgotten(self):
        world, now = self.node.world, self.node.world.now
        idle = now - max(self.passed_at, self.other.passed_at) > world.forgets_after
        return idle and {self.node, self.other.node} == world.forgetful

    def reset(self):
        """Something on the way ends the connection; nobody tells the other end."""
        if self.open:
            self.open = False
            self.node.overlay.closed(self, "closed")


def mesh(nodes):
    everyone = {node.nodeid for node in nodes}
    return all(node.peers() == everyone - {node.nodeid} for node in nodes)


def lonely_pair(seed=0, **settings):
    world = World(seed)
    first, second = world.node(1, **settings), world.node(2, **settings)
    world.run(5.0)
    assert mesh([first, second])
    return world, first, second


def raw_link(node, nodeid, port=None, host="10.0.0.77", **fields):
    """A link that a node has accepted, its other end deaf; greeted."""
    link = SimulatedLink(node, Address(host, 40000), node.address)
    link.other = SimulatedLink(node, node.address, Address(host, 40000))
    link.other.other, link.other.open = link, False
    hello = dict(fields, msgtype="hello", nodeid=nodeid)
    if port:
        hello["port"] = port
    link.arrive(json.dumps(hello).encode())
    link.arrive(messages.PONG[:-1])
    return link


def say(link, **message):
    link.arrive(json.dumps(message).encode())
