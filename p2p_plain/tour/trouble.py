"""Scenes 6 and 7: peers that die, and peers that lie.  They are bare sockets; the nodes are real."""

import functools
import json
import socket
import time

from ..common.config import Config
from ..common.words import milliseconds
from ..node import codec
from ..node.address_book import AddressBook
from ..node.discovery import Discovery
from ..node.membership import Membership
from ..node.peer_table import PeerTable
from ..node.pinger import Pinger
from ..node.rivals import Rivals
from ..node.session import Session
from ..node.transport import Transport
from .cast import LOOPBACK
from .guide import Guide, Unexpected


def dying(guide: Guide) -> None:
    """One peer falls silent, one leaves, one crashes, and one closes its half."""
    gamma = guide.actor("gamma")
    usual, here = Config(), gamma.node.config
    guide.say(f"""
        A machine whose cable is pulled sends nothing any more, not even a goodbye. At the other end
        the connection stays as it is: no error, no end, only silence. So a node pings its peers, and
        it waits for each pong for a limited time. gamma pings every {here.ping_interval:g} s and waits
        {here.ping_timeout:g} s. (The defaults are {usual.ping_interval:g} and {usual.ping_timeout:g}.)

        A stranger, made of a bare socket, says hello to gamma, answers the first ping, and then is
        silent. Its hello, the pings and the end, as gamma sees them (three seconds):
        """)
    guide.pause()
    silent = guide.admitted(gamma, "silent")
    dropped = functools.partial(gamma.reported, "peer_down", nodeid=silent.nodeid)
    what = "gamma drops the silent peer"
    guide.follow(gamma, silent.address, "hello ping pong bye", what, dropped)
    guide.report(gamma, "peer_down", nodeid=silent.nodeid, reason="timeout")
    asked, gave_up = (gamma.wire(">", word, silent.address)[-1]["time"] for word in ("ping", "bye"))
    guide.say(f"gamma waited {gave_up - asked:.1f} s, from the last ping to bye timeout.")
    guide.read(Pinger.run, Membership.tick, PeerTable.silent)
    guide.pause()

    guide.say("""
        Two more strangers, for comparison. The first says bye before it closes. The second crashes
        and says nothing. But its system still runs, and closes its sockets. At the other end recv(),
        the call that waits for bytes, then returns no bytes: b"". No more will come.
        """)
    for name, reason in (("polite", "stopping"), ("crashed", "closed")):
        stranger = guide.admitted(gamma, name)
        began = time.monotonic()
        if name == "polite":
            stranger.send("bye", reason=reason)
        stranger.close()
        guide.report(gamma, "peer_down", nodeid=stranger.nodeid, reason=reason)
        guide.text(["    known within %s" % milliseconds((time.monotonic() - began) * 1000)])
    guide.pause()

    guide.say("The two streams of a connection end one by one. In between it is *half-closed*:")
    guide.draw("A half-closed connection")
    guide.pause()
    guide.say("""
        Another stranger asks two questions and then closes its own stream with shutdown(SHUT_WR). As
        gamma sees it:
        """)
    half = guide.admitted(gamma, "half")
    before = len(gamma.lines)
    half.send("getaddr")
    half.send("ping")
    half.finish()
    guide.wait_for("the stranger receives a pong after that", lambda: half.received("pong"))
    guide.wait_for("gamma closes its stream too", lambda: half.received("pong") and half.ended)
    guide.wait_for("gamma reports it", lambda: gamma.reported("peer_down", nodeid=half.nodeid))
    guide.wire(gamma.wire(peer=half.address, since=before))
    guide.report(gamma, "peer_down", nodeid=half.nodeid, reason="closed")
    guide.say("The stranger still received both answers, and then the end: gamma had closed too.")
    guide.read(Session._converse, Session._linger, Transport.half_close)
    guide.so("""
        A dead peer and a peer with nothing to say look the same: both are silent. A node that needs
        to know asks, and limits how long it waits.
        """)


def lying(guide: Guide) -> None:
    """Nonsense, an address where no node is, and the nodeid of another node."""
    alpha, beta, gamma = (guide.actor(name) for name in ("alpha", "beta", "gamma"))
    guide.say("A stranger becomes a peer of gamma, and then sends a line that is not JSON:")
    guide.pause()
    garbled = guide.admitted(gamma, "garbled")
    before, marks = len(gamma.lines), (len(alpha.events), len(beta.events))
    garbled.send_raw(b"Hello? Is anybody there?\n")
    guide.wait_for("gamma says bye", lambda: gamma.wire(">", "bye", garbled.address))
    guide.wire(gamma.wire("<", peer=garbled.address, since=before))
    guide.fields(gamma.wire(">", "bye", garbled.address)[0])
    guide.report(gamma, "peer_down", nodeid=garbled.nodeid, reason="protocol")
    guide.say(f"""
        gamma says why and closes this connection. Does anything else change? Meanwhile alpha has
        reported {alpha.summary(marks[0])}, and beta {beta.summary(marks[1])}.
        """)
    guide.read(codec.decode, Session.run)
    guide.pause()

    nowhere = guide.keep(socket.socket())
    nowhere.bind((LOOPBACK, 0))  # so that no other program can listen there
    false = "%s:%d" % nowhere.getsockname()
    guide.say(f"""
        The next stranger, mallory, tells gamma that a node is at {false}. There is none. What does
        gamma do? And what does it answer when it is asked for addresses?
        """)
    mallory = guide.admitted(gamma, "mallory")
    mallory.send("addr", peers=[[false, guide.invent("ghost")]])
    guide.report(gamma, "refused", address=false, reason="refused")
    guide.book(gamma)
    before = len(mallory.received("addr"))
    mallory.send("getaddr")
    answer = guide.wait_for("gamma answers getaddr", lambda: mallory.received("addr")[before:])[0]
    guide.text(["its answer to getaddr"])
    guide.text(["    %-21s %s" % (where, guide.name(who)) for where, who in answer["peers"]])
    passed_on = [line for one in (alpha, beta) for line in one.wire() if false in line["line"]]
    if passed_on or false in json.dumps(answer):
        raise Unexpected("gamma has passed on an address that it has not found itself")
    guide.say("""
        gamma dialed the address and found no node there. So it does not pass the address on: not to
        mallory, alpha or beta.
        """)
    guide.read(Discovery.receive_addr, AddressBook.note_heard, AddressBook.proven)
    guide.pause()

    guide.say("The last stranger calls alpha and claims to be beta, whose nodeid is no secret:")
    stays = [peer.address for peer in alpha.node.peers() if peer.nodeid == beta.nodeid]
    thief = guide.stranger(alpha, "thief")
    thief.send("hello", nodeid=beta.nodeid, network=alpha.node.config.network)
    bye = guide.wait_for("alpha says bye to it", lambda: thief.received("bye"))[0]
    guide.follow_to_bye(alpha, thief.address)
    still = [peer.address for peer in alpha.node.peers() if peer.nodeid == beta.nodeid]
    if bye["reason"] != "duplicate" or stays != still:
        raise Unexpected("alpha was to refuse the stranger as a duplicate, and to keep beta")
    guide.report(alpha, "conflict", nodeid=beta.nodeid)
    guide.say(f"""
        The first one stays: beta is still connected, at {still[0]}. Alpha has asked it whether it
        knows the second connection, and it does not. This network cannot do more. If the thief had
        come first, alpha would have believed it. To prove who you are takes a secret.
        """)
    guide.read(PeerTable.admit, PeerTable._beats, Rivals.answered)
    guide.so("""
        Anything that comes from outside can be wrong. Check it on arrival, limit what it can cost,
        and never believe one node about another.
        """)
