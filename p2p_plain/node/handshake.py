"""How two members show each other that they have the key, before either believes a word.

Step by step; I is the end that dials, R the end that accepts::

    I                                            R
    hello: nodeid, port, nonce, auth, dialed  ->
                                              <- hello: nodeid, port, nonce, auth
    auth: key, mac                            ->
                                              <- auth: key, mac
    hello, sealed                             ->
                                              <- hello, sealed

The first hellos are two lines of plain text.  Their ``auth`` lists the keys that an end accepts.  Each
end hashes both hellos, the one that it has said and the one that it has heard, to one value T.  If
somebody on the way has changed a hello, the two ends have different values of T.

Each end then proves the key with a MAC of its role and T.  A proof fits no other connection, since the
nonces are new and random, and no other role.

From T and the key come two further keys, one for each direction.  Every further line is sealed with
them (``seal``).  The names and all else follow in a second hello, the first sealed line.

No sockets, threads or clock.  ``member_session`` and the commands' ``guest`` call this on the thread that
reads their connection.
"""

import hmac
import os
import re
import struct
from hashlib import sha256

from ..common.address import Address, is_shareable
from ..common.errors import PeerLeft, Unauthorised
from ..common.keys import Key, read_keys
from ..common.outcomes import ECHO, NO_KEY, NOT_ACCEPTED, UNKNOWN_KEY, WRONG_KEY
from ..common.typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple
from . import codec
from .fields import Fields
from .seal import Seal

NONCE_BYTES = 32
"""Random bytes in each first hello, which make each connection's T its own."""

MAX_KEY_IDS = 16
"""Keys that a hello may list.  During a rotation a node accepts two."""

_VERSION = b"p2p_plain/1 "
_NONCE = re.compile("[0-9a-f]{%d}" % (2 * NONCE_BYTES))
_KEY_ID = re.compile("[0-9a-f]{8}")


class FirstHello(NamedTuple):
    """What a member says before it trusts the other end."""

    nodeid: str
    port: Optional[int]
    nonce: str
    key_ids: Tuple[str, ...]
    """The keys that it accepts."""
    dialed: Optional[Address]
    """The address that it has dialed, if it is the end that did."""


class Secret:
    """The keys of one node or command: it speaks with the first, and accepts all.  Any thread."""

    def __init__(self, paths: Sequence[str]) -> None:
        """Read the key files.  Raises ``CannotStart``."""
        self._paths = paths
        self.keys: Tuple[Key, ...] = ()
        """Replaced as a whole.  Connections that stand keep the key with which they began."""
        self.read_again()

    def read_again(self) -> None:
        """Read the files again.  Raises ``CannotStart``, and then the keys stay as they are."""
        # Two files may hold the same key, and during a rotation they do.
        self.keys = tuple(dict.fromkeys(read_keys(self._paths)))

    def handshake(
        self, nodeid: str, port: Optional[int], dialed: Optional[Address] = None
    ) -> "Handshake":
        """Return our end of a new connection; ``dialed`` is the other end's address if we dialed."""
        return Handshake(self.keys, nodeid, port, dialed)


class Handshake:
    """One end of one connection until both have proven the key.  Reader thread only.

    Feed ``receive`` the lines as they come until ``sealing`` is there; from then on each line is
    sealed with ``sealing`` and opened with ``opening``.
    """

    def __init__(
        self,
        keys: Sequence[Key],
        nodeid: str,
        port: Optional[int],
        dialed: Optional[Address] = None,
        nonce: Optional[bytes] = None,
    ) -> None:
        """``keys`` are those that we accept; we speak with the first that both ends have.

        ``dialed`` is the other end's address if we dialed.  ``nonce`` is for tests only.
        """
        self._keys = keys
        self._dials = dialed is not None
        nonce = os.urandom(NONCE_BYTES) if nonce is None else nonce
        fields: Dict[str, Any] = {"msgtype": "hello", "nodeid": nodeid}
        if port is not None:
            fields["port"] = port
        fields.update(nonce=nonce.hex(), auth=[key.id for key in keys])
        if dialed is not None and is_shareable(dialed):
            fields["dialed"] = str(dialed)
        self._ours = codec.encode(fields)
        self._key: Optional[Key] = None
        self._transcript = b""
        """The hash T, once both hellos are there."""
        self.why = ""
        """A key of ``outcomes.WHYS``, once the other end has left because of our key."""
        self.theirs: Optional[FirstHello] = None
        """What the other end has said in its first hello.  Believe it once ``sealing`` is there."""
        self.sealing: Optional[Seal] = None
        """Seals what we say, once the other end has proven the key."""
        self.opening: Optional[Seal] = None
        """Opens what the other end says."""

    def begin(self) -> bytes:
        """Return the line that we say first, if we dialed; otherwise nothing."""
        return self._ours if self._dials else b""

    def receive(self, line: bytes) -> bytes:
        """Take the next line, without its newline; return what to answer.

        Raises ``Unauthorised`` if the other end is no member, ``PeerMisbehaved`` if it is no node, and
        ``PeerLeft`` if it says ``bye``.
        """
        if self.theirs is None and line == self._ours[:-1]:
            raise Unauthorised(ECHO, "it sends back what it is sent")
        fields = codec.decode(line)
        msgtype = fields.get("msgtype")
        if msgtype == "bye":
            said = Fields("bye", fields).text("reason", 16)
            if said == "unauthorised":
                self.why = NOT_ACCEPTED
                raise PeerLeft("unauthorised", "it does not accept our key")
            raise PeerLeft("closed", "it says bye")
        if self.theirs is None:
            return self._greeted(line, Fields("hello", fields) if msgtype == "hello" else None)
        return self._proven(Fields("auth", fields) if msgtype == "auth" else None)

    def _greeted(self, line: bytes, fields: Optional[Fields]) -> bytes:
        """Take the first hello; return ours if we have not said it yet, else our proof."""
        if fields is None or not (fields.has("nonce") and fields.has("auth")):
            raise Unauthorised(NO_KEY, "it has no key")
        self.theirs = _read(fields)
        first, second = (self._ours[:-1], line) if self._dials else (line, self._ours[:-1])
        self._transcript = sha256(_counted(first) + _counted(second)).digest()
        if not self._dials:
            return self._ours
        common = [key for key in self._keys if key.id in self.theirs.key_ids]
        if not common:
            theirs = ", ".join(self.theirs.key_ids) or "none"
            raise Unauthorised(UNKNOWN_KEY, "it accepts other keys than ours: " + theirs)
        self._key = common[0]
        return self._proof(self._key, b"I")

    def _proven(self, fields: Optional[Fields]) -> bytes:
        """Check the other end's proof; return ours if we have not said it yet."""
        if fields is None:
            raise Unauthorised(NO_KEY, "it does not prove its key")
        id = fields.text("key", 8)
        usable = self._keys if self._key is None else [self._key]
        key = next((key for key in usable if key.id == id), None)
        if key is None:
            raise Unauthorised(UNKNOWN_KEY, "it has another key: %a" % id)
        mac = fields.text("mac", 64) or ""
        expected = self._mac(key, b"auth R" if self._dials else b"auth I").hex()
        if not hmac.compare_digest(mac.encode("ascii", "replace"), expected.encode("ascii")):
            raise Unauthorised(
                WRONG_KEY, "its proof is wrong: another key, or changed on the way (key %s)" % id
            )
        inward, outward = (b"key R>I", b"key I>R") if self._dials else (b"key I>R", b"key R>I")
        self.opening = Seal(self._mac(key, inward))
        self.sealing = Seal(self._mac(key, outward))
        return b"" if self._dials else self._proof(key, b"R")

    def _proof(self, key: Key, role: bytes) -> bytes:
        mac = self._mac(key, b"auth " + role).hex()
        return codec.encode({"msgtype": "auth", "key": key.id, "mac": mac})

    def _mac(self, key: Key, purpose: bytes) -> bytes:
        return hmac.new(key.secret, _VERSION + purpose + self._transcript, sha256).digest()


def _counted(line: bytes) -> bytes:
    """Return the line after its length, so that no two pairs of lines are the same bytes."""
    return struct.pack(">I", len(line)) + line


def _read(fields: Fields) -> FirstHello:
    """Read a first hello.  Raises ``PeerMisbehaved``."""
    nonce = fields.text("nonce", 2 * NONCE_BYTES) or ""
    if not _NONCE.fullmatch(nonce):
        raise fields.wrong("nonce", "%d bytes in hex" % NONCE_BYTES)
    key_ids = fields.array("auth", MAX_KEY_IDS)
    if not all(isinstance(id, str) and _KEY_ID.fullmatch(id) for id in key_ids):
        raise fields.wrong("auth", "a list of key ids")
    return FirstHello(
        fields.uuid("nodeid"), fields.port("port"), nonce, tuple(key_ids), fields.address("dialed")
    )
