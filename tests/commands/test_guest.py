"""A guest: what it gets from a node, its deadlines, and how it survives a hostile one."""

import json
import socket
import time

import pytest

from p2p_plain.commands.guest import Guest, OtherNetwork, in_words
from p2p_plain.common.address import Address
from p2p_plain.common.errors import DialFailed, P2PError, PeerLeft, PeerMisbehaved
from p2p_plain.monitor.rows import MAX_ROWS
from tests.support import PATIENCE, free_port, new_id, wait_until
from tests.support.asked_node import FakeNode, greeted_then, ids, link, mesh, wait_for_the_end

# -- a real node ----------------------------------------------------------------------------------


def test_a_node_says_how_old_a_row_may_be(make_node):
    """Three of its ping intervals, which a guest cannot know otherwise."""
    node = make_node(ping_interval=600)
    with Guest(Address("127.0.0.1", node.port)) as guest:
        assert len(guest.rows()) == 1
        assert guest.stale_after == node.stale_after() == 1800


def test_a_guest_is_answered_and_never_a_peer(make_node):
    node = make_node(name="alpha")
    with Guest(Address("127.0.0.1", node.port)) as guest:
        assert guest.hello.name == "alpha"
        assert guest.hello.nodeid == node.nodeid
        assert 0 < guest.connect_seconds < 1
        assert 0 < guest.ping().seconds < 1
        assert 0 < guest.ping().seconds < 1
        assert node.peers() == []


def test_rows_of_two_nodes_name_both(make_node):
    first = make_node(name="first")
    second = make_node(name="second", bootstrap=first)

    def rows():
        with Guest(Address("127.0.0.1", first.port)) as guest:
            return {row.nodeid: row for row in guest.rows()}

    found = wait_until(lambda: len(rows()) == 2 and rows())
    assert found[first.nodeid].name == "first"
    assert [entry["nodeid"] for entry in found[second.nodeid].links] == [first.nodeid]


def test_a_node_of_another_network_is_reported_with_the_option_to_use(make_node):
    node = make_node(network="prod")
    with pytest.raises(OtherNetwork) as error:
        Guest(Address("127.0.0.1", node.port))
    assert in_words(error.value) == "the node belongs to another network; try --network 'prod'"
    with Guest(Address("127.0.0.1", node.port), network="prod") as guest:
        assert guest.ping().seconds > 0


# -- questions and answers ---------------------------------------------------------------------


def test_a_guest_says_hello_as_a_probe():
    with FakeNode(network="n") as node, Guest(node.address, "n", name="ping") as guest:
        guest.ping()
        (hello,) = node.hellos
        assert hello["probe"] is True
        assert (hello["network"], hello["name"], hello["version"]) == ("n", "ping", 1)
        assert hello["agent"].startswith("p2p_plain/")
        assert "port" not in hello


def test_rows_arrive_unchanged_and_the_nodes_own_is_first():
    with FakeNode(mesh(3)) as node, Guest(node.address) as guest:
        rows = guest.rows()
        assert [row.name for row in rows] == ["node-01", "node-02", "node-03"]
        assert rows[0].age == 0.5
        assert rows[0].links[0] == link(ids(2)[1], "node-02")
        assert len(guest.rows()) == 3  # and again, on the same connection
        assert node.connections == 1


def test_the_first_of_two_rows_of_a_node_counts():
    rows = mesh(2)
    with FakeNode(rows + [dict(rows[0], age=99)]) as node, Guest(node.address) as guest:
        assert [row.age for row in guest.rows()] == [0.5, 0.5]


def test_unknown_fields_of_a_row_are_dropped():
    rows = mesh(2)
    rows[0]["links"][0]["ballast"] = [[]] * 1000
    with FakeNode(rows) as node, Guest(node.address) as guest:
        assert "ballast" not in guest.rows()[0].links[0]


def test_other_messages_are_skipped_and_pings_answered():
    answered = []

    def chatter(peer):
        peer.hear("ping")
        peer.say("weather", sun=True)
        peer.say("addr", peers=[])
        peer.say_raw(b"\r\n\n")
        peer.say("ping")
        answered.append(peer.hear_any())
        peer.say("pong")
        wait_for_the_end(peer)

    with FakeNode(play=greeted_then(chatter)) as node, Guest(node.address) as guest:
        assert guest.ping().seconds > 0
    assert answered == [{"msgtype": "pong"}]


# -- errors ----------------------------------------------------------------------------------


def outcome(play=None, timeout=0.3, ask=Guest.ping, **settings):
    """Ask such a node; the error that comes of it, and the seconds that it took."""
    with FakeNode(play=play, **settings) as node:
        began = time.monotonic()
        with pytest.raises(P2PError) as error, Guest(node.address, timeout=timeout) as guest:
            ask(guest)
        return error.value, time.monotonic() - began


def test_a_port_where_nobody_listens_is_refused():
    with pytest.raises(DialFailed) as error:
        Guest(Address("127.0.0.1", free_port()))
    assert error.value.outcome == "refused"
    assert "nobody listens on that port" in in_words(error.value)


def test_a_name_that_does_not_resolve_is_named(monkeypatch):
    def no_such_name(*args):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    with pytest.raises(DialFailed) as error:
        Guest(Address("no-such-host.invalid", 6000))
    assert in_words(error.value) == (
        "cannot be dialed: no-such-host.invalid: Name or service not known"
    )


def drip(peer):
    """Send a byte every 20 ms, and never a line."""
    try:
        while True:
            peer.say_raw(b" ")
            peer.sock.settimeout(0.02)
            try:
                peer.sock.recv(4096)
            except socket.timeout:
                pass
    except OSError:
        pass


@pytest.mark.parametrize(
    "play, words",
    [
        (lambda peer, n: wait_for_the_end(peer), "timed out: no hello in time"),
        (lambda peer, n: drip(peer), "timed out: no hello in time"),
        (greeted_then(wait_for_the_end), "timed out: no pong in time"),
        (greeted_then(drip), "timed out: no pong in time"),
    ],
)
def test_one_deadline_holds_however_slowly_the_bytes_drip(play, words):
    error, took = outcome(play)
    assert isinstance(error, DialFailed)
    assert error.outcome == "timeout"
    assert in_words(error) == words
    assert took < 2


def test_rows_without_an_end_time_out():
    row = json.dumps(mesh(2)[0]).encode() + b"\n"

    def act(peer):
        peer.hear("getlinks")
        peer.say_raw(row)
        wait_for_the_end(peer)

    error, _ = outcome(greeted_then(act), ask=Guest.rows)
    assert in_words(error) == "timed out: no rest of the rows in time"


def close(peer, number=1):
    peer.hear_any()


def reset(peer, number=1):
    peer.hear_any()
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@pytest.mark.parametrize(
    "play, words",
    [
        (close, "reset: closed before the hello"),
        (reset, "reset: broken off before the hello"),
        (greeted_then(close), "reset: closed before the pong"),
        (greeted_then(reset), "reset: broken off before the pong"),
    ],
)
def test_a_connection_that_ends_early_is_a_reset(play, words):
    error, _ = outcome(play, PATIENCE)
    assert isinstance(error, DialFailed)
    assert error.outcome == "reset"
    assert in_words(error) == words


@pytest.mark.parametrize("when", ["before hello", "after hello"])
def test_a_bye_is_reported_with_its_reason(when):
    def act(peer):
        peer.hear_any()
        peer.say("bye", reason="full", detail="\x1b[2Jno room")
        wait_for_the_end(peer)

    play = greeted_then(act) if when == "after hello" else lambda peer, n: act(peer)
    error, _ = outcome(play, PATIENCE)
    assert isinstance(error, PeerLeft)
    assert in_words(error) == "the node is full: \\x1b[2Jno room"


def hear_and_say(data):
    def act(peer):
        peer.hear_any()
        try:
            peer.say_raw(data)
            wait_for_the_end(peer)
        except OSError:
            pass

    return act


HOSTILE = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"HTTP/1.0 400 Bad Request\r\n",
    b"\xff\xfe{}\n",
    b"[1,2]\n",
    b'{"msgtype":"hello"}\n',
    b'{"msgtype":"hello","nodeid":"\x1b[2J"}\n',
    b'{"msgtype":"hello","nodeid":"%s","name":"\\u001b[2J"}\n' % new_id().encode(),
    b'{"msgtype":"hello","nodeid":"%s","name":"%s"}\n' % (new_id().encode(), b"x" * 65536),
    b'{"msgtype":"links","nodeid":"%s","links":[],"age":1e999}\n' % new_id().encode(),
    b'{"msgtype":"links","nodeid":"%s","links":[7],"end":1}\n' % new_id().encode(),
    b"x" * 1000000,
    b"[" * 60000 + b"\n",
    b'{"msgtype":"bye","reason":"\x1b[2J"}\n',
    b'{"msgtype":"bye","reason":"because"}\n',
]


@pytest.mark.parametrize("data", HOSTILE, ids=[repr(data[:45]) for data in HOSTILE])
@pytest.mark.parametrize("greeted", [False, True])
def test_what_breaks_the_rules_of_the_wire_is_not_a_node(data, greeted):
    """The report is one line, safe to print, whatever the other end sent."""
    act = hear_and_say(data)
    play = greeted_then(act) if greeted else lambda peer, n: act(peer)
    with FakeNode(play=play) as node, pytest.raises(PeerMisbehaved) as error, Guest(
        node.address, timeout=PATIENCE
    ) as guest:
        guest.rows()
    words = in_words(error.value)
    assert words.isprintable()
    assert words.startswith("what answers there is not a node: ")
    assert len(words) < 400


def test_endless_rows_are_cut_at_a_bound():
    row = mesh(1)[0]

    def act(peer):
        peer.hear("getlinks")
        try:
            while True:
                lines = [json.dumps(dict(row, nodeid=new_id())) for _ in range(64)]
                peer.say_raw("".join(line + "\n" for line in lines).encode())
        except OSError:
            pass

    error, _ = outcome(greeted_then(act), PATIENCE, Guest.rows)
    assert "more than %d rows" % MAX_ROWS in in_words(error)


def test_endless_other_messages_end_at_the_deadline():
    def act(peer):
        try:
            while True:
                peer.say_raw(b'{"msgtype":"weather"}\n' * 1000)
        except OSError:
            pass

    error, took = outcome(greeted_then(act))
    assert in_words(error) == "timed out: no pong in time"
    assert took < 3


def test_an_answer_of_too_many_bytes_is_cut_at_a_bound(monkeypatch):
    monkeypatch.setattr("p2p_plain.commands.guest.MAX_ANSWER", 100000)

    def act(peer):
        try:
            while True:
                peer.say_raw(b'{"msgtype":"weather"}\n' * 1000)
        except OSError:
            pass

    error, _ = outcome(greeted_then(act), PATIENCE)
    assert "more than 100000 bytes for one answer" in in_words(error)


def test_an_error_closes_the_connection():
    """A late pong must not be taken for the answer to the next ping."""
    play = greeted_then(wait_for_the_end)
    with FakeNode(play=play) as node, Guest(node.address, timeout=PATIENCE) as guest:
        with pytest.raises(DialFailed):
            guest.ping(0.05)
        assert guest.closed
        with pytest.raises(DialFailed):
            guest.ping()


def test_the_banner_of_another_server_is_shown():
    def ssh(peer, number):
        peer.say_raw(b"SSH-2.0-OpenSSH_9.2p1\x1b]0;x\x07 \xff" + b"y" * 100 + b"\r\n")
        wait_for_the_end(peer)

    with FakeNode(play=ssh) as node, pytest.raises(PeerMisbehaved) as error:
        Guest(node.address, timeout=PATIENCE)
    words = in_words(error.value)
    assert words.startswith("what answers there is not a node: it says SSH-2.0-OpenSSH_9.2p1\\x1b]0")
    assert words.isprintable()
    assert len(words) < 150


def test_an_echo_is_not_a_node():
    """Port 7 of old machines sends back everything, our own hello and ping too."""

    def echo(peer, number):
        for line in iter(peer.hear_line, None):
            peer.say_raw(line + b"\n")

    with FakeNode(play=echo) as node, pytest.raises(PeerMisbehaved) as error, Guest(
        node.address, timeout=PATIENCE
    ) as guest:
        guest.ping()
    assert in_words(error.value) == "what answers there is not a node: it sends back what it is sent"


def test_a_node_that_answers_no_question_about_rows_may_keep_none():
    """As the article's node, which answers ``ping``."""
    error, _ = outcome(greeted_then(wait_for_the_end), ask=Guest.rows)
    assert in_words(error).startswith("timed out: no answer to getlinks in time; perhaps it keeps no")
    assert in_words(error).endswith("ask another node")
