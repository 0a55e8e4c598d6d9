"""A node under siege: crowds, no descriptors left, a full disk, death in the middle of a save."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from p2p_plain.common.address import Address
from p2p_plain.node import peers_file
from p2p_plain.node.book_entries import Kept, KeptAddress
from tests.support import PATIENCE, ROOT, Program, RawPeer, free_port, wait_until

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")

WITH_64_DESCRIPTORS = ("sh", "-c", 'ulimit -n 64; exec "$@"', "sh")


@pytest.fixture
def start(tmp_path):
    programs = []

    def start(*options, **more):
        options = ("--port", "0", "--bind", "127.0.0.1", "--network", str(tmp_path)[-60:]) + options
        programs.append(Program(*options, **more))
        return programs[-1]

    yield start
    for program in programs:
        program.__exit__()


@pytest.fixture
def join(tmp_path):
    """``join(program)``: a peer of it that is let in."""
    made = []

    def join(program):
        peer = RawPeer.dial(program.port)
        made.append(peer)
        peer.become_peer(network=str(tmp_path)[-60:])
        return peer

    yield join
    for peer in made:
        peer.sock.close()


@pytest.fixture
def crowd():
    """``crowd(program, count)``: connections that say nothing."""
    made = []

    def gather(program, count):
        held = [RawPeer.dial(program.port) for _ in range(count)]
        made.extend(held)
        return held

    yield gather
    for peer in made:
        peer.sock.close()


def proc(program, what):
    return os.path.join("/proc", str(program.process.pid), what)


def descriptors(program):
    return len(os.listdir(proc(program, "fd")))


def threads(program):
    return len(os.listdir(proc(program, "task")))


def cpu_seconds(program):
    with open(proc(program, "stat")) as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_out_of_descriptors_a_node_neither_dies_nor_spins_and_lets_newcomers_in(
    start, join, crowd
):
    """``ulimit -n 64`` and 200 strangers who hold on to all that there is."""
    program = start(prefix=WITH_64_DESCRIPTORS)
    peer = join(program)
    before = descriptors(program)
    strangers = crowd(program, 200)
    assert peer.answers_ping()
    began = time.monotonic()
    assert join(program).answers_ping()
    assert time.monotonic() - began < 2
    began, spent = time.monotonic(), cpu_seconds(program)
    wait_until(lambda: time.monotonic() - began > 1)
    assert cpu_seconds(program) - spent < 0.25  # a loop on the same error would take all of it
    assert peer.answers_ping()
    for stranger in strangers:
        stranger.sock.close()
    wait_until(lambda: descriptors(program) <= before + 1)
    assert join(program).answers_ping()
    assert program.stop() == 0


def test_with_few_descriptors_a_node_says_that_it_is_full_while_it_still_can(start, tmp_path):
    program = start(prefix=WITH_64_DESCRIPTORS)
    inside, reasons = [], []
    for _ in range(60):
        peer = RawPeer.dial(program.port)
        peer.hello(network=str(tmp_path)[-60:])
        peer.hear("hello")
        words = []
        while not words or words[-1] not in ("ping", "bye"):
            words.append(peer.hear_any()["msgtype"])
        if words[-1] == "ping":
            inside.append(peer)
        else:
            reasons.append(words)
            peer.sock.close()
    assert len(inside) == 32
    assert all(words == ["addr", "bye"] for words in reasons)
    assert all(peer.answers_ping() for peer in inside)
    for peer in inside:
        peer.sock.close()


def test_of_few_descriptors_most_are_for_peers_and_the_page_is_served_all_the_same(start, tmp_path):
    """``ulimit -n 64``: those who look are let in too, and sixty that say nothing harm nobody."""
    port = free_port()
    program = start("--http", str(port), prefix=WITH_64_DESCRIPTORS)
    inside = []
    while len(inside) < 24:
        peer = RawPeer.dial(program.port)
        peer.become_peer(network=str(tmp_path)[-60:])
        inside.append(peer)
    silent = [RawPeer.dial(port) for _ in range(60)]
    with RawPeer.dial(port) as looking:
        looking.say_raw(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert looking.hear_line() == b"HTTP/1.1 200 OK\r"
    assert all(peer.answers_ping() for peer in inside)
    for one in silent + inside:
        one.sock.close()
    assert program.stop() == 0


def test_after_a_thousand_connections_a_node_is_what_it_was_before(start, join):
    """Threads, descriptors, and memory but for what is remembered of them."""
    program = start()

    def memory():
        with open(proc(program, "statm")) as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def come_and_go(count):
        for _ in range(count // 50):
            peers = [join(program) for _ in range(50)]
            for peer in peers:
                peer.sock.close()
        wait_until(lambda: not program.peers())

    come_and_go(500)  # what an interpreter keeps for later, it has now
    baseline = threads(program), descriptors(program), memory()
    come_and_go(1000)
    # Fewer is fine: the last of the first crowd may not quite have ended when we looked.
    wait_until(lambda: threads(program) <= baseline[0] and descriptors(program) <= baseline[1])
    assert memory() - baseline[2] < 4 * 1024 * 1024
    assert program.stop() == 0


def run_python(text, *arguments, **more):
    run = subprocess.run(
        list(more.get("prefix", ())) + [sys.executable, "-c", text] + list(arguments),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
    )
    return run.returncode, run.stdout.decode()


PEERS = """
import os, sys
from p2p_plain.common.address import Address
from p2p_plain.node.book_entries import Kept, KeptAddress
from p2p_plain.node.peers_file import load, save
path = sys.argv[1]
def peers(count):
    nodeid = '00000000-0000-4000-8000-%012d' % count
    return Kept([KeptAddress(Address('10.0.%d.%d' % (n >> 8, n & 255), 6000), nodeid, 0.0)
                 for n in range(count)], [])
"""


def can_mount():
    """Whether a file system of our own can be made, where nobody else sees it."""
    try:
        return subprocess.call(["unshare", "-m", "mount", "-t", "tmpfs", "x", "/mnt"]) == 0
    except OSError:
        return False


@pytest.mark.skipif(not can_mount(), reason="needs root and unshare, for a disk that is full")
def test_a_full_disk_and_one_that_is_read_only_lose_nothing(tmp_path):
    code, said = run_python(
        PEERS + "import subprocess\n"
        "def mount(*options):\n"
        "    subprocess.check_call(('mount', '-t', 'tmpfs') + options + ('x', sys.argv[1]))\n"
        "mount('-o', 'size=64k')\n"
        "path = os.path.join(sys.argv[1], 'peers.json')\n"
        "save(path, peers(10), 1000.0)\n"
        "for spoil in ('full', 'read-only'):\n"
        "    if spoil == 'read-only':\n"
        "        mount('-o', 'remount,ro')\n"
        "    try:\n"
        "        save(path, peers(2000), 1000.0)\n"
        "    except OSError as error:\n"
        "        print(error.strerror)\n"
        "    assert load(path, 1000.0) == peers(10)\n"
        "    assert os.listdir(sys.argv[1]) == ['peers.json']\n",
        str(tmp_path),
        prefix=("unshare", "-m"),
    )
    assert (code, said) == (0, "No space left on device\nRead-only file system\n")


def test_killed_at_any_moment_the_peers_file_is_the_old_or_the_new_one(tmp_path):
    path = str(tmp_path / "peers.json")
    rng = random.Random(1)
    seen = set()
    for _ in range(12):
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                PEERS + "print('saving', flush=True)\n"
                "while True:\n"
                "    save(path, peers(700), 1000.0)\n"
                "    save(path, peers(900), 1000.0)\n",
                path,
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        wait_until(lambda: os.path.exists(path))
        time.sleep(rng.uniform(0, 0.02))  # the moment is what is drawn, not waited for
        process.kill()
        process.wait(PATIENCE)
        process.stdout.close()
        seen.add(len(peers_file.load(path, 1000.0).proven))
    assert seen <= {700, 900}
    peers_file.sweep(path, time.time() + 3600)
    assert os.listdir(str(tmp_path)) == ["peers.json"]


def test_a_node_that_is_killed_keeps_what_it_saved_and_starts_again_with_it(start, tmp_path):
    path = tmp_path / "peers.json"
    other = start()
    before = Kept([KeptAddress(Address("127.0.0.1", other.port), other.nodeid, 0.0)])
    peers_file.save(str(path), before, time.time())
    for _ in range(3):
        program = start("--peers-file", str(path))
        program.wait_for("peer_up")
        program.process.send_signal(signal.SIGKILL)
        program.process.wait(PATIENCE)
    assert os.listdir(str(tmp_path)) == ["peers.json"]
