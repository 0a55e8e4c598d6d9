"""The fuzzer: it finds a node well that is well, can say that one is not, and dials nobody else."""

import ipaddress
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest
from tests.support import ROOT

from p2p_plain.node import messages
from p2p_plain.common.address import is_dialable
from p2p_plain.common.errors import PeerMisbehaved
from scripts import fuzz

FUZZ = os.path.join(ROOT, "scripts", "fuzz.py")
WORLD = fuzz.World(
    nodeid="22222222-2222-4222-8222-222222222222",
    node_port=40000,
    listeners=("127.0.0.1:40001", "[::1]:40002"),
    dead_ports=(40003, 40004, 40005),
)


def run_fuzz(*options, timeout=120):
    """Exit code, and what it printed."""
    run = subprocess.run(
        [sys.executable, FUZZ] + list(options),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
    )
    return run.returncode, run.stdout.decode("utf-8", "replace")


# -- against a node --------------------------------------------------------


def test_three_thousand_lines_do_a_node_no_harm():
    code, said = run_fuzz("--seed", "1", "--lines", "3000")
    assert code == 0, said
    assert "seed 1" in said
    assert int(re.search(r"lines sent +(\d+)", said).group(1)) > 2500
    assert "bye protocol" in said
    assert "polite during" in said


def test_each_kind_of_bad_input_is_answered_in_time():
    code, said = run_fuzz("--cases")
    assert code == 0, said
    for name, _ in fuzz.CASES:
        assert said.count("\n%-30s " % name) == 2, name  # before hello, and after


def test_one_conversation_can_be_repeated_alone():
    code, said = run_fuzz("--seed", "1", "--only", "17")
    assert code == 0, said
    assert "connections    1 dialed" in said


@pytest.mark.parametrize(
    "options",
    [
        ("--lines", "0"),
        ("--connections", "1000"),
        ("--python", "/nowhere/python"),
        ("--against", "192.0.2.1:6000"),
        ("--against", "nonsense"),
        ("--what",),
    ],
)
def test_wrong_usage_is_two_and_no_traceback(options):
    code, said = run_fuzz(*options)
    assert code == 2
    assert "Traceback" not in said


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to another process there")
def test_ctrl_c_reports_what_there_is():
    fuzzer = subprocess.Popen(
        [sys.executable, "-u", FUZZ, "--seed", "5", "--lines", "100000000"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert fuzzer.stdout.readline().startswith(b"seed 5")
        fuzzer.send_signal(signal.SIGINT)
        said = fuzzer.communicate(timeout=60)[0].decode()
    finally:
        fuzzer.kill()
        fuzzer.wait()
    assert "interrupted" in said
    assert "lines sent" in said
    assert "Traceback" not in said


# -- against what is no good node: each invariant can fail ------------------------------------


class Stub:
    """A server that plays a bad node: ``answer(line)`` is what it says to a line, or ``None``."""

    def __init__(self, answer):
        self._answer = answer
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(100)
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]

    def _accept(self):
        while True:
            try:
                sock = self._listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            with sock, sock.makefile("rb") as lines:
                for line in lines:
                    answer = self._answer(line)
                    if answer is None:
                        return
                    sock.sendall(answer)
        except OSError:
            pass

    def __enter__(self):
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        self._thread.join(10)


HELLO = b'{"msgtype":"hello","nodeid":"33333333-3333-4333-8333-333333333333"}\n'


def polite_only(line):
    """Answers what the polite peers say, and only that."""
    if b'"hello"' in line:
        return HELLO
    return messages.PONG if line == messages.PING else b""


@pytest.mark.parametrize(
    "answer, complaint",
    [
        (lambda line: HELLO if b"hello" in line else b"", "a polite peer: no pong"),
        (lambda line: None, "a polite peer: the node closed"),
        (lambda line: polite_only(line) + b'{"msgtype":"bye","reason":"full"}\n', "sent away"),
        (lambda line: polite_only(line) + b"what?\n", "a polite peer: heard"),
        (lambda line: polite_only(line) + b'{"msgtype":"zap"}\n', "unknown msgtype"),
        (polite_only, "without a bye"),  # it takes everything, however bad
        (lambda line: None if b"NaN" in line else polite_only(line), "without a bye"),
    ],
    ids=["mute", "hangs up", "bye", "nonsense", "unknown", "takes all", "closes at once"],
)
def test_a_node_that_breaks_the_rules_is_found_out(answer, complaint):
    """Exit code 1, and the seed, so that it can be repeated."""
    with Stub(answer) as stub:
        code, said = run_fuzz("--seed", "3", "--lines", "2000", "--against", stub.address)
    assert code == 1, said
    assert "FAILED (seed 3)" in said
    assert complaint in said
    assert "Traceback" not in said


SICK = [
    ("echo no such luck >&2; exit 3 # %s", "the node does not start: no such luck"),
    ('echo oops >&2; exec %s "$@"', "stderr: oops"),
    ('echo oops; exec %s "$@"', "stdout has 'oops"),
    ("""echo '{"event": "zap", "time": "now"}'; exec %s "$@"  """, "no event that we know"),
    ('%s "$@" & trap "kill $!" TERM; wait; wait; exit 7', "exit code is 7"),
]


@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
@pytest.mark.parametrize("script, complaint", SICK, ids=[complaint for _, complaint in SICK])
def test_a_node_whose_process_is_sick_is_found_out(tmp_path, script, complaint):
    wrapper = tmp_path / "python"
    wrapper.write_text("#!/bin/sh\n" + script % sys.executable)
    wrapper.chmod(0o755)
    code, said = run_fuzz("--seed", "4", "--lines", "300", "--python", str(wrapper))
    assert code == 1, said
    assert complaint in said
    assert "seed 4" in said
    assert "Traceback" not in said


DIES = """
import gc, os, socket, sys, time
sys.path.insert(0, os.getcwd())
from p2p_plain import cli
from p2p_plain.node import messages
parse, count = messages.parse, [0]
def dying(line):
    count[0] += 1
    if count[0] < 500:
        return parse(line)
    if %r:
        for sock in [held for held in gc.get_objects() if isinstance(held, socket.socket)]:
            try:
                if isinstance(sock.getpeername(), tuple):  # neither a listener nor a socketpair
                    sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        time.sleep(%r)
    os._exit(9)
messages.parse = dying
sys.exit(cli.main(sys.argv[3:]))
"""


@pytest.mark.parametrize("later", [0.0, 1.0])
def test_a_node_that_dies_is_found_out(tmp_path, later):
    """By the five hundredth line that it parses, say; its connections may end before it does."""
    (tmp_path / "dies.py").write_text(DIES % (later, later))
    wrapper = tmp_path / "python"
    wrapper.write_text('#!/bin/sh\nexec %s %s "$@"\n' % (sys.executable, tmp_path / "dies.py"))
    wrapper.chmod(0o755)
    code, said = run_fuzz("--seed", "4", "--lines", "100000", "--python", str(wrapper))
    assert code == 1, said
    assert "the node died, exit code 9" in said
    assert "again: scripts/fuzz.py --seed 4 --only" in said


OPTIONS = fuzz.Options(1, 1, sys.executable, 1, None, None)
CALM = fuzz.Vital(9, 7, 10000, 1.0)


@pytest.mark.parametrize(
    "after, up, well",
    [
        (CALM, fuzz.POLITE_IDS, True),
        (CALM._replace(threads=7 + fuzz.POOL), fuzz.POLITE_IDS, True),
        (CALM._replace(fds=10), fuzz.POLITE_IDS, False),
        (CALM._replace(threads=8 + fuzz.POOL), fuzz.POLITE_IDS, False),
        (CALM, fuzz.POLITE_IDS[:2], False),
        (CALM, fuzz.POLITE_IDS + (WORLD.nodeid,), False),
    ],
)
def test_what_is_left_behind_is_found_out(monkeypatch, after, up, well):
    """A descriptor, a thread, a ghost among the peers."""

    class FakeNode:
        def __init__(self):
            self.process = self
            self.up = dict.fromkeys(up)

        def vital(self):
            return after

        def poll(self):
            return None

    monkeypatch.setattr(fuzz, "SETTLE", 0.05)
    run = fuzz.Run(OPTIONS)
    run.node = FakeNode()
    run._settle(CALM)
    assert bool(run.failures) is not well


def dialog(expected, bye=None, ended="eof", half_closed=True, pongs=0):
    """A connection that has ended like this."""
    conversation = fuzz.Conversation(0, (), (), "wait", 0.0, expected)
    with socket.socket() as sock:
        done = fuzz.Dialog(sock, conversation, accepted=False)
    done.ended, done.half_closed, done.pongs = ended, half_closed, pongs
    done.bye = None if bye is None else {"msgtype": "bye", "reason": bye, "detail": "x"}
    return done


FINE = fuzz.Expectation(frozenset(), False, False, 2, 2)
DOOMED = fuzz.Expectation(frozenset(["protocol"]), True, False, None, 0)


@pytest.mark.parametrize(
    "done, problem",
    [
        (dialog(FINE, pongs=2), None),
        (dialog(FINE, pongs=1), "1 pongs to 2 pings"),
        (dialog(FINE, bye="protocol"), "nothing called for"),
        (dialog(FINE, half_closed=False), "without a bye"),
        (dialog(FINE, ended="late"), "no answer"),
        (dialog(FINE, ended="reset"), "2 pings"),
        (dialog(DOOMED, bye="protocol"), None),
        (dialog(DOOMED), "without a bye"),
        (dialog(DOOMED, ended="reset"), "without a bye"),
        (dialog(DOOMED, ended="late"), "no bye"),
        (dialog(DOOMED, bye="full"), "nothing called for"),
        (dialog(DOOMED, ended="ours"), None),
    ],
)
def test_what_becomes_of_a_connection_is_judged(done, problem):
    found = fuzz.judge(done)
    assert (found is None) == (problem is None)
    assert problem is None or problem in found


# -- what is said --------------------------------------------------------


def conversations(seed, count, role="dialer"):
    maker = fuzz.Maker(seed, WORLD)
    return [maker.make(number, role) for number in range(count)]


def test_the_same_seed_says_the_same_bytes():
    for role in ("dialer", "acceptor"):
        assert conversations(7, 100, role) == conversations(7, 100, role)
        assert conversations(7, 100, role) != conversations(8, 100, role)


def test_the_same_seed_says_the_same_bytes_in_another_process():
    """Sets and their order have no part in it."""
    code = (
        "from scripts import fuzz; import hashlib;"
        "maker = fuzz.Maker(7, fuzz.World(*%r));"
        "said = repr([maker.make(number).sends for number in range(50)]);"
        "print(hashlib.sha256(said.encode()).hexdigest())" % (tuple(WORLD),)
    )
    digests = set()
    for hash_seed in ("1", "2"):
        env = dict(os.environ, PYTHONHASHSEED=hash_seed)
        digests.add(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=env))
    assert len(digests) == 1


def test_a_conversation_does_not_depend_on_those_before_it():
    assert fuzz.Maker(7, WORLD).make(41) == conversations(7, 42)[41]


def addresses_of(data):
    """Every address that a node would take from these lines, in ``addr`` and in hellos."""
    for line in data.split(b"\n"):
        try:
            said = messages.parse(line.rstrip(b"\r"))
        except PeerMisbehaved:
            continue
        if isinstance(said, messages.Addr):
            for address, _ in said.peers:
                yield address
        elif isinstance(said, messages.Hello):
            for port in (said.port, said.http):
                if port is not None:
                    yield messages.Address("127.0.0.1", port)


@pytest.mark.parametrize("role", ["dialer", "acceptor"])
def test_nothing_that_is_said_leads_a_node_elsewhere(role):
    """Each address is loopback, with a port of ours, or such that nobody dials it."""
    told = 0
    for conversation in conversations(11, 1500, role):
        for line in conversation.lines:
            assert fuzz.is_harmless(line.data, WORLD.ports), line
            for address in addresses_of(line.data):
                told += 1
                if is_dialable(address):
                    assert ipaddress.ip_address(address.host).is_loopback, line
                    assert address.port in WORLD.ports, line
    assert told > 1000


@pytest.mark.parametrize(
    "text",
    [
        b'"8.8.8.8:40003"',
        b'"27.0.0.1:40003"',
        b'"192.168.1.1:40003"',
        b'"10.0.0.1"',
        b'"010.0.0.1:40003"',
        b'"127.0.0.1:80"',
        b'"127.0.0.1:00080"',
        b'"[2001:db8::1]:40003"',
        b'"[fe80::1]:40003"',
        b'"[::ffff:8.8.8.8]:40003"',
        b'"[::fff:127.0.0.1]:40003"',
        b'"[::11]:40003"',
        b'"[::1]:22"',
        b'"[::]:22"',
        b'"[::ffff:127.0.0.1]:22"',
        b'"\\u0038.8.8.8:40003"',
        b'"8\\u002e8\\u002E8.8:40003"',
        b'"[\\u0032001:db8::1]:40003"',
        b'"127.0.0.1\\u003a80"',
        b'{"msgtype":"hello","port":80}',
        b'{"msgtype":"hello","port" : 22}',
        b'{"msgtype":"hello","\\u0070ort":22}',
        b'"9.127.0.0.1"',
        "8.8.8.8:40003".encode("utf-16-le"),
    ],
)
def test_what_could_lead_elsewhere_is_left_out(text):
    assert not fuzz.is_harmless(text, WORLD.ports)


@pytest.mark.parametrize(
    "text",
    [
        b'"127.0.0.1:40003"',
        b'"127.3.2.1:40001"',
        b'"[::1]:40002"',
        b'"[::ffff:127.0.0.1]:40003"',
        b'"0.0.0.0:40003"',
        b'"[::]:40003"',
        b'"224.0.0.1:40003"',
        b'"255.255.255.255:40003"',
        b'"[ff02::1]:40003"',
        b'"127.0.0.1:0"',
        b'"127.0.0.1:65536"',
        b'{"port":40003}',
        b'{"port":0,"http":-1}',
        b'{"rtt_ms":1.5}',
    ],
)
def test_what_leads_nowhere_is_said(text):
    assert fuzz.is_harmless(text, WORLD.ports)


def verdict_of(line):
    """What the package's own parser thinks of a line."""
    try:
        for piece in line.data[:-1].split(b"\n"):
            if piece.rstrip(b"\r"):
                messages.parse(piece[:-1] if piece.endswith(b"\r") else piece)
    except PeerMisbehaved:
        return fuzz.BAD
    return fuzz.GOOD


def test_the_verdicts_are_right():
    """By the rules that the fuzzer has of its own, and by those of the package."""
    seen = set()
    for conversation in conversations(13, 1500):
        for line in conversation.lines:
            if line.verdict != fuzz.EITHER and line.what != "cut off":
                expected = fuzz.BAD if line.verdict == fuzz.BAD else fuzz.GOOD
                assert verdict_of(line) == expected, line
                seen.add(line.what)
    assert {"BOM", "not UTF-8", "no address", "name", "33 levels", "32 levels", "CRLF"} <= seen


def test_every_way_of_ending_and_every_reason_to_be_sent_away_comes_up():
    made = conversations(17, 600)
    assert {conversation.ending for conversation in made} == set(fuzz.ENDINGS)
    reasons = {reason for c in made for reason in c.expected.reasons if c.expected.must}
    assert reasons == {"protocol", "self", "network", "duplicate"}
    assert any(c.expected.pongs for c in made)
    assert any(c.deaf for c in made)


@pytest.mark.parametrize("size, fits", [(4096, True), (4097, False)])
def test_the_bound_before_hello_is_known(size, fits):
    hello = json.dumps({"msgtype": "hello", "nodeid": WORLD.nodeid, "zz": ""})
    data = hello.replace('""', '"%s"' % ("x" * (size - len(hello) - 1))).encode() + b"\n"
    assert len(data) == size
    line = fuzz.Line(data, fuzz.GOOD, "hello", "plain")
    assert fuzz.expect([line], "plain").must is not fits
