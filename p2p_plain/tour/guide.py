"""The guide: what a scene can do.  It starts nodes, waits for what they do, and shows it.

A scene is a function that gets a ``Guide``.  Main thread only; the nodes have threads of their own.
"""

import _thread
import functools
import itertools
import json
import pkgutil
import random
import time

from ..common.errors import why
from ..common.events import Event
from ..common.typing import Any, Callable, Dict, List, Optional, Sequence, TypeVar
from ..common.words import milliseconds
from ..node.messages import new_uuid
from ..terminal.event_lines import SHORT_ID
from ..terminal.text import BOLD, CYAN, FAINT, GREEN
from .cast import LOOK_AGAIN, NETWORK, Actor, Cable, Stranger, message_of
from .reader import Reader

P = TypeVar("P")
T = TypeVar("T")

MEANINGS = {
    "msgtype": "the kind of message",
    "nodeid": "this node; drawn at random",
    "version": "of the protocol",
    "port": "where it listens",
    "name": "for people",
    "network": "others are refused",
    "agent": "the program",
    "observed": "where it sees the other end",
    "peers": "addresses, and the node at each",
    "reason": "one word for programs",
    "detail": "and more for people",
}
"""Short explanations of the fields that are shown."""


class Unexpected(Exception):
    """Something that should happen did not happen, or something else did."""


def drawing(title: str) -> List[str]:
    """Return the lines of the drawing under a heading of ``drawings.rst``."""
    data = pkgutil.get_data(__name__.partition(".")[0], "drawings.rst")  # from the single file too
    assert data is not None
    section = data.decode("utf-8").split("\n%s\n%s\n" % (title, "-" * len(title)))[1]
    after = section.split("\n::\n\n")[1].splitlines()
    indented = itertools.takewhile(lambda line: not line or line.startswith("    "), after)
    return "\n".join(indented).rstrip().splitlines()


class Guide:
    """All that takes part in the tour.  Use it with ``with``: at the end every node is stopped."""

    def __init__(self, reader: Reader) -> None:
        self.patience = 15.0
        """Seconds after which the tour stops waiting for an event.  All take milliseconds, except
        for one silence of three seconds, but machines are slow at times."""
        self.reader = reader
        self.pause = reader.pause
        self.threads_before = _thread._count()
        """Threads of this program before its first node."""
        self._started_at = time.time()
        self._actors: Dict[str, Actor] = {}
        self._props: List[Any] = []
        self._names: Dict[str, str] = {}

    def __enter__(self) -> "Guide":
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()
        for actor in self._actors.values():
            actor.close()

    def play(self, title: str, scene: "Callable[[Guide], None]") -> bool:
        """Play one scene.  Returns ``False`` if something unexpected happened, after reporting it."""
        self.reader.gap()
        self.reader.line("== %s %s" % (title, "=" * (self.reader.columns - len(title) - 4)), BOLD)
        try:
            scene(self)
        except (Unexpected, OSError) as error:
            what = str(error) if isinstance(error, Unexpected) else why(error)
            self.say("UNEXPECTED, so the tour ends here: %s." % what)
            self.say("Try again: perhaps this machine was only busy.")
            return False
        finally:
            self._clear()
        self.pause()
        return True

    # -- what a scene does ----------------------------------------------------------------

    def start(self, name: str, network: str = NETWORK, **settings: Any) -> Actor:
        """Start a node.  Raises ``CannotStart``."""
        actor = self._actors[name] = Actor(name, network, **settings)
        self._names[actor.nodeid] = name
        actor.node.start()
        return actor

    def actor(self, name: str) -> Actor:
        """Return the node of that name."""
        return self._actors[name]

    def invent(self, name: str) -> str:
        """Return a new nodeid that no node has; it is shown as ``name``."""
        nodeid = new_uuid(random.Random())
        self._names[nodeid] = name
        return nodeid

    def keep(self, prop: P) -> P:
        """Close ``prop`` at the end of the scene; returns it."""
        self._props.append(prop)
        return prop

    def stranger(self, actor: Actor, name: str) -> Stranger:
        """Connect a bare socket to a node."""
        return self.keep(Stranger(actor.node, self.invent(name)))

    def admitted(self, actor: Actor, name: str) -> Stranger:
        """Return a stranger that the node has accepted as a peer, after hello, ping and pong."""
        stranger = self.stranger(actor, name)
        stranger.send("hello", nodeid=stranger.nodeid, name=name, network=NETWORK)
        self.wait_for("%s gets a ping from %s" % (name, actor.name), lambda: stranger.received("ping"))
        stranger.send("pong")
        self.wait_for(
            "%s is a peer of %s" % (name, actor.name),
            lambda: actor.reported("rtt", nodeid=stranger.nodeid),
        )
        return stranger

    def cable(self, actor: Actor) -> Cable:
        """Lay a cable to a node; it is not open yet."""
        return self.keep(Cable(actor.node))

    def wait_for(self, what: str, happened: Callable[[], Optional[T]]) -> T:
        """Return ``happened()`` once it is true.  Raises ``Unexpected`` after ``patience`` seconds."""
        deadline = time.monotonic() + self.patience
        while True:
            found = happened()
            if found:
                return found
            self.reader.check()
            if time.monotonic() > deadline:
                raise Unexpected("this did not happen within %g s: %s" % (self.patience, what))
            time.sleep(LOOK_AGAIN)

    def follow(
        self, actor: Actor, peer: str, kinds: str, what: str, happened: Callable[[], object]
    ) -> None:
        """Wait as ``wait_for`` does, and show the lines that cross the connection with ``peer``."""
        shown = 0

        def look() -> object:
            nonlocal shown
            found = happened()  # first, so that all that had crossed by then is shown
            crossed = actor.wire(kinds=kinds, peer=peer)
            self.wire(crossed[shown:])
            shown = len(crossed)
            return found

        self.wait_for(what, look)

    def follow_to_bye(self, actor: Actor, peer: str) -> None:
        """Show what crosses the connection with ``peer`` until ``actor`` says bye there."""
        happened = functools.partial(actor.wire, ">", "bye", peer)
        self.follow(actor, peer, "hello bye", "%s says bye" % actor.name, happened)

    # -- what the reader sees ---------------------------------------------------------------

    def say(self, text: str) -> None:
        """Write paragraphs of text.  ``*term*`` marks a word that is explained there."""
        self.reader.paragraphs(text)

    def so(self, lesson: str) -> None:
        """Write what to remember of a scene, at its end."""
        self.say("So: " + lesson)

    def draw(self, title: str) -> None:
        """Show a drawing."""
        self.text(drawing(title))

    def wire(self, lines: Sequence[Event]) -> None:
        """Show lines as one node sent and received them."""
        for line in lines:
            moment = line["time"] - self._started_at
            text = f"{moment:7.3f} {line['thread']:10} {line['peer']:15} {line['direction']} "
            text += self._with_names(line["line"])
            if len(text) > self.reader.width:
                text = text[: self.reader.width - 3] + "..."
            self.reader.row(text, FAINT if line["direction"] == ">" else CYAN)

    def fields(self, line: Event) -> None:
        """Show a message field by field."""
        for name, value in message_of(line).items():
            shown = json.dumps(value)
            text = "    %-9s %-38s " % (name, shown if name == "nodeid" else self._with_names(shown))
            meaning = MEANINGS.get(name, "")
            fits = len(text) + len(meaning) <= self.reader.columns
            self.reader.rows((text + meaning if fits else text).rstrip(), 14)

    def report(self, actor: Actor, event: str, **fields: Any) -> Event:
        """Wait until a node reports such an event, and show it as a program would get it."""
        what = " ".join(["%s=%s" % field for field in fields.items()])
        found = self.wait_for(
            "%s reports: %s %s" % (actor.name, event, what), lambda: actor.reported(event, **fields)
        )[0]
        shown = ["%s=%s" % (k, v) for k, v in found.items() if k not in ("event", "time", "nodeid")]
        self.reader.rows("%s reports: %s  %s" % (actor.name, event, " ".join(shown)), 4, GREEN)
        return found

    def peers(self, *actors: Actor) -> None:
        """Show the peer tables."""
        for actor in actors:
            found = actor.node.peers()
            self.reader.row("peers of %s%s" % (actor.name, "" if found else ": none"), BOLD)
            for peer in found:
                row = f"    {self.name(peer.nodeid):8} {peer.address:15} {peer.direction:8} round trip "
                self.reader.row(row + milliseconds(peer.rtt_ms))

    def book(self, *actors: Actor) -> None:
        """Show the address books."""
        for actor in actors:
            kept = actor.book().kept(time.monotonic())
            empty = "" if kept.proven or kept.heard else ": empty"
            self.reader.row("address book of %s%s" % (actor.name, empty), BOLD)
            for known in kept.proven:
                self.reader.row("    %-15s %s was found there" % (known.address, self.name(known.nodeid)))
            for heard in kept.heard:
                who = "no known node" if heard.nodeid is None else self.name(heard.nodeid)
                source = self.name(heard.source)
                self.reader.row("    %-15s %s, says %s; not proven" % (heard.address, who, source))

    def threads(self, *actors: Actor) -> int:
        """Show the names of all threads but this one; returns how many there are."""

        def all_of_them() -> Optional[List[List[str]]]:
            named = [actor.threads() for actor in actors]
            found = sum(map(len, named)) + self.threads_before == _thread._count()
            return named if found else None

        names = self.wait_for("every thread belongs to a node", all_of_them)
        for actor, own in zip(actors, names):
            self.reader.rows("    %s: %s" % (actor.name, ", ".join(own)), 8)
        return sum(map(len, names))

    def text(self, rows: Sequence[str]) -> None:
        """Show lines as they are."""
        for row in rows:
            self.reader.row(row)

    def read(self, *functions: Any) -> None:
        """Show where functions stand in the source, taken from the functions themselves."""
        self.reader.gap()
        self.reader.line("Read it in the source:")
        for function in functions:
            file = function.__module__.replace(".", "/") + ".py"
            where = "%s:%d" % (file, function.__code__.co_firstlineno)
            self.reader.line("    %-38s %s" % (where, function.__qualname__))

    def name(self, nodeid: str) -> str:
        """Return the name that the tour has for a nodeid."""
        return self._names.get(nodeid, nodeid[:SHORT_ID])

    def _with_names(self, text: str) -> str:
        """Return JSON with ``<name>`` in place of each nodeid that has a name."""
        for nodeid, name in self._names.items():
            text = text.replace('"%s"' % nodeid, "<%s>" % name)
        return text

    def _clear(self) -> None:
        while self._props:
            self._props.pop().close()
