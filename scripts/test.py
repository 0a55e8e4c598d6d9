#!/usr/bin/env python3
"""Run the tests: ``python3 scripts/test.py`` on a fresh machine, and nothing before it.

    python3 scripts/test.py               with this Python, in less than three minutes
    python3 scripts/test.py --all         everything, with every Python from 3.6 up that is found here
    python3 scripts/test.py -k ties -x    other options and paths go to pytest

The program itself needs nothing installed; its tests need pytest.  Where pytest cannot be
imported it is installed into a private virtual environment, ``.venv-tests`` in the project's
folder, one for each Python.

Most tests wait for processes and timers and leave the processor idle.  So several pytest
processes run side by side, each with a few test files.  Ctrl-C ends them all.

Tests marked ``once`` (see ``setup.cfg``) run with ``--all``, on the newest Python, or if they are asked
for by a path or by ``-m``.  With ``--all`` only the oldest and the newest Python run those marked ``long``.
"""

import contextlib
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Counter as Counts
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ENVIRONMENTS = os.path.join(ROOT, ".venv-tests")
OLDEST = (3, 6)

SLOWEST = [
    "tests/scripts/test_lab_unstable.py",
    "tests/scripts/test_lab_losses.py",
    "tests/scripts/test_lab_faults.py",
    "tests/system/test_impostors.py",
    "tests/scripts/test_lab.py",
    "tests/scripts/test_lab_document.py",
    "tests/scripts/test_lab_paths.py",
    "tests/scripts/test_bench.py",
    "tests/system/test_broadcast_floods.py",
    "tests/scripts/test_conformance.py",
    "tests/scripts/test_soak.py",
    "tests/monitor/test_unmet.py",
    "tests/node/test_overlay.py",
    "tests/scripts/test_attack.py",
    "tests/tour/test_tour.py",
    "tests/monitor/test_restarts.py",
    "tests/scripts/test_lab_steps.py",
    "tests/scripts/test_lesson_scenes.py",
    "tests/system/test_main_job.py",
    "tests/scripts/test_build.py",
    "tests/scripts/test_test.py",
    "tests/scripts/test_onefile.py",
    "tests/web/test_page.py",
    "tests/scripts/test_fuzz.py",
    "tests/node/test_session.py",
    "tests/system/test_siege.py",
]
"""Files that start first, each in a process of its own.  The others share a process for each folder,
because a process costs half a second before its first test."""

AT_ONCE = min(16, 2 * (os.cpu_count() or 1))
"""How many pytest processes run side by side.  They need a quarter of a processor each."""

SECONDS_TO_END = 5
"""Seconds that a pytest process has after Ctrl-C to stop what its tests started; then it is killed."""

ONE_PROCESS = re.compile(r"-k|-s$|-h$|--(pdb|trace|collect|co$|help|version|fixtures|markers|setup-)")
"""Options with which one pytest, attached to the terminal, does it better."""

OPTIONS_WITH_A_WORD = ("-k", "-m", "-o", "-p", "-r", "-W", "-c")

# Python 3.6 brings pip 18, which does not always choose a release that still runs on 3.6.
PACKAGES_FOR_3_6 = ["pip<22", "pytest<7.1"]

NOTHING_SELECTED = 5
"""The exit code of a pytest that found no test that its options select."""

NO_FAILURE = (0, NOTHING_SELECTED)

Version = Tuple[int, ...]


class Job(NamedTuple):
    """One pytest process to run."""

    python: str
    """The heading under which its results are counted: ``3.6.15``."""
    command: List[str]


def main(argv: List[str]) -> int:
    """Run what the command line says; return 0 if every test passed."""
    if argv and argv[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    words = [word for word in argv if word != "--all"]
    options, paths = divided(words)
    files = test_files(paths)
    one_process = any(map(ONE_PROCESS.match, options)) or any("::" in path for path in paths)
    if one_process or len(files) == 1:
        groups = [paths or ["tests"]]
        if "--all" not in argv:
            return subprocess.call(pytest_command(sys.executable) + words, cwd=ROOT)
    else:
        groups = grouped(files)
    options = [option for option in options if option not in ("-q", "--quiet")]
    if "--all" not in argv and not paths and "-m" not in options:
        options = ["-m", "not once", *options]
    pythons = find_pythons() if "--all" in argv else {tuple(sys.version_info[:3]): sys.executable}
    return run(jobs(pythons, groups, options), stop_at_first="-x" in options)


def divided(words: List[str]) -> Tuple[List[str], List[str]]:
    """Divide pytest's arguments into options and paths."""
    options, paths = [], []  # type: Tuple[List[str], List[str]]
    for before, word in zip([""] + words, words):
        is_path = before not in OPTIONS_WITH_A_WORD and os.path.exists(
            os.path.join(ROOT, word.partition("::")[0])
        )
        (paths if is_path else options).append(word)
    return options, paths


def test_files(paths: List[str]) -> List[str]:
    """Return the test files at or below these paths (by default all), as pytest names them."""
    found = []
    for path in paths or ["tests"]:
        path = os.path.join(ROOT, path)
        inside = glob.glob(os.path.join(path, "**", "test_*.py"), recursive=True)
        found += [os.path.relpath(name, ROOT).replace(os.sep, "/") for name in inside or [path]]
    return found


def grouped(files: List[str]) -> List[List[str]]:
    """Divide the files among processes, the longest first."""
    alone = [[name] for name in SLOWEST if name in files]
    return alone + by_folder(sorted(set(files).difference(SLOWEST)))


def by_folder(files: List[str]) -> List[List[str]]:
    """Return the files of each folder, those of the fullest one first."""
    folders = {}  # type: Dict[str, List[str]]
    for name in files:
        folders.setdefault(os.path.dirname(name), []).append(name)
    return sorted(folders.values(), key=len, reverse=True)


def jobs(pythons: Dict[Version, str], groups: List[List[str]], options: List[str]) -> List[Job]:
    """Return what each Python runs, the longest first."""
    versions = sorted(pythons)
    with ThreadPoolExecutor(AT_ONCE) as pool:  # a virtual environment takes ten seconds to make
        commands = dict(zip(versions, pool.map(pytest_command, map(pythons.get, versions))))
    oldest, newest = versions[0], versions[-1]
    everything = {newest: []}  # type: Dict[Version, List[str]]
    everything.setdefault(oldest, ["-m", "not once"])
    todo = [(version, fewer, group) for group in groups for version, fewer in everything.items()]
    # Where the long tests are left out, no file is worth a process of its own.
    folders = by_folder([name for group in groups for name in group])
    others = [version for version in versions if version not in everything]
    todo += [(version, ["-m", "not long"], group) for group in folders for version in others]
    return [
        Job(
            ".".join(map(str, version)),
            commands[version] + ["-o", "console_output_style=classic"] + fewer + options + group,
        )
        for version, fewer, group in todo
    ]


def run(todo: List[Job], stop_at_first: bool) -> int:
    """Run the jobs side by side and print what comes of them; return the exit code."""
    started = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = Report({job.python for job in todo})
    processes = Processes()
    codes = set()  # type: Set[int]
    interrupted = False
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for done in as_completed([pool.submit(processes.run, job, report) for job in todo]):
                codes.add(done.result())
                if stop_at_first and codes.difference(NO_FAILURE):
                    processes.stop()
        except KeyboardInterrupt:
            interrupted = True
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave processes behind
            processes.stop()
    report.close(time.monotonic() - started)
    if interrupted:
        print("interrupted")
        return 2
    if codes == {NOTHING_SELECTED}:
        return NOTHING_SELECTED
    return 1 if codes.difference(NO_FAILURE) else 0


class Processes:
    """The pytest processes that run now, so that all of them can be stopped.  Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        """Guards the two below: no process starts after `stop` has looked which ones run."""
        self._running = set()  # type: Set[subprocess.Popen[str]]
        self._stopped = False

    def run(self, job: Job, report: "Report") -> int:
        """Run one job to its end and return its exit code; 0 if it was stopped."""
        with self._lock:
            if self._stopped:
                return 0
            # A session of its own: stopping it reaches whatever its tests have started.
            process = subprocess.Popen(
                job.command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                universal_newlines=True,
                errors="replace",
                start_new_session=True,
            )
            self._running.add(process)
        assert process.stdout is not None
        with process.stdout:
            sections = report.files(job, process.stdout)
        code = process.wait()
        with self._lock:
            self._running.discard(process)
            if self._stopped and code != 1:
                return 0
        return report.sections(job, sections, code)

    def stop(self) -> None:
        """Interrupt all processes, and kill those that do not end soon."""
        with self._lock:
            self._stopped = True
            running = set(self._running)
        for process in running:
            send(process, signal.SIGINT)
        deadline = time.monotonic() + SECONDS_TO_END
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0, deadline - time.monotonic()))
            send(process, getattr(signal, "SIGKILL", signal.SIGTERM))


def send(process: "subprocess.Popen[str]", number: int) -> None:
    """Send a signal to a process and to those that it started."""
    with contextlib.suppress(OSError):
        if os.name == "nt":
            process.kill()
        else:
            os.killpg(process.pid, number)


class Report:
    """Prints results as they come, and counts them.  Any thread."""

    OUTCOMES = {".": "passed", "s": "skipped", "F": "failed", "E": "error", "x": "xfailed", "X": "xpassed"}
    COUNTED = ("failed", "passed", "skipped", "deselected", "xfailed", "xpassed", "warning", "error")
    """What the last line of pytest counts, in its order."""
    FILE = re.compile(r"(\S+\.py) ([%s]+)\s*$" % "".join(OUTCOMES))
    VERBOSE = re.compile(r"\S+\.py::.* [A-Z]{5,}")
    DURATION = re.compile(r"\d+\.\d+s (call|setup|teardown) ")

    def __init__(self, pythons: Set[str]) -> None:
        self._several = len(pythons) > 1
        self._lock = threading.Lock()
        """Guards what is below and the order of printed lines."""
        self._counts = {python: Counter() for python in pythons}  # type: Dict[str, Counts[str]]
        self._failures = []  # type: List[str]
        self._durations = []  # type: List[str]

    def _name(self, job: Job) -> str:
        return "Python %-7s " % job.python if self._several else ""

    def files(self, job: Job, lines: Iterator[str]) -> List[str]:
        """Print a line for each test file that pytest has finished; return its other lines."""
        started, others = time.monotonic(), []
        for line in lines:
            line = line.rstrip("\n")
            found = self.FILE.match(line)
            if not found and not self.VERBOSE.match(line):
                others.append(line)
                started = time.monotonic()
                continue
            if found:
                counts = Counter(self.OUTCOMES[letter] for letter in found.group(2))
                said = "%s%-38s %s" % (self._name(job), found.group(1), in_words(counts))
                line = "%-80s %5.1f s" % (said, time.monotonic() - started)
            with self._lock:
                print(line, flush=True)
            started = time.monotonic()
        return others

    def sections(self, job: Job, lines: List[str], code: int) -> int:
        """Print what pytest said besides: failures in full, warnings, what its options asked for.

        Return the exit code; that of a failure if pytest did not come to its last line.
        """
        headings = [number for number, line in enumerate(lines) if line.startswith("=====")]
        in_order = len(headings) > 1 and code in (1,) + NO_FAILURE
        last = lines[headings[-1]] if headings else ""
        if in_order:
            lines = lines[headings[1] : headings[-1]]
        with self._lock:
            for number, what in re.findall(r"(\d+) (%s)" % "|".join(self.COUNTED), last):
                self._counts[job.python][what] += int(number)
            for line in lines:
                if self.DURATION.match(line):
                    self._durations.append(self._name(job) + line)
                elif line.startswith(("FAILED ", "ERROR ")):
                    self._failures.append(self._name(job) + line)
            shown = [line for line in lines if line.strip() and not self.DURATION.match(line)]
            if [line for line in shown if not re.search("slowest|durations < ", line)]:
                print("\n".join(lines))
            if not in_order:
                ended = "pytest ended with exit code %d: %s" % (code, " ".join(job.command))
                self._failures.append(self._name(job) + ended)
        return code if in_order else code or 1

    def close(self, seconds: float) -> None:
        """Print what is said once, at the end."""
        if self._durations:
            print("slowest durations")
            print("\n".join(sorted(self._durations, key=seconds_of, reverse=True)))
        for line in self._failures:
            print(line)
        if self._several:
            for python in sorted(self._counts, key=lambda name: list(map(int, name.split(".")))):
                print("Python %-7s %s" % (python, in_words(self._counts[python])))
        total = sum(self._counts.values(), Counter())  # type: Counts[str]
        print("%s in %.2fs" % (in_words(total), seconds))


def in_words(counts: "Counts[str]") -> str:
    """Return ``1 failed, 20 passed, 2 skipped``, in pytest's order."""
    said = ["%d %s" % (counts[name], name) for name in Report.COUNTED if counts[name]]
    return ", ".join(said) or "no tests ran"


def seconds_of(line: str) -> float:
    """Return the seconds in a line of pytest's ``--durations``."""
    found = re.search(r"(\d+\.\d+)s (call|setup|teardown)", line)
    return float(found.group(1)) if found else 0.0


def pytest_command(python: str) -> List[str]:
    """Return the command that runs pytest with that interpreter; install pytest if need be."""
    if not can_import_pytest(python):
        python = private_environment(python)
    return [python, "-m", "pytest", "-p", "no:cacheprovider"]


def can_import_pytest(python: str) -> bool:
    """True if that interpreter can import pytest."""
    return (
        subprocess.call(
            [python, "-c", "import pytest"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        == 0
    )


def private_environment(python: str) -> str:
    """Return the interpreter of a virtual environment with pytest; make it if it is not there."""
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
    """Run a command; print its output and exit if it fails."""
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if run.returncode:
        print(run.stdout.decode("utf-8", "replace"))
        raise SystemExit("could not prepare pytest: %s" % " ".join(command))


def find_pythons() -> Dict[Tuple[int, ...], str]:
    """Return every Python from 3.6 up: this one, those on the PATH, and those of pyenv."""
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
    """Return ``(3, 6, 15)``; ``None`` if it is not a Python 3 that runs."""
    try:
        said = subprocess.check_output(
            [python, "-c", "import sys; print(*sys.version_info[:3])"], stderr=subprocess.DEVNULL
        )
        return tuple(int(part) for part in said.split())
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None  # a shim of pyenv without a version behind it, for one


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
