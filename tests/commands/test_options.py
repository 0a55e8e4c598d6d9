"""The command line is read alike by the quick reader and by argparse; files of options."""

import random

import pytest

from p2p_plain.commands.options import OPTIONS, expand_files, read_plainly
from p2p_plain.commands.usage import read_fully
from p2p_plain.common.errors import CannotStart, UsageError

VALUES = ["0", "6000", "2.5", "x", "", "a=b", "10.0.0.1:6000", "debug", "-3", "--json", "nan", "7 "]


def by_argparse(words):
    """What argparse makes of it; ``None`` if it finds it wrong."""
    try:
        return read_fully(words)
    except UsageError:
        return None


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_read_quickly_argparse_reads_alike(seed):
    """And what argparse refuses is not read quickly."""
    dice = random.Random(seed)
    read = 0
    for _ in range(50):
        words = []
        for option in dice.sample(OPTIONS, dice.randrange(4)):
            value = dice.choice(VALUES)
            if option.metavar is None and dice.random() < 0.9:
                words.append(option.name)
            elif dice.random() < 0.5:
                words.append("%s=%s" % (option.name, value))
            else:
                words += [option.name, value]
        quick = read_plainly(words)
        if quick is not None:
            read += 1
            assert repr(quick) == repr(by_argparse(words)), words  # repr: nan is not nan
    assert read > 5


@pytest.mark.parametrize(
    "words",
    [["--help"], ["-h"], ["--version"], ["--por", "1"], ["--port"], ["--port", "x"], ["--json=1"]]
    + [["--log-level", "loud"], ["word"], ["--port", "--json"], ["--"]],
)
def test_what_is_unusual_is_left_to_argparse(words):
    assert read_plainly(words) is None


def test_a_repeated_option_is_a_list_and_the_last_of_the_others_counts():
    words = ["--bootstrap", "a", "--bootstrap=b", "--port", "1", "--port=2", "--json"]
    found = read_plainly(words)
    assert (found["bootstrap"], found["port"], found["json"]) == (["a", "b"], 2, True)
    assert found["trace"] is False
    assert found["name"] is None


def test_files_of_options_are_put_where_they_are_named(tmp_path):
    args = tmp_path / "a.args"
    args.write_text("--port 1\n--name 'two words' # and a comment\n")
    words = expand_files(["--json", "@" + str(args), "--trace"])
    assert words == ["--json", "--port", "1", "--name", "two words", "--trace"]


def test_a_file_that_names_itself_is_read_once(tmp_path):
    """An @ inside a file is a word like any other: there is no going round in circles."""
    args = tmp_path / "a.args"
    args.write_text("@" + str(args) + "\n")
    assert expand_files(["@" + str(args)]) == ["@" + str(args)]


def test_a_file_that_is_not_there_cannot_be_started_from(tmp_path):
    with pytest.raises(CannotStart, match="absent"):
        expand_files(["@" + str(tmp_path / "absent")])
