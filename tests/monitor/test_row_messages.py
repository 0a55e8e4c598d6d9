"""Rows on the wire: each field is checked on arrival, and an error names it."""

import pytest

from p2p_plain.monitor.row_messages import (
    HEARSAY, LINK_FIELDS, MAX_LINKS, GetLinks, Links, encode_aged, encode_end_of_links, encode_kept,
    encode_links,
)
from p2p_plain.node.messages import parse
from tests.support.lines import MISSING, refused, said

ID = "01234567-89ab-4cde-8f01-23456789abcd"
OTHER = "ffffffff-ffff-4fff-bfff-ffffffffffff"


def test_getlinks_has_no_fields():
    assert isinstance(parse(said("getlinks")), GetLinks)


def link(**fields):
    return dict({"nodeid": OTHER}, **fields)


JUNK = [None, [], {}, [[]], True, 5, -1, 1.5, "", "x", "ok", "none", "192.0.2.1:6000", OTHER, "\x1b"]


@pytest.mark.parametrize("field", LINK_FIELDS)
def test_whatever_a_stranger_puts_into_a_field_is_read_or_left_out(field):
    for junk in JUNK:
        row = parse(said("links", nodeid=ID, links=[link(**{field: junk})]))
        for read in row.links:
            assert read.get(field, junk) == junk
        if not row.links or field not in row.links[0]:
            assert field in HEARSAY or row.wrong.startswith("links: " + field)


def test_a_row_of_the_matrix_is_read():
    row = [
        link(
            name="b",
            address="192.0.2.1:6000",
            direction="outbound",
            rtt_ms=0.5,
            rtt_p50_ms=1,
            rtt_max_ms=2,
            jitter_ms=0,
            dial="wrong-peer",
            dial_ms=None,
            up_s=10,
        ),
        link(rtt_ms=None, direction="none", dial="unknown"),
    ]
    line = said("links", nodeid=ID.upper(), name="a", age=1.5, lag_ms=0, links=row)
    assert parse(line) == Links(ID, tuple(row), "a", 1.5, 0.0, False, line)
    line = said("links", nodeid=ID, links=[])
    assert parse(line) == Links(ID, (), line=line)


def test_fields_that_we_do_not_know_end_on_arrival():
    """Neither the objects nor the bytes that are passed on have them."""
    line = said("links", nodeid=ID, later=[[]] * 9, links=[link(later=[[]] * 9, rtt_ms=1.5)], age=7)
    row = parse(line)
    assert row.links == (link(rtt_ms=1.5),)
    kept = encode_kept(row)
    assert b"later" not in kept
    assert parse(kept) == row._replace(line=kept, age=0.0)
    aged = encode_aged(ID, kept, 12.34)
    assert parse(aged[:-1]) == row._replace(line=aged[:-1], age=12.3)


def test_a_row_says_so_if_its_system_does_not_count_lost_packets():
    """A row that says nothing of it is of one that does, or of an older program, which has no ``up_s``."""
    for row, measures in (
        (Links(ID, (), up_s=5.0), True),
        (Links(ID, (), up_s=5.0, loss_unmeasured=True), False),
        (Links(ID, ()), False),
    ):
        line = encode_links(row)
        assert parse(line).measures_loss is measures
        assert (b"loss" in line) is row.loss_unmeasured


def test_a_nodeid_in_upper_case_is_the_same_node_in_a_link_too():
    line = said("links", nodeid=ID, links=[{"nodeid": OTHER.upper()}])
    assert parse(line).links[0]["nodeid"] == OTHER


def test_the_end_of_an_answer_to_getlinks_is_marked():
    line = encode_end_of_links(ID, 180.0)[:-1]
    assert parse(line) == Links(ID, (), end=True, line=line, stale_after=180.0)


@pytest.mark.parametrize(
    "field, wrong",
    [
        ("nodeid", [MISSING, None, "me"]),
        ("links", [MISSING, None, {}, "none", [link()] * (MAX_LINKS + 1)]),
        ("age", [-1, "1", True, []]),
        ("end", [None, 1, "true"]),
    ],
)
def test_a_row_with_a_wrong_field_is_refused(field, wrong):
    for value in wrong:
        fields = {"nodeid": ID, "links": [], field: value}
        assert refused(said("links", **fields)).startswith("links: %s is " % field)


@pytest.mark.parametrize(
    "field, wrong",
    [
        ("name", ["", 5, "a\nb", "x" * 65]),
        ("lag_ms", [-0.1, "1", False]),
        ("stale_after", [-1, "180", True]),
        ("probe_interval", [-1, "180", True]),
        ("changes", [-1, 1.5, None]),
    ],
)
def test_a_mistake_of_the_author_is_left_out_and_noted(field, wrong):
    """Whether it is an error depends on where the row comes from."""
    for value in wrong:
        row = parse(said("links", nodeid=ID, links=[link()], **{field: value}))
        assert getattr(row, field) is None
        assert row.links == (link(),)
        assert row.wrong.startswith("links: %s is " % field)


@pytest.mark.parametrize("wrong", [None, [], OTHER, {}, {"nodeid": None}, {"nodeid": "me"}])
def test_what_is_no_link_is_left_out_and_noted(wrong):
    row = parse(said("links", nodeid=ID, links=[link(), wrong, link()]))
    assert row.links == (link(), link())
    assert row.wrong.startswith("links: ")


@pytest.mark.parametrize(
    "field, wrong",
    [
        ("name", [None, "", "\x1b", 5, "x" * 65, " ", "\u2800", "\u3164"]),
        ("address", [None, 5, "host:80", "192.0.2.1"]),
        ("why", [None, 5, "\x1b", "x" * 65]),
    ],
)
def test_the_words_of_third_nodes_are_left_out_in_silence(field, wrong):
    for value in wrong:
        row = parse(said("links", nodeid=ID, links=[link(rtt_ms=1, **{field: value})]))
        assert (row.links, row.wrong) == ((link(rtt_ms=1),), "")


@pytest.mark.parametrize(
    "field, wrong",
    [
        ("direction", [None, "", "sideways", 5]),
        ("dial", [None, "", "maybe", "x" * 1000]),
        ("rtt_ms", [-1, "1", True]),
        ("rtt_p50_ms", [[]]),
        ("rtt_max_ms", [{}]),
        ("jitter_ms", [False]),
        ("dial_ms", ["fast"]),
        ("up_s", [-0.5]),
    ],
)
def test_a_wrong_measurement_is_left_out_and_noted_wherever_it_stands_in_the_row(field, wrong):
    for value in wrong:
        row = parse(said("links", nodeid=ID, links=[link(), link(**{field: value}), link()]))
        assert row.links == (link(),) * 3
        assert row.wrong.startswith("links: %s is " % field)


def test_a_row_with_everything_in_every_link_still_names_every_node():
    """A node that a row does not name would count as not connected."""
    links = tuple(
        link(
            nodeid="01234567-89ab-4cde-8f01-%012x" % number,
            name="\U0001f600" * 64,
            address="[2001:db8:1234:5678:9abc:def0:1234:%04x]:65535" % number,
            direction="outbound",
            rtt_ms=12345.678,
            rtt_p50_ms=12345.678,
            rtt_max_ms=12345.678,
            jitter_ms=12345.678,
            dial="unreachable",
            why="rejected",
            dial_ms=12345.678,
            up_s=1234567.8,
            lost=30,
            lost_why="protocol",
            lost_every_s=123.4,
            lost_quiet_s=123.4,
            busy_s=41.1,
        )
        for number in range(MAX_LINKS)
    )
    read = parse(encode_links(Links(ID, links, "a" * 64))[:-1])
    assert [one["nodeid"] for one in read.links] == [one["nodeid"] for one in links]
    needed = {"direction", "dial", "why", "rtt_ms", "rtt_p50_ms", "jitter_ms", "lost", "busy_s"}
    assert all(needed <= set(one) for one in read.links)
