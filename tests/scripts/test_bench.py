"""The benchmark runs: every case once, tiny; its lines have the promised shape; its sums are right."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.support import ROOT

sys.path.append(os.path.join(ROOT, "scripts"))  # as when it is run, for what it imports itself

from scripts import bench  # noqa: E402

ASYNCIO, OURS, RAW = bench.ASYNCIO, bench.OURS, bench.RAW
Contestant, read_ps_time = bench.processes.Contestant, bench.processes.read_ps_time
Figure, at_least, at_most = bench.Figure, bench.targets.at_least, bench.targets.at_most

BENCH = os.path.join(ROOT, "scripts", "bench.py")
TINY = ("--rounds", "1", "--seconds", "0.05", "--peers", "10", "--nodes", "2,3")
COMPARED = re.compile(r" (raw|asyncio) +(?P<ratio>[\d.]+|inf)x +(?P=ratio)\.\.(?P=ratio)")
JUDGED = re.compile(r" [<>]= [\d.]+ +(met|NOT MET)$")

needs_linux = pytest.mark.skipif(not hasattr(os, "fork"), reason="its attackers fork")


def run_bench(*arguments):
    """What it prints, in lines; it must not have complained."""
    run = subprocess.run(
        [sys.executable, BENCH] + list(arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=240,
    )
    assert (run.returncode, run.stderr) == (0, b"")
    return run.stdout.decode().splitlines()


@needs_linux
def test_every_case_has_a_line_for_each_comparison():
    head, columns, *lines, seconds = run_bench(*TINY)
    assert re.search(r"\d+ cores, .*Python 3\.\d+\.\d+", head)
    assert columns.split() == ["p2p_plain", "baseline", "ratio", "target"]
    assert re.match(r"\d+ s$", seconds)
    lines = [line for line in lines if not line.startswith("  (")]
    labels = [line[:38].strip() for line in lines if line[:38].strip()]
    figures = bench.targets.figures([2, 3])
    assert sorted(labels) == sorted(figure.label for figure in figures)
    compared = [figure for figure in figures if figure.own is None]
    with_raw = [figure for figure in compared if figure.case not in bench.WITHOUT_RAW]
    assert sum(bool(COMPARED.search(line)) for line in lines) == len(compared) + len(with_raw)
    targets = [target for figure in figures for target in figure[-3:] if target is not None]
    assert sum(bool(JUDGED.search(line)) for line in lines) == len(targets)


@needs_linux
def test_as_json_a_machine_can_read_it():
    told = [json.loads(line) for line in run_bench("start-up", "--rounds", "2", "--json")]
    assert [(one["figure"], one["against"]) for one in told] == [
        ("time", "raw"),
        ("time", "asyncio"),
        ("memory", "raw"),
        ("memory", "asyncio"),
    ]
    for one in told:
        assert one["p2p_plain"] > 0 and one["baseline"] > 0
        assert one["least"] <= one["ratio"] <= one["most"]
        assert "cores" in one["machine"]
    assert told[0]["target"] == "<= 2"
    assert told[3]["target"] is None and told[3]["met"] is None


@needs_linux
def test_the_siege_measures_a_good_peer_beside_each_attack():
    lines = run_bench("siege", "--rounds", "1", "--seconds", "0.2")
    table = [line for line in lines if " ms " in line]
    assert len(table) == 7
    assert table[0].startswith("nothing")
    assert all(line.endswith("x") for line in table[1:])


@pytest.mark.parametrize(
    "words",
    [
        ["no-such-case"],
        ["--rounds", "0"],
        ["--seconds", "nan"],
        ["--nodes", "8,many"],
        ["--nodes", "1"],
        ["--peers", "0"],
        ["--python", "/no/such/python", "start-up"],
    ],
)
def test_what_cannot_be_meant_is_said_in_a_line(words):
    run = subprocess.run([sys.executable, BENCH] + words, stderr=subprocess.PIPE, timeout=60)
    assert run.returncode == 2
    assert b"Traceback" not in run.stderr
    assert run.stderr.splitlines()[-1].startswith((b"bench", b"bench.py"))


# -- sums -----------------------------------------------------------------------------------


def test_a_ratio_is_the_median_of_the_rounds_ratios_and_not_of_the_medians():
    """In a round both have had the same weather."""
    found = {
        OURS: [{"x": 2.0}, {"x": 30.0}, {"x": 4.0}],
        RAW: [{"x": 1.0}, {"x": 10.0}, {"x": 1.0}],
        ASYNCIO: [{"x": 4.0}, {"x": 60.0}, {"x": 8.0}],
    }
    figure = Figure("case", "x", "label", "us", raw=at_most(2.5), asyncio=at_least(0.5))
    raw, other = bench.results(figure, found)
    assert (raw["against"], raw["p2p_plain"], raw["baseline"]) == (RAW, 4.0, 1.0)
    assert (raw["ratio"], raw["least"], raw["most"]) == (3.0, 2.0, 4.0)
    assert (raw["target"], raw["met"]) == ("<= 2.5", False)
    assert (other["ratio"], other["met"]) == (0.5, True)


def test_what_has_a_target_of_its_own_is_compared_with_nobody():
    found = {OURS: [{"x": 0}, {"x": 0}, {"x": 1}], RAW: [{"x": 0}] * 3}
    (result,) = bench.results(Figure("case", "x", "label", "", own=at_most(0)), found)
    assert (result["against"], result["p2p_plain"], result["met"]) == (None, 0, True)


def test_a_contestant_that_did_nothing_at_all_has_lost():
    found = {OURS: [{"x": 5.0}], RAW: [{"x": 0.0}]}
    (result,) = bench.results(Figure("case", "x", "label", "/s", raw=at_most(3)), found)
    assert result["met"] is False


def test_what_never_came_to_an_end_is_null_to_machines():
    """JSON has no infinity."""
    found = {OURS: [{"x": float("inf")}], ASYNCIO: [{"x": 2.0}]}
    (result,) = bench.results(Figure("case", "x", "label", "s", asyncio=at_most(1)), found)
    line = bench.as_json(result, "somewhere")
    assert json.loads(line)["ratio"] is None and "Infinity" not in line
    assert json.loads(line)["met"] is False


def test_a_load_that_took_nearly_a_core_is_told(capsys):
    found = {OURS: [{"x busy": 0.3}], RAW: [{"x busy": 0.95}]}
    bench.tell_if_busy("throughput", found)
    assert capsys.readouterr().out == (
        "  (throughput, x: the load took 95 % of a core beside raw)\n"
    )


@pytest.mark.parametrize(
    "text, seconds",
    [("0:01.50", 1.5), ("00:02:03", 123.0), ("1-00:00:01", 86401.0), ("12:34:56", 45296.0)],
)
def test_the_clock_of_ps_is_read_as_seconds(text, seconds):
    assert read_ps_time(text) == seconds


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc")
@pytest.mark.parametrize("kind", [OURS, RAW, ASYNCIO])
def test_a_contestant_is_a_process_that_answers_and_whose_costs_are_known(kind):
    load = bench.cases.load
    with Contestant(kind, sys.executable) as server, load.Peer(server.port) as peer:
        before = server.cpu()
        assert load.round_trips(peer, 0.2, pings=2)
        assert 0 < server.cpu() - before < 60
        assert server.memory() > 1000
        assert server.threads() >= 1
        assert server.events()[0]["event"] == "listening"
    assert server.process.poll() is not None
