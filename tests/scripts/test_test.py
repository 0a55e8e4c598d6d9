"""The test runner: files side by side, failures in full, and nothing left after Ctrl-C."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from scripts import test as runner
from tests.support import PATIENCE, ROOT, wait_until

pytestmark = pytest.mark.long

SLEEPS = "import subprocess, sys\ndef test_it():\n    open(%r, 'w').close()\n    subprocess.call(['sleep', '60'])\n"


@pytest.fixture
def run_tests(tmp_path):
    """``run_tests(options, name=text, ...)``: run a project with these test files; code and lines."""

    def start(*options, **files):
        for name, text in files.items():
            (tmp_path / "tests" / (name + ".py")).write_text(text)
        return subprocess.Popen(
            [sys.executable, str(tmp_path / "scripts" / "test.py")] + list(options),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"),
        )

    def run(*options, **files):
        process = start(*options, **files)
        lines = process.communicate(timeout=60)[0].splitlines()
        return process.returncode, lines

    (tmp_path / "scripts").mkdir()
    (tmp_path / "tests").mkdir()
    shutil.copy(os.path.join(ROOT, "scripts", "test.py"), str(tmp_path / "scripts"))
    run.start = start
    return run


def test_each_file_has_a_line_and_the_last_line_is_pytests(run_tests):
    code, lines = run_tests(
        test_one="def test_a(): pass\ndef test_b(): pass\n",
        test_two="import pytest\ndef test_a(): pytest.skip('no')\n",
    )
    assert code == 0
    found = [re.match(r"(tests/\w+\.py) +(.*?) +\d+\.\d s$", line) for line in lines[:-1]]
    assert sorted(match.groups() for match in found) == [
        ("tests/test_one.py", "2 passed"),
        ("tests/test_two.py", "1 skipped"),
    ]
    assert re.match(r"2 passed, 1 skipped in \d+\.\d\ds$", lines[-1])


def test_a_failure_is_shown_in_full_and_named_again_at_the_end(run_tests):
    code, lines = run_tests(
        test_one="def test_a():\n    assert 1 + 1 == 3\n", test_two="def test_a(): pass\n"
    )
    assert code == 1
    assert any("assert (1 + 1) == 3" in line for line in lines)
    assert lines[-2].startswith("FAILED tests/test_one.py::test_a")
    assert lines[-1].startswith("1 failed, 1 passed in ")


@pytest.mark.parametrize("text", ["import os\ndef test_a(): os._exit(0)\n", "import not_there\n"])
def test_a_file_that_breaks_pytest_fails_the_run_and_is_named(run_tests, text):
    """Whether it ends the process or cannot be imported."""
    code, lines = run_tests(test_one=text, test_two="def test_a(): pass\n")
    assert code == 1
    assert any("exit code" in line and "tests/test_one.py" in line for line in lines[-4:])


def test_options_and_paths_go_to_pytest(run_tests):
    two = "def test_a(): pass\ndef test_b(): pass\n"
    paths = ("tests/test_one.py", "tests/test_two.py")
    code, lines = run_tests("--durations=0", "-vv", *paths, test_one=two, test_two=two)
    assert code == 0
    assert sum("s call " in line for line in lines) == 4
    assert sum(line.endswith(" PASSED") for line in lines) == 4
    assert lines[-1].startswith("4 passed in ")
    code, lines = run_tests("-k", "test_b")
    assert (code, "2 passed, 2 deselected" in lines[-1]) == (0, True)
    code, lines = run_tests("tests/test_two.py::test_a")
    assert (code, "1 passed" in lines[-1]) == (0, True)
    code, lines = run_tests("-m", "nothing")
    assert (code, "4 deselected" in lines[-1]) == (runner.NOTHING_SELECTED, True)


def test_tests_marked_once_run_if_they_are_asked_for(run_tests):
    code, lines = run_tests(
        test_one="import pytest\n@pytest.mark.once\ndef test_a(): pass\ndef test_b(): pass\n",
        test_two="def test_a(): pass\n",
    )
    assert (code, lines[-1].startswith("2 passed, 1 deselected")) == (0, True), lines
    for words in (["tests"], ["-m", "once or not once"]):
        code, lines = run_tests(*words)
        assert (code, lines[-1].startswith("3 passed")) == (0, True), lines
    assert "1 passed" in run_tests("-k", "test_b")[1][-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_every_process(run_tests, tmp_path, number):
    """Also those that a test has started: none of them keeps the output open."""
    begun = str(tmp_path / "begun")
    process = run_tests.start(test_one=SLEEPS % begun, test_two="def test_a(): pass\n")
    wait_until(lambda: os.path.exists(begun))
    started = time.monotonic()
    process.send_signal(number)
    lines = process.communicate(timeout=PATIENCE)[0].splitlines()
    assert time.monotonic() - started < runner.SECONDS_TO_END + 2
    assert process.returncode == 2
    assert lines[-1] == "interrupted"


def test_the_files_that_start_first_exist():
    """A file that was renamed would share its process with others, and the suite would take longer."""
    assert [path for path in runner.SLOWEST if not os.path.exists(os.path.join(ROOT, path))] == []
