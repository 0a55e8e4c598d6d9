"""The guided tour: all of it happens, it waits for its reader, and it says so when something does not."""

import ast
import os
import re
import select
import signal
import struct
import subprocess
import sys
import time

import pytest

from p2p_plain.cli import node_parser
from p2p_plain.tour import tour
from tests.support import PATIENCE, ROOT

TITLES = ["%d of %d: %s" % (n, len(tour.SCENES), t) for n, (t, _) in enumerate(tour.SCENES, 1)]
PROMPT = "-- Enter goes on, q and Enter ends --"
LINES = 24
"""Of the smallest terminal that people still have."""

ALL_OF_IT = 60.0
"""Seconds for the whole tour, which takes five where nobody else wants the processor."""


def tour_as_process(*words, **kwargs):
    """The tour with nobody at the keyboard: exit code, stdout, stderr."""
    done = subprocess.run(
        [sys.executable, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=ALL_OF_IT,
        **kwargs
    )
    return done.returncode, done.stdout.decode("ascii"), done.stderr.decode()


ONLY = "import os, sys\nfrom p2p_plain import cli\nfrom p2p_plain.tour import tour\ntour.SCENES = %s\nsys.exit(cli.main(['tour']))\n"
"""A program that plays only these scenes."""


class Reader:
    """Somebody at a terminal, who has started the tour."""

    def __init__(self, *words, columns=80, program=None, stdout=None):
        pytest.importorskip("termios")
        import fcntl
        import termios

        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))

        def own_the_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [sys.executable, *(["-c", program] if program else ["-m", "p2p_plain", "tour"]), *words],
            cwd=ROOT,
            stdin=slave,
            stdout=stdout or slave,
            stderr=subprocess.PIPE,
            env=dict(os.environ, TERM="xterm", NO_COLOR=""),
            preexec_fn=own_the_terminal,
        )
        os.close(slave)
        self.raw = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        os.close(self.master)

    def read(self, until, timeout=PATIENCE):
        """What is shown from here on until there is ``until``, or until the end for ``None``."""
        began, start = time.monotonic(), len(self.raw)
        while until is None or until not in self.raw[start:]:
            assert time.monotonic() - began < timeout, self.raw[start:]
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    data = os.read(self.master, 65536)
                except OSError:  # Linux's way to say that nobody has the other side any more
                    data = b""
                if not data:
                    assert until is None, self.raw[start:]
                    break
                self.raw += data.decode("ascii")
        return plain(self.raw[start:])

    def type(self, text):
        os.write(self.master, text.encode())

    def ended(self):
        """It has ended as it should: nothing complained of, exit code 0."""
        rest = self.read(None)
        assert self.process.wait(PATIENCE) == 0
        assert self.process.stderr.read() == b""
        return rest


def plain(text):
    """Without colours, and with the newlines of a file."""
    return re.sub(r"\x1b\[\d+m", "", text).replace("\r\n", "\n")


@pytest.fixture(scope="module")
def steps():
    """What is on the screen each time when the reader is asked, the last without being asked."""
    found = []
    with Reader() as reader:
        while not found or PROMPT in found[-1]:
            start = len(reader.raw)
            # With the newline, which may come by itself and would count as the next step's.
            wait_for = r"(%s|python3 -m p2p_plain --port 6001.*)\n" % PROMPT
            while not re.search(wait_for, plain(reader.raw[start:])):
                reader.read("\n", ALL_OF_IT)
            found.append(plain(reader.raw[start:]))
            reader.type("\n")
        found[-1] += reader.ended()
        assert "\x1b[1m" in reader.raw
    return found


@pytest.fixture(scope="module")
def text(steps):
    return "".join(steps)


def scene(text, title):
    """What a scene shows, its words in one line."""
    number = [t for t, _ in tour.SCENES].index(title)
    end = TITLES[number + 1] if number + 1 < len(TITLES) else "The tour is over"
    return text[text.index(TITLES[number]) : text.index(end)]


def words(text):
    return " ".join(text.split())


# -- what is told ------------------------------------------------------------------------------------


def test_all_scenes_are_played_in_their_order_and_all_of_it_happens(text):
    assert re.findall(r"^== (.*?) =+$", text, re.M) == TITLES
    assert "UNEXPECTED" not in text
    assert text.count("So: ") == len(TITLES)
    assert "The tour is over. To go on" in words(text)


def test_each_step_fits_on_a_screen(steps):
    """Between two prompts nothing has scrolled away, on 80 columns and 24 lines."""
    for step in steps:
        lines = step.rstrip("\n").split("\n")
        # The first one is Enter's own; the cursor stands on another.
        assert len(lines) <= LINES, step
        assert max(map(len, lines)) <= 80, step


def test_the_handshake_is_seen_from_both_ends(text):
    shown = scene(text, "A second node dials it")
    hellos = re.findall(r"^ *\d+\.\d{3} (\S+) +(\S+) (.) \{\"msgtype\":\"hello\"", shown, re.M)
    (alpha,) = re.findall(r"address of the first, (127\.0\.0\.1:\d+)", words(shown))
    assert hellos[:2] == [("outbound-1", alpha, ">"), ("outbound-1", alpha, "<")]
    (leaves_from,) = re.findall(r"its call came from (127\.0\.0\.1:\d+)", words(shown))
    assert hellos[2:4] == [("inbound-1", leaves_from, "<"), ("inbound-1", leaves_from, ">")]
    for word in ("addr", "getaddr", "ping", "pong"):
        for way in "<>":
            assert '%s {"msgtype":"%s"' % (way, word) in shown
    assert re.search(r'^    port +(\d+) ', shown, re.M).group(1) not in leaves_from


def test_the_third_node_finds_the_second(text):
    shown = scene(text, "A third one hears of the second")
    for name, others in (("alpha", "beta gamma"), ("beta", "alpha gamma"), ("gamma", "alpha beta")):
        table = re.search(r"peers of %s\n((?:    .*\n)+)" % name, shown).group(1)
        assert sorted(row.split()[0] for row in table.splitlines()) == others.split()


def test_a_node_that_calls_itself_says_bye_self_and_does_so_once(text):
    shown = scene(text, "A node that calls itself")
    assert shown.count('> {"msgtype":"bye","reason":"self"}') == 3  # two ends here, one there
    assert len(set(re.findall(r"alpha tells: self  address=(\S+)", shown))) == 2
    assert "Told once more to dial it, alpha has said 0 lines there." in words(shown)


def test_the_tie_is_real_and_has_one_outcome(text):
    shown = scene(text, "Two dial each other at the same moment")
    views = re.split(r"As \w+ saw it, ", shown)[1:]
    assert len(views) == 2
    for view in views:
        ways = re.findall(r"(outbound|inbound)-1 +\S+ (.) \{\"msgtype\":\"hello\"", view)
        assert ways.index(("outbound", ">")) < ways.index(("inbound", "<"))
    assert '"bye","reason":"duplic' in shown
    told = "delta told 1 time that its peer is up and 0 times that it is down; epsilon 1 time and 0"
    assert told in words(shown)
    ids = re.search(r"begins with (\w{8}), epsilon's with (\w{8}):", words(shown)).groups()
    smaller = "delta" if ids[0] < ids[1] else "epsilon"
    assert "the connection that %s dialed stays" % smaller in words(shown)


def test_the_silent_one_the_polite_one_and_the_crashed_one_are_told_apart(text):
    shown = words(scene(text, "One that dies"))
    for name, reason in (
        ("silent", "timeout"),
        ("polite", "stopping"),
        ("crashed", "closed"),
        ("half", "closed"),
    ):
        assert re.search(r"peer_down name=%s address=\S+ reason=%s" % (name, reason), shown)
    assert float(re.search(r"It waited (\d+\.\d) s", shown).group(1)) >= 2.0


def test_lies_are_answered_and_go_no_further(text):
    shown = scene(text, "One that lies")
    assert re.search(r'^    reason +"protocol" ', shown, re.M)
    (false,) = re.findall(r"a node at (127\.0\.0\.1:\d+)\.", words(shown))
    assert re.search(r"%s +ghost, says mallory; not proven" % false, shown)
    answer = shown[shown.index("its answer to getaddr") :]
    assert re.findall(r"^    127\S+ +(\w+)$", answer, re.M) in (["alpha", "beta"], ["beta", "alpha"])
    assert '"bye","reason":"duplicate' in shown


def test_the_matrix_has_all_three_and_every_direction_up(text):
    shown = scene(text, "Who can reach whom")
    for number, name in enumerate(("alpha", "beta", "gamma"), 1):
        assert re.search(r"^%d %s " % (number, name), shown, re.M)
    assert "3 nodes, 6 of 6 directions up" in words(shown)


def test_no_thread_is_left(text):
    shown = words(scene(text, "Stopping"))
    names = re.search(r" alpha: (.*) beta: (.*) gamma: (.*) There are (\d+) more", shown).groups()
    assert sum(len(some.split(", ")) for some in names[:3]) == int(names[3])
    for some in names[:3]:
        assert {"events", "listener", "pinger"} <= set(some.split(", "))
    assert "Threads that are left of the %s: 0." % names[3] in shown
    assert len(re.findall(r"reason=stopping", shown)) == 2


def test_every_place_in_the_source_is_where_the_tour_says(text):
    found = re.findall(r"^    (p2p_plain/[\w/]+\.py):(\d+) +(\S+)$", text, re.M)
    assert len(found) > 2 * len(TITLES)
    for file, line, name in found:
        with open(os.path.join(ROOT, file), encoding="utf-8") as source:
            module = ast.parse(source.read())
        scope = module.body
        for part in name.split("."):
            (node,) = [n for n in scope if getattr(n, "name", None) == part]
            scope = node.body
        assert isinstance(node, ast.FunctionDef)
        assert node.lineno == int(line)


# -- at other readers' pace ------------------------------------------------------------------------------


def test_from_the_one_file_into_a_pipe_it_goes_through_without_a_reader(onefile):
    """Nobody presses Enter where stdin is no terminal; plain ASCII, no colour, 80 columns."""
    folder, file = os.path.split(onefile)
    # -OO: what is told is not what Python may leave out.
    code, out, err = tour_as_process("-OO", file, "tour", cwd=folder)
    assert (code, err) == (0, ""), out
    assert re.findall(r"^== (.*?) =+$", out, re.M) == TITLES
    assert len(re.findall("^So: [A-Z\"]", out, re.M)) == len(TITLES)
    assert "UNEXPECTED" not in out
    assert PROMPT not in out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80
    # Where it is run from, and where its source explains itself.
    assert "-m p2p_plain" not in out
    assert len(re.findall("^    python3 p2p_plain.pyz --port", out, re.M)) == 2
    assert "the folder that p2p_plain.pyz was made from" in words(out)


def test_what_to_do_next_is_what_makes_two_nodes_find_each_other(text):
    assert "made from" not in text
    first, second = (
        node_parser().settings(line.split())
        for line in re.findall(r"^    python3 -m p2p_plain (.+)$", text[text.index("The tour is over") :], re.M)
    )
    assert second["bootstrap"] == ["127.0.0.1:%d" % first["port"]]
    assert second["port"] != first["port"]


def test_it_waits_for_enter_and_q_ends_it():
    with Reader() as reader:
        assert "alpha tells" not in reader.read(PROMPT)
        reader.type("\n")
        assert "alpha tells: listening" in reader.read(PROMPT)
        reader.type("q\n")
        assert "alpha" not in reader.ended()


def test_ctrl_d_at_a_prompt_goes_on_without_asking_again_and_ctrl_c_ends_it_in_the_middle():
    with Reader() as reader:
        reader.read(PROMPT)
        reader.type("\x04")
        shown = reader.read("(three seconds)")
        assert TITLES[5] in shown
        assert PROMPT not in shown
        reader.type("\x03\x03")
        assert TITLES[6] not in reader.ended()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_waits_for_enter_ends_it(number):
    with Reader() as reader:
        reader.read(PROMPT)
        reader.type("\n")
        reader.read(PROMPT)
        reader.process.send_signal(number)
        reader.ended()


@pytest.mark.parametrize("number, between", [("SIGINT", "\n"), ("SIGTERM", "")])
def test_after_ctrl_c_the_shell_goes_on_on_a_line_of_its_own(number, between):
    """Behind the ^C, that is.  It is not typed here, for that makes a terminal throw away what is on
    its way to the screen; so does the end of who owns it, for which a shell stands here."""
    program = (
        "import os, signal, sys\n"
        "from p2p_plain import cli; from p2p_plain.tour import tour\n"
        "tour.SCENES = [('one', lambda guide: os.kill(os.getpid(), signal.%s))]\n"
        "cli.main(['tour'])\n"
        "print('$ ', flush=True)\n"
        "sys.stdin.readline()\n" % number
    )
    with Reader(program=program) as reader:
        shown = reader.read("$ \r\n")
        assert shown[shown.index("== 1 of 1") :].split("\n", 1)[1] == between + "$ \n"


def test_ctrl_c_ends_it_even_where_the_terminal_has_been_stopped():
    """kill -INT, that is: Ctrl-C itself lets a stopped terminal go on."""
    program = (
        "import os, signal, sys\n"
        "from p2p_plain import cli; from p2p_plain.tour import tour\n"
        "def scene(guide):\n"
        "    sys.stdin.readline()\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "tour.SCENES = [('one', scene)]\n"
        "sys.exit(cli.main(['tour']))\n"
    )
    with Reader(program=program) as reader:
        reader.read("== 1 of 1")
        reader.type("\x13\n")
        reader.process.wait(PATIENCE)
        reader.type("\x11")
        reader.ended()


@pytest.mark.parametrize("columns", [120, 60])
def test_fast_asks_nobody_even_at_a_terminal(columns):
    with Reader("--fast", columns=columns) as reader:
        shown = reader.read(TITLES[3])
        assert PROMPT not in shown
        # On a wide terminal the lines of the wire have its width, the text has not.
        assert max(len(line) for line in shown.splitlines() if "msgtype" in line) == columns
        assert max(len(line) for line in shown.splitlines() if "{" not in line) <= min(columns, 80)
        reader.type("\x03")
        reader.ended()


def test_enter_while_nothing_is_asked_is_no_answer(tmp_path):
    """In the three seconds of a silence many press it; they shall not miss what comes next."""
    go_on = str(tmp_path / "go on")
    scenes = (
        "(('first', lambda guide: guide.say('busy') or guide.wait_for('', lambda: os.path.exists(%r))),\n"
        "('second', lambda guide: guide.say('too early')))\n" % go_on
    )
    with Reader(program=ONLY % scenes) as reader:
        reader.read("busy")
        reader.type("well?\n\n")
        reader.read("well?\r\n\r\n")  # its echo: it has arrived
        open(go_on, "w").close()
        reader.read(PROMPT)
        reader.type("q\n")
        assert "too early" not in reader.ended()


def test_into_a_pipe_it_asks_nobody_even_at_a_terminal():
    with Reader(program=ONLY % "[('one', lambda guide: guide.say('said'))]", stdout=subprocess.PIPE) as reader:
        out, err = reader.process.communicate(timeout=PATIENCE)
    assert (reader.process.returncode, err) == (0, b"")
    assert b"said" in out and b"The tour is over" in out
    assert PROMPT.encode() not in out


def test_a_pipe_that_nobody_reads_ends_it_quietly():
    program = (
        "import sys\n"
        "from p2p_plain import cli; from p2p_plain.tour import tour\n"
        "tour.SCENES = tour.SCENES[:5] + (('', lambda guide: print('went on', file=sys.stderr)),)\n"
        "sys.exit(cli.main(['tour', '--fast']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while b"alpha tells" not in process.stdout.readline():
        pass
    process.stdout.close()
    assert process.wait(PATIENCE) == 0
    assert process.stderr.read() == b""
    process.stderr.close()


def test_wrong_usage_is_said_in_one_line():
    code, out, err = tour_as_process("-m", "p2p_plain", "tour", "--slow", cwd=ROOT)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--slow" in err


# -- when something does not happen ---------------------------------------------------------------------


BROKEN = {
    # What is broken: the scenes that are played, and what the last of them must say.
    "from p2p_plain.node.overlay import Overlay\n"
    "Overlay._heard = lambda *_: None\n": (
        [0, 1, 2],
        "it did not happen that all three answer each other's ping",
    ),
    "from p2p_plain.node.peer_table import PeerTable\n"
    "beats = PeerTable._beats\n"
    "PeerTable._beats = lambda table, new, old: (\n"
    "    new.link.direction != old.link.direction and not beats(table, new, old))\n": (
        [4],
        "the one that stays was to be what",
    ),
    "from p2p_plain.node import messages\n"
    "from p2p_plain.node.overlay import Overlay\n"
    "def rumours(self, link):\n"
    "    kept = self.book.kept(0)\n"
    "    return messages.encode_addr([(k.address, k.nodeid) for k in kept.proven + kept.heard])\n"
    "Overlay._addr_for = rumours\n": (
        [0, 1, 2, 6],
        "gamma has passed on an address that it has not found itself",
    ),
    "import threading\n"
    "from p2p_plain.node.node import Node\n"
    "stop = Node.stop\n"
    "def leave_a_thread(self, reason='stop'):\n"
    "    threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    "    stop(self, reason)\n"
    "Node.stop = leave_a_thread\n": (
        [0, 1, 2, 8],
        "it did not happen that all threads have ended",
    ),
}


def test_what_does_not_happen_is_told_and_is_exit_code_1():
    started = []
    for broken, (scenes, told) in BROKEN.items():
        program = broken + (
            "import sys\n"
            "from p2p_plain import cli; from p2p_plain.tour import guide, tour\n"
            "scenes = [tour.SCENES[number] for number in %r]\n"
            "def impatient(guide):\n"
            "    guide.PATIENCE = 3\n"
            "    scenes[-1][1](guide)\n"
            "tour.SCENES = scenes[:-1] + [('the last', impatient)]\n"
            "sys.exit(cli.main(['tour', '--fast']))\n" % scenes
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append((process, told, len(scenes)))
    for process, told, played in started:
        out, err = (said.decode() for said in process.communicate(timeout=ALL_OF_IT))
        assert (process.returncode, err) == (1, ""), out
        assert told in words(out[out.index("UNEXPECTED") :])
        assert out.count("UNEXPECTED") == 1
        assert out.count("So: ") == played - 1
        assert "The tour is over" not in out


def test_where_too_few_files_may_be_open_it_is_not_begun():
    resource = pytest.importorskip("resource")

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (tour.DESCRIPTORS - 1, tour.DESCRIPTORS - 1))

    code, out, err = tour_as_process("-m", "p2p_plain", "tour", "--fast", cwd=ROOT, preexec_fn=limit)
    assert (code, out) == (3, "")
    assert err == (
        "p2p_plain: the tour needs 64 open files at once, and the system allows 63; see ulimit -n\n"
    )


def test_where_just_enough_files_may_be_open_all_of_it_happens():
    resource = pytest.importorskip("resource")

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (tour.DESCRIPTORS, tour.DESCRIPTORS))

    code, out, err = tour_as_process("-m", "p2p_plain", "tour", "--fast", cwd=ROOT, preexec_fn=limit)
    assert (code, err) == (0, ""), out


def test_a_node_that_cannot_start_is_exit_code_3_in_one_line():
    program = (
        "import sys\n"
        "from p2p_plain import cli; from p2p_plain.node import listener\n"
        "from p2p_plain.common.errors import CannotStart\n"
        "def refuse(*_): raise CannotStart('no port is free')\n"
        "listener.Listener.bind_to = refuse\n"
        "sys.exit(cli.main(['tour', '--fast']))\n"
    )
    code, _, err = tour_as_process("-c", program, cwd=ROOT)
    assert (code, err) == (3, "p2p_plain: no port is free\n")
