"""A probe that asks more than who is there: what a monitor can have it ask, and in which order."""

from threading import Event

import pytest

from p2p_plain.common.config import Config
from p2p_plain.node import messages, node
from p2p_plain.node.hooks import Hooks
from p2p_plain.node.peer import Questions
from tests.support import RawListener, RawPeer, wait_until

ASKED = 3


class Pings(Questions):
    """Asks one ping after the other."""

    def __init__(self, told, seconds):
        self.told, self.seconds, self.asked = told, seconds, 0

    def ask(self, now):
        if self.asked == ASKED:
            return None
        self.asked += 1
        self.deadline = now + self.seconds
        return [messages.PING]

    def begin(self, link, now):
        self.told.append("begin")
        return self.ask(now)

    def answered(self, link, now):
        self.told.append("answered")
        return self.ask(now)

    def unanswered(self, link, now):
        self.told.append("unanswered")
        return self.ask(now)

    def over(self, link, now):
        self.told.append("over")


class Curious(Hooks):
    """A monitor that asks."""

    def __init__(self, seconds):
        self.told, self.ends, self.over, self.seconds = [], [], Event(), seconds

    def probe_found(self, link, nodeid, now):
        self.told.append("found")
        return Pings(self.told, self.seconds)

    def dial_ended(self, end, now):
        if end.probe:
            self.told.append(end.outcome)


@pytest.fixture
def probed():
    """Make a node, and the end of a connection on which it probes us."""
    made = []

    def make(seconds):
        hooks = Curious(seconds)
        ours = type("Node", (node.Node,), {"_make_hooks": lambda self, rng: hooks})(Config(port=0))
        ours.start()
        home = RawListener()
        peer = RawPeer.dial(ours)
        made.extend((ours.stop, home.sock.close, peer.sock.close))
        peer.become_peer(port=home.port)
        stranger = home.accept(peer.nodeid)
        made.append(stranger.sock.close)
        assert stranger.hear_any()["probe"]
        stranger.hello()
        return hooks, stranger

    yield make
    for end in made:
        end()


def test_it_asks_until_nothing_is_left_and_closes(probed):
    """The outcome is known at the hello; a slow conversation holds nothing up."""
    hooks, stranger = probed(seconds=60)
    assert stranger.hear_any() == {"msgtype": "ping"}
    assert hooks.told == ["found", "begin", "ok"]
    for _ in range(ASKED - 1):
        stranger.say("pong")
        assert stranger.hear_any() == {"msgtype": "ping"}
    stranger.say("pong")
    assert stranger.hear_to_the_end() == []
    wait_until(lambda: hooks.told[3:] == ["answered"] * ASKED + ["over"])


def test_it_goes_on_where_no_answer_comes(probed):
    """Loss or a hole in the path is what a monitor wants to know."""
    hooks, stranger = probed(seconds=0.05)
    assert stranger.hear_to_the_end() == [{"msgtype": "ping"}] * ASKED
    wait_until(lambda: hooks.told[3:] == ["unanswered"] * ASKED + ["over"])


def test_other_words_are_no_answer(probed):
    """A node may say what it likes to a guest."""
    hooks, stranger = probed(seconds=60)
    stranger.hear("ping")
    stranger.say("addr", peers=[])
    stranger.say("unheard-of")
    assert stranger.answers_ping()
    assert "answered" not in hooks.told
    stranger.sock.close()
    wait_until(lambda: hooks.told[-1] == "over")
