"""Who is told of whom: once where that is enough, and again where it was not."""

import random

import pytest

from p2p_plain.common.address import Address
from p2p_plain.common.config import DIAL_TIMEOUT, MAX_ADDRESSES, TELL_PEERS
from p2p_plain.node import gossip
from p2p_plain.node.gossip import AGAIN_TOGETHER, Gossip

AGAIN = DIAL_TIMEOUT + AGAIN_TOGETHER
"""Seconds until something is told once more."""


class Known:
    """As much of a peer as gossip looks at."""

    def __init__(self, nodeid):
        self.nodeid = nodeid


class Town:
    """A node that meets peers, proves their addresses, and tells the others."""

    def __init__(self, names, newcomer=""):
        """``names`` are all new, or old acquaintances if there is a ``newcomer``."""
        self.gossip = Gossip(random.Random(7))
        self.now = 100.0
        self.peers = []
        for name in names:
            self.meet(name)
        if newcomer:
            self.settle()
            self.meet(newcomer)

    def meet(self, name):
        self.peers.append(Known(name))
        self.gossip.met(name, self.now)

    def lose(self, name):
        self.peers = [peer for peer in self.peers if peer.nodeid != name]
        self.gossip.gone(name)

    def prove(self, *names):
        """They turn out to live where they said; nothing is told yet."""
        for name in names:
            self.gossip.add(name, [address_of(name)])

    def told(self, everyone=True):
        """Whom we tell now, and of whom."""
        return {
            peer.nodeid: [one.nodeid for one in news]
            for peer, news in self.gossip.tell(self.peers, everyone, self.now)
        }

    def later(self, seconds):
        """Time passes; what the beat says about it."""
        self.now += seconds
        return self.gossip.beat(self.now)

    def settle(self):
        """All who are here are old acquaintances."""
        self.later(gossip.NEW_FOR)


def address_of(name):
    return Address("10.0.0.%d" % ord(name[0]), 6000)


def test_everyone_else_is_told_of_a_newcomer():
    town = Town("abc", newcomer="n")
    town.prove("n")
    assert town.told() == {"a": ["n"], "b": ["n"], "c": ["n"]}
    assert town.told() == {}


def test_of_two_newcomers_only_one_is_told_of_the_other():
    town = Town("ab")
    town.prove("a", "b")
    told = town.told()
    assert told in ({"a": ["b"]}, {"b": ["a"]})


def test_of_many_newcomers_each_pair_is_told_once():
    town = Town("abcdefgh")
    town.prove(*"abcdefgh")
    pairs = [frozenset((hearer, about)) for hearer, news in town.told().items() for about in news]
    assert len(pairs) == len(set(pairs)) == 8 * 7 // 2


def test_who_is_told_first_is_a_matter_of_luck():
    """Else one node would have to dial all others."""
    firsts = set()
    for seed in range(20):
        town = Town("ab")
        town.gossip._rng.seed(seed)
        town.prove("a", "b")
        firsts.update(town.told())
    assert firsts == {"a", "b"}


def test_the_other_one_is_told_when_a_dial_would_have_failed():
    """A firewall may let the one dial and not the other."""
    town = Town("ab")
    town.prove("a", "b")
    (first,) = town.told()
    (second,) = {"a", "b"} - {first}
    assert not town.later(AGAIN - 0.1)
    assert town.later(0.2)
    assert town.told() == {second: [first]}
    assert not town.later(AGAIN + 1)  # and that was all


def test_what_is_told_again_is_told_together():
    town = Town("abc")
    town.prove("a", "b")
    town.told()
    town.later(AGAIN_TOGETHER)
    town.prove("c")
    town.told()
    assert not town.later(DIAL_TIMEOUT - 0.1)
    assert town.later(0.2)
    again = {one for news in town.told().values() for one in news}
    assert "c" in again
    assert {"a", "b"} & again


def test_who_has_told_us_of_it_is_not_told():
    town = Town("ab", newcomer="n")
    town.gossip.knows("a", ["n"])
    town.prove("n")
    assert town.told() == {"b": ["n"]}
    assert town.later(AGAIN)
    assert town.told() == {}


def test_who_has_told_us_of_it_before_it_came_is_not_told():
    town = Town("a")
    town.gossip.knows("a", ["n"])
    town.meet("n")
    town.prove("n")
    assert town.told() == {}


def test_whom_a_newcomer_knows_is_told_of_it_only_later():
    """The newcomer has the time to dial; when it has, they have heard."""
    town = Town("ab", newcomer="n")
    town.gossip.knows("n", ["a"])
    town.prove("n")
    assert town.told() == {"b": ["n"]}
    town.later(AGAIN)
    assert town.told() == {"a": ["n"]}


def test_whom_it_has_dialed_meanwhile_is_not_told():
    town = Town("ab", newcomer="n")
    town.gossip.knows("n", ["a"])
    town.prove("n")
    town.told()
    town.gossip.knows("a", ["n"])  # it tells us itself
    town.later(AGAIN)
    assert town.told() == {}


def test_who_is_not_new_is_told_of_nobody_twice():
    town = Town("a")
    town.settle()
    for name in "no":
        town.meet(name)
        town.prove(name)
    assert town.told()["a"] in (["n", "o"], ["o", "n"])
    town.later(AGAIN)
    assert "a" not in town.told()


def test_a_few_are_told_and_the_rest_hear_it_from_them():
    names = [chr(code) for code in range(ord("a"), ord("a") + 20)]
    town = Town(names, newcomer="N")
    town.prove("N")
    first = town.told(everyone=False)
    assert len(first) == TELL_PEERS
    assert set(first) != set(names[:TELL_PEERS])  # a seed for which that is so: they are drawn
    town.later(AGAIN)
    second = town.told(everyone=False)
    assert len(second) == TELL_PEERS
    assert not set(first) & set(second)


def test_who_is_not_told_of_everyone_at_once_hears_of_the_rest_later():
    """Or is told of to the rest."""
    crowd = [str(number) for number in range(MAX_ADDRESSES + 20)]
    town = Town("a")
    town.settle()
    for name in crowd:
        town.meet(name)
    town.prove(*crowd)
    first = town.told()["a"]
    assert len(first) == MAX_ADDRESSES
    town.later(AGAIN)
    assert set(first) | set(town.told()["a"]) == set(crowd)


def test_who_is_gone_is_not_told_of():
    town = Town("ab", newcomer="n")
    town.prove("n")
    town.lose("n")
    assert town.told() == {}


def test_who_is_gone_is_not_told_of_again():
    town = Town("ab")
    town.prove("a", "b")
    town.told()
    town.lose("a")
    town.later(AGAIN)
    assert "b" not in town.told()


def test_who_comes_back_is_news_again():
    town = Town("ab")
    town.settle()
    for _ in range(2):
        town.meet("n")
        town.prove("n")
        assert town.told() == {"a": ["n"], "b": ["n"]}
        town.lose("n")


def test_the_first_news_is_told_at_once_and_the_next_with_the_beat():
    town = Town("abc")
    town.settle()
    assert town.gossip.add("a", [address_of("a")])
    town.told()
    assert not town.gossip.add("b", [address_of("b")])
    assert town.later(0.2)
    assert town.told() == {"a": ["b"], "c": ["b"]}
    assert not town.gossip.add("c", [address_of("c")])
    assert town.later(0.2)
    town.told()
    assert not town.later(0.2)
    assert town.gossip.add("a", [address_of("a")])


def test_a_node_with_two_addresses_is_told_with_both():
    town = Town("a", newcomer="n")
    addresses = [address_of("n"), Address("fd00::1", 6000)]
    town.gossip.add("n", addresses)
    ((_, news),) = town.gossip.tell(town.peers, True, town.now)
    assert [one.address for one in news] == addresses


def test_a_newcomer_may_name_any_number_of_acquaintances():
    town = Town("a")
    for number in range(10):
        town.gossip.knows("a", ["%d-%d" % (number, n) for n in range(100)])
    assert len(town.gossip._newcomers["a"].knows) == gossip.ACQUAINTANCES


@pytest.mark.parametrize("seconds, new", [(gossip.NEW_FOR - 0.1, 1), (gossip.NEW_FOR, 0)])
def test_what_newcomers_know_is_forgotten(seconds, new):
    town = Town("a")
    town.later(seconds)
    assert len(town.gossip._newcomers) == new
