"""Members only: what a node with a secret says to members, and what to all others."""

from ..grammar import decode, encode, new_id
from ..member import dial
from ..node import Node
from ..outcome import Broken
from ..rule import MEMBERS, rule


def is_alive(node: Node) -> None:
    """Raise ``Broken`` if a member is not let in."""
    with dial(node) as peer:
        peer.authenticate().send_hello(probe=True)
        peer.expect("hello")
        peer.round_trip()


@rule(MEMBERS, 0)
def a_member_is_let_in(node: Node) -> None:
    """Who proves the key and says a second hello becomes a peer, and hears sealed lines."""
    with dial(node) as peer:
        peer.authenticate().send_hello()
        hello = peer.expect("hello")
        if {"nonce", "auth"} & set(hello):
            raise Broken("a second hello like that of any node", peer.story())
        peer.expect("ping")
        peer.round_trip()


@rule(MEMBERS, 0)
def a_guest_needs_the_key_as_well(node: Node) -> None:
    """A probe without a proof hears bye unauthorised, and one with a proof is answered."""
    with dial(node) as peer:
        peer.send_raw(peer.hello_line(probe=True))
        peer.expect_only_bye()
    is_alive(node)


@rule(MEMBERS, 0)
def strangers_hear_unauthorised(node: Node) -> None:
    """Whatever else comes first gets bye unauthorised, without a detail, and nothing more."""
    for words in (
        encode("hello", nodeid=new_id()), encode("ping"), encode("getlinks"), b"GET / HTTP/1.0\r\n",
        b"\n", encode("hello", nodeid=new_id(), nonce="00" * 32), encode("auth", key="00000000", mac=""),
    ):
        with dial(node) as peer:
            peer.send_raw(words)
            peer.expect_only_bye()
    is_alive(node)


@rule(MEMBERS, 0)
def a_wrong_proof_is_refused(node: Node) -> None:
    """A proof with one other digit, of another role, or for other hellos."""
    for change in ("digit", "role", "hello", "old"):
        with dial(node) as peer:
            first = peer.first_hello()
            transcript = peer.exchange_hellos(first)
            if change == "hello":
                transcript = bytes(32)
            proof = peer.proof(transcript, b"R" if change == "role" else b"I")
            if change == "digit":
                said = decode(proof)["mac"]
                proof = encode("auth", key=peer.key.id, mac=said[:-1] + ("0" if said[-1] != "0" else "1"))
            if change == "old":  # that of another connection, for the very same hello
                with dial(node) as other:
                    proof = other.proof(other.exchange_hellos(first))
            peer.send_raw(proof)
            peer.expect_only_bye()
    is_alive(node)


@rule(MEMBERS, 0)
def a_line_without_the_right_seal_ends_the_connection(node: Node) -> None:
    """None at all, one bit changed, a line said twice, one left out, and one before its time."""
    for change in ("none", "bit", "twice", "left out", "blank", "number"):
        with dial(node) as peer:
            peer.authenticate().send_hello()
            peer.expect("ping")
            line = peer.sealed(encode("ping"))
            if change == "none":
                line = encode("ping")
            elif change == "bit":
                line = line.replace(b"ping", b"qing")
            elif change == "twice":
                line += line
            elif change == "left out":
                line = peer.sealed(encode("ping"))
            elif change == "blank":
                line = b"\n"
            elif change == "number":
                peer._said = 2**32
                line = peer.sealed(encode("ping"))
            before = peer.count("pong")
            peer.send_raw(line)
            peer.expect_end()
            if peer.count("pong") > before + (change == "twice"):
                raise Broken("no answer to a line without its seal", peer.story())
    is_alive(node)


@rule(MEMBERS, 0)
def the_second_hello_is_of_the_same_node(node: Node) -> None:
    """A member cannot change its nodeid from the first hello to the second."""
    with dial(node) as peer:
        peer.authenticate()
        peer.send("hello", nodeid=new_id(), network=node.network)
        peer.expect_bye("protocol")


@rule(MEMBERS, 0)
def what_was_dialed_elsewhere_is_unlisted(node: Node) -> None:
    """A node says so if it does not know the address that was dialed as its own."""
    with dial(node) as peer:
        transcript = peer.exchange_hellos(peer.first_hello(dialed="198.51.100.1:1"))
        peer.send_raw(peer.proof(transcript))
        peer.expect_proof(transcript)
        peer.begin_seals(transcript)
        peer.send_hello()
        if peer.expect("hello").get("unlisted") is not True:
            raise Broken('a hello with "unlisted": true', peer.story())
    with dial(node) as peer:
        peer.authenticate().send_hello()
        if peer.expect("hello").get("unlisted"):
            raise Broken("a hello without unlisted for the node's own address", peer.story())
