"""One socket: what waits and what never does, with ``poll`` and, as on Windows, without it."""

import select
import socket
import threading
import time

import pytest

from p2p_plain.node import transport
from p2p_plain.node.transport import Transport, wait


@pytest.fixture(params=["poll", "select"])
def waiting(request, monkeypatch):
    """Both ways to wait: with ``poll``, and with ``select`` as on Windows."""
    if request.param == "select":
        monkeypatch.setattr(transport, "_DONTWAIT", 0)
        monkeypatch.delattr(select, "poll")
    return request.param


@pytest.fixture
def pair(waiting):
    """Two connected TCP sockets: a transport and the plain other end."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        ours = socket.create_connection(listener.getsockname())
        theirs = listener.accept()[0]
    made = Transport(ours)
    yield made, theirs
    made.close()
    theirs.close()


def fill(end):
    """Send until the kernel takes no more; return how much it took."""
    total, sent = 0, 1
    while sent:
        sent = end.send(b"x" * 65536)
        total += sent
    return total


def test_send_returns_how_much_fitted_and_never_blocks(pair):
    end, other = pair
    began = time.monotonic()
    total = fill(end)
    assert total > 65536
    assert end.send(b"more") == 0
    assert time.monotonic() - began < 5
    other.settimeout(5)
    while total:
        total -= len(other.recv(65536))
    assert end.wait(False, True, 5) == (False, True)
    assert end.send(b"more") == 4


def test_a_waiting_reader_does_not_delay_a_writer(pair):
    end, other = pair
    got = []
    reader = threading.Thread(target=lambda: got.append(end.receive()))
    reader.start()
    for _ in range(100):
        assert end.send(b"x") == 1
    other.sendall(b"hello")
    reader.join(5)
    assert got == [b"hello"]


def test_receive_can_go_on_after_a_timeout(pair):
    """The file of ``sock.makefile()`` could not: "cannot read from timed out object"."""
    end, other = pair
    with pytest.raises(socket.timeout):
        end.receive(0.05)
    other.sendall(b"late")
    assert end.receive(5) == b"late"


def test_receive_asks_for_four_kilobytes_at_a_time(pair):
    end, other = pair
    other.sendall(b"x" * 10000)
    assert 0 < len(end.receive(5)) <= 4096


def test_receive_more_returns_what_is_there_and_never_waits(pair):
    end, other = pair
    assert end.receive_more() == b""
    other.sendall(b"x" * 20000)
    total = len(end.receive())
    while total < 20000:
        assert end.wait(True, False, 5) == (True, False)
        total += len(end.receive_more())
    other.close()
    assert end.wait(True, False, 5)[0]
    assert end.receive_more() == b""
    assert end.receive() == b""


def test_cut_wakes_a_reader_on_another_thread(pair):
    end, _ = pair
    got = []
    reader = threading.Thread(target=lambda: got.append(end.receive()))
    reader.start()
    end.cut()
    reader.join(5)
    assert got == [b""]
    end.cut()  # twice is no error


def test_after_finish_the_other_end_can_still_send(pair):
    """A half-closed connection: our direction is over, the other one is not."""
    end, other = pair
    end.send(b"last words")
    end.half_close()
    other.settimeout(5)
    assert other.recv(100) == b"last words"
    assert other.recv(100) == b""
    other.sendall(b"I heard")
    assert end.receive(5) == b"I heard"


def test_waiting_for_nothing_takes_the_whole_time(pair):
    """A reader pauses like this when a peer sends too much."""
    end, other = pair
    other.sendall(b"x" * 1000)  # readable, which does not matter
    began = time.monotonic()
    while time.monotonic() - began < 0.2:
        assert end.wait(False, False, 0.2 - (time.monotonic() - began)) == (False, False)
    assert time.monotonic() - began < 3


def test_wait_returns_whether_the_socket_can_be_read_and_written(pair):
    end, other = pair
    assert end.wait(True, True, 5) == (False, True)
    assert end.wait(True, False, 0) == (False, False)
    assert end.wait(True, False, -1) == (False, False)
    other.sendall(b"x")
    assert end.wait(True, True, 5)[0] is True


def test_a_very_long_timeout_is_accepted(pair):
    end, other = pair
    other.sendall(b"x")
    assert end.wait(True, False, 1e12)[0] is True


def test_a_descriptor_above_1023_can_be_waited_for():
    """Where select fails ("filedescriptor out of range"), poll does not."""
    resource = pytest.importorskip("resource")
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 1200:
        pytest.skip("this process may not open so many")
    pairs = [socket.socketpair() for _ in range(600)]
    try:
        ours, theirs = pairs[-1]
        assert ours.fileno() > 1023
        theirs.sendall(b"x")
        assert wait(ours, True, False, 5) == (True, False)
    finally:
        for one, other in pairs:
            one.close()
            other.close()


def test_small_answers_are_not_held_back(pair):
    """Without TCP_NODELAY the second of two answers would wait 40 ms for an acknowledgement."""
    end, _ = pair
    assert end._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_a_connection_can_end_with_a_reset(pair):
    """The kernel does not go on to send for a minute what the other end cannot get."""
    end, other = pair
    other.settimeout(5)
    end.send(b"x")
    end.end_with_reset()
    end.close()
    with pytest.raises(ConnectionResetError):
        while other.recv(10):
            pass
    end.end_with_reset()  # closed: no error
