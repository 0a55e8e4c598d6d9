"""Whole conversations: what one connection says, how that is cut into sends, and how it ends.

A conversation is made before any of it is sent.  It depends on the seed, its number and the world
alone, so the same seed says the same again.
"""

import random
from typing import Iterator, List, NamedTuple, Tuple

from .expectation import Expectation, expect
from .grammar import ACCEPT, KINDS, LEAVE, Grammar, Line
from .harmless import is_harmless
from .mutator import SIZES, Mutator
from .world import World

DIALER, ACCEPTOR = "dialer", "acceptor"

ENDINGS = ("wait", "half", "reset", "close", "cut")
"""Wait for the last pong; half-close at once; send a reset; close; half-close within a line."""

HELLOS = (
    ["plain"] * 80 + ["probe"] * 6 + ["pool"] * 6 + ["self"] * 2 + ["network"] * 3 + ["polite"] * 3
)


class Conversation(NamedTuple):
    """Everything that one connection says."""

    number: int
    lines: Tuple[Line, ...]
    sends: Tuple[Tuple[float, bytes], ...]  # seconds of silence before it, and the bytes
    ending: str  # one of ENDINGS
    deaf: float  # seconds at the beginning in which nothing is read
    expected: Expectation


def make_conversation(
    seed: int, number: int, world: World, role: str = DIALER
) -> Conversation:
    """Return that conversation of the seed.

    ``role`` is ``DIALER`` for connections of the fuzzer and ``ACCEPTOR`` for those of the node.
    """
    rng = random.Random("%d %s %d" % (seed, role, number))
    grammar = Grammar(rng, world)
    hello = rng.choice(HELLOS)
    lines = _lines(grammar, hello, role)
    ending = rng.choices(ENDINGS, (52, 22, 8, 6, 12))[0]
    if ending == "cut":
        lines.append(_cut_line(grammar))
    elif rng.random() < 0.1:
        lines.append(grammar.line("bye"))
    else:
        lines.append(grammar.line("ping"))  # its pong shows that the node has read everything
    expected = expect(lines, hello)
    deaf = rng.uniform(0.05, 0.2) if rng.random() < 0.03 else 0.0
    if deaf and expected.enough and not expected.must:
        flood = Line(b'{"msgtype":"getaddr"}\n', ACCEPT, "getaddr", "flood")
        lines[1:1] = [flood] * rng.randrange(50, 300)
    sends = tuple(_sends(rng, lines, ending))
    return Conversation(number, tuple(lines), sends, ending, deaf, expected)


def _lines(grammar: Grammar, hello: str, role: str) -> List[Line]:
    rng, mutator = grammar.rng, Mutator(grammar)
    message = grammar.hello(hello)
    if role == ACCEPTOR and hello in ("plain", "probe", "pool") and rng.random() < 0.8:
        message["nodeid"] = grammar.pool[0]
    if role == ACCEPTOR and hello == "probe":
        hello = "plain"  # only the end that dials can probe; a node ignores the field here
    first = Line(grammar.encode(message) + b"\n", ACCEPT, "hello", hello)
    count = rng.choice((0, 1, 5, 20, 40, 60, 80, 100))
    lines = [grammar.line(rng.choice(KINDS)) for _ in range(count)]
    dice = rng.random()
    if dice < 0.06:
        first = mutator.mutate("hello")
    elif dice < 0.08:
        first = mutator.mutate(rng.choice(KINDS))
    elif dice < 0.09:
        lines[:0] = [first]
        first = grammar.line(rng.choice(KINDS))
    elif dice < 0.75:
        # The first bad line ends a conversation, so it mostly comes late.
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            at = int(len(lines) * (1 - rng.random() ** 2))
            kind = rng.choice(KINDS) if rng.random() < 0.9 else rng.choice(("hello", "bye"))
            lines[at:at] = [mutator.mutate(kind)]
    return [first] + lines


def _cut_line(grammar: Grammar) -> Line:
    """Return a line without a newline; the stream ends within it."""
    rng = grammar.rng
    data = grammar.encode(grammar.message(rng.choice(KINDS)))
    data = data[: rng.randrange(1, len(data) + 1)]
    if rng.random() < 0.1:
        data += b"x" * rng.choice(SIZES)
    if not is_harmless(data, grammar.world.ports):
        data = data[:5]
    return Line(data, LEAVE, "ping", "cut off")


def _sends(rng: random.Random, lines: List[Line], ending: str) -> Iterator[Tuple[float, bytes]]:
    """Yield pauses and pieces: worse than anything that TCP does to lines."""
    data = b"".join(line.data for line in lines)
    if ending == "reset":
        data = data[: rng.randrange(len(data) + 1)]
    way = rng.random()
    if way < 0.05:
        for at in range(min(200, len(data))):
            yield 0.0, data[at : at + 1]
        data = data[200:]
    elif way < 0.1:
        yield rng.uniform(0.01, 0.1), b""  # silence before hello
    typical = 16384 if way < 0.7 else rng.choice((7, 50, 300, 1500, 4096, 9000))
    at = 0
    while at < len(data):
        size = typical if way < 0.7 else rng.randrange(1, 2 * max(typical, len(data) // 60))
        pause = rng.uniform(0.005, 0.05) if rng.random() < 0.01 else 0.0
        yield pause, data[at : at + size]
        at += size
