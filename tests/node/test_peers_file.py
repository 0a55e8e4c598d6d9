"""The peers file: what a node remembers after a restart, a crash, a full disk."""

import errno
import json
import os
import random
import stat

import pytest

from p2p_plain import Node
from p2p_plain.common.address import Address
from p2p_plain.common import file_lock
from p2p_plain.common.errors import CannotStart
from p2p_plain.common.file_lock import FileLock
from p2p_plain.node import peers_file
from p2p_plain.node.address_book import AddressBook
from p2p_plain.node.book_entries import HeardAddress, Kept, KeptAddress
from p2p_plain.node.peers_file import MAX_FILE, SAVE_INTERVAL, load, save, sweep
from p2p_plain.node.shelf import MAX_BOOK, MAX_HEARD_PER_PEER
from tests.support import Program, wait_until

A, B, C = (Address("192.0.2.%d" % n, 6000) for n in (1, 2, 3))
NODE, OTHER, TELLER = ("%08d-0000-4000-8000-000000000000" % n for n in (1, 2, 3))

KEPT = [
    KeptAddress(A, NODE, 10.0),
    KeptAddress(Address("2001:db8::1", 65535), OTHER, 86400.0),
]
NOW = 1454587200.0


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "peers.json")


def test_saved_addresses_are_loaded_with_their_age(path):
    save(path, Kept(KEPT), NOW)
    assert load(path, NOW) == Kept(KEPT, [])
    assert [kept.age for kept in load(path, NOW + 50.0).proven] == [60.0, 86450.0]
    save(path, Kept(), NOW)
    assert load(path, NOW) == Kept([], [])


def test_heard_addresses_are_still_unproven_after_a_restart(path):
    heard = [HeardAddress(B, OTHER, TELLER), HeardAddress(C, None, TELLER)]
    save(path, Kept(KEPT, heard), NOW)
    assert load(path, NOW) == Kept(KEPT, heard)
    again = AddressBook(random.Random(1))
    again.add_kept(load(path, NOW), 0.0)
    assert again.proven([OTHER]) == [(KEPT[1].address, OTHER)]
    assert again.nodeid_at(B) == OTHER
    assert sorted(again.due(0.0, {}, 2)) == sorted(kept.address for kept in KEPT)


def test_one_peer_owns_no_more_of_the_file_than_of_the_book(path):
    heard = [
        HeardAddress(Address("10.0.%d.%d" % divmod(n, 256), 6000), None, TELLER) for n in range(1000)
    ]
    save(path, Kept([], heard), NOW)
    again = AddressBook(random.Random(1))
    again.add_kept(load(path, NOW), 0.0)
    assert len(again) == MAX_HEARD_PER_PEER


def test_a_file_of_an_earlier_version_without_hearsay_is_read(path):
    with open(path, "wb") as file:
        file.write(entry())
    assert load(path, NOW).heard == []


def test_only_old_temporary_files_are_swept_away(path):
    save(path, Kept(KEPT), NOW)
    others = ("peers.json.tmp", "peers.json.x.tmp", "other.123.tmp")
    for name in ("peers.json.0123456789abcdef.tmp", "peers.json.123.tmp", *others):
        with open(os.path.join(os.path.dirname(path), name), "w") as file:
            file.write("{")
        os.utime(file.name, (NOW, NOW))
    before = set(os.listdir(os.path.dirname(path)))
    sweep(path, NOW + SAVE_INTERVAL - 1)
    assert set(os.listdir(os.path.dirname(path))) == before
    sweep(path, NOW + SAVE_INTERVAL + 1)
    assert set(os.listdir(os.path.dirname(path))) == {"peers.json", *others}


def test_a_restarted_node_dials_the_addresses_that_were_proven(path):
    first, second = AddressBook(random.Random(1)), AddressBook(random.Random(2))
    first.note_found(A, NODE, 100.0)
    first.note_found(B, OTHER, 160.0)
    save(path, first.kept(160.0), NOW)
    second.add_kept(load(path, NOW + 40.0), 5.0)
    assert second.proven([NODE]) == [(A, NODE)]
    assert second.kept(5.0).proven == [KeptAddress(B, OTHER, 40.0), KeptAddress(A, NODE, 100.0)]
    assert sorted(second.due(5.0, {}, 100)) == [A, B]


def test_a_full_book_fits_the_file(path):
    longest = Address("2001:db8:1111:2222:3333:4444:5555:6666", 65535)
    everything = Kept(
        [KeptAddress(longest, NODE, 0.0)] * MAX_BOOK,
        [HeardAddress(longest, NODE, TELLER)] * MAX_BOOK,
    )
    save(path, everything, NOW)
    assert os.path.getsize(path) < MAX_FILE
    assert load(path, NOW) == everything


def test_a_missing_file_is_an_empty_book(path):
    assert load(path, NOW) == Kept([], [])


def test_a_clock_that_was_set_back_gives_no_negative_age(path):
    save(path, Kept(KEPT), NOW)
    assert [kept.age for kept in load(path, NOW - 1e6).proven] == [0.0, 0.0]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_save_that_fails_leaves_the_old_file_whole_and_nothing_else(path, monkeypatch, step):
    save(path, Kept(KEPT), NOW)
    with open(path, "rb") as file:
        before = file.read()

    def fails(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fails)
    with pytest.raises(OSError, match="No space left"):
        save(path, Kept(KEPT * 100), NOW)
    with open(path, "rb") as file:
        assert file.read() == before
    assert os.listdir(os.path.dirname(path)) == ["peers.json"]


def test_an_empty_file_is_an_empty_book(path):
    """``touch`` and ``mktemp`` make such files."""
    open(path, "w").close()
    assert load(path, NOW) == Kept([], [])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_only_regular_files_are_read(tmp_path):
    """Opening a pipe would wait for its writer; reading /dev/zero would not end."""
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    for odd in (pipe, "/dev/null", str(tmp_path)):
        with pytest.raises(CannotStart, match="regular file"):
            load(odd, NOW)


def test_a_save_without_its_folder_raises_oserror(path):
    with pytest.raises(OSError):
        save(os.path.join(path, "missing", "peers.json"), Kept(KEPT), NOW)


def document(**changes):
    found = {"format": "p2p_plain peers", "version": 1, "peers": []}
    found.update(changes)
    return json.dumps(found).encode()


def entry(**changes):
    return document(peers=[dict({"address": str(A), "nodeid": NODE, "proven": 1}, **changes)])


@pytest.mark.parametrize(
    "content",
    [
        b"\x00" * 1000,
        b"\xff\xfe{",
        b"{",
        document()[:-1],
        b"[]",
        b"null",
        b"[" * 100000,
        b'{"a":' * 100000,
        b"{}",
        document(format="something else"),
        document(version=2),
        document(version=None),
        document(peers=None),
        document(peers={}),
        document(peers=[None]),
        document(peers=[[str(A), NODE]]),
        document(peers=[{}]),
        entry(nodeid=None),
        entry(nodeid="me"),
        entry(address=None),
        entry(address="node.example:6000"),
        entry(address="10.0.0.1"),
        entry(address="0.0.0.0:6000"),
        entry(address="10.0.0.1:0"),
        entry(proven=None),
        entry(proven=True),
        entry(proven="yesterday"),
        entry(proven=float("nan")),
        entry(proven=float("inf")),
        entry(proven=-float("inf")),
        entry(proven=10 ** 400),
        document(heard={}),
        document(heard=[None]),
        document(heard=[{"address": str(A), "nodeid": None}]),
        document(heard=[{"address": str(A), "nodeid": 1, "from": NODE}]),
        document(heard=[{"address": "0.0.0.0:1", "nodeid": None, "from": NODE}]),
        b" " * MAX_FILE + document(),
    ],
    ids=lambda content: ascii(content[-60:]),
)
def test_a_damaged_file_raises_valueerror(path, content):
    """The node then moves it aside and starts."""
    with open(path, "wb") as file:
        file.write(content)
    with pytest.raises(ValueError):
        load(path, NOW)


def test_a_nodeid_in_upper_case_is_the_same_node(path):
    nodeid = "abcdef00-0000-4000-8000-000000000000"
    with open(path, "wb") as file:
        file.write(entry(nodeid=nodeid.upper()))
    assert load(path, NOW).proven[0].nodeid == nodeid


# -- a node that has one ------------------------------------------------------------------------


def test_the_peers_file_brings_a_node_back_without_a_bootstrap_list(make_node, tmp_path):
    path = str(tmp_path / "peers.json")
    first = make_node()
    second = make_node(bootstrap=first, peers_file=path)
    wait_until(lambda: second.peers())
    second.stop()
    again = make_node(peers_file=path)
    wait_until(lambda: again.peers())
    assert again.peers()[0].nodeid == first.nodeid
    assert os.listdir(str(tmp_path)) == ["peers.json"]


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"format": "other"}', b"[" * 100000])
def test_a_damaged_peers_file_is_moved_aside_and_the_node_starts(
    make_node, tmp_path, caplog, content
):
    path = tmp_path / "peers.json"
    path.write_bytes(content)
    node = make_node(peers_file=str(path))
    wait_until(lambda: caplog.records)
    assert len(caplog.records) == 1
    assert "damaged" in caplog.records[0].getMessage()
    node.stop()
    assert (tmp_path / "peers.json.bad").read_bytes() == content


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_a_peers_file_may_be_a_link_and_stays_one(make_node, tmp_path):
    (tmp_path / "real").mkdir()
    os.symlink(str(tmp_path / "real" / "peers.json"), str(tmp_path / "link"))
    first = make_node()
    second = make_node(bootstrap=first, peers_file=str(tmp_path / "link"))
    wait_until(lambda: second.peers())
    second.stop()
    assert os.path.islink(str(tmp_path / "link"))
    assert os.listdir(str(tmp_path / "real")) == ["peers.json"]


def test_a_peers_file_in_no_folder_is_said_at_the_start(tmp_path):
    with pytest.raises(CannotStart, match="no folder"):
        Node(port=0, peers_file=str(tmp_path / "absent" / "peers.json")).start()


def test_a_peers_file_that_is_a_folder_stops_the_start(tmp_path):
    with pytest.raises(CannotStart, match="not a regular file"):
        Node(port=0, peers_file=str(tmp_path)).start()


def test_a_peers_file_that_the_disk_does_not_give_is_moved_aside(
    make_node, tmp_path, caplog, monkeypatch
):
    """Not readable for us, or a bad sector: a warning, and the node starts without it."""
    path = tmp_path / "peers.json"
    path.write_bytes(b"precious")

    def unreadable(*args):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(peers_file, "load", unreadable)
    make_node(peers_file=str(path)).stop()
    (record,) = caplog.records
    assert "Input/output error" in record.getMessage()
    assert (tmp_path / "peers.json.bad").read_bytes() == b"precious"


def test_a_damaged_file_that_cannot_be_moved_is_left_and_never_overwritten(
    make_node, tmp_path, caplog, monkeypatch
):
    path = tmp_path / "peers.json"
    path.write_bytes(b"precious")

    def read_only(*args):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "replace", read_only)
    first = make_node()
    node = make_node(peers_file=str(path), bootstrap=first)
    wait_until(lambda: node.peers())
    monkeypatch.undo()
    node.stop()
    (record,) = caplog.records
    assert "left there" in record.getMessage()
    assert path.read_bytes() == b"precious"


def test_a_disk_that_stays_full_is_complained_of_once(make_node, tmp_path, caplog, monkeypatch):
    calls = []

    def full(*args):
        calls.append(args)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("p2p_plain.node.peers_file.SAVE_INTERVAL", 0.01)
    monkeypatch.setattr(peers_file, "save", full)
    first = make_node()
    node = make_node(peers_file=str(tmp_path / "peers.json"), bootstrap=first)
    wait_until(lambda: len(calls) >= 3)
    assert len(node.peers()) == 1
    node.stop()
    (record,) = caplog.records
    assert "No space left" in record.getMessage()


# -- whose file it is -----------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fchmod"), reason="needs modes")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_a_saved_file_keeps_its_mode(path, mode):
    save(path, Kept(), NOW)
    os.chmod(path, mode)
    before = os.umask(0o022)
    try:
        for _ in range(2):
            save(path, Kept(KEPT), NOW)
            assert stat.S_IMODE(os.stat(path).st_mode) == mode
    finally:
        os.umask(before)
    assert load(path, NOW).proven == KEPT


@pytest.mark.skipif(not hasattr(os, "umask"), reason="needs modes")
@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o077, 0o600)])
def test_a_new_file_has_the_mode_of_any_new_file(path, umask, mode):
    before = os.umask(umask)
    try:
        save(path, Kept(KEPT), NOW)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == mode


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="needs root")
def test_a_file_saved_by_root_keeps_its_owner(path):
    save(path, Kept(), NOW)
    os.chown(path, 12345, 54321)
    os.chmod(path, 0o600)
    save(path, Kept(KEPT), NOW)
    found = os.stat(path)
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 54321, 0o600)


def test_an_owner_that_we_may_not_give_is_no_reason_not_to_save(path, monkeypatch):
    def only_root(*args):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    save(path, Kept(), NOW)
    monkeypatch.setattr(os, "fchown", only_root)
    save(path, Kept(KEPT), NOW)
    assert load(path, NOW).proven == KEPT


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_a_link_that_is_turned_elsewhere_meanwhile_stays_a_link(make_node, tmp_path):
    link = tmp_path / "link"
    os.symlink(str(tmp_path / "one"), str(link))
    first = make_node()
    second = make_node(bootstrap=first, peers_file=str(link))
    wait_until(lambda: second.peers())
    link.unlink()
    os.symlink("two", str(link))
    second.stop()
    assert os.readlink(str(link)) == "two"
    assert len(load(str(tmp_path / "two"), NOW).proven) == 1


# -- two nodes, one file --------------------------------------------------------------------------

needs_locks = pytest.mark.skipif(file_lock.fcntl is None, reason="needs flock")


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records]


@needs_locks
@pytest.mark.parametrize("saved_before", [False, True])
def test_a_second_node_with_the_same_file_warns_once(make_node, tmp_path, caplog, saved_before):
    path = tmp_path / "peers.json"
    if saved_before:
        save(str(path), Kept(KEPT), NOW)
    make_node(peers_file=str(path))
    wait_until(path.exists)
    first = make_node()
    for _ in range(2):
        make_node(peers_file=str(path), bootstrap=first)
    wait_until(lambda: len(warnings_of(caplog)) == 2)
    assert all("another node uses %s" % path in text for text in warnings_of(caplog))


@needs_locks
def test_the_lock_is_on_the_new_file_after_a_save_too(path):
    """At no moment is there a file of that name that nobody has locked."""
    ours, theirs = FileLock(), FileLock()
    assert ours.take(path)
    for _ in range(3):
        save(path, Kept(KEPT), NOW, ours)
        assert not theirs.take(path)
    ours.release()
    assert theirs.take(path)
    theirs.release()


@needs_locks
def test_a_save_that_fails_leaves_the_lock_where_it_was(path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    ours, theirs = FileLock(), FileLock()
    assert ours.take(path)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        save(path, Kept(KEPT), NOW, ours)
    assert not theirs.take(path)
    ours.release()


@needs_locks
def test_a_node_that_has_stopped_or_was_killed_leaves_no_lock_and_no_litter(tmp_path):
    path = str(tmp_path / "peers.json")
    local = ("--port", "0", "--bind", "127.0.0.1", "--peers-file", path)
    with Program(*local) as program:
        program.wait_for("listening")
        wait_until(lambda: os.path.exists(path))
        theirs = FileLock()
        wait_until(lambda: not theirs.take(path) or theirs.release())
        program.process.kill()
    with Program(*local) as program:
        program.wait_for("listening")
        assert program.stop() == 0  # with nothing on stderr
    assert os.listdir(str(tmp_path)) == ["peers.json"]
    assert load(path, NOW) == Kept([], [])


@pytest.mark.parametrize("lack", ["no module", "ENOLCK", "EOPNOTSUPP", "EINVAL"])
def test_a_system_without_locks_is_served_all_the_same(make_node, tmp_path, caplog, monkeypatch, lack):
    def flock(*args):
        raise OSError(getattr(errno, lack), "no locks here")

    if lack == "no module":
        monkeypatch.setattr(file_lock, "fcntl", None)
    elif file_lock.fcntl is not None:
        monkeypatch.setattr(file_lock.fcntl, "flock", flock)
    path = str(tmp_path / "peers.json")
    first = make_node()
    for _ in range(2):
        node = make_node(bootstrap=first, peers_file=path)
        wait_until(lambda: node.peers())  # noqa: B023
        node.stop()
        assert len(load(path, NOW).proven) == 1
    assert os.listdir(str(tmp_path)) == ["peers.json"]
    assert warnings_of(caplog) == []
