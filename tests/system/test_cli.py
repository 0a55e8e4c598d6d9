"""A node as a program: options, exit codes, one-line errors, events, signals, logs."""

import json
import os
import re
import signal
import struct
import subprocess
import sys

import pytest

from p2p_plain import __version__
from p2p_plain.commands.run import SWITCH_INTERVAL, WHEN_CROWDED, ask_less_when_late
from tests.support import (
    PATIENCE, ROOT, Program, RawListener, RawPeer, free_port, full_pipe, run_program, start_program,
    wait_until,
)


def human(*options, seconds=PATIENCE, until="\n", env=None):
    """Run the program until it has printed ``until``, stop it, and return all that it printed."""
    process = start_program(*options, env=env)
    said = b""
    while until.encode() not in said:
        line = process.stdout.readline()
        assert line, process.stderr.read().decode()
        said += line
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=seconds)
    assert process.returncode == 0
    return (said + rest).decode(), errors.decode()


# -- exit codes and one-line errors ---------------------------------------------------------------


def test_version_and_help():
    assert run_program("--version") == (0, "p2p_plain %s\n" % __version__, "")
    code, out, err = run_program("--help")
    assert (code, err) == (0, "")
    for option in ("port", "bind", "bootstrap", "advertise", "name", "network", "peers-file"):
        assert "--" + option in out
    assert "python3 -m p2p_plain --port 6000" in out


@pytest.mark.parametrize(
    "options, says",
    [
        (["--port", "70000"], "--port: 70000 is not a whole number from 0 to 65535"),
        (["--port", "-1"], "--port"),
        (["--ping-interval", "0"], "--ping-interval: 0 is too short; at least 0.001 s"),
        (["--ping-interval", "1e10"], "--ping-interval: 1e+10 is too long"),
        (["--bind", "127.0.0.1:7"], "--bind: '127.0.0.1:7' has a port; give the port with --port"),
        (["--ping-interval", "nan"], "--ping-interval: nan is not a number"),
        (["--ping-timeout", "inf"], "--ping-timeout"),
        (["--probe-interval", "-3"], "--probe-interval"),
        (["--max-peers", "0"], "--max-peers"),
        (["--max-rate", "-1"], "--max-rate"),
        (["--advertise", "0.0.0.0:6000"], "--advertise: nobody can dial 0.0.0.0:6000"),
        (["--advertise", "example.org:0"], "--advertise"),
        (["--advertise", "[fe80::1]:6000"], "--advertise: [fe80::1]:6000 means nothing on another"),
        (["--port", "0", "--advertise", "10.0.0.1"], "--advertise: '10.0.0.1' has no port"),
        (["--peers-file", ""], "--peers-file"),
        (["--bootstrap", "224.0.0.1:6000"], "--bootstrap: nobody can dial"),
        (["--bootstrap", "host:0"], "--bootstrap"),
        (["--bootstrap", "host:port"], "--bootstrap: 'port' in 'host:port' is not a port"),
        (["--name", "x" * 65], "--name"),
        (["--name", "bell\a"], "--name"),
        (["--colour"], "--colour"),
        (["pong"], "there is no command 'pong'"),
    ],
)
def test_wrong_usage_is_one_line_that_names_the_option(typed, options, says):
    code, out, err = typed(*options)
    assert (code, out) == (2, "")
    assert says in err
    assert err.startswith("p2p_plain: ")
    assert err.count("\n") == 1
    assert "--help" in err


def test_a_taken_port_is_exit_code_3_and_one_line_with_advice():
    with RawListener() as taken:
        code, out, err = run_program("--bind", "127.0.0.1", "--port", str(taken.port))
    assert (code, out) == (3, "")
    assert "port %d is taken" % taken.port in err
    assert "choose another port" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("bind", ["192.0.2.99", "x" * 64 + ".example"])
def test_an_address_that_is_not_ours_is_exit_code_3(bind):
    code, out, err = run_program("--bind", bind, "--port", "0")
    assert (code, out) == (3, "")
    assert bind in err
    assert err.count("\n") == 1


def test_a_file_that_cannot_be_read_is_exit_code_3(tmp_path):
    for option in (["@" + str(tmp_path / "absent")], ["--port", "0", "--peers-file", str(tmp_path)]):
        code, out, err = run_program(*option)
        assert (code, out) == (3, "")
        assert str(tmp_path) in err
        assert err.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes no folder that somebody is in")
def test_a_deleted_working_folder_is_exit_code_3(tmp_path):
    program = (
        "import os, sys\n"
        "from p2p_plain import cli; from p2p_plain.commands import run\n"
        "os.rmdir(os.getcwd())\n"
        "sys.exit(cli.main(['--port', '0', '--peers-file', 'peers.json']))\n"
    )
    env = dict(os.environ, PYTHONPATH=ROOT)
    code, out, err = run_program(what=("-c", program), cwd=str(tmp_path), env=env)
    assert (code, out) == (3, "")
    assert "peers.json" in err
    assert err.count("\n") == 1


# -- options from a file -----------------------------------------------------------------------------


def test_an_unreadable_options_file_is_wrong_usage(tmp_path):
    args = tmp_path / "node.args"
    args.write_text("--name 'no end\n")
    code, _, err = run_program("@" + str(args))
    assert code == 2
    assert "quotation" in err
    args.write_bytes(b"--name \xff\n")
    code, _, err = run_program("@" + str(args))
    assert (code, err.count("\n")) == (2, 1)


# -- events --------------------------------------------------------------------------------------------


def test_json_events_have_the_documented_fields():
    with Program("--port", "0", "--bind", "127.0.0.1", "--name", "first") as first, Program(
        "--port", "0", "--bind", "127.0.0.1", "--bootstrap", "127.0.0.1:%d" % first.port
    ) as second:
        second.wait_for("rtt")
        first.wait_for("rtt")
        assert second.stop() == 0
        first.wait_for("peer_down")
        assert first.stop(signal.SIGINT) == 0
        seen = {event["event"]: event for event in first.seen}
        assert set(seen["listening"]) == {"event", "time", "nodeid", "name", "addresses"}
        fields = {"event", "time", "nodeid", "name", "address", "peers"}
        assert set(seen["peer_up"]) == fields | {"direction"}
        assert set(seen["peer_down"]) == fields | {"reason", "up_seconds"}
        assert set(seen["rtt"]) == {"event", "time", "nodeid", "name", "rtt_ms"}
        assert set(seen["stopped"]) == {"event", "time", "reason", "peers", "uptime_seconds"}
        assert seen["peer_down"]["reason"] == "stopping"
        assert seen["stopped"]["reason"] == "SIGINT"
        assert second.events("stopped")[0]["peers"] == 1
        for event in first.seen:
            assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", event["time"])


def test_the_first_lines_show_where_the_status_page_is():
    out, err = human("--port", "0", "--bind", "127.0.0.1", "--http", "0", until="status page")
    assert re.search(r"^ +status page: http://127\.0\.0\.1:[1-9]\d*/$", out, re.M)
    assert err == ""


def test_the_first_lines_show_the_command_to_join():
    out, err = human("--port", "0", "--bind", "127.0.0.1", "--network", "o'hara", until="join")
    found = re.search(r"python3 -m p2p_plain --bootstrap (127\.0\.0\.1:\d+) --network 'o'", out)
    assert found, out
    assert "stopped" in out
    assert err == ""


def test_human_lines_are_aligned_and_without_colour_in_a_pipe():
    with Program("--port", "0", "--bind", "127.0.0.1", "--name", "other") as other:
        out, _ = human(
            "--port", "0", "--bind", "127.0.0.1", "--bootstrap", "127.0.0.1:%d" % other.port,
            until=" ms\n",
        )
    assert "\x1b" not in out
    up = next(line for line in out.splitlines() if "peer up" in line)
    rtt = next(line for line in out.splitlines() if " ms" in line)
    assert up.index(other.nodeid[:8]) == rtt.index(other.nodeid[:8])
    assert re.search(r"other +127\.0\.0\.1:\d+ +outbound +1 peer$", up)


def test_a_hostile_name_cannot_play_with_the_terminal():
    """Names that are not printable are rejected on the wire; bodies are escaped."""
    process = start_program("--port", "0", "--bind", "127.0.0.1")
    port = int(re.search(rb":(\d+)\n", process.stdout.readline()).group(1))
    with RawPeer.dial(port) as peer:
        peer.become_peer()
        body = "\x1b[2J\u202egnp.exe\r\n"
        peer.say("message", id=peer.nodeid, **{"from": peer.nodeid, "body": body})
        line = b""
        while b"message" not in line:
            line = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert b"\\u001b[2J\\u202egnp.exe\\r\\n" in line
    assert b"\x1b" not in line


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
@pytest.mark.parametrize("no_color, coloured", [("", True), ("1", False)])
def test_colour_is_used_on_a_terminal_unless_no_color_is_set(no_color, coloured):
    master, slave = os.openpty()
    env = dict(os.environ, NO_COLOR=no_color, TERM="xterm")
    process = start_program("--port", "0", "--bind", "127.0.0.1", stdout=slave, env=env)
    os.close(slave)
    said = b""
    while b"join" not in said:
        said += os.read(master, 4096)
    process.send_signal(signal.SIGTERM)
    process.wait(PATIENCE)
    os.close(master)
    assert (b"\x1b[" in said) is coloured


def test_trace_shows_every_line_with_direction_peer_and_thread():
    with Program("--port", "0", "--bind", "127.0.0.1") as other:
        _, err = human(
            "--port", "0", "--bind", "127.0.0.1", "--trace",
            "--bootstrap", "127.0.0.1:%d" % other.port, until=" ms\n",
        )
        lines = [line.split(None, 4) for line in err.splitlines()]
        address = "127.0.0.1:%d" % other.port
        said = [(thread, peer, way, text) for _, thread, peer, way, text in lines]
        assert said[0][:3] == ("outbound-1", address, ">")
        assert said[0][3].startswith('{"msgtype":"hello"')
        assert ("outbound-1", address, "<", '{"msgtype":"pong"}') in said
        assert ("outbound-1", address, ">", '{"msgtype":"pong"}') in said
        assert any(thread == "MainThread" and "stopping" in text for thread, _, _, text in said)


def test_trace_lines_fit_the_terminal():
    fcntl = pytest.importorskip("fcntl")
    termios = pytest.importorskip("termios")
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with Program("--port", "0", "--bind", "127.0.0.1") as other:
        process = start_program(
            "--port", "0", "--bind", "127.0.0.1", "--trace",
            "--bootstrap", "127.0.0.1:%d" % other.port,
            stdout=subprocess.DEVNULL, stderr=slave, env=dict(os.environ, NO_COLOR="1"),
        )
        os.close(slave)
        said = b""
        while b"pong" not in said:
            said += os.read(master, 4096)
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
    os.close(master)
    lines = said.decode().split("\r\n")[:-1]
    assert max(map(len, lines)) == 80
    assert re.search(r' > \{"msgtype":"hello",.*\.\.\.\(\d+\)$', lines[0])


# -- hostile surroundings ----------------------------------------------------------------------


def test_a_closed_pipe_ends_the_program_quietly():
    """``p2p_plain | head -1`` prints the first line and no error, not even at exit."""
    process = start_program("--port", "0", "--bind", "127.0.0.1", "--json")
    port = int(json.loads(process.stdout.readline().decode())["addresses"][0].split(":")[1])
    process.stdout.close()
    with RawPeer.dial(port) as peer:
        peer.become_peer()  # gives it something to print
        assert process.wait(PATIENCE) == 0
    assert process.stderr.read() == b""
    process.stderr.close()


def test_names_that_the_terminal_cannot_show_are_escaped():
    """A name outside ASCII is taken as typed, also in the plain C locale."""
    env = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}
    name = "z\u00fcrich".encode("utf-8")
    out, err = human(
        "--port", "0", "--bind", "127.0.0.1", "--name", name, until="join", env=env
    )
    assert "z\\xfcrich" in out
    assert err == ""


def test_an_empty_environment_without_site_packages_is_enough():
    """``env -i python3 -S -m p2p_plain``."""
    with Program("--port", "0", "--bind", "127.0.0.1", flags=["-S"], env={}) as program:
        assert program.port
        assert program.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_node_with_exit_code_0_and_a_last_event(number):
    with Program("--port", "0", "--bind", "127.0.0.1") as program:
        program.wait_for("listening")
        assert program.stop(number) == 0
        assert program.seen[-1]["event"] == "stopped"
        assert program.seen[-1]["reason"] == signal.Signals(number).name


def test_repeated_signals_still_end_with_exit_code_0():
    """Somebody holds Ctrl-C down."""
    with Program("--port", "0", "--bind", "127.0.0.1") as program:
        program.wait_for("listening")
        while program.process.poll() is None:
            try:
                program.send(signal.SIGINT)
                program.process.wait(0.002)
            except subprocess.TimeoutExpired:
                pass
        assert program.process.returncode == 0


def test_threads_of_a_late_node_ask_for_the_interpreter_less_often(monkeypatch):
    intervals = []
    monkeypatch.setattr(sys, "setswitchinterval", intervals.append)
    for lateness in (0.0, 0.3, 0.001):
        ask_less_when_late(lateness)
    assert intervals == [SWITCH_INTERVAL, WHEN_CROWDED, SWITCH_INTERVAL]
    assert pytest.approx(sys.getswitchinterval()) == SWITCH_INTERVAL


def is_listening(port):
    try:
        RawPeer.dial(port).__exit__()
    except ConnectionRefusedError:
        return False
    return True


def test_a_signal_ends_a_node_whose_stdout_is_full():
    """After Ctrl-S, or in a pager: at exit the interpreter would want stdout's lock, and abort."""
    port = free_port()
    with full_pipe() as stdout:
        process = start_program("--port", str(port), "--bind", "127.0.0.1", stdout=stdout)
        wait_until(lambda: is_listening(port))
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=PATIENCE) == (None, b"")
    assert process.returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["ping", "--help"], []])
def test_a_full_disk_under_stdout_is_not_an_error(words):
    port = free_port()
    with open("/dev/full", "w") as full:
        process = start_program(*(words or ["--port", str(port)]), stdout=full)
        if not words:  # the node itself
            wait_until(lambda: is_listening(port))
            process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=PATIENCE) == (None, b"")
    assert process.returncode == 0


def test_too_few_threads_is_exit_code_3_and_one_line():
    """Simulated, because ``ulimit -u`` does not limit root."""
    program = (
        "import _thread, sys, threading\n"
        "from p2p_plain import cli; from p2p_plain.common import threads\n"
        "def refuse(*args): raise RuntimeError('no thread')\n"
        "threads._thread.start_new_thread = refuse\n"
        "sys.exit(cli.main(['--port', '0', '--bind', '127.0.0.1', '--json']))\n"
    )
    code, _, err = run_program(what=("-c", program))
    assert code == 3
    assert err.count("\n") == 1
    assert "threads" in err


def start_debugging():
    """Start a node that logs everything; the process and its port."""
    words = ("--port", "0", "--bind", "127.0.0.1", "--json", "--log-level", "debug")
    process = start_program(*words)
    port = int(json.loads(process.stdout.readline().decode())["addresses"][0].split(":")[1])
    return process, port


def test_text_from_a_stranger_is_escaped_in_the_log():
    process, port = start_debugging()
    with RawPeer.dial(port) as peer:
        peer.say("bye", reason="full", detail="\x1b[31mRED\x07\r\nFAKE LINE")
        assert peer.hear_line() is None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    (line,) = [line for line in err.decode().splitlines() if "RED" in line]
    assert "\\x1b[31mRED\\x07\\r\\nFAKE LINE" in line


def test_the_log_says_which_rule_a_dropped_peer_broke():
    process, port = start_debugging()
    with RawPeer.dial(port) as peer:
        peer.become_peer()
        local = "127.0.0.1:%d" % peer.sock.getsockname()[1]
        peer.say_raw(b"what?\n")
        assert peer.hear("bye")["reason"] == "protocol"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    assert re.search(r"INFO %s inbound: protocol not JSON" % re.escape(local), err.decode())


def test_log_lines_begin_with_the_peer():
    process, port = start_debugging()
    with RawPeer.dial(port) as peer:
        peer.say_raw(b"GET / HTTP/1.1\r\n")
        assert peer.hear("bye")["reason"] == "protocol"
        local = "127.0.0.1:%d" % peer.sock.getsockname()[1]
    refused = json.loads(process.stdout.readline().decode())
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    assert (refused["event"], refused["reason"]) == ("refused", "protocol")
    assert re.search(r"INFO %s inbound: protocol not JSON" % re.escape(local), err.decode())
