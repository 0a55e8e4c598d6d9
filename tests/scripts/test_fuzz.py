"""The fuzzer passes a good node, finds each kind of bad one, and leads no node elsewhere."""

import hashlib
import ipaddress
import itertools
import json
import os
import re
import select
import selectors
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time

import pytest

from p2p_plain.common.address import is_dialable
from p2p_plain.common.errors import PeerMisbehaved
from p2p_plain.node import messages
from scripts.fuzzing import conversation, dialog, grammar
from scripts.fuzzing.cases import CASES
from scripts.fuzzing.expectation import Expectation, expect
from scripts.fuzzing.harmless import is_harmless
from scripts.fuzzing.judge import judge
from scripts.fuzzing.node import Vitals
from scripts.fuzzing.polite import PolitePeers
from scripts.fuzzing.run import POOL_THREADS, left_behind
from scripts.fuzzing.wire import POLITE_IDS
from scripts.fuzzing.world import World
from tests.support import ROOT, wait_until

pytestmark = pytest.mark.long

FUZZ = os.path.join(ROOT, "scripts", "fuzz.py")
WORLD = World(
    nodeid="22222222-2222-4222-8222-222222222222",
    node_port=40000,
    listeners=("127.0.0.1:40001", "[::1]:40002"),
    dead_ports=(40003, 40004, 40005),
)


def run_fuzz(*options):
    """Return the exit code and what the fuzzer printed, started from an unrelated folder."""
    run = subprocess.run(
        [sys.executable, FUZZ] + list(options),
        cwd=os.path.dirname(sys.executable),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
    )
    return run.returncode, run.stdout.decode("utf-8", "replace")


def run_documented(word):
    """Run the command in scripts/FUZZING.rst that has this word."""
    with open(os.path.join(ROOT, "scripts", "FUZZING.rst"), encoding="utf-8") as file:
        (command,) = re.findall(r"^    python3 scripts/fuzz.py (.*%s.*)" % word, file.read(), re.M)
    return run_fuzz(*command.split())


def check_failed(code, output, seed):
    """A failed run exits with 1, says how to repeat it, and shows no traceback."""
    assert code == 1, output
    assert "FAILED (seed %d)" % seed in output
    assert "Traceback" not in output


# -- against a node --------------------------------------------------------


def test_a_good_node_passes():
    """Exit code 0, and a summary of what was sent and how polite peers fared."""
    code, output = run_documented("--lines")
    assert code == 0, output
    assert output.startswith("seed 1")
    assert int(re.search(r"lines sent +(\d+)", output).group(1)) > 2500
    for label in ("bye protocol", "polite before", "polite during", "stopped in", "all is well"):
        assert label in output


def test_a_good_node_answers_each_kind_of_bad_input():
    code, output = run_documented("--cases")
    assert code == 0, output
    for name, _ in CASES:
        assert output.count("\n%-30s " % name) == 2, name  # before hello, and after


def test_one_conversation_can_be_repeated_alone():
    code, output = run_documented("--only")
    assert code == 0, output
    assert "connections    1 dialed" in output


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
def test_wrong_usage_is_exit_code_2(options):
    """It is also said in words; the network address shows that only this machine is tested."""
    code, output = run_fuzz(*options)
    assert code == 2
    assert "fuzz.py: error: " in output
    assert "Traceback" not in output


def test_a_node_elsewhere_is_not_attacked():
    code, output = run_fuzz("--against", "192.0.2.7:1")
    assert (code, "192.0.2.7 must be a loopback address" in output) == (2, True)


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to another process there")
def test_ctrl_c_stops_the_node_and_reports():
    fuzzer = subprocess.Popen(
        [sys.executable, "-u", FUZZ, "--seed", "5", "--lines", "100000000"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert fuzzer.stdout.readline().startswith(b"seed 5")
        fuzzer.send_signal(signal.SIGINT)
        output = fuzzer.communicate(timeout=60)[0].decode()
    finally:
        fuzzer.kill()
        fuzzer.wait()
    assert output.startswith("interrupted")
    assert "Traceback" not in output


# -- against bad nodes --------------------------------------------------------


class Stub(socketserver.ThreadingTCPServer):
    """A server that plays a bad node: ``answer(line)`` is its answer, ``None`` closes."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 100

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), StubSession)
        self.answer = answer
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, request, client_address):
        """The fuzzer may close at any time."""

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class StubSession(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            answer = self.server.answer(line)
            if answer is None:
                return
            self.wfile.write(answer)


HELLO = b'{"msgtype":"hello","nodeid":"33333333-3333-4333-8333-333333333333"}\n'


def well(line):
    """Answer what the polite peers send, and only that."""
    if b'"hello"' in line:
        return HELLO
    return b'{ "msgtype": "pong" }\n' if line == messages.PING else b""


@pytest.mark.parametrize(
    "answer, complaint",
    [
        (lambda line: None, "a polite peer: the node closed"),
        (lambda line: well(line) + b'{"msgtype":"bye","reason":"full"}\n', "peer: received"),
        (lambda line: well(line) + b"what?\n", "peer: received"),
        (lambda line: well(line) + b'{"msgtype":"zap"}\n', "unknown msgtype"),
        (well, "without a bye"),
        (lambda line: None if b"NaN" in line else well(line), "without a bye"),
    ],
    ids=["hangs up", "bye", "nonsense", "unknown", "accepts all", "closes at once"],
)
def test_a_node_that_breaks_the_rules_fails(answer, complaint):
    with Stub(answer) as stub:
        against = "127.0.0.1:%d" % stub.port
        code, output = run_fuzz("--seed", "3", "--lines", "2000", "--against", against)
    check_failed(code, output, 3)
    assert complaint in output


def test_a_node_that_does_not_answer_pings_fails():
    """Through ``PolitePeers``, because the timeout of a whole run is 5 s."""
    complaints = []
    with Stub(lambda line: HELLO if b'"hello"' in line else b"") as stub:
        polite = PolitePeers(("127.0.0.1", stub.port), 0.01, complaints.append, timeout=0.2)
        try:
            wait_until(lambda: complaints)
            assert not polite.wait_ready()
        finally:
            polite.stop()
    assert complaints == ["a polite peer: no pong within 0.2 s"]


def python_that(tmp_path, script):
    """Return the path of an executable that stands for the node's Python; ``%s`` is this one."""
    wrapper = tmp_path / "python"
    wrapper.write_text("#!/bin/sh\n" + script % sys.executable)
    wrapper.chmod(0o755)
    return str(wrapper)


needs_shell = pytest.mark.skipif(os.name == "nt", reason="needs a shell")


@needs_shell
def test_a_node_that_does_not_start_fails_with_its_own_words(tmp_path):
    python = python_that(tmp_path, "echo no such luck >&2; exit 3 # %s")
    code, output = run_fuzz("--seed", "4", "--python", python)
    check_failed(code, output, 4)
    for complaint in ("the node does not start", "stderr: no such luck", "exit code is 3"):
        assert complaint in output


@needs_shell
def test_a_node_whose_process_misbehaves_fails(tmp_path):
    """Errors on stderr, lines on stdout that are no events, and an exit code are failures."""
    script = """
        echo oops >&2; echo no JSON; echo '{"event": "zap", "time": "now"}'
        %s "$@" & trap "kill $!" TERM; wait; wait; exit 7"""
    python = python_that(tmp_path, script)
    code, output = run_fuzz("--seed", "4", "--lines", "300", "--python", python)
    check_failed(code, output, 4)
    for complaint in ("stderr: oops", "stdout has 'no JSON", "an unknown event", "exit code is 7"):
        assert complaint in output


DIES = """
import gc, os, socket, sys, time
sys.path.insert(0, os.getcwd())
from p2p_plain import cli
from p2p_plain.node import messages
parse, count = messages.parse, [0]
def dying(line):
    count[0] += 1
    if count[0] < 300:
        return parse(line)
    if %r:
        sockets = [held for held in gc.get_objects() if isinstance(held, socket.socket)]
        for sock in reversed(sockets):  # the polite peers' are the oldest: they notice last
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


@needs_shell
@pytest.mark.parametrize("later", [0.0, 0.2])
def test_a_node_that_dies_fails_and_the_suspects_are_shown(tmp_path, later):
    """Its connections may end a moment before its process does: they are not what failed."""
    program = tmp_path / "dies.py"
    program.write_text(DIES % (later, later))
    python = python_that(tmp_path, 'exec %%s %s "$@"\n' % program)
    code, output = run_fuzz("--seed", "4", "--lines", "100000", "--python", python)
    check_failed(code, output, 4)
    assert "the node died, exit code 9" in output
    assert "without a bye" not in output
    assert "again: scripts/fuzz.py --seed 4 --only" in output


CALM = Vitals(9, 7, 10000, 1.0)


@pytest.mark.parametrize(
    "after, up, well",
    [
        (CALM, POLITE_IDS, True),
        (None, POLITE_IDS, True),
        (CALM._replace(threads=7 + POOL_THREADS), POLITE_IDS, True),
        (CALM._replace(fds=10), POLITE_IDS, False),
        (CALM._replace(threads=8 + POOL_THREADS), POLITE_IDS, False),
        (CALM, POLITE_IDS[:2], False),
        (CALM, POLITE_IDS + (WORLD.nodeid,), False),
    ],
)
def test_a_node_may_leave_nothing_behind(after, up, well):
    """No descriptor, no thread beyond the pool's, no peer.

    A pure function: a whole run waits half a minute before it calls something left behind.
    """
    assert (left_behind(CALM, after, up) is None) is well


def ended(expected, bye=None, how="eof", half_closed=True, pongs=0):
    """Return a dialog that has ended like this."""
    made = conversation.Conversation(0, (), (), "wait", 0.0, expected)
    with socket.socket() as sock:
        done = dialog.Dialog(sock, made, accepted=False)
    done.ended, done.half_closed, done.pongs = how, half_closed, pongs
    done.bye = None if bye is None else {"msgtype": "bye", "reason": bye, "detail": "x"}
    return done


FINE = Expectation(frozenset(), False, False, 2, 2)
DOOMED = Expectation(frozenset(["protocol"]), True, False, None, 0)


@pytest.mark.parametrize(
    "done, problem",
    [
        (ended(FINE, pongs=2), None),
        (ended(FINE, pongs=1), "1 pongs to 2 pings"),
        (ended(FINE, bye="protocol"), "without a cause"),
        (ended(FINE, half_closed=False), "without a bye"),
        (ended(FINE, how="late"), "no answer"),
        (ended(FINE, how="reset"), "2 pings"),
        (ended(DOOMED, bye="protocol"), None),
        (ended(DOOMED), "without a bye"),
        (ended(DOOMED, how="reset"), "without a bye"),
        (ended(DOOMED, how="late"), "no bye"),
        (ended(DOOMED, bye="full"), "without a cause"),
        (ended(DOOMED, how="ours"), None),
    ],
)
def test_each_way_in_which_a_connection_can_end_is_judged(done, problem):
    found = judge(done)
    assert (found is None) == (problem is None)
    assert problem is None or problem in found


def test_a_bye_is_heard_even_if_a_reset_follows_it():
    """Sending may fail before the bye is read; that must not hide it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        ours = socket.create_connection(listener.getsockname())
        theirs = listener.accept()[0]
    with ours:
        made = conversation.Conversation(0, (), ((0.0, b"x"),) * 100, "wait", 0.0, DOOMED)
        talk = dialog.Dialog(ours, made, accepted=False)
        talk.serve(selectors.EVENT_WRITE, time.monotonic())
        theirs.sendall(b'{"msgtype":"bye","reason":"protocol","detail":"x"}\n')
        theirs.close()  # with unread data: that is a reset
        wait_until(lambda: select.select([ours], [], [], 0)[0])
        for mask in itertools.cycle((selectors.EVENT_WRITE, selectors.EVENT_READ)):
            talk.serve(mask, time.monotonic())
            if talk.ended:
                break
    assert judge(talk) is None


# -- what is sent --------------------------------------------------------


def conversations(seed, count, role=conversation.DIALER):
    return [conversation.make_conversation(seed, n, WORLD, role) for n in range(count)]


@pytest.fixture(scope="module")
def lines():
    """Every line of many conversations, in both roles."""
    made = conversations(11, 300) + conversations(11, 300, conversation.ACCEPTOR)
    return [line for one in made for line in one.lines]


def test_the_same_seed_sends_the_same_bytes():
    """Even in another process, whose sets have another order."""
    code = (
        "import hashlib\n"
        "from scripts.fuzzing import conversation, world\n"
        "where = world.World(*%r)\n"
        "sends = [conversation.make_conversation(7, n, where).sends for n in range(50)]\n"
        "print(hashlib.sha256(repr(sends).encode()).hexdigest())" % (tuple(WORLD),)
    )
    env = dict(os.environ, PYTHONHASHSEED="1")
    digest = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=env).decode()
    sends = [one.sends for one in conversations(7, 50)]
    assert digest.strip() == hashlib.sha256(repr(sends).encode()).hexdigest()


def test_seeds_roles_and_numbers_make_different_conversations():
    """And a number alone makes the same one as in a row, so that ``--only`` can repeat it."""
    made = conversations(7, 50)
    assert made != conversations(8, 50)
    assert made != conversations(7, 50, conversation.ACCEPTOR)
    assert len({one.sends for one in made}) == 50
    assert conversation.make_conversation(7, 41, WORLD) == made[41]


def addresses_of(data):
    """Yield every address that a node would take from these lines, in ``addr`` and in hellos."""
    for line in data.split(b"\n"):
        try:
            message = messages.parse(line.rstrip(b"\r"))
        except PeerMisbehaved:
            continue
        if isinstance(message, messages.Addr):
            for address, _ in message.peers:
                yield address
        elif isinstance(message, messages.Hello):
            for port in (message.port, message.http):
                if port is not None:
                    yield messages.Address("127.0.0.1", port)


def test_no_line_leads_a_node_elsewhere(lines):
    """Each address that a node would dial is a loopback address with a port of the fuzzer's."""
    dialable = 0
    for line in lines:
        assert is_harmless(line.data, WORLD.ports), line
        for address in addresses_of(line.data):
            if is_dialable(address):
                dialable += 1
                assert ipaddress.ip_address(address.host).is_loopback, line
                assert address.port in WORLD.ports, line
    assert dialable > 300


HARMFUL = r'''
"8.8.8.8:40003"  "27.0.0.1:40003"  "192.168.1.1:40003"  "10.0.0.1"  "010.0.0.1:40003"
"127.0.0.1:80"  "127.0.0.1:00080"  "9.127.0.0.1"  "[2001:db8::1]:40003"  "[fe80::1]:40003"
"[::ffff:8.8.8.8]:40003"  "[::fff:127.0.0.1]:40003"  "[::ffff:127.0.0.1]:22"
"[::11]:40003"  "[::1]:22"  "[::]:22"  "127.0.0.1\u003a80"
"\u0038.8.8.8:40003"  "8\u002e8\u002E8.8:40003"  "[\u0032001:db8::1]:40003"
{"msgtype":"hello","port":80}  {"msgtype":"hello","port" : 22}  {"msgtype":"hello","\u0070ort":22}
'''
HARMLESS = r'''
"127.0.0.1:40003"  "127.3.2.1:40001"  "[::1]:40002"  "[::ffff:127.0.0.1]:40003"
"0.0.0.0:40003"  "[::]:40003"  "224.0.0.1:40003"  "255.255.255.255:40003"  "[ff02::1]:40003"
"127.0.0.1:0"  "127.0.0.1:65536"  {"port":40003}  {"port":0,"http":-1}  {"rtt_ms":1.5}
'''


@pytest.mark.parametrize("text", re.split(r"\s\s+|\n", HARMFUL.strip()))
def test_text_that_could_lead_elsewhere_is_harmful(text):
    assert not is_harmless(text.encode(), WORLD.ports)
    assert not is_harmless(text.encode("utf-16-le"), WORLD.ports)


@pytest.mark.parametrize("text", re.split(r"\s\s+|\n", HARMLESS.strip()))
def test_text_that_leads_to_the_fuzzer_or_nowhere_is_harmless(text):
    assert is_harmless(text.encode(), WORLD.ports)


def what_a_node_does(line):
    """Return what the package's own parser does with a line."""
    try:
        for piece in line.data[:-1].split(b"\n"):
            if piece.rstrip(b"\r"):
                messages.parse(piece[:-1] if piece.endswith(b"\r") else piece)
    except PeerMisbehaved:
        return grammar.REJECT
    return grammar.ACCEPT


def test_the_fuzzer_and_the_node_agree_on_which_lines_are_bad(lines):
    """The fuzzer has tables of its own; a difference is a mistake in one of the two."""
    seen = set()
    for line in lines:
        if line.expected != grammar.EITHER and line.what != "cut off":
            expected = grammar.REJECT if line.expected == grammar.REJECT else grammar.ACCEPT
            assert what_a_node_does(line) == expected, line
            seen.add(line.what)
    assert {"BOM", "not UTF-8", "bad address", "bad name", "33 levels", "32 levels", "CRLF"} <= seen


def test_every_ending_and_every_reason_for_a_bye_occurs():
    made = conversations(17, 400)
    assert {one.ending for one in made} == set(conversation.ENDINGS)
    reasons = {reason for one in made for reason in one.expected.reasons if one.expected.must}
    assert reasons == {"protocol", "self", "network", "duplicate"}
    assert any(one.expected.pongs for one in made)
    assert any(one.deaf for one in made)


@pytest.mark.parametrize("size, fits", [(4096, True), (4097, False)])
def test_the_bound_of_the_first_line_is_expected(size, fits):
    hello = json.dumps({"msgtype": "hello", "nodeid": WORLD.nodeid, "zz": ""})
    data = hello.replace('""', '"%s"' % ("x" * (size - len(hello) - 1))).encode() + b"\n"
    assert len(data) == size
    line = grammar.Line(data, grammar.ACCEPT, "hello", "plain")
    assert expect([line], "plain").must is not fits
