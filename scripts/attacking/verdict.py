"""What can become of an attack, and the list of all attacks."""

from typing import TYPE_CHECKING, Callable, List, NamedTuple

if TYPE_CHECKING:
    from .world import World

HELD, BROKEN, SKIPPED = "held", "BROKEN", "skipped"


class Broken(Exception):
    """A promise did not hold; the text has the figure."""


class Skipped(Exception):
    """The attack could not be tried; the text says why."""


class Verdict(NamedTuple):
    """What became of one attack."""

    word: str
    figure: str
    seconds: float = 0.0


Play = Callable[["World"], str]
"""Plays an attack and returns the figure; raises ``Broken`` or ``Skipped``."""


class Attack(NamedTuple):
    """One attack."""

    name: str
    item: str
    """``B5`` to ``B13``: the promise that it tries, as ``ATTACKS.rst`` numbers them."""
    text: str
    """What is tried."""
    play: Play
    alone: bool
    """True if other attacks at the same time would disturb the measurement."""
    minutes: float
    """How many minutes it takes, or 0.  An attack of minutes is played only with ``--patient``."""
    seconds: float
    """About how long it takes with ``--short``."""


ATTACKS: List[Attack] = []


def attack(
    item: str, alone: bool = False, minutes: float = 0.0, seconds: float = 2.0
) -> Callable[[Play], Play]:
    """Put a function on the list; the first line of its docstring says what is tried."""

    def add(play: Play) -> Play:
        name = play.__name__.replace("_", "-")
        text = (play.__doc__ or "").strip().split("\n")[0]
        ATTACKS.append(Attack(name, item, text, play, alone, minutes, seconds))
        return play

    return add


def holds(condition: bool, figure: str) -> str:
    """Return the figure if the condition is true.  Raises ``Broken`` with it if not."""
    if not condition:
        raise Broken(figure)
    return figure
