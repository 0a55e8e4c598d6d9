"""The parser that every command shares, the options of a node, and files of options."""

import pytest

from p2p_plain import __version__
from p2p_plain.cli import node_parser
from p2p_plain.common.config import Config
from p2p_plain.common.errors import CannotStart, UsageError
from p2p_plain.common.options import (
    Parser, add_node_options, add_output_options, as_typed, expand_files, program,
)
from p2p_plain.common.program import take_output_options


def test_every_setting_of_a_node_is_an_option_and_nothing_else_is(capsys):
    """``Node(ping_interval=5)`` and ``--ping-interval 5`` are the same setting."""
    with pytest.raises(SystemExit) as left:
        node_parser().settings(["--help"])
    assert left.value.code == 0
    shown = {word.split()[0] for word in capsys.readouterr().out.split("\n  --")[1:]}
    settings = {"--" + name.replace("_", "-") for name in vars(Config())}
    assert {"--" + name for name in shown} == settings | {
        "--json",
        "--trace",
        "--log-level",
        "--version",
    }


def test_the_articles_node_alone_takes_neither_page_nor_probes():
    parser = Parser("node", "", "")
    add_node_options(parser)
    add_output_options(parser)
    settings = parser.settings(["--port", "1", "--json"])
    assert take_output_options(settings) == {"json": True, "trace": False, "log_level": None}
    assert settings == {"port": 1}
    with pytest.raises(UsageError):
        parser.settings(["--http", "8080"])


def test_a_repeated_bootstrap_is_a_list_and_the_last_of_other_options_counts():
    words = ["--bootstrap", "a", "--bootstrap=b", "--port", "1", "--port=2"]
    settings = node_parser().settings(words)
    assert (settings["bootstrap"], settings["port"]) == (["a", "b"], 2)
    assert "name" not in settings


def test_version_is_printed(capsys):
    with pytest.raises(SystemExit):
        node_parser().settings(["--version"])
    assert capsys.readouterr().out == "p2p_plain %s\n" % __version__


@pytest.mark.parametrize(
    "words, setting, problem",
    [
        (["--port", "x"], "--port", "'x' is not a whole number"),
        (["--port"], "--port", "expected one argument"),
        (["--log-level", "loud"], "--log-level", "invalid choice"),
        (["-p", "1"], "", "unrecognized arguments: -p 1"),
        (["--por", "1"], "", "unrecognized arguments: --por 1"),
    ],
)
def test_a_usage_error_names_the_option(words, setting, problem):
    with pytest.raises(UsageError) as error:
        node_parser().settings(words)
    assert error.value.setting == setting
    assert problem in error.value.problem


def test_a_name_in_the_c_locale_is_what_the_user_typed():
    assert as_typed("z\udcc3\udcbcrich") == "z\u00fcrich"
    assert as_typed("\udcff") == "\udcff"  # not UTF-8: Config refuses it later


def test_an_options_file_replaces_the_word_that_names_it(tmp_path):
    args = tmp_path / "a.args"
    args.write_text("--port 1\n--name 'two words' # and a comment\n")
    words = expand_files(["--json", "@" + str(args), "--trace"])
    assert words == ["--json", "--port", "1", "--name", "two words", "--trace"]


def test_an_options_file_that_names_itself_is_read_once(tmp_path):
    """An @ inside a file is an ordinary word, so files cannot form a circle."""
    args = tmp_path / "a.args"
    args.write_text("@" + str(args) + "\n")
    assert expand_files(["@" + str(args)]) == ["@" + str(args)]


def test_a_missing_options_file_is_named(tmp_path):
    with pytest.raises(CannotStart, match="absent"):
        expand_files(["@" + str(tmp_path / "absent")])


@pytest.mark.parametrize(
    "started, named",
    [
        ("/usr/bin/p2p-plain", "p2p-plain"),
        ("p2p-plain.exe", "p2p-plain"),
        ("/x/p2p_plain/__main__.py", "python3 -m p2p_plain"),
    ],
)
def test_help_and_examples_name_the_command_that_was_typed(monkeypatch, started, named):
    monkeypatch.setattr("sys.argv", [started])
    assert program() == named
    assert "  %s --port 6000\n" % named in node_parser().format_help()
