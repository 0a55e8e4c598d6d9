"""Scenes 1 to 5: how nodes meet.  One listens, is dialed, is heard of, dials itself; and a tie."""

import functools
import itertools

from ..common.words import milliseconds
from ..node import connector
from ..node.address_book import AddressBook
from ..node.claims import Claims
from ..node.codec import LineSplitter
from ..node.discovery import Discovery
from ..node.listener import Listener
from ..node.membership import Membership
from ..node.myself import Myself
from ..node.overlay import Overlay
from ..node.peer import INBOUND, OUTBOUND
from ..node.peer_table import PeerTable
from ..terminal.event_lines import SHORT_ID
from .cast import kind, message_of
from .guide import Guide, Unexpected


def listening(guide: Guide) -> None:
    """Alpha starts and waits at a port for others to call."""
    guide.say("""
        A *socket* is one end of a connection between two programs. A program uses it much like an
        open file. A *listening socket* is different: it carries no data. It waits at a *port*, a
        number from 1 to 65535, for other programs to call.

        We start a node, alpha, on 127.0.0.1, the address that every machine uses for itself. We ask
        for port 0, which means any free port.
        """)
    guide.pause()
    alpha = guide.start("alpha")
    guide.report(alpha, "listening")
    guide.say(f"""
        A node reports what happens to it as *events*, like this one. The system has chosen port
        {alpha.node.port}. alpha now has these threads: {", ".join(alpha.threads())}. The listener
        thread sleeps in accept() until a program calls. Then accept() returns a new socket for that
        caller. The listener starts a thread that talks there, and sleeps again.

        alpha has {alpha.connections()} connections. Its *peers* are the nodes that it is connected
        with. Its *address book* holds the addresses that it knows:
        """)
    guide.peers(alpha)
    guide.book(alpha)
    guide.pause()
    guide.say("A listening socket, and the sockets that come out of it:")
    guide.draw("A listening socket")
    guide.pause()
    guide.read(Listener.__init__, Listener.get_request, Listener.process_request)
    guide.so("A listening socket carries no data. It gives each caller a new socket.")


def dialing(guide: Guide) -> None:
    """Beta dials alpha: what both send first, from which port, and whether it is true."""
    alpha = guide.actor("alpha")
    guide.say(f"""
        A second node, beta, starts with one address, alpha's: {alpha.address}. (On the command line
        that is --bootstrap.) beta *dials* this address. First three packets cross: beta's system asks
        for a connection, alpha's system agrees, and beta's system confirms. The programs see none of
        these packets. connect() returns in beta, and accept() in alpha. Now there is a *connection*,
        two streams of bytes, one in each direction.

        The nodes send text on it, one message a line, in JSON. You will see it as beta does: seconds
        since the tour began, the thread, the other end, > for sent or < for received, the line.
        <beta> stands for beta's nodeid, which is long. A line that does not fit ends with "...".
        """)
    guide.pause()
    beta = guide.start("beta", bootstrap=[alpha.address])
    kinds, what = "hello addr getaddr ping pong", "alpha and beta answer each other's ping"

    def both_answered() -> object:
        return beta.reported("rtt") and alpha.reported("rtt") and beta.wire(">", "pong")

    guide.follow(beta, alpha.address, kinds, what, both_answered)
    received = beta.wire("<", peer=alpha.address)
    welcome = next(word for word in map(kind, received) if word not in ("hello", "addr"))
    guide.say(f"""
        Both send *hello* first, the dialer immediately. A hello is not yet a welcome: a node
        without room sends one too, before it closes. So beta counted alpha as a peer from the first {welcome}
        on. addr carries addresses that can be dialed, getaddr asks for more of them, and a pong
        answers a ping. The time between ping and pong is the *round trip*:
        {milliseconds(beta.reported("rtt")[0]["rtt_ms"])}.
        """)
    guide.pause()
    guide.say("""
        TCP carries bytes, not messages. So each message ends with a newline, and the reader keeps
        the beginning of a line until the rest arrives:
        """)
    guide.draw("Bytes and lines")
    guide.read(LineSplitter.feed)
    guide.pause()
    guide.say("This is beta's hello, field by field:")
    guide.fields(beta.wire(">", "hello", alpha.address)[0])
    guide.read(connector.dial, Myself.hello, Membership.accepted, Membership.confirmed)
    guide.pause()

    observed = message_of(received[0])["observed"]
    guide.wait_for("alpha sees beta there", lambda: alpha.wire("<", "hello", observed))
    guide.say(f"""
        beta listens at {beta.address}. But alpha saw the call come from {observed}, and its hello
        says so (observed). A caller does not choose its port. The system takes a free one for each
        call. The addresses of both ends together identify a connection. So a thousand connections
        can share one listening port. As alpha saw it:
        """)
    guide.wire(alpha.wire(kinds="hello", peer=observed))
    guide.pause()
    guide.wait_for("alpha finds beta at its address", lambda: alpha.knows(beta))
    probes = guide.wait_for(
        "beta receives a probe",
        lambda: [p for p in beta.wire("<", "hello") if message_of(p).get("probe")],
    )
    guide.wait_for("beta answers the probe", lambda: beta.wire(">", "hello", probes[0]["peer"]))
    guide.say("""
        Is beta really there? A hello can say anything. So alpha has dialed that address itself, on a
        separate connection, received a hello, and closed: a *probe*. Here is the probe as beta saw
        it, and what both nodes know now:
        """)
    guide.wire(beta.wire(kinds="hello", peer=probes[0]["peer"]))
    guide.peers(alpha, beta)
    guide.book(alpha, beta)
    guide.read(Claims.note, Discovery.note_found)
    guide.so("""
        The port that a call comes from says nothing about the caller. Its hello says who it is and
        where it listens.
        """)


def discovery(guide: Guide) -> None:
    """Gamma knows alpha's address alone, and finds beta."""
    alpha, beta = guide.actor("alpha"), guide.actor("beta")
    guide.say("A third node, gamma, gets alpha's address and nothing else. It has never heard of beta.")
    guide.pause()
    gamma = guide.start("gamma", bootstrap=[alpha.address], ping_interval=1, ping_timeout=2)
    pairs = list(itertools.permutations((alpha, beta, gamma), 2))
    guide.wait_for(
        "all three answer each other's ping",
        lambda: all(one.reported("rtt", nodeid=other.nodeid) for one, other in pairs),
    )
    guide.wait_for(
        "gamma finds both where they say that they listen",
        lambda: gamma.knows(alpha) and gamma.knows(beta),
    )
    (peer,) = [peer for peer in gamma.node.peers() if peer.nodeid == beta.nodeid]
    dialer, dialed = (gamma, beta) if peer.direction == OUTBOUND else (beta, gamma)
    received = dialer.wire("<", "addr", alpha.address)
    sources = [line for line in received if dialed.nodeid in line["line"]]
    if not sources:
        raise Unexpected("%s dialed %s without an address from alpha" % (dialer.name, dialed.name))
    guide.say(f"alpha sent this to {dialer.name}:")
    guide.fields(sources[0])
    guide.say(f"So {dialer.name} dialed {dialed.name}. The first lines on that connection:")
    guide.wire(dialer.wire(kinds="hello addr getaddr ping", peer=dialed.address)[:4])
    guide.say("""
        A node passes an address on only if it has dialed it itself and found that node there, and
        while that node answers pings. So a false address stops at the first node that checks it.
        """)
    guide.pause()
    guide.say("What the three nodes know now:")
    guide.peers(alpha, beta, gamma)
    guide.book(gamma)
    guide.read(Discovery.addresses_for, Discovery.receive_addr)
    guide.so("No node has the list of all nodes. Each passes on what it found itself, and that is enough.")


def oneself(guide: Guide) -> None:
    """Alpha dials itself, at its own address and at one that it cannot know."""
    alpha = guide.actor("alpha")
    guide.say(f"""
        If all nodes get the same list of addresses, each finds its own address on it. We tell alpha
        to dial {alpha.address}, which is alpha itself. Both ends of that connection belong to alpha,
        each with a socket and a thread. You see both:
        """)
    guide.pause()
    before = len(alpha.lines)
    alpha.node.dial(alpha.address)
    guide.wait_for("alpha finds itself", lambda: alpha.reported("self"))
    guide.wait_for("both ends say bye", lambda: len(alpha.wire(">", "bye", since=before)) == 2)
    ends = {line["peer"] for line in alpha.wire("<", "hello", since=before) if alpha.nodeid in line["line"]}
    guide.wire([line for line in alpha.wire(since=before) if line["peer"] in ends])
    guide.report(alpha, "self", address=alpha.address)
    before = len(alpha.lines)
    alpha.node.dial(alpha.address)
    guide.wait_for("alpha knows its address", lambda: len(alpha.reported("self")) == 2)
    again = len(alpha.wire(">", peer=alpha.address, since=before))
    guide.say(f"""
        Each end received a hello with its own nodeid and answered bye self. That is no error. alpha
        now knows that this address is its own. We told it to dial there once more, and it sent
        {again} lines.
        """)
    if again:
        raise Unexpected("alpha has dialed its own address a second time")
    guide.pause()

    cable = guide.cable(alpha).open()
    guide.say(f"""
        Could alpha compare addresses instead? Not always. At {cable.address} a small program forwards
        all bytes to alpha, as a router with a forwarded port does. alpha cannot know that this
        address leads to itself. (--advertise gives such an address to others.) alpha dials it:
        """)
    alpha.node.dial(cable.address)
    guide.follow_to_bye(alpha, cable.address)
    guide.report(alpha, "self", address=cable.address)
    guide.read(Membership.dialed, AddressBook.note_mine, Overlay.dial)
    guide.so("An address says where, never who. Only the nodeid shows that a node has called itself.")


def at_once(guide: Guide) -> None:
    """Delta and epsilon dial each other; one of two connections stays."""
    guide.say("""
        Two nodes that dial each other at the same moment have two connections, and need one. Both
        must close the same one, although neither has time to ask.
        """)
    guide.pause()
    guide.say("Two rules, and what they do to the two connections:")
    guide.draw("The tie")
    guide.pause()
    guide.say("""
        Two new nodes, delta and epsilon, will dial each other over cables that carry nothing until
        both have sent hello. So neither knows of the other's call when it makes its own. With real
        distance between two nodes that happens by itself.
        """)
    guide.pause()
    delta, epsilon = pair = [guide.keep(guide.start(name, "tie")) for name in ("delta", "epsilon")]
    ways = {delta: guide.cable(epsilon), epsilon: guide.cable(delta)}
    for one in pair:
        one.node.dial(ways[one].address)
    for one in pair:
        guide.wait_for("%s sends hello" % one.name, functools.partial(one.wire, ">", "hello"))
    for one in pair:
        ways[one].open()
    guide.wait_for(
        "one of the two connections ends, and the other stays",
        # A node reports in order: once it has reported a round trip, it has reported peer_up.
        lambda: all(
            one.wire(kinds="bye") and one.reported("rtt") and one.connections() == 1 for one in pair
        ),
    )
    for one, other in ((delta, epsilon), (epsilon, delta)):
        dialed = one.wire(">", "hello", ways[one].address)[0]
        # At the other's own address it was only probing.
        hellos = [line for line in one.wire("<", "hello") if line["peer"] != other.address]
        called = [p for p in hellos if "probe" not in message_of(p) and p["peer"] != dialed["peer"]]
        if not called or called[0]["time"] < dialed["time"]:
            raise Unexpected("%s had heard of the other's call before it made its own" % one.name)
        own, its = dialed["thread"], called[0]["thread"]
        guide.say(f"As {one.name} saw it: it dialed on {own}, and {other.name} dialed it on {its}.")
        ends = dialed["peer"], called[0]["peer"]
        guide.wire([line for line in one.wire(kinds="hello bye") if line["peer"] in ends])
    guide.pause()
    smaller, larger = sorted(pair, key=lambda one: one.nodeid)
    stays = [(p.direction, p.address) for one in (smaller, larger) for p in one.node.peers()]
    if len(stays) != 2 or stays[0] != (OUTBOUND, ways[smaller].address) or stays[1][0] != INBOUND:
        raise Unexpected("the connection that stayed is not the one that %s dialed" % smaller.name)
    if any(len(one.reported("peer_up")) != 1 or one.reported("peer_down") for one in pair):
        raise Unexpected("each was to report its peer up once, and never down")
    guide.say(f"""
        delta's nodeid begins with {delta.nodeid[:SHORT_ID]}, epsilon's with
        {epsilon.nodeid[:SHORT_ID]}. So the connection that {smaller.name} dialed stays, and the other
        one is a duplicate. Each has reported once that its peer is up, and never that it is down.
        """)
    guide.read(PeerTable._beats, PeerTable.admit, PeerTable.loses_to)
    guide.so("""
        When two nodes decide without asking each other, the rule must give both the same answer,
        whatever each has seen so far. "Keep the first" does not: each may have seen a different one
        first.
        """)
