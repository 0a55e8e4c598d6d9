"""Windows, macOS and others, where these tests do not run: each difference to Linux as a fake.

More of them are tested with their subjects: exclusive ports on Windows and IPv6 that is switched
off (``test_listener``), waiting without ``poll`` (``test_transport``), Ctrl-Break and no SIGTERM
(``test_signals``).
"""

import errno
import io
import socket
import sys

import pytest

from p2p_plain.commands.watch_panel import BLOCKS
from p2p_plain.common import machine, output, program
from p2p_plain.common.output import Output, wants_colour
from p2p_plain.common.threads import Crew
from p2p_plain.node import connector
from p2p_plain.node.listener import Listener
from p2p_plain.terminal import screen
from p2p_plain.terminal.text import as_encoded


@pytest.fixture
def windows(monkeypatch):
    monkeypatch.setattr(output, "on_windows", lambda: True)


class Terminal(io.StringIO):
    def isatty(self):
        return True


# -- the console --------------------------------------------------------------------------------------


def test_a_windows_console_gets_escapes_for_characters_that_it_lacks():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="cp1252", newline="\r\n")
    Output(stream).write("z\u00fcrich \u2192 \u6771\u4eac")
    assert raw.getvalue() == b"z\xfcrich \\u2192 \\u6771\\u4eac\r\n"


def test_watch_draws_in_ascii_on_that_console():
    blocks = as_encoded(BLOCKS, "cp1252")
    assert blocks.encode("cp1252").startswith(b"\\u2581")  # so it draws with ASCII_BLOCKS


def test_einval_on_windows_means_that_the_reader_is_gone(windows, tmp_path):
    told = []
    with open(str(tmp_path / "pipe"), "w") as stream:

        class Pipe(io.StringIO):
            def flush(self):
                told.append("tried")
                raise OSError(errno.EINVAL, "Invalid argument")

            def fileno(self):
                return stream.fileno()

        out = Output(Pipe())
        assert out.write("hello") is False
        assert out.write("hello") is True
    assert told == ["tried"]


def test_einval_elsewhere_says_nothing_about_the_reader():
    class Odd(io.StringIO):
        def flush(self):
            raise OSError(errno.EINVAL, "Invalid argument")

    assert Output(Odd()).write("hello") is True


@pytest.mark.parametrize(
    "environ, coloured", [({}, False), ({"WT_SESSION": "1"}, True), ({"TERM": "xterm"}, False)]
)
def test_windows_has_colour_only_in_its_newer_terminal(windows, environ, coloured):
    assert wants_colour(Terminal(), environ) is coloured


def test_without_termios_watch_prints_blocks(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert screen.is_screen(Terminal())
    monkeypatch.setattr(screen, "termios", None)
    assert not screen.is_screen(Terminal())


# -- sockets --------------------------------------------------------------------------------------------


@pytest.fixture
def listen():
    made = []

    def go(bind=None):
        made.append(Listener(bind, 0, Crew(print), lambda sock, place: sock.close()))
        return made[-1]

    yield go
    for one in made:
        one.stop()


def test_without_dual_stack_sockets_a_node_listens_on_ipv4(listen, monkeypatch):
    """As on OpenBSD.  More machines can reach an IPv4 address."""

    class Separate(socket.socket):
        def setsockopt(self, *args):
            if args[1:] == (socket.IPV6_V6ONLY, 0):
                raise OSError(errno.EINVAL, "Invalid argument")
            super().setsockopt(*args)

    monkeypatch.setattr(socket, "socket", Separate)
    assert listen().listening.wildcard == (4,)


def test_python_before_3_8_on_windows_lacks_ipproto_ipv6(listen, monkeypatch):
    asked = []

    class Fake(socket.socket):
        def setsockopt(self, *args):
            asked.append(args)

    monkeypatch.setattr(socket, "socket", Fake)
    monkeypatch.delattr(socket, "IPPROTO_IPV6")
    assert listen().listening.port
    assert (41, socket.IPV6_V6ONLY, 0) in asked or not socket.has_ipv6


def test_a_python_without_ipv6_listens_on_ipv4(listen, monkeypatch):
    monkeypatch.setattr(socket, "has_ipv6", False)
    assert listen().listening.wildcard == (4,)


def test_loopback_is_advertised_where_no_interface_is_known(monkeypatch):
    """No route, no ``fcntl``, no ``/proc``: a laptop with Windows and no network."""

    class Nowhere(socket.socket):
        def connect(self, address):
            raise OSError(errno.ENETUNREACH, "Network is unreachable")

    def no_file(*args, **more):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(socket, "socket", Nowhere)
    monkeypatch.setattr(machine, "open", no_file, raising=False)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    for wildcard, host in (((4,), "127.0.0.1"), ((4, 6), "127.0.0.1"), ((6,), "::1")):
        (address,) = machine.dialable_addresses(machine.Listening(6000, "", wildcard))
        assert address.host == host


def test_a_dial_under_way_is_waited_for_on_windows(monkeypatch):
    """There ``connect_ex`` says WSAEWOULDBLOCK, where others say EINPROGRESS."""

    class Slow(socket.socket):
        def connect_ex(self, address):
            super().connect_ex(address)
            return errno.EWOULDBLOCK

    with socket.socket() as there:
        there.bind(("127.0.0.1", 0))
        there.listen(1)
        monkeypatch.setattr(socket, "socket", Slow)
        sock, _ = connector.dial(connector.Address("127.0.0.1", there.getsockname()[1]), 5)
        sock.close()


# -- limits -----------------------------------------------------------------------------------------------


def test_a_system_without_a_descriptor_limit_has_no_limit(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    program._raise_descriptor_limit()
    assert machine.descriptors() == sys.maxsize


def test_a_limit_that_cannot_be_raised_is_left_alone(monkeypatch):
    """macOS calls "unlimited" a limit that it does not accept."""
    resource = pytest.importorskip("resource")

    def refuse(*args):
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda what: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    program._raise_descriptor_limit()
    assert machine.descriptors() == 256
