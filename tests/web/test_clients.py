"""The bound on connections: silent clients make room, and clients that behave are served."""

from p2p_plain.web.clients import MAX_CLIENTS
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
