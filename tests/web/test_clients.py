"""The bound on connections: silent clients make room, and clients that behave are served."""

import socket

from p2p_plain.web.clients import MAX_CLIENTS, MAX_HELD, Clients, Doing
from p2p_plain.web.response import JSON, Response
from tests.support import wait_until
from tests.support.http_client import HttpClient, get
from tests.support.page_node import PageNode, full_mesh


def test_silent_clients_take_no_place_from_others_and_no_events_from_a_listener(serve):
    node = PageNode(full_mesh(["a", "b"]))
    page = serve(node)
    with HttpClient(page) as listener:
        listener.follow()
        silent = [HttpClient(page) for _ in range(2 * MAX_CLIENTS)]
        assert get(page, "/healthz").body == b"ok\n"
        wait_until(lambda: len(page.clients) <= MAX_CLIENTS)
        node.emit("self", address="192.0.2.1:6000")
        assert listener.event()[1]["event"] == "self"
        for client in silent:
            client.sock.close()


def test_fifty_slow_clients_block_nobody_and_are_answered_in_the_end(serve):
    page = serve()
    slow = [HttpClient(page) for _ in range(50)]
    for client in slow:
        client.send("GET / HTT")
    assert get(page, "/healthz").body == b"ok\n"
    for client in slow:
        client.send("P/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert client.reply().code == 200
        client.sock.close()


def test_slow_clients_hold_few_old_responses():
    """Those of one moment share one response; of many moments, the clients that have theirs longest go."""
    now = [0.0]
    clients = Clients(60, lambda: now[0])
    same = Response(JSON, b"x" * (MAX_HELD // 4))
    crowd = []
    for number in range(40):
        now[0] += 0.1
        sock, _ = socket.socketpair()
        crowd.append(clients.add(sock))
        clients.set(crowd[-1], Doing.RECEIVING, 10.0)
        held = same if number < 30 else Response(JSON, b"y" * (MAX_HELD // 4))
        clients.hold(crowd[-1], held)
    assert [client.doing for client in crowd] == 36 * [Doing.DROPPED] + 4 * [Doing.RECEIVING]
    for client in crowd:
        client.sock.close()
