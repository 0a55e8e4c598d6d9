#!/usr/bin/env python3
"""Run the tests: ``python3 scripts/test.py`` on a fresh machine, and nothing before it.

    python3 scripts/test.py               with this Python
    python3 scripts/test.py --all         with every Python from 3.6 up that is found here
    python3 scripts/test.py -k ties -x    anything else goes to pytest

The program itself needs nothing installed; its tests need pytest.  Where pytest cannot be
imported it is installed into a private virtual environment, ``.venv-tests`` in the project's
folder, one for each Python.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Dict, List, Optional, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ENVIRONMENTS = os.path.join(ROOT, ".venv-tests")
OLDEST = (3, 6)

ABOUT_SCRIPTS = [
    "tests/scripts/test_%s.py" % name for name in ("bench", "build", "conformance", "fuzz", "soak")
]
"""Long tests whose subject is a script, not the node: ``--all`` runs them on the oldest and on the
newest Python."""

AT_ONCE = min(2, os.cpu_count() or 1)
"""How many Pythons ``--all`` tries at the same time.  Tests that wait for processes and timers leave most
of a core idle, so two share it well.  With three, two cores are ready in 19 minutes instead of 27, but
the laboratory's nodes run late, and rightly count less of what they measure than its tests expect."""

# Python 3.6 brings pip 18, which does not always choose a release that still runs on 3.6.
PACKAGES_FOR_3_6 = ["pip<22", "pytest<7.1"]


def main(argv: List[str]) -> int:
    """0 if every run passed."""
    if argv and argv[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if "--all" not in argv:
        return subprocess.call(pytest_command(sys.executable) + argv, cwd=ROOT)
    argv = [word for word in argv if word != "--all"]
    failed = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        pythons = sorted(find_pythons().items())
        # The longest first, so that none of them is left to run alone.
        longest_first = sorted(pythons, key=lambda found: len(ignored(found[0], pythons)))
        runs = [
            (
                "Python " + ".".join(map(str, version)),
                pool.submit(run_pytest, python, argv + ignored(version, pythons)),
            )
            for version, python in longest_first
        ]
        for name, run in runs:
            code, lines = run.result()
            print(name, flush=True)
            if code:
                failed.append(name)
                print("\n".join(lines[:-1]))
            print(lines[-1] if lines else "no output", flush=True)
    print("failed: %s" % ", ".join(failed) if failed else "passed on every Python found")
    return 1 if failed else 0


def ignored(version: Tuple[int, ...], pythons: List[Tuple[Tuple[int, ...], str]]) -> List[str]:
    """What the Pythons between the oldest and the newest need not try again."""
    if version in (pythons[0][0], pythons[-1][0]):
        return []
    return ["--ignore=" + path for path in ABOUT_SCRIPTS]


def run_pytest(python: str, argv: List[str]) -> Tuple[int, List[str]]:
    """The exit code, and what was printed."""
    run = subprocess.run(
        pytest_command(python) + ["-q"] + argv,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return run.returncode, run.stdout.decode("utf-8", "replace").rstrip().splitlines()


def pytest_command(python: str) -> List[str]:
    """How to run pytest with that interpreter; installs it if need be."""
    if not can_import_pytest(python):
        python = private_environment(python)
    return [python, "-m", "pytest", "-p", "no:cacheprovider"]


def can_import_pytest(python: str) -> bool:
    """Whether that interpreter has pytest."""
    return (
        subprocess.call(
            [python, "-c", "import pytest"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        == 0
    )


def private_environment(python: str) -> str:
    """The interpreter of a virtual environment with pytest in it, made if it is not there."""
    version = version_of(python)
    if version is None:
        raise SystemExit("%s is not a Python that runs" % python)
    home = os.path.join(ENVIRONMENTS, ".".join(map(str, version)))
    inside = os.path.join(home, "Scripts" if os.name == "nt" else "bin", "python")
    if can_import_pytest(inside) if os.path.exists(inside) else False:
        return inside
    shutil.rmtree(home, ignore_errors=True)
    run_quietly([python, "-m", "venv", home])
    packages = PACKAGES_FOR_3_6 if version[:2] == (3, 6) else ["pytest"]
    for package in packages:
        run_quietly([inside, "-m", "pip", "install", "-q", "--upgrade", package])
    return inside


def run_quietly(command: List[str]) -> None:
    """Show what a command said only if it failed."""
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if run.returncode:
        print(run.stdout.decode("utf-8", "replace"))
        raise SystemExit("could not prepare pytest: %s" % " ".join(command))


def find_pythons() -> Dict[Tuple[int, ...], str]:
    """Every Python from 3.6 up: this one, those on the PATH, and those of pyenv."""
    candidates = [sys.executable]
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        candidates += glob.glob(os.path.join(folder, "python3.*"))
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    candidates += glob.glob(os.path.join(pyenv, "versions", "3.*", "bin", "python3"))
    found: Dict[Tuple[int, ...], str] = {}
    for python in candidates:
        # python3.11-config and other neighbours are no interpreters.
        if re.search(r"python3(\.\d+)?(\.exe)?$", python) and os.access(python, os.X_OK):
            version = version_of(python)
            if version is not None and version >= OLDEST:
                found.setdefault(version, python)
    return found


def version_of(python: str) -> Optional[Tuple[int, ...]]:
    """``(3, 6, 15)``; ``None`` if it is not a Python 3 that runs."""
    try:
        said = subprocess.check_output(
            [python, "-c", "import sys; print(*sys.version_info[:3])"], stderr=subprocess.DEVNULL
        )
        return tuple(int(part) for part in said.split())
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None  # a shim of pyenv without a version behind it, for one


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
