"""Whether nodes agree: each is asked in five ways, all at one moment, and the answers are compared.

``matrix`` and ``check`` judge the rows that a node sends them.  The node itself judges for its
``/cluster``, its page and its metrics.  All five must say the same, on every node.
"""

import json
import os
import re
import subprocess
from typing import Any, Collection, Dict, Iterable, List, NamedTuple, Optional, Set, Tuple

from .errors import Failed
from .network import Host
from .node import Program

OUTPUTS = ("matrix", "check", "/cluster", "/page.json", "/metrics")

QUESTIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "questions.py")

WELL, BROKEN = "well", "broken"

SAYS_NOTHING = "-"
"""The word of an output that has none: one of an older version of the program."""

NO_ANSWER = "?"

NOT_FOUND = 404
"""The status of a page that an older version does not have."""

MINOR = frozenset(("late", "slow", "slow-pair"))
"""Verdicts that a busy machine adds.  They count only where they are asked for."""

Cause = Tuple[str, Tuple[str, ...]]
"""The kind of a verdict, and the names of its nodes in order."""

Answers = Dict[str, Tuple[int, str]]
"""By question: the exit code or the HTTP status, and the text."""


class Asker:
    """Asks the node on one host.  The process that does so runs until ``close``."""

    def __init__(self, host: str, program: Program) -> None:
        self._host = host
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", host, program.python, QUESTIONS, program.folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        )

    def put(self, questions: Iterable[str], node: str, page: str, network: str) -> None:
        """Put questions to it, and do not wait.  ``node`` and ``page`` are addresses."""
        asked = {"ask": list(questions), "node": node, "page": page, "network": network}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()

    def get(self) -> Answers:
        """Wait for the answers.  Raises ``Failed`` if there are none: a command has crashed."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Failed("asking the node on %s has ended with an error" % self._host)
        answers = json.loads(line)
        return {question: (code, text) for question, (code, text) in answers.items()}

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


class Said(NamedTuple):
    """What one node says."""

    words: Dict[str, str]
    """By output: ``WELL``, ``BROKEN``, ``SAYS_NOTHING`` or ``NO_ANSWER``."""
    causes: Dict[str, Set[Cause]]
    """By output, for those that have verdicts."""
    texts: List[str]
    """The verdicts of its matrix, in words."""

    @property
    def word(self) -> str:
        """What all outputs say; empty if they differ."""
        found = set(self.words.values()) - {SAYS_NOTHING}
        return found.pop() if len(found) == 1 else ""

    def others(self, kind: str, about: Collection[str] = ()) -> Set[Cause]:
        """The causes in its matrix that are not of this kind, and about these nodes if any are given.

        No answer is one, too.
        """
        names = tuple(sorted(about))
        found = {cause for cause in self.grave() if cause != (kind, names or cause[1])}
        return found if self.words["matrix"] != NO_ANSWER else {(NO_ANSWER, ())}

    def grave(self, output: str = "matrix") -> Set[Cause]:
        """The causes without minor ones, and without the remark that all is well."""
        return {cause for cause in self.causes[output] if cause[0] not in MINOR | {WELL}}


class Wish(NamedTuple):
    """What all nodes should say: a word or the kind of a verdict, the names in it, a text in it."""

    word: str = ""
    about: Collection[str] = ()
    text: str = ""

    def missing(self, said: Said) -> bool:
        """True if the node says something else, or names another cause besides."""
        if self.text and not any(self.text in text for text in said.texts):
            return True
        if self.word in ("", WELL, BROKEN):
            return self.word not in ("", said.word)
        causes = said.causes["matrix"] if self.word in MINOR else said.grave()
        names = tuple(sorted(self.about))
        return [(kind, names and found) for kind, found in causes] != [(self.word, names)]

    def __str__(self) -> str:
        about = ["about " + ",".join(self.about)] if self.about else []
        text = ["saying %r" % self.text] if self.text else []
        return " ".join([self.word or "the same", *about, *text])


def understood(answers: Answers) -> Said:
    """Return what the answers of one node say; one that was not asked for says nothing."""
    words = dict.fromkeys(OUTPUTS, SAYS_NOTHING)
    causes: Dict[str, Set[Cause]] = {"matrix": set()}
    texts: List[str] = []
    names: Dict[str, str] = {}
    for output, (code, text) in answers.items():
        found: Dict[str, Any] = {"ok": _gauge(text)} if output == "/metrics" else _read(text)
        if not found:
            words[output] = SAYS_NOTHING if code == NOT_FOUND else NO_ANSWER
            continue
        if found.get("ok") is not None:
            words[output] = WELL if found["ok"] else BROKEN
        if output == "/cluster" and found["ok"] != (code == 200):
            words[output] = str(code)  # its text and its status contradict each other
        if output == "matrix":
            names = {node["nodeid"]: node["name"] for node in found["nodes"]}
            texts = [one["text"] for one in found["verdicts"]]
        if "verdicts" in found:
            causes[output] = {_cause(one, names) for one in found["verdicts"]}
    return Said(words, causes, texts)


def _cause(verdict: Dict[str, Any], names: Dict[str, str]) -> Cause:
    return verdict["kind"], tuple(sorted({names.get(n) or n for n in verdict["nodes"]}))


def _read(text: str) -> Dict[str, Any]:
    """Return the JSON object; an empty one in place of an error message."""
    try:
        return dict(json.loads(text))
    except ValueError:
        return {}


def _gauge(text: str) -> Optional[bool]:
    found = re.search(r"^p2p_plain_network_ok (\d)", text, re.M)
    return found.group(1) == "1" if found else None


def contradiction(said: Dict[str, Said]) -> str:
    """Return the first node that says one thing here and another there; empty if there is none."""
    for name, one in said.items():
        if not one.word:
            outputs = ", ".join("%s: %s" % item for item in one.words.items())
            return "%s contradicts itself: %s" % (name, outputs)
        if any(one.grave(output) != one.grave() for output in one.causes):
            return "%s names different causes in %s" % (name, " and ".join(one.causes))
    return ""


def disagreement(said: Dict[str, Said], hosts: Dict[str, Host], wish: Wish) -> str:
    """Return the first thing in which nodes differ from one another or from the wish; or "".

    Nodes that no cable joins see different networks: they need not name the same causes.
    """
    for name, one in said.items():
        for other in said:
            if one.word != said[other].word:
                return "%s says %s, %s says %s" % (name, one.word, other, said[other].word)
            if one.grave() != said[other].grave() and other in _joined(name, hosts):
                return "%s and %s name different causes" % (name, other)
    unfulfilled = [name for name, one in said.items() if wish.missing(one)]
    return "%s: not %s" % (", ".join(unfulfilled), wish) if unfulfilled else ""


def _joined(name: str, hosts: Dict[str, Host]) -> Set[str]:
    """Return the hosts with an awake node to which cables lead, by way of others too."""
    found, ahead = {name}, [name]
    while ahead:
        here = hosts[ahead.pop()]
        near = {n for n, host in hosts.items() if host.awake and here.reaches(host)} - found
        found |= near
        ahead += near
    return found
