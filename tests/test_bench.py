"""The benchmark runs, and its table has a line for each attack."""

import os
import subprocess
import sys

import pytest
from support import ROOT

BENCH = os.path.join(ROOT, "scripts", "bench.py")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="its attackers fork")
def test_the_siege_measures_a_good_peer_beside_each_attack():
    run = subprocess.run(
        [sys.executable, BENCH, "siege", "--rounds", "1", "--seconds", "0.2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=120,
    )
    assert (run.returncode, run.stderr) == (0, b"")
    lines = run.stdout.decode().splitlines()
    table = [line for line in lines if " ms " in line]
    assert len(table) == 7
    assert table[0].startswith("nothing")
    assert all(line.endswith("x") for line in table[1:])


@pytest.mark.parametrize("words", [["no-such-case"], ["--rounds", "0"], ["--seconds", "nan"]])
def test_what_cannot_be_meant_is_said(words):
    run = subprocess.run([sys.executable, BENCH] + words, stderr=subprocess.PIPE, timeout=60)
    assert run.returncode == 2
    assert b"Traceback" not in run.stderr
