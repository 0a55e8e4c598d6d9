"""Keys: what the members of a network share, and the files that hold them.

A key file has one line, ``p2p1:KEYID:BASE64``: 32 random bytes, and a name for them that is no secret.
There are no passphrases: a program that is dialed sees a proof of the key, and could then try one word
after the other until the proof fits.

Any thread.
"""

import binascii
import os
import stat
from hashlib import sha256

from .errors import CannotStart, why
from .typing import NamedTuple, Sequence, Tuple

KEY_BYTES = 32
"""256 random bits, as many as SHA-256 has.  Nobody can try them all."""

PREFIX = "p2p1"
"""What a key begins with: its format, and a word to search a disk for."""

MAX_KEY_FILE = 1024
"""Bytes that are read of a key file.  A key takes 58."""


class Key(NamedTuple):
    """A secret that members share."""

    id: str
    """The first 8 hex digits of a hash: says which key is meant, and nothing about the secret."""
    secret: bytes

    def __repr__(self) -> str:
        return "<Key %s>" % self.id  # never in a log or a traceback


def key_of(secret: bytes) -> Key:
    """Return the key of these 32 bytes."""
    return Key(sha256(b"p2p_plain key id" + secret).hexdigest()[:8], secret)


def new_key() -> Key:
    """Return a new random key."""
    return key_of(os.urandom(KEY_BYTES))


def encode_key(key: Key) -> str:
    """Return the line of a key file, without a newline."""
    return "%s:%s:%s" % (PREFIX, key.id, binascii.b2a_base64(key.secret).decode("ascii").strip())


def decode_key(text: str) -> Key:
    """Read the content of a key file.  Raises ``ValueError`` that says what is wrong, without the key."""
    lines = text.strip().splitlines()
    if len(lines) != 1:
        raise ValueError("it is empty" if not lines else "it has more than one line")
    parts = lines[0].split(":", 2)
    if parts[0] != PREFIX or len(parts) < 3:
        raise ValueError("it does not begin with %s:KEYID:" % PREFIX)
    try:
        key = key_of(binascii.a2b_base64(parts[2]))
    except ValueError:  # binascii.Error is one; so is what is not ASCII
        raise ValueError("what follows KEYID is not base64") from None
    if len(key.secret) != KEY_BYTES:
        raise ValueError("the key has %d bytes and not %d" % (len(key.secret), KEY_BYTES))
    # a2b_base64 skips what it does not know, so compare with the one way to write it.
    if encode_key(key) != lines[0]:
        raise ValueError("KEYID does not fit the key: a part of it was changed or cut")
    return key


def read_keys(paths: Sequence[str]) -> Tuple[Key, ...]:
    """Return the keys of these files, in order.  Raises ``CannotStart``, which names the file."""
    return tuple(_read_key(path) for path in paths)


def _read_key(path: str) -> Key:
    # Open first, and check the open file: a file that is checked by its name can be another one by the
    # time it is opened.  Without O_NONBLOCK the opening of a pipe would wait for a writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:  # ValueError: no file can have that name
        text = "cannot read the key file %s: %s; it must be a file of your own with chmod 600"
        raise CannotStart(text % (path, why(error))) from error
    try:
        problem = _problem(os.fstat(descriptor))
        if problem:
            text = "the key file %s is not safe: %s; it must be a file of your own with chmod 600"
            raise CannotStart(text % (path, problem))
        data = os.read(descriptor, MAX_KEY_FILE)
    except OSError as error:
        raise CannotStart("cannot read the key file %s: %s" % (path, error.strerror)) from error
    finally:
        os.close(descriptor)
    try:
        return decode_key(data.decode("ascii"))
    except ValueError as error:  # UnicodeDecodeError is one, and would show a part of the file
        wrong = "it is not text" if isinstance(error, UnicodeDecodeError) else error
        text = "%s holds no key: %s; keygen makes one (chmod 600)"
        raise CannotStart(text % (path, wrong)) from None


def _problem(found: os.stat_result) -> str:
    """Return why others could know what is in that file; empty if only we and root can."""
    if not stat.S_ISREG(found.st_mode):
        return "it is not a regular file"
    if not hasattr(os, "geteuid"):
        return ""  # Windows: its access lists are not in these bits
    if found.st_uid not in (os.geteuid(), 0):
        return "it belongs to another user"
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return "others may use it (mode %03o)" % stat.S_IMODE(found.st_mode)
    return ""


def make_key_file(path: str) -> Key:
    """Make a file with a new key that only its owner can read.  Raises ``CannotStart``.

    A file that is there already stays as it is.
    """
    key = new_key()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except (OSError, ValueError) as error:  # ValueError: no file can have that name
        raise CannotStart("cannot make %s: %s" % (path, why(error))) from error
    try:
        with open(descriptor, "wb") as file:
            file.write(encode_key(key).encode("ascii") + b"\n")
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        os.unlink(path)  # a file with half a key is of no use
        raise CannotStart("cannot write %s: %s" % (path, error.strerror)) from error
    return key
