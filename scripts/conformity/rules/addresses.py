"""Addresses: which ones a node passes on, which ones it dials, and probes."""

import json
import time

from ..grammar import new_id
from ..node import Home, Node
from ..outcome import Broken, Skipped
from ..rule import CORE, FULL, rule


@rule(FULL, 4)
def it_says_where_it_listens(node: Node) -> None:
    """A node that listens says where: by the port in its hello, and by an addr with itself."""
    if "port" not in node.hello:
        raise Broken("a port in its hello", json.dumps(node.hello))
    with node.greet() as peer:
        for entry in peer.expect("addr")["peers"]:
            address, nodeid = entry if isinstance(entry, list) else (entry, node.nodeid)
            host, port = address.rpartition(":")[::2]
            try:
                with node.moved_to(host.strip("[]"), int(port)).greet(probe=True) as found:
                    if nodeid.lower() == node.nodeid == found.received[0]["nodeid"].lower():
                        return
            except (OSError, Broken):
                pass
        raise Broken("an addr with its own address", json.dumps(peer.received[-1]))


@rule(FULL, 6, seconds=3)
def addresses_are_earned(node: Node) -> None:
    """The address that a peer claims is passed on only once a probe has found the peer there."""
    with Home(node) as home, node.join() as asker, node.join(home.nodeid, port=home.port) as peer:
        with home.expect(asker, peer, probe=True) as probe:
            if home.is_in(asker.ask_addresses()):
                raise Broken("nothing before the probe is answered", "our address")
            probe.send_hello(port=home.port)
            probe.expect_end()
        peer.round_trip()  # by now it has a pong of ours
        deadline = time.monotonic() + node.patience
        while home.entry not in asker.ask_addresses():
            if time.monotonic() > deadline:
                raise Broken("our address, after the probe", json.dumps(asker.received[-1]))
            time.sleep(0.1)
        if home.is_in(peer.ask_addresses()):
            raise Broken("only addresses of others", "the asker's own, %s" % home.address)


@rule(FULL, 6, seconds=3)
def who_is_not_there_is_not_passed_on(node: Node) -> None:
    """An address is not passed on if a probe has found another node there."""
    with Home(node) as home, node.join() as asker, node.join(home.nodeid, port=home.port) as peer:
        with home.expect(asker, peer, probe=True) as probe:
            probe.send_hello(nodeid=new_id(), port=home.port)
            probe.expect_end()
        asker.read_for(0.5)
        if home.entry in asker.ask_addresses():
            raise Broken("an addr without our address", json.dumps(asker.received[-1]))


@rule(FULL, 7)
def a_probe_is_answered_and_not_counted(node: Node) -> None:
    """A hello with probe is answered, and is no peer; it may ping and ask for rows (getlinks)."""
    with node.greet(probe=True) as probe:
        probe.round_trip()
        probe.ask_rows()
        if {message["msgtype"] for message in probe.received} - {"hello", "pong", "links"}:
            raise Broken("only answers to what was asked", probe.story())
        with node.join(probe.nodeid):
            probe.round_trip()


@rule(FULL, 7)
def it_probes_where_a_peer_says_it_listens(node: Node) -> None:
    """A new peer that listens is probed at once: hello with probe; after the answer it closes soon."""
    with Home(node) as home, node.join(home.nodeid, port=home.port) as peer:
        probe = home.expect(peer, probe=True)
        with probe:
            probe.send_hello(port=home.port)
            probe.expect_end()


@rule(FULL, 7)
def a_probe_may_join(node: Node) -> None:
    """A probe that is answered with joins becomes a peer by join."""
    with node.greet(probe=True) as probe:
        if not probe.received[0].get("joins"):
            raise Skipped("it does not say joins")
        probe.send("join", nodeid=probe.nodeid, network=node.network)
        for _ in probe.messages(node.patience):
            if probe.count("getaddr") and probe.count("ping"):
                return
        raise Broken("getaddr and ping", probe.story(1))


@rule(CORE, 8)
def getaddr_gets_addr(node: Node) -> None:
    """A getaddr is answered with an addr: at most 100 pairs of an ip:port and a nodeid."""
    with node.join() as peer:
        peer.ask_addresses()


@rule(FULL, 8)
def it_dials_what_it_hears_of(node: Node) -> None:
    """An address that a peer advertises is dialed, and the side that dials sends hello at once."""
    with Home(node) as home, node.join() as peer:
        peer.send("addr", peers=[home.entry])
        with home.expect() as dialed:
            if dialed.received[0]["nodeid"] != node.hello["nodeid"]:
                raise Broken("a hello with its nodeid", json.dumps(dialed.received[0]))
            dialed.send_hello()
            dialed.round_trip()


@rule(FULL, 8)
def hearsay_learns_no_name(node: Node) -> None:
    """An address that only another peer has named is dialed with a hello without name and network."""
    with Home(node) as home, node.join() as peer:
        peer.send("addr", peers=[home.entry])
        with home.expect(probe=None) as dialed:
            if dialed.received[0].keys() & {"name", "network"}:
                raise Broken("a hello without name and network", json.dumps(dialed.received[0]))


@rule(FULL, 8)
def it_joins_where_it_may(node: Node) -> None:
    """After the hello of a probe to such an address, an answer that says joins is answered with join."""
    with Home(node) as home, node.join() as peer:
        peer.send("addr", peers=[home.entry])
        with home.expect(probe=None) as dialed:
            if not dialed.received[0].get("probe"):
                raise Skipped("it dials with a whole hello")
            dialed.send_hello(joins=True)
            join = dialed.expect("join")
            if join["nodeid"] != node.hello["nodeid"] or join.get("network", "") != node.network:
                raise Broken("a join with its nodeid and network", json.dumps(join))
            dialed.round_trip()


@rule(FULL, 8)
def an_address_may_be_bare(node: Node) -> None:
    """An entry of an addr may also be the bare address, without a nodeid."""
    with Home(node) as home, node.join() as peer:
        # A single bare address would be taken for the sender's own.
        peer.send("addr", peers=[home.address, "0.0.0.0:1"])
        home.expect().sock.close()


@rule(FULL, 8, seconds=3)
def it_dials_again_who_broke_off(node: Node) -> None:
    """A peer that is lost without bye is dialed again, at first after a second or two."""
    with Home(node) as home, node.join() as friend:
        friend.send("addr", peers=[home.entry])
        home.expect_join().sock.close()
        home.expect(friend).sock.close()


@rule(FULL, 8, seconds=4)
def it_lets_go_who_left(node: Node) -> None:
    """A peer that left with bye stopping is not dialed again, unless it is advertised again."""
    with Home(node) as home, node.join() as friend:
        friend.send("addr", peers=[home.entry])
        with home.expect_join() as dialed:
            dialed.send_bye("stopping")
        again = home.accept(friend, within=3.0)
        if again is not None:
            again.sock.close()
            raise Broken("no dial for 3 s", "one")
        with node.join() as another:
            another.send("addr", peers=[home.entry])
            home.expect().sock.close()


@rule(FULL, 10, seconds=3)
def nobody_dials_nowhere(node: Node) -> None:
    """Unspecified addresses (many systems route them to themselves) and port 0 are not dialed."""
    if not node.is_near:
        raise Skipped("0.0.0.0 would lead the node to its own machine, not to us")
    with Home(node) as home, Home(node) as good, node.join() as peer:
        bad = ["0.0.0.0:%d", "[::]:%d", "[::ffff:0.0.0.0]:%d", "224.0.0.1:%d", "255.255.255.255:%d"]
        peer.send("addr", peers=["127.0.0.1:0"] + [address % home.port for address in bad])
        peer.send("addr", peers=[good.entry])
        good.expect().sock.close()  # dialed after the bad ones would have been
        if home.accept(within=0.5) is not None:
            raise Broken("no dial", "a dial to the unspecified address")
