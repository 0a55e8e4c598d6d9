"""``help``: the documents travel with the program and are printed by it."""

import os
import re
import subprocess
import sys

import pytest

from p2p_plain import cli
from p2p_plain.commands.help import DOCUMENTS
from p2p_plain.common.program import DONE, WRONG_USAGE
from tests.support import ROOT


def run(*words, what=("-m", "p2p_plain"), cwd=ROOT):
    """Run ``help``: exit code, stdout, stderr."""
    done = subprocess.run(
        [sys.executable, *what, "help", *words],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ, PYTHONIOENCODING="utf-8"),
    )
    return done.returncode, done.stdout.decode("utf-8"), done.stderr.decode()


def source(name):
    with open(os.path.join(ROOT, "p2p_plain", DOCUMENTS[name]), encoding="utf-8") as file:
        return file.read()


def test_help_lists_every_document_with_its_title(capsys):
    assert cli.main(["help"]) == DONE
    listed = re.findall(r"^  (\w+) +(.+)$", capsys.readouterr().out, re.M)
    assert listed == [(name, source(name).splitlines()[0]) for name in DOCUMENTS]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_help_prints_a_document_as_it_is(name, capsys):
    assert cli.main(["help", name]) == DONE
    assert capsys.readouterr().out == source(name)


def test_an_unknown_name_is_wrong_usage_and_the_names_are_listed(capsys):
    assert cli.main(["help", "wires"]) == WRONG_USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "wires" in captured.err
    assert ", ".join(DOCUMENTS) in captured.err


def test_the_single_file_has_the_documents(onefile):
    for name in DOCUMENTS:
        assert run(name, what=[onefile], cwd="/") == (0, source(name), "")


def test_an_installed_program_has_the_documents(tmp_path):
    """setup.cfg names what is installed beside the modules."""
    build = [sys.executable, "-c", "from setuptools import setup; setup()", "-q", "install_lib"]
    if subprocess.call([sys.executable, "-c", "import setuptools"], stderr=subprocess.DEVNULL):
        pytest.skip("needs setuptools")
    folder = str(tmp_path / "installed")
    private = ["build", "-b", str(tmp_path / "b"), "egg_info", "-e", str(tmp_path)]
    subprocess.check_output(build[:-1] + private + ["install_lib", "-d", folder], cwd=ROOT)
    assert run("wire", cwd=folder) == (0, source("wire"), "")
