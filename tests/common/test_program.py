"""What every program of the package does: errors in one line, events out, a signal to the end."""

import json
import signal

import pytest

from p2p_plain.common.errors import CannotStart, UsageError
from p2p_plain.common.program import CANNOT_START, WRONG_USAGE, main, plain_event, plain_trace
from p2p_plain.common.signals import stop_signals
from tests.support import Program, run_program, start_program

NODE_ALONE = ("-m", "p2p_plain.node")


@pytest.fixture(autouse=True)
def keep_handlers():
    handlers = {number: signal.getsignal(number) for number in stop_signals()}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    "error, code, line",
    [
        (UsageError("max_peers", "0 is too few"), WRONG_USAGE, "--max-peers: 0 is too few; see --help"),
        (UsageError("-c", "0 is too few"), WRONG_USAGE, "-c: 0 is too few; see --help"),
        (UsageError("", "no such \x1b"), WRONG_USAGE, "no such \\x1b; see --help"),
        (CannotStart("port 1 is taken"), CANNOT_START, "port 1 is taken"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(error, code, line, capsys):
    def program(words):
        raise error

    assert main(program, []) == code
    assert capsys.readouterr() == ("", "p2p_plain: %s\n" % line)


def test_plain_lines_are_safe_to_print():
    event = {"event": "message", "time": "2016-02-04T12:00:00.123Z", "body": "\x1b[2J\n"}
    assert plain_event(event, None) == r"2016-02-04T12:00:00.123Z  message    body=\x1b[2J\n"
    trace = {"time": 3.5, "thread": "inbound-1", "peer": "::1", "direction": "<", "line": "\x07"}
    assert plain_trace(trace, 1.0, None).split() == ["2.5000", "inbound-1", "::1", "<", "\\x07"]


def test_the_articles_node_runs_alone_and_joins_a_whole_one(make_node):
    """``python3 -m p2p_plain.node`` reports the same events as JSON, and stops like any other."""
    whole = make_node(name="whole")
    options = ["--port", "0", "--bind", "127.0.0.1", "--bootstrap", "127.0.0.1:%d" % whole.port]
    with Program(*options, what=NODE_ALONE) as alone:
        (up,) = alone.wait_for("peer_up")
        assert up["name"] == "whole"
        assert alone.stop() == 0
        assert alone.seen[-1]["event"] == "stopped"


def test_the_articles_node_prints_plain_lines_and_takes_no_option_of_the_monitor():
    process = start_program("--port", "0", "--bind", "127.0.0.1", "--name", "a b", what=NODE_ALONE)
    line = process.stdout.readline().decode()
    process.send_signal(signal.SIGTERM)
    assert process.communicate()[1] == b""
    assert "  listening  " in line
    assert "name=a b  " in line
    code, _, err = run_program("--http", "8080", what=NODE_ALONE)
    assert (code, err.count("\n")) == (2, 1)


def test_options_may_come_from_a_file_in_both_programs(tmp_path):
    args = tmp_path / "node.args"
    args.write_text("--port 0 --bind 127.0.0.1 --json\n--name 'web 07'  # quoted\n")
    for what in (("-m", "p2p_plain"), NODE_ALONE):
        process = start_program("@%s" % args, what=what)
        event = json.loads(process.stdout.readline().decode())
        process.send_signal(signal.SIGTERM)
        process.communicate()
        assert event["name"] == "web 07"
