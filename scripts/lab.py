#!/usr/bin/env python3
r"""A laboratory: hosts, two switches and a router inside this machine, a node on each host.

Linux can give a process a network of its own: interfaces, addresses, routes and firewall that
nobody else sees (a network namespace), and a virtual cable (a veth pair) can join two of them.
So a room full of machines fits into one, and its cables can be pulled from the keyboard.  This
program builds such a room, runs ``python -m p2p_plain`` on every host, does to them what its
arguments say, and shows what each node says of it::

    python3 scripts/lab.py --hosts 6 --node "--ping-interval 2 --ping-timeout 1" \
        mesh  "split h4,h5,h6"  apart  show  heal  mesh

Every argument that is not an option is a step, and they are taken one after the other.  Without
steps it asks for them (or reads them from standard input, one a line, ``#`` for comments).

         left switch  - - - - -  right switch        10.77.0.0/24 and fd77::/64
        /    |    \    \              |
      h1    h2    h3   router         h4             h4 is split off: its cable is in the other
                      /     \                        switch, and no cable joins the two
                    n1       n2                      10.78.0.0/24, behind the router's NAT

All of it lives in a private world (namespaces of mounts, processes and network) that ends with
its first process, this one, however that dies: nothing outside is touched, nothing is left, and
two laboratories can run at once.  It takes no rights where a user may make namespaces.

Other scripts use ``enter_private_world`` and ``Lab`` (see ``main`` for how).

Exit codes: 0; 1 an expectation failed, or a node did not end as it should; 2 wrong usage;
3 the laboratory cannot be built here; 130 interrupted.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Set, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

DONE, FAILED, WRONG_USAGE, CANNOT_BUILD, INTERRUPTED = 0, 1, 2, 3, 130

PORT = 6000
"""Where each node listens: every host has all ports to itself."""

SWITCHES = "switches"
"""The namespace that both switches are in, where no node runs."""

LEFT, RIGHT = "left", "right"
"""The bridges in it.  Everyone begins on the left."""

ROUTER = "router"
INSIDE = "inside"
"""The router's own bridge, as in a router at home: the hosts behind it are plugged in there."""

ROUTER_OUTSIDE, ROUTER_INSIDE = "10.77.0.254", "10.78.0.254"

MAX_HOSTS = 30
"""Both kinds together.  Each learns the hardware address of each other one, and the kernel keeps
no more than 1,024 of these for all namespaces together (``gc_thresh3``): with 40 hosts most dials
time out, and with them those of the machine itself."""

PATIENCE = 30.0
"""Seconds that ``mesh``, ``apart`` and ``expect`` wait unless they are told how long."""

START_PATIENCE = 20.0
"""Seconds until a started node must say that it listens: fifty at once share a few cores."""

ASK_PATIENCE = 60.0
"""Seconds that a command may take (``ping`` without ``-c`` would take for ever)."""

NETWORK = "lab"
"""What our nodes say to which network they belong."""

COMMANDS = ["ping", "matrix", "check"]
"""What can be asked of a node."""

STOP_PATIENCE = 2.0
"""Seconds that a node may take to stop after SIGTERM.  It promises 1 s; this adds the time that
a busy machine takes to let it run."""

LINE = """
import socket, sys, threading, time

def plug(name):
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # all there is
    # With every frame what its sender has left to the network card: checksum, cutting up
    # (PACKET_VNET_HDR; packet(7)).
    end.setsockopt(263, 15, 1)
    end.bind((name, 3))
    return end

def carry(here, there, bits_a_second):
    free_at = 0.0
    while True:
        try:
            frame, (_, _, kind, _, _) = here.recvfrom(1 << 17)
            if kind != socket.PACKET_OUTGOING:
                # One after the other, each as long as its bits take.
                free_at = max(free_at, time.monotonic()) + 8 * len(frame) / bits_a_second
                time.sleep(max(0.0, free_at - time.monotonic()))
                there.send(frame)
        except OSError:
            pass  # a cable is pulled

one, other, rate = plug(sys.argv[1]), plug(sys.argv[2]), float(sys.argv[3])
threading.Thread(target=carry, args=(other, one, rate), daemon=True).start()
carry(one, other, rate)
"""
"""A program that carries frames between two interfaces as slowly as a modem.  (A token bucket,
which tc has, would let through at once what is as small as a ping.)"""

UNITS = {"bit": 1, "kbit": 1000, "mbit": 1000 ** 2, "gbit": 1000 ** 3}

EVERYONE = "*"

EVENTS = {
    "listening": ["addresses", "nodeid", "name"],
    "peer_up": ["direction", "address", "nodeid", "name", "peers"],
    "peer_down": ["reason", "address", "nodeid", "name", "peers", "up_seconds"],
    "self": ["address"],
    "refused": ["reason", "address"],
    "rtt": ["rtt_ms", "nodeid", "name"],
    "reach": ["dial", "was", "address", "nodeid", "name"],
    "message": ["body", "from", "nodeid"],
    "stopped": ["reason", "peers", "uptime_seconds"],
}
"""What nodes tell, and the fields of each: a misspelt ``never`` would hold for ever."""

NOT_SHOWN = {"nodeid", "name", "peers", "up_seconds", "uptime_seconds"}
"""Fields that the human lines leave out."""

LEGEND = [
    "> it dialed that one   < it was dialed   . not connected   - no node runs here",
    "x its last probe of that one, beside the connection, came to nothing",
]

Record = Dict[str, Any]
"""A node's event with ``host`` and ``at`` added, or what the laboratory itself tells."""


class WrongUsage(Exception):
    """The user asked for what cannot be meant.  Nothing has been done."""


class CannotBuild(Exception):
    """The machine does not let us, or lacks a program."""


class Failed(Exception):
    """What should have happened did not."""


# -- a private world --------------------------------------------------------------------

LIFELINE = "P2P_LAB_LIFELINE"
"""Set inside the private world: the descriptor of a pipe whose other end the process outside
holds.  Each byte in it is a signal that was sent to that process; its end is that one's death."""

PRIVATE = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
"""Options of ``unshare``.  With its first process, ours, a PID namespace loses all the others;
network namespaces and mounts go with the last process in them."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

NAMES = os.path.realpath("/var/run/netns")
"""Where ``ip netns`` keeps its names.  Inside, a file system of our own is mounted there."""

PROGRAMS = {
    "ip": "iproute2",
    "nft": "nftables",
    "unshare": "util-linux",
    "mount": "util-linux",
}
"""What we run, and the package to install for it."""


def enter_private_world(argv: List[str]) -> None:
    """Go on in a world of our own; ``argv`` is ``sys.argv``, or what it should be there.

    The script is run a second time, inside, and only there does this return.  Outside it waits
    for that run, passes on the signals that ask it to stop, and exits with its exit code.
    There, SIGINT or SIGTERM raises ``KeyboardInterrupt``, once.
    """
    if LIFELINE in os.environ:
        _settle_in(int(os.environ.pop(LIFELINE)))
        return
    try:
        _check_programs()
        unshare = _way_in()
    except CannotBuild as error:
        complain(str(error))
        sys.exit(CANNOT_BUILD)
    sys.exit(_run_inside(unshare, argv))


def _check_programs() -> None:
    if not sys.platform.startswith("linux"):
        raise CannotBuild("network namespaces are a thing of Linux: run it there")
    missing = [name for name in PROGRAMS if shutil.which(name, path=_search_path()) is None]
    if missing:
        packages = sorted({PROGRAMS[name] for name in missing})
        raise CannotBuild("needs %s: install %s" % (", ".join(missing), ", ".join(packages)))


def _search_path() -> str:
    """The PATH, and the folders of system programs, which only root's has everywhere."""
    return os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


def _way_in() -> List[str]:
    """The ``unshare`` command that works here: as we are, or as root of a user namespace."""
    said = ""
    for rights in [], ["--map-root-user"]:
        command = ["unshare"] + rights + PRIVATE
        run = subprocess.run(
            command + ["true"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=_environment()
        )
        if run.returncode == 0:
            return command
        said = run.stdout.decode("ascii", "replace").strip().replace("\n", "; ")
    raise CannotBuild("neither root nor allowed to make namespaces (%s)" % said)


def _environment(**more: str) -> Dict[str, str]:
    return dict(os.environ, PATH=_search_path(), **more)


def _run_inside(unshare: List[str], argv: List[str]) -> int:
    """Run ourselves once more behind ``unshare``; its exit code.

    ``unshare`` itself blocks SIGINT and SIGTERM, so whoever sends them to us alone (Ctrl-C sends
    them to everybody) would wait in vain: they go through the lifeline.  Until the run inside is
    ready for them they are blocked, so that an early Ctrl-C is not a traceback.
    """
    reading, writing = os.pipe()
    for number in STOP_SIGNALS:
        signal.signal(number, lambda number, _: _pass_on(writing, number))
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    child = subprocess.Popen(
        unshare + [sys.executable] + argv,
        env=_environment(**{LIFELINE: str(reading)}),
        pass_fds=[reading],
    )
    os.close(reading)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    code = child.wait()
    return code if code >= 0 else 128 - code


def _pass_on(lifeline: int, number: int) -> None:
    try:
        os.write(lifeline, bytes([number]))
    except BrokenPipeError:
        pass  # it has ended by itself


def _settle_in(lifeline: int) -> None:
    """Inside, at once: hold on to the lifeline, be ready for signals, have names of our own."""
    os.set_inheritable(lifeline, False)
    threading.Thread(target=_watch, args=(lifeline,), daemon=True).start()
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    try:
        run("mount", "--make-rprivate", "/")
        # The folder is there once anybody has used `ip netns`; else we hide the one above it.
        # (Not always that one: on NixOS the programs are in it.)
        folder = NAMES if os.path.isdir(NAMES) else os.path.dirname(NAMES)
        run("mount", "-t", "tmpfs", "lab", folder)
        os.makedirs(NAMES, exist_ok=True)
    except CannotBuild as error:
        complain(str(error))
        sys.exit(CANNOT_BUILD)


def _watch(lifeline: int) -> None:
    """Thread inside: hand signals on to the main thread, and die with the process outside."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    for number in iter(lambda: os.read(lifeline, 1), b""):
        signal.pthread_kill(main_thread, ord(number))
    os._exit(128 + signal.SIGKILL)


def _interrupt_once(*_: object) -> None:
    """Handle a stop signal.  A second one must not disturb the end that the first began."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def run(*command: str, feed: str = "") -> None:
    """Run a program that should have nothing to say; ``CannotBuild`` with its words if it fails."""
    done = subprocess.run(
        command, input=feed.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        said = done.stdout.decode("ascii", "replace").strip().split("\n")[0]
        raise CannotBuild("%s: %s" % (" ".join(command), said or "failed"))


def complain(text: str) -> None:
    """One line on stderr."""
    print("lab: " + text, file=sys.stderr, flush=True)


# -- one node ---------------------------------------------------------------------------


class Node:
    """One process of p2p_plain, and what it has told since it was started.

    Two threads read its two streams and hand each line to the laboratory, which calls ``take``
    while it holds its lock; what ``take`` writes is guarded by that lock.
    """

    def __init__(self, command: List[str], tell: Callable[[Record], None]) -> None:
        self._tell = tell
        self.frozen = False
        # Guarded by the laboratory's lock.
        self.nodeid = ""
        """Known once it listens; a node has a new one each time it is started."""
        self.peers: Dict[str, Record] = {}
        """By nodeid, the ``peer_up`` of everyone who is its peer now."""
        self.verdicts: Dict[str, str] = {}
        """By nodeid, how its last probe went, where that was ever told."""
        self.complaints: List[str] = []
        """What it wrote on stderr."""
        # A session of its own, so that Ctrl-C reaches the laboratory only.
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._readers = [
            threading.Thread(target=self._read_stdout, daemon=True),
            threading.Thread(target=self._read_stderr, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_stdout(self) -> None:
        """Thread: events; and at last the news that it is gone, for those who wait for others."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._tell(_parse(line.decode("utf-8", "replace").rstrip("\n")))
        self._tell({"ended": self.process.wait()})

    def _read_stderr(self) -> None:
        """Thread: there should be nothing to read."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._tell(_quote(line.decode("utf-8", "replace").rstrip("\n")))

    def take(self, record: Record) -> None:
        """Remember what it told.  Caller holds the laboratory's lock."""
        event = record.get("event")
        if event == "listening":
            self.nodeid = record["nodeid"]
        elif event == "peer_up":
            self.peers[record["nodeid"]] = record
        elif event == "peer_down":
            self.peers.pop(record["nodeid"], None)
        elif event == "reach":
            self.verdicts[record["nodeid"]] = record["dial"]
        elif "stderr" in record:
            self.complaints.append(record["stderr"])

    def ended(self) -> bool:
        """Whether the process is gone, asked or unasked."""
        return self.process.poll() is not None

    def send(self, number: int) -> None:
        """Send it a signal.  One that is frozen gets it when it is thawed (SIGKILL at once)."""
        try:
            self.process.send_signal(number)
        except ProcessLookupError:
            pass  # a reader has just waited for its end; from 3.9 on Python itself looks

    def wait(self, seconds: Optional[float] = None) -> int:
        """Its exit code, and all that it said has been taken; ``TimeoutExpired`` otherwise."""
        code = self.process.wait(seconds)
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self.send(signal.SIGKILL)
        self.wait()


def _parse(line: str) -> Record:
    """A line of its stdout; what is not an event is a complaint."""
    try:
        record = json.loads(line)
        return record if isinstance(record, dict) and "event" in record else _quote(line)
    except ValueError:
        return _quote(line)


def _quote(line: str) -> Record:
    return {"stderr": line}


# -- hosts and cables -------------------------------------------------------------------


class Device:
    """Something with a network namespace and one cable: a host, or the router.

    The cable's near end is ``eth0``, its far end an interface in ``socket``'s namespace that has
    the name of the device, a port of a bridge there.
    """

    def __init__(self, name: str, socket: str = SWITCHES, bridge: str = LEFT) -> None:
        self.name = name
        self.socket = socket
        self.bridge = bridge
        self.plugged = True
        self.port = name
        """The interface that is plugged into the switch."""
        self._line: Optional[subprocess.Popen[bytes]] = None
        ip("netns", "add", name)
        # Without this an IPv6 address waits a second or two, in case somebody else has it.
        inside(name, "sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad")
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", socket, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("-n", socket, "link", "set", name, "master", bridge, "up")
        ip("-n", name, "link", "set", "eth0", "up")

    def move(self, bridge: str) -> None:
        """Pull the cable's far end and plug it into another switch."""
        ip("-n", self.socket, "link", "set", self.port, "master", bridge)
        self.bridge = bridge

    def set_plugged(self, plugged: bool) -> None:
        """Plug the far end in or out.  The near end sees its light go on or off."""
        ip("-n", self.socket, "link", "set", self.name, "up" if plugged else "down")
        self.plugged = plugged

    def narrow(self, rate: int) -> None:
        """Put a slow line between its cable and the switch."""
        self.widen()
        near, self.port = "near-" + self.name, "far-" + self.name
        ip("-n", self.socket, "link", "add", near, "type", "veth", "peer", "name", self.port)
        ip("-n", self.socket, "link", "set", self.name, "nomaster")
        ip("-n", self.socket, "link", "set", near, "up")
        ip("-n", self.socket, "link", "set", self.port, "master", self.bridge, "up")
        ends = [self.name, near, str(rate)]
        self._line = subprocess.Popen(
            ["ip", "netns", "exec", self.socket, sys.executable, "-c", LINE] + ends,
            start_new_session=True,
        )

    def widen(self) -> None:
        """And take it out again."""
        if self._line is None:
            return
        self._line.kill()
        self._line.wait()
        self._line = None
        ip("-n", self.socket, "link", "del", self.port)
        self.port = self.name
        self.move(self.bridge)


class Router(Device):
    """A router as at home: everyone inside shares its one outside address (IPv4 only)."""

    def __init__(self) -> None:
        super().__init__(ROUTER)
        add_bridge(ROUTER, INSIDE)
        ip("-n", ROUTER, "addr", "add", ROUTER_INSIDE + "/24", "dev", INSIDE)
        ip("-n", ROUTER, "addr", "add", ROUTER_OUTSIDE + "/24", "dev", "eth0")
        inside(ROUTER, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        chain = "{ type nat hook postrouting priority 100; }"
        nft(
            ROUTER,
            "add table ip lab",
            "add chain ip lab outward " + chain,
            'add rule ip lab outward oifname "eth0" masquerade',
        )


class Host(Device):
    """A host: its addresses, its firewall, and its node while one runs."""

    def __init__(
        self, number: int, ipv6_only: bool = False, router: Optional[Router] = None
    ) -> None:
        self.router = router
        self.node: Optional[Node] = None
        self.closed_to: Set[str] = set()
        """Names of the hosts that its firewall lets make no connection, or ``EVERYONE``."""
        if router is not None:
            super().__init__("n%d" % number, ROUTER, INSIDE)
            # Not even the IPv6 address that every interface makes for itself.
            ip("-n", self.name, "link", "set", "eth0", "addrgenmode", "none")
            ip("-n", self.name, "-6", "addr", "flush", "dev", "eth0")
            self.addresses = ["10.78.0.%d" % number]
        else:
            super().__init__("h%d" % number)
            self.addresses = [] if ipv6_only else ["10.77.0.%d" % number]
            self.addresses.append("fd77::%d" % number)
        for address in self.addresses:
            if ":" in address:
                ip("-n", self.name, "addr", "add", address + "/64", "dev", "eth0", "nodad")
            else:
                ip("-n", self.name, "addr", "add", address + "/24", "dev", "eth0")
        if router is not None:
            ip("-n", self.name, "route", "add", "default", "via", ROUTER_INSIDE)

    @property
    def listens_at(self) -> str:
        """Where others may dial its node."""
        address = self.addresses[0]
        return "%s:%d" % ("[%s]" % address if ":" in address else address, PORT)

    @property
    def place(self) -> str:
        """Which switch its frames arrive at; ``""`` if at none."""
        far = self.router if self.plugged and self.router is not None else self
        return far.bridge if far.plugged else ""

    @property
    def awake(self) -> bool:
        """Whether a node runs on it that can act."""
        return self.node is not None and not self.node.frozen and not self.node.ended()

    def block(self, sources: List["Host"], verdict: str) -> None:
        """Let these (nobody given: anyone) make no new connection; what stands, stays.

        Only the first packet of a connection is matched, as most firewalls do it: what comes
        later belongs to a connection that was let in.
        """
        rules = ["iifname != lo"]
        if sources:
            rules = []
            seen_as = [address for host in sources for address in host.addresses]
            if any(host.router for host in sources):
                seen_as.append(ROUTER_OUTSIDE)
            for family, colon in ("ip", False), ("ip6", True):
                theirs = [address for address in seen_as if (":" in address) == colon]
                if theirs:
                    rules.append("%s saddr { %s }" % (family, ", ".join(theirs)))
        first = "ct state new tcp flags & (fin | syn | rst | ack) == syn"
        nft(
            self.name,
            "add table inet lab",
            "add chain inet lab inward { type filter hook input priority 0; }",
            *["add rule inet lab inward %s %s %s" % (rule, first, verdict) for rule in rules],
        )
        self.closed_to |= {host.name for host in sources} or {EVERYONE}

    def unblock(self) -> None:
        """No firewall any more."""
        nft(self.name, "add table inet lab", "delete table inet lab")
        self.closed_to.clear()

    def refuses(self, other: "Host") -> bool:
        """Whether its firewall, or the NAT that it is behind, keeps ``other`` from dialing it."""
        return self.router is not None or bool(self.closed_to & {EVERYONE, other.name})


def ip(*words: str) -> None:
    """Run ``ip``; ``ip -n NAME`` acts inside the namespace NAME."""
    run("ip", *words)


def inside(name: str, *command: str) -> None:
    """Run a program inside the namespace ``name``."""
    run("ip", "netns", "exec", name, *command)


def nft(name: str, *lines: str) -> None:
    """Give the packet filter inside a namespace some commands, all or none of which take effect."""
    run("ip", "netns", "exec", name, "nft", "-f", "-", feed="\n".join(lines) + "\n")


def add_bridge(namespace: str, name: str) -> None:
    """A switch.  It forwards all multicast, as a simple one does; IPv6 finds neighbours by it.

    Its own address is fixed: it would change with every port that is added, and a host would
    go on sending to the old one.
    """
    address = ["address", "02:00:00:00:00:fe"]
    ip("-n", namespace, "link", "add", name, *(address + ["type", "bridge", "mcast_snooping", "0"]))
    ip("-n", namespace, "link", "set", name, "up")


# -- the laboratory ---------------------------------------------------------------------


class Wanted(NamedTuple):
    """An event that is waited for: ``peer_down on h1 about h2 reason=timeout``."""

    event: str
    host: str
    about: str  # "" for anyone
    fields: Dict[str, str]

    def matches(self, record: Record) -> bool:
        """Whether this is such an event."""
        return (
            record.get("event") == self.event
            and record["host"] == self.host
            and self.about in ("", record["about"])
            and all(as_word(record.get(field)) == value for field, value in self.fields.items())
        )

    def __str__(self) -> str:
        about = " about " + self.about if self.about else ""
        fields = "".join(" %s=%s" % field for field in sorted(self.fields.items()))
        return "%s on %s%s%s" % (self.event, self.host, about, fields)


class Lab:
    """Hosts, their cables and their nodes.  Use it in a ``with``, inside a private world.

    One thread calls it.  The nodes' reader threads hand it what the nodes say; ``tell``, called
    with each record under the lock, shows it.  ``Failed``: what was waited for did not happen.
    """

    def __init__(
        self,
        hosts: int = 4,
        behind_nat: int = 0,
        ipv6_only: bool = False,
        node_options: Iterable[str] = (),
        python: str = sys.executable,
        tell: Callable[[Record], None] = lambda record: None,
    ) -> None:
        self._ipv6_only = ipv6_only
        self._command = [python, "-m", "p2p_plain", "--json", "--port", str(PORT)]
        self._options = list(node_options)
        self._show = tell
        # Guarded by _news, a condition that is notified whenever a node said something.
        self._news = threading.Condition()
        self.records: List[Record] = []
        """The nodes' events since the last step that changed something."""
        self._peers_changed_at = 0.0
        self._started_at = time.monotonic()
        # Ours, who call.
        self._changed_at = 0.0
        """When the last step that changed something began."""
        self.hosts: Dict[str, Host] = {}
        self._router: Optional[Router] = None
        self._build(hosts, behind_nat)

    def _build(self, hosts: int, behind_nat: int) -> None:
        ip("netns", "add", SWITCHES)
        for name in LEFT, RIGHT:
            add_bridge(SWITCHES, name)
        for number in range(1, hosts + 1):
            self._keep(Host(number, self._ipv6_only))
        if behind_nat:
            self._router = Router()
        for number in range(1, behind_nat + 1):
            self._keep(Host(number, router=self._router))

    def _keep(self, host: Host) -> None:
        self.hosts[host.name] = host

    def __enter__(self) -> "Lab":
        self._started_at = time.monotonic()
        try:
            # The first one listens before the others dial it.
            self.start("h1")
            self.start(*[name for name in self.hosts if name != "h1"])
        except BaseException:
            self.__exit__()
            raise
        self._changed_at = 0.0
        return self

    def __exit__(self, *_: object) -> None:
        """Kill what still runs, and show no more.  Cables and names go with the private world."""
        with self._news:
            self._show = lambda record: None
        for host in self.hosts.values():
            if host.node is not None:
                host.node.kill()
            host.widen()

    # -- what nodes tell ------------------------------------------------------------

    def clock(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started_at

    def _hear(self, host: Host, record: Record) -> None:
        """Take what the node on ``host`` told.  Its reader threads."""
        with self._news:
            record["host"] = host.name
            record["at"] = round(self.clock(), 3)
            record["about"] = self._about(record)
            if host.node is not None:
                host.node.take(record)
            if "event" in record:
                self.records.append(record)
            if record.get("event") in ("peer_up", "peer_down", "listening"):
                self._peers_changed_at = record["at"]
            self._show(record)
            self._news.notify_all()

    def _about(self, record: Record) -> str:
        """The host that an event is about, by the name of its node or by the address."""
        if record.get("event") == "listening":
            return ""
        if "name" in record:
            return str(record["name"])
        address = str(record.get("address", "")).rpartition(":")[0].strip("[]")
        owners = [name for name, host in list(self.hosts.items()) if address in host.addresses]
        return owners[0] if owners else ""

    def tell(self, **record: Any) -> None:
        """Tell what the laboratory itself does or found."""
        with self._news:
            record["at"] = round(self.clock(), 3)
            self._show(record)

    def _wait_for(self, predicate: Callable[[], Any], seconds: float) -> bool:
        """Whether ``predicate``, called under the lock, came true in time."""
        deadline = time.monotonic() + seconds
        with self._news:
            while not predicate():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._news.wait(left)
        return True

    def change(self) -> None:
        """Forget what was told: ``expect`` and ``never`` look no further back than this."""
        with self._news:
            self.records = []
            self._changed_at = self.clock()

    # -- who should be whose peer ---------------------------------------------------

    def _missing(self) -> Dict[str, List[str]]:
        """By host, those whom its node could have as peers and has not.  Under the lock."""
        missing: Dict[str, List[str]] = {}
        awake = [host for host in self.hosts.values() if host.awake]
        for host in awake:
            for other in awake:
                assert host.node is not None
                assert other.node is not None
                known = other.node.nodeid in host.node.peers
                if not known and self._can_meet(host, other):
                    missing.setdefault(host.name, []).append(other.name)
        return missing

    def _can_meet(self, one: Host, other: Host) -> bool:
        if one is other or not one.place or one.place != other.place:
            return False
        return not (one.refuses(other) and other.refuses(one))

    def _out_of_reach(self) -> Dict[str, List[str]]:
        """By host, those whom its node takes for peers and no cable leads to.  Under the lock."""
        wrong: Dict[str, List[str]] = {}
        for host in self.hosts.values():
            for up in host.node.peers.values() if host.node and host.awake else ():
                other = self.hosts[up["name"]]
                if not host.place or host.place != other.place:
                    wrong.setdefault(host.name, []).append(other.name)
        return wrong

    # -- steps: waiting -------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)

    def mesh(self, seconds: float = PATIENCE) -> float:
        """Wait until every awake node is a peer of every other that it can reach.

        How long after the last change that was, in seconds.
        """
        if not self._wait_for(lambda: not self._missing(), seconds):
            raise Failed("no mesh in %g s: %s" % (seconds, as_list("misses", self._missing())))
        return self._tell_how_long("mesh", self._peers_changed_at)

    def apart(self, seconds: float = PATIENCE) -> float:
        """Wait until no node counts whom it cannot reach, and those together are a mesh.

        How long after the last change that was, in seconds.
        """
        if not self._wait_for(lambda: not self._out_of_reach() and not self._missing(), seconds):
            faults = [
                as_list("still counts", self._out_of_reach()),
                as_list("misses", self._missing()),
            ]
            raise Failed("not apart in %g s: %s" % (seconds, "; ".join(filter(None, faults))))
        return self._tell_how_long("apart", self._peers_changed_at)

    def expect(self, wanted: Wanted, seconds: float = PATIENCE) -> float:
        """Wait for an event; how long after the last change it was told, in seconds."""
        found: List[Record] = []

        def seen() -> bool:
            found[:] = [record for record in self.records if wanted.matches(record)][:1]
            return bool(found)

        if not self._wait_for(seen, seconds):
            raise Failed("waited %g s in vain for %s" % (seconds, wanted))
        return self._tell_how_long("expect", found[0]["at"])

    def never(self, wanted: Wanted) -> None:
        """Fail if such an event has been told since the last change."""
        with self._news:
            seen = [record["at"] for record in self.records if wanted.matches(record)]
        if seen:
            raise Failed("there was, at %.3f: %s" % (seen[0], wanted))

    def _tell_how_long(self, what: str, at: float) -> float:
        seconds = max(0.0, at - self._changed_at)
        self.tell(result=what, seconds=round(seconds, 3))
        return seconds

    def show(self) -> Dict[str, Dict[str, str]]:
        """Tell who is whose peer, as each node sees it: by host, by other host, a mark."""
        with self._news:
            table = {name: self._row(host) for name, host in self.hosts.items()}
        self.tell(result="show", table=table)
        return table

    def _row(self, host: Host) -> Dict[str, str]:
        node = host.node
        if node is None or node.ended():
            return {name: "-" for name in self.hosts if name != host.name}
        row = {}
        marks = {up["name"]: "<>"[up["direction"] == "outbound"] for up in node.peers.values()}
        for name, other in self.hosts.items():
            if other is not host:
                verdict = node.verdicts.get(other.node.nodeid, "ok") if other.node else "ok"
                row[name] = marks.get(name, ".") + ("x" if verdict != "ok" else "")
        return row

    def ask(self, name: str, command: str, *options: str) -> str:
        """Tell what a command of the program, run on that host, says of the node there."""
        words = [command, self.hosts[name].listens_at, "--network", NETWORK] + list(options)
        try:
            done = subprocess.run(
                ["ip", "netns", "exec", name] + self._command[:3] + words,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=ASK_PATIENCE,
            )
        except subprocess.TimeoutExpired:
            raise Failed("%s on %s took over %g s" % (command, name, ASK_PATIENCE)) from None
        said = done.stdout.decode("utf-8", "replace").rstrip("\n")
        self.tell(result="ask", said=said, code=done.returncode)
        return said

    # -- steps: cables and firewalls -------------------------------------------------

    def device(self, name: str) -> Device:
        """The host of that name, or the router."""
        return self._router if self._router and name == ROUTER else self.hosts[name]

    def split(self, *names: str) -> None:
        """Plug these into the right switch, which no cable joins to the left one."""
        for name in names:
            self.device(name).move(RIGHT)

    def heal(self) -> None:
        """Everyone on the left switch again."""
        devices: List[Any] = list(self.hosts.values()) + [self._router]
        for device in devices:
            if device is not None and device.bridge == RIGHT:
                device.move(LEFT)

    def unplug(self, *names: str) -> None:
        """Pull these cables."""
        for name in names:
            self.device(name).set_plugged(False)

    def plug(self, *names: str) -> None:
        """Plug these cables in again."""
        for name in names:
            self.device(name).set_plugged(True)

    def drop(self, name: str, *sources: str) -> None:
        """Have its firewall drop new connections from these, or from anyone, without a word."""
        self.hosts[name].block([self.hosts[source] for source in sources], "drop")

    def reject(self, name: str, *sources: str) -> None:
        """Do the same, but answer that it is prohibited, as firewalld does."""
        verdict = "reject with icmpx type admin-prohibited"
        self.hosts[name].block([self.hosts[source] for source in sources], verdict)

    def open(self, *names: str) -> None:
        """Take these firewalls away."""
        for name in names:
            self.hosts[name].unblock()

    def narrow(self, name: str, rate: str) -> None:
        """Let a host send and receive no faster than this, such as ``256kbit``."""
        self.hosts[name].narrow(bits_a_second(rate))

    def wide(self, *names: str) -> None:
        """Take the slow line out again."""
        for name in names:
            self.hosts[name].widen()

    # -- steps: nodes -----------------------------------------------------------------

    def add(self) -> str:
        """One more host on the left switch; its name."""
        host = Host(1 + sum(host.router is None for host in self.hosts.values()), self._ipv6_only)
        self._keep(host)
        self.start(host.name)
        return host.name

    def start(self, *names: str) -> None:
        """Start nodes, and wait until they listen."""
        for name in names:
            host = self.hosts[name]
            if host.node is not None:
                raise WrongUsage("%s runs already" % name)
            self._start_one(host)
        nodes = [(name, node) for name in names for node in [self._node(name)]]
        self._wait_for(lambda: all(n.nodeid or n.ended() for _, n in nodes), START_PATIENCE)
        for name, node in nodes:
            if not node.nodeid:
                raise Failed("the node on %s does not start" % name)

    def _start_one(self, host: Host) -> None:
        # Two to begin with, so that the first finds back when it was restarted; a node that
        # dials itself knows.
        first = [self.hosts[name].listens_at for name in ("h1", "h2") if name in self.hosts]
        bootstrap = ["--network", NETWORK, "--bootstrap", ",".join(first)]
        command = ["ip", "netns", "exec", host.name] + self._command + ["--name", host.name]
        # Under the lock, so that its first words do not arrive before we know whose they are.
        with self._news:
            host.node = Node(
                command + bootstrap + self._options, lambda record: self._hear(host, record)
            )

    def _node(self, name: str) -> Node:
        node = self.hosts[name].node
        if node is None:
            raise WrongUsage("no node runs on %s" % name)
        return node

    def kill(self, *names: str) -> None:
        """End nodes by SIGKILL: they say goodbye to nobody."""
        for name in names:
            self._node(name).kill()
            self.hosts[name].node = None

    def stop(self, *names: str) -> None:
        """End nodes by SIGTERM, as one should; ``Failed`` if they do not end well."""
        problems = self._stop([(name, self._node(name)) for name in names])
        if problems:
            raise Failed("; ".join(problems))

    def restart(self, *names: str) -> None:
        """Stop nodes and start them again."""
        self.stop(*names)
        self.start(*names)

    def freeze(self, *names: str) -> None:
        """SIGSTOP: the process stands still, while the system keeps its connections up."""
        for name in names:
            self._node(name).send(signal.SIGSTOP)
            self._node(name).frozen = True

    def thaw(self, *names: str) -> None:
        """SIGCONT: it goes on, and to itself no time has passed."""
        for name in names:
            self._node(name).frozen = False
            self._node(name).send(signal.SIGCONT)

    def end(self) -> List[str]:
        """Stop every node; what was not as it should be, a line each."""
        return self._stop(
            [(name, host.node) for name, host in self.hosts.items() if host.node is not None]
        )

    def _stop(self, nodes: List[Tuple[str, Node]]) -> List[str]:
        """SIGTERM to all at once.  Each must end with exit code 0, in time, without a complaint."""
        problems = ["%s had ended by itself" % name for name, node in nodes if node.ended()]
        for _, node in nodes:
            node.send(signal.SIGTERM)
            node.send(signal.SIGCONT)  # a frozen one would not notice
        deadline = time.monotonic() + STOP_PATIENCE
        for name, node in nodes:
            try:
                code = node.wait(max(0.0, deadline - time.monotonic()))
                if code:
                    problems.append("%s ended with exit code %d" % (name, code))
            except subprocess.TimeoutExpired:
                node.kill()
                problems.append("%s did not stop within %g s" % (name, STOP_PATIENCE))
            if node.complaints:
                problems.append("%s wrote on stderr: %s" % (name, node.complaints[0]))
            self.hosts[name].node = None
        return problems


def as_list(verb: str, whom: Dict[str, List[str]]) -> str:
    """``h1 misses h2, h3; h2 misses h1``."""
    return "; ".join("%s %s %s" % (name, verb, ", ".join(whom[name])) for name in whom)


def as_word(value: Any) -> str:
    """A field's value, as one types it."""
    return value if isinstance(value, str) else json.dumps(value)


# -- steps in words ---------------------------------------------------------------------


class Mismatch(Exception):
    """The words of a step are too few, too many, or other ones."""


class Step(NamedTuple):
    """One step, read and found right."""

    text: str
    kind: "Kind"
    arguments: Tuple[Any, ...]

    def take(self, lab: Lab) -> None:
        """Do it, and tell so."""
        lab.tell(step=self.text)
        if self.kind.changes:
            lab.change()
        self.kind.act(lab, *self.arguments)


def read_steps(lines: Iterable[str], names: Iterable[str]) -> List[Step]:
    """Understand all steps before the first is taken; ``names`` are the devices there are."""
    known = list(names)
    steps = []
    for line in lines:
        words = split_words(line)
        if words:
            steps.append(read_step(words, known))
            if words[0] == "add":
                known.append("h%d" % (1 + sum(name.startswith("h") for name in known)))
    return steps


def split_words(line: str) -> List[str]:
    """The words of a line as in a shell; none if it is only a comment."""
    try:
        return shlex.split(line, comments=True)
    except ValueError as error:
        raise WrongUsage("%s: %s" % (line.strip(), str(error).lower()))


def read_step(words: List[str], names: List[str]) -> Step:
    """Understand one step."""
    kind = KINDS.get(words[0])
    if kind is None:
        raise WrongUsage("there is no step %r (steps: %s)" % (words[0], ", ".join(KINDS)))
    if words[0] == "add" and len([name for name in names if name != ROUTER]) >= MAX_HOSTS:
        raise WrongUsage("add: there are %d hosts already" % MAX_HOSTS)
    text = " ".join(words)
    try:
        return Step(text, kind, kind.read(words[1:], names))
    except Mismatch:
        raise WrongUsage("%s: it is `%s`" % (text, " ".join(filter(None, [words[0], kind.usage]))))
    except WrongUsage as error:
        raise WrongUsage("%s: %s" % (text, error))


def read_nothing(words: List[str], names: List[str]) -> Tuple[Any, ...]:
    """No argument."""
    if words:
        raise Mismatch
    return ()


def read_seconds(words: List[str], names: List[str]) -> Tuple[Any, ...]:
    """Exactly one number."""
    if len(words) != 1:
        raise Mismatch
    return (as_seconds(words[0]),)


def read_maybe_seconds(words: List[str], names: List[str]) -> Tuple[Any, ...]:
    """One number or none."""
    return read_seconds(words, names) if words else ()


def read_cables(words: List[str], names: List[str]) -> Tuple[Any, ...]:
    """Hosts, and the router too."""
    if len(words) != 1:
        raise Mismatch
    return known_names(words[0], names)


def read_switch_cables(words: List[str], names: List[str]) -> Tuple[Any, ...]:
    """Whose cables are in a switch."""
    for name in read_cables(words, names):
        if name.startswith("n"):
            raise WrongUsage("%s is plugged into the router: split the router" % name)
    return read_cables(words, names)


def read_hosts(words: List[str], names: List[str]) -> Tuple[Any, ...]:
    """Hosts only."""
    if len(words) != 1:
        raise Mismatch
    return known_names(words[0], [name for name in names if name != ROUTER])


def read_host(words: List[str], names: List[str]) -> Tuple[Any, ...]:
    """One host only."""
    if len(words) != 1 or len(read_hosts(words, names)) != 1:
        raise Mismatch
    return read_hosts(words, names)


def read_from(words: List[str], names: List[str]) -> Tuple[Any, ...]:
    """A host, and whom its firewall is against."""
    if len(words) == 1:
        return read_host(words, names)
    if len(words) != 3 or words[1] != "from":
        raise Mismatch
    return read_host(words[:1], names) + read_hosts(words[2:], names)


def read_words(words: List[str], names: List[str]) -> Tuple[Any, ...]:
    """A host and a command, which asks the node there; with its options."""
    if len(words) < 2 or words[1] not in COMMANDS:
        raise WrongUsage("the commands that can be asked are %s" % ", ".join(COMMANDS))
    return read_host(words[:1], names) + tuple(words[1:])


def bits_a_second(rate: str) -> int:
    """``256kbit`` as a number."""
    found = re.match("([1-9][0-9]*)([kmg]?bit)$", rate)
    if found is None:
        raise WrongUsage("a rate is written like 256kbit")
    return int(found.group(1)) * UNITS[found.group(2)]


def read_rate(words: List[str], names: List[str]) -> Tuple[Any, ...]:
    """A host and a rate."""
    if len(words) != 2:
        raise Mismatch
    bits_a_second(words[1])
    return read_host(words[:1], names) + (words[1],)


def read_expected(words: List[str], names: List[str]) -> Tuple[Any, ...]:
    """An event, and perhaps how long to wait for it."""
    if len(words) > 2 and words[-2] == "within":
        return (*read_wanted(words[:-2], names), as_seconds(words[-1]))
    return read_wanted(words, names)


def read_wanted(words: List[str], names: List[str]) -> Tuple[Any, ...]:
    """An event: ``peer_down on h1 about h2 reason=timeout``."""
    if len(words) < 3 or words[1] != "on":
        raise Mismatch
    event, host, rest = words[0], read_host(words[2:3], names)[0], words[3:]
    if event not in EVENTS:
        raise WrongUsage("there is no event %r (events: %s)" % (event, ", ".join(EVENTS)))
    about = ""
    if rest and rest[0] == "about":
        about, rest = read_host(rest[1:2], names)[0], rest[2:]
    fields = {}
    for word in rest:
        field, equals, value = word.partition("=")
        if not equals:
            raise Mismatch
        if field not in EVENTS[event]:
            raise WrongUsage("the fields of %s are %s" % (event, ", ".join(EVENTS[event])))
        fields[field] = value
    return (Wanted(event, host, about, fields),)


def known_names(word: str, names: List[str]) -> Tuple[str, ...]:
    """``h1,h2`` as names of devices that exist, each once."""
    found = word.split(",")
    for name in found:
        if name not in names:
            raise WrongUsage("there is no %r (there are %s)" % (name, ", ".join(names)))
    return tuple(dict.fromkeys(found))


def as_seconds(word: str) -> float:
    """A time that somebody may wait for."""
    if not re.match(r"[0-9]+(\.[0-9]+)?$", word) or float(word) > 1e6:
        raise WrongUsage("%r is not a number of seconds" % word)
    return float(word)


class Kind(NamedTuple):
    """What one word may mean: its arguments, a fact for ``help``, and the method that does it."""

    usage: str
    help: str
    read: Callable[[List[str], List[str]], Tuple[Any, ...]]
    act: Callable[..., Any]
    changes: bool = True


KINDS: Dict[str, Kind] = {
    "wait": Kind("SECONDS", "let time pass", read_seconds, Lab.wait, False),
    "mesh": Kind(
        "[SECONDS]", "wait until all that can be are peers", read_maybe_seconds, Lab.mesh, False
    ),
    "apart": Kind(
        "[SECONDS]", "wait until a split is noticed by all", read_maybe_seconds, Lab.apart, False
    ),
    "split": Kind("A,B", "to the right switch with their cables", read_switch_cables, Lab.split),
    "partition": Kind("A,B", "the same", read_switch_cables, Lab.split),
    "heal": Kind("", "all back to the left switch", read_nothing, Lab.heal),
    "unplug": Kind("A,B", "pull the cable", read_cables, Lab.unplug),
    "plug": Kind("A,B", "plug it in again", read_cables, Lab.plug),
    "drop": Kind("A [from B,C]", "its firewall drops new connections", read_from, Lab.drop),
    "reject": Kind("A [from B,C]", "its firewall refuses them", read_from, Lab.reject),
    "open": Kind("A,B", "no firewall any more", read_hosts, Lab.open),
    "kill": Kind("A,B", "SIGKILL to the node", read_hosts, Lab.kill),
    "stop": Kind("A,B", "SIGTERM to the node", read_hosts, Lab.stop),
    "start": Kind("A,B", "a new node on that host", read_hosts, Lab.start),
    "restart": Kind("A,B", "stop and start", read_hosts, Lab.restart),
    "freeze": Kind("A,B", "SIGSTOP to the node", read_hosts, Lab.freeze),
    "thaw": Kind("A,B", "SIGCONT to the node", read_hosts, Lab.thaw),
    "narrow": Kind("A RATE", "no more than, say, 256kbit a second", read_rate, Lab.narrow),
    "wide": Kind("A,B", "at full speed again", read_hosts, Lab.wide),
    "add": Kind("", "one more host", read_nothing, Lab.add),
    "show": Kind("", "a table: who is whose peer", read_nothing, Lab.show, False),
    "ask": Kind("A WORDS", "p2p_plain's ping, matrix or check, there", read_words, Lab.ask, False),
    "expect": Kind(
        "EVENT on A [about B] [FIELD=VALUE ...] [within SECONDS]",
        "wait for an event since the last step that changed something",
        read_expected,
        Lab.expect,
        False,
    ),
    "never": Kind(
        "EVENT on A [about B] [FIELD=VALUE ...]",
        "fail if there was one",
        read_wanted,
        Lab.never,
        False,
    ),
}


def steps_help() -> str:
    """Every step on a line, or on two."""
    lines = []
    for word, kind in KINDS.items():
        usage = "  %s %s" % (word, kind.usage)
        if len(usage) > 24:
            lines.append(usage)
            usage = ""
        lines.append("%-24s %s" % (usage, kind.help))
    return "\n".join(lines)


# -- showing ----------------------------------------------------------------------------


class Show:
    """Prints records, for people or as JSON lines.  The laboratory calls it under its lock."""

    def __init__(self, as_json: bool, everything: bool) -> None:
        self._as_json = as_json
        self._everything = everything

    def __call__(self, record: Record) -> None:
        """Print one record."""
        if "stderr" in record:
            print("%(host)s: %(stderr)s" % record, file=sys.stderr, flush=True)
        elif self._as_json:
            self._print(json.dumps({key: record[key] for key in record if key != "about"}))
        elif self._everything or record.get("event") != "rtt":
            self._print(human(record))

    def _print(self, text: str) -> None:
        """Where nobody reads any more (``lab.py ... | head``), the laboratory ends."""
        try:
            print(text.encode("ascii", "backslashreplace").decode(), flush=True)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            os.kill(os.getpid(), signal.SIGTERM)


def human(record: Record) -> str:
    """``  12.345  h3   peer_down  h1   timeout  10.77.0.1:6000``."""
    at = "%8.3f  " % record["at"]
    if "step" in record:
        return at + "---- " + str(record["step"])
    if record.get("result") == "show":
        return as_table(record["table"])
    if record.get("result") == "ask":
        return "\n".join("    " + line for line in record["said"].splitlines())
    if "result" in record:
        return at + "     %s: %.3f s after the last change" % (record["result"], record["seconds"])
    if "ended" in record:
        return at + "%-4s ended      exit code %d" % (record["host"], record["ended"])
    event = record["event"]
    fields = [field for field in EVENTS.get(event, record) if field in record]
    told = [as_word(record[field]) for field in fields if field not in NOT_SHOWN]
    line = "%-4s %-10s %-4s %s" % (record["host"], event, record["about"], "  ".join(told))
    return at + line.rstrip()


def as_table(table: Dict[str, Dict[str, str]]) -> str:
    """A row a host, a column for each other one."""
    rows = [" ".join("%4s" % word for word in [""] + list(table))]
    for name, marks in table.items():
        rows.append(" ".join("%4s" % word for word in [name] + [marks.get(n, "") for n in table]))
    return "\n".join("    " + row.rstrip() for row in rows + LEGEND)


# -- the command line -------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> Any:
        """Called by argparse."""
        raise WrongUsage(message + "; see --help")


def read_arguments(argv: List[str]) -> argparse.Namespace:
    """What the command line asks for, checked."""
    parser = Parser(
        prog="lab.py",
        description=(__doc__ or "").partition("\n\nOther scripts")[0],
        epilog="steps:\n" + steps_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("steps", nargs="*", metavar="STEP", help="what to do, each in one argument; see below")
    add("--hosts", type=int, default=4, metavar="N", help="hosts h1 to hN (4)")
    add("--behind-nat", type=int, default=0, metavar="K", help="hosts n1 to nK behind a router")
    add("--ipv6-only", action="store_true", help="no host has an IPv4 address")
    add("--node", default="", metavar="OPTIONS", help="more options for every node, in one word")
    add("--python", default=sys.executable, metavar="PATH", help="runs the nodes")
    add("--json", action="store_true", help="JSON lines")
    add("--all", action="store_true", help="show round-trip times too")
    if "--node" in argv[:-1]:
        # Else argparse takes a single option in the next argument for one of ours.
        at = argv.index("--node")
        argv = argv[:at] + ["--node=" + argv[at + 1]] + argv[at + 2 :]
    options = parser.parse_args(argv)
    if options.hosts < 1 or options.behind_nat < 0:
        raise WrongUsage("at least one host, and no fewer than none behind the router")
    if options.hosts + options.behind_nat > MAX_HOSTS:
        raise WrongUsage("at most %d hosts in all" % MAX_HOSTS)
    if options.behind_nat and options.ipv6_only:
        raise WrongUsage("--behind-nat is for IPv4, so not with --ipv6-only")
    python = shutil.which(options.python)
    if python is None:
        raise WrongUsage("--python %s: there is no such program" % options.python)
    options.python = os.path.abspath(python)
    options.node = split_words(options.node)
    options.steps = read_steps(options.steps, names_of(options))
    return options


def names_of(options: argparse.Namespace) -> List[str]:
    """Every device that there will be at the start."""
    names = ["h%d" % number for number in range(1, options.hosts + 1)]
    if options.behind_nat:
        names += ["n%d" % number for number in range(1, options.behind_nat + 1)] + [ROUTER]
    return names


def main(argv: List[str]) -> int:
    """Build, take the steps, tidy up; the exit code."""
    try:
        options = read_arguments(argv[1:])
        enter_private_world(argv)
        ask = not options.steps and sys.stdin.isatty()
        if not options.steps and not ask:
            options.steps = read_steps(sys.stdin, names_of(options))
        with Lab(
            options.hosts,
            options.behind_nat,
            options.ipv6_only,
            options.node,
            options.python,
            Show(options.json, options.all),
        ) as lab:
            return converse(lab, names_of(options)) if ask else perform(lab, options.steps)
    except WrongUsage as error:
        complain(str(error))
        return WRONG_USAGE
    except CannotBuild as error:
        complain(str(error))
        return CANNOT_BUILD
    except Failed as error:
        complain(str(error))
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def perform(lab: Lab, steps: List[Step]) -> int:
    """Take steps until one fails, and stop all nodes as they should be stopped."""
    problems = []
    try:
        for step in steps:
            step.take(lab)
    except Failed as error:
        problems.append(str(error))
    lab.tell(step="end")
    problems += lab.end()
    for problem in problems:
        complain(problem)
    return FAILED if problems else DONE


def converse(lab: Lab, names: List[str]) -> int:
    """Ask for steps until Ctrl-D.  A failed one is told, and the next is asked for."""
    try:
        import readline  # noqa: F401  (gives the prompt a memory)
    except ImportError:
        pass
    print("steps, `help`, or Ctrl-D to end")
    while True:
        try:
            words = split_words(input("lab> "))
            if words == ["help"]:
                print(steps_help())
            elif words:
                routers = [name for name in names if name == ROUTER]
                read_step(words, list(lab.hosts) + routers).take(lab)
        except EOFError:
            print()
            return perform(lab, [])
        except (WrongUsage, CannotBuild, Failed) as error:
            complain(str(error))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
