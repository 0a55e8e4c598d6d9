"""Plays attacks, most of them side by side, and says what became of each."""

import time
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Iterator, List, Tuple

from ..conformity.outcome import Broken as RuleBroken
from ..conformity.outcome import Skipped as RuleSkipped

from . import attacks  # noqa: F401 - puts the attacks on the list
from .verdict import ATTACKS, BROKEN, HELD, SKIPPED, Attack, Broken, Skipped, Verdict
from .world import World

AT_ONCE, AT_ONCE_SHORT = 4, 8
"""Attacks played side by side.  Most of them wait for something nearly all the time."""


def choose(words: List[str]) -> List[Attack]:
    """Return the attacks whose item is one of the words, or whose name has one of them; or all."""
    chosen = [
        one
        for one in ATTACKS
        if not words or any(w in one.item.split(", ") or w in one.name for w in words)
    ]
    return sorted(chosen, key=lambda one: (one.alone, int(one.item.split(",")[0][1:])))


def play(one: Attack, python: str, short: bool) -> Verdict:
    """Play one attack, in a world of its own."""
    began = time.monotonic()
    verdict = _play(one, python, short)
    return verdict._replace(seconds=time.monotonic() - began)


def _play(one: Attack, python: str, short: bool) -> Verdict:
    try:
        with World(python, short) as world:
            return Verdict(HELD, one.play(world))
    except (Skipped, RuleSkipped) as skipped:
        return Verdict(SKIPPED, str(skipped))
    except Broken as broken:
        return Verdict(BROKEN, str(broken))
    except RuleBroken as broken:
        return Verdict(BROKEN, "expected %s, came %s" % (broken.expected, broken.came[:200]))
    except OSError as error:
        return Verdict(BROKEN, "the node does not answer: %s" % error)
    except (LookupError, TypeError, ValueError) as error:
        return Verdict(BROKEN, "the node says what nobody understands: %r" % error)


def play_all(
    chosen: List[Attack], python: str, short: bool, patient: bool
) -> Iterator[Tuple[Attack, Verdict]]:
    """Play the attacks; yield what became of each in the order of the list."""
    with ThreadPoolExecutor(AT_ONCE_SHORT if short else AT_ONCE) as pool:
        tried = [one for one in chosen if patient or not one.minutes]
        together = [one for one in tried if short or not one.alone]
        # The longest first, so that nobody waits for them alone in the end.
        longest = sorted(together, key=lambda one: (-one.minutes, -one.seconds))
        found = {one.name: pool.submit(play, one, python, short) for one in longest}
        for one in chosen:
            if one not in tried:
                yield one, Verdict(SKIPPED, "takes %g minutes: --patient" % one.minutes)
            elif one.name in found:
                yield one, found[one.name].result()
            else:
                wait(found.values())
                yield one, play(one, python, short)
