"""Signals that stop the program, here and on systems where the tests do not run."""

import os
import signal
import threading
import time

import pytest

from p2p_plain.common import signals
from tests.support import PATIENCE, Program, RawPeer, run_program, wait_until

LOCAL = ("--port", "0", "--bind", "127.0.0.1")


@pytest.fixture
def handlers(monkeypatch):
    """Handlers by signal, without touching those of this process."""
    kept = {}
    monkeypatch.setattr(signal, "signal", kept.__setitem__)
    monkeypatch.setattr(signal, "getsignal", lambda number: kept.get(number, signal.SIG_DFL))
    return kept


def test_ctrl_c_sigterm_and_the_end_of_the_terminal_stop_a_program(handlers):
    assert signals.stop_signals() == (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def test_windows_has_ctrl_break_and_no_hangup(monkeypatch):
    monkeypatch.setattr(signal, "SIGBREAK", 21, raising=False)
    monkeypatch.delattr(signal, "SIGHUP")
    assert signals.stop_signals() == (signal.SIGINT, signal.SIGTERM, 21)


@pytest.mark.parametrize("what", [("-m", "p2p_plain"), ("-m", "p2p_plain.node")])
def test_a_node_says_goodbye_when_its_terminal_is_gone(make_node, what):
    other = make_node()
    with Program(*LOCAL, "--bootstrap", "127.0.0.1:%d" % other.port, what=what) as program:
        program.wait_for("peer_up")
        wait_until(other.peers)
        assert program.stop(signal.SIGHUP) == 0
        assert program.events("stopped")[0]["reason"] == "SIGHUP"
    down = next(event for event in other.events(PATIENCE) if event["event"] == "peer_down")
    assert down["reason"] == "stopping"


def test_a_node_that_nohup_started_outlives_its_terminal():
    with Program(*LOCAL, prefix=["nohup"]) as program:
        port = program.port
        program.send(signal.SIGHUP)
        with RawPeer.dial(port) as peer:
            peer.become_peer()
            program.send(signal.SIGHUP)
            assert peer.answers_ping()
        program.send(signal.SIGTERM)
        assert program.process.wait(PATIENCE) == 0


def test_a_system_without_sigterm_is_supported(monkeypatch, handlers):
    monkeypatch.delattr(signal, "SIGTERM")
    monkeypatch.delattr(signal, "SIGHUP")
    signals.treat_all_like_ctrl_c()
    assert handlers == {signal.SIGINT: signal.default_int_handler}
    signals.ignore_stop_signals()
    assert handlers == {signal.SIGINT: signal.SIG_IGN}


def test_a_signal_that_is_ignored_at_the_start_stays_ignored(handlers):
    handlers[signal.SIGINT] = signal.SIG_IGN
    signals.treat_all_like_ctrl_c()
    assert handlers[signal.SIGINT] == signal.SIG_IGN
    assert handlers[signal.SIGTERM] == signal.default_int_handler


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_before_the_node_runs_is_exit_code_0(number):
    program = (
        "import os, sys, time\n"
        "from p2p_plain import cli; from p2p_plain.commands import run\n"
        "def stopped_while_it_is_made(**settings):\n"
        "    os.kill(os.getpid(), %d)\n"
        "    time.sleep(30)\n"
        "run.Node = stopped_while_it_is_made\n"
        "sys.exit(cli.main(['--port', '0']))\n" % number
    )
    assert run_program(what=("-c", program)) == (0, "", "")


@pytest.mark.parametrize("words, code", [(["--port", "0"], 0), (["ping", "127.0.0.1:1"], 1)])
def test_a_signal_during_an_import_takes_effect_after_it(words, code):
    """An exception in a callback of the import machinery would be printed and forgotten."""
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
    assert run_program(what=("-c", program)) == (code, "", "")


# -- the self-pipe ---------------------------------------------------------------------------------


@pytest.fixture
def pipe():
    """One that SIGTERM ends, and that only reports SIGUSR1."""
    numbers = (signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    with signals.SelfPipe(numbers[:1], numbers[1:]) as made:
        yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def test_wait_returns_the_signals_that_came(pipe):
    assert pipe.wait(0.0) == (b"", set())
    os.kill(os.getpid(), signal.SIGUSR1)
    assert pipe.wait(PATIENCE) == (b"", {signal.SIGUSR1})
    assert not pipe.ended
    os.kill(os.getpid(), signal.SIGTERM)
    assert pipe.wait(PATIENCE) == (b"", {signal.SIGTERM})
    assert pipe.ended == signal.SIGTERM


def test_any_thread_can_wake_the_one_that_waits(pipe):
    threading.Timer(0.01, pipe.wake).start()
    assert pipe.wait(PATIENCE) == (b"", set())


def test_wait_returns_keys_and_the_end_of_the_keyboard(pipe):
    read, write = os.pipe()
    os.write(write, b"q")
    assert pipe.wait(PATIENCE, read) == (b"q", set())
    os.close(write)
    assert pipe.wait(PATIENCE, read) == (None, set())
    os.close(read)


def test_an_ending_signal_interrupts_a_call_that_never_returns(pipe):
    timer = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    with pytest.raises(signals.Interrupted), pipe.interruptible():
        time.sleep(PATIENCE)
    timer.join()
    with pytest.raises(signals.Interrupted), pipe.interruptible():
        pytest.fail("the signal came before: nothing may be begun")


def test_outside_such_a_call_a_signal_is_only_noted(pipe):
    os.kill(os.getpid(), signal.SIGTERM)
    assert pipe.ended


def test_after_the_end_has_begun_signals_are_ignored(pipe):
    pipe.ignore()
    os.kill(os.getpid(), signal.SIGTERM)
    assert not pipe.ended
