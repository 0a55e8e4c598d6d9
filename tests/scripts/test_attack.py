"""The attack kit: our node keeps what ``ATTACKS.rst`` promises, and a node that does not is found."""

import os
import re
import subprocess
import sys

import pytest

from tests.support import ROOT, reason_for_no_lab

pytestmark = pytest.mark.long

SCRIPT = os.path.join(ROOT, "scripts", "attack.py")
needs_lab = pytest.mark.skipif(bool(reason_for_no_lab()), reason=reason_for_no_lab())


def attack(*words):
    """The kit's exit code, stdout and stderr."""
    run = subprocess.run(
        [sys.executable, SCRIPT, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=120,
    )
    return run.returncode, run.stdout.decode(), run.stderr.decode()


def manual():
    with open(os.path.join(ROOT, "scripts", "ATTACKS.rst"), encoding="utf-8") as file:
        return file.read()


@needs_lab
def test_our_node_keeps_every_promise():
    """What takes minutes is left out."""
    code, out, err = attack("--short")
    assert (code, err) == (0, ""), out
    skipped = [line.split()[2] for line in out.splitlines() if line.startswith("skipped")]
    assert skipped == ["nodes-come-for-a-moment-and-vanish:"]


BROKEN_BY = {
    "three-nodes-dial-one-victim": "from p2p_plain.node import knocks; knocks.KNOCK_PAUSE = 0.01",
    "a-stranger-hears-who-we-are": "from p2p_plain.node.peer import Link;"
    "Link.is_discreet = property(lambda self: False, lambda self, value: None)",
    "churn-fills-the-log": "from p2p_plain.node import failures;"
    "failures.AT_ONCE = failures.MAX_REPORTED = 10 ** 9; failures.site = str",
}
"""Attacks, and what makes a node that they break."""


@needs_lab
def test_a_node_that_breaks_its_promises_is_found(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import sys\n%s\nfrom p2p_plain.cli import main\nsys.exit(main(sys.argv[3:]))\n"
        % "\n".join(BROKEN_BY.values())
    )
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nPYTHONPATH=. exec "%s" "%s" "$@"\n' % (sys.executable, wrong))
    python.chmod(0o755)
    code, out, err = attack("--short", "--python", str(python), *BROKEN_BY)
    assert (code, err) == (1, ""), out
    assert "0 of %d held, %d BROKEN" % (len(BROKEN_BY), len(BROKEN_BY)) in out


def test_every_promise_is_tried_and_every_attack_tries_one():
    code, out, _ = attack("--list")
    assert code == 0
    tried = {item for line in re.findall(r"^(B\S.*?)  +\S+$", out, re.M) for item in line.split(", ")}
    assert tried == set(re.findall(r"^(B\d+) ", manual(), re.M))


@pytest.mark.parametrize("words", ["no-such-attack", "--python /nowhere/python", "--quick"])
def test_wrong_usage_is_exit_code_2(words):
    code, out, err = attack(*words.split())
    assert (code, out) == (2, "")
    assert "Traceback" not in err


def test_where_no_network_can_be_made_that_is_said_in_one_line(tmp_path):
    """No ``ip`` and no ``nft``, say."""
    env = dict(os.environ, PATH=str(tmp_path))
    run = subprocess.run(
        [sys.executable, "-c", "import os; os.environ['PATH'] = ''; import runpy, sys;"
         "import laboratory.programs as p; p.shutil.which = lambda name: name if '/' in name else None;"
         "sys.argv[1:] = ['B11']; runpy.run_path(%r, run_name='__main__')" % SCRIPT],
        cwd=os.path.join(ROOT, "scripts"),
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=30,
    )
    assert (run.returncode, run.stdout) == (1, b"")
    assert run.stderr.startswith(b"cannot make a network to attack in: ")
    assert run.stderr.count(b"\n") == 1
