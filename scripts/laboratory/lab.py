"""The laboratory itself: its methods are the steps, and other scripts call them as well."""

import signal
import subprocess
import sys
import time
from typing import Callable, Collection, Dict, Iterable, List, Mapping, Tuple

from . import peering
from .agreement import OUTPUTS, Answers, Asker, Said, Wish, contradiction, disagreement, understood
from .errors import Failed, WrongUsage
from .events import Record, Wanted
from .impostor import PROGRAM
from .journal import Journal
from .losses import Losses
from .network import (
    BETWEEN,
    FAR,
    PORT,
    REJECTIONS,
    RIGHT,
    Device,
    Host,
    Router,
    bits_a_second,
    build_switches,
    delays,
)
from .node import PAGE_PORT, ROOT, Node, Program
from .steps import NOBODY, NODE_KINDS, step

PATIENCE = 30.0
"""Seconds that ``mesh``, ``apart`` and ``expect`` wait by default."""

START_PATIENCE = 20.0
"""Seconds until a started node must listen: many start at once and share a few cores."""

STOP_PATIENCE = 2.0
"""Seconds that a node may take to stop after SIGTERM.  It promises 1 s; a busy machine adds some."""

ASK_PATIENCE = 60.0
"""Seconds that a command may take.  ``ping`` without ``-c`` would never end."""

MEETING_PATIENCE = 5.0
"""Seconds that a node which has crashed gets to find a peer.  It may have no peer to find."""

NETWORK = "lab"
"""The ``--network`` of all nodes."""

BETWEEN_ROUNDS = 0.25
"""Seconds from one round of questions to the next, while nodes do not agree yet."""

BETWEEN_LOOKS = 1.0
"""Seconds from one look at the verdicts to the next, while ``only`` watches."""


class Lab:
    """Hosts, their cables and their nodes.  Use it in a ``with``, inside a private world.

    Leaving the ``with`` kills the nodes; cables and names end with the private world.  One thread
    calls the methods.  ``pythons`` and ``folders`` say, by host, which Python runs which p2p_plain;
    "" stands for all other hosts.  ``show`` is called with each record, under the journal's lock.
    Methods raise ``Failed`` if what they wait for does not happen.
    """

    def __init__(
        self,
        hosts: int = 4,
        behind_nat: int = 0,
        far: int = 0,
        ipv6_only: bool = False,
        start: bool = True,
        node_options: Iterable[str] = (),
        pythons: Mapping[str, str] = {},
        folders: Mapping[str, str] = {},
        show: Callable[[Record], None] = lambda record: None,
    ) -> None:
        self._ipv6_only = ipv6_only
        self._start_all = start
        self._options = list(node_options)
        self._pythons = pythons
        self._folders = folders
        self._askers: Dict[str, Asker] = {}
        build_switches()
        made: List[Device] = [Host(number, ipv6_only) for number in range(1, hosts + 1)]
        if behind_nat:
            router = Router()
            made.append(router)
            made += [Host(number, router=router) for number in range(1, behind_nat + 1)]
        made += [Host(number, ipv6_only, far=True) for number in range(1, far + 1)]
        self.devices = {device.name: device for device in made}
        self.hosts = {device.name: device for device in made if isinstance(device, Host)}
        if far:
            self.hosts[BETWEEN].join_far(ipv6_only)
        self._losses = Losses(self.hosts)
        self.journal = Journal(show)

    def __enter__(self) -> "Lab":
        try:
            if self._start_all:
                self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close()
        for asker in self._askers.values():
            asker.close()
        for host in self.hosts.values():
            for program in filter(None, (host.node, host.impostor)):
                program.kill()
            host.end_slow_line()

    # -- waiting and looking --------------------------------------------------------------

    @step("SECONDS", changes=False)
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)

    @step("[SECONDS]", changes=False)
    def mesh(self, seconds: float = PATIENCE) -> float:
        """Wait until all nodes that can meet are peers.

        Return the seconds from the last change to the last peer that came or went.
        """
        return self._settle("mesh", "no mesh", lambda: peering.misses(self.hosts), seconds)

    @step("[SECONDS]", changes=False)
    def apart(self, seconds: float = PATIENCE) -> float:
        """Wait until all nodes have noticed a split.

        No node counts a peer that it cannot reach, and all others are a mesh.  Return the same
        seconds as ``mesh``.
        """

        def faults() -> str:
            found = [peering.still_counts(self.hosts), peering.misses(self.hosts)]
            return "; ".join(filter(None, found))

        return self._settle("apart", "not apart", faults, seconds)

    def _settle(
        self, result: str, failure: str, faults: Callable[[], str], seconds: float
    ) -> float:
        """Wait until ``faults``, called under the journal's lock, returns an empty text."""
        if not self.journal.wait_for(lambda: not faults(), seconds):
            with self.journal.lock:
                raise Failed("%s in %g s: %s" % (failure, seconds, faults()))
        return self.journal.report_time(result, self.journal.peers_changed_at)

    @step("EVENT on HOST [about HOST] [FIELD=VALUE ...] [within SECONDS]", changes=False)
    def expect(self, wanted: Wanted, seconds: float = PATIENCE) -> float:
        """Wait for an event since the last change.

        Return the seconds from the last change to it.
        """
        self.journal.wait_for(lambda: self.journal.find(wanted), seconds)
        found = self.journal.find(wanted)
        if found is None:
            raise Failed("no event in %g s: %s" % (seconds, wanted))
        return self.journal.report_time("expect", found["at"])

    @step("EVENT on HOST [about HOST] [FIELD=VALUE ...]", changes=False)
    def never(self, wanted: Wanted) -> None:
        """Fail if there was such an event since the last change."""
        found = self.journal.find(wanted)
        if found is not None:
            raise Failed("unwanted event at %.3f: %s" % (found["at"], wanted))

    @step("", changes=False)
    def show(self) -> None:
        """Show a table: which nodes are peers."""
        with self.journal.lock:
            table = peering.table(self.hosts)
        self.journal.report(result="show", table=table)

    @step("HOST PROGRAM [OPTION ...]", changes=False)
    def run(self, name: str, program: str, *options: str) -> None:
        """Run any program on a host, and show what it prints."""
        code, said = self._run(name, program, *options)
        self.journal.report(result="run", said=said.rstrip("\n"), code=code)

    @step("HOST COMMAND [OPTION ...]", changes=False)
    def ask(self, name: str, command: str, *options: str) -> None:
        """Run ping, matrix or check on a host, or get a /path."""
        if command.startswith("/"):
            ((code, said),) = self._answers([name], [command])[name].values()
        else:
            words = [*self._program(name).words, command, self.hosts[name].listens_at()]
            code, said = self._run(name, *words, "--network", NETWORK, *options)
        self.journal.report(result="ask", said=said.rstrip("\n"), code=code)

    def _run(self, name: str, *command: str) -> Tuple[int, str]:
        """Return the exit code and the output."""
        try:
            done = subprocess.run(
                ["ip", "netns", "exec", name, *command],
                cwd=self._program(name).folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=ASK_PATIENCE,
            )
        except subprocess.TimeoutExpired:
            text = " ".join(command)
            raise Failed("%s on %s took over %g s" % (text, name, ASK_PATIENCE)) from None
        return done.returncode, done.stdout.decode("utf-8", "replace")

    def _answers(self, names: Iterable[str], questions: Iterable[str]) -> Dict[str, Answers]:
        """Put questions to the nodes on these hosts, all at one moment."""
        for name in names:
            if name not in self._askers:
                self._askers[name] = Asker(name, self._program(name))
            page = self._node(name).page
            self._askers[name].put(questions, self.hosts[name].listens_at(), page, NETWORK)
        return {name: self._askers[name].get() for name in names}

    @step("[VERDICT] [on HOSTS] [about HOSTS] [saying TEXT] [within SECONDS]", changes=False)
    def agree(
        self,
        word: str = "",
        on: Iterable[str] = (),
        about: Iterable[str] = (),
        saying: str = "",
        seconds: float = PATIENCE,
    ) -> float:
        """Wait until all nodes say the same, in all ways.

        Each node that runs and is not frozen is asked in five ways.  ``word`` is "well", "broken", or
        the kind of the one verdict that there is.  Return the seconds from the last change to the
        first time that all nodes agreed.
        """
        names = list(on) or [name for name, host in self.hosts.items() if host.awake]
        if not names:
            raise WrongUsage("no node runs that could be asked")
        wish = Wish(word, tuple(about), saying)
        deadline = time.monotonic() + seconds
        while True:
            # To ask in five ways costs a processor a tenth of a second: not before there is hope.
            said = self._said(names, ["matrix"])
            late = time.monotonic() > deadline
            if late or not any(map(wish.missing, said.values())):
                said = self._said(names, OUTPUTS)
                fault = contradiction(said) or disagreement(said, self.hosts, wish)
                if late or not fault:
                    break
            time.sleep(BETWEEN_ROUNDS)
        self._report_said(said)
        if fault:
            raise Failed("no agreement in %g s: %s" % (seconds, fault))
        return self.journal.report_time("agree", self.journal.clock())

    @step("VERDICT SECONDS [about HOSTS]", changes=False)
    def only(self, kind: str, seconds: float, about: Collection[str] = ()) -> None:
        """Fail if a node names anything else in that time.

        Each node is asked for its matrix, again and again.  It need not name anything.
        """
        deadline = time.monotonic() + seconds
        while True:
            names = [name for name, host in self.hosts.items() if host.awake]
            said = self._said(names, ["matrix"])
            wrong = [name for name, one in said.items() if one.others(kind, about)]
            if wrong or time.monotonic() > deadline:
                break
            time.sleep(BETWEEN_LOOKS)
        self._report_said(said)
        if wrong:
            raise Failed("%s: something else than %s" % (", ".join(wrong), kind))

    def _said(self, names: Iterable[str], questions: Iterable[str]) -> Dict[str, Said]:
        return {name: understood(found) for name, found in self._answers(names, questions).items()}

    def _report_said(self, said: Mapping[str, Said]) -> None:
        shown = {name: dict(one.words, verdicts=one.texts) for name, one in said.items()}
        self.journal.report(result="said", said=shown)

    # -- cables and firewalls -------------------------------------------------------------

    @step("CABLES", also="partition")
    def split(self, *names: str) -> None:
        """Move these cables to the right switch."""
        for name in names:
            self.devices[name].move(RIGHT)

    @step("")
    def heal(self) -> None:
        """Move all cables back to the left switch."""
        for device in self.devices.values():
            if device.switch != device.home:
                device.move(device.home)

    @step("CABLES")
    def unplug(self, *names: str) -> None:
        """Unplug these cables."""
        for name in names:
            self.devices[name].set_plugged(False)

    @step("CABLES")
    def plug(self, *names: str) -> None:
        """Plug them in again."""
        for name in names:
            self.devices[name].set_plugged(True)

    @step("HOST [from HOSTS]")
    def drop(self, name: str, sources: Iterable[str] = ()) -> None:
        """Let a firewall drop new connections."""
        self.hosts[name].block([self.hosts[source] for source in sources], "drop")

    @step("HOST [from HOSTS] [with ANSWER]")
    def reject(
        self, name: str, sources: Iterable[str] = (), answer: str = "admin-prohibited"
    ) -> None:
        """Let it answer that they are prohibited, or else."""
        verdict = "reject with " + REJECTIONS[answer]
        self.hosts[name].block([self.hosts[source] for source in sources], verdict)

    @step("HOSTS")
    def open(self, *names: str) -> None:
        """Remove these firewalls."""
        for name in names:
            self.hosts[name].unblock()

    @step("SECONDS CABLES [with ANSWER]")
    def forget(self, seconds: float, *names: str, answer: str = "") -> None:
        """Forget connections that are idle for so long."""
        verdict = "reject with " + REJECTIONS[answer] if answer else "drop"
        for name in names:
            self.devices[name].forget(seconds, verdict)

    @step("CABLES")
    def remember(self, *names: str) -> None:
        """Remember them again."""
        for name in names:
            self.devices[name].remember()

    @step("HOST RATE")
    def narrow(self, name: str, rate: str) -> None:
        """Limit a line to, say, 256kbit a second."""
        self.hosts[name].slow(bits_a_second=bits_a_second(rate))

    @step("HOSTS")
    def wide(self, *names: str) -> None:
        """Give these lines their full speed again."""
        for name in names:
            self.hosts[name].slow(bits_a_second=0)

    @step("HOST DELAYS")
    def jitter(self, name: str, text: str) -> None:
        """Delay each packet by, say, 0-60ms, so that some overtake."""
        shortest, longest = delays(text)
        self.hosts[name].slow(shortest=shortest, longest=longest)

    @step("HOST SECONDS")
    def stall(self, name: str, seconds: float) -> None:
        """Hold all packets up so long, each 2 to 6 seconds."""
        self.hosts[name].slow(stall=seconds)

    @step("PERCENT [from HOSTS] [to HOSTS]")
    def lose(self, percent: float, sources: Iterable[str] = (), targets: Iterable[str] = ()) -> None:
        """Lose packets at random, in this direction only."""
        self._losses.lose(percent, sources, targets)

    @step("SIZE [from HOSTS] [to HOSTS]")
    def hole(self, size: int, sources: Iterable[str] = (), targets: Iterable[str] = ()) -> None:
        """Lose all packets of more bytes, in this direction."""
        self._losses.hole(size, sources, targets)

    @step("[HOSTS]")
    def repair(self, *names: str) -> None:
        """End loss, holes, jitter and stalls, all or those of hosts."""
        self._losses.repair(names or self.hosts)
        for name in names or self.hosts:
            self.hosts[name].slow(shortest=0, longest=0, stall=0)

    # -- nodes ----------------------------------------------------------------------------

    @step("")
    def add(self) -> str:
        """Add a host on the left switch and start its node."""
        host = Host(1 + sum(host.router is None for host in self.hosts.values()), self._ipv6_only)
        with self.journal.lock:
            self.hosts[host.name] = self.devices[host.name] = host
        self.start(host.name)
        return host.name

    @step("[HOSTS]")
    def start(self, *names: str) -> None:
        """Start new nodes, by default all that do not run."""
        for name in names:
            if self.hosts[name].node is not None:
                raise WrongUsage("a node runs on %s already" % name)
        ahead = list(names) or [name for name, host in self.hosts.items() if host.node is None]
        if "h1" in ahead:  # it listens before the others dial it
            ahead.remove("h1")
            self._start_on(PORT, "h1")
        self._start_on(PORT, *ahead)

    def _start_on(self, port: int, *names: str) -> None:
        """Start nodes, on free ports if ``port`` is 0, and wait until they listen."""
        self._wait_for_listening({name: self._start(self.hosts[name], port) for name in names})

    def _wait_for_listening(self, nodes: Dict[str, Node]) -> None:
        self.journal.wait_for(
            lambda: all(node.nodeid or node.ended() for node in nodes.values()), START_PATIENCE
        )
        for name, node in nodes.items():
            if not node.nodeid:
                raise Failed("the node on %s does not start" % name)
            self.hosts[name].port = node.port or PORT

    def _program(self, name: str) -> Program:
        python = self._pythons.get(name) or self._pythons.get("") or sys.executable
        return Program(python, self._folders.get(name) or self._folders.get("") or ROOT)

    def _start(self, host: Host, port: int) -> Node:
        if host.impostor is not None:
            self.impostor(host.name, NOBODY)

        def hear(node: Node, record: Record) -> None:
            with self.journal.lock:
                record["host"] = host.name
                record["about"] = self._about(record)
                self.journal.write(record, node.take)

        host.node = self._run_node(host, port, [], hear)
        return host.node

    def _run_node(
        self, host: Host, port: int, more: List[str], hear: Callable[[Node, Record], None]
    ) -> Node:
        """Start a node with ``more`` options."""
        # Two addresses, so that h1 finds the network again after a restart.
        names = [BETWEEN, "f1" if host.home == FAR else "h2"]
        first = [self.hosts[name].listens_at(host) for name in names if name in self.hosts]
        options = ["--json", "--port", str(port), "--network", NETWORK, "--name", host.name]
        options += ["--bootstrap", ",".join(first)]
        options += ["--http", str(PAGE_PORT), *self._options, *more]
        program = self._program(host.name)
        command = ["ip", "netns", "exec", host.name, *program.words, *options]
        return Node(command, hear, program.folder)

    @step("HOST KIND")
    def impostor(self, name: str, kind: str) -> None:
        """Put another program on the port of a node that has ended."""
        host = self.hosts[name]
        if host.node is not None:
            raise WrongUsage("a node runs on %s: kill it first" % name)
        if host.impostor is not None:
            host.impostor.kill()
            host.impostor = None
        if kind == NOBODY:
            return

        def hear(node: Node, record: Record) -> None:
            # Nothing of it is shown: it is no node of ours.
            with self.journal.lock:
                node.take(record)
                self.journal.lock.notify_all()

        if kind in NODE_KINDS:
            host.impostor = self._run_node(host, host.port, NODE_KINDS[kind], hear)
        else:
            command = [sys.executable, PROGRAM, str(host.port), kind]
            host.impostor = Node(["ip", "netns", "exec", name, *command], hear)
        self._wait_for_listening({name: host.impostor})

    def _about(self, record: Record) -> str:
        """Return the host that an event is about, by its node's name or its address; or ``""``."""
        if record.get("event") == "listening":
            return ""
        if "name" in record:
            return str(record["name"])
        address = str(record.get("address", "")).rpartition(":")[0].strip("[]")
        return next((host.name for host in self.hosts.values() if address in host.all_addresses), "")

    def _node(self, name: str) -> Node:
        node = self.hosts[name].node
        if node is None:
            raise WrongUsage("no node runs on %s" % name)
        return node

    @step("HOSTS")
    def kill(self, *names: str) -> None:
        """Send SIGKILL: the nodes do not say goodbye."""
        for name in names:
            self._node(name).kill()
            self.hosts[name].node = None

    @step("HOSTS")
    def stop(self, *names: str) -> None:
        """Send SIGTERM, and wait until the nodes have ended."""
        problems = self._stop([(name, self._node(name)) for name in names])
        if problems:
            raise Failed("; ".join(problems))

    @step("HOSTS")
    def restart(self, *names: str) -> None:
        """Stop nodes and start new ones."""
        self.stop(*names)
        self.start(*names)

    @step("HOSTS [on PORT] [times COUNT]")
    def crash(self, *names: str, on: int = PORT, times: int = 1) -> None:
        """Kill nodes and start new ones, one after the other.

        Each lives until it has met a peer.  With ``on`` 0 they listen on free ports.
        """
        for name in names * times:
            self.kill(name)
            self._start_on(on, name)
            self._wait_for_peer(self._node(name))

    def _wait_for_peer(self, node: Node) -> None:
        self.journal.wait_for(lambda: node.peers or node.ended(), MEETING_PATIENCE)

    @step("HOSTS")
    def freeze(self, *names: str) -> None:
        """Send SIGSTOP: the connections stay open."""
        for name in names:
            self._node(name).send(signal.SIGSTOP)
            self._node(name).frozen = True

    @step("HOSTS")
    def thaw(self, *names: str) -> None:
        """Send SIGCONT."""
        for name in names:
            self._node(name).frozen = False
            self._node(name).send(signal.SIGCONT)

    def end(self) -> List[str]:
        """Stop every node, and return the problems, a line each."""
        return self._stop([(name, host.node) for name, host in self.hosts.items() if host.node])

    def _stop(self, nodes: List[Tuple[str, Node]]) -> List[str]:
        """Stop all at once.  Each must end with exit code 0, in time, without having complained."""
        problems = ["%s had ended by itself" % name for name, node in nodes if node.ended()]
        for _, node in nodes:
            node.send(signal.SIGTERM)
            node.send(signal.SIGCONT)  # a frozen node receives nothing else
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
                problems.append("%s wrote to stderr: %s" % (name, node.complaints[0]))
            self.hosts[name].node = None
        return problems
