"""The kernel's own counts of a connection."""

import socket
import sys

import pytest

from p2p_plain.node import tcp_info as module
from p2p_plain.node.tcp_info import tcp_info

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="TCP_INFO is Linux's")


@pytest.fixture
def pair():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        with socket.create_connection(listener.getsockname()) as ours:
            theirs, _ = listener.accept()
            with theirs:
                yield ours, theirs


@on_linux
def test_it_counts_what_was_sent_and_acknowledged(pair):
    """Ten lines, each answered, are ten segments; nothing is lost on loopback."""
    ours, theirs = pair
    before = tcp_info(ours)
    for _ in range(10):
        ours.sendall(b"12345\n")
        assert theirs.recv(100) == b"12345\n"
        theirs.sendall(b"!\n")
        assert ours.recv(100) == b"!\n"
    after = tcp_info(ours)
    assert after.sent - before.sent == 10
    assert after.acknowledged - before.acknowledged == 60
    assert (after.sent_again, after.duplicates, after.stalled) == (0, 0, 0)
    assert 0 < after.min_rtt < 1


@on_linux
def test_a_closed_socket_has_none():
    """Another thread may have closed the connection: no error."""
    sock = socket.socket()
    sock.close()
    assert tcp_info(sock) is None


def test_elsewhere_there_are_none(pair, monkeypatch):
    """Only Linux has these fields at these places."""
    monkeypatch.setattr(module.sys, "platform", "darwin")
    assert tcp_info(pair[0]) is None
    assert not module.is_counted.__wrapped__()


@on_linux
def test_whether_there_are_any_is_known_without_a_connection():
    assert module.is_counted()


@on_linux
def test_it_knows_how_large_a_segment_may_be(pair):
    ours, _ = pair
    info = tcp_info(ours)
    assert info.mss == ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    with open("/proc/sys/net/ipv4/tcp_timestamps") as file:
        assert info.timestamps == (file.read().strip() != "0")
