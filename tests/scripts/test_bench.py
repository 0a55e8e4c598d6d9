"""The benchmark: every case runs, its lines have the promised shape, and its sums are right."""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from scripts.benchmark import accuracy, load
from scripts.benchmark.processes import ASYNCIO, OURS, RAW, Contestant, read_ps_time
from scripts.benchmark.results import WITHOUT_RAW, as_json, compare, report_if_busy
from scripts.benchmark.targets import Figure, at_least, at_most, figures
from tests.support import ROOT

pytestmark = pytest.mark.long

BENCH = os.path.join(ROOT, "scripts", "bench.py")
TINY = ("--rounds", "1", "--seconds", "0.05", "--peers", "10", "--nodes", "2,3")
COMPARED = re.compile(r" (raw|asyncio) +(?P<ratio>[\d.]+|inf)x +(?P=ratio)\.\.(?P=ratio)")
JUDGED = re.compile(r" [<>]= [\d.]+ +(met|NOT MET)$")

needs_linux = pytest.mark.skipif(not hasattr(os, "fork"), reason="its attackers fork")


def run_bench(*arguments):
    """The lines that it prints; it must not have complained."""
    run = subprocess.run(
        [sys.executable, BENCH] + list(arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=240,
    )
    assert (run.returncode, run.stderr) == (0, b"")
    return run.stdout.decode().splitlines()


@pytest.fixture(scope="module")
def runs():
    """All cases, and accuracy: at once, as they mostly wait and no figure counts here."""
    with ThreadPoolExecutor(2) as pool:
        accuracy = pool.submit(run_bench, "accuracy", "--seconds", "0.04")
        yield {"all": pool.submit(run_bench, *TINY), "accuracy": accuracy}


@needs_linux
def test_every_case_has_a_line_for_each_comparison(runs):
    head, columns, *lines, seconds = runs["all"].result()
    assert re.search(r"\d+ cores, .*Python 3\.\d+\.\d+", head)
    assert columns.split() == ["p2p_plain", "baseline", "ratio", "target"]
    assert re.match(r"\d+ s$", seconds)
    lines = [line for line in lines if not line.startswith("  (")]
    labels = [line[:38].strip() for line in lines if line[:38].strip()]
    wanted = figures([2, 3])
    assert sorted(labels) == sorted(figure.label for figure in wanted)
    compared = [figure for figure in wanted if figure.own is None]
    with_raw = [figure for figure in compared if figure.case not in WITHOUT_RAW]
    assert sum(bool(COMPARED.search(line)) for line in lines) == len(compared) + len(with_raw)
    targets = [target for figure in wanted for target in figure[-3:] if target is not None]
    assert sum(bool(JUDGED.search(line)) for line in lines) == len(targets)


@needs_linux
def test_json_has_an_object_for_each_comparison():
    found = [json.loads(line) for line in run_bench("start-up", "--rounds", "2", "--json")]
    assert [(one["figure"], one["against"]) for one in found] == [
        ("time", "raw"),
        ("time", "asyncio"),
        ("memory", "raw"),
        ("memory", "asyncio"),
    ]
    for one in found:
        assert one["p2p_plain"] > 0 and one["baseline"] > 0
        assert one["least"] <= one["ratio"] <= one["most"]
        assert "cores" in one["machine"]
    assert found[0]["target"] == "<= 2"
    assert found[3]["target"] is None and found[3]["met"] is None


@needs_linux
def test_commands_of_the_document_run():
    """All that ``BENCHMARK.rst`` shows, in small; the first is tried by the test of every case."""
    with open(os.path.join(ROOT, "scripts", "BENCHMARK.rst"), encoding="utf-8") as file:
        commands = re.findall(r"^    python3 scripts/bench\.py ?(.*)$", file.read(), re.M)
    assert commands[0] == "" and len(commands) == 6
    assert commands.pop(-3) == "accuracy"  # which has a test of its own
    small = ["--rounds", "1", "--seconds", "0.05", "--nodes", "2"]
    for command in commands[1:-2]:
        assert run_bench(*command.split(), *small)
    table = [line for line in run_bench(*commands[-2].split(), *small) if line.endswith("x")]
    assert len(table) == 6 and table[-1].startswith("2 processes")
    # The siege: a good peer beside nothing, and beside each attack.
    table = [line for line in run_bench(*commands[-1].split(), *small) if " ms " in line]
    assert len(table) == 7
    assert table[0].startswith("nothing")
    assert all(line.endswith("x") for line in table[1:])


@needs_linux
def test_accuracy_compares_with_the_network_or_says_why_not(runs):
    _, _, *lines, _ = runs["accuracy"].result()
    if lines[0].startswith("skipped: "):
        pytest.skip(lines[0])
    assert [line[:38].strip() for line in lines] == [
        "%s: %s" % (how, what)
        for how in ("idle", "busy")
        for what in ("p50 against ICMP", "p99 against ICMP", "p50 of both ends")
    ]
    assert all(re.search(r"<= \d+ us  (met|NOT MET)", line) for line in lines)


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
def test_wrong_usage_is_one_line(words):
    run = subprocess.run([sys.executable, BENCH] + words, stderr=subprocess.PIPE, timeout=60)
    assert run.returncode == 2
    assert b"Traceback" not in run.stderr
    assert run.stderr.splitlines()[-1].startswith((b"bench", b"bench.py"))


# -- sums -----------------------------------------------------------------------------------


def test_ratio_is_the_median_of_the_ratios_of_the_rounds():
    """In a round both contestants met the same disturbances."""
    found = {
        OURS: [{"x": 2.0}, {"x": 30.0}, {"x": 4.0}],
        RAW: [{"x": 1.0}, {"x": 10.0}, {"x": 1.0}],
        ASYNCIO: [{"x": 4.0}, {"x": 60.0}, {"x": 8.0}],
    }
    figure = Figure("case", "x", "label", "us", raw=at_most(2.5), asyncio=at_least(0.5))
    raw, other = compare(figure, found)
    assert (raw["against"], raw["p2p_plain"], raw["baseline"]) == (RAW, 4.0, 1.0)
    assert (raw["ratio"], raw["least"], raw["most"]) == (3.0, 2.0, 4.0)
    assert (raw["target"], raw["met"]) == ("<= 2.5", False)
    assert (other["ratio"], other["met"]) == (0.5, True)


def test_figure_with_a_target_of_its_own_is_not_compared():
    found = {OURS: [{"x": 0}, {"x": 0}, {"x": 1}], RAW: [{"x": 0}] * 3}
    (result,) = compare(Figure("case", "x", "label", "", own=at_most(0)), found)
    assert (result["against"], result["p2p_plain"], result["met"]) == (None, 0, True)


def test_target_is_missed_if_a_baseline_did_nothing():
    found = {OURS: [{"x": 5.0}], RAW: [{"x": 0.0}]}
    (result,) = compare(Figure("case", "x", "label", "/s", raw=at_most(3)), found)
    assert result["met"] is False


def test_accuracy_is_that_of_the_end_that_is_further_off():
    found = accuracy.Found(
        icmp=[50e-6] * 3, bare=[120e-6] * 3, nodes=[[60e-6] * 3, [60e-6, 60e-6, 300e-6]], p50=[80e-6, 30e-6]
    )
    p50, p99, ends = accuracy.compare("idle", found)
    assert (p50["p2p_plain"], p50["other"], p50["met"]) == (80e-6, 50e-6, True)
    assert (p99["p2p_plain"], p99["bare"], p99["met"]) == (300e-6, 120e-6, False)
    assert round(ends["off"] * 1e6) == 50 and not ends["met"]


def test_infinity_is_null_in_json():
    """JSON has no infinity."""
    found = {OURS: [{"x": float("inf")}], ASYNCIO: [{"x": 2.0}]}
    (result,) = compare(Figure("case", "x", "label", "s", asyncio=at_most(1)), found)
    line = as_json(result, "somewhere")
    assert json.loads(line)["ratio"] is None and "Infinity" not in line
    assert json.loads(line)["met"] is False


def test_load_that_took_nearly_a_core_is_reported(capsys):
    found = {OURS: [{"x busy": 0.3}], RAW: [{"x busy": 0.95}]}
    report_if_busy("throughput", found)
    assert capsys.readouterr().out == (
        "  (throughput, x: the load took 95 % of a core beside raw)\n"
    )


@pytest.mark.parametrize(
    "text, seconds",
    [("0:01.50", 1.5), ("00:02:03", 123.0), ("1-00:00:01", 86401.0), ("12:34:56", 45296.0)],
)
def test_times_of_ps_are_read_as_seconds(text, seconds):
    assert read_ps_time(text) == seconds


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc")
@pytest.mark.parametrize("kind", [OURS, RAW, ASYNCIO])
def test_contestant_answers_and_its_costs_are_known(kind):
    with Contestant(kind, sys.executable) as server, load.Peer(server.port) as peer:
        before = server.cpu()
        assert load.round_trips(peer, 0.2, pings=2)
        assert 0 < server.cpu() - before < 60
        assert server.memory() > 1000
        assert server.threads() >= 1
        assert server.events()[0]["event"] == "listening"
    assert server.process.poll() is not None


@needs_linux
def test_accuracy_with_a_node_that_does_not_start_is_one_line(tmp_path):
    """Nor is there a traceback on a machine that is too busy to answer."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\ntest \"$1\" = -V && echo Python 3.9\n")
    python.chmod(0o755)
    _, _, line, _ = run_bench("accuracy", "--seconds", "0.04", "--python", str(python))
    assert re.match("failed: the node on h1 does not start$|skipped: ", line)
