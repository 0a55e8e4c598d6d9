"""Paths that lose packets: each loss and each hole is named by cause, direction and figure, and nothing else is.

The nodes run on the oldest and the newest Python that are found here.  All must agree on the verdict;
after that they are watched for a while, and after the repair all must say that all is well.
"""

import json
import os
import re

import pytest

from tests.support import ROOT, reason_for_no_lab
from tests.support.labs import on_oldest_and_newest, run, side_by_side, wanted

LAB = os.path.join(ROOT, "scripts", "lab.py")
NODES = "--ping-interval 1 --ping-timeout 10 --probe-interval 1"

AT_ONCE = 8
"""Laboratories that run side by side: all of them."""

pytestmark = [
    pytest.mark.long,
    pytest.mark.once,
    pytest.mark.skipif(bool(reason_for_no_lab()), reason=reason_for_no_lab()),
]

NAMED = " within 80"
"""Mostly it takes 15 s: before one loss was seen, every tenth probe has a train."""

WELL = "agree well within 80"

FAULTS = {
    "hole 1400 from h1 to h2": (2, "hole about h1,h2", "packets over 1,400 bytes do not pass h1 -> h2 (MTU?)"),
    "hole 700 from h2 to h1": (2, "hole about h1,h2", "packets over 700 bytes do not pass h2 -> h1 (MTU?)"),
    "lose 5 from h1 to h2": (3, "loss about h1,h2", "h1 -> h2 loses"),
    "lose 20 to h3": (3, "loss about h3", "of what it is sent"),
    "lose 20 from h3": (3, "loss about h3", "of what it sends"),
}
"""By step: how many hosts, the one verdict that there is, and how its sentence goes."""

SLOW = ["narrow h2 64kbit, narrow h3 96kbit", "jitter h2 0-60ms, stall h3 0.5"]
"""Lines that lose nothing: TCP sends again what is only late, and some of the reports of that get lost."""


def played(fault):
    """What has come of a fault: the exit code and the output."""
    if fault in SLOW:
        hosts, steps = 3, ["mesh", *fault.split(", "), "only well 35"]
    else:
        hosts, verdict, text = FAULTS[fault]
        kind, about = verdict.split(" ", 1)
        steps = ["mesh", WELL, fault, "agree %s saying '%s'%s" % (verdict, text, NAMED)]
        steps += ["only %s 10 %s" % (kind, about), "repair", WELL]
    options = ["--json", "--node", NODES, "--hosts", str(hosts), *on_oldest_and_newest()]
    return run(LAB, *options, *steps)


@pytest.fixture(scope="module")
def results(request):
    with side_by_side(wanted(request, "fault"), played, AT_ONCE) as found:
        yield found


def verdicts(output):
    """What h1 said in the end of each step that asks."""
    records = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return [one["said"]["h1"]["verdicts"] for one in records if one.get("result") == "said"]


@pytest.mark.parametrize("fault", FAULTS)
def test_it_is_named_and_nothing_else_is_until_it_is_repaired(results, fault):
    code, output = results[fault].result()
    assert code == 0, output
    if fault.startswith("lose"):
        said = verdicts(output)[-2]  # the window is full by then
        (percent,) = re.findall(r" loses ([\d.]+) %", "; ".join(said))
        assert 0.5 < float(percent) / int(fault.split()[1]) < 1.7, said


@pytest.mark.parametrize("fault", SLOW)
def test_lines_that_are_only_slow_lose_nothing(results, fault):
    code, output = results[fault].result()
    assert code == 0, output
