"""The command line: options, files of options, exit codes, one-line errors, what it prints."""

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
    PATIENCE,
    ROOT,
    Program,
    RawListener,
    RawPeer,
    free_port,
    full_pipe,
    wait_until,
)


def run(*options, **kwargs):
    """Run the program to its end: exit code, stdout, stderr."""
    run = subprocess.run(
        [sys.executable, "-m", "p2p_plain", *options],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
        **kwargs
    )
    return run.returncode, run.stdout.decode(), run.stderr.decode()


def human(*options, seconds=PATIENCE, until="\n", env=None):
    """Run the program until it has printed ``until``, stop it, and give back all it printed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "p2p_plain", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
    )
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
    assert run("--version") == (0, "p2p_plain %s\n" % __version__, "")
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    for option in ("port", "bind", "bootstrap", "advertise", "name", "network", "peers-file"):
        assert "--" + option in out
    assert "python3 -m p2p_plain --port 6000" in out


@pytest.mark.parametrize(
    "options, says",
    [
        (["--port", "70000"], "--port: 70000 is not a whole number from 0 to 65535"),
        (["--port", "-1"], "--port"),
        (["--port", "six"], "--port: invalid int value: 'six'"),
        (["--ping-interval", "0"], "--ping-interval"),
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
        (["--log-level", "loud"], "--log-level"),
        (["--colour"], "--colour"),
        (["--por", "6000"], "--por"),
        (["pong"], "there is no command 'pong'"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage_said_in_one_line(options, says):
    code, out, err = run(*options)
    assert (code, out) == (2, "")
    assert says in err
    assert err.startswith("p2p_plain: ")
    assert err.count("\n") == 1
    assert "--help" in err


def test_a_port_that_is_taken_is_exit_code_3_and_says_what_to_do():
    with RawListener() as taken:
        code, out, err = run("--bind", "127.0.0.1", "--port", str(taken.port))
    assert (code, out) == (3, "")
    assert "port %d is taken" % taken.port in err
    assert "--port" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("bind", ["192.0.2.99", "x" * 64 + ".example"])
def test_an_address_that_is_not_ours_is_exit_code_3(bind):
    code, out, err = run("--bind", bind, "--port", "0")
    assert (code, out) == (3, "")
    assert bind in err
    assert err.count("\n") == 1


def test_a_file_that_cannot_be_read_is_exit_code_3(tmp_path):
    for option in (["@" + str(tmp_path / "absent")], ["--port", "0", "--peers-file", str(tmp_path)]):
        code, out, err = run(*option)
        assert (code, out) == (3, "")
        assert str(tmp_path) in err
        assert err.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes no folder that somebody is in")
def test_a_folder_that_has_been_deleted_under_us_is_exit_code_3(tmp_path):
    program = (
        "import os, sys\n"
        "from p2p_plain import cli; from p2p_plain.commands import run\n"
        "os.rmdir(os.getcwd())\n"
        "sys.exit(cli.main(['--port', '0', '--peers-file', 'peers.json']))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=str(tmp_path),
        env=dict(os.environ, PYTHONPATH=ROOT),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
    )
    assert (run.returncode, run.stdout) == (3, b"")
    assert b"peers.json" in run.stderr
    assert run.stderr.count(b"\n") == 1


# -- options from a file -----------------------------------------------------------------------------


def test_options_come_from_a_file_one_a_line(tmp_path):
    args = tmp_path / "node.args"
    args.write_text(
        "# my node\n--port 0\n--bind=127.0.0.1\n\n--name 'web 07'  # quoted\n--json\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "p2p_plain", "@" + str(args)], cwd=ROOT, stdout=subprocess.PIPE
    )
    event = json.loads(process.stdout.readline().decode())
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert event["name"] == "web 07"
    assert event["addresses"][0].startswith("127.0.0.1:")


def test_a_file_of_options_that_makes_no_sense_is_wrong_usage(tmp_path):
    args = tmp_path / "node.args"
    args.write_text("--name 'no end\n")
    code, _, err = run("@" + str(args))
    assert code == 2
    assert "quotation" in err
    args.write_bytes(b"--name \xff\n")
    code, _, err = run("@" + str(args))
    assert (code, err.count("\n")) == (2, 1)


# -- events --------------------------------------------------------------------------------------------


def test_json_events_have_the_fields_that_the_readme_lists():
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


def test_the_start_says_what_to_type_to_join():
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
    """Names that are not printable are refused on the wire; bodies are escaped."""
    process = subprocess.Popen(
        [sys.executable, "-m", "p2p_plain", "--port", "0", "--bind", "127.0.0.1"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
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
def test_colour_only_on_a_terminal_and_never_with_no_color(no_color, coloured):
    master, slave = os.openpty()
    env = dict(os.environ, NO_COLOR=no_color, TERM="xterm")
    process = subprocess.Popen(
        [sys.executable, "-m", "p2p_plain", "--port", "0", "--bind", "127.0.0.1"],
        cwd=ROOT,
        stdout=slave,
        env=env,
    )
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


def test_trace_on_a_terminal_is_no_wider_than_that():
    fcntl = pytest.importorskip("fcntl")
    termios = pytest.importorskip("termios")
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with Program("--port", "0", "--bind", "127.0.0.1") as other:
        process = subprocess.Popen(
            [sys.executable, "-m", "p2p_plain", "--port", "0", "--bind", "127.0.0.1", "--trace"]
            + ["--bootstrap", "127.0.0.1:%d" % other.port],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=slave,
            env=dict(os.environ, NO_COLOR="1"),
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


# -- surroundings that are not kind ----------------------------------------------------------------------


def test_a_closed_pipe_ends_the_program_quietly():
    """``p2p_plain | head -1``: the first line, and no complaint, not even at the very end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "p2p_plain", "--port", "0", "--bind", "127.0.0.1", "--json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    port = int(json.loads(process.stdout.readline().decode())["addresses"][0].split(":")[1])
    process.stdout.close()
    with RawPeer.dial(port) as peer:
        peer.become_peer()  # gives it something to print
        assert process.wait(PATIENCE) == 0
    assert process.stderr.read() == b""
    process.stderr.close()


def test_names_that_the_terminal_cannot_show_are_escaped_not_fatal():
    """And a name outside ASCII is taken as it was typed, even where the locale is plain C."""
    env = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}
    name = "z\u00fcrich".encode("utf-8")
    out, err = human(
        "--port", "0", "--bind", "127.0.0.1", "--name", name, until="join", env=env
    )
    assert "z\\xfcrich" in out
    assert err == ""


def test_no_environment_and_no_site_packages():
    """``env -i python3 -S -m p2p_plain``: nothing but the interpreter."""
    with Program("--port", "0", "--bind", "127.0.0.1", flags=["-S"], env={}) as program:
        assert program.port
        assert program.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_exit_code_0_and_a_last_event(number):
    with Program("--port", "0", "--bind", "127.0.0.1") as program:
        program.wait_for("listening")
        assert program.stop(number) == 0
        assert program.seen[-1]["event"] == "stopped"
        assert program.seen[-1]["reason"] == signal.Signals(number).name


def test_signal_upon_signal_still_ends_with_exit_code_0():
    """Someone leans on Ctrl-C."""
    with Program("--port", "0", "--bind", "127.0.0.1") as program:
        program.wait_for("listening")
        while program.process.poll() is None:
            try:
                program.send(signal.SIGINT)
                program.process.wait(0.002)
            except subprocess.TimeoutExpired:
                pass
        assert program.process.returncode == 0


def test_a_node_that_runs_late_lets_its_threads_be_patient(monkeypatch):
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


def test_a_terminal_or_a_pipe_that_takes_nothing_does_not_hold_up_the_end():
    """Ctrl-S, or a pager: the interpreter would want stdout's lock at its end, and abort."""
    port = free_port()
    with full_pipe() as stdout:
        process = subprocess.Popen(
            [sys.executable, "-m", "p2p_plain", "--port", str(port), "--bind", "127.0.0.1"],
            cwd=ROOT,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )
        wait_until(lambda: is_listening(port))
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=PATIENCE) == (None, b"")
    assert process.returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["ping", "--help"], []])
def test_a_full_disk_under_stdout_is_no_complaint(words):
    port = free_port()
    with open("/dev/full", "w") as full:
        process = subprocess.Popen(
            [sys.executable, "-m", "p2p_plain"] + (words or ["--port", str(port)]),
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
        )
        if not words:  # the node itself
            wait_until(lambda: is_listening(port))
            process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=PATIENCE) == (None, b"")
    assert process.returncode == 0


def test_too_few_threads_is_exit_code_3_in_one_line():
    """``ulimit -u`` counts root's threads too, but does not bind root: so by a rehearsed failure."""
    program = (
        "import _thread, sys, threading\n"
        "from p2p_plain import cli; from p2p_plain.common import threads\n"
        "def refuse(*args): raise RuntimeError('no thread')\n"
        "threads._thread.start_new_thread = refuse\n"
        "sys.exit(cli.main(['--port', '0', '--bind', '127.0.0.1', '--json']))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
    )
    assert run.returncode == 3
    assert run.stderr.count(b"\n") == 1
    assert b"threads" in run.stderr


def start_debugging():
    """A process that logs everything, and its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "p2p_plain", "--port", "0", "--bind", "127.0.0.1"]
        + ["--json", "--log-level", "debug"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    port = int(json.loads(process.stdout.readline().decode())["addresses"][0].split(":")[1])
    return process, port


def test_what_a_stranger_says_is_escaped_in_the_log():
    process, port = start_debugging()
    with RawPeer.dial(port) as peer:
        peer.say("bye", reason="full", detail="\x1b[31mRED\x07\r\nFAKE LINE")
        assert peer.hear_line() is None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    (line,) = [line for line in err.decode().splitlines() if "RED" in line]
    assert "\\x1b[31mRED\\x07\\r\\nFAKE LINE" in line


def test_why_a_peer_had_to_go_is_logged():
    process, port = start_debugging()
    with RawPeer.dial(port) as peer:
        peer.become_peer()
        local = "127.0.0.1:%d" % peer.sock.getsockname()[1]
        peer.say_raw(b"what?\n")
        assert peer.hear("bye")["reason"] == "protocol"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    assert re.search(r"INFO %s inbound: protocol not JSON" % re.escape(local), err.decode())


def test_log_level_debug_logs_with_the_peer_first():
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
