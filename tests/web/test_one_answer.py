"""Whether all is well: ``/cluster``, the page, the metrics, ``matrix``, ``check`` and ``watch`` agree."""

import json
import random
import re

import pytest

from p2p_plain.commands.guest import Guest, Snapshot
from p2p_plain.commands.watch_panel import Chosen, Known, Report, picture_of
from p2p_plain.common.outcomes import FAILURES, UNKNOWN
from p2p_plain.monitor.judge import Judgement
from p2p_plain.monitor.row_messages import encode_links
from p2p_plain.monitor.verdict import HARMLESS, KINDS, Kind
from tests.support.asked_node import FakeNode
from tests.support.faulty_network import STALE, World, be_late, random_world
from tests.support.http_client import get
from tests.support.page_node import PageNode


def answers(rows, serve, typed):
    """Return what each output says, by its name; ``rows`` begin with those of the asked node."""
    node = PageNode(rows)
    node.stale_after = lambda: STALE
    page = serve(node)
    cluster = get(page, "/cluster")
    said = {
        "/cluster": cluster.json()["ok"],
        "status": cluster.code == 200,
        "/matrix.json": get(page, "/matrix.json").json()["ok"],
        "/page.json": get(page, "/page.json").json()["ok"],
        "/metrics": b"\np2p_plain_network_ok 1\n" in get(page, "/metrics").body,
    }
    on_the_wire = [json.loads(encode_links(row).decode()) for row in rows]
    with FakeNode(on_the_wire, stale_after=STALE) as node:
        matrix = json.loads(typed("matrix", node.text, "--json")[1])
        said["matrix"] = matrix["ok"]
        code, out, _ = typed("check", node.text, "--json", "--within", "0", "--expect", "1")
        check = json.loads(out)
        known = Known(node.address)
        with Guest(node.address) as guest:
            known.learn(Report(Snapshot(guest.hello, guest.rows(), guest.stale_after), "", 0.0))
        header = picture_of(known, Chosen(), 0.0, 400, None, False, "utf-8")[1]
        said["watch"] = header.startswith("ok: ")
    judged = Judgement(rows, STALE)
    said["Judgement"] = judged.ok
    assert check["ok"] is (code == 0)
    if not judged.summary.pending:  # check also waits for those
        said["check"] = check["ok"]
    elif check["ok"]:
        said["check"] = "though %d are pending" % judged.summary.pending
    verdicts = [verdict.as_dict() for verdict in judged.verdicts]
    assert cluster.json()["verdicts"] == matrix["verdicts"] == check["verdicts"] == verdicts
    for mark in re.findall(r'"!.."', json.dumps(get(page, "/page.json").json()["cells"])):
        assert not judged.ok, mark
    return said


def agreed(rows, serve, typed):
    """Return the one answer that all outputs give."""
    said = answers(rows, serve, typed)
    assert len(set(said.values())) == 1, said
    return said["/cluster"]


def rows_of(world):
    """The rows as node 0 has them, its own first."""
    world.age[0] = 0.0
    return [world.row(x) for x in [0, *world.others(0)] if x not in world.silent]


def silent(world, x):
    world.silent = {x}
    for y in world.others(x):
        world.dial[y, x] = "unknown"
        world.dialed_by(x, y)


FAULTS = {
    "nothing": (lambda world: None, True),
    "dead": (lambda world: world.kill(2), False),
    "refused": (lambda world: world.kill(2, "refused"), False),
    "restarted": (lambda world: world.kill(2, "wrong-peer"), True),
    "inbound": (lambda world: world.block_inbound(2), False),
    "outbound": (lambda world: world.block_outbound(2), False),
    "cut off": (lambda world: world.cut([2], world.others(2)), False),
    "split": (lambda world: world.cut([0, 1, 2], [3, 4, 5]), False),
    "pair": (lambda world: world.cut([1], [2]), False),
    "never met": (lambda world: world.never_met(1, 2), False),
    "row overdue": (lambda world: world.age.update({2: 1000.0}), False),
    "slow": (lambda world: world.slow(2), True),
    "late": (lambda world: be_late(world, 2), True),
    "article": (lambda world: silent(world, 2), True),
    "older": (lambda world: world.be_older(2), True),
    "one way": (lambda world: world.dial.update({(1, 2): "timeout"}), False),
    "everywhere": (lambda world: world.dial.update(dict.fromkeys(world.dial, "timeout")), False),
}


@pytest.mark.parametrize("up_s", [5.0, 1000.0])
@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_every_output_gives_the_same_answer_to_every_fault(serve, typed, fault, up_s):
    world = World(6)
    break_it, ok = FAULTS[fault]
    world.up_s = up_s
    break_it(world)
    assert agreed(rows_of(world), serve, typed) is (ok or (fault == "never met" and up_s == 5.0))


@pytest.mark.parametrize("decade", range(5))
def test_every_output_gives_the_same_answer_in_networks_with_several_faults(serve, typed, decade):
    for seed in range(10 * decade, 10 * decade + 10):
        world, expected = random_world(seed)
        world.up_s = 1000.0
        ok = agreed(rows_of(world), serve, typed)
        if any(kind not in HARMLESS for kind, _ in expected):
            assert not ok, (seed, expected)


@pytest.mark.parametrize("decade", range(5))
def test_every_output_gives_the_same_answer_to_rows_of_every_kind(serve, typed, decade):
    """They contradict each other, are old, late, of the last version, or missing."""
    for seed in range(10 * decade, 10 * decade + 10):
        rng = random.Random(seed)
        world = World(rng.randrange(1, 9), seed)
        world.up_s = rng.choice([1.0, 100.0, 1000.0])
        odds = rng.choice([0.0, 0.05, 0.5])
        for pair in world.dial:
            if rng.random() < odds:
                world.dial[pair] = rng.choice((UNKNOWN, UNKNOWN) + FAILURES)
            if rng.random() < odds:
                world.disconnect(*pair)
            if rng.random() < odds:
                world.unmet.add(pair)
        for x in range(1, len(world)):
            if rng.random() < odds:
                rng.choice([world.be_older, world.silent.add])(x)
            if rng.random() < odds:
                world.age[x] = rng.choice([0.0, 100.0, 200.0, 400.0, 5000.0])
            if rng.random() < odds:
                world.lag[x] = 500.0
        rows = rows_of(world)
        ok = agreed(rows, serve, typed)
        judged = Judgement(rows, STALE)
        kinds = {verdict.kind for verdict in judged.verdicts}
        assert kinds <= set(KINDS)
        if Kind.WELL in kinds:
            assert ok and kinds == {Kind.WELL} and not judged.summary.gaps.overdue


@pytest.mark.parametrize("count, ok", [(1, True), (2, False)])
def test_a_node_alone_is_ok_and_two_of_which_nothing_is_known_are_not(serve, typed, count, ok):
    world = World(count)
    for x in range(count):
        be_late(world, x)
    assert agreed(rows_of(world), serve, typed) is ok
