"""stdout when it is closed, a pipe without a reader, a full disk, or ASCII only."""

import io
import os
import signal
import struct
import subprocess
import sys

import pytest

from p2p_plain.common.output import Output, wants_colour
from tests.support import PATIENCE, ROOT, RawPeer, free_port, wait_until


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_line_is_written_at_once():
    stream = io.StringIO()
    assert Output(stream).write("hello")
    assert stream.getvalue() == "hello\n"


def test_a_waiting_line_is_written_with_the_next_flush(tmp_path):
    path = tmp_path / "out"
    with path.open("w") as stream:
        output = Output(stream)
        assert output.write("one", now=False) and output.write("two", now=False)
        assert path.read_text() == ""
        assert output.flush()
        assert path.read_text() == "one\ntwo\n"


def test_a_closed_stream_takes_everything():
    assert Output(None).write("hello")
    assert Output(None).flush()


def test_characters_that_the_encoding_lacks_are_escaped():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Output(stream).write("z\u00fcrich \u2192")
    assert raw.getvalue() == b"z\\xfcrich \\u2192\n"


def test_a_missing_reader_is_reported_once():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        output = Output(stream)
        assert output.write("hello", now=False) is True
        assert output.flush() is False
        assert output.write("hello") is True
        assert output.flush() is True


def test_a_full_disk_is_not_an_error():
    class Full(io.StringIO):
        def flush(self):
            raise OSError(28, "No space left on device")

    assert Output(Full()).write("hello")


@pytest.mark.parametrize(
    "environ, coloured",
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),  # "present and not an empty string", says no-color.org
        ({"TERM": "dumb"}, False),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="depends on the terminal there")
def test_colour_is_for_terminals_and_never_against_no_color(environ, coloured):
    assert wants_colour(Terminal(), environ) is coloured
    assert wants_colour(io.StringIO(), environ) is False


def test_only_a_terminal_has_a_width():
    assert Output(None).columns() is None
    assert Output(io.StringIO()).columns() is None
    fcntl = pytest.importorskip("fcntl")
    termios = pytest.importorskip("termios")
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as stream:
        output = Output(stream)
        for columns, told in ((0, None), (80, 80), (120, 120)):
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            assert output.columns() == told
    os.close(master)
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        assert Output(stream).columns() is None


# -- descriptors that were closed before the start --------------------------------------------------


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="looks into /proc")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("module", ["p2p_plain", "p2p_plain.node"])
def test_a_descriptor_closed_at_the_start_becomes_no_socket(closed, module):
    """Else what is printed there goes to a peer, and what it says counts as typed."""
    port = free_port()
    words = "exec %s -m %s --port %d --bind 127.0.0.1 %s" % (sys.executable, module, port, closed)
    process = subprocess.Popen(
        ["sh", "-c", words], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    try:

        def greeted():
            try:
                return RawPeer.dial(port)
            except ConnectionRefusedError:
                assert process.poll() is None
                return None

        with wait_until(greeted) as peer:
            peer.become_peer()
            for number in range(3):
                leads_to = os.readlink("/proc/%d/fd/%d" % (process.pid, number))
                assert not leads_to.startswith(("socket:", "anon_inode:")), number
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.communicate()
