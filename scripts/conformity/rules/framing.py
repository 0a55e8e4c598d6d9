"""Lines and streams: where a message ends, what is ignored, and how a connection ends."""

import os
import socket
import struct

from ..grammar import encode
from ..node import Node
from ..outcome import about
from ..rule import CORE, rule


@rule(CORE, 0)
def a_line_may_come_in_pieces(node: Node) -> None:
    """One read is not one message: a line may arrive byte by byte."""
    with node.dial() as peer:
        for byte in peer.hello_line() + encode("ping"):
            peer.send_raw(bytes([byte]))
        peer.expect("hello")
        peer.expect("pong")


@rule(CORE, 0)
def many_lines_may_come_at_once(node: Node) -> None:
    """One read is not one message: hello and fifty pings may arrive in one packet."""
    with node.dial() as peer:
        peer.send_raw(peer.hello_line() + encode("ping") * 50)
        peer.expect("hello")
        for number in range(50):
            with about("ping %d of 50" % (number + 1)):
                peer.expect("pong")


@rule(CORE, 0)
def blank_lines_and_crlf(node: Node) -> None:
    r"""A line may end with \r\n, and blank lines are skipped."""
    with node.dial() as peer:
        peer.send_raw(b"\n" + peer.hello_line()[:-1] + b"\r\n")
        peer.expect("hello")
        peer.send_raw(b'\r\n\n{"msgtype": "ping"}\r\n')
        peer.expect("pong")


@rule(CORE, 0)
def json_as_it_may_be_spelt(node: Node) -> None:
    """Any JSON will do: spaces, the order of fields and escaped characters mean nothing."""
    with node.join() as peer:
        peer.send_raw(b'\t{ "since" : [ 1999 , null ] , "msg\\u0074ype"\t: "p\\u0069ng" }  \n')
        peer.expect("pong")


@rule(CORE, 0)
def the_unknown_is_ignored(node: Node) -> None:
    """Unknown types and unknown fields are ignored."""
    with node.join(colour="green", tastes={"of": ["lime"]}) as peer:
        peer.send("from 2036", peers=7, nodeid=False)
        peer.send("ping", since=1999)
        peer.expect("pong")


@rule(CORE, 0)
def the_end_is_answered_with_the_end(node: Node) -> None:
    """When one side ends its direction of the stream (half-closes), the other side closes."""
    with node.join() as peer:
        peer.half_close()
        peer.expect_end()


@rule(CORE, 0)
def after_bye_it_closes(node: Node) -> None:
    """A node that receives bye closes the connection."""
    with node.join() as peer:
        peer.send_bye("stopping")


@rule(CORE, 0)
def a_broken_connection_is_nothing_special(node: Node) -> None:
    """A connection that breaks off in the middle of a line harms no other."""
    with node.join() as good:
        for _ in range(3):
            with node.join() as bad:
                bad.send_raw(b'{"msgtype": "pi')
                # Closing with a zero linger time sends a reset, as after a power cut.
                zero = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
                bad.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, zero)
        good.round_trip()
