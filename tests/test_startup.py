"""What each start imports: nobody waits for what only another command needs.

In the one file an import costs most, since Python compiles it anew each time.
"""

import json
import subprocess
import sys

import pytest
from support import PATIENCE, ROOT

from p2p_plain import cli

COMMON = {"__init__", "cli", "errors", "options", "output", "record"}
WORDS = {"address", "codec", "config", "display", "messages"}
ASKING = COMMON | WORDS | {"asking", "client", "connector", "signals", "threads"}
ASKING |= {"transport", "usage"}
JUDGING = {"commands", "grid", "text", "verdicts", "view"}
NODE = COMMON | WORDS | {"address_book", "connector", "counters", "events", "gossip", "listener"}
NODE |= {"matrix", "node", "overlay", "pace", "peer_table", "pinger", "reach", "run", "session", "signals"}
NODE |= {"threads", "transport"}
TOUR = (NODE | JUDGING | {"stage", "tour", "usage"}) - {"commands", "run"}

NEVER = {"asyncio", "concurrent.futures", "dataclasses", "decimal", "email", "http", "inspect"}
NEVER |= {"logging", "multiprocessing", "secrets", "ssl", "subprocess", "tempfile", "typing"}
NEVER |= {"unittest", "urllib", "uuid", "zipfile"}
"""Of the standard library, what nothing needs that has not gone wrong and serves no page."""

AT_THE_END = """
import atexit, json, sys
before = set(sys.modules)
atexit.register(lambda: print(json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr))
"""

AT_LISTENING = """
import os, signal
from p2p_plain import run
def told(self, event):
    if event["event"] == "listening":
        print(json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr)
        sys.stderr.flush()
        os._exit(0)
run.Printer.event = told
"""

THE_PROGRAM = """
from p2p_plain import cli
sys.exit(cli.main(sys.argv[1:]))
"""


def imported(code, *words):
    """Modules of ours without the package's name, and those of others."""
    run = subprocess.run(
        [sys.executable, "-S", "-c", code, *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
    )
    names = json.loads(run.stderr.decode().splitlines()[-1])
    ours = {name.partition(".")[2] or "__init__" for name in names if name.startswith("p2p_plain")}
    return ours, {name for name in names if not name.startswith("p2p_plain")}


@pytest.mark.parametrize(
    "words, modules",
    [
        (["--version"], COMMON),
        (["--help"], COMMON | {"signals", "usage"}),
        (["ping", "--help"], ASKING | {"events", "ping"}),
        (["ping", "127.0.0.1:1", "-c", "1"], ASKING | {"events", "ping"}),
        (["matrix", "--help"], ASKING | JUDGING),
        (["check", "127.0.0.1:1", "--within", "0"], ASKING | JUDGING),
        (["watch", "--help"], ASKING | JUDGING | {"panel", "terminal", "watch"}),
        (["tour", "--help"], TOUR),
    ],
)
def test_a_command_imports_its_own_modules_and_no_others(words, modules):
    ours, others = imported(AT_THE_END + THE_PROGRAM, *words)
    assert ours == modules
    assert not others & NEVER


def test_no_command_that_asks_a_node_imports_one():
    for command in set(cli.COMMANDS) - {"tour"}:
        ours, _ = imported(AT_THE_END + THE_PROGRAM, command, "--help")
        assert not ours & {"node", "overlay", "session", "listener", "run", "status"}, command


def test_the_version_is_told_without_a_parser_a_socket_or_a_thread():
    _, others = imported(AT_THE_END + THE_PROGRAM, "--version")
    assert not others & {"argparse", "json", "re", "selectors", "signal", "socket", "threading"}


def test_a_node_listens_before_it_has_imported_what_it_does_not_need():
    code = AT_THE_END + AT_LISTENING + THE_PROGRAM
    ours, others = imported(code, "--port", "0", "--bind", "127.0.0.1")
    assert ours == NODE
    assert not others & (NEVER | {"argparse", "gettext", "gzip", "shutil"})


def test_the_library_imports_a_node_when_it_is_asked_for_one():
    said = subprocess.check_output(
        [
            sys.executable,
            "-S",
            "-c",
            "import sys, p2p_plain\n"
            "assert 'p2p_plain.node' not in sys.modules\n"
            "from p2p_plain import *\n"
            "print(Node.__name__, PeerInfo.__name__, issubclass(UsageError, P2PError))\n"
            "assert p2p_plain.Node is sys.modules['p2p_plain.node'].Node\n"
            "try: p2p_plain.Nodes\n"
            "except AttributeError as error: print(error)",
        ],
        cwd=ROOT,
    )
    assert said.decode().splitlines() == [
        "Node PeerInfo True",
        "module 'p2p_plain' has no attribute 'Nodes'",
    ]
