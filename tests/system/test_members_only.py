"""A network with a secret: members as ever, and strangers who learn and change nothing."""

import itertools
import logging
import os
import shutil
import signal

import pytest

from p2p_plain.common.address import Address
from p2p_plain.common.errors import Unauthorised
from p2p_plain.common.keys import read_keys
from p2p_plain.node import messages
from p2p_plain.node.handshake import Handshake
from tests.support import (
    LARGE_ID, SMALL_ID, Program, RawListener, RawPeer, free_port, start_program, wait_until,
)
from tests.support.member import MemberPeer, Wire, key_file
from tests.system.test_impostors import Impostor, echo


@pytest.fixture
def key(tmp_path):
    return key_file(tmp_path)


def refused(node):
    """Why connections became no peer: reason and why of each, as the events say."""
    found = [event for event in node.events(timeout=0.01) if event["event"] == "refused"]
    return [(event["reason"], event.get("why")) for event in found]


def events(node, name):
    return [event for event in node.events(timeout=0.01) if event["event"] == name]


def knows_nobody(node):
    """Nothing was believed: no peer, no address."""
    book = node._overlay.book  # what it may not say to anyone cannot be asked for
    return not node.peers() and not len(book) and len(node.rows()) == 1 and not node.rows()[0].links


# -- members ----------------------------------------------------------------------------------------


def test_members_find_each_other_and_talk_and_measure(make_node, key):
    """A whole network of three: discovery, probes, rows, messages."""
    a = make_node(name="a", secret_file=key)
    b = make_node(name="b", secret_file=key, bootstrap=a)
    c = make_node(name="c", secret_file=[key], bootstrap=a)
    for node in (a, b, c):
        node.wait_for_peers(2, timeout=10)
    b.broadcast({"text": "hello"})
    wait_until(lambda: events(a, "message") and events(c, "message"))
    wait_until(lambda: all(link["dial"] == "ok" for row in c.rows() for link in row.links))
    wait_until(lambda: len(c.rows()) == 3)
    assert {peer.name for peer in c.peers()} == {"a", "b"}


def test_commands_with_the_secret_are_answered_and_others_are_told_what_is_missing(
    make_node, key, tmp_path, typed
):
    node = make_node(name="a", secret_file=key)
    address = "127.0.0.1:%d" % node.port
    other = key_file(tmp_path, "other.key")
    assert typed("ping", "-c", "1", address, "--secret-file", key)[0] == 0
    assert typed("matrix", address, "--secret-file", key)[0] == 0
    for words in (["ping", "-c", "1"], ["matrix"], ["check", "--within", "0"]):
        for secret, says in (
            ([], "this network needs a secret; give --secret-file"),
            (["--secret-file", other], "the node has another secret than the one in --secret-file"),
        ):
            code, out, err = typed(*words, address, *secret)
            assert code == 1
            assert says in out + err
            assert (out + err).count(says) == 1
    code, out, err = typed("matrix", address, "--secret-file", str(tmp_path))
    assert (code, out) == (3, "")
    assert "chmod 600" in err and err.count("\n") == 1


def test_a_command_with_a_secret_says_that_the_node_has_none(make_node, key, typed):
    node = make_node()
    code, _, err = typed("matrix", "127.0.0.1:%d" % node.port, "--secret-file", key)
    assert code == 1
    assert "the node has no secret; leave --secret-file out" in err


def test_watch_takes_the_secret_too(make_node, key):
    node = make_node(name="gate", secret_file=key)
    words = ["watch", "127.0.0.1:%d" % node.port, "--secret-file", key]
    watch = start_program(*words)
    try:
        assert any(b"gate" in line for line in itertools.islice(watch.stdout, 8))
    finally:
        watch.terminate()
        watch.communicate()


def test_a_key_that_cannot_be_read_keeps_the_node_from_starting(key, typed):
    os.chmod(key, 0o640)
    code, out, err = typed("--port", "0", "--secret-file", key)
    assert (code, out) == (3, "")
    assert "chmod 600" in err and err.count("\n") == 1


def test_the_key_itself_is_no_argument(key, typed):
    with open(key) as file:
        text = file.read().strip()
    code, out, err = typed("--port", "0", "--secret-file", text)
    assert (code, out) == (2, "")
    assert text not in err and "never the key itself" in err


def test_bounds_for_an_address_do_not_apply_to_members(make_node, key):
    """Nor are seats kept: all peers are as well known as the secret."""
    node = make_node(secret_file=key, max_per_ip=1, max_peers=8)
    assert node._overlay.table.kept_seats == 0
    assert node._listener._max_per_ip > 1000


def test_a_leave_counts_only_with_a_seal(make_node, key):
    node = make_node(secret_file=key)
    with MemberPeer.dial_with(node, key) as peer:
        peer.become_peer()
        node.wait_for_peers(1, timeout=10)
        peer.sock.sendall(messages.encode_bye("stopping"))
        assert peer.hear("bye")["reason"] == "protocol"
    assert wait_until(lambda: events(node, "peer_down"))[0]["reason"] == "protocol"


def test_a_members_second_hello_is_of_the_same_node(make_node, key):
    node = make_node(secret_file=key)
    for fields in ({"nodeid": LARGE_ID, "port": 6000}, {"nodeid": SMALL_ID, "port": 6001}):
        with MemberPeer.dial_with(node, key, SMALL_ID, port=6000) as peer:
            peer.say("hello", **fields)
            assert peer.hear("bye")["reason"] == "protocol"
    assert not node.peers()


# -- strangers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("probe", [{}, {"probe": True}], ids=["hello", "probe"])
def test_a_node_without_the_secret_hears_unauthorised_and_nothing_else(make_node, key, probe):
    node = make_node(secret_file=key, name="hidden", network="hidden")
    with RawPeer.dial(node) as peer:
        peer.hello(port=free_port(), **probe)
        assert peer.hear_to_the_end() == [{"msgtype": "bye", "reason": "unauthorised"}]
    wait_until(lambda: refused(node) == [("unauthorised", "no-key")])
    assert knows_nobody(node)


@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.0\r\n\r\n", b"\n", b"{}\n", b'{"msgtype":"ping"}\n', b"\xff\n", b"x" * 5000,
        b'{"msgtype":"getlinks"}\n', b'{"msgtype":"auth","key":"00000000","mac":""}\n',
    ],
)
def test_whatever_a_stranger_says_it_learns_nothing(make_node, key, words):
    node = make_node(secret_file=key)
    with RawPeer.dial(node) as peer:
        peer.say_raw(words)
        assert peer.hear_to_the_end() == [{"msgtype": "bye", "reason": "unauthorised"}]
    assert knows_nobody(node)


@pytest.mark.parametrize("reason", ["stopping", "full", "network", "unauthorised"])
def test_a_strangers_bye_means_closed(make_node, key, reason):
    node = make_node(secret_file=key)
    with RawPeer.dial(node) as peer:
        peer.say("bye", reason=reason)
        assert peer.hear_to_the_end() == []
    assert knows_nobody(node)


def test_only_the_own_log_says_what_was_wrong(make_node, key, tmp_path, caplog):
    caplog.set_level(logging.INFO, "p2p_plain")
    same_id = read_keys([key_file(tmp_path, "other.key")])[0]._replace(id=read_keys([key])[0].id)
    node = make_node(secret_file=key)
    other = make_node(secret_file=key_file(tmp_path, "third.key"), bootstrap=node)
    wait_until(lambda: ("unauthorised", "unknown-key") in refused(other))
    wait_until(lambda: ("unauthorised", "not-accepted") in refused(node))
    with RawPeer.dial(node) as peer:
        wrong = Handshake([same_id], peer.nodeid, None, Address("127.0.0.1", node.port))
        peer.say_raw(wrong.begin())
        peer.say_raw(wrong.receive(peer.hear_line()))
        assert peer.hear_to_the_end() == [{"msgtype": "bye", "reason": "unauthorised"}]
    wait_until(lambda: any("its proof is wrong" in record.getMessage() for record in caplog.records))
    assert knows_nobody(node)
    assert not other.peers()


def test_a_node_without_secret_and_one_with_say_so_in_one_line_and_are_in_no_hurry(make_node, key):
    """Whichever of the two was given the other's address."""
    member, plain = make_node(secret_file=key), make_node()
    member.dial("127.0.0.1:%d" % plain.port)
    wait_until(lambda: ("unauthorised", "no-key") in refused(member))
    wait_until(lambda: ("unauthorised", "members-only") in refused(plain))
    member, plain = make_node(secret_file=key), make_node()
    plain.dial("127.0.0.1:%d" % member.port)
    wait_until(lambda: ("unauthorised", "members-only") in refused(plain))
    wait_until(lambda: ("unauthorised", "no-key") in refused(member))
    assert not member.peers() and not plain.peers()
    assert len(refused(member)) == len(refused(plain)) == 1


def test_what_listens_at_a_bootstrap_address_learns_no_name(make_node, key):
    with RawListener() as listener:
        make_node(secret_file=key, name="hidden", network="hidden", bootstrap=listener.address)
        with listener.accept() as peer:
            first = peer.hear_any()
            assert set(first) == {"msgtype", "nodeid", "port", "nonce", "auth", "dialed"}
            peer.hello(port=listener.port)
            assert peer.hear_to_the_end() == [{"msgtype": "bye", "reason": "unauthorised"}]


def test_a_hundred_strangers_keep_no_member_out(make_node, key):
    node = make_node(secret_file=key)
    strangers = [RawPeer.dial(node) for _ in range(100)]
    try:
        for peer in strangers[::2]:
            peer.sock.sendall(b"{")
        member = make_node(secret_file=key, bootstrap=node)
        member.wait_for_peers(1, timeout=10)
        assert len(node._sessions.all()) <= 64 + 4
        assert [peer.nodeid for peer in node.wait_for_peers(1, timeout=10)] == [member.nodeid]
    finally:
        for peer in strangers:
            peer.sock.close()


# -- on the way -------------------------------------------------------------------------------------


def test_a_relay_in_the_middle_is_a_wire_and_no_address(make_node, key, caplog):
    """The connection stands, and nobody is told to come through the relay."""
    b = make_node(name="b", secret_file=key)
    with Wire(b.port) as relay:
        a = make_node(name="a", secret_file=key, bootstrap=relay.address)
        a.wait_for_peers(1, timeout=10)
        b.wait_for_peers(1, timeout=10)
        c = make_node(name="c", secret_file=key, bootstrap=a)
        wait_until(lambda: {peer.name for peer in c.peers()} == {"a", "b"})
        assert a._overlay.book.proven([b.nodeid]) == [(Address("127.0.0.1", b.port), b.nodeid)]
        for node in (a, b, c):
            assert all(link.get("address") != relay.address for row in node.rows() for link in row.links)
    b.stop()  # then all that it had to say is in the log
    said = [record.getMessage() for record in caplog.records if "--advertise" in record.getMessage()]
    assert len(said) == 1 and "has dialed %s" % relay.address in said[0]


def test_an_address_that_is_forwarded_on_purpose_is_advertised(make_node, key):
    """With --advertise the node knows it as its own."""
    port = free_port()
    with Wire(port) as router:
        node = make_node(secret_file=key, port=port, advertise="198.51.0.1:%d" % router.port)
        dialed = Address("198.51.0.1", router.port)
        with MemberPeer.dial_with(node, key, dialed=dialed) as peer:
            assert "unlisted" not in peer.become_peer()
        with MemberPeer.dial_with(node, key, dialed=dialed._replace(port=1)) as peer:
            assert peer.become_peer()["unlisted"] is True


def test_a_second_way_to_a_peer_that_leads_through_a_relay_proves_nothing(make_node, key):
    """The peer says that it is at both ends, and it is right; but nobody else should go that way."""
    a, b = make_node(secret_file=key, ping_interval=0.2), make_node(secret_file=key, ping_interval=0.2)
    a.dial(b.addresses[0])
    a.wait_for_peers(1, timeout=10)
    with Wire(b.port) as relay:
        a.dial(relay.address)
        wait_until(lambda: relay.carried and all(len(node._sessions.all()) == 1 for node in (a, b)))
        where = Address("127.0.0.1", relay.port)
        assert where not in [address for address, _ in a._overlay.book.proven([b.nodeid])]
        assert a._overlay.book.nodeid_at(where) is None
    assert not events(a, "conflict") and not events(b, "conflict")


def test_a_relay_that_leads_a_node_to_itself_makes_no_address_its_own(make_node, key):
    """Otherwise the node would confirm that address to all whom the relay leads to it."""
    port = free_port()
    with Wire(port) as relay:
        node = make_node(secret_file=key, port=port, bootstrap=relay.address)
        wait_until(lambda: relay.carried and not node._sessions.all())
        with MemberPeer.dial_with(node, key, dialed=Address("127.0.0.1", relay.port)) as peer:
            assert peer.become_peer()["unlisted"] is True
        assert not node._overlay.book.knows_as_mine(Address("127.0.0.1", relay.port))
        assert not events(node, "self")


def test_what_leads_a_node_to_another_one_says_nothing_of_the_one_that_lived_there(make_node, key):
    """An outsider at the address of a node that is away forwards to a third one."""
    a, b = make_node(secret_file=key, name="a"), make_node(secret_file=key, name="b")
    words = ["--port", "0", "--bind", "127.0.0.1", "--bootstrap", a.addresses[0], "--secret-file", key]
    with Program(*words) as gone:
        place = Address("127.0.0.1", gone.port)
        wait_until(lambda: a._overlay.book.proven([gone.nodeid]))
        gone.process.kill()  # without a goodbye
        gone.process.wait()
    wait_until(lambda: not a.peers())
    with Wire(b.port, port=place.port):
        wait_until(lambda: b.peers() and a.peers())
        assert a._overlay.book.nodeid_at(place) != b.nodeid
        assert place not in [address for address, _ in a._overlay.book.proven([b.nodeid])]


def test_an_echo_at_the_address_of_a_member_that_died_is_no_member(make_node, key):
    quick = {"ping_interval": 1, "ping_timeout": 1, "probe_interval": 1}
    a = make_node(secret_file=key, **quick)
    words = ["--port", "0", "--bind", "127.0.0.1", "--bootstrap", a.addresses[0], "--secret-file", key]
    with Program(*words, "--probe-interval", "1") as gone:
        place = gone.port
        wait_until(lambda: [link["dial"] for link in a.rows()[0].links] == ["ok"])
        gone.process.kill()
        gone.process.wait()
    with Impostor(place, echo):
        wait_until(lambda: [link.get("why") for link in a.rows()[0].links] == ["echo"])
        a.dial("127.0.0.1:%d" % place)
        wait_until(lambda: ("protocol", "echo") in refused(a))
    assert [link["dial"] for link in a.rows()[0].links] == ["reset"]


def test_a_handshake_that_is_cut_does_not_mean_that_something_else_answers(make_node, key):
    node = make_node(secret_file=key)
    with RawListener() as listener:
        node.dial(listener.address)
        with listener.accept() as peer:
            first = peer.hear("hello")
            peer.say("hello", nodeid=SMALL_ID, port=6000, nonce="0" * 64, auth=first["auth"])
            peer.hear("auth")
        wait_until(lambda: refused(node))
    assert ("closed", None) in refused(node)


@pytest.mark.parametrize("upward", [True, False])
def test_one_changed_line_ends_a_connection_that_stood(make_node, key, upward):
    counts = {True: 0, False: 0}

    def change(up, line):
        counts[up] += 1
        return line.replace(b'"', b"'", 1) if up is upward and counts[up] == 6 else line

    b = make_node(secret_file=key, ping_interval=0.2)
    with Wire(b.port, change) as relay:
        a = make_node(secret_file=key, bootstrap=relay.address, ping_interval=0.2)
        receiver = b if upward else a
        assert wait_until(lambda: events(receiver, "peer_down") or refused(receiver))


@pytest.mark.parametrize("word", [b'"nonce":"', b'"port":', b'"auth":["', b'"dialed":"127.0.0.', b'"mac":"'])
def test_a_handshake_that_was_changed_on_the_way_makes_no_peer(make_node, key, word):
    def change(upward, line):
        at = line.find(word) + len(word)
        if line.find(word) < 0:
            return line
        return line[:at] + (b"1" if line[at : at + 1] != b"1" else b"2") + line[at + 1 :]

    b = make_node(secret_file=key)
    with Wire(b.port, change) as relay:
        a = make_node(secret_file=key, bootstrap=relay.address)
        wait_until(lambda: refused(a) and refused(b))
        assert not a.peers() and not b.peers()


def test_a_recorded_conversation_opens_nothing(make_node, key):
    said = []
    b = make_node(secret_file=key)
    with Wire(b.port, lambda upward, line: said.append(line) or line if upward else line) as relay:
        a = make_node(secret_file=key, bootstrap=relay.address)
        a.wait_for_peers(1, timeout=10)
        a.stop()
    wait_until(lambda: not b.peers())
    before = len(events(b, "peer_up"))
    with RawPeer.dial(b) as peer:
        peer.say_raw(b"".join(said))
        heard = peer.hear_to_the_end()
    assert [message["msgtype"] for message in heard] == ["hello", "bye"]
    assert heard[-1] == {"msgtype": "bye", "reason": "unauthorised"}
    assert len(events(b, "peer_up")) == before


# -- rotation ---------------------------------------------------------------------------------------


def test_a_running_mesh_changes_its_key_without_losing_a_connection(make_node, tmp_path):
    """All accept the new key, all speak with it, the old one goes: the order of the document."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir(), new.mkdir()
    old, new = read_keys([key_file(old), key_file(new)])
    first, second = key_file(tmp_path, "network.key", old), key_file(tmp_path, "next.key", old)
    files = [first, second]
    nodes = [make_node(secret_file=files, ping_interval=0.2)]
    nodes += [make_node(secret_file=files, ping_interval=0.2, bootstrap=nodes[0]) for _ in range(2)]
    for speaks, accepts, count in ((old, new, 4), (new, old, 5), (new, new, 6)):
        for node in nodes:
            node.wait_for_peers(len(nodes) - 1, timeout=10)
        key_file(tmp_path, "network.key", speaks)
        key_file(tmp_path, "next.key", accepts)
        for node in nodes:
            node.read_secret_again()
            if len(nodes) < count:  # half of the network is one step ahead
                nodes.append(make_node(secret_file=files, ping_interval=0.2, bootstrap=nodes[0]))
    for node in nodes:
        node.wait_for_peers(5, timeout=10)
        assert not events(node, "peer_down")
    assert [key.id for key in nodes[0]._secret.keys] == [new.id]
    with pytest.raises(Unauthorised, match="it accepts other keys than ours"):
        MemberPeer.dial_with(nodes[0], key_file(tmp_path, "kept.key", old))


def test_a_key_file_that_cannot_be_read_again_changes_nothing(make_node, key, caplog):
    node = make_node(secret_file=key)
    os.chmod(key, 0o644)
    node.read_secret_again()
    wait_until(lambda: any("the keys stay as they are" in r.getMessage() for r in caplog.records))
    os.chmod(key, 0o600)
    member = make_node(secret_file=key, bootstrap=node)
    member.wait_for_peers(1, timeout=10)


@pytest.mark.skipif(not shutil.which("setsid"), reason="needs setsid")
def test_without_a_terminal_sighup_reads_the_files_again_and_ends_nothing(key):
    options = ("--port", "0", "--bind", "127.0.0.1", "--secret-file", key)
    with Program(*options, prefix=["setsid"]) as node:
        port = node.port
        new = key_file(os.path.dirname(key), "other.key")
        os.replace(new, key)
        node.send(signal.SIGHUP)
        with Program(*options, "--bootstrap", "127.0.0.1:%d" % port) as member:
            member.wait_for("peer_up", timeout=20)
            assert not node.events("stopped")
            member.stop()
        assert node.stop() == 0


@pytest.mark.skipif(not shutil.which("setsid"), reason="needs setsid")
@pytest.mark.parametrize("from_file", [False, True])
def test_a_service_that_is_asked_to_reload_while_it_starts_starts(key, tmp_path, from_file):
    program = (
        "import os, signal, sys\n"
        "from p2p_plain import cli; from p2p_plain.commands import run\n"
        "Node = run.Node\n"
        "def made(**settings):\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    return Node(**settings)\n"
        "run.Node = made\n"
        "sys.exit(cli.main())\n"
    )
    options = ["--port", "0", "--bind", "127.0.0.1", "--secret-file", key]
    if from_file:
        (tmp_path / "options").write_text(" ".join(options))
        options = ["@%s" % (tmp_path / "options")]
    with Program(*options, prefix=["setsid"], what=("-c", program)) as node:
        node.wait_for("listening")
        assert node.stop() == 0


# -- the page ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("http, warns", [(0, 0), ("0.0.0.0:0", 1)])
def test_a_public_page_beside_a_secret_warns(make_node, key, caplog, http, warns):
    make_node(secret_file=key, http=http).stop()
    said = [record.getMessage() for record in caplog.records if "proxy or tunnel" in record.getMessage()]
    assert len(said) == warns
