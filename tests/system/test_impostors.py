"""Somebody else on a dead node's port: the node is down, and the verdict says what answers there."""

import http.client
import itertools
import json
import socket
import threading
from contextlib import ExitStack

import pytest

from p2p_plain.common.outcomes import FOREIGN, WHYS
from p2p_plain.monitor.verdict import Kind
from p2p_plain.node.peer import HANDSHAKE_TIMEOUT
from tests.support import PATIENCE, Program, free_port, wait_until

pytestmark = pytest.mark.long

AT_ONCE = 7
"""Impostors in one network.  From nine on, verdicts of one kind would share a line."""

QUICK = {"ping_interval": 1.0, "ping_timeout": 1.0, "probe_interval": 1.0}


class Impostor:
    """A listening socket that plays something with each connection, on a thread of its own."""

    def __init__(self, port, play):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(("127.0.0.1", port))
        self.sock.listen(100)
        self._play = play
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock = self.sock.accept()[0]
            except OSError:
                return
            self._open.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            self._play(sock)
        except OSError:
            pass  # the node has closed it
        sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sock in [self.sock] + self._open:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()


# -- what impostors do ------------------------------------------------------------------------


def to_the_end(sock):
    while sock.recv(65536):
        pass


def closes_at_once(sock):
    pass


def saying(*data):
    """Say that, whatever is heard, and wait for the other end to close."""

    def play(sock):
        for each in data:
            sock.sendall(each)
        to_the_end(sock)

    return play


def saying_and_half_closing(data):
    def play(sock):
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        to_the_end(sock)

    return play


def answering(change):
    """Send back each line, changed."""

    def play(sock):
        held = b""
        for chunk in iter(lambda: sock.recv(65536), b""):
            *lines, held = (held + chunk).split(b"\n")
            for line in lines:
                sock.sendall(change(line) + b"\n")

    return play


def echo(sock):
    for chunk in iter(lambda: sock.recv(65536), b""):
        sock.sendall(chunk)


def floods(sock):
    while True:
        sock.sendall(b"\x00\xff" * 32768)


def floods_lines(sock):
    while True:
        sock.sendall(b"\n" * 65536)


def says_json(line):
    return lambda sock: saying(json.dumps(line).encode() + b"\n")(sock)


def respelled(line):
    """The same hello with blanks, in another order, and its nodeid and token in capitals."""
    fields = json.loads(line.decode())
    for name in fields.keys() & {"nodeid", "token"}:
        fields[name] = fields[name].upper()
    turned = dict(reversed(list(fields.items())))
    return json.dumps(turned, separators=(" , ", " : ")).encode()


IMPOSTORS = {
    "says nothing": (to_the_end, "timeout", "hangs"),
    "closes at once": (closes_at_once, "reset", ""),
    "ssh": (saying(b"SSH-2.0-OpenSSH_9.6\r\n"), "reset", "no-node"),
    "http": (saying_and_half_closing(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "reset", "no-node"),
    "a prompt": (saying(b"login: "), "reset", "no-node"),
    "a word and the end": (saying_and_half_closing(b"no"), "reset", "no-node"),
    "closes only its side": (saying_and_half_closing(b""), "reset", ""),
    "floods": (floods, "reset", "no-node"),
    "blank lines for ever": (floods_lines, "reset", "no-node"),
    "a long first line": (saying(b"x" * 10000), "reset", "no-node"),
    "a list": (says_json([1, 2]), "reset", "no-node"),
    "an object": (says_json({"jsonrpc": "2.0"}), "reset", "no-node"),
    "a ping": (says_json({"msgtype": "ping"}), "reset", "no-node"),
    "a hello without nodeid": (says_json({"msgtype": "hello"}), "reset", "no-node"),
    "bye full": (says_json({"msgtype": "bye", "reason": "full"}), "reset", "turned-away"),
    "bye stopping": (says_json({"msgtype": "bye", "reason": "stopping"}), "reset", "turned-away"),
    "echo": (echo, "reset", "echo"),
    "echo that spells anew": (answering(respelled), "reset", "echo"),
    "echo in capitals": (answering(bytes.upper), "reset", "no-node"),
    "echo after a banner": (lambda sock: (sock.sendall(b"echo\n"), echo(sock)), "reset", "no-node"),
}


# -- the network ------------------------------------------------------------------------------


@pytest.fixture
def lose_nodes(make_node):
    """``lose_nodes(count)``: two nodes that have just lost so many others, killed, and where these were."""

    def lose(count=1):
        first = make_node(name="h1", http="127.0.0.1:0", **QUICK)
        second = make_node(name="h2", http="127.0.0.1:0", bootstrap=first, **QUICK)
        options = ["--%s=%g" % (name.replace("_", "-"), value) for name, value in QUICK.items()]
        options += ["--bind=127.0.0.1", "--bootstrap", "127.0.0.1:%d" % first.port]
        ports = [free_port() for _ in range(count)]
        with ExitStack() as stack:
            for number, port in enumerate(ports, 3):
                stack.enter_context(Program("--name=h%d" % number, "--port=%d" % port, *options))
            for node in (first, second):
                wait_until(lambda node=node: cluster(node)[1]["up"] == (count + 2) * (count + 1), 30)
        return (first, second), ports

    return lose


def cluster(node):
    """The status of ``/cluster`` and its object."""
    page = http.client.HTTPConnection(node.http, timeout=PATIENCE)
    try:
        page.request("GET", "/cluster")
        reply = page.getresponse()
        return reply.status, json.loads(reply.read().decode("ascii"))
    finally:
        page.close()


def verdict_on(node, kind):
    """The texts of the verdicts of that kind, where the network is not well."""
    status, said = cluster(node)
    if status == 200:
        return []
    return [verdict["text"] for verdict in said["verdicts"] if verdict["kind"] == kind]


@pytest.mark.parametrize("first", range(0, len(IMPOSTORS), AT_ONCE))
def test_a_node_is_down_whatever_answers_at_its_port(first, lose_nodes):
    names = list(IMPOSTORS)[first : first + AT_ONCE]
    survivors, ports = lose_nodes(len(names))
    with ExitStack() as stack:
        for port, name in zip(ports, names):
            stack.enter_context(Impostor(port, IMPOSTORS[name][0]))
        for node, (number, name) in itertools.product(survivors, enumerate(names, 3)):
            _, dial, why = IMPOSTORS[name]
            statuses, said = [], []

            def explained(node=node, label="h%d: " % number, why=why, statuses=statuses, said=said):
                statuses.append(cluster(node)[0])
                said[:] = [text for text in verdict_on(node, Kind.DOWN) if text.startswith(label)]
                return [text for text in said if WHYS.get(why, "before the hello") in text]

            try:
                wait_until(explained, HANDSHAKE_TIMEOUT + PATIENCE)
            except AssertionError:
                raise AssertionError("%s: %s" % (name, said)) from None
            assert statuses == sorted(statuses), "%s: green again: %s" % (name, statuses)
            links = {link["name"]: link for link in node.rows()[0].links}
            link = links["h%d" % number]
            assert (link["dial"], link.get("why", "")) == (dial, why), name
        for node in survivors:
            assert not [e for e in node.events(timeout=0.01) if e["event"] == "self"]


def test_a_node_is_not_down_where_another_node_has_its_port(lose_nodes, make_node):
    """It was restarted.  That is no fault."""
    survivors, (port,) = lose_nodes()
    make_node(name="h3", port=port, **QUICK)
    for node in survivors:
        wait_until(lambda node=node: (cluster(node)[0], cluster(node)[1]["up"]) == (200, 6))


def test_a_node_is_down_where_a_node_of_another_network_has_its_port(lose_nodes, make_node):
    """This network has lost it, without a goodbye."""
    survivors, (port,) = lose_nodes()
    make_node(name="x", port=port, network="another", **QUICK)
    for node in survivors:
        wait_until(lambda node=node: [t for t in verdict_on(node, Kind.DOWN) if WHYS[FOREIGN] in t])


def test_an_echo_is_reported_as_broken_protocol_and_never_as_ourselves(make_node):
    with Impostor(free_port(), echo) as impostor:
        node = make_node(bootstrap="127.0.0.1:%d" % impostor.sock.getsockname()[1])
        (refused,) = wait_until(lambda: [e for e in node.events(timeout=0.05) if e["event"] == "refused"])
        assert (refused["reason"], refused["why"]) == ("protocol", "echo")
        # It is dialed again as any address that fails, and not left alone as our own.
        wait_until(lambda: len(impostor._open) > 1)
        assert "self" not in [e["event"] for e in node.events(timeout=0.05)]


def relay(choose_port):
    """Pass all bytes on to a port, for each connection anew, and back: a load balancer."""

    def pump(source, sink):
        try:
            for chunk in iter(lambda: source.recv(65536), b""):
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def play(sock):
        with socket.create_connection(("127.0.0.1", choose_port()), PATIENCE) as beyond:
            back = threading.Thread(target=pump, args=(beyond, sock), daemon=True)
            back.start()
            pump(sock, beyond)
            back.join(PATIENCE)

    return play


def test_nodes_that_know_only_a_load_balancer_find_each_other(make_node):
    """It leads each of them to itself first."""
    nodes, turns = [], []

    def choose_port():
        turns.append(None)
        return nodes[len(turns) // 4 % len(nodes)].port

    with Impostor(free_port(), relay(choose_port)) as balancer:
        place = "127.0.0.1:%d" % balancer.sock.getsockname()[1]
        for _ in range(2):
            nodes.append(make_node(bootstrap=place))
            wait_until(lambda: [e for e in nodes[0].events(timeout=0.05) if e["event"] == "self"])
        wait_until(lambda: all(len(node.peers()) == 1 for node in nodes), 2 * PATIENCE)
        selves = [e["event"] for e in nodes[0].events(timeout=0.05)].count("self")
        assert selves <= 2  # no news each time
