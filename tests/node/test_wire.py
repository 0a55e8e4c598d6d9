"""The rules of the wire over real sockets; what holds from both ends is tried from both ends."""

import json
import socket
import time

import pytest

from p2p_plain.node import messages
from tests.support import LARGE_ID, SMALL_ID, RawListener, RawPeer, new_id, wait_until


def collect(node, name):
    """The events of that name, in a list that grows."""
    found = []
    node.on(name, found.append)
    return found


@pytest.fixture(params=["inbound", "outbound"])
def connect(request, make_node):
    """``connect(**settings)``: a node and a raw peer connected to it, dialed from either end."""
    opened = []

    def go(nodeid=None, **settings):
        if request.param == "inbound":
            node = make_node(**settings)
            peer = RawPeer.dial(node, nodeid)
        else:
            listener = RawListener()
            opened.append(listener.sock)
            node = make_node(bootstrap=listener.address, **settings)
            peer = listener.accept(nodeid)
        opened.append(peer.sock)
        return node, peer

    yield go
    for sock in opened:
        sock.close()


# -- rule 1: hello first ------------------------------------------------------------------


def test_the_dialer_says_hello_at_once_and_with_all_its_fields(make_node):
    with RawListener() as listener:
        node = make_node(bootstrap=listener.address, name="web-07", network="lab")
        with listener.accept() as peer:
            hello = peer.hear("hello")
            assert hello["nodeid"] == node.nodeid
            assert hello["port"] == node.port
            assert hello["name"] == "web-07"
            assert hello["network"] == "lab"
            assert hello["version"] == 1
            assert hello["observed"] == listener.address
            assert "probe" not in hello


def test_the_acceptor_is_silent_until_it_hears_hello_and_then_answers_with_its_own(make_node):
    node = make_node()
    with RawPeer.dial(node) as peer:
        peer.sock.settimeout(0.3)
        with pytest.raises(socket.timeout):
            peer.hear_line()
        peer.sock.settimeout(5)
        peer.hello()
        first = json.loads(peer.hear_line().decode())
        assert (first["msgtype"], first["nodeid"]) == ("hello", node.nodeid)
        assert first["observed"] == "127.0.0.1:%d" % peer.sock.getsockname()[1]


@pytest.mark.parametrize(
    "first", [{"msgtype": "ping"}, {"msgtype": "addr", "peers": []}, {"msgtype": "from 2036"}]
)
def test_anything_before_hello_is_a_protocol_error(connect, first):
    _, peer = connect()
    peer.say_raw(json.dumps(first).encode() + b"\n")
    bye = peer.hear("bye")
    assert bye["reason"] == "protocol"
    assert "hello" in bye["detail"]
    assert peer.hear_line() is None


def test_a_second_hello_is_a_protocol_error(connect):
    node, peer = connect()
    peer.become_peer()
    wait_until(lambda: node.peers())
    peer.hello()
    assert peer.hear("bye")["detail"] == "a second hello"
    wait_until(lambda: not node.peers())


# -- rule 2: myself --------------------------------------------------------------------------


def test_a_dialer_with_our_own_nodeid_is_told_that_it_is_us(make_node):
    node = make_node()
    with RawPeer.dial(node, node.nodeid.upper()) as peer:  # UUIDs have no case
        peer.hello()
        said = peer.hear_to_the_end()
    assert [m["msgtype"] for m in said] == ["hello", "bye"]
    assert said[1]["reason"] == "self"


def test_an_answer_with_our_own_nodeid_is_recognised_and_never_dialed_again(make_node):
    with RawListener() as listener:
        node = make_node(bootstrap=listener.address, ping_interval=0.2)
        found = collect(node, "self")
        with listener.accept(node.nodeid) as peer:
            peer.hello()
            assert peer.hear("bye")["reason"] == "self"
        wait_until(lambda: found)
        listener.sock.settimeout(1.5)  # the first retry of a failed address would come in this time
        with pytest.raises(socket.timeout):
            listener.accept()
        assert [event["address"] for event in found] == [listener.address]


def test_a_node_that_is_told_to_dial_itself_recognises_itself_once(make_node):
    node = make_node()
    found = collect(node, "self")
    node.dial("127.0.0.1:%d" % node.port)
    wait_until(lambda: found)
    assert node.peers() == []


# -- rule 3: one connection a pair -------------------------------------------------------------


def test_a_second_connection_from_the_same_node_is_a_duplicate_and_the_first_stays(make_node):
    node = make_node()
    ups, downs = collect(node, "peer_up"), collect(node, "peer_down")
    with RawPeer.dial(node) as first, RawPeer.dial(node, first.nodeid) as second:
        first.become_peer()
        wait_until(lambda: ups)
        second.hello()
        said = second.hear_to_the_end()
        assert [m["msgtype"] for m in said] == ["hello", "bye"]
        assert said[1]["reason"] == "duplicate"
        assert first.answers_ping()
        assert (len(ups), downs) == (1, [])


@pytest.mark.parametrize("winner_first", [True, False])
@pytest.mark.parametrize("theirs, kept", [(SMALL_ID, "inbound"), (LARGE_ID, "outbound")])
def test_of_two_opposite_connections_the_one_dialed_by_the_smaller_nodeid_stays(
    make_node, theirs, kept, winner_first
):
    """Whichever came first; and only the node that dialed the winner closes the loser."""
    with RawListener() as listener:
        node = make_node(bootstrap=listener.address)
        ups, downs = collect(node, "peer_up"), collect(node, "peer_down")
        with listener.accept(theirs) as dialed_by_node, RawPeer.dial(node, theirs) as dialed_by_us:
            winner, loser = dialed_by_node, dialed_by_us
            if kept == "inbound":
                winner, loser = loser, winner
            first, second = (winner, loser) if winner_first else (loser, winner)
            first.become_peer()
            wait_until(lambda: node.peers())
            second.hello()
            second.hear("hello")
            if second is winner:
                second.say("ping")
                second.hear("pong")
            if second is loser:  # sent away at once, without another word
                said = loser.hear_to_the_end()
                assert [(m["msgtype"], m["reason"]) for m in said] == [("bye", "duplicate")]
            elif kept == "outbound":
                assert loser.hear("bye")["reason"] == "duplicate"
            else:
                assert loser.answers_ping()  # still there: closing it is up to us
                loser.say("bye", reason="duplicate")
            wait_until(lambda: [p.direction for p in node.peers()] == [kept])
            assert winner.answers_ping()
            assert (len(ups), downs) == (1, [])


# -- rule 4: after hello ------------------------------------------------------------------------


def test_after_hello_each_side_says_where_it_is_asks_for_addresses_and_pings(connect):
    node, peer = connect()
    peer.hello()
    peer.hear("hello")
    assert peer.hear("addr")["peers"] == [["127.0.0.1:%d" % node.port, node.nodeid]]
    assert peer.hear("getaddr") == {"msgtype": "getaddr"}
    assert peer.hear("ping") == {"msgtype": "ping"}


def test_a_peer_that_knows_only_the_article_is_a_full_member(connect):
    """hello with a nodeid and nothing else, addr with bare strings or pairs, ping."""
    node, peer = connect()
    peer.say_raw(b'{"nodeid": "%s", "msgtype": "hello"}\n' % peer.nodeid.encode())
    peer.hear("hello")
    peer.say_raw(b'{"msgtype": "addr", "peers": ["127.0.0.1:1", ["127.0.0.1:2", "%s"]]}\n'
                 % new_id().encode())
    assert peer.answers_ping()
    info = wait_until(lambda: node.peers())[0]
    assert (info.nodeid, info.name) == (peer.nodeid, "")


# -- rule 5: ping --------------------------------------------------------------------------------


def test_each_peer_is_pinged_every_interval_and_the_round_trip_is_told(connect):
    node, peer = connect(ping_interval=0.3)
    rtts = collect(node, "rtt")
    peer.hello()
    for _ in range(3):
        peer.hear("ping")
        peer.say("pong")
    wait_until(lambda: len(rtts) >= 3)
    assert all(0 < event["rtt_ms"] < 5000 for event in rtts)
    assert {event["nodeid"] for event in rtts} == {peer.nodeid}


def test_at_most_one_ping_is_outstanding(connect):
    _, peer = connect(ping_interval=0.1, ping_timeout=1.0)
    peer.hello()
    peer.say("getaddr")
    said = peer.hear_to_the_end()
    assert [m["msgtype"] for m in said].count("ping") == 1


def test_a_peer_that_does_not_answer_a_ping_in_time_is_dropped(connect):
    node, peer = connect(ping_timeout=0.5)
    downs = collect(node, "peer_down")
    peer.hello()
    peer.say("ping")  # talking is not answering
    assert peer.hear_to_the_end()[-1]["reason"] == "timeout"
    wait_until(lambda: downs)
    assert (downs[0]["reason"], downs[0]["nodeid"]) == ("timeout", peer.nodeid)


def test_a_pong_that_nobody_asked_for_is_ignored(connect):
    node, peer = connect()
    rtts = collect(node, "rtt")
    peer.become_peer()
    wait_until(lambda: rtts)
    for _ in range(5):
        peer.say("pong")
    assert peer.answers_ping()
    assert len(rtts) == 1


# -- rules 6 and 7: addresses are earned -----------------------------------------------------------


def ask_for_addresses(peer):
    peer.say("getaddr")
    return [tuple(entry) for entry in peer.hear("addr")["peers"]]


def test_an_inbound_peers_address_is_advertised_once_a_probe_has_found_it_there(make_node):
    node = make_node()
    with RawListener() as home, RawPeer.dial(node) as asker, RawPeer.dial(node) as peer:
        asker.become_peer()
        peer.become_peer(port=home.port)
        with home.accept(peer.nodeid) as probed:
            hello = probed.hear("hello")
            assert hello["probe"] is True
            asker.answers_ping()
            assert ask_for_addresses(asker) == []  # not yet: nobody has answered the probe
            probed.hello(port=home.port)
            assert probed.hear_line() is None  # it has seen what it came for
        # Whoever newly proves an address tells others at once, unasked.
        told = asker.hear("addr")["peers"]
        assert told == [[home.address, peer.nodeid]]
        assert ask_for_addresses(asker) == [(home.address, peer.nodeid)]


def test_an_inbound_peer_that_is_not_where_it_says_is_never_advertised(make_node):
    node = make_node()
    with RawListener() as home, RawPeer.dial(node) as asker, RawPeer.dial(node) as peer:
        asker.become_peer()
        peer.become_peer(port=home.port)
        with home.accept() as someone_else:
            someone_else.hello()
            someone_else.hear_to_the_end()
        asker.answers_ping()
        assert (home.address, peer.nodeid) not in ask_for_addresses(asker)


def test_a_peer_without_a_pong_is_not_advertised(make_node):
    with RawListener() as home:
        node = make_node(bootstrap=home.address)
        with home.accept() as silent, RawPeer.dial(node) as asker:
            silent.hello()
            silent.say("getaddr")
            asker.become_peer()
            wait_until(lambda: len(node.peers()) == 2)
            assert ask_for_addresses(asker) == []
            silent.say("pong")
            assert asker.hear("addr")["peers"] == [[home.address, silent.nodeid]]


def test_nobody_is_told_its_own_address(make_node):
    with RawListener() as home:
        node = make_node(bootstrap=home.address)
        with home.accept() as peer:
            peer.become_peer()
            wait_until(lambda: node.peers())
            assert ask_for_addresses(peer) == []


def test_a_probe_is_answered_and_never_counted(make_node):
    node = make_node()
    ups = collect(node, "peer_up")
    refused = collect(node, "refused")
    with RawPeer.dial(node) as prober:
        prober.hello(probe=True)
        assert prober.hear("hello")["nodeid"] == node.nodeid
        assert prober.answers_ping()
        assert node.peers() == []
    with RawPeer.dial(node) as peer:
        peer.become_peer()
        wait_until(lambda: ups)
    assert [event["nodeid"] for event in ups] == [peer.nodeid]
    assert refused == []


# -- rule 8: dial what you hear of --------------------------------------------------------------------


def test_an_address_that_a_peer_tells_is_dialed(make_node):
    node = make_node()
    with RawListener() as other, RawPeer.dial(node) as peer:
        peer.become_peer()
        peer.say("addr", peers=[[other.address, new_id()]])
        with other.accept() as found:
            assert "probe" not in found.hear("hello")


@pytest.mark.parametrize(
    "bad", ["0.0.0.0:%d", "[::]:%d", "224.0.0.1:%d", "255.255.255.255:%d", "[::ffff:0.0.0.0]:%d"]
)
def test_addresses_that_nobody_can_dial_are_not_dialed(make_node, bad):
    """0.0.0.0 is special: on Linux dialing it reaches this very machine."""
    node = make_node()
    refused = collect(node, "refused")
    with RawListener() as other, RawListener() as good, RawPeer.dial(node) as peer:
        peer.become_peer()
        peer.say("addr", peers=[bad % other.port, "127.0.0.1:0"])
        peer.say("addr", peers=[[good.address, new_id()]])
        good.accept().sock.close()  # dialed after the bad one would have been
        other.sock.settimeout(0.05)
        with pytest.raises(socket.timeout):
            other.accept()
    assert not [e for e in refused if e["address"].endswith(":0")]


def test_a_peer_that_left_with_stopping_is_not_redialed_unless_heard_of_again(make_node):
    with RawListener() as boot, RawListener() as home:
        node = make_node(bootstrap=boot.address, ping_interval=0.5)
        other_id = new_id()
        with boot.accept() as peer:
            peer.become_peer()
            peer.say("addr", peers=[[home.address, other_id]])
            with home.accept(other_id) as other:
                other.become_peer()
                wait_until(lambda: len(node.peers()) == 2)
                other.say("bye", reason="stopping")
            home.sock.settimeout(2.0)  # a lost peer would be redialed within one second
            with pytest.raises(socket.timeout):
                home.accept()
            peer.say("addr", peers=[[home.address, other_id]])
            home.sock.settimeout(15)
            home.accept(other_id).sock.close()


def test_a_peer_that_broke_off_is_redialed_within_two_seconds(make_node):
    with RawListener() as home:
        node = make_node(bootstrap=home.address)
        with home.accept() as peer:
            peer.become_peer()
            wait_until(lambda: node.peers())
        home.sock.settimeout(2.5)
        home.accept().sock.close()


def test_a_bootstrap_node_that_comes_back_with_a_new_nodeid_is_found_again(make_node):
    with RawListener() as home:
        node = make_node(bootstrap=home.address)
        with home.accept() as before:
            before.become_peer()
            wait_until(lambda: node.peers())
            before.say("bye", reason="stopping")
        with home.accept() as after:
            after.become_peer()
            assert wait_until(lambda: node.peers())[0].nodeid == after.nodeid


# -- rule 9: full --------------------------------------------------------------------------------------


def test_a_full_node_answers_hello_tells_whom_else_to_ask_and_says_full(make_node):
    with RawListener() as home:
        node = make_node(bootstrap=home.address, max_peers=1)
        with home.accept() as inside:
            inside.become_peer()
            inside.answers_ping()
            wait_until(lambda: node.peers() and node.peers()[0].rtt_ms)
            with RawPeer.dial(node) as late:
                late.hello()
                said = late.hear_to_the_end()
            assert [m["msgtype"] for m in said] == ["hello", "addr", "bye"]
            assert said[1]["peers"] == [[home.address, inside.nodeid]]
            assert said[2]["reason"] == "full"
            assert inside.answers_ping()


def test_being_refused_by_a_full_node_is_no_peer_up_and_no_peer_down(make_node):
    with RawListener() as full, RawListener() as elsewhere:
        node = make_node(bootstrap=full.address)
        ups, downs = collect(node, "peer_up"), collect(node, "peer_down")
        refused = collect(node, "refused")
        with full.accept() as peer:
            peer.hear("hello")
            peer.hello()
            peer.say("addr", peers=[[elsewhere.address, new_id()]])
            peer.say("bye", reason="full")
            elsewhere.accept().sock.close()  # it learned where else to go
            peer.hear_to_the_end()  # closing with unread bytes would destroy our bye
        wait_until(lambda: (full.address, "full") in [(e["address"], e["reason"]) for e in refused])
        assert (ups, downs) == ([], [])


# -- networks ---------------------------------------------------------------------------------------------


def test_nodes_of_different_networks_refuse_each_other(connect):
    node, peer = connect(network="lab")
    refused = collect(node, "refused")
    peer.hello(network="prod")
    bye = peer.hear("bye")
    assert bye["reason"] == "network"
    assert "prod" in bye["detail"]
    wait_until(lambda: refused)
    assert refused[0]["reason"] == "network"
    assert node.peers() == []


# -- rule 11: bad input --------------------------------------------------------------------------------------

BAD_LINES = [
    (b"hello", "not JSON"),
    (b"[1, 2]", "not a JSON object"),
    (b'"text"', "not a JSON object"),
    (b'{"msgtype": "ping"', "not JSON"),
    (b'\xff{"msgtype": "ping"}', "not UTF-8"),
    (b'\xef\xbb\xbf{"msgtype": "ping"}', "byte order mark"),
    ('{"msgtype": "ping"}'.encode("utf-16-be"), ""),
    (b'{"msgtype": "x", "n": NaN}', "NaN"),
    (b'{"msgtype": "x", "n": -Infinity}', "Infinity"),
    (b'{"msgtype": "x", "n": 1e999}', "too large"),
    (b'{"msgtype": "x", "msgtype": "ping"}', "twice"),
    (b'{"msgtype": "x", "a": ' + b"[" * 60 + b"]" * 60 + b"}", "deep"),
    (b"[" * 60000, "deep"),
    (b'{"msgtype": "x", "n": ' + b"1" * 21 + b"}", "digits"),
    (b'{"msgtype": "x", "n": ' + b"1" * 60000 + b"}", "digits"),
    (b"{}", "no msgtype"),
    (b'{"msgtype": 7}', "msgtype"),
    (b'{"msgtype": "addr"}', "addr: peers is missing"),
    (b'{"msgtype": "addr", "peers": ["nowhere"]}', "addr: peers"),
    (b'{"msgtype": "addr", "peers": ["example.org:80"]}', "addr: peers"),
    (b'{"msgtype": "addr", "peers": ["127.0.0.1:65536"]}', "addr: peers"),
    (b'{"msgtype": "addr", "peers": [["127.0.0.1:1", "x"]]}', "addr: peers"),
    (b'{"msgtype": "message", "id": "x", "from": "y", "body": 1}', "message: id"),
    (b'{"msgtype": "bye", "reason": "bored"}', "bye: reason"),
    (b"x" * 65536, "line over 65536 bytes"),
]


@pytest.mark.parametrize("line, detail", BAD_LINES, ids=[repr(b[:24]) for b, _ in BAD_LINES])
def test_bad_input_ends_its_own_connection_with_a_reason_and_no_other(make_node, line, detail):
    node = make_node()
    with RawPeer.dial(node) as good, RawPeer.dial(node) as bad:
        good.become_peer()
        bad.become_peer()
        wait_until(lambda: len(node.peers()) == 2)
        bad.say_raw(line + b"\n")
        bye = bad.hear("bye")
        assert bye["reason"] == "protocol"
        assert detail in bye["detail"]
        assert bad.hear_line() is None
        assert good.answers_ping()
        assert [peer.nodeid for peer in node.peers()] == [good.nodeid]


def test_a_line_cut_off_by_the_end_of_the_stream_is_a_protocol_error(make_node):
    node = make_node()
    downs = collect(node, "peer_down")
    with RawPeer.dial(node) as peer:
        peer.become_peer()
        wait_until(lambda: node.peers())
        peer.say_raw(b'{"msgtype": "pi')
        peer.sock.shutdown(socket.SHUT_WR)
        assert peer.hear("bye")["reason"] == "protocol"
    wait_until(lambda: downs)
    assert downs[0]["reason"] == "protocol"


@pytest.mark.parametrize("port", [True, "80", 80.0, 0, 65536, -1, None, [80]])
def test_a_port_is_a_whole_number_from_1_to_65535(make_node, port):
    node = make_node()
    with RawPeer.dial(node) as peer:
        peer.hello(port=port)
        bye = peer.hear("bye")
        assert (bye["reason"], bye["detail"]) == (
            "protocol",
            "hello: port is not a port from 1 to 65535",
        )


def test_a_line_of_4096_bytes_is_too_long_before_hello_and_fine_after(make_node):
    node = make_node()
    padding = "x" * 4090
    with RawPeer.dial(node) as peer:
        peer.hello(comment=padding)
        assert peer.hear("bye")["detail"] == "line over 4096 bytes"
    with RawPeer.dial(node) as peer:
        peer.become_peer()
        peer.say("ping", comment=padding)
        assert peer.hear("pong")


def test_unknown_types_fields_blank_lines_and_crlf_are_accepted(connect):
    _, peer = connect()
    peer.hello(colour="green")
    peer.hear("hello")
    peer.say_raw(b'\n\r\n{"msgtype": "from 2036"}\r\n{"msgtype":"ping","since":1999}\r\n')
    assert peer.hear("pong")


def test_a_line_may_come_byte_by_byte_and_many_in_one_packet(connect):
    _, peer = connect()
    peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in b'{"nodeid": "%s", "msgtype": "hello"}\n' % peer.nodeid.encode():
        peer.say_raw(bytes([byte]))
    peer.hear("hello")
    peer.say_raw(messages.PING * 500)
    for _ in range(500):
        peer.hear("pong")


# -- getlinks, message ------------------------------------------------------------------------------------------


def rows(asker):
    """The answer to getlinks: the rows before the end."""
    asker.say("getlinks")
    found = []
    while not found or not found[-1].get("end"):
        found.append(asker.hear("links"))
    assert found.pop()["links"] == []
    return found


def test_getlinks_is_answered_with_every_row_our_own_first(connect):
    node, peer = connect()
    peer.become_peer(name="raw", version=1)
    theirs = {"nodeid": peer.nodeid, "name": "raw", "age": 0, "links": [{"nodeid": node.nodeid}]}
    peer.say("links", **theirs)
    assert peer.answers_ping()
    own, other = rows(peer)
    assert (own["nodeid"], own["name"], own["age"]) == (node.nodeid, node.name, 0)
    (link,) = own["links"]
    assert (link["nodeid"], link["name"]) == (peer.nodeid, "raw")
    assert link["direction"] in ("inbound", "outbound")
    assert link["rtt_ms"] > 0
    assert {"address", "dial", "rtt_max_ms", "jitter_ms", "up_s"} <= set(link)
    assert (other["nodeid"], other["links"]) == (peer.nodeid, theirs["links"])
    assert [row["nodeid"] for row in node.matrix()] == [node.nodeid, peer.nodeid]


def test_a_row_that_was_kept_unread_and_is_bad_ends_the_connection_when_somebody_asks(connect):
    node, peer = connect()
    peer.become_peer(version=1)
    for links in (b"[]", b'[{"nodeid":7}]'):  # the first is read when it comes
        peer.say_raw(messages.beginning_of_row(peer.nodeid) + b'"links":%s}\n' % links)
    assert peer.answers_ping()
    assert [row["nodeid"] for row in node.matrix()] == [node.nodeid]
    bye = peer.hear("bye")
    assert (bye["reason"], bye["detail"]) == ("protocol", "links: nodeid is not a UUID")


def test_each_sends_its_row_to_peers_that_know_rows_and_not_to_others(make_node):
    node = make_node(ping_interval=0.5)
    with RawPeer.dial(node) as knows, RawPeer.dial(node) as knows_not:
        knows.become_peer(version=1)
        knows_not.become_peer()
        row = knows.hear("links")
        while len(row["links"]) < 2:
            row = knows.hear("links")
        assert {link["nodeid"] for link in row["links"]} == {knows.nodeid, knows_not.nodeid}
        knows_not.say("getaddr")
        knows_not.say("bye", reason="stopping")
        said = [message["msgtype"] for message in knows_not.hear_to_the_end()]
        assert "links" not in said
        while len(row["links"]) != 1:  # who has left on purpose is not missed
            row = knows.hear("links")


def test_a_row_about_a_peer_is_believed_only_from_that_peer(make_node):
    node = make_node()
    stranger = new_id()
    with RawPeer.dial(node) as first, RawPeer.dial(node) as liar:
        first.become_peer(version=1)
        liar.become_peer(version=1)
        first.say("links", nodeid=first.nodeid, name="true", links=[])
        assert first.answers_ping()
        for nodeid in (first.nodeid, node.nodeid, stranger):
            liar.say("links", nodeid=nodeid, name="false", links=[])
        assert liar.answers_ping()
        names = {row["nodeid"]: row["name"] for row in node.matrix()}
        assert names == {node.nodeid: node.name, first.nodeid: "true", stranger: "false"}


def test_the_row_of_a_node_that_died_is_kept_with_its_age(make_node):
    node = make_node()
    with RawPeer.dial(node) as peer:
        peer.become_peer(version=1)
        peer.say("links", nodeid=peer.nodeid, name="gone", age=5, links=[])
        assert peer.answers_ping()
    wait_until(lambda: not node.peers())
    (row,) = [row for row in node.matrix() if row["nodeid"] == peer.nodeid]
    assert row["name"] == "gone"
    assert row["age"] >= 5


def test_a_guest_may_ask_for_rows_and_is_never_a_peer(make_node, monkeypatch):
    """That is how the commands look at a network without becoming a part of it."""
    monkeypatch.setattr("p2p_plain.node.session.HANDSHAKE_TIMEOUT", 0.3)
    node = make_node()
    ups = collect(node, "peer_up")
    with RawPeer.dial(node) as guest:
        guest.hello(probe=True)
        guest.hear("hello")
        began = time.monotonic()
        while time.monotonic() - began < 0.6:  # longer than a handshake may take
            assert guest.answers_ping()
        assert [row["nodeid"] for row in rows(guest)] == [node.nodeid]
    assert ups == []


def test_a_guest_that_falls_silent_is_sent_away(make_node, monkeypatch):
    monkeypatch.setattr("p2p_plain.node.session.GUEST_TIMEOUT", 0.2)
    node = make_node()
    with RawPeer.dial(node) as guest:
        guest.hello(probe=True)
        said = guest.hear_to_the_end()
        assert [message["msgtype"] for message in said] == ["hello", "bye"]
        assert said[1]["reason"] == "timeout"
