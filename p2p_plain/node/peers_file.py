"""The peers file: the address book on disk, so that a restarted node knows whom to dial.

It is JSON, with a list of proven addresses and one of heard ones.  Its times are times of day, because
a monotonic clock means nothing to the next process.  At every moment either the old file or the new
one is there, whole.  A damaged file is moved aside with a warning, and the node starts.  A file keeps
its mode and its owner, and a symbolic link stays one: the file that it leads to is replaced.

The thread ``keeper`` saves it.
"""

import functools
import json
import os
import re
import stat
from threading import Event
from time import monotonic, time

from ..common.address import Address, is_shareable
from ..common.errors import CannotStart, PeerMisbehaved, why
from ..common.events import WARNING, Events
from ..common.file_lock import FileLock
from ..common.typing import Any, Optional, Tuple
from . import codec
from .address_book import AddressBook
from .book_entries import HeardAddress, Kept, KeptAddress
from .fields import Fields
from .shelf import MAX_BOOK

SAVE_INTERVAL = 60.0
"""Seconds between two saves: the most that a crash can lose."""

FILE_VERSION = 1
"""A file of another version is moved aside, not guessed at."""

MAX_FILE = 2 * 1024 * 1024
"""Bytes that are read.  Two lists of ``MAX_BOOK`` entries of 250 fit, and entries are shorter."""


class PeersFile:
    """The file of one node.  Its methods run one after the other."""

    def __init__(self, path: str, book: AddressBook, events: Events) -> None:
        """Raises ``CannotStart`` if the folder does not exist."""
        try:
            self._path: Optional[str] = os.path.abspath(path)
        except OSError as error:  # relative to a working folder that has been deleted
            raise CannotStart("cannot find %s from here: %s" % (path, why(error))) from error
        self._book = book
        self._events = events
        folder = os.path.dirname(os.path.realpath(self._path))
        if not os.path.isdir(folder):
            raise CannotStart("there is no folder %s; see --peers-file" % folder)

    def read(self) -> None:
        """Fill the book.  A damaged file is moved aside.  Raises ``CannotStart``."""
        assert self._path is not None
        path = os.path.realpath(self._path)
        try:
            self._book.add_kept(load(path, time()), monotonic())
        except (OSError, ValueError) as error:
            aside = path + ".bad"
            try:
                os.replace(path, aside)
                done = "moved to %s" % aside
            except OSError as failed:
                self._path = None
                done = "left there, and nothing will be saved: %s" % failed.strerror
            self._events.log(WARNING, "%s is damaged or unreadable (%s); %s", path, why(error), done)

    def keep(self, stopping: Event) -> None:
        """Save changes once a minute, and when ``stopping`` is set.  The thread ``keeper``."""
        if self._path is None:
            return
        lock = FileLock()
        try:
            self._keep(self._path, lock, stopping)
        finally:
            lock.release()

    def _keep(self, given: str, lock: FileLock, stopping: Event) -> None:
        # Links are followed each time: where this one leads may change.
        path = os.path.realpath(given)
        sweep(path, time())
        if not lock.take(path):
            text = "another node uses %s: each overwrites what the other one saves; give each its own"
            self._events.log(WARNING, text + " --peers-file", given)
        # An empty file may be our own: the lock made it.
        found = _stat(path)
        saved = 0 if found is not None and found.st_size else None
        complaint = ""
        while True:
            last = stopping.wait(SAVE_INTERVAL)
            changes = self._book.changes()
            if changes != saved:
                try:
                    path = os.path.realpath(given)
                    save(path, self._book.kept(monotonic()), time(), lock)
                    saved = changes
                    complaint = ""
                except OSError as error:
                    if why(error) != complaint:  # once, not each minute for months
                        complaint = why(error)
                        self._events.log(WARNING, "cannot save %s: %s", path, complaint)
            if last:
                return


def save(path: str, kept: Kept, wall_now: float, lock: Optional[FileLock] = None) -> None:
    """Write a temporary file in the same folder and rename it to ``path``.

    It gets the mode and the owner of the old file, as far as we may give them, and its lock.  Raises
    ``OSError``; the old file is then as it was.
    """
    document = {
        "format": "p2p_plain peers",
        "version": FILE_VERSION,
        "peers": [
            {"address": str(k.address), "nodeid": k.nodeid, "proven": round(wall_now - k.age)}
            for k in kept.proven
        ],
        "heard": [
            {"address": str(k.address), "nodeid": k.nodeid, "from": k.source} for k in kept.heard
        ],
    }
    # A name that nobody can guess, and a file that did not exist ("x"): otherwise another user of the
    # folder could put a link there first, and have us overwrite the file that it points to.
    temporary = "%s.%s.tmp" % (path, os.urandom(8).hex())
    try:
        old = _stat(path)
        mode = 0o666 if old is None else 0o600  # nobody may read it before it has the old one's mode
        opener = functools.partial(os.open, mode=mode)
        with open(temporary, "x", encoding="ascii", opener=opener) as file:
            if old is not None:
                _give_access(file.fileno(), old)
            json.dump(document, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())  # the bytes reach the disk before the new name does
        if lock is None:
            os.replace(temporary, path)
        else:
            lock.replace(temporary, path)
    except OSError:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise


def _stat(path: str) -> Optional[os.stat_result]:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _give_access(descriptor: int, old: os.stat_result) -> None:
    """Give an open file the group, the owner and the mode of another one, as far as we may."""
    if not hasattr(os, "fchown"):  # Windows
        return
    for owner in (-1, old.st_uid):  # only root may give a file away, but we may be in the group
        try:
            os.fchown(descriptor, owner, old.st_gid)
        except OSError:
            break
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def sweep(path: str, wall_now: float) -> None:
    """Remove temporary files of processes that died in ``save``.

    Recent ones stay: another process may be writing them.
    """
    folder, base = os.path.split(path)
    try:
        for name in os.listdir(folder or os.curdir):
            middle = name[len(base) + 1 : -len(".tmp")]
            if name == "%s.%s.tmp" % (base, middle) and re.match("[0-9a-f]+$", middle):
                left = os.path.join(folder, name)
                if wall_now - os.stat(left).st_mtime > SAVE_INTERVAL:
                    os.unlink(left)
    except OSError:
        pass  # litter does no harm


def load(path: str, wall_now: float) -> Kept:
    """Return what ``save`` wrote; nothing if the file does not exist or is empty.

    It is read as strictly as a line of the wire.  Raises ``ValueError`` if it is no peers file,
    ``OSError`` if it cannot be read, and ``CannotStart`` if it is no regular file: a folder, for
    example, is our user's typing mistake and is not moved.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for its writer
            raise CannotStart("%s is not a regular file; see --peers-file" % path)
        with open(path, "rb") as file:
            data = file.read(MAX_FILE)
    except FileNotFoundError:
        data = b""
    if not data:  # a file that touch(1) or mktemp(1) made
        return Kept([], [])
    try:
        document = codec.decode(data)
        if document.get("format") != "p2p_plain peers":
            raise ValueError("not a p2p_plain peers file")
        version = document.get("version")
        if version != FILE_VERSION:
            raise ValueError("version %r; this program reads %d" % (version, FILE_VERSION))
        document.setdefault("heard", [])
        fields = Fields("peers file", document)
        return Kept(
            [_read_proven(entry, wall_now) for entry in fields.array("peers", MAX_FILE)[:MAX_BOOK]],
            [_read_heard(entry) for entry in fields.array("heard", MAX_FILE)[:MAX_BOOK]],
        )
    except PeerMisbehaved as error:
        raise ValueError(error.detail) from None


def _read_proven(entry: Any, wall_now: float) -> KeptAddress:
    fields, address = _read_entry(entry)
    proven = fields.number("proven")
    if proven is None:
        raise fields.wrong("proven", "a time")
    return KeptAddress(address, fields.uuid("nodeid"), max(0.0, wall_now - proven))


def _read_heard(entry: Any) -> HeardAddress:
    fields, address = _read_entry(entry)
    nodeid = fields.uuid("nodeid") if fields.raw("nodeid") is not None else None
    return HeardAddress(address, nodeid, fields.uuid("from"))


def _read_entry(entry: Any) -> Tuple[Fields, Address]:
    if not isinstance(entry, dict):
        raise ValueError("an entry that is not an object")
    fields = Fields("entry", entry)
    address = fields.address("address")
    if address is None or not is_shareable(address):
        raise fields.wrong("address", "an address to dial")
    return fields, address
