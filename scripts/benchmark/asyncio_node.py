#!/usr/bin/env python3
"""The same small node as most would write it today: asyncio streams and json.

    python3 scripts/benchmark/asyncio_node.py [PING_INTERVAL [BOOTSTRAP]]

It says hello, answers pings, asks everyone whom they know, dials whom it hears of, keeps one
connection to each, pings all of them, and tells as JSON lines what happens: what ``p2p_plain``
does too, without what makes that one fit for strangers (checks, bounds, probes, a row for the
matrix).  Nothing in it is made slow on purpose; TCP_NODELAY is on, as asyncio sets it by itself.
"""

import asyncio
import json
import sys
import time
import uuid

TYPE_CHECKING = False  # importing typing would cost a start some milliseconds
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

PING_TIMEOUT = 20.0


def tell(event: str, **fields: "Any") -> None:
    """One event, for whoever reads our stdout."""
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
    """Everybody's peer.  One thread, so no locks."""

    def __init__(self, ping_interval: float, bootstrap: str) -> None:
        self.nodeid = str(uuid.uuid4())
        self.ping_interval = ping_interval
        self.bootstrap = bootstrap
        self.address = ""
        self.peers: Dict[str, Peer] = {}
        self.dialing: Dict[str, "asyncio.Future[None]"] = {}

    async def run(self) -> None:
        """Listen, dial, and ping everyone each interval."""
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
        """One message."""
        writer.write(json.dumps(dict(fields, msgtype=msgtype)).encode() + b"\n")

    def say_hello(self, writer: asyncio.StreamWriter) -> None:
        """Who we are, and where we listen."""
        port = int(self.address.rpartition(":")[2])
        self.say(writer, "hello", nodeid=self.nodeid, port=port, network="bench")

    def dial(self, address: str) -> None:
        """Soon, unless that is under way, or has led to a connection that stands."""
        if address != self.address and address not in self.dialing:
            # Kept, because a task that nobody refers to may be collected half-way.
            self.dialing[address] = asyncio.ensure_future(self.dialed(address))

    async def dialed(self, address: str) -> None:
        """A connection that we make."""
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
        """A connection that somebody else makes."""
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
        """Hello, and then whatever comes, until the end."""
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
        """The peer that a hello makes; ``None`` if it is ourselves or here already."""
        nodeid = hello["nodeid"]
        if nodeid == self.nodeid:
            return None
        address = dialed
        if address is None and "port" in hello:
            address = "%s:%d" % (writer.get_extra_info("peername")[0], hello["port"])
        old = self.peers.get(nodeid)
        # Both have dialed at once: the connection dialed by the smaller nodeid stays.
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
        """One message from a peer."""
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
    """Run until somebody kills us."""
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
