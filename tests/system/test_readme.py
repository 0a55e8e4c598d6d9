"""The README is held to what it says: options, events, words, modules, the example."""

import glob
import os
import re
import shutil
import subprocess
import sys

import pytest
from tests.support import ROOT

from p2p_plain import Node, __version__
from p2p_plain.terminal import event_lines
from p2p_plain.node import messages
from p2p_plain.commands.options import OPTIONS, read_plainly


@pytest.fixture(scope="module")
def readme():
    with open(os.path.join(ROOT, "README.rst"), encoding="utf-8") as file:
        return file.read()


def section(readme, title):
    """The text under a heading, up to the next."""
    after = readme.split("\n%s\n%s\n" % (title, "-" * len(title)))[1]
    return re.split(r"\n[^\n]+\n-{5,}\n", after)[0]


def first_column(text):
    """The names at the beginning of the rows of a table."""
    return re.findall(r"^``([\w/-]+)[^`\n]*``(?=  |$)", text, re.M)


def test_every_option_of_the_program_stands_in_the_table_and_no_other(readme):
    options = {option.name for option in OPTIONS} | {"--help", "--version"}
    assert set(first_column(section(readme, "Every option"))) == options


def test_the_defaults_in_the_table_are_those_of_a_node(readme):
    config = Node().config
    for option, default in re.findall(
        r"^``--([\w-]+) \w+`` +(\d+)  ", section(readme, "Every option"), re.M
    ):
        assert getattr(config, option.replace("-", "_")) == float(default), option


def test_every_event_stands_in_the_table_and_is_told_to_people(readme):
    events = set(first_column(section(readme, "Events"))) - {"event", "reason"}
    assert events == set(event_lines._TELL)


def test_every_message_and_every_reason_is_explained(readme):
    wire = section(readme, "The wire")
    assert set(first_column(wire)) - {"msgtype"} >= set(messages._READERS)
    for reason in messages.BYE_REASONS:
        assert "``%s``" % reason in wire, reason


def test_every_module_stands_in_the_reading_order(readme):
    package = os.path.join(ROOT, "p2p_plain")
    files = glob.glob(os.path.join(package, "**", "*.py"), recursive=True)
    modules = {os.path.relpath(name, package)[:-3] for name in files}
    order = first_column(section(readme, "Read the source in this order"))
    assert set(order) == {name for name in modules if "__" not in name}


def test_the_librarys_example_runs(readme, make_node, capsys):
    other = make_node()
    (code,) = re.findall(r"\.\. code:: python\n\n((?:    .*\n|\n)+)", readme)
    code = re.sub("^    ", "", code, flags=re.M)
    code = code.replace("6000", str(other.port)).replace("timeout=10", "timeout=0.5")
    exec(compile(code, "README.rst", "exec"), {})
    printed = capsys.readouterr().out
    assert "'listening'" in printed
    assert "'peer_up'" in printed
    assert "hello, everyone" in str(list(other.events(timeout=0.1)))


def test_every_method_of_the_library_is_named(readme):
    library = section(readme, "The library")
    for name in dir(Node):
        if not name.startswith("_"):
            assert name in library, name


def commands(readme):
    """What is shown of the program's own words, a line that goes on put together."""
    text = readme.replace("\\\n", "")
    return re.findall(r"^    .*python3 (?:-m p2p_plain|\S*p2p_plain\.pyz) (--.*)$", text, re.M)


def test_every_command_that_is_shown_is_one_that_the_program_takes(readme):
    found = [line for line in commands(readme) if line != "--version"]
    assert len(found) > 5
    for line in found:
        assert read_plainly(line.split()), line


# -- the page about one file ---------------------------------------------------------------------------


posix = pytest.mark.skipif(os.name == "nt", reason="needs a shell")


def blocks(readme):
    """What is to be typed, on the page about restricted machines."""
    page = section(readme, "Copy it to a restricted machine")
    return [block.replace("\n    ", "\n") for block in re.findall(r"::\n\n    ((?:.+\n)+)", page)]


@pytest.fixture
def machine(tmp_path):
    """``machine(script)``: run it in a shell where ``othermachine`` is a folder next door."""
    for name in ("p2p_plain", "scripts"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(os.path.join(ROOT, name), str(tmp_path / "here" / name), ignore=ignore)
    (tmp_path / "othermachine").mkdir()
    programs = {
        "python3": 'exec "%s" "$@"' % sys.executable,
        "scp": 'cp "$1" ../othermachine',
        "ssh": 'cd ../othermachine && shift && exec "$@"',
    }
    (tmp_path / "bin").mkdir()
    for name, does in programs.items():
        (tmp_path / "bin" / name).write_text("#!/bin/sh\n%s\n" % does)
        (tmp_path / "bin" / name).chmod(0o755)

    def type_in(script, folder="here"):
        env = dict(os.environ, PATH="%s:%s" % (tmp_path / "bin", os.environ["PATH"]))
        command = ["sh", "-e", "-c", script]
        return subprocess.check_output(command, cwd=str(tmp_path / folder), env=env).decode()

    return type_in


@posix
def test_build_copy_run_and_unpack(readme, machine):
    build, unpack = blocks(readme)[:2]
    said = machine(build.replace("--bootstrap 192.0.2.2:6000", "--version"))
    assert said.splitlines()[-1] == "p2p_plain " + __version__
    assert machine(unpack, "othermachine") == "p2p_plain %s\n" % __version__


@posix
def test_what_cron_runs_says_nothing_until_there_is_something_to_say(readme, onefile, make_node):
    (line,) = [block for block in blocks(readme) if block.startswith("0 * * * * ")]
    node = make_node()
    line = line[len("0 * * * * ") :].replace("127.0.0.1:6000", "127.0.0.1:%d" % node.port)
    line = line.replace("python3 /opt/p2p_plain.pyz", '"%s" "%s"' % (sys.executable, onefile))
    assert "%" not in line  # for cron that is the end of the line
    for expect, said in (("1", ""), ("2 --within 0", "2 nodes are expected")):
        typed = line.replace("--expect 12", "--expect " + expect)
        told = subprocess.check_output(["sh", "-c", typed]).decode()
        assert said in told
        assert bool(said) == bool(told)


def test_the_unit_is_the_same_for_the_folder_and_for_the_file(readme):
    units = [line for line in commands(readme) if "/var/lib" in line]
    assert len(units) == 2
    assert len({tuple(line.split()) for line in units}) == 1


def test_every_lesson_stands_in_the_table_and_in_order(readme):
    files = glob.glob(os.path.join(ROOT, "scripts", "lessons", "*.py"))
    names = {os.path.basename(path) for path in files} - {"classroom.py", "wire.py"}
    told = re.findall(r"^``(\w+\.py)``  ", section(readme, "Learn sockets from it"), re.M)
    assert told == sorted(names)
