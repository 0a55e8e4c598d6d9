"""The steps in words: declares them, explains them, and reads them.

A step is a method of ``Lab`` with the decorator ``step("USAGE")``.  The method's name is the step's
first word, the first line of its docstring is the help, and the usage is the grammar of the other
words: small letters stand for themselves, capitals for an argument, ``[...]`` may be left out, and
``[... ...]`` may also be repeated.  A ``[...]`` that begins with a small word, such as ``[from HOSTS]``,
is a keyword argument of the method: ``KEYWORDS`` has its name.  Those may stand in any order.
"""

import re
import shlex
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Tuple

from .errors import WrongUsage
from .events import wanted
from .impostor import KINDS
from .network import MAX_HOSTS, REJECTIONS, ROUTER, bits_a_second, delays

COMMANDS = ["ping", "matrix", "check"]
"""Commands of p2p_plain that ``ask`` can run."""

NODE_KINDS = {"stranger": ["--name", "stranger"], "foreign": ["--network", "foreign"]}
"""Impostors that are nodes, with the options that make them so."""

NOBODY = "none"

IMPOSTORS = {
    **{kind: str(serve.__doc__) for kind, serve in KINDS.items()},
    "stranger": "A node of the same network with another name.",
    "foreign": "A node of another network.",
    NOBODY: "Nobody: end the impostor.",
}
"""What each impostor does."""

CHOICES = {"KIND": IMPOSTORS, "ANSWER": REJECTIONS}

KEYWORDS = {
    "about": "about",
    "from": "sources",
    "on": "on",
    "saying": "saying",
    "times": "times",
    "to": "targets",
    "with": "answer",
    "within": "seconds",
}


class Kind(NamedTuple):
    """A method of ``Lab`` that is a step."""

    usage: str
    act: Callable[..., Any]
    changes: bool
    """Events from before a step that changes something are forgotten."""


STEPS: Dict[str, Kind] = {}


def step(usage: str, changes: bool = True, also: str = "") -> Callable[[Any], Any]:
    """Return a decorator that makes a method a step; ``also`` is a second name for it."""

    def declare(method: Any) -> Any:
        for name in filter(None, [method.__name__, also]):
            STEPS[name] = Kind(usage, method, changes)
        return method

    return declare


def steps_help() -> str:
    """Return a line for each step, or two for a long one."""
    lines = []
    for word, kind in STEPS.items():
        usage = "  %s %s" % (word, kind.usage)
        if len(usage) > 26:
            lines.append(usage)
            usage = ""
        lines.append("%-26s %s" % (usage, (kind.act.__doc__ or "").split("\n")[0]))
    return "\n".join(lines)


class Step(NamedTuple):
    """A step that has been read and checked."""

    text: str
    kind: Kind
    arguments: List[Any]
    keywords: Dict[str, Any]

    def take(self, lab: Any) -> None:
        """Report the step to ``lab``, a ``Lab``, and do it."""
        lab.journal.report(step=self.text)
        if self.kind.changes:
            lab.journal.change()
        self.kind.act(lab, *self.arguments, **self.keywords)


class Mismatch(Exception):
    """The words do not fit the usage."""


def read_steps(lines: Iterable[str], names: Iterable[str], place: str = "") -> List[Step]:
    """Return all steps, checked before the first is taken.  ``names`` are the devices at first.

    An error begins with ``place``, in which ``%d`` is the number of the line.
    """
    known = list(names)
    steps = []
    for number, line in enumerate(lines, 1):
        try:
            words = split_words(line)
            steps += [read_step(words, known)] if words else []
        except WrongUsage as error:
            raise WrongUsage((place and place % number) + str(error)) from None
        if words and words[0] == "add":
            known.append("h%d" % (1 + sum(name.startswith("h") for name in known)))
    return steps


def split_words(line: str) -> List[str]:
    """Return the words of a line, split as in a shell, without its comment."""
    try:
        return shlex.split(line, comments=True)
    except ValueError as error:
        raise WrongUsage("%s: %s" % (line.strip(), str(error).lower())) from None


def read_step(words: List[str], names: List[str], hint: str = "") -> Step:
    """Return one step.  ``names`` are the devices at that time; ``hint`` follows an unknown word."""
    word, text = words[0], " ".join(words)
    if word not in STEPS:
        raise WrongUsage("no step is called %r; there are %s%s" % (word, ", ".join(STEPS), hint))
    kind = STEPS[word]
    try:
        arguments, keywords = _read_parts(kind.usage, words[1:], names)
        if kind.usage.startswith("EVENT"):
            event, host, *fields = arguments
            arguments = [wanted(event, host, keywords.pop("about", ""), dict(fields))]
    except Mismatch:
        usage = (word + " " + kind.usage).strip()
        raise WrongUsage("%s: write it as `%s`" % (text, usage)) from None
    except WrongUsage as error:
        raise WrongUsage("%s: %s" % (text, error)) from None
    if kind is STEPS["split"] and any(name.startswith("n") for name in arguments):
        raise WrongUsage("%s: the cable of an n host is in the router: split the router" % text)
    if kind is STEPS["split"] and any(name.startswith("f") for name in arguments):
        raise WrongUsage("%s: f hosts have a switch of their own: unplug them" % text)
    if word == "add" and len([name for name in names if name != ROUTER]) >= MAX_HOSTS:
        raise WrongUsage("add: there are %d hosts already" % MAX_HOSTS)
    return Step(text, kind, arguments, keywords)


def _read_parts(
    usage: str, words: List[str], names: List[str]
) -> Tuple[List[Any], Dict[str, Any]]:
    """Return the arguments and the keyword arguments that the words stand for."""
    # By its first word, the token that follows it.
    named = dict(re.findall(r"\[([a-z]+) ([A-Z]+)\]", usage))
    arguments: List[Any] = []
    keywords: Dict[str, Any] = {}
    rest = list(words)

    def read_keywords() -> None:
        while rest and rest[0] in named:
            word = rest.pop(0)
            token = named.pop(word)
            found = _read_word(token, rest.pop(0) if rest else "", names)
            keywords[KEYWORDS[word]] = found if token == "HOSTS" else found[0]

    read_keywords()
    for part in re.findall(r"\[.+?\]|\S+", usage):
        token, *dots = part.strip("[]").split()
        optional, repeated = part.startswith("["), bool(dots)
        if optional and token.islower():
            continue  # a keyword argument
        while not optional or (rest and rest[0] not in named and _fits(token, rest[0])):
            arguments += _read_word(token, rest.pop(0) if rest else "", names)
            if not repeated:
                break
        read_keywords()
    if rest:
        raise Mismatch
    return arguments, keywords


def _fits(token: str, word: str) -> bool:
    """True if ``word`` can stand in the place of ``token``, which may also be left out."""
    return token != "FIELD=VALUE" or "=" in word


def _read_word(token: str, word: str, names: List[str]) -> List[Any]:
    """Return the arguments that ``word`` stands for in the place of ``token``."""
    if not word or (token.islower() and word != token):
        raise Mismatch
    if token.islower():
        return []
    if token in ("HOST", "HOSTS", "CABLES"):
        return _read_names(token, word, names)
    if token == "SECONDS":
        if not re.match(r"[0-9]+(\.[0-9]+)?$", word) or float(word) > 1e6:
            raise WrongUsage("%r is not a number of seconds" % word)
        return [float(word)]
    if token in ("PORT", "COUNT", "SIZE"):
        if not re.match(r"[0-9]{1,5}$", word) or int(word) > 65535:
            raise WrongUsage("%r is not a number from 0 to 65535" % word)
        return [int(word)]
    if token == "PERCENT":
        if not re.match(r"[0-9]{1,3}(\.[0-9]{1,2})?%?$", word) or float(word.rstrip("%")) > 100:
            raise WrongUsage("%r is not a percentage; write it like 0.5 or 20" % word)
        return [float(word.rstrip("%"))]
    if token == "RATE":
        bits_a_second(word)
    if token == "DELAYS":
        delays(word)
    if word not in CHOICES.get(token, [word]):
        raise WrongUsage("there is no %r; there are %s" % (word, ", ".join(CHOICES[token])))
    if token == "COMMAND" and word not in COMMANDS and not word.startswith("/"):
        known = ", ".join(COMMANDS)
        raise WrongUsage("%r cannot be asked; there are %s, and paths like /cluster" % (word, known))
    return [word.split("=", 1)] if token == "FIELD=VALUE" else [word]


def _read_names(token: str, word: str, names: List[str]) -> List[str]:
    """Return the devices in ``h1,router``, each once."""
    known = names if token == "CABLES" else [name for name in names if name != ROUTER]
    found = list(dict.fromkeys(word.split(",")))
    for name in found:
        if name not in known:
            raise WrongUsage("there is no %r; there are %s" % (name, ", ".join(known)))
    if token == "HOST" and len(found) > 1:
        raise Mismatch
    return found
