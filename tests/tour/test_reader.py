"""The reader: it waits for Enter where a person can press it, and can be left at any moment."""

import signal
import subprocess
import sys

import pytest

from p2p_plain.tour import tour
from p2p_plain.tour.reader import PROMPT
from tests.support import PATIENCE, ROOT
from tests.support.tour_reader import ONLY, Person

TITLES = ["%d of %d: %s" % (n, len(tour.SCENES), t) for n, (t, _) in enumerate(tour.SCENES, 1)]


def test_enter_goes_on_and_q_ends_it():
    with Person() as person:
        assert "alpha reports" not in person.read(PROMPT)
        person.type("\n")
        assert "alpha reports: listening" in person.read(PROMPT)
        person.type("q\n")
        assert "alpha" not in person.ended()


def test_after_ctrl_d_it_asks_no_more_and_ctrl_c_ends_it_in_the_middle():
    with Person() as person:
        person.read(PROMPT)
        person.type("\x04")
        shown = person.read("seconds):")
        assert TITLES[5] in shown
        assert PROMPT not in shown
        person.type("\x03\x03")
        assert TITLES[6] not in person.ended()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_the_prompt_ends_it(number):
    with Person() as person:
        person.read(PROMPT)
        person.type("\n")
        person.read(PROMPT)
        person.process.send_signal(number)
        person.ended()


@pytest.mark.parametrize("number, between", [("SIGINT", "\n"), ("SIGTERM", "")])
def test_after_ctrl_c_the_shell_goes_on_on_a_line_of_its_own(number, between):
    """The terminal shows ^C without a newline.

    The test does not type it: a terminal then drops what is on its way to the screen.  The end of
    the process that owns the terminal does the same, so a stand-in for the shell outlives the tour.
    """
    program = (
        "import os, signal, sys\n"
        "from p2p_plain import cli; from p2p_plain.tour import tour\n"
        "tour.SCENES = [('one', lambda guide: os.kill(os.getpid(), signal.%s))]\n"
        "cli.main(['tour'])\n"
        "print('$ ', flush=True)\n"
        "sys.stdin.readline()\n" % number
    )
    with Person(program=program) as person:
        shown = person.read("$ \r\n")
        assert shown[shown.index("== 1 of 1") :].split("\n", 1)[1] == between + "$ \n"


def test_sigint_ends_it_even_while_the_terminal_is_stopped():
    """Ctrl-S stops a terminal.  Ctrl-C would let it go on; ``kill -INT`` does not."""
    program = (
        "import os, signal, sys\n"
        "from p2p_plain import cli; from p2p_plain.tour import tour\n"
        "def scene(guide):\n"
        "    sys.stdin.readline()\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "tour.SCENES = [('one', scene)]\n"
        "sys.exit(cli.main(['tour']))\n"
    )
    with Person(program=program) as person:
        person.read("== 1 of 1")
        person.type("\x13\n")
        person.process.wait(PATIENCE)
        person.type("\x11")
        person.ended()


@pytest.mark.parametrize("columns", [120, 60])
def test_fast_does_not_wait_and_uses_the_width_of_the_terminal(columns):
    """Lines of the wire take the whole width, text at most 80 columns."""
    with Person("--fast", columns=columns) as person:
        shown = person.read(TITLES[3])
        assert PROMPT not in shown
        assert max(len(line) for line in shown.splitlines() if '{"' in line) == columns
        text = [line for line in shown.splitlines() if line[:1].isalpha()]
        assert max(map(len, text)) <= min(columns, 80)
        person.type("\x03")
        person.ended()


def test_enter_before_the_prompt_is_no_answer(tmp_path):
    """Many press Enter during a silence of three seconds.  They do not miss what comes next."""
    go_on = str(tmp_path / "go on")
    scenes = (
        "(('first', lambda guide: guide.say('busy') or guide.wait_for('', lambda: os.path.exists(%r))),\n"
        "('second', lambda guide: guide.say('too early')))\n" % go_on
    )
    with Person(program="import os\n" + ONLY % scenes) as person:
        person.read("busy")
        person.type("well?\n\n")
        person.read("well?\r\n\r\n")  # its echo: it has arrived
        open(go_on, "w").close()
        person.read(PROMPT)
        person.type("q\n")
        assert "too early" not in person.ended()


def test_into_a_pipe_it_does_not_wait_even_at_a_terminal():
    with Person(program=ONLY % "[('one', lambda guide: guide.say('said'))]", stdout=subprocess.PIPE) as person:
        out, err = person.process.communicate(timeout=PATIENCE)
    assert (person.process.returncode, err) == (0, b"")
    assert b"said" in out and b"The tour is over" in out
    assert PROMPT.encode() not in out


def test_a_closed_pipe_ends_it_quietly():
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
    while b"alpha reports" not in process.stdout.readline():
        pass
    process.stdout.close()
    assert process.wait(PATIENCE) == 0
    assert process.stderr.read() == b""
    process.stderr.close()
