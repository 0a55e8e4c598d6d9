"""What the tour is played on: the nodes that take part, strangers, cables, and the guide who tells.

``tour`` has the scenes; this is all that they have in common.  The nodes have threads of their own
and note what they say and hear; everything else is done on the main thread, which does something,
waits until that has shown, and tells it.

The reader may leave at any moment.  A signal is noted, and obeyed at the next look at the clock;
only where the main thread is held by a keyboard or by a terminal that takes no output (after
Ctrl-S) does the handler itself raise ``Enough``.  So no lock of a node is ever left half-way.
"""

import _thread
import json
import os
import random
import re
import select
import signal
import socket
import sys
import textwrap
import threading
import time
from collections import Counter
from typing import Any, Callable, Dict, List, Optional, Sequence, TypeVar

from ..common.address import parse
from ..common.config import MAX_LINE
from ..common.errors import PeerMisbehaved, why
from ..common.events import EVERYTHING, Event
from ..common.words import milliseconds
from ..node.address_book import AddressBook
from ..node.codec import LineSplitter, decode, encode
from ..node.messages import new_uuid
from ..node.node import Node
from ..terminal.event_lines import SHORT_ID, trace
from ..common.output import Output, let_go
from ..common.signals import ignore_stop_signals, stop_signals
from ..terminal.text import paint

T = TypeVar("T")
P = TypeVar("P")

LOOPBACK = "127.0.0.1"

NETWORK = "tour"

PATIENCE = 15.0
"""Seconds after which the tour no longer believes that something will still happen.  All of it takes
milliseconds but for a silence of three seconds, and machines are slow at times."""

LOOK_AGAIN = 0.01
"""Seconds between two looks at whether it has."""

LISTENING = 0.5
"""Seconds at a time for which the keyboard is listened to: a signal that comes just before we begin
to is noticed after that."""

_TERM = re.compile(r"\*(\w[\w\s]*)\*")
"""A word that is explained, between asterisks."""

COLUMNS = 80
"""Of the text at the most, and of everything where there is no terminal."""

MEANINGS = {
    "msgtype": "what this line is",
    "nodeid": "who says it: drawn by lot",
    "version": "of this language",
    "port": "where it listens",
    "name": "for people",
    "network": "others are refused",
    "agent": "the program",
    "observed": "where it sees the other end",
    "peers": "addresses, and who is there",
    "reason": "one word for programs",
    "detail": "and more for people",
}
"""Of the fields that are shown."""


class Enough(Exception):
    """The reader has typed q or Ctrl-C, or nobody reads what we print any more."""


class Unexpected(Exception):
    """What should have happened has not, or something else has."""


# -- who takes part ----------------------------------------------------------------------------


class Actor:
    """A node of the tour, and what it has told of itself, which comes on a thread of the node.

    To append to a list, and to copy one, is a single step for Python: no lock is needed.
    """

    def __init__(self, name: str, network: str, **settings: Any) -> None:
        self.name = name
        self.lines: List[Event] = []
        """Every line that it has said or heard: its ``trace`` events."""
        self.events: List[Event] = []
        self.node = Node(name=name, network=network, port=0, bind=LOOPBACK, **settings)
        self.node.on("trace", self.lines.append)
        self.node.on(EVERYTHING, self.events.append)

    def close(self) -> None:
        """Stop it."""
        self.node.stop("the tour has ended")

    @property
    def address(self) -> str:
        """Where it listens."""
        return str(self.node.addresses[0])

    @property
    def nodeid(self) -> str:
        """Who it is."""
        return self.node.nodeid

    def told(self, event: str, **fields: Any) -> List[Event]:
        """Its events of that name with these fields."""
        return [
            one
            for one in list(self.events)
            if one["event"] == event and all(one[key] == value for key, value in fields.items())
        ]

    def wire(
        self, way: str = "<>", kinds: str = "", peer: str = "", since: int = 0
    ) -> List[Event]:
        """The lines that it said (``>``), heard (``<``) or both, of these kinds, with that peer.

        Without its first ``since`` lines.
        """
        return [
            line
            for line in self.lines[since:]
            if line["direction"] in way
            and peer in ("", line["peer"])
            and (not kinds or kind(line) in kinds.split())
        ]

    def news(self, mark: int) -> str:
        """The names of the events after the first ``mark``, in words."""
        names = Counter(event["event"] for event in self.events[mark:])
        return ", ".join("%d %s" % (names[name], name) for name in sorted(names)) or "nothing"

    # The library does not show its insides; for once we look, as with a debugger.

    def knows(self, other: "Actor") -> bool:
        """Whether it has found the other one at its address."""
        return self.book().has_proven(parse(other.address), other.nodeid)

    def connections(self) -> int:
        """How many are open now."""
        return len(self.node._sessions.all())

    def book(self) -> AddressBook:
        """Its address book."""
        return self.node._book

    def threads(self) -> List[str]:
        """The names of its threads."""
        node = self.node
        own = [thread.name for thread in (node._dispatcher, node._pinger) if thread.is_alive()]
        return sorted(own + node._crew.names())


class Stranger:
    """A peer made of a bare socket: it says what the scene wants, and nothing by itself."""

    def __init__(self, node: Node, nodeid: str) -> None:
        self.nodeid = nodeid
        self._sock = socket.create_connection((LOOPBACK, node.port), PATIENCE)
        self._sock.setblocking(False)
        self.address = "%s:%d" % self._sock.getsockname()
        """Its end of the connection: how the node sees it."""
        self._splitter = LineSplitter(MAX_LINE)
        self._heard: List[Dict[str, Any]] = []
        self.ended = False
        """Whether the other end will say no more."""

    def say(self, msgtype: str, **fields: Any) -> None:
        """One message."""
        message: Dict[str, Any] = {"msgtype": msgtype}
        message.update(fields)
        self.say_raw(encode(message))

    def say_raw(self, data: bytes) -> None:
        """These bytes, whatever they are."""
        self._sock.sendall(data)

    def heard(self, msgtype: str) -> List[Dict[str, Any]]:
        """The messages of that type that have come."""
        try:
            while not self.ended:
                chunk = self._sock.recv(4096)
                self.ended = not chunk
                self._heard += [decode(line) for line in self._splitter.feed(chunk)]
        except BlockingIOError:
            pass  # no more for now
        except OSError:
            self.ended = True
        return [message for message in self._heard if message["msgtype"] == msgtype]

    def finish(self) -> None:
        """Close our half of the connection: we shall say no more."""
        self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Give the socket back."""
        self._sock.close()


class Cable:
    """Whoever dials ``address`` gets to a node, once the cable is open.

    It stands for what lies between real machines: a router that forwards a port, or distance, that
    is the time in which neither end knows yet what the other has said.  For one connection.
    """

    def __init__(self, node: Node) -> None:
        self._port = node.port
        self._listening = socket.socket()
        self._listening.bind((LOOPBACK, 0))
        self._listening.listen(1)
        self.address = "%s:%d" % self._listening.getsockname()
        self._open = threading.Event()
        self._cut = False
        threading.Thread(target=self._carry, name="cable", daemon=True).start()

    def open(self) -> "Cable":
        """From now on it carries bytes, first those that have waited."""
        self._open.set()
        return self

    def close(self) -> None:
        """Cut it.  Its thread ends a moment later."""
        self._cut = True
        self._open.set()

    def _carry(self) -> None:
        """Its thread: wait for the connection, carry both ways, and clear away at the end."""
        ends = [self._listening]
        try:
            self._readable(ends)
            ends.append(self._listening.accept()[0])
            ends.append(socket.create_connection((LOOPBACK, self._port), PATIENCE))
            self._open.wait()
            ways = {ends[1]: ends[2], ends[2]: ends[1]}
            while ways:
                for source in self._readable(list(ways)):
                    portion = source.recv(4096)
                    if portion:
                        ways[source].sendall(portion)
                    else:  # that half of the connection has ended
                        ways.pop(source).shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it is cut, or one of the two is gone
        finally:
            for end in ends:
                end.close()

    def _readable(self, ends: List[socket.socket]) -> List[socket.socket]:
        """Those from which something has come, once it has.  Raises ``OSError`` if we are cut."""
        while not self._cut:
            found = select.select(ends, [], [], LOOK_AGAIN)[0]
            if found:
                return found
        raise ConnectionAbortedError


def says(line: Event) -> Dict[str, Any]:
    """The message on a traced line; empty if it is none."""
    try:
        return decode(line["line"].encode("utf-8", "replace"))
    except PeerMisbehaved:
        return {}


def kind(line: Event) -> str:
    """The ``msgtype`` of a traced line; ``?`` if it is no message."""
    return str(says(line).get("msgtype", "?"))


# -- who tells ---------------------------------------------------------------------------------


def typed(seconds: float) -> Optional[bool]:
    """Whether something comes from the keyboard within that time; ``None`` where nobody can tell."""
    try:
        return bool(select.select([sys.stdin], [], [], seconds)[0])
    except (OSError, ValueError):
        return None  # on Windows only sockets can be asked that


class Guide:
    """The screen, the reader, and who is on the stage.  Main thread only; use it with ``with``."""

    def __init__(self, fast: bool) -> None:
        self._out = Output(sys.stdout)
        terminals = [stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout)]
        self._waits = all(terminals) and not fast
        """Whether the reader is asked before it goes on.  Not in ``tour | less`` or ``tour > file``:
        who reads that has no keyboard that we could wait for, or reads it later."""
        self._leaving = False
        """Whether a signal has come."""
        self._typed_ctrl_c = False
        """Whether it was Ctrl-C: the terminal shows that as ^C, with no newline after it."""
        self._held = False
        """Whether the main thread is where only a signal may get it out."""
        self._started_at = time.time()
        self._after_text = False
        """Whether the last line was text, from which what is shown wants to be set apart."""
        self._blank = True
        """Whether it was blank; at the beginning it is."""
        self.threads_before = _thread._count()
        """All threads of this program but the main one, before there was any node.  Counted by
        ``_thread``: most of a node's are unknown to ``threading`` (see ``threads``)."""
        self._actors: Dict[str, Actor] = {}
        self._props: List[Any] = []
        self._names: Dict[str, str] = {}

    def __enter__(self) -> "Guide":
        for number in stop_signals():
            signal.signal(number, self._noted)
        return self

    def __exit__(self, *_: object) -> None:
        ignore_stop_signals()
        self._clear()
        for actor in self._actors.values():
            actor.close()
        if self._typed_ctrl_c and self._out.takes_more(0.0):
            self._out.write("")  # the shell goes on below it

    def play(self, title: str, scene: "Callable[[Guide], None]") -> bool:
        """One scene; ``False`` if it has not gone as it should, after that was told."""
        self._gap()
        self._write(self._paint("== %s %s" % (title, "=" * (self.columns() - len(title) - 4)), "1"))
        try:
            scene(self)
        except (Unexpected, OSError) as error:
            what = str(error) if isinstance(error, Unexpected) else why(error)
            self.say("UNEXPECTED, and so the tour ends here: %s." % what)
            self.say("Try again: perhaps this machine was only busy.")
            return False
        finally:
            self._clear()
        self.pause()
        return True

    # -- what the scenes do ---------------------------------------------------------------

    def start(self, name: str, network: str = NETWORK, **settings: Any) -> Actor:
        """Start a node.  Raises ``CannotStart``."""
        actor = self._actors[name] = Actor(name, network, **settings)
        self._names[actor.nodeid] = name
        actor.node.start()
        return actor

    def actor(self, name: str) -> Actor:
        """The node of that name."""
        return self._actors[name]

    def invented(self, name: str) -> str:
        """A nodeid, shown as ``name``, that no node has."""
        nodeid = new_uuid(random.Random())
        self._names[nodeid] = name
        return nodeid

    def keep(self, prop: P) -> P:
        """Close it at the end of the scene."""
        self._props.append(prop)
        return prop

    def stranger(self, actor: Actor, name: str) -> Stranger:
        """Dial a node with a bare socket."""
        return self.keep(Stranger(actor.node, self.invented(name)))

    def guest(self, actor: Actor, name: str) -> Stranger:
        """A stranger that has become a peer: hello, and a pong to the first ping."""
        made = self.stranger(actor, name)
        made.say("hello", nodeid=made.nodeid, name=name, network=NETWORK)
        self.wait_for("%s gets a ping from %s" % (name, actor.name), lambda: made.heard("ping"))
        made.say("pong")
        self.wait_for(
            "%s is a peer of %s" % (name, actor.name),
            lambda: actor.told("rtt", nodeid=made.nodeid),
        )
        return made

    def cable(self, actor: Actor) -> Cable:
        """Lay a cable to a node; it is not open yet."""
        return self.keep(Cable(actor.node))

    def wait_for(self, what: str, happened: Callable[[], Optional[T]]) -> T:
        """Wait until ``happened()`` is true, and give back what it was; else ``Unexpected``."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = happened()
            if found:
                return found
            if self._leaving:
                raise Enough
            if time.monotonic() > deadline:
                raise Unexpected("within %g s it did not happen that %s" % (PATIENCE, what))
            time.sleep(LOOK_AGAIN)

    def follow(
        self, actor: Actor, peer: str, kinds: str, what: str, happened: Callable[[], object]
    ) -> None:
        """The same, and meanwhile show what crosses the connection with ``peer``."""
        shown = 0

        def look() -> object:
            nonlocal shown
            found = happened()  # first: what had crossed by then is shown
            crossed = actor.wire(kinds=kinds, peer=peer)
            self.wire(crossed[shown:])
            shown = len(crossed)
            return found

        self.wait_for(what, look)

    # -- what the reader sees ---------------------------------------------------------------

    def say(self, text: str, **values: object) -> None:
        """Paragraphs, set anew; a *word* between asterisks is explained there."""
        for paragraph in (text % values if values else text).split("\n\n"):
            self._gap()
            # A term of several words stays on one line: held together by no-break spaces meanwhile.
            words = _TERM.sub(lambda term: term.group().replace(" ", "\xa0"), " ".join(paragraph.split()))
            for line in self._wrapped(words):
                self._write(_TERM.sub(self._emphasis, line).replace("\xa0", " "))
        self._after_text = True

    def so(self, moral: str) -> None:
        """What to keep of a scene, at its end."""
        self.say("So: " + moral)

    def wire(self, lines: Sequence[Event]) -> None:
        """Lines as one node said and heard them."""
        for line in lines:
            self._row(trace(line, self._started_at, self._out.colour, self._width()))

    def fields(self, line: Event) -> None:
        """A line, field by field."""
        for name, value in says(line).items():
            text = "    %-9s %-38s " % (name, json.dumps(value))
            meaning = MEANINGS.get(name, "")
            fits = len(text) + len(meaning) <= self.columns()
            self._rows((text + meaning if fits else text).rstrip(), 14)

    def tells(self, actor: Actor, event: str, **fields: Any) -> Event:
        """Wait until a node has told such an event, and show it as a program would get it."""
        what = " ".join(["%s=%s" % field for field in fields.items()])
        found = self.wait_for(
            "%s tells: %s %s" % (actor.name, event, what), lambda: actor.told(event, **fields)
        )[0]
        told = ["%s=%s" % (k, v) for k, v in found.items() if k not in ("event", "time", "nodeid")]
        self._rows("%s tells: %s  %s" % (actor.name, event, " ".join(told)), 4, "32")
        return found

    def peers(self, *actors: Actor) -> None:
        """The peer tables."""
        for actor in actors:
            found = actor.node.peers()
            self._row(self._paint("peers of %s%s" % (actor.name, "" if found else ": none"), "1"))
            for peer in found:
                self._row(
                    "    %-8s %-15s %-8s round trip %s"
                    % (self.name(peer.nodeid), peer.address, peer.direction, milliseconds(peer.rtt_ms))
                )

    def book(self, *actors: Actor) -> None:
        """The address books."""
        for actor in actors:
            kept = actor.book().kept(time.monotonic())
            empty = "" if kept.proven or kept.heard else ": empty"
            self._row(self._paint("address book of %s%s" % (actor.name, empty), "1"))
            for known in kept.proven:
                self._row("    %-15s %s was found there" % (known.address, self.name(known.nodeid)))
            for heard in kept.heard:
                who = "nobody known" if heard.nodeid is None else self.name(heard.nodeid)
                said_by = self.name(heard.source)
                self._row("    %-15s %s, says %s; not proven" % (heard.address, who, said_by))

    def threads(self, *actors: Actor) -> int:
        """All threads but this one, by the names that the nodes gave them; how many there are."""

        def all_of_them() -> Optional[List[List[str]]]:
            named = [actor.threads() for actor in actors]
            found = sum(map(len, named)) + self.threads_before == _thread._count()
            return named if found else None

        names = self.wait_for("every thread is known to the node that it works for", all_of_them)
        for actor, own in zip(actors, names):
            self._rows("    %s: %s" % (actor.name, ", ".join(own)), 8)
        return sum(map(len, names))

    def text(self, rows: Sequence[str]) -> None:
        """Lines as they are."""
        for row in rows:
            self._row(row)

    def read(self, *functions: Any) -> None:
        """Where in the source that was; asked of the functions themselves, so never out of date."""
        self._gap()
        self._write("Read it in the source:")
        for function in functions:
            file = function.__module__.replace(".", "/") + ".py"
            where = "%s:%d" % (file, function.__code__.co_firstlineno)
            self._write("    %-31s %s" % (where, function.__qualname__))

    def pause(self) -> None:
        """Wait for Enter, if there is somebody to press it.  Raises ``Enough`` for q.

        An Enter from before we asked is no answer: many press it while they wait for a silent peer.
        """
        while self._waits and typed(0.0):
            self._listen()
        if self._leaving:
            raise Enough
        if self._waits:
            self._gap()
            self._write(self._paint("-- Enter goes on, q and Enter ends --", "7"))
            self._listen()
            self._blank = True  # Enter itself has made one

    def name(self, nodeid: str) -> str:
        """What a nodeid is called here."""
        return self._names.get(nodeid, nodeid[:SHORT_ID])

    @property
    def colour(self) -> bool:
        """Whether there is colour."""
        return self._out.colour

    def _width(self) -> int:
        return self._out.columns() or COLUMNS

    def columns(self) -> int:
        """Room for text."""
        return min(self._width(), COLUMNS)

    def _emphasis(self, found: Any) -> str:
        return self._paint(found.group(1), "1") if self._out.colour else str(found.group())

    def _paint(self, text: str, code: str) -> str:
        return paint(text, code, self._out.colour)

    def _listen(self) -> None:
        """What the reader types, up to Enter.  Raises ``Enough``."""
        self._held = True
        try:
            while not self._leaving and typed(LISTENING) is False:
                pass
            if self._leaving:
                raise Enough
            line = os.read(sys.stdin.fileno(), 1024)
        except OSError:  # the terminal is gone
            raise Enough from None
        finally:
            self._held = False
        if line.strip().lower().startswith(b"q"):
            raise Enough
        if not line:  # Ctrl-D: nobody will press it any more
            self._waits = False

    def _write(self, line: str) -> None:
        self._held = True
        try:
            if self._leaving or not self._out.write(line):
                raise Enough
            self._blank = not line
        except Enough:
            let_go(sys.stdout)
            raise
        finally:
            self._held = False

    def _gap(self) -> None:
        """A blank line, if there is none."""
        if not self._blank:
            self._write("")

    def _row(self, line: str) -> None:
        """A line of what is shown, apart from the text before it."""
        if self._after_text:
            self._gap()
        self._after_text = False
        self._write(line)

    def _rows(self, text: str, indent: int, code: str = "") -> None:
        """The same, on as many lines as it takes."""
        for row in self._wrapped(text, " " * indent):
            self._row(self._paint(row, code))

    def _wrapped(self, text: str, indent: str = "") -> List[str]:
        # A nodeid is one word, with its hyphens.
        return textwrap.wrap(
            text, self.columns(), subsequent_indent=indent, break_on_hyphens=False
        )

    def _clear(self) -> None:
        while self._props:
            self._props.pop().close()

    def _noted(self, number: int, _: object) -> None:
        self._leaving = True
        self._typed_ctrl_c |= number == signal.SIGINT and self._out.columns() is not None
        if self._held:
            self._held = False  # not a second time, on the way out
            raise Enough
