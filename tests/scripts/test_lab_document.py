"""``scripts/LABORATORY.rst`` is held to what it says: its commands run, and print what it shows."""

import json
import os
import re
import subprocess
import sys

import pytest

from scripts.laboratory import lab, steps  # noqa: F401  (lab declares the steps)
from tests.support import ROOT, reason_for_no_lab

pytestmark = pytest.mark.skipif(bool(reason_for_no_lab()), reason=reason_for_no_lab())

HOSTS = ["h1", "h2", "h3", "h4", "h5", "n1"]


@pytest.fixture(scope="module")
def document():
    with open(os.path.join(ROOT, "scripts", "LABORATORY.rst"), encoding="utf-8") as file:
        return file.read()


def blocks(document):
    """The literal blocks, without their indentation."""
    found = re.findall(r"::\n\n((?:    .*\n|\n)+)", document)
    return [re.sub("^    ", "", block, flags=re.M).strip("\n") for block in found]


def start(command):
    """A process that runs one of the document's commands, with this Python and no terminal."""
    words = re.sub(r"^python3 ", "'%s' " % sys.executable, command)
    return subprocess.Popen(
        ["sh", "-c", words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def ended_well(process):
    """What it printed."""
    out = process.communicate(timeout=120)[0].decode()
    assert process.returncode == 0, out
    return out


ROW = re.compile(r" \d+ s$")
"""How a row of the matrix ends: its age."""


def shape(lines):
    """The steps, the legend and the verdicts, sorted, without what differs from run to run."""
    changing = r"\(.*?\)|\b\d+\.\d+|\? stale or unknown, "
    without = [re.sub(changing, "", line) for line in lines if not ROW.search(line)]
    return sorted(" ".join(line.split()) for line in without)


@pytest.mark.long
def test_commands_run_and_the_example_shows_its_matrix(document):
    """The verdicts are the same whichever host is asked."""
    shown = blocks(document)
    commands = [block for block in shown if block.startswith("python3 ")]
    assert commands[0].endswith(" --example")
    asks = " ".join("'ask %s matrix --json'" % host for host in HOSTS)
    words = steps.split_words(commands[1].replace("\\\n", " "))
    assert "wait 21" in words
    # On a busy machine it takes longer: nodes that run late rightly count less of what they measure.
    patient = "agree broken saying 'slow to everyone' within 90"
    output = ended_well(start(commands[1].replace("wait 21", patient) + " " + asks))
    # The others at once, because they mostly wait.
    for process in [start(command) for command in commands[:1] + commands[2:]]:
        out = ended_well(process)
        if process.args[-1].endswith(" --example"):
            example = out
    taken = [line[15:] for line in example.splitlines() if "----" in line]
    assert taken == [*words[-6:], "end"]
    picture, answers = [], []
    for line in output.splitlines():
        if line.startswith("    {"):
            answers.append(json.loads(line))
        elif "--json" not in line:
            picture.append(line)
    # A busy machine may add a line: that a host ran late, say.
    assert set(shape(picture)) >= set(shape(shown[1].split("\n"))) - {"---- wait 21"}, output
    assert [line.split()[1] for line in picture if ROW.search(line)] == HOSTS
    assert len(answers) == len(HOSTS)
    verdicts = [line for line in shape(shown[1].split("\n")) if re.match(r"[hn]\d: ", line)]
    assert len(verdicts) == 3
    for answer in answers:
        assert set(shape(one["text"] for one in answer["verdicts"])) >= set(verdicts)


def test_table_has_every_step(document):
    table = document.split("\nSteps\n")[1].split("\nHosts are written")[0]
    words = set(re.findall(r"``(\w+)", table))
    assert words >= set(steps.STEPS)


def test_program_runs(document):
    code = next(block for block in blocks(document) if block.startswith("from laboratory"))
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=os.path.join(ROOT, "scripts"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
    )
    out = run.stdout.decode()
    assert run.returncode == 0, out
    assert re.match(r"a mesh after \d+\.\d s\nall nodes have noticed\n$", out)
