"""The lessons: short, true to the package, members of a real network, and clear about errors."""

import ast
import io
import os
import re
import shutil
import subprocess
import sys
import tokenize

import pytest

from p2p_plain.tour import guide
from tests.support import ROOT, Program, free_port
from tests.support.lessons import ALL, FOLDER, LESSONS, Terminal, source

# -- with real nodes ---------------------------------------------------------------------------


@pytest.mark.parametrize("lesson", ["07", "08", "09", "whole.py"])
def test_a_lessons_node_is_a_peer_of_a_real_one(lesson):
    with Program("--port", "0", "--bind", "127.0.0.1") as real, Terminal(
        lesson, 0, real.port
    ) as terminal:
        terminal.wait_for("%s is here" % real.nodeid[:8])
        real.wait_for("peer_up")
        real.wait_for("rtt")
        assert not real.events("peer_down")
        real.stop()
        terminal.wait_for("is gone: ")
        if lesson != "08":
            assert "bye, stopping" in terminal.text
        terminal.stop()


def test_a_real_node_dials_lesson_10():
    with Terminal("10", 0) as terminal:
        place = "127.0.0.1:%d" % terminal.port
        with Program("--port", "0", "--bind", "127.0.0.1", "--bootstrap", place) as real:
            real.wait_for("rtt")
            assert "threads that still wait in recv: 0" in terminal.stop()
            assert real.wait_for("peer_down")[0]["reason"] == "stopping"


@pytest.mark.parametrize("lesson", ["08", "whole.py"])
def test_one_address_is_enough_to_find_everyone(lesson):
    """As the header of lesson 8 says: the last one gets the address of the second alone."""
    with Program("--port", "0", "--bind", "127.0.0.1") as real, Terminal(
        lesson, 0, real.port
    ) as second:
        second.wait_for("is here")
        with Terminal(lesson, 0, second.port) as third:
            third.wait_for("%s is here" % real.nodeid[:8])
            third.wait_for("peers: 2")
            real.wait_for("peer_up", 2)
            third.stop()
        second.stop()


# -- what they look like -----------------------------------------------------------------------


def code_lines(text):
    """How many lines have code on them: no docstrings, comments or blank lines."""
    beside = (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    found, statement = set(), []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NEWLINE:
            if [each.type for each in statement] != [tokenize.STRING]:
                found |= {n for t in statement for n in range(t.start[0], t.end[0] + 1)}
            statement = []
        elif token.type not in beside:
            statement.append(token)
    return len(found)


def test_there_are_ten():
    assert [name[:2] for name in LESSONS] == ["%02d" % number for number in range(1, 11)]


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_is_short_and_has_a_header_and_exercises(lesson):
    text = source(lesson)
    assert code_lines(text) <= 90
    assert len(text.splitlines()) <= 155
    assert max(map(len, text.splitlines())) <= 100
    assert header(lesson).startswith("Lesson %d: " % int(lesson[:2]))
    labels = re.findall(r"^(\w+(?: \w+)?)  ", header(lesson), re.M)
    wanted = ["New", "Terminal 1", "Terminal 2", "See", "Then", "For real"]
    assert [label for label in labels if label in wanted] == wanted
    after = text.split("\n# Exercises (answers in ANSWERS.rst)\n")[1]
    assert exercises(lesson) in (["1", "2"], ["1", "2", "3"])
    assert all(line.startswith("#") for line in after.strip().splitlines())


def header(name):
    return ast.get_docstring(ast.parse(source(name)))


def exercises(lesson):
    return re.findall(r"^# (\d)\. ", source(lesson).split("\n# Exercises")[1], re.M)


def test_every_exercise_has_an_answer():
    parts = re.split(r"^(Lesson (\d+): .+)\n-+$", source("ANSWERS.rst"), flags=re.M)
    found = {}
    for title, number, text in zip(parts[1::3], parts[2::3], parts[3::3]):
        lesson = LESSONS[int(number) - 1]
        assert header(lesson).splitlines()[0].rstrip(".") == title
        found[lesson] = re.findall(r"^(\d)\. ", text, re.M)
    assert found == {lesson: exercises(lesson) for lesson in LESSONS}


@pytest.mark.parametrize(
    "lesson, title",
    [
        ("01_listen.py", "A listening socket"),
        ("02_framing.py", "Bytes and lines"),
        ("03_threads.py", "Two locks and a deadlock"),
        ("09_ties.py", "The tie"),
        ("10_stopping.py", "A half-closed connection"),
    ],
)
def test_a_lessons_drawing_is_the_one_of_the_document(lesson, title):
    """The lessons are copied one by one, so each has its own copy of the drawing at its end."""
    assert header(lesson).endswith("\n\n" + "\n".join(guide.drawing(title)))


def test_the_whole_takes_two_pages():
    assert code_lines(source("whole.py")) <= 115


# -- where the package does it for real --------------------------------------------------------


def places(text):
    """Return the (file, line, name) that a text names in the package; the line is often empty."""
    return re.findall(r"(p2p_plain/\S+\.py)(?::(\d+))?  +([\w.]+)", text)


def definition(file, name):
    """Return the line on which a file of the package defines a name."""
    with open(os.path.join(ROOT, file), encoding="utf-8") as opened:
        scope = ast.parse(opened.read()).body
    for part in name.split("."):
        (node,) = [
            each
            for each in scope
            if getattr(each, "name", None) == part
            or any(getattr(t, "id", None) == part for t in getattr(each, "targets", []))
        ]
        scope = getattr(node, "body", [])
    return node.lineno


@pytest.mark.parametrize("name", LESSONS + ["ANSWERS.rst"])
def test_every_place_in_the_package_exists(name):
    found = places(source(name))
    assert found
    for file, line, wanted in found:
        assert definition(file, wanted)
        assert not line  # it would soon be wrong; --help finds it


@pytest.mark.parametrize("lesson", LESSONS)
def test_help_is_the_header_with_the_lines_of_today(lesson):
    with Terminal(lesson, "--help") as terminal:
        text = terminal.wait()
        assert terminal.process.returncode == 0
    assert [(file, name) for file, _, name in places(text)] == [
        (file, name) for file, _, name in places(header(lesson))
    ]
    for file, line, name in places(text):
        assert int(line) == definition(file, name)
    assert len(text.splitlines()) == len(header(lesson).splitlines())


def test_a_copy_far_from_the_package_still_has_help(tmp_path):
    folder = shutil.copytree(FOLDER, str(tmp_path / "copy"))
    text = subprocess.check_output([sys.executable, "03_threads.py", "--help"], cwd=folder).decode()
    assert text.strip() == header("03_threads.py")


@pytest.mark.parametrize("lesson", ALL)
def test_every_command_in_a_text_is_one_that_runs(lesson):
    for name, words in re.findall(r"scripts/(lessons/\w+|\w+)\.py((?: [-\w.:]+)*)", source(lesson)):
        path = os.path.join(ROOT, "scripts", name + ".py")
        assert os.path.exists(path), path
        if name.startswith("lessons/"):
            flags = set(re.findall(r"--\w+", words))
            assert flags <= {"--naive", "--break"}, words
            with open(path, encoding="utf-8") as file:
                assert "--break" not in flags or "def break_it" in file.read()


# -- what can go wrong -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [["--naiv"], ["--naive", "--break"], ["65536"], ["1", "2"], ["7001", "--break", "-1"]]
)
def test_wrong_usage_is_one_line(words):
    with Terminal("01", *words) as terminal:
        text = terminal.wait()
        assert terminal.process.returncode == 2
        assert text.startswith("usage: 01_listen.py [--naive | --break] [PORT]")
        assert text.count("\n") == 0


def test_a_port_that_is_taken_is_one_line():
    with Terminal("04", 0) as first, Terminal("05", first.port) as second:
        text = second.wait()
        assert second.process.returncode == 3
        assert text == "port %d: Address already in use" % first.port


def test_break_without_a_lesson_says_that_nothing_listens():
    with Terminal("07", "--break", free_port()) as terminal:
        text = terminal.wait()
        assert terminal.process.returncode == 1
        assert "nothing listens there; does the lesson run in another terminal?" in text
