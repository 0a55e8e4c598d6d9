"""``tour``: three real nodes in one process, and what they do, scene by scene, at the reader's pace.

For someone who knows Python and has never opened a socket.  The nodes are the library's ``Node``; who
dies or lies is a bare socket.  Each scene is a function, in the order in which they are played.

A scene does something, waits until that shows, and tells it.  What it says has happened is taken
from what did happen: the nodes' events, the lines that they traced, their tables.  Where something
does not happen in time, that is told, and the tour ends with exit code 1.

Main thread only; the nodes have threads of their own.
"""

import _thread
import functools
import itertools
import json
import socket
import time
from typing import List, Optional

from ..common.config import Config
from ..common.errors import CannotStart
from ..common.options import Parser, one_file, program
from ..common.threads import Crew
from ..common.words import count_of, milliseconds
from ..monitor.judge import judge, lines
from ..monitor.reach import Reach
from ..monitor.view import View, count
from ..node import codec, connector
from ..node.address_book import AddressBook
from ..node.listener import Listener
from ..node.node import Node, descriptors
from ..node.overlay import Overlay
from ..node.peer_table import INBOUND, OUTBOUND, PeerTable
from ..node.pinger import Pinger
from ..node.session import Session
from ..node.transport import Transport
from ..terminal.event_lines import SHORT_ID
from ..terminal.matrix_table import draw
from .guide import LOOPBACK, Actor, Enough, Guide, Unexpected, kind, says

DONE, NO = 0, 1

DESCRIPTORS = 64
"""Open files and sockets without which it is not begun.  It has some 30 at once, but each node
takes only as many peers as there is room for beside 32 others (``node.RESERVED_DESCRIPTORS``)."""


# -- meeting -----------------------------------------------------------------------------------


def listening(guide: Guide) -> None:
    """Alpha starts, and waits at a port for others to call."""
    guide.say(
        """
        A *socket* is one end of a conversation between two programs; a program holds it much as it
        holds an open file. A *listening socket* holds no conversation: it waits at a *port*, a
        number from 1 to 65535, for others to call.

        We start a node, alpha, on 127.0.0.1, the address by which every machine calls itself. We ask
        for port 0, which means: any that is free.
        """
    )
    guide.pause()
    alpha = guide.start("alpha")
    guide.tells(alpha, "listening")
    guide.say(
        """
        So a program is told of what happens to its node: these are *events*. The system has chosen
        port %(port)d. alpha's threads are now: %(threads)s. The one that listens sleeps until somebody
        calls; then accept() hands it a new socket for that caller, it starts a thread that talks
        there, and sleeps again. Connections so far: %(count)d. Its peers (nodes that it has a
        connection with), and the addresses that it knows:
        """,
        port=alpha.node.port,
        threads=", ".join(alpha.threads()),
        count=alpha.connections(),
    )
    guide.peers(alpha)
    guide.book(alpha)
    guide.read(Listener.__init__, Listener.get_request, Listener.process_request)
    guide.so(
        """
        A listening socket carries no data: it waits at a port, and gives each caller a
        new socket.
        """
    )


def dialing(guide: Guide) -> None:
    """Beta dials alpha: what they say first, from where, and whether it is true."""
    alpha = guide.actor("alpha")
    guide.say(
        """
        A second node, beta, is started with the address of the first, %(address)s: one address it must
        be told (--bootstrap). It *dials* that: three packets go to and fro, and there is a
        *connection*, two streams of bytes, one each way.

        What they say on it is text, a message a line, in JSON. You will see it as beta does: seconds
        since the tour began, the thread, the other end, > for said, < for heard. A line that does not
        fit ends with ... and with how many characters it has.
        """,
        address=alpha.address,
    )
    guide.pause()
    beta = guide.start("beta", bootstrap=[alpha.address])
    guide.follow(
        beta,
        alpha.address,
        "hello addr getaddr ping pong",
        "alpha and beta answer each other's ping",
        lambda: beta.told("rtt") and alpha.told("rtt") and beta.wire(">", "pong"),
    )
    heard = beta.wire("<", peer=alpha.address)
    welcome = next(word for word in map(kind, heard) if word not in ("hello", "addr"))
    guide.say(
        """
        Both say *hello* first, the dialer at once. That is not yet a welcome, a node that is full says
        it too: beta counted alpha as a peer from the first %(welcome)s on. addr says where one can be
        dialed, getaddr asks whom else one knows, and a ping wants a pong. The time between is the
        *round trip*: %(rtt)s.
        """,
        welcome=welcome,
        rtt=milliseconds(beta.told("rtt")[0]["rtt_ms"]),
    )
    guide.pause()
    guide.say("This is beta's hello, field by field:")
    guide.fields(beta.wire(">", "hello", alpha.address)[0])
    guide.read(connector.dial, Overlay.greeting, Overlay._accepted, Overlay._let_in)
    guide.pause()

    observed = says(heard[0])["observed"]
    guide.wait_for("alpha sees beta there", lambda: alpha.wire("<", "hello", observed))
    guide.say(
        """
        beta listens at %(listens)s. But its call came from %(observed)s, says alpha's hello
        (observed). A caller does not choose its port: the system takes a free one, anew for each
        call. A connection is known by the addresses of both its ends; so a thousand of them can
        share one listening port. As alpha saw it:
        """,
        listens=beta.address,
        observed=observed,
    )
    guide.wire(alpha.wire(kinds="hello", peer=observed))
    guide.pause()
    guide.wait_for("alpha finds beta at its address", lambda: alpha.knows(beta))
    probes = guide.wait_for(
        "beta hears of that", lambda: [p for p in beta.wire("<", "hello") if says(p).get("probe")]
    )
    guide.wait_for("beta answers", lambda: beta.wire(">", "hello", probes[0]["peer"]))
    guide.say(
        """
        Is beta really there where it says it listens? Anyone can say anything. So alpha has dialed
        that address itself, on another connection, heard a hello, and hung up: a *probe*. As
        beta saw it, and what both know now:
        """
    )
    guide.wire(beta.wire(kinds="hello", peer=probes[0]["peer"]))
    guide.peers(alpha, beta)
    guide.book(alpha, beta)
    guide.read(Overlay._claimed, Reach.due)
    guide.so(
        """
        A caller leaves from whatever port its system picks. Who it is, it must say: in
        its hello.
        """
    )


def discovery(guide: Guide) -> None:
    """Gamma is told of alpha alone, and finds beta."""
    alpha, beta = guide.actor("alpha"), guide.actor("beta")
    guide.say(
        """
        A third node, gamma, is given alpha's address and nothing else. It has never heard of beta.
        """
    )
    guide.pause()
    gamma = guide.start("gamma", bootstrap=[alpha.address], ping_interval=1, ping_timeout=2)
    pairs = list(itertools.permutations((alpha, beta, gamma), 2))
    guide.wait_for(
        "all three answer each other's ping",
        lambda: all(one.told("rtt", nodeid=other.nodeid) for one, other in pairs),
    )
    guide.wait_for(
        "gamma finds both where they say that they are",
        lambda: gamma.knows(alpha) and gamma.knows(beta),
    )
    (peer,) = [peer for peer in gamma.node.peers() if peer.nodeid == beta.nodeid]
    dialer, dialed = (gamma, beta) if peer.direction == OUTBOUND else (beta, gamma)
    heard = dialer.wire("<", "addr", alpha.address)
    told = [line for line in heard if dialed.nodeid in line["line"]]
    if not told:
        raise Unexpected("%s has dialed %s, but alpha did not tell it where" % (dialer.name, dialed.name))
    guide.say("This is what alpha told %(dialer)s:", dialer=dialer.name)
    guide.fields(told[0])
    guide.say(
        "And so %(dialer)s dialed %(dialed)s. The first lines there:",
        dialer=dialer.name,
        dialed=dialed.name,
    )
    guide.wire(dialer.wire(kinds="hello addr getaddr ping", peer=dialed.address)[:4])
    guide.say(
        """
        A node passes on an address only if it has dialed that itself, found that node there, and still
        gets its pongs: rumours stop at the first who checks.
        """
    )
    guide.pause()
    guide.say("What the three know now:")
    guide.peers(alpha, beta, gamma)
    guide.book(gamma)
    guide.read(Overlay._addr_for, Overlay._heard)
    guide.so(
        """
        Nobody has the list of all nodes. Each tells what it has found itself, and that
        is enough.
        """
    )


def oneself(guide: Guide) -> None:
    """Alpha dials itself, at its own address and at one that it cannot know."""
    alpha = guide.actor("alpha")
    guide.say(
        """
        Give everyone the same list of addresses, and each will find its own on it. We tell alpha to
        dial %(address)s, which is alpha. Both ends of that connection are its own, each with a socket
        and a thread, and you see both:
        """,
        address=alpha.address,
    )
    guide.pause()
    before = len(alpha.lines)
    alpha.node.dial(alpha.address)
    guide.wait_for("alpha finds itself", lambda: alpha.told("self"))
    guide.wait_for("both ends say bye", lambda: len(alpha.wire(">", "bye", since=before)) == 2)
    ends = {line["peer"] for line in alpha.wire("<", "hello", since=before) if alpha.nodeid in line["line"]}
    guide.wire([line for line in alpha.wire(since=before) if line["peer"] in ends])
    guide.tells(alpha, "self", address=alpha.address)
    before = len(alpha.lines)
    alpha.node.dial(alpha.address)
    guide.wait_for("alpha knows its address", lambda: len(alpha.told("self")) == 2)
    again = len(alpha.wire(">", peer=alpha.address, since=before))
    guide.say(
        """
        A hello with its own nodeid: bye self. That is no error, and from now on alpha knows this address
        for its own. Told once more to dial it, alpha has said %(again)d lines there.
        """,
        again=again,
    )
    if again:
        raise Unexpected("alpha has dialed its own address a second time")
    guide.pause()

    cable = guide.cable(alpha).open()
    guide.say(
        """
        Could it not just compare addresses? Here is one that it cannot know: at %(address)s a small
        program passes on to alpha whatever comes, as a router does that forwards a port. (Others are
        told such an address by --advertise.) alpha dials it:
        """,
        address=cable.address,
    )
    alpha.node.dial(cable.address)
    guide.follow(
        alpha,
        cable.address,
        "hello bye",
        "alpha hangs up there",
        lambda: alpha.wire(">", "bye", cable.address),
    )
    guide.tells(alpha, "self", address=cable.address)
    guide.read(Overlay._dialed, AddressBook.is_mine, Overlay.dial)
    guide.so("An address says where, never who. Only the nodeid can show that one has called oneself.")


def at_once(guide: Guide) -> None:
    """Delta and epsilon dial each other; one of two connections stays."""
    guide.say(
        """
        Two nodes that dial each other at the same moment get two connections, and need one. If each
        keeps the one that it saw first, these may be different ones, and in the end both are closed. The
        rule is therefore: the one dialed by the node with the smaller nodeid stays.

        Two new nodes, delta and epsilon, will dial each other over cables that carry nothing until
        both have said hello. So neither can know of the other's call when it makes its own; on long
        cables that happens by itself.
        """
    )
    guide.pause()
    delta, epsilon = pair = [guide.keep(guide.start(name, "tie")) for name in ("delta", "epsilon")]
    ways = {delta: guide.cable(epsilon), epsilon: guide.cable(delta)}
    for one in pair:
        one.node.dial(ways[one].address)
    for one in pair:
        guide.wait_for("%s says hello" % one.name, functools.partial(one.wire, ">", "hello"))
    for one in pair:
        ways[one].open()
    guide.wait_for(
        "one of the two connections is ended, and the other stays",
        # What a node tells it tells in order: who has told of a round trip has told who is up.
        lambda: all(
            one.wire(kinds="bye") and one.told("rtt") and one.connections() == 1 for one in pair
        ),
    )
    for one, other in ((delta, epsilon), (epsilon, delta)):
        dialed = one.wire(">", "hello", ways[one].address)[0]
        # At the other's own address it was only probing.
        heard = [line for line in one.wire("<", "hello") if line["peer"] != other.address]
        called = [line for line in heard if "probe" not in says(line) and line["peer"] != dialed["peer"]]
        if not called or called[0]["time"] < dialed["time"]:
            raise Unexpected("%s had heard of the other's call before it made its own" % one.name)
        guide.say(
            "As %(one)s saw it, dialing on %(own)s, and dialed by %(other)s on %(its)s:",
            one=one.name,
            own=dialed["thread"],
            other=other.name,
            its=called[0]["thread"],
        )
        ends = dialed["peer"], called[0]["peer"]
        guide.wire([line for line in one.wire(kinds="hello bye") if line["peer"] in ends])
    guide.pause()
    smaller, larger = sorted(pair, key=lambda one: one.nodeid)
    stays = [(p.direction, p.address) for one in (smaller, larger) for p in one.node.peers()]
    if len(stays) != 2 or stays[0] != (OUTBOUND, ways[smaller].address) or stays[1][0] != INBOUND:
        raise Unexpected("the one that stays was to be what %s dialed" % smaller.name)
    guide.say(
        """
        delta's nodeid begins with %(delta)s, epsilon's with %(epsilon)s: the connection that
        %(smaller)s dialed stays, the other one is a duplicate. delta told %(ups)s that its peer is up
        and %(downs)s that it is down; epsilon %(other_ups)s and %(other_downs)s.
        """,
        delta=delta.nodeid[:SHORT_ID],
        epsilon=epsilon.nodeid[:SHORT_ID],
        smaller=smaller.name,
        ups=times(delta, "peer_up"),
        downs=times(delta, "peer_down"),
        other_ups=times(epsilon, "peer_up"),
        other_downs=times(epsilon, "peer_down"),
    )
    if any(len(one.told("peer_up")) != 1 or one.told("peer_down") for one in pair):
        raise Unexpected("each was to come up once at the other, and to stay")
    guide.read(PeerTable._beats, PeerTable.admit, PeerTable.would_lose)
    guide.so(
        """
        Where two decide without asking each other, the rule must give both the same
        answer, whatever each has seen by then. "Keep the first" does not: each may have
        seen another one first.
        """
    )


def times(actor: Actor, event: str) -> str:
    """How often an actor has told that."""
    return count_of(len(actor.told(event)), "time")


# -- parting ------------------------------------------------------------------------------------


def dying(guide: Guide) -> None:
    """One peer falls silent, one leaves, one crashes, and one closes its half."""
    gamma = guide.actor("gamma")
    usual, here = Config(), gamma.node.config
    guide.say(
        """
        A machine whose cable is pulled says nothing any more, not even goodbye. Its connections stay
        as they are: no error, no end, only silence. So a node pings its peers, and waits only so long
        for a pong: gamma pings every %(interval)g s and waits %(timeout)g s (the usual is
        %(usual_interval)g and %(usual_timeout)g).

        A stranger, made of nothing but a socket, says hello to gamma, answers its first ping, and
        then is silent. Its hello, the pings, and the end, as gamma sees them (three seconds):
        """,
        interval=here.ping_interval,
        timeout=here.ping_timeout,
        usual_interval=usual.ping_interval,
        usual_timeout=usual.ping_timeout,
    )
    guide.pause()
    silent = guide.guest(gamma, "silent")
    guide.follow(
        gamma,
        silent.address,
        "hello ping pong bye",
        "gamma gives up a peer that is silent",
        lambda: gamma.told("peer_down", nodeid=silent.nodeid),
    )
    guide.tells(gamma, "peer_down", nodeid=silent.nodeid, reason="timeout")
    asked, gave_up = (gamma.wire(">", word, silent.address)[-1]["time"] for word in ("ping", "bye"))
    guide.say("It waited %(took).1f s, from the last ping to bye timeout.", took=gave_up - asked)
    guide.read(Pinger.run, Overlay.tick, PeerTable.silent)
    guide.pause()

    guide.say(
        """
        Two others, for comparison. The first says bye before it closes. The second crashes and says
        nothing; but its system lives, and closes its sockets for it. At the other end recv(), the
        call that waits for bytes, returns none then: b"", which means that no more will come.
        """
    )
    for name, reason in (("polite", "stopping"), ("crashed", "closed")):
        guest = guide.guest(gamma, name)
        began = time.monotonic()
        if name == "polite":
            guest.say("bye", reason=reason)
        guest.close()
        guide.tells(gamma, "peer_down", nodeid=guest.nodeid, reason=reason)
        guide.text(["    known within %s" % milliseconds((time.monotonic() - began) * 1000)])
    guide.pause()

    guide.say(
        """
        The two streams of a connection end one by one. Another stranger asks two things and then
        closes its own half, by shutdown(SHUT_WR): "I shall say no more". The connection is *half
        closed*. As gamma sees it:
        """
    )
    half = guide.guest(gamma, "half")
    before = len(gamma.lines)
    half.say("getaddr")
    half.say("ping")
    half.finish()
    guide.wait_for("it hears a pong after that", lambda: half.heard("pong"))
    guide.wait_for("gamma closes its half, too", lambda: half.heard("pong") and half.ended)
    guide.wait_for("gamma has told", lambda: gamma.told("peer_down", nodeid=half.nodeid))
    guide.wire(gamma.wire(peer=half.address, since=before))
    guide.tells(gamma, "peer_down", nodeid=half.nodeid, reason="closed")
    guide.say("The stranger heard the answers still, then the end: gamma had closed the other half.")
    guide.read(Session._converse, Session._drain, Transport.finish)
    guide.so(
        """
        Silence looks the same whether the other end is dead or has nothing to say. Who
        must know asks, and looks at the clock.
        """
    )


def lying(guide: Guide) -> None:
    """Nonsense, an address where nobody is, and a nodeid that is somebody else's."""
    alpha, beta, gamma = (guide.actor(name) for name in ("alpha", "beta", "gamma"))
    guide.say("A stranger becomes a peer of gamma, says something that is no JSON, and gets an answer:")
    guide.pause()
    garbled = guide.guest(gamma, "garbled")
    before, marks = len(gamma.lines), (len(alpha.events), len(beta.events))
    garbled.say_raw(b"Hello? Is anybody there?\n")
    guide.wait_for("gamma says bye", lambda: gamma.wire(">", "bye", garbled.address))
    guide.wire(gamma.wire("<", peer=garbled.address, since=before))
    guide.fields(gamma.wire(">", "bye", garbled.address)[0])
    guide.tells(gamma, "peer_down", nodeid=garbled.nodeid, reason="protocol")
    guide.say(
        """
        Its connection is ended, and it is told why. Who else has noticed? alpha has told of %(alpha)s
        meanwhile, beta of %(beta)s.
        """,
        alpha=alpha.news(marks[0]),
        beta=beta.news(marks[1]),
    )
    guide.read(codec.decode, Session.run)
    guide.pause()

    nowhere = guide.keep(socket.socket())
    nowhere.bind((LOOPBACK, 0))  # so nobody else can listen there
    false = "%s:%d" % nowhere.getsockname()
    guide.say(
        """
        The next one, mallory, tells gamma of a node at %(address)s. There is none. What does gamma do,
        and what will it answer whoever asks it for addresses?
        """,
        address=false,
    )
    mallory = guide.guest(gamma, "mallory")
    mallory.say("addr", peers=[[false, guide.invented("ghost")]])
    guide.tells(gamma, "refused", address=false, reason="refused")
    guide.book(gamma)
    before = len(mallory.heard("addr"))
    mallory.say("getaddr")
    answer = guide.wait_for("gamma answers getaddr", lambda: mallory.heard("addr")[before:])[0]
    guide.text(["its answer to getaddr"])
    guide.text(["    %-21s %s" % (where, guide.name(who)) for where, who in answer["peers"]])
    passed_on = [line for one in (alpha, beta) for line in one.wire() if false in line["line"]]
    if passed_on or false in json.dumps(answer):
        raise Unexpected("gamma has passed on an address that it has not found itself")
    guide.say("gamma has dialed it, in vain, and tells nobody of it: not mallory, not alpha, not beta.")
    guide.read(Overlay._heard, AddressBook.heard, AddressBook.proven)
    guide.pause()

    guide.say("The last one calls alpha and says that it is beta, whose nodeid is no secret:")
    stays = [peer for peer in alpha.node.peers() if peer.nodeid == beta.nodeid]
    thief = guide.stranger(alpha, "thief")
    thief.say("hello", nodeid=beta.nodeid, network=alpha.node.config.network)
    bye = guide.wait_for("alpha says bye to it", lambda: thief.heard("bye"))[0]
    guide.follow(
        alpha,
        thief.address,
        "hello bye",
        "alpha's bye to it shows",
        lambda: alpha.wire(">", "bye", thief.address),
    )
    still = [peer for peer in alpha.node.peers() if peer.nodeid == beta.nodeid]
    if bye["reason"] != "duplicate" or [p.address for p in stays] != [p.address for p in still]:
        raise Unexpected("who claims to be beta is sent away, and beta stays")
    guide.say(
        """
        The first stays, so beta is still there, at %(address)s. (Here is what this network cannot do:
        had the thief come first, alpha would have believed it. To prove who one is takes a secret.)
        """,
        address=still[0].address,
    )
    guide.read(PeerTable.admit, PeerTable._beats)
    guide.so(
        """
        Whatever comes from outside may be wrong. Check it at the door, bound what it
        may cost, and believe nobody about somebody else.
        """
    )


# -- the whole ----------------------------------------------------------------------------------


def reaching(guide: Guide) -> None:
    """What each has measured, as one table."""
    alpha, gamma = guide.actor("alpha"), guide.actor("gamma")
    guide.say(
        """
        Every node measures its round trip to each peer, and dials each one again now and then, beside
        the connection: can it still be reached from here? What it finds is its *row*, and it tells
        its row to all. So anyone has the whole matrix. alpha's, each row from one node:
        """
    )
    guide.pause()

    def whole() -> Optional[View]:
        view = View(alpha.node.rows(), alpha.node.stale_after())
        found = count(view)
        return view if (found.nodes, found.up) == (3, 6) else None

    view = guide.wait_for("alpha knows of 3 nodes, and that all 6 directions are up", whole)
    guide.text([*draw(view, guide.columns(), guide.colour), "", *lines(judge(view))])
    there, back = (view.directions[pair] for pair in ((alpha.nodeid, gamma.nodeid), (gamma.nodeid, alpha.nodeid)))
    guide.say(
        """
        The row of alpha is what alpha measured: to gamma %(there)s. gamma's own figure, for the way
        back, is %(back)s. %(program)s matrix HOST:PORT shows this of any network, and the README
        has one in which something is wrong.
        """,
        program=program(),
        there=milliseconds(there.p50_ms),
        back=milliseconds(back.p50_ms),
    )
    guide.read(Reach.outcome, Overlay.own_row, draw, judge)
    guide.so(
        """
        That a connection stands does not mean that one could make another. So both are
        measured, and each direction by itself.
        """
    )


def stopping(guide: Guide) -> None:
    """One stops, the others notice, and in the end no thread is left."""
    alpha, beta, gamma = (guide.actor(name) for name in ("alpha", "beta", "gamma"))
    guide.say("The threads at work now, beside the one that tells you this:")
    at_work = guide.threads(alpha, beta, gamma)
    guide.say(
        """
        There are %(now)d more than before the first node: listener accepts, connector dials, pinger
        looks at the clock, events tells us, and each connection has its own. alpha is stopped first.
        It says goodbye to everyone, and so everyone knows at once.
        """,
        now=at_work,
    )
    guide.pause()
    before = len(alpha.lines)
    began = time.monotonic()
    alpha.node.stop()
    took = time.monotonic() - began
    guide.wire(alpha.wire(">", "bye", since=before))
    for one in (beta, gamma):
        guide.tells(one, "peer_down", nodeid=alpha.nodeid, reason="stopping")
    guide.tells(alpha, "stopped")
    beta.node.stop()
    gamma.node.stop()
    guide.wait_for("all threads have ended", lambda: _thread._count() <= guide.threads_before)
    guide.say(
        """
        alpha needed %(took)s for it. Then beta and gamma were stopped, too. Threads that are left of
        the %(now)d: %(left)d.
        """,
        took=milliseconds(took * 1000),
        now=at_work,
        left=_thread._count() - guide.threads_before,
    )
    guide.read(Node._shut_down, Session.close, Crew.wait)
    guide.so(
        """
        A program should end as carefully as it began: say so, wait for who is still at
        work, but not for ever, and leave nothing behind.
        """
    )


SCENES = (
    ("A node listens", listening),
    ("A second node dials it", dialing),
    ("A third one hears of the second", discovery),
    ("A node that calls itself", oneself),
    ("Two dial each other at the same moment", at_once),
    ("One that dies", dying),
    ("One that lies", lying),
    ("Who can reach whom", reaching),
    ("Stopping", stopping),
)


def tour(argv: List[str]) -> int:
    """Play all scenes, or as many as the reader likes; ``NO`` if something did not happen."""
    made = Parser(
        program() + " tour",
        "A guided tour for people who have never opened a socket: three nodes on this\n"
        "machine, what they say to each other, and where in the source that happens.\n"
        "It takes a quarter of an hour.",
        "example:\n  %s tour --fast | less" % program(),
    )
    made.add_argument("--fast", action="store_true", help="do not wait for Enter")
    fast = made.parse_args(argv).fast
    if descriptors() < DESCRIPTORS:
        raise CannotStart(
            "the tour needs %d open files at once, and the system allows %d; see ulimit -n"
            % (DESCRIPTORS, descriptors())
        )
    with Guide(fast) as guide:
        try:
            guide.say(
                """
                Three nodes will run in this program, and talk to each other over this machine's own
                network, as they would over a real one. Whatever you are shown of them is taken from what
                they do at that moment: every line, number, name and thread.
                """
            )
            if one_file():
                guide.say(
                    """
                    What you are told to read in the source, read in the folder that %(file)s was made
                    from: here the same code is on the same lines, but nothing explains it.
                    """,
                    file=one_file(),
                )
            for number, (title, scene) in enumerate(SCENES, 1):
                if not guide.play("%d of %d: %s" % (number, len(SCENES), title), scene):
                    return NO
            guide.say(
                """
                The tour is over. To go on, start a node in one terminal, another one in a second, and
                watch them; and read the source, in the order that "help architecture" gives.
                """
            )
            guide.text(["    %s --port 6000" % program()])
            guide.text(["    %s --port 6001 --bootstrap 127.0.0.1:6000 --trace" % program()])
        except Enough:
            pass
    return DONE
