"""What a rule is, and the list of all of them, in the order in which they are shown."""

from typing import Callable, List, NamedTuple

from .node import Node

CORE, FULL, MEMBERS = "core", "full", "members"

Play = Callable[[Node], None]


class Rule(NamedTuple):
    """One rule: what it demands, and the function that tries it."""

    name: str
    level: str
    number: int
    """Its number in the description of the wire; 0 for what has none there."""
    text: str
    play: Play
    """Returns if the rule held; raises ``Broken``, ``Skipped`` or ``OSError`` if not."""
    seconds: float
    """How long it takes, roughly: long rules begin first."""
    alone: bool
    """True if it would disturb others that are played at the same time."""


RULES: List[Rule] = []
MEMBERS_RULES: List[Rule] = []
"""Those for a node in a network for members only.  No others can be tried with it."""


def rule(
    level: str, number: int, seconds: float = 1.0, alone: bool = False
) -> Callable[[Play], Play]:
    """Make the decorated function a rule; its docstring is the rule's text."""

    def register(play: Play) -> Play:
        name = play.__name__.replace("_", "-")
        text = " ".join((play.__doc__ or "").split())
        rules = MEMBERS_RULES if level == MEMBERS else RULES
        rules.append(Rule(name, level, number, text, play, seconds, alone))
        return play

    return register
