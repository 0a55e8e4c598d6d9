"""Plays rules, most of them side by side, and says what became of each."""

from concurrent.futures import ThreadPoolExecutor, wait
from typing import Iterator, List, Tuple

from .node import Node
from .outcome import BROKEN, OK, SKIPPED, Broken, Outcome, Skipped
from .rule import CORE, FULL, MEMBERS, Rule
from .rules import MEMBERS_RULES, RULES

AT_ONCE = 8
"""Rules played side by side.  Each has up to three connections; a node allows 32 an address."""

FIRST = RULES[0]
"""Played before all others: it notes the node's hello."""


def choose(level: str, words: List[str]) -> List[Rule]:
    """Return the rules of a level whose name has one of the words; any name if there are none.

    Those that play alone come last.
    """
    rules = [rule for rule in RULES if level == FULL or rule.level == CORE]
    if level == MEMBERS:
        rules = list(MEMBERS_RULES)
    if words:
        rules = [rule for rule in rules if any(word in rule.name for word in words)]
    return sorted(rules, key=lambda rule: rule.alone)


def play(rule: Rule, node: Node) -> Outcome:
    """Try one rule.

    A node that has died has closed all its connections.  Many rules demand just that of a node, so
    none of them holds if the node does not live on.
    """
    if node.gone:
        return Outcome(SKIPPED, ("because  it no longer listens",))
    outcome = Outcome(OK)
    try:
        rule.play(node)
    except Skipped as skipped:
        outcome = Outcome(SKIPPED, ("because  " + str(skipped),))
    except Broken as broken:
        return Outcome(BROKEN, ("expected " + broken.expected, "came     " + broken.came[:400]))
    except OSError as error:
        outcome = Outcome(BROKEN, ("expected a connection", "came     " + str(error)))
    node.look()
    if node.gone:
        came = "its end, in this rule or in one played at the same time: nobody listens any more"
        return Outcome(BROKEN, ("expected a node that lives on", "came     " + came))
    return outcome


def play_all(rules: List[Rule], node: Node) -> Iterator[Tuple[Rule, Outcome]]:
    """Try the rules; yield the outcomes in the order of the rules.

    Raises ``ConnectionError`` if the node belongs to another network.
    """
    if node.key is not None:
        for rule in rules:
            yield rule, play(rule, node)
        return
    first = play(FIRST, node)
    if first.word != OK:
        for rule in rules:
            skipped = Outcome(SKIPPED, ("because  nothing can be tried without hello",))
            yield rule, first if rule is FIRST else skipped
        return
    network = node.hello.get("network", "")
    if network != node.network:
        raise ConnectionError("it belongs to the network %r; see --network" % network)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        together = [rule for rule in rules if rule is not FIRST and not rule.alone]
        outcomes = {
            rule.name: pool.submit(play, rule, node)
            for rule in sorted(together, key=lambda rule: -rule.seconds)
        }
        for rule in rules:
            if rule is FIRST:
                yield rule, first
            elif rule.alone:
                wait(outcomes.values())
                yield rule, play(rule, node)
            else:
                yield rule, outcomes[rule.name].result()
