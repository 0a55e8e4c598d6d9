"""Key files: what is one, and who else may be able to read it."""

import os
import re
import subprocess
import sys

import pytest

from p2p_plain import cli
from p2p_plain.common import keys
from p2p_plain.common.errors import CannotStart
from p2p_plain.common.keys import Key, decode_key, encode_key, key_of, make_key_file, new_key, read_keys
from p2p_plain.common.program import CANNOT_START, DONE
from tests.support import ROOT

KEY = key_of(bytes(range(32)))
LINE = "p2p1:%s:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" % KEY.id


@pytest.fixture
def file(tmp_path):
    """A function that makes a file with this content and mode; returns its path."""

    def make(content=LINE + "\n", mode=0o600):
        path = tmp_path / "key"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return str(path)

    return make


def refusal(path):
    """The one line that says why there is no key."""
    with pytest.raises(CannotStart) as error:
        read_keys([path])
    said = str(error.value)
    assert "\n" not in said and path in said
    assert "chmod 600" in said
    assert "AAEC" not in said  # no part of the key
    return said


def test_a_key_is_one_line_with_its_id(file):
    assert encode_key(KEY) == LINE
    assert read_keys([file()]) == (KEY,)
    assert read_keys([file(LINE), file(LINE + "\r\n")]) == (KEY, KEY)


def test_a_key_is_not_printed_by_accident():
    assert repr(KEY) == "<Key %s>" % KEY.id


def test_new_keys_are_random_and_have_256_bits():
    one, other = new_key(), new_key()
    assert one != other and one.id != other.id
    assert len(one.secret) == 32
    assert decode_key(encode_key(one)) == one


@pytest.mark.parametrize(
    "content, says",
    [
        ("", "it is empty"),
        ("\n\n", "it is empty"),
        (LINE + "\n" + LINE, "more than one line"),
        ("correct horse battery staple", "does not begin with p2p1:"),
        (LINE.replace("p2p1", "p2p2"), "does not begin with p2p1:"),
        (LINE[:-2], "base64"),
        (LINE[:-6], "base64"),
        (LINE[:-4], "the key has 30 bytes and not 32"),
        (LINE.replace("AAEC", "AAED"), "KEYID does not fit"),
        (LINE.replace(KEY.id, "00000000"), "KEYID does not fit"),
        (LINE[:-1] + " =", "KEYID does not fit"),
        ("p2p1:%s:" % KEY.id, "0 bytes"),
        ("p2p1:%s:\u00e9" % KEY.id, "it is not text"),
        (b"\xff\xfe" + LINE.encode(), "it is not text"),
        ("x" * 5000, "does not begin with p2p1:"),
    ],
)
def test_what_is_no_key_is_refused_with_the_reason(file, content, says):
    assert says in refusal(file(content))


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o644, 0o666])
def test_a_file_that_others_may_use_is_refused(file, mode):
    assert "others may use it (mode %03o)" % mode in refusal(file(mode=mode))


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_that_only_its_owner_may_use_is_taken(file, mode):
    assert read_keys([file(mode=mode)]) == (KEY,)


def test_no_file_a_folder_and_a_pipe_are_refused_without_waiting(tmp_path):
    os.mkfifo(str(tmp_path / "pipe"), 0o600)
    assert "No such file" in refusal(str(tmp_path / "none"))
    assert "not a regular file" in refusal(str(tmp_path))
    assert "not a regular file" in refusal(str(tmp_path / "pipe"))
    assert "not a regular file" in refusal("/dev/null")


def test_the_file_behind_a_link_is_what_counts(file, tmp_path, monkeypatch):
    link = tmp_path / "link"
    link.symlink_to(file())
    assert read_keys([str(link)]) == (KEY,)
    # Another user's file, without being root: to whoever asks, this process belongs to somebody else.
    if os.geteuid() == 0:
        os.chown(file(), 12345, 12345)
        assert "belongs to another user" in refusal(str(link))
        return
    monkeypatch.setattr(keys.os, "geteuid", lambda: os.getuid() + 1)
    assert "belongs to another user" in refusal(str(link))


# -- keygen -----------------------------------------------------------------------------------------


def test_keygen_prints_a_key(capsys):
    assert cli.main(["keygen"]) == DONE
    printed = capsys.readouterr().out
    assert isinstance(decode_key(printed), Key)
    assert printed.count("\n") == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_key_that_cannot_be_printed_is_reported(capsys, monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert cli.main(["keygen"]) == CANNOT_START
        monkeypatch.undo()
    assert capsys.readouterr().err == "p2p_plain: cannot print the key: No space left on device\n"


def test_keygen_makes_a_file_that_only_its_owner_can_read(tmp_path):
    path = str(tmp_path / "network.key")
    done = subprocess.run(
        [sys.executable, "-m", "p2p_plain", "keygen", path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: os.umask(0),
    )
    (key,) = read_keys([path])
    assert (done.returncode, done.stderr) == (0, b"")
    assert re.fullmatch(r".+ holds key %s\n" % key.id, done.stdout.decode())
    assert os.stat(path).st_mode & 0o7777 == 0o600


def test_keygen_never_replaces_a_file(file, capsys):
    path = file()
    assert cli.main(["keygen", path]) == CANNOT_START
    assert capsys.readouterr().err == "p2p_plain: cannot make %s: File exists\n" % path
    assert read_keys([path]) == (KEY,)


def test_keygen_says_that_no_file_can_have_a_name(tmp_path, capsys):
    """Words of an options file may hold any byte."""
    options = tmp_path / "options"
    options.write_bytes(b"keygen a\0b\n")
    assert cli.main(["@%s" % options]) == CANNOT_START
    said = capsys.readouterr().err
    assert said.startswith("p2p_plain: cannot make a\\x00b: ") and said.count("\n") == 1


def test_a_key_that_does_not_fit_the_disk_leaves_no_file(tmp_path, monkeypatch):
    def no_space(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keys.os, "fsync", no_space)
    with pytest.raises(CannotStart, match="No space left"):
        make_key_file(str(tmp_path / "key"))
    assert not list(tmp_path.iterdir())
