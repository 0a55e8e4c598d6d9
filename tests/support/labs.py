"""Laboratories that run side by side: they mostly wait.

A test file that has many of them starts those that are wanted in a fixture of the module, and each of
its tests waits for its own.
"""

import contextlib
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, Dict, Hashable, Iterable, Iterator, List, Tuple

from scripts.test import find_pythons
from tests.support import ROOT

Output = Tuple[int, str]
"""The exit code of a program, and what it printed."""


@contextlib.contextmanager
def side_by_side(
    keys: Iterable[Hashable], play: Callable[[Any], Output], at_once: int
) -> Iterator[Dict[Hashable, "Future[Output]"]]:
    """Play them all, so many at once, in this order; by key, what will have come of each."""
    with ThreadPoolExecutor(at_once) as pool:
        yield {key: pool.submit(play, key) for key in keys}


def wanted(request: Any, parameter: str) -> List[Any]:
    """The values of a parameter in those tests of a fixture's module that will run, each once."""
    tests = [item for item in request.session.items if item.module is request.module]
    calls = [item.callspec.params for item in tests if hasattr(item, "callspec")]
    return list(dict.fromkeys(params[parameter] for params in calls if parameter in params))


def on_oldest_and_newest() -> List[str]:
    """Options of the laboratory: some hosts have the oldest Python that is found here, others the newest."""
    pythons = find_pythons()
    return ["--python", "h1,h3=" + pythons[min(pythons)], "--python", pythons[max(pythons)]]


def run(*command: str) -> Output:
    """Run a script of this project to its end."""
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return done.returncode, done.stdout.decode()
