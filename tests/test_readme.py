"""The README is held to what it says: options, events, words, modules, the example."""

import glob
import os
import re

import pytest
from support import ROOT

from p2p_plain import Node, display, messages
from p2p_plain.options import OPTIONS, read_plainly


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
    return re.findall(r"^``([\w-]+)[^`\n]*``(?=  |$)", text, re.M)


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
    assert events == set(display._TELL)


def test_every_message_and_every_reason_is_explained(readme):
    wire = section(readme, "The wire")
    assert set(first_column(wire)) - {"msgtype"} >= set(messages._READERS)
    for reason in messages.BYE_REASONS:
        assert "``%s``" % reason in wire, reason


def test_every_module_stands_in_the_reading_order_and_imports_only_from_above(readme):
    order = first_column(section(readme, "Read the source in this order"))
    files = glob.glob(os.path.join(ROOT, "p2p_plain", "*.py"))
    modules = {os.path.basename(name)[:-3] for name in files} - {"__init__", "__main__"}
    assert set(order) == modules
    for number, module in enumerate(order):
        with open(os.path.join(ROOT, "p2p_plain", module + ".py"), encoding="utf-8") as file:
            text = file.read()
        used = set(re.findall(r"^ *from \.(\w+) import", text, re.M))
        for names in re.findall(r"^ *from \. import (.+)", text, re.M):
            used |= set(names.split(", ")) - {"__commit__", "__version__"}
        assert used <= set(order[:number]), "%s imports %s" % (module, used - set(order[:number]))


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


def test_every_command_that_is_shown_is_one_that_the_program_takes(readme):
    for line in re.findall(r"^    python3 -m p2p_plain (--.*)$", readme, re.M):
        assert read_plainly(line.split()), line
