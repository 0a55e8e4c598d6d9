"""Which nodes count: whoever says what, one liar is one liar."""

import pytest

from p2p_plain.monitor.belief import MOST_ALONE, MOST_NODES, believed, brief_nodes, counted
from p2p_plain.monitor.row_messages import Links
from tests.support import new_id

ME, A, B, C, X, Y, Z = (new_id() for _ in range(7))


def belief(named, peers=(A, B, C)):
    return believed(frozenset(peers), [ME], lambda source: named.get(source, []))


def test_peers_count_and_those_to_which_two_of_them_are_connected():
    found = belief({A: [X, Y], B: [X, ME]})
    assert found.sure == {ME, A, B, C, X}
    assert found.alone == {Y: A}


def test_rows_that_nobody_vouches_for_prove_nothing():
    found = belief({X: [A, Y], Y: [X, A]})
    assert found.sure == {ME, A, B, C}
    assert not found.alone


def test_a_chain_counts_by_the_word_of_its_first_node():
    assert belief({A: [X], X: [Y], Y: [Z]}).alone == {X: A, Y: A, Z: A}
    found = belief({A: [X], B: [X], X: [Y]})
    assert (X in found.sure, found.alone) == (True, {Y: X})


@pytest.mark.parametrize("through", ["its own row", "rows of others", "the row of a node that exists"])
def test_one_liar_makes_only_so_many_nodes_count(through):
    """It may send any row but those of our peers: also one of an honest node that only others have met."""
    invented = [new_id() for _ in range(250)]
    named = {A: [B, C], B: [A, X], C: [A]}
    named[A] += invented[:1] if through == "rows of others" else invented
    named[invented[0]] = invented
    if through == "the row of a node that exists":
        named[X] = invented
    found = belief(named)
    assert X in found.alone
    assert not found.sure.intersection(invented)
    assert len(found.alone) <= 1 + 2 * MOST_ALONE
    assert len(found.alone) + found.left_out == 251


def test_however_many_lie_only_so_many_nodes_count():
    peers = [new_id() for _ in range(200)]
    crowd = [new_id() for _ in range(1000)]
    found = belief(dict.fromkeys(peers[:50], crowd), peers)
    assert len(found.sure) <= MOST_NODES
    found = belief({peer: [new_id() for _ in range(30)] for peer in peers}, peers)
    assert len(found.sure) + len(found.alone) <= MOST_NODES
    assert found.sure.issuperset(peers)


def link(nodeid, **fields):
    return dict(fields, nodeid=nodeid)


def test_a_node_counts_that_has_had_a_connection_but_not_one_that_was_heard_of():
    own = Links(ME, (link(A, direction="inbound"), link(X, known_s=0.0)))
    row = Links(A, (link(Y, direction="none", known_s=50.0), link(Z, direction="none", known_s=0.0)))
    _, found = counted([own, row], own)
    assert found.alone == {Y: A}
    assert found.sure == {ME, A}
    rows, _ = counted([own, row, Links(Z, (link(A),))], own)
    assert [row.nodeid for row in rows] == [ME, A]
    assert [one["nodeid"] for one in rows[1].links] == [Y]


def test_nodes_are_old_by_our_own_word_or_by_that_of_two():
    own = Links(ME, (link(A, direction="inbound", up_s=5.0, known_s=9999.0), link(B, direction="inbound")))
    rows = [own]
    for peer in (A, B):
        others = [link(X, direction="inbound", up_s=5000.0), link(B, direction="inbound", up_s=9999.0)]
        others += [link(Y, direction="inbound", up_s=1e9)] if peer == A else []
        rows.append(Links(peer, tuple(others)))
    rows, found = counted(rows, own)
    assert brief_nodes(rows, own, found) == {Y}
