"""Wrong nodes: each is a right one behind a relay that changes, drops or adds something.

``Between`` is the relay.  Below it are changes, functions of a connection and a line that return
what is passed on instead: ``(talk, line) -> bytes``.
"""

import json
import queue
import socket
import threading
import time

from tests.support import RawListener


def place(port):
    """``HOST:PORT`` on this machine."""
    return "127.0.0.1:%d" % port


class Closed(Exception):
    """Raised by a change to close the connection instead."""


class Talk:
    """One connection through a ``Between``."""

    def __init__(self, client, node):
        self.client = client
        self.node = node
        self.noted = []
        """For changes that depend on earlier lines."""

    def cut(self):
        for sock in (self.client, self.node):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Between:
    """A relay to a port.  ``to_node`` and ``from_node`` are changes.

    ``glued``: takes each read for one message.  ``stays``: never closes.  ``eager``: speaks first.
    ``in_turn``: serves one connection after the other.  ``one_thread``: sends everything on one
    thread, each line in so many seconds.  ``fragile``: one broken connection breaks all.
    ``one_host``: takes all addresses for one.  ``once``: accepts one connection only.  ``completes``: adds the newline that a cut-off line lacks.
    """

    def __init__(self, port, to_node=None, from_node=None, **how):
        self.node_port = port
        self.to_node = to_node
        self.from_node = from_node
        self.how = how
        self.talks = []
        self.queue = queue.Queue()
        self.listener = RawListener(backlog=200)
        self.listener.sock.settimeout(None)
        self.port = self.listener.port
        threading.Thread(target=self._accept, daemon=True).start()
        if "one_thread" in how:
            threading.Thread(target=self._send_queued, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.listener.sock.shutdown(socket.SHUT_RDWR)  # wakes accept
        except OSError:
            pass
        self.listener.sock.close()
        for talk in self.talks:
            talk.cut()
        self.queue.put(None)

    def _accept(self):
        while True:
            try:
                client = self.listener.sock.accept()[0]
            except OSError:
                return
            if self.how.get("once"):
                self.listener.sock.close()
            if self.how.get("in_turn"):
                self._serve(client)
            else:
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        host = "127.0.0.1" if self.how.get("one_host") else client.getpeername()[0]
        node = socket.create_connection(("127.0.0.1", self.node_port), source_address=(host, 0))
        for sock in (client, node):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        talk = Talk(client, node)
        self.talks.append(talk)
        if self.how.get("eager"):
            client.sendall(b'{"msgtype": "getaddr"}\n')
        back = threading.Thread(target=self._pump, args=(talk, node, client, self.from_node))
        back.daemon = True
        back.start()
        self._pump(talk, client, node, self.to_node)
        back.join()
        if not self.how.get("stays"):
            client.close()
        node.close()

    def _pump(self, talk, source, sink, change):
        from_client = source is talk.client
        buffer = b""
        try:
            for chunk in iter(lambda: source.recv(65536), b""):
                if self.how.get("glued") and from_client:
                    chunk = chunk.replace(b"\n", b"") + b"\n"
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    self._pass_on(talk, sink, change, line + b"\n")
                if change is None and "one_thread" not in self.how:
                    sink.sendall(buffer)
                    buffer = b""
            sink.sendall(buffer + b"\n" if self.how.get("completes") and buffer else buffer)
        except Closed:
            talk.cut()
        except OSError:
            if self.how.get("fragile") and from_client:
                for each in self.talks:
                    each.cut()
        try:
            if from_client or not self.how.get("stays"):
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _pass_on(self, talk, sink, change, line):
        if change is not None:
            line = change(talk, line)
        if "one_thread" in self.how:
            self.queue.put((sink, line))
        else:
            sink.sendall(line)

    def _send_queued(self):
        for sink, line in iter(self.queue.get, None):
            try:
                sink.sendall(line)
            except OSError:
                pass
            time.sleep(self.how["one_thread"])


def read(line):
    """The object on a line; an empty one for anything else."""
    try:
        message = json.loads(line.decode("utf-8"))
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def dropping(*msgtypes):
    """Leave out all messages of these types."""
    return lambda talk, line: b"" if read(line).get("msgtype") in msgtypes else line


def changing(msgtype, **fields):
    """Replace some fields of one type; ``None`` removes a field."""

    def change(talk, line):
        message = read(line)
        if message.get("msgtype") != msgtype:
            return line
        for name, value in fields.items():
            message[name] = value(message.get(name)) if callable(value) else value
            if message[name] is None:
                del message[name]
        return json.dumps(message).encode() + b"\n"

    return change


def doubling(msgtype):
    """Pass on each message of one type twice."""
    return lambda talk, line: line * (1 + (read(line).get("msgtype") == msgtype))


def adding(msgtype, line_to_add):
    """Add a line after each message of one type."""
    return lambda talk, line: line + line_to_add * (read(line).get("msgtype") == msgtype)


def closing(is_unwanted):
    """Close the connection at some lines; ``talk.noted`` has the types up to this one."""

    def change(talk, line):
        talk.noted.append(read(line).get("msgtype"))
        if is_unwanted(talk, line):
            raise Closed
        return line

    return change


def without_padding(talk, line):
    """Make each line short."""
    return changing("ping", padding=None)(talk, changing("hello", padding=None)(talk, line))


def answering_for_the_client(talk, line):
    """Let the node believe that each ping of its own is answered."""
    if read(line).get("msgtype") == "ping":
        talk.node.sendall(b'{"msgtype": "pong"}\n')
    return line


def pinging_once(talk, line):
    """Drop all pings but the first."""
    if read(line).get("msgtype") == "ping":
        talk.noted.append("ping")
        return line if len(talk.noted) == 1 else b""
    return line


def winning_each_tie(talk, line):
    """Send ``bye`` on a connection that the smaller nodeid has dialed and that should stay."""
    message = read(line)
    if message.get("nodeid", "").startswith("00000000"):
        talk.client.sendall(b'{"msgtype": "bye", "reason": "duplicate"}\n')
    return line


def repeating_addresses(talk, line):
    """Give the node each ``addr`` again, so that it dials a node that has left."""

    def again():
        for _ in range(4):
            time.sleep(0.3)
            try:
                talk.node.sendall(line)
            except OSError:
                return

    if read(line).get("msgtype") == "addr":
        threading.Thread(target=again, daemon=True).start()
    return line


def dialing_through(**how):
    """Send the node to relays: each is a ``Between``, and the node is its client."""

    def relayed(entry):
        home = int(entry[0].rpartition(":")[2])
        return [place(Between(home, **how).port), entry[1]]

    return changing("addr", peers=lambda peers: [relayed(entry) for entry in peers])


def believing():
    """Pass on any address that a hello claims."""
    claimed = []

    def to_node(talk, line):
        message = read(line)
        if message.get("msgtype") == "hello" and "port" in message:
            claimed.append([place(message["port"]), message["nodeid"]])
        return line

    return {"to_node": to_node, "from_node": changing("addr", peers=lambda peers: peers + claimed)}
