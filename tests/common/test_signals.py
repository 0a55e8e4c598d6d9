"""What asks the program to stop, on this system and on those where the tests do not run."""

import signal
import subprocess
import sys

import pytest

from p2p_plain.common import signals
from tests.support import PATIENCE, ROOT


@pytest.fixture
def handlers(monkeypatch):
    """Handlers by signal, set and asked without touching those of this process."""
    kept = {}
    monkeypatch.setattr(signal, "signal", kept.__setitem__)
    monkeypatch.setattr(signal, "getsignal", lambda number: kept.get(number, signal.SIG_DFL))
    return kept


def run(program):
    """A program of its own: exit code, stdout, stderr."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
    )
    return done.returncode, done.stdout, done.stderr


def test_ctrl_c_and_sigterm_stop_a_program():
    assert signals.stop_signals() == (signal.SIGINT, signal.SIGTERM)


def test_windows_has_ctrl_break_too(monkeypatch):
    monkeypatch.setattr(signal, "SIGBREAK", 21, raising=False)
    assert signals.stop_signals() == (signal.SIGINT, signal.SIGTERM, 21)


def test_a_system_without_sigterm_is_no_reason_to_fail(monkeypatch, handlers):
    monkeypatch.delattr(signal, "SIGTERM")
    signals.treat_all_like_ctrl_c()
    assert handlers == {signal.SIGINT: signal.default_int_handler}
    signals.ignore_stop_signals()
    assert handlers == {signal.SIGINT: signal.SIG_IGN}


def test_whoever_started_us_with_ctrl_c_ignored_meant_it(handlers):
    handlers[signal.SIGINT] = signal.SIG_IGN
    signals.treat_all_like_ctrl_c()
    assert handlers[signal.SIGINT] == signal.SIG_IGN
    assert handlers[signal.SIGTERM] == signal.default_int_handler


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_there_is_anything_to_stop_is_exit_code_0(number):
    program = (
        "import os, sys, time\n"
        "from p2p_plain import cli; from p2p_plain.commands import run\n"
        "def stopped_while_it_is_made(**settings):\n"
        "    os.kill(os.getpid(), %d)\n"
        "    time.sleep(30)\n"
        "run.Node = stopped_while_it_is_made\n"
        "sys.exit(cli.main(['--port', '0']))\n" % number
    )
    assert run(program) == (0, b"", b"")


@pytest.mark.parametrize("words, code", [(["--port", "0"], 0), (["ping", "127.0.0.1:1"], 1)])
def test_a_signal_in_the_middle_of_an_import_is_heard_when_all_is_imported(words, code):
    """Raised at once, it could come out in a callback of the import machinery, and be forgotten."""
    program = (
        "import os, signal, sys, weakref\n"
        "from p2p_plain import cli\n"
        "class Thing: pass\n"
        "class Finder:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'p2p_plain.node.connector':\n"
        "            thing = Thing()\n"
        "            reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGTERM))\n"
        "            del thing\n"
        "sys.meta_path.insert(0, Finder())\n"
        "sys.exit(cli.main(%r))\n" % words
    )
    assert run(program) == (code, b"", b"")
