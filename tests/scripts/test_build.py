"""The single file that ``scripts/build.py`` makes: its contents, and that they are always the same."""

import ast
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from p2p_plain import __version__
from scripts import build
from scripts import test as every_test
from tests.support import ROOT

pytestmark = pytest.mark.long

SCRIPT = os.path.join("scripts", "build.py")


def run(*words, python=sys.executable, root=ROOT, cwd=None, env=None):
    """Run the script; its exit code, stdout and stderr."""
    done = subprocess.run(
        [python, os.path.join(root, SCRIPT), *words],
        cwd=cwd or root,
        env=None if env is None else dict(os.environ, **env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def built(path, **how):
    """Build the file at ``path``; its bytes."""
    code, _, err = run("--output", str(path), **how)
    assert (code, err) == (0, ""), err
    with open(str(path), "rb") as file:
        return file.read()


@pytest.fixture
def copy(tmp_path):
    """A copy of the sources that the file is made from."""
    root = tmp_path / "elsewhere"
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("p2p_plain", "scripts"):
        shutil.copytree(os.path.join(ROOT, name), str(root / name), ignore=ignore)
    return str(root)


def git(root, *words):
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env.update(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM="1", HOME=root)
    who = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
    return subprocess.check_output(["git"] + who + list(words), cwd=root, env=env).decode().strip()


@pytest.fixture
def repository(copy):
    """A git repository of these sources, with everything committed."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    with open(os.path.join(copy, "README.rst"), "w") as file:
        file.write("read me")
    with open(os.path.join(copy, ".gitignore"), "w") as file:
        file.write("__pycache__/\n")
    git(copy, "init", "-q")
    git(copy, "add", "-A")
    git(copy, "commit", "-q", "-m", "all")
    return copy


def change(root, *path):
    with open(os.path.join(root, *path), "a") as file:
        file.write("\n")


def package_files(*endings):
    """The package's files with these endings, in all of its folders, by their paths from the root."""
    return sorted(
        os.path.relpath(os.path.join(folder, name), ROOT)
        for folder, _, names in os.walk(os.path.join(ROOT, "p2p_plain"))
        for name in names
        if name.endswith(endings)
    )


# -- what is in it ------------------------------------------------------------------------------------


def test_file_has_the_whole_program_and_nothing_else_in_less_than_300_kb(tmp_path):
    path = str(tmp_path / "one.pyz")
    data = built(path)
    assert len(data) < 300 * 1000
    assert data.startswith(b"#!/usr/bin/env python3\n")
    assert os.stat(path).st_mode & 0o777 == 0o755
    wanted = {"__main__.py"} | set(package_files(".py", ".html", ".rst", ".typed"))
    with zipfile.ZipFile(path) as zipped:
        assert zipped.testzip() is None
        assert set(zipped.namelist()) == wanted
        assert {entry.compress_type for entry in zipped.infolist()} == {zipfile.ZIP_DEFLATED}
        for name in package_files(".html", ".rst"):
            with open(os.path.join(ROOT, name), "rb") as file:
                assert zipped.read(name) == file.read()


class WithoutWords(ast.NodeTransformer):
    """Empties every string that is a statement."""

    def visit_Expr(self, node):
        value = node.value
        if isinstance(value, getattr(ast, "Constant", ())) and isinstance(value.value, str):
            value.value = ""
        elif type(value).__name__ == "Str":  # before Python 3.8
            value.s = ""
        return node


def statements(source):
    """The place where each statement begins, and the code as a whole."""
    tree = WithoutWords().visit(ast.parse(source))
    places = [
        (type(node).__name__, node.lineno, node.col_offset)
        for node in ast.walk(tree)
        # Before Python 3.8 a string of several lines has the line of its end.
        if isinstance(node, ast.stmt) and not isinstance(node, ast.Expr)
    ]
    return places, ast.dump(tree)


@pytest.mark.parametrize("name", package_files(".py"))
def test_code_is_unchanged_and_on_the_same_lines(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        source = file.read()
    bare = build.bare(source)
    assert statements(bare) == statements(source)
    assert bare.count("\n") == source.count("\n")
    assert len(bare) <= len(source)


def test_modules_and_documents_in_subfolders_are_included(copy, tmp_path):
    """The archive's names are their paths; documents are included as they are."""
    inner = os.path.join(copy, "p2p_plain", "one", "two")
    os.makedirs(inner)
    for name, text in (("deep.py", "x = 1  # why\n"), ("WORDS.rst", "# not a comment\n")):
        with open(os.path.join(inner, name), "w") as file:
            file.write(text)
    built(tmp_path / "one.pyz", root=copy)
    with zipfile.ZipFile(str(tmp_path / "one.pyz")) as zipped:
        assert zipped.read("p2p_plain/one/two/deep.py") == b"x = 1\n"
        assert zipped.read("p2p_plain/one/two/WORDS.rst") == b"# not a comment\n"


def test_only_comments_and_docstrings_are_removed():
    source = (
        '"""A module."""\n'
        "# a comment\n"
        'text = """not # a comment\n'
        '    nor a docstring"""  # a comment\n'
        "LIMIT = 1\n"
        '"""What it\n'
        'means."""\n'
        "def f(a, b=('x',\n"
        "            # in brackets\n"
        "            'y')):\n"
        '    r"""Only words."""\n'
        "def g():\n"
        "    # first a comment\n"
        '    """Words."""\n'
        "    return [\n"
        "        'not a statement'\n"
        "    ]\n"
        'def h(): "one line"; return 1\n'
    )
    assert build.bare(source) == (
        '""\n'
        "\n"
        'text = """not # a comment\n'
        '    nor a docstring"""\n'
        "LIMIT = 1\n"
        '""\n'
        "\n"
        "def f(a, b=('x',\n"
        "\n"
        "            'y')):\n"
        '    ""\n'
        "def g():\n"
        "\n"
        '    ""\n'
        "    return [\n"
        "        'not a statement'\n"
        "    ]\n"
        'def h(): "one line"; return 1\n'
    )


# -- always the same ------------------------------------------------------------------------------------


def test_same_bytes_from_any_folder_at_any_time_by_any_user(copy, tmp_path):
    first = built(tmp_path / "first.pyz", root=copy)
    for folder, _, names in os.walk(copy):
        for name in names:
            os.utime(os.path.join(folder, name), (1, 2000000000))
            os.chmod(os.path.join(folder, name), 0o600)
    moved = str(tmp_path / "a b")
    os.rename(copy, moved)
    for junk in (".page.html.swp", ".#cli.py", "cli.py.orig", "cli.pyc", "notes.txt"):
        with open(os.path.join(moved, "p2p_plain", junk), "w") as file:
            file.write("an editor's")
    env = {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "9"}
    mask = os.umask(0o077)
    try:
        second = built(tmp_path / "second.pyz", root=moved, cwd="/", env=env)
    finally:
        os.umask(mask)
    assert second == first
    assert os.stat(str(tmp_path / "second.pyz")).st_mode & 0o777 == 0o755


def test_same_bytes_in_whatever_order_the_files_are_found():
    files = build.contents(ROOT, "")
    assert build.archive(files) == build.archive(dict(sorted(files.items(), reverse=True)))


def test_same_bytes_from_every_python_with_the_same_zlib(copy, tmp_path):
    """All other Pythons give the same contents."""
    builds = {}
    for version, python in every_test.find_pythons().items():
        path = str(tmp_path / ("%d.%d.%d.pyz" % version))
        command = [python, os.path.join(copy, SCRIPT), "--output", path]
        builds[path] = python, subprocess.Popen(command, stdout=subprocess.DEVNULL)
    by_zlib, contents = {}, set()
    for path, (python, process) in builds.items():
        assert process.wait() == 0
        code = "import zlib; print(zlib.ZLIB_RUNTIME_VERSION)"
        with open(path, "rb") as file:
            by_zlib.setdefault(subprocess.check_output([python, "-c", code]), set()).add(file.read())
        with zipfile.ZipFile(path) as zipped:
            contents.add(tuple((name, zipped.read(name)) for name in zipped.namelist()))
    assert [len(found) for found in by_zlib.values()] == [1] * len(by_zlib)
    assert len(contents) == 1


# -- the commit -------------------------------------------------------------------------------------------


def version_of(root, path):
    """The version that the file built from ``root`` prints."""
    built(path, root=root)
    said = subprocess.check_output([sys.executable, str(path), "--version"], cwd="/")
    return said.decode().strip()


def test_version_names_the_commit_and_uncommitted_changes(repository, tmp_path):
    plain = "p2p_plain " + __version__
    commit = git(repository, "rev-parse", "HEAD")[:7]
    path = tmp_path / "one.pyz"
    assert version_of(repository, path) == "%s (%s)" % (plain, commit)
    change(repository, "README.rst")  # not in the file
    assert version_of(repository, path) == "%s (%s)" % (plain, commit)
    change(repository, "p2p_plain", "cli.py")
    assert version_of(repository, path) == "%s (%s-dirty)" % (plain, commit)


def test_version_is_dirty_with_a_module_that_git_does_not_know(repository, tmp_path):
    change(repository, "p2p_plain", "surprise.py")
    assert version_of(repository, tmp_path / "one.pyz").endswith("-dirty)")


def test_version_outside_of_git_has_no_commit(copy, tmp_path, monkeypatch):
    """Even inside a git hook, whose variables name some repository."""
    monkeypatch.setenv("GIT_DIR", os.path.join(ROOT, ".git"))
    assert version_of(copy, tmp_path / "one.pyz") == "p2p_plain " + __version__


def test_commit_of_a_repository_around_it_is_not_used(repository, tmp_path):
    inner = os.path.join(repository, "vendor", "p2p")
    for name in ("p2p_plain", "scripts"):
        shutil.copytree(os.path.join(repository, name), os.path.join(inner, name))
    assert version_of(inner, tmp_path / "one.pyz") == "p2p_plain " + __version__


# -- on the disk --------------------------------------------------------------------------------------------


def test_build_makes_the_folder_and_prints_path_and_size(copy):
    code, out, err = run(root=copy)
    path = os.path.join(copy, "dist", "p2p_plain.pyz")
    assert (code, err) == (0, "")
    assert out.startswith("%s, %d bytes, sha256 " % (path, os.path.getsize(path)))
    assert os.listdir(os.path.dirname(path)) == ["p2p_plain.pyz"]


@pytest.mark.parametrize("output", ["/dev/null/one.pyz", "/", ""])
def test_unwritable_output_is_one_line_and_exit_code_3(output):
    code, out, err = run("--output", output)
    assert (code, out) == (3, "")
    assert err.startswith("build.py: cannot write %s: " % output)
    assert err.count("\n") == 1


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
def test_failed_build_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, capsys, step
):
    path = tmp_path / "one.pyz"
    path.write_bytes(b"the old one")

    def fails(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fails)
    assert build.main(["--output", str(path)]) == 3
    monkeypatch.undo()
    said = capsys.readouterr().err
    assert said == "build.py: cannot write %s: No space left on device\n" % path
    assert path.read_bytes() == b"the old one"
    assert os.listdir(str(tmp_path)) == ["one.pyz"]
