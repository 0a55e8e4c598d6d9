"""The guided tour: every scene really happens, and the tour says so if something does not."""

import ast
import os
import re
import subprocess
import sys

import pytest

from p2p_plain.cli import node_parser
from p2p_plain.tour import guide, tour
from p2p_plain.tour.reader import PROMPT
from tests.support import ROOT
from tests.support.tour_reader import LINES, Person, plain

TITLES = ["%d of %d: %s" % (n, len(tour.SCENES), t) for n, (t, _) in enumerate(tour.SCENES, 1)]

DRAWINGS = (
    "A listening socket",
    "Bytes and lines",
    "The tie",
    "A half-closed connection",
    "Two locks and a deadlock",
)
"""In the order of the scenes."""

ALL_OF_IT = 60.0
"""Seconds for the whole tour, which takes five on an idle machine."""


def tour_as_process(*words, **kwargs):
    """Run the tour without a keyboard; returns exit code, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=ALL_OF_IT,
        **kwargs
    )
    return done.returncode, done.stdout.decode("ascii"), done.stderr.decode()


def allow_files(number):
    """Return a function that limits the open files of a new process."""
    resource = pytest.importorskip("resource")
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))


@pytest.fixture(scope="module")
def steps():
    """What a person sees between two prompts; the last step ends with the tour."""
    found = []
    with Person() as person:
        while not found or PROMPT in found[-1]:
            start = len(person.raw)
            # With the newline: it can come by itself, and would count as the next step's.
            wait_for = r"(%s|python3 -m p2p_plain --port 6001.*)\n" % PROMPT
            while not re.search(wait_for, plain(person.raw[start:])):
                person.read("\n", ALL_OF_IT)
            found.append(plain(person.raw[start:]))
            person.type("\n")
        found[-1] += person.ended()
        assert "\x1b[1m" in person.raw
    return found


@pytest.fixture(scope="module")
def text(steps):
    return "".join(steps)


@pytest.fixture(scope="module")
def piped(onefile):
    """What the single file prints into a pipe with as few open files as the tour allows."""
    folder, file = os.path.split(onefile)
    # -OO removes assertions: the tour must not depend on them.
    return tour_as_process("-OO", file, "tour", cwd=folder, preexec_fn=allow_files(tour.DESCRIPTORS))


def scene(text, title):
    """Return what a scene shows."""
    number = [t for t, _ in tour.SCENES].index(title)
    end = TITLES[number + 1] if number + 1 < len(TITLES) else "The tour is over"
    return text[text.index(TITLES[number]) : text.index(end)]


def words(text):
    """Return ``text`` as one line with single spaces."""
    return " ".join(text.split())


# -- what the scenes show ----------------------------------------------------------------------


def test_all_scenes_are_played_in_order(text):
    assert re.findall(r"^== (.*?) =+$", text, re.M) == TITLES
    assert "UNEXPECTED" not in text
    assert text.count("So: ") == len(TITLES)
    assert "The tour is over." in text


def test_each_step_fits_on_a_screen(steps):
    """Nothing scrolls away between two prompts, on 80 columns and 24 lines."""
    for step in steps:
        lines = step.rstrip("\n").split("\n")
        # The first line is the echo of Enter; the cursor stands on one more.
        assert len(lines) <= LINES, step
        assert max(map(len, lines)) <= 80, step


def test_a_stranger_at_the_door_hears_one_word(text):
    shown = scene(text, "A stranger at the door")
    assert re.search(r'> \{"msgtype":"bye","reason":"unauthorised"\}', shown)
    assert "host reports: refused" in shown and "why=no-key" in words(shown)
    kinds = re.findall(r'([<>]) \{"msgtype":"(hello|auth)"', shown.partition("a nonce")[2])
    assert kinds == [("<", "hello"), (">", "hello"), ("<", "auth"), (">", "auth"), ("<", "hello"), (">", "hello")]


def test_the_drawings_are_those_of_the_document(text):
    with open(os.path.join(ROOT, "p2p_plain", "drawings.rst"), encoding="utf-8") as file:
        document = file.read()
    assert tuple(re.findall(r"^(.+)\n-{5,}$", document, re.M)) == tuple(
        sorted(DRAWINGS, key=document.index)
    )
    places = [text.index("\n".join(guide.drawing(title))) for title in DRAWINGS]
    assert places == sorted(places)
    assert all("\n".join(guide.drawing(title)) in document for title in DRAWINGS)


def test_the_handshake_is_seen_from_both_ends(text):
    shown = scene(text, "A second node dials it")
    hello = r"^ *\d+\.\d{3} (\S+) +(\S+) (.) \{\"msgtype\":\"hello\",\"nodeid\":(<\w+>)"
    hellos = re.findall(hello, shown, re.M)
    (alpha,) = re.findall(r"one address, alpha's: (127\.0\.0\.1:\d+)", words(shown))
    assert hellos[:2] == [("outbound-1", alpha, ">", "<beta>"), ("outbound-1", alpha, "<", "<alpha>")]
    (leaves_from,) = re.findall(r"saw the call come from (127\.0\.0\.1:\d+)", words(shown))
    assert hellos[2:4] == [
        ("inbound-1", leaves_from, "<", "<beta>"),
        ("inbound-1", leaves_from, ">", "<alpha>"),
    ]
    for word in ("addr", "getaddr", "ping", "pong"):
        for way in "<>":
            assert '%s {"msgtype":"%s"' % (way, word) in shown
    assert re.search(r"^    port +(\d+) ", shown, re.M).group(1) not in leaves_from


def test_the_third_node_finds_the_second(text):
    shown = scene(text, "A third one hears of the second")
    for name, others in (("alpha", "beta gamma"), ("beta", "alpha gamma"), ("gamma", "alpha beta")):
        table = re.search(r"peers of %s\n((?:    .*\n)+)" % name, shown).group(1)
        assert sorted(row.split()[0] for row in table.splitlines()) == others.split()


def test_a_node_that_calls_itself_says_bye_self_and_does_so_once(text):
    shown = scene(text, "A node that calls itself")
    assert shown.count('> {"msgtype":"bye","reason":"self"}') == 3  # two ends here, one there
    assert len(set(re.findall(r"alpha reports: self  address=(\S+)", shown))) == 2
    assert "We told it to dial there once more, and it sent 0 lines." in words(shown)


def test_the_tie_is_real_and_has_one_outcome(text):
    shown = scene(text, "Two dial each other at the same moment")
    views = re.split(r"As \w+ saw it: ", shown)[1:]
    assert len(views) == 2
    for view in views:
        ways = re.findall(r"(outbound|inbound)-1 +\S+ (.) \{\"msgtype\":\"hello\"", view)
        assert ways.index(("outbound", ">")) < ways.index(("inbound", "<"))
    assert '"bye","reason":"duplic' in shown
    delta, epsilon = re.search(r"begins with (\w{8}), epsilon's with (\w{8})\.", words(shown)).groups()
    smaller = "delta" if delta < epsilon else "epsilon"
    assert "the connection that %s dialed stays" % smaller in words(shown)


def test_silence_goodbye_crash_and_half_close_are_told_apart(text):
    shown = words(scene(text, "One that dies"))
    for name, reason in (
        ("silent", "timeout"),
        ("polite", "stopping"),
        ("crashed", "closed"),
        ("half", "closed"),
    ):
        assert re.search(r"peer_down name=%s address=\S+ reason=%s" % (name, reason), shown)
    assert float(re.search(r"gamma waited (\d+\.\d) s", shown).group(1)) >= 2.0


def test_lies_are_answered_and_go_no_further(text):
    shown = scene(text, "One that lies")
    assert re.search(r'^    reason +"protocol" ', shown, re.M)
    (false,) = re.findall(r"a node is at (127\.0\.0\.1:\d+)\.", words(shown))
    assert re.search(r"%s +ghost, says mallory; not proven" % false, shown)
    answer = shown[shown.index("its answer to getaddr") :]
    assert re.findall(r"^    127\S+ +(\w+)$", answer, re.M) in (["alpha", "beta"], ["beta", "alpha"])
    assert '< {"msgtype":"hello","nodeid":<beta>' in answer
    assert '> {"msgtype":"bye","reason":"duplicate' in answer


def test_the_matrix_has_all_three_and_every_direction_up(text):
    shown = scene(text, "Who can reach whom")
    for number, name in enumerate(("alpha", "beta", "gamma"), 1):
        assert re.search(r"^%d %s " % (number, name), shown, re.M)
    assert "3 nodes, 6 of 6 directions up" in words(shown)


def test_no_thread_is_left(text):
    shown = words(scene(text, "Stopping"))
    *own, total = re.search(r" alpha: (.*) beta: (.*) gamma: (.*) There are (\d+) more", shown).groups()
    assert sum(len(some.split(", ")) for some in own) == int(total)
    for some in own:
        assert {"events", "listener", "pinger"} <= set(some.split(", "))
    assert "Threads left of the %s: 0." % total in shown
    assert len(re.findall(r"reason=stopping", shown)) == 2


def test_every_place_in_the_source_is_where_the_tour_says(text):
    found = re.findall(r"^    (p2p_plain/[\w/]+\.py):(\d+) +(\S+)$", text, re.M)
    assert len(found) > 2 * len(TITLES)
    for file, line, name in found:
        with open(os.path.join(ROOT, file), encoding="utf-8") as source:
            scope = ast.parse(source.read()).body
        for part in name.split("."):
            (node,) = [n for n in scope if getattr(n, "name", None) == part]
            scope = node.body
        assert isinstance(node, ast.FunctionDef)
        assert node.lineno == int(line)


def test_the_last_commands_make_two_nodes_find_each_other(text):
    assert "made from" not in text
    first, second = (
        node_parser().settings(line.split())
        for line in re.findall(r"^    python3 -m p2p_plain (.+)$", text[text.index("The tour is over") :], re.M)
    )
    assert second["bootstrap"] == ["127.0.0.1:%d" % first["port"]]
    assert second["port"] != first["port"]


# -- how it runs -------------------------------------------------------------------------------


def test_from_the_single_file_into_a_pipe_it_plays_through(piped):
    """Without a keyboard it does not wait.  Output is plain ASCII, without colour, 80 columns wide."""
    code, out, err = piped
    assert (code, err) == (0, ""), out
    assert re.findall(r"^== (.*?) =+$", out, re.M) == TITLES
    assert len(re.findall("^So: [A-Z\"]", out, re.M)) == len(TITLES)
    assert "UNEXPECTED" not in out
    assert PROMPT not in out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80
    assert all("\n".join(guide.drawing(title)) in out for title in DRAWINGS)


def test_the_single_file_names_itself_and_the_folder_with_the_comments(piped):
    _, out, _ = piped
    assert "-m p2p_plain" not in out
    assert len(re.findall("^    python3 p2p_plain.pyz --port", out, re.M)) == 2
    assert "p2p_plain.pyz has no comments" in words(out)


def test_with_too_few_open_files_it_does_not_begin():
    code, out, err = tour_as_process(
        "-m", "p2p_plain", "tour", "--fast", cwd=ROOT, preexec_fn=allow_files(tour.DESCRIPTORS - 1)
    )
    assert (code, out) == (3, "")
    assert err == (
        "p2p_plain: the tour needs 64 open files at once, and the system allows 63; see ulimit -n\n"
    )


def test_a_node_that_cannot_start_is_exit_code_3_and_one_line():
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


def test_wrong_usage_is_exit_code_2_and_one_line():
    code, out, err = tour_as_process("-m", "p2p_plain", "tour", "--slow", cwd=ROOT)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--slow" in err


# -- when something does not happen -----------------------------------------------------------


BROKEN = {
    # What is broken: the scenes that are played, and what the last of them must report.
    "from p2p_plain.node.discovery import Discovery\n"
    "Discovery.receive_addr = lambda *_: None\n": (
        [0, 1, 2],
        "did not happen within 3 s: all three answer each other's ping",
    ),
    "from p2p_plain.node.peer_table import PeerTable\n"
    "beats = PeerTable._beats\n"
    "PeerTable._beats = lambda table, new, old: (\n"
    "    new.link.direction != old.link.direction and not beats(table, new, old))\n": (
        [4],
        "the connection that stayed is not the one that",
    ),
    "from p2p_plain.node import messages\n"
    "from p2p_plain.node.discovery import Discovery\n"
    "def rumours(self, link, now):\n"
    "    kept = self._book.kept(0)\n"
    "    return messages.encode_addr([(k.address, k.nodeid) for k in kept.proven + kept.heard])\n"
    "Discovery.addresses_for = rumours\n": (
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
        [0, 1, 2, 9],
        "did not happen within 3 s: all threads have ended",
    ),
}


@pytest.mark.long
def test_a_broken_node_is_reported_and_is_exit_code_1():
    """The tour checks what it says: each of these bugs makes it end with UNEXPECTED."""
    started = []
    for broken, (scenes, reported) in BROKEN.items():
        program = broken + (
            "import sys\n"
            "from p2p_plain import cli; from p2p_plain.tour import tour\n"
            "scenes = [tour.SCENES[number] for number in %r]\n"
            "def impatient(guide):\n"
            "    guide.patience = 3\n"
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
        started.append((process, reported, len(scenes)))
    for process, reported, played in started:
        out, err = (said.decode() for said in process.communicate(timeout=ALL_OF_IT))
        assert (process.returncode, err) == (1, ""), out
        assert reported in words(out[out.index("UNEXPECTED") :])
        assert out.count("UNEXPECTED") == 1
        assert out.count("So: ") == played - 1
        assert "The tour is over" not in out
