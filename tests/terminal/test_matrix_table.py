"""The matrix on a terminal: every cell true, every line within the width, no name in command."""

import re

import pytest

from p2p_plain.common.outcomes import FAILURES, IN_WORDS, MARKS
from p2p_plain.monitor.view import View
from p2p_plain.terminal.matrix_table import draw
from p2p_plain.terminal.text import RED, columns_of, fit, shorten
from tests.support.faulty_network import HOSTILE, STALE, World, be_late

SGR = re.compile("\x1b\\[[0-9]+m")


def cells(world, width=200):
    """Return what the table shows, by number of source and destination (from 1)."""
    return cells_in(draw(world.view(), width))


def cells_in(lines):
    """Return what these lines of a table show, over all blocks."""
    found = {}
    columns = []
    for line in lines:
        words = line.split()
        if line.startswith("from\\to"):
            columns = [int(word) for word in words[1:] if word != "age"]
        elif columns and re.match(r" *\d+ \S", line):
            for column, word in zip(columns, words[2:]):
                found[int(words[0]), column] = word
    return found


def ages(world, width=200):
    """Return the end of each row, in the order of the sources."""
    return ages_in(draw(world.view(), width))


def ages_in(lines):
    """Return the end of each row in these lines of a table: its age stands in the last block."""
    start = max(i for i, line in enumerate(lines) if line.startswith("from\\to"))
    at = lines[start].index("  age") + 2
    return [line[at:] for line in lines[start + 1 :] if re.match(r" *\d+ \S", line)]


def test_a_network_that_is_well_is_all_numbers():
    world = World(3)
    world.rtt = {(0, 1): 0.3, (0, 2): 12.34, (1, 2): 1234.0}
    world.age = {0: 0.4, 1: 12.0, 2: 61.0}
    assert draw(world.view(), 80) == [
        "from\\to    1    2    3  age",
        "1 n0       -  0.3   12  0 s",
        "2 n1     0.3    - 1.2s  12 s",
        "3 n2      12 1.2s    -  1 min",
        "milliseconds, - itself",
    ]


@pytest.mark.parametrize("dial", sorted(FAILURES))
@pytest.mark.parametrize("dialer", [0, 1])
def test_a_failed_dial_shows_its_mark_although_a_connection_stands(dial, dialer):
    world = World(3)
    world.dialed_by(dialer, 1 - dialer)
    world.dial[0, 1] = dial
    found = cells(world)
    assert found[1, 2] == MARKS[dial]
    assert re.match(r"0\.\d$", found[2, 1])
    (legend,) = [line for line in draw(world.view(), 80) if MARKS[dial] + " " in line][-1:]
    assert "%s %s" % (MARKS[dial], IN_WORDS[dial].split()[0]) in legend or dial == "wrong-peer"


def test_a_stale_row_shows_nothing_of_what_it_says():
    world = World(4)
    world.age[1] = STALE + 60
    world.dial[1, 0] = "refused"
    found = cells(world)
    assert [found[2, column] for column in (1, 2, 3, 4)] == ["?", "-", "?", "?"]
    assert ages(world)[1] == "stale 4 min"
    assert not any("refused" in line for line in draw(world.view(), 80))


def test_one_dead_node_leaves_the_other_rows_as_they_are():
    world = World(6)
    before = cells(world)
    world.kill(2)
    after = cells(world)
    for (source, target), text in before.items():
        if 3 not in (source, target):
            assert after[source, target] == text
        elif source != target:
            assert after[source, target] == ("?" if source == 3 else "!T")


def test_a_row_that_a_refusal_has_overtaken_is_marked_gone():
    world = World(4)
    world.kill(1, "refused", since=100.0)
    assert ages(world)[1] == "gone 1 min"
    assert cells(world)[2, 1] == "?"


def test_the_failures_of_a_slow_observer_are_not_shown_as_failures():
    world = World(4)
    be_late(world, 1)
    found = cells(world)
    assert [found[2, column] for column in (1, 3, 4)] == ["?"] * 3
    assert found[1, 2] == "ok"
    assert ages(world)[1].startswith("late ")


def test_a_node_without_a_row_still_has_its_column_and_its_row():
    world = World(4)
    world.silent = {1}
    found = cells(world)
    assert re.match(r"0\.\d$", found[1, 2])
    assert found[2, 3] == "ok"  # the other end says who dialed
    assert found[2, 1] == "?"
    assert ages(world)[1] == "no row"


def test_what_can_be_dialed_and_is_not_connected_is_ok():
    world = World(4)
    world.disconnect(0, 1)
    found = cells(world)
    assert found[1, 2] == found[2, 1] == "ok"
    world.dial[0, 1] = "unknown"
    assert cells(world)[1, 2] == "?"


def test_a_node_started_anew_is_not_shown_twice():
    world = World(4)
    world.kill(1, "wrong-peer")
    lines = draw(world.view(), 80)
    assert not any(re.match(r" *\d n1", line) for line in lines)
    assert lines[-1].endswith("1 restarted, not shown")


def test_only_the_marks_that_occur_are_explained():
    world = World(4)
    assert draw(world.view(), 80)[-1] == "milliseconds, - itself"
    world.dial[0, 1] = "refused"
    assert draw(world.view(), 80)[-1] == "milliseconds, !R refused, - itself"


def test_what_is_unknown_for_too_long_has_a_mark_of_its_own():
    world = World(3)
    world.never_met(0, 1)
    assert cells(world)[1, 2] == cells(world)[2, 1] == "?"
    world.up_s = 1000.0
    assert cells(world)[1, 2] == cells(world)[2, 1] == "!?"
    assert "!? unknown for too long" in draw(world.view(), 80)[-1]
    assert RED in "".join(draw(world.view(), 80, colour=True))


def test_a_way_that_loses_packets_has_a_mark_in_its_own_direction():
    world = World(3)
    assert "*" not in "".join(draw(world.view(), 100))
    world.rtt[0, 1] = world.rtt[1, 0] = 0.4
    world.lost[0, 1] = {"loss_pct": 20.0, "loss_segs": 300, "loss_events": 40}
    shown = cells(world)
    assert (shown[1, 2], shown[2, 1]) == ("0.4*", "0.4")
    assert draw(world.view(), 100)[-1].endswith(", * packets lost")


def test_a_way_on_which_large_packets_are_lost_is_marked():
    """Like a failed dial: connections break there."""
    world = World(3)
    world.lost[0, 1] = {"big": "lost", "big_passed": 1400}
    shown = cells(world)
    assert shown[1, 2] == "!M" and shown[2, 1] != "!M"
    assert "!M large packets lost" in "".join(draw(world.view(), 100))


def test_no_rows_are_no_matrix():
    assert draw(View([], STALE), 80) == ["no rows: nothing is known"]


@pytest.mark.parametrize(
    "count, width",
    [(count, width) for count in (1, 2, 3, 30, 100) for width in (40, 80, 200)] + [(300, 80)],
)
def test_every_line_fits_and_every_pair_has_its_cell(count, width):
    world = World(count)
    if count > 2:
        world.kill(1)
        world.block_inbound(2)
        world.name[0] = "a-very-long-name-that-no-column-holds"
    lines = draw(world.view(), width)
    assert max(map(columns_of, lines)) <= width
    assert all(line == line.rstrip() for line in lines)
    assert len(cells_in(lines)) == count * count
    assert len(ages_in(lines)) == count
    if count <= 2 or (count == 30 and width == 200):
        assert sum(line.startswith("from\\to") for line in lines) == 1


@pytest.mark.parametrize("width", [0, 1, 20, 30])
def test_a_terminal_too_narrow_for_anything_breaks_nothing(width):
    assert len(cells(World(12), width)) == 144


def test_a_hundred_nodes_at_80_columns_are_few_blocks_of_many_columns():
    lines = draw(World(100).view(), 80)
    assert sum(line.startswith("from\\to") for line in lines) <= 8


@pytest.mark.parametrize("width", [60, 200])
def test_on_a_terminal_of_ascii_each_cell_is_under_its_number(width):
    """A name is escaped there, and takes the room of its escapes."""
    plain, escaped = World(9), World(9)
    plain.name[4], escaped.name[4] = "~" * 12, "\u4e1c\u4eac"
    drawn = draw(escaped.view(), width, False, "ascii")
    wanted = draw(plain.view(), width)
    assert drawn == [line.replace("~" * 12, r"\u4e1c\u4eac") for line in wanted]


def test_the_picture_is_ascii_if_the_names_are():
    world = World(6)
    world.block_inbound(3)
    be_late(world, 4)
    world.kill(2)
    "\n".join(draw(world.view(), 80)).encode("ascii")


@pytest.mark.parametrize("seed", range(5))
def test_colour_changes_nothing_but_colour(seed):
    world = World(6, seed)
    world.block_inbound(3)
    world.slow(1)
    world.kill(2)
    view = world.view()
    coloured = draw(view, 80, colour=True)
    assert [SGR.sub("", line) for line in coloured] == draw(view, 80)
    assert any("\x1b[31m!T\x1b[0m" in line for line in coloured)
    assert any("\x1b[33m80\x1b[0m" in line for line in coloured)
    assert all(line.count("\x1b[") % 2 == 0 for line in coloured)


def test_a_failure_is_never_painted_green():
    for dial in FAILURES:
        world = World(4)
        world.dial[0, 1] = dial
        coloured = "\n".join(draw(world.view(), 80, colour=True))
        assert "\x1b[31m%s\x1b[0m" % MARKS[dial] in coloured
        assert not re.search("\x1b\\[32m[!?]", coloured)


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize(
    "name", [HOSTILE, "x" * 5000, "\u202e" * 64, " ", "\u6f22\u5b57" * 30, "e\u0301" * 30, "%s"]
)
def test_what_a_node_calls_itself_cannot_play_with_the_terminal(name, width):
    world = World(12)
    world.name[2] = name
    lines = draw(world.view(), width)
    assert max(map(columns_of, lines)) <= width
    for line in lines:
        assert line.isprintable()
        line.encode("utf-8")
    ends = {columns_of(line[: line.index("  age") + 2]) for line in lines if "  age" in line}
    assert len(ends) == 1


def test_wide_characters_leave_the_columns_where_they_are():
    world = World(3)
    world.rtt = dict.fromkeys(world.rtt, 0.5)
    world.name = {0: "\u6f22\u5b57", 1: "e\u0301t\u00e9", 2: "plain"}
    rows = [line for line in draw(world.view(), 80) if re.match(r"\d ", line)]
    assert len({columns_of(re.sub("  [0-9]+ s$", "", line)) for line in rows}) == 1


@pytest.mark.parametrize(
    "text, width, short",
    [
        ("web-01", 6, "web-01"),
        ("web-01", 5, "web-~"),
        ("\u6f22\u5b57\u6f22", 6, "\u6f22\u5b57\u6f22"),
        ("\u6f22\u5b57\u6f22", 5, "\u6f22\u5b57~"),
        ("\u6f22\u5b57\u6f22", 4, "\u6f22~"),
        ("e\u0301e\u0301", 2, "e\u0301e\u0301"),
    ],
)
def test_a_name_is_cut_to_columns_and_not_to_characters(text, width, short):
    assert shorten(text, width) == short
    assert columns_of(fit(short, 10)) == 10
