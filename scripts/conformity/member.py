"""Our end of a connection in a network for members only: the proofs and the seals, by the wire document."""

import base64
import hashlib
import hmac
import json
import os
import struct
from typing import Any, Dict, List, NamedTuple, Optional

from .grammar import encode
from .node import Node
from .outcome import Broken
from .peer import Peer


class Key(NamedTuple):
    """A key of the network."""

    id: str
    secret: bytes


def read_key(path: str) -> Key:
    """Return the key in a file.  Raises ``OSError`` or ``ValueError``."""
    with open(path, encoding="ascii") as file:
        _, id, text = file.read().strip().split(":")
    return Key(id, base64.b64decode(text))


def mac(key: bytes, data: bytes) -> bytes:
    """Return HMAC-SHA256."""
    return hmac.new(key, data, hashlib.sha256).digest()


class Member(Peer):
    """A connection on which both ends prove the key, and seal each line after that.

    A test of a rule overrides or calls one of the steps.
    """

    key = Key("", b"")
    _sealing = _opening = b""
    _said = _heard = 0

    def first_hello(self, **fields: Any) -> bytes:
        """Return our first hello, with its newline."""
        host, port = self.sock.getpeername()[:2]
        dialed = ("[%s]:%d" if ":" in host else "%s:%d") % (host, port)
        known = {"nodeid": self.nodeid, "nonce": os.urandom(32).hex(), "auth": [self.key.id]}
        return encode("hello", **dict(dict(known, dialed=dialed), **fields))

    def exchange_hellos(self, ours: Optional[bytes] = None) -> bytes:
        """Say our first hello, hear the other one, and return T."""
        first = ours or self.first_hello()
        self.send_raw(first)
        second = self.raw_line()
        hello = as_object(second)
        if hello.get("msgtype") != "hello" or not {"nonce", "auth"} <= set(hello):
            raise Broken("a hello with nonce and auth", ascii(second))
        for extra in set(hello) - {"msgtype", "nodeid", "port", "nonce", "auth"}:
            raise Broken("no %s in a first hello" % extra, ascii(second))
        if self.key.id not in hello["auth"]:
            raise Broken("key %s among those that it accepts" % self.key.id, ascii(second))
        pair = (first[:-1], second)
        both = b"".join(struct.pack(">I", len(line)) + line for line in pair)
        return hashlib.sha256(both).digest()

    def proof(self, transcript: bytes, role: bytes = b"I") -> bytes:
        """Return our proof as a line."""
        said = mac(self.key.secret, b"p2p_plain/1 auth " + role + transcript).hex()
        return encode("auth", key=self.key.id, mac=said)

    def expect_proof(self, transcript: bytes) -> None:
        """Hear the node's proof and check it."""
        line = self.raw_line()
        if as_object(line) != as_object(self.proof(transcript, b"R")):
            raise Broken("its own proof for key %s" % self.key.id, ascii(line))

    def begin_seals(self, transcript: bytes) -> None:
        """Seal from now on."""
        self._sealing = mac(self.key.secret, b"p2p_plain/1 key I>R" + transcript)
        self._opening = mac(self.key.secret, b"p2p_plain/1 key R>I" + transcript)

    def authenticate(self) -> "Member":
        """Go through the whole handshake."""
        transcript = self.exchange_hellos()
        self.send_raw(self.proof(transcript))
        self.expect_proof(transcript)
        self.begin_seals(transcript)
        return self

    def sealed(self, line: bytes) -> bytes:
        """Return a line with its seal; it counts as said."""
        number, self._said = self._said, self._said + 1
        seal = mac(self._sealing, struct.pack(">Q", number) + line[:-1])[:16]
        return line[:-1] + b" " + seal.hex().encode() + b"\n"

    def send(self, msgtype: str, **fields: Any) -> None:
        """Send one message, sealed if the seals have begun."""
        line = encode(msgtype, **fields)
        self.send_raw(self.sealed(line) if self._sealing else line)

    def send_hello(self, **fields: Any) -> None:
        """Send our second hello."""
        self.send("hello", **dict({"nodeid": self.nodeid, "network": self.network}, **fields))

    def opened(self, line: bytes) -> bytes:
        """Return a line of the node's without its seal.  Raises ``Broken``."""
        if not self._opening:
            return line
        seal = mac(self._opening, struct.pack(">Q", self._heard) + line[:-33])[:16]
        if line[-33:] != b" " + seal.hex().encode():
            raise Broken("the seal of line %d" % self._heard, ascii(line[-80:]))
        self._heard += 1
        return line[:-33]

    def raw_line(self) -> bytes:
        """Return the node's next line."""
        self.sock.settimeout(self.patience)
        try:
            while b"\n" not in self._buffer:
                chunk = self.sock.recv(65536)
                if not chunk:
                    raise Broken("one more line", "the end")
                self._buffer += chunk
        except OSError as error:
            raise Broken("one more line within %g s" % self.patience, str(error)) from None
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def expect_only_bye(self) -> None:
        """Wait for the end; the node says ``bye unauthorised`` before it, and nothing more."""
        heard: List[Dict[str, Any]] = self.read_for(self.patience)
        if heard != [{"msgtype": "bye", "reason": "unauthorised"}] or not self.end:
            raise Broken("bye unauthorised without a detail, and the end", self.story())


def as_object(line: bytes) -> Dict[str, Any]:
    """Return the object on a line.  Raises ``Broken``."""
    try:
        return dict(json.loads(line.decode("utf-8")))
    except ValueError:
        raise Broken("one JSON object on each line", ascii(line)) from None


def dial(node: Node) -> Member:
    """Return a connection to the node on which nothing was sent."""
    peer = node.dial()
    member = Member(peer.sock, peer.patience, peer.network, peer.nodeid)
    assert node.key is not None
    member.key = node.key
    return member
