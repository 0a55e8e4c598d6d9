#!/usr/bin/env python3
"""The baseline ``asyncio``: a small node as most people would write it today, with streams and json.

    python3 scripts/benchmark/asyncio_node.py [PING_INTERVAL [BOOTSTRAP]]

It says hello, answers and sends pings, asks its peers for addresses, dials them, keeps one
connection to each node, and reports events as JSON lines.  ``p2p_plain`` does the same, and adds
what makes a node fit for strangers: checks, bounds, probes, a row for the matrix.  Nothing in here
is slow on purpose.  asyncio sets TCP_NODELAY by itself.
"""

import asyncio
import json
import sys
import time
import uuid

TYPE_CHECKING = False  # importing typing takes 3 ms or more of each start
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

PING_TIMEOUT = 20.0


def tell(event: str, **fields: "Any") -> None:
    """Report an event on stdout."""
    print(json.dumps(dict(fields, event=event, time=time.time())), flush=True)


class Peer:
    """A node at the other end of a connection."""

    def __init__(
        self,
        writer: asyncio.StreamWriter,
        nodeid: str,
        address: "Optional[str]",
        outbound: bool,
    ) -> None:
        self.writer = writer
        self.nodeid = nodeid
        self.address = address
        self.outbound = outbound
        self.pinged_at: Optional[float] = None
        self.heard_at = time.monotonic()


class Node:
    """The node.  It has one thread, so no locks."""

    def __init__(self, ping_interval: float, bootstrap: str) -> None:
        self.nodeid = str(uuid.uuid4())
        self.ping_interval = ping_interval
        self.bootstrap = bootstrap
        self.address = ""
        self.peers: Dict[str, Peer] = {}
        self.dialing: Dict[str, "asyncio.Future[None]"] = {}

    async def run(self) -> None:
        """Listen, dial, and ping every peer once an interval."""
        server = await asyncio.start_server(self.accepted, "127.0.0.1", 0, backlog=1024)
        self.address = "127.0.0.1:%d" % server.sockets[0].getsockname()[1]
        tell("listening", nodeid=self.nodeid, addresses=[self.address])
        if self.bootstrap:
            self.dial(self.bootstrap)
        while True:
            await asyncio.sleep(self.ping_interval)
            now = time.monotonic()
            for peer in list(self.peers.values()):
                if now - peer.heard_at > self.ping_interval + PING_TIMEOUT:
                    peer.writer.close()
                elif peer.pinged_at is None:
                    peer.pinged_at = now
                    self.say(peer.writer, "ping")

    def say(self, writer: asyncio.StreamWriter, msgtype: str, **fields: "Any") -> None:
        """Send one message."""
        writer.write(json.dumps(dict(fields, msgtype=msgtype)).encode() + b"\n")

    def say_hello(self, writer: asyncio.StreamWriter) -> None:
        """Send hello: our nodeid and port."""
        port = int(self.address.rpartition(":")[2])
        self.say(writer, "hello", nodeid=self.nodeid, port=port, network="bench")

    def dial(self, address: str) -> None:
        """Dial an address in a task, unless a task for it exists already."""
        if address != self.address and address not in self.dialing:
            # asyncio keeps no reference to a task: without ours it could be collected half-way.
            self.dialing[address] = asyncio.ensure_future(self.dialed(address))

    async def dialed(self, address: str) -> None:
        """Run a connection that we dial."""
        host, _, port = address.rpartition(":")
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
            self.say_hello(writer)
            await self.converse(reader, writer, address)
        except OSError:
            pass
        finally:
            self.dialing.pop(address)

    async def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Run a connection that we accept."""
        try:
            await self.converse(reader, writer, None)
        except OSError:
            pass

    async def converse(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        dialed: "Optional[str]",
    ) -> None:
        """Exchange hellos, then answer messages until the connection ends."""
        peer = None
        try:
            line = await reader.readline()
            if not line:
                return
            hello = json.loads(line.decode())
            peer = self.met(writer, hello, dialed)
            if peer is None:
                return
            if not dialed:
                self.say_hello(writer)
            self.say(writer, "addr", peers=[[self.address, self.nodeid]])
            self.say(writer, "getaddr")
            self.say(writer, "ping")
            peer.pinged_at = time.monotonic()
            await writer.drain()
            async for line in reader:
                self.heard(peer, json.loads(line.decode()))
                await writer.drain()
        finally:
            writer.close()
            if peer is not None and self.peers.get(peer.nodeid) is peer:
                del self.peers[peer.nodeid]
                tell("peer_down", nodeid=peer.nodeid, peers=len(self.peers))

    def met(
        self, writer: asyncio.StreamWriter, hello: "Dict[str, Any]", dialed: "Optional[str]"
    ) -> "Optional[Peer]":
        """Return the new peer; ``None`` if the hello is our own or a duplicate."""
        nodeid = hello["nodeid"]
        if nodeid == self.nodeid:
            return None
        address = dialed
        if address is None and "port" in hello:
            address = "%s:%d" % (writer.get_extra_info("peername")[0], hello["port"])
        old = self.peers.get(nodeid)
        # When both dial at once, the connection dialed by the smaller nodeid stays.
        if old is not None and (
            old.outbound == bool(dialed) or old.outbound == (self.nodeid < nodeid)
        ):
            return None
        peer = self.peers[nodeid] = Peer(writer, nodeid, address, bool(dialed))
        if old is None:
            tell("peer_up", nodeid=nodeid, address=address, peers=len(self.peers))
        else:
            old.writer.close()
        return peer

    def heard(self, peer: Peer, message: "Dict[str, Any]") -> None:
        """Act on one message."""
        peer.heard_at = time.monotonic()
        msgtype = message["msgtype"]
        if msgtype == "ping":
            self.say(peer.writer, "pong")
        elif msgtype == "pong":
            if peer.pinged_at is not None:
                rtt = peer.heard_at - peer.pinged_at
                peer.pinged_at = None
                tell("rtt", nodeid=peer.nodeid, rtt_ms=round(rtt * 1000, 3))
        elif msgtype == "getaddr":
            known = [
                [other.address, other.nodeid]
                for other in self.peers.values()
                if other.address is not None and other is not peer
            ]
            self.say(peer.writer, "addr", peers=known[:100])
        elif msgtype == "addr":
            for address, nodeid in message["peers"]:
                if nodeid != self.nodeid and nodeid not in self.peers:
                    self.dial(address)


def main() -> None:
    """Run until killed."""
    ping_interval = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    bootstrap = sys.argv[2] if len(sys.argv) > 2 else ""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(Node(ping_interval, bootstrap).run())


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
