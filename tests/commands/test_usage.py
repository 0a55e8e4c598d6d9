"""argparse over the table of options: help, version, and one line for what is wrong."""

import pytest

from p2p_plain import __version__
from p2p_plain.commands.options import OPTIONS
from p2p_plain.commands.usage import read_fully
from p2p_plain.common.errors import UsageError


def test_help_names_every_option_and_ends_well(capsys):
    with pytest.raises(SystemExit) as left:
        read_fully(["--help"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    assert all(option.name in out for option in OPTIONS)


def test_version_names_it(capsys):
    with pytest.raises(SystemExit):
        read_fully(["--version"])
    assert capsys.readouterr().out == "p2p_plain %s\n" % __version__


@pytest.mark.parametrize(
    "words, setting, problem",
    [
        (["--port", "x"], "--port", "invalid int value: 'x'"),
        (["--port"], "--port", "expected one argument"),
        (["--log-level", "loud"], "--log-level", "invalid choice"),
        (["-p", "1"], "", "unrecognized arguments: -p 1"),
    ],
)
def test_what_is_wrong_is_named(words, setting, problem):
    with pytest.raises(UsageError) as error:
        read_fully(words)
    assert error.value.setting == setting
    assert problem in error.value.problem
