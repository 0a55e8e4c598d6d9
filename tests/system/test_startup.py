"""No command waits for the imports of another one.

In the single file an import costs most, because Python compiles it at every start.
"""

import json
import subprocess
import sys

import pytest

from tests.support import PATIENCE, ROOT

A_NODE = {"p2p_plain.node.%s" % name for name in ("listener", "node", "overlay", "session")}

NEVER = {"asyncio", "concurrent.futures", "dataclasses", "decimal", "email", "http", "inspect"}
NEVER |= {"logging", "multiprocessing", "secrets", "ssl", "subprocess", "tempfile", "typing"}
NEVER |= {"encodings.idna", "unicodedata", "unittest", "urllib", "uuid", "zipfile"}
"""Modules of the standard library that only the page or an error needs."""

AT_THE_END = """
import atexit, json, sys
before = set(sys.modules)
atexit.register(lambda: print(json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr))
"""

AT_LISTENING = """
import os, signal
from p2p_plain.common import program
def told(self, event):
    if event["event"] == "listening":
        print(json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr)
        sys.stderr.flush()
        os._exit(0)
program.Printer.event = told
"""

THE_PROGRAM = """
from p2p_plain import cli
sys.exit(cli.main(sys.argv[1:]))
"""


def imported(code, *words):
    """The names of the modules that were imported: ours, and others."""
    run = subprocess.run(
        [sys.executable, "-S", "-c", code, *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
    )
    names = json.loads(run.stderr.decode().splitlines()[-1])
    ours = {name for name in names if name.startswith("p2p_plain")}
    return ours, {name for name in names if not name.startswith("p2p_plain")}


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["--help"],
        ["ping", "127.0.0.1:1", "-c", "1"],
        ["matrix", "--help"],
        ["check", "127.0.0.1:1", "--within", "0"],
        ["watch", "--help"],
    ],
)
def test_a_command_that_runs_no_node_imports_none(words):
    ours, others = imported(AT_THE_END + THE_PROGRAM, *words)
    assert not ours & A_NODE
    assert not others & NEVER


def test_a_node_without_a_page_imports_neither_page_nor_tour():
    code = AT_THE_END + AT_LISTENING + THE_PROGRAM
    ours, others = imported(code, "--port", "0", "--bind", "127.0.0.1")
    assert ours > A_NODE
    assert not any(name.startswith(("p2p_plain.web.", "p2p_plain.tour.")) for name in ours)
    assert not others & (NEVER | {"gzip"})


def test_the_articles_node_imports_nothing_that_stands_above_it():
    ours, others = imported(AT_THE_END + "import p2p_plain.node.__main__")
    assert ours > A_NODE
    assert "p2p_plain.common.event_types" not in ours  # for type checkers
    floors = ("p2p_plain.common", "p2p_plain.node")
    assert {name for name in ours if not name.startswith(floors)} == {"p2p_plain"}
    assert not others & NEVER


def test_the_library_imports_a_node_when_a_program_uses_it():
    said = subprocess.check_output(
        [
            sys.executable,
            "-S",
            "-c",
            "import sys, p2p_plain\n"
            "assert 'p2p_plain.node.node' not in sys.modules\n"
            "from p2p_plain import *\n"
            "print(Node.__name__, PeerInfo.__name__, issubclass(UsageError, P2PError))\n"
            "assert p2p_plain.Node is sys.modules['p2p_plain.full_node'].Node\n"
            "try: p2p_plain.Nodes\n"
            "except AttributeError as error: print(error)",
        ],
        cwd=ROOT,
    )
    assert said.decode().splitlines() == [
        "Node PeerInfo True",
        "module 'p2p_plain' has no attribute 'Nodes'",
    ]


def test_garbage_is_looked_for_again_once_a_node_runs():
    """``__main__`` disables that while modules are imported."""
    code = (
        "import gc, os, runpy, sys\n"
        "from p2p_plain.common import program\n"
        "def told(self, event):\n"
        "    print(gc.isenabled(), file=sys.stderr, flush=True)\n"
        "    os._exit(0)\n"
        "program.Printer.event = told\n"
        "runpy.run_module('p2p_plain', run_name='__main__')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, "--port", "0", "--bind", "127.0.0.1"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
    )
    assert run.stderr == b"True\n"
