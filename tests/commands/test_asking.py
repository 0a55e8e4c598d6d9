"""What every command that asks a node promises: help, usage errors, signals, pipes, encodings."""

import os
import signal

import pytest

from p2p_plain import cli
from tests.support import (
    PATIENCE, full_pipe, run_program, start_program, wait_until, waits_for_a_pipe,
)
from tests.support.asked_node import FakeNode, mesh, wait_for_the_end


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_a_command_has_an_example(command):
    code, out, err = run_program(command, "--help")
    assert (code, err) == (0, "")
    assert ("HOST:PORT" in out) == (command not in ("tour", "keygen", "help"))  # these ask no node
    assert "example:\n  python3 -m p2p_plain %s " % command in out


@pytest.mark.parametrize(
    "words, says",
    [
        (["ping"], "HOST:PORT"),
        (["ping", "host:x"], "'x' in 'host:x' is not a port"),
        (["ping", "host:0"], "nobody can dial host:0"),
        (["ping", "0.0.0.0:6000"], "nobody can dial"),
        (["ping", "a b"], "'a b' is not HOST:PORT"),
        (["ping", "host", "-c", "0"], "-c: 0 is not a number of 1 or more"),
        (["ping", "host", "-c", "x"], "-c: 'x' is not a whole number"),
        (["ping", "host", "-i", "0"], "-i: 0 is too short; at least 0.001 s"),
        (["ping", "host", "-i", "nan"], "-i: nan is not a number"),
        (["ping", "host", "-W", "inf"], "-W: inf is not a number"),
        (["ping", "host", "--network", "x" * 65], "--network: must be 0 to 64"),
        (["ping", "host", "--jso"], "--jso"),
        (["matrix", "host", "--width", "0"], "--width: 0 is not"),
        (["check", "host", "--expect", "-1"], "--expect: -1 is not"),
        (["check", "host", "--within", "-1"], "--within: -1 is too short"),
        (["watch", "host", "--interval", "0"], "--interval: 0 is too short"),
        (["wat", "host"], "there is no command 'wat'; the commands are ping, matrix, check, watch, tour"),
    ],
)
def test_wrong_usage_is_one_line_that_names_the_option(typed, words, says):
    code, out, err = typed(*words)
    assert (code, out) == (2, "")
    assert says in err
    assert err.startswith("p2p_plain: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_matrix_and_check_with_the_exit_code_of_no(number):
    """The answer is not known, and that is not a yes."""
    asked = []

    def play(peer, number):
        asked.append(number)
        wait_for_the_end(peer)

    for command in ("matrix", "check"):
        with FakeNode(play=play) as node:
            process = start_program(command, node.text)
            wait_until(lambda: asked)
            process.send_signal(number)
            out, err = process.communicate(timeout=PATIENCE)
            assert (process.returncode, out, err) == (1, b"", b"")
            del asked[:]


@pytest.mark.skipif(not os.path.exists("/proc/self/wchan"), reason="asks Linux who waits for what")
@pytest.mark.parametrize("command", [*cli.COMMANDS, "--help"])
def test_a_signal_ends_a_command_whose_pipe_is_full(command):
    """``p2p_plain ping HOST | less``, and Ctrl-C: Python's own last flush would never end."""
    with FakeNode() as node, full_pipe() as stdout:
        alone = {"tour": ["--fast"], "keygen": [], "help": ["options"], "--help": []}
        rest = alone.get(command, [node.text])
        process = start_program(command, *rest, stdout=stdout)
        wait_until(lambda: waits_for_a_pipe(process.pid))
        process.send_signal(signal.SIGTERM)
        try:
            assert process.communicate(timeout=PATIENCE) == (None, b"")
        finally:
            process.kill()
    assert process.returncode == (1 if command in ("ping", "matrix", "check", "keygen", "help") else 0)


@pytest.mark.parametrize("words", [["matrix"], ["check"], ["ping", "-i", "0.01"]])
def test_a_closed_pipe_ends_a_command_quietly(words):
    with FakeNode() as node, start_program(words[0], node.text, *words[1:]) as process:
        process.stdout.close()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
        assert process.stderr.read() == b""
        assert process.returncode == 0


def test_names_that_the_terminal_cannot_show_are_escaped():
    env = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}
    with FakeNode(mesh(2, "z\u00fcrich-%d"), name="z\u00fcrich") as node:
        code, out, err = run_program("ping", "-c", "1", node.text, env=env)
        assert (code, err) == (0, "")
        assert "z\\xfcrich" in out
        code, out, err = run_program("matrix", node.text, env=env)
        assert (code, err) == (0, "")
        assert "z\\xfcrich-1" in out
