"""Two connections that say one nodeid: is one node at both ends, or do two programs claim to be it?

Nodeids are no secret, and nothing proves them.  So possession counts: the connection that has the
nodeid's seat keeps it, and the other one is its *rival*.  Most rivals are harmless: a node was given two
names of this one.  But somebody may pretend to be another node, and a machine that was resumed twice
from one snapshot runs the same node twice.  The user should hear of that.

The node that has the seat knows which of the two it is.  So this node asks it, in a ping, about the
*token* of the rival connection: random digits that its dialer has said in the hello.  Only a node that
has said that token to this node, or heard it from this node, is at both ends.

The pong of an older program does not say.  Then the rival itself shows it: a node that is at both ends
says ``bye`` on the second connection, and any other program waits to be let in.

``membership`` owns it.  No sockets and no threads; the clock is passed in.
"""

from collections import OrderedDict
from threading import Lock

from ..common.address import Address
from ..common.events import INFO, Events
from ..common.typing import Callable, Dict, List, Optional, Set, Tuple
from . import messages
from .address_book import AddressBook
from .messages import Hello, Pong
from .peer import INBOUND, OVER, Link, Peer, claimed_by

RIVAL_PATIENCE = 1.0
"""Seconds that a rival connection is kept open until the peer has answered.  It has no seat meanwhile."""

QUESTIONS = 8
"""Rivals of one peer that it is asked about at the same time; further ones are refused at once."""

MAX_PLACES = 16
"""Further addresses of a peer that are remembered, as it has confirmed them."""

MAX_TOKENS = 1024
"""Tokens that are remembered of each kind.  They are asked for within seconds."""

AGAIN_AFTER = 60.0
"""Seconds until a conflict about the same nodeid is reported again, if it is with another host."""

SAME_AGAIN_AFTER = 600.0
"""The same if it is with the same host."""

AT_ONCE = 8
"""Conflicts that are reported within ``AGAIN_AFTER``, of all nodeids together.  Without a bound a stranger
who knows the nodeids of all peers could fill the log."""

MAX_REPORTED = 1024
"""Nodeids whose last reported conflict is remembered."""

MOST_REPEATS = 6
"""How often a question is asked again while the answer is ``pending``: each time after a tick and a round
trip.  Our hello on the rival connection arrives within one."""

SAID, HEARD, PENDING, UNKNOWN = "said", "heard", "pending", "unknown"
"""What a node knows of a token: it has said it to the node that asks, heard it from it, said it where no
hello has come back yet, or none of these."""


class Question:
    """One rival, and what is known about it.  Under the lock of ``Rivals``."""

    def __init__(self, link: Link, where: Address, stays: bool) -> None:
        self.link = link
        self.stays = stays
        """False if it is closed at once, so that it does not show what it wants."""
        self.token = link.heard_token if link.direction == INBOUND else link.token
        """``None`` if a program that knows only the article has dialed."""
        self.where = where
        self.expected = SAID if link.direction == INBOUND else HEARD
        """What the holder of the seat knows of the token if it is at both ends."""
        self.asked = False
        self.again = MOST_REPEATS
        """How many more times it may be asked."""
        self.answered = False
        self.answer: Optional[str] = None
        """``None`` also if the holder's program does not know the question."""
        self.spoke = False
        """True once the rival has said anything but ``bye`` after its hello."""
        self.over = False
        self.withdrew = False
        """True once the rival has said ``bye`` itself."""

    def verdict(self) -> Optional[bool]:
        """True if one node is at both ends, false if two claim its nodeid, ``None`` if not known yet."""
        if not self.answered:
            return None
        if self.answer == PENDING and self.link.first is not None:
            # A member's token came under a seal, so only the holder can have said it.  Somebody on the way
            # holds our hello back.
            return self.expected == SAID
        if self.answer is not None:
            return self.answer == self.expected
        if self.spoke or not self.stays:
            return False
        return self.withdrew if self.over else None


class Rivals:
    """The tokens and the rivals of one node.  Any thread may call any method."""

    def __init__(self, book: AddressBook, events: Events, clock: Callable[[], float]) -> None:
        # Immutable; each has its own lock.
        self._book, self._events, self._clock = book, events, clock
        self._lock = Lock()
        # Guarded by _lock.  A leaf: nothing else is called while it is held.
        self._said: OrderedDict[str, str] = OrderedDict()
        self._heard: OrderedDict[str, str] = OrderedDict()
        """By token, the nodeid at the other end; the oldest first.  Strangers can fill only the second."""
        self._questions: Dict[Peer, List[Question]] = {}
        """By the peer that has the seat, the oldest first."""
        self._reported: OrderedDict[str, Tuple[float, str]] = OrderedDict()
        """By nodeid: when a conflict was reported, and about which host; the oldest first."""
        self._conflicts = 0

    # -- tokens -------------------------------------------------------------------------

    def note_said(self, token: str, nodeid: str = "") -> None:
        """Note that we say ``token`` on a connection that we dial, and later which node is there."""
        with self._lock:
            _note(self._said, token, nodeid)

    def note_heard(self, token: Optional[str], nodeid: str) -> None:
        """Note that a node that dials us says ``token``."""
        if token:
            with self._lock:
                _note(self._heard, token, nodeid)

    def is_ours(self, token: Optional[str]) -> bool:
        """True if we have said ``token``: the connection on which we hear it is one of our own."""
        with self._lock:
            return token is not None and token.lower() in self._said

    def answer_to(self, nodeid: str, token: str) -> str:
        """Return what we know of a token on a connection with ``nodeid``, which asks."""
        with self._lock:
            token = token.lower()
            if self._heard.get(token) == nodeid:
                return HEARD
            found = self._said.get(token)
            if found == "":
                return PENDING
            return SAID if found == nodeid else UNKNOWN

    # -- rivals -------------------------------------------------------------------------

    def begin(self, holder: Peer, link: Link, hello: Hello, stays: bool) -> bool:
        """Have ``holder`` asked whether it is at the other end of ``link`` too; False if too many wait.

        ``stays`` is True if the link is kept open for the answer.
        """
        where = claimed_by(link, hello) or link.remote
        if where == holder.address:  # both are on one host, or behind one router
            where = link.remote
        with self._lock:
            theirs = self._questions.setdefault(holder, [])
            if len(theirs) >= QUESTIONS:
                return False
            theirs.append(Question(link, where, stays))
            return True

    def question_for(self, holder: Peer) -> Optional[bytes]:
        """Return the ping that asks ``holder`` the next question; ``None`` if any ping will do."""
        with self._lock:
            for question in self._questions.get(holder, ()):
                if not question.asked:
                    question.asked = True
                    return None if question.token is None else messages.encode_question(question.token)
            return None

    def answered(self, holder: Peer, pong: Pong) -> bool:
        """Note a pong of ``holder``, and what it says about a token; True if there is more to ask."""
        with self._lock:
            theirs = self._questions.get(holder)
            if theirs is None:  # nearly always
                return False
            for question in theirs:
                if not question.asked or question.answered or pong.token not in (None, question.token):
                    continue
                if pong.known == PENDING and question.again:
                    question.again -= 1
                    question.asked = False
                else:
                    question.answered, question.answer = True, pong.known
        self._judge(holder)
        with self._lock:
            return any(not question.asked for question in self._questions.get(holder, ()))

    def spoke(self, link: Link) -> None:
        """Note that a rival has said more than hello and ``bye``: it wants the seat."""
        with self._lock:
            found = self._find_locked(link)
            if found is not None:
                found[1].spoke = True
        if found is not None:
            self._judge(found[0])

    def over(self, link: Link) -> None:
        """Note the end of a rival connection."""
        with self._lock:
            found = self._find_locked(link)
            if found is not None:
                found[1].over, found[1].withdrew = True, link.said_bye
        if found is not None:
            self._judge(found[0])

    def forget(self, holder: Peer) -> None:
        """Forget the questions for a peer that is gone: nobody can answer them any more."""
        with self._lock:
            self._questions.pop(holder, None)

    def conflicts(self) -> int:
        """Return how often two programs have claimed one nodeid, since the start."""
        with self._lock:
            return self._conflicts

    def conflict(self, nodeid: str, name: str, address: Optional[Address], other: Address) -> None:
        """Report that the program at ``other`` claims to be ``nodeid`` as well."""
        now = self._clock()
        with self._lock:
            self._conflicts += 1
            at, host = self._reported.get(nodeid, (float("-inf"), ""))
            if now - at < (SAME_AGAIN_AFTER if host == other.host else AGAIN_AFTER):
                return
            if sum(now - at < AGAIN_AFTER for at, _ in self._reported.values()) >= AT_ONCE:
                return
            self._reported[nodeid] = now, other.host
            self._reported.move_to_end(nodeid)
            if len(self._reported) > MAX_REPORTED:
                self._reported.popitem(last=False)
        here = "" if address is None else str(address)
        self._events.emit("conflict", nodeid=nodeid, name=name, address=here, other=str(other))
        text = "%s %s: another program at %s says that it is this node"
        self._events.log(INFO, text, name or nodeid, here, other)

    def _find_locked(self, link: Link) -> Optional[Tuple[Peer, Question]]:
        """Return the question about ``link``, and the peer that has the seat."""
        for holder, theirs in self._questions.items():
            for question in theirs:
                if question.link is link:
                    return holder, question
        return None

    def _judge(self, holder: Peer) -> None:
        """Close and report the rivals of ``holder`` about which enough is known."""
        if holder.link.state == OVER:  # perhaps since before there was a question
            self.forget(holder)
            return
        with self._lock:
            theirs = self._questions.get(holder, [])
            judged = [(one, bool(one.verdict())) for one in theirs if one.verdict() is not None]
            theirs[:] = [one for one in theirs if one.verdict() is None]
            if not theirs:
                self._questions.pop(holder, None)
        for question, same in judged:
            link = question.link
            if question.answer is None and not question.stays:
                continue
            if link.target is not None and not link.unlisted:
                self._found(holder, {link.target, link.remote}, same, question.answer is not None)
            if not same:
                self.conflict(holder.nodeid, holder.name, holder.address, question.where)
            if question.stays and not question.over:
                link.close("duplicate", "you are connected already, at %s" % str(holder.address))

    def _found(self, holder: Peer, addresses: Set[Address], same: bool, confirmed: bool) -> None:
        """Note whether a dial of ours has found the node of ``holder`` at ``addresses``."""
        if same:
            new = tuple(addresses.difference(holder.also_at))
            holder.also_at = (holder.also_at + new)[-MAX_PLACES:]
        for address in addresses:
            if not same:
                self._book.note_elsewhere(address, holder.nodeid)
            elif confirmed:
                self._book.note_found(address, holder.nodeid, self._clock())


def _note(tokens: "OrderedDict[str, str]", token: str, nodeid: str) -> None:
    token = token.lower()
    tokens[token] = nodeid
    tokens.move_to_end(token)
    if len(tokens) > MAX_TOKENS:
        tokens.popitem(last=False)
