"""One host loses packets: all nodes name it, the direction and the figure, and nothing else; then it is repaired.

On real network interfaces, with the oldest and the newest Python of this machine.
"""

import json
import subprocess
import sys

import pytest

from tests.scripts.test_lab import oldest_python
from tests.support import ROOT, reason_for_no_lab

pytestmark = [
    pytest.mark.long,
    pytest.mark.once,
    pytest.mark.skipif(bool(reason_for_no_lab()), reason=reason_for_no_lab()),
]

OPTIONS = "--ping-interval 1 --ping-timeout 10 --probe-interval 3"

PLAY = """
import json, re, sys, time
sys.path.insert(0, "scripts")
from laboratory.lab import Lab
from laboratory.network import SWITCHES
from laboratory.private_world import enter_private_world
from laboratory.programs import nft

def matrix(lab, host):
    ((code, said),) = lab._answers([host], ["matrix"])[host].values()
    return json.loads(said)

def wait_for(lab, wanted, seconds):
    deadline = time.monotonic() + seconds
    while not all(wanted(matrix(lab, host)) for host in lab.hosts):
        if time.monotonic() > deadline:
            raise SystemExit("still: %s" % matrix(lab, "h1")["verdicts"])
        time.sleep(0.5)

def kinds(said):
    return {verdict["kind"] for verdict in said["verdicts"]} - {"late", "slow", "slow-pair"}

def figure(said):
    found = [re.match("h3 loses ([0-9.]+) % of what (.*)$", v["text"]) for v in said["verdicts"]]
    return next(((float(m.group(1)), m.group(2)) for m in found if m), None)

way, phrase, options, python = sys.argv[1:]
drop = "numgen random mod 100 < 20 drop"
enter_private_world()
with Lab(4, node_options=options.split(), pythons={"": python}) as lab:
    lab.mesh()
    wait_for(lab, lambda said: "loss" not in kinds(said), 10)
    if way == "in":
        space, table = "h3", "inet loss"
        hook = "input priority 0"
        drop = "iifname eth0 " + drop
    else:
        space, table = SWITCHES, "netdev loss"
        hook = "ingress device h3 priority 0"
    nft(space, "add table " + table, "add chain %s c { type filter hook %s; }" % (table, hook),
        "add rule %s c %s" % (table, drop))
    lab.agree("loss", about=["h3"], saying="h3 loses", seconds=60)
    began = time.monotonic()
    all_named = set()
    while time.monotonic() - began < 30:
        for host in lab.hosts:
            all_named |= {(v["kind"], tuple(v["nodes"])) for v in matrix(lab, host)["verdicts"]}
        time.sleep(1)
    said = matrix(lab, "h1")
    nft(space, "delete table " + table)
    wait_for(lab, lambda said: kinds(said) <= {"well"}, 90)
    print(json.dumps({"figure": figure(said), "ok": said["ok"], "named": sorted(all_named)}))
"""


@pytest.mark.parametrize(
    "way, phrase, python",
    [("in", "it is sent", sys.executable), ("out", "it sends", oldest_python())],
    ids=["in", "out"],
)
def test_a_host_that_loses_20_percent_is_named_and_cleared(way, phrase, python):
    run = subprocess.run(
        [sys.executable, "-c", PLAY, way, phrase, OPTIONS, python],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr.decode()
    said = json.loads(run.stdout.decode().splitlines()[-1])
    percent, direction = said["figure"]
    assert direction == phrase and 12 <= percent <= 28
    assert said["ok"] is True
    assert {kind for kind, _ in said["named"]} - {"late", "slow", "slow-pair"} == {"loss"}
    assert len([nodes for kind, nodes in said["named"] if kind == "loss"]) == 1
