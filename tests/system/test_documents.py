"""The documents are true: what they list is what there is, and what they show can be run."""

import ast
import glob
import inspect
import json
import os
import pydoc
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

import p2p_plain
from p2p_plain import Node, PeerInfo, __version__, cli
from p2p_plain.commands.help import DOCUMENTS, document
from p2p_plain.common import outcomes
from p2p_plain.common.program import CANNOT_START
from p2p_plain.monitor import row_messages
from p2p_plain.node import messages
from scripts.conformity.grammar import FIELDS
from tests.support import ROOT, Program, RawPeer, free_port, wait_until
from tests.support.asked_node import FakeNode, mesh, with_dial

README = os.path.join(ROOT, "README.rst")
PACKAGE = os.path.join(ROOT, "p2p_plain")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


ALL = dict({name: document(name) for name in DOCUMENTS}, README=read(README))
"""Every document's text by name."""


def section(name, title):
    """The text of a document under a heading, up to the next."""
    after = ALL[name].split("\n%s\n%s\n" % (title, "-" * len(title)))[1]
    return re.split(r"\n[^\n]+\n-{4,}\n", after)[0]


def first_column(text):
    """The first words of the rows of a table."""
    return re.findall(r"^ *``([\w/{}.*-]+)[^`\n]*``(?=  |$)", text, re.M)


def entries(text):
    """What a list of definitions says, by the first word of each."""
    found = re.split(r"^``([\w-]+)[^`\n]*``\n(?=    )", text, flags=re.M)
    return dict(zip(found[1::2], found[2::2]))


def words(text):
    """Everything between double backticks."""
    return set(re.findall(r"``([^`]+)``", text))


def literal_blocks(text):
    """The indented blocks after ``::``, without their indentation."""
    found = re.findall(r"::\n\n((?:    .*\n|\n(?=\n*    ))+)", text + "\n")
    return [re.sub("^    ", "", block, flags=re.M) for block in found]


# -- the documents themselves ----------------------------------------------------------------------


def test_the_readme_is_short():
    """What does not fit into 200 lines is a document that travels with the program."""
    assert len(ALL["README"].splitlines()) <= 200


def test_every_document_in_the_package_can_be_printed_by_help():
    files = glob.glob(os.path.join(PACKAGE, "**", "*.rst"), recursive=True)
    assert {os.path.relpath(path, PACKAGE).replace(os.sep, "/") for path in files} == set(
        DOCUMENTS.values()
    )


def test_every_link_in_the_readme_leads_to_a_file():
    links = re.findall(r"<([^>]+)>`_", ALL["README"])
    assert len(links) > 8
    for link in links:
        assert os.path.exists(os.path.join(ROOT, link)), link
    for path in DOCUMENTS.values():
        assert "p2p_plain/" + path in links


def test_the_picture_is_the_one_that_the_laboratory_reproduces():
    """Its document shows the same one, and the laboratory's tests hold that to what comes out."""
    (command,) = re.findall(r"``(python3 scripts/lab\.py [^`]+)``", ALL["README"])
    (shown,) = [block for block in literal_blocks(ALL["README"]) if "from\\to" in block]
    with open(os.path.join(ROOT, "scripts", "LABORATORY.rst"), encoding="utf-8") as file:
        document = file.read()
    assert "\n    %s\n" % command in document
    assert verdicts(shown) == verdicts(document)
    assert len(verdicts(shown)) == 3


def verdicts(text):
    """The lines under a matrix, without the figures in brackets."""
    return sorted(re.sub(r" \(.*?\)", "", line) for line in re.findall(r"^ *([a-z]\d: .+)$", text, re.M))


def test_a_second_node_prints_what_the_readme_shows(tmp_path):
    """The same lines, but for times, nodeids and addresses."""
    (shown,) = [block for block in literal_blocks(ALL["README"]) if "  listening  " in block]
    output = tmp_path / "stdout"
    with Program("--port", "0", "--name", "alpha") as alpha, output.open("wb") as file:
        options = ["--port", "0", "--name", "beta", "--bootstrap", "127.0.0.1:%d" % alpha.port]
        beta = subprocess.Popen([sys.executable, "-m", "p2p_plain", *options], cwd=ROOT, stdout=file)
        try:
            wait_until(lambda: output.read_text().count("  rtt  ") >= 2)
        finally:
            beta.terminate()
            beta.wait()
        alpha.stop()
    printed = masked(output.read_text())
    assert printed[: len(masked(shown))] == masked(shown)


def masked(text):
    """The lines of events, without what differs from run to run."""
    for pattern, word in [
        (r"\b[0-9a-f]{8}\b", "NODEID"),
        (r"((\[[0-9a-f:]+\]|\d+(\.\d+){3}):\d+(, )?)+", "ADDRESS"),
        (r"[0-9.]+ ms", "N ms"),
        (r" +", " "),
    ]:
        text = re.sub(pattern, word, text)
    return re.findall(r"^\d\d:\d\d:\d\d (.+)$", text, re.M)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_prose_fits_on_a_terminal_of_80_columns(name):
    for line in ALL[name].splitlines():
        crontab = " * * * " in line  # has no way to continue a line
        assert len(line) < 80 or crontab, line


@pytest.mark.parametrize("name", ALL)
def test_a_document_refers_to_documents_scripts_and_files_that_exist(name):
    for other in re.findall(r"``help\s+(\w+)``", ALL[name]):
        assert other in DOCUMENTS, other
    for path in re.findall(r"(?<!/)\b(?:scripts|tests|p2p_plain)/[\w/]+\.\w+", ALL[name]):
        assert os.path.exists(os.path.join(ROOT, path)), path


@pytest.mark.parametrize("name", ALL)
def test_headings_are_underlined_in_full(name):
    """Otherwise it is no heading to whatever renders the document."""
    lines = ALL[name].splitlines()
    for before, line in zip(lines, lines[1:]):
        if re.match(r"(=+|-+)$", line) and re.match(r"\w", before):
            assert len(before) == len(line), before


def test_the_drawings_fit_into_a_docstring():
    """The lessons and the tour show them, too."""
    drawings = literal_blocks(ALL["drawings"])
    assert len(drawings) == 5
    for drawing in drawings:
        drawing.encode("ascii")
        assert max(map(len, drawing.splitlines())) <= 72


# -- commands, options, events ---------------------------------------------------------------------


def test_every_command_and_option_is_listed_and_no_other():
    assert set(first_column(section("options", "Commands"))) == set(cli.COMMANDS)
    listed = re.findall(r"^``(--[\w-]+)", section("options", "Options"), re.M)
    taken = re.findall(r"^  (?:-h, )?(--[\w-]+)", cli.node_parser().format_help(), re.M)
    assert set(listed) == set(taken)


def test_the_defaults_that_are_listed_are_those_of_a_node():
    config = Node().config
    listed = re.findall(r"^``--([\w-]+) \w+`` \((\d+)\)$", section("options", "Options"), re.M)
    assert len(listed) >= 6
    for option, default in listed:
        assert getattr(config, option.replace("-", "_")) == float(default), option


def test_every_event_has_the_fields_that_are_listed(make_node):
    """Seen on a node that all of it happens to."""
    node = make_node(name="a", http=0)
    other = make_node(name="b", bootstrap=node)
    wait_until(lambda: node.peers() and other.peers())
    node.dial("127.0.0.1:%d" % node.port)
    node.dial("127.0.0.1:%d" % free_port())
    other.broadcast("hello")
    with RawPeer.dial(node) as peer:
        peer.become_peer(port=free_port())
        with RawPeer.dial(node, nodeid=other.nodeid) as twin:
            twin.hello()
            twin.hear("bye")
        expected = {"reach", "message", "self", "conflict"}
        wait_until(lambda: expected <= {e["event"] for e in seen(node)})
    other.stop()
    wait_until(lambda: not node.peers())
    node.stop()
    assert {event["event"]: set(event) for event in node.events()} == listed_events()


def listed_events():
    """The fields of each event, by its name."""
    return {
        name: {"event", "time"} | words(text.partition("\n\n")[0])
        for name, text in entries(section("options", "Events")).items()
    }


def seen(node):
    """What has happened to a node so far."""
    return list(node.events(timeout=0.01))


def test_every_outcome_of_a_dial_is_explained_and_its_mark_in_the_matrix():
    table = section("options", "Events").partition("The outcomes of a dial:")[2]
    assert set(first_column(table)) == outcomes.OUTCOMES
    assert words(section("options", "The matrix")) >= set(outcomes.MARKS.values())


def shown_commands():
    """What the documents show of options of a node: pairs of document and options."""
    form = r"^ *(?:.*python3|ExecStart=\S+) (?:-m p2p_plain|\S*p2p_plain\.pyz) (--[^`\n]*)$"
    return [
        (name, line.partition(" >")[0])
        for name, text in ALL.items()
        for line in re.findall(form, text.replace("\\\n", ""), re.M)
        if line != "--version"
    ]


def test_every_command_that_is_shown_is_one_that_the_program_takes():
    found = shown_commands()
    assert {"README", "page", "service"} <= {name for name, _ in found}
    for _, line in found:
        cli.node_parser().settings(line.split())


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_option_of_a_command_that_is_mentioned_is_one_that_it_takes(command):
    table = re.split(r"\n(?=``|==)", section("options", "Commands"))
    mentioned = [row for row in table if row.startswith("``%s" % command)]
    for text in ALL.values():
        mentioned += re.findall(r"p2p_plain(?:\.pyz)? %s .*" % command, text)
    words = [sys.executable, "-m", "p2p_plain", command, "--help"]
    said = subprocess.check_output(words, cwd=ROOT).decode()
    taken = set(re.findall(r"^  (?:-h, )?(--?[\w-]+)", said, re.M))
    for text in mentioned:
        assert set(re.findall(r"(?<=[ `])--?[A-Za-z][\w-]*", text)) <= taken, text


def json_fields():
    """The fields that the section about JSON lists, by what has them."""
    table = section("options", "JSON").partition("\n==")[2].partition("\n")[2]
    rows = re.split(r"\n(?=\S)", table)
    found = [(row[:17].strip(), re.sub(r"\(.*?\)|; in.*|\. For.*", "", row[17:], flags=re.S)) for row in rows]
    return {name: words(text) for name, text in found if words(text)}


def test_every_field_of_json_is_listed(typed, make_node):
    """In the commands' answers and the status page's, all of them seen here, down included."""
    first = make_node(http=0, probe_interval=0.2, ping_interval=0.2)
    make_node(bootstrap=first, probe_interval=0.2, ping_interval=0.2)
    where, listed = "127.0.0.1:%d" % first.port, json_fields()
    wait_until(lambda: len(first.matrix()) == 2 and all(row["links"] for row in first.matrix()))

    def asked(command, *options):
        return [json.loads(line) for line in typed(command, where, "--json", *options)[1].splitlines()]

    def fetched(path):
        try:
            return json.loads(urllib.request.urlopen("http://%s%s" % (first.http, path)).read().decode())
        except urllib.error.HTTPError as error:  # /cluster, when something is down
            return json.loads(error.read().decode())

    for event in asked("ping", "-c", "1"):
        assert set(event) == listed["ping " + event["event"]] | {"event", "time"}
    _, out, _ = typed("ping", "127.0.0.1:%d" % free_port(), "--json", "-c", "1")
    assert set(json.loads(out.splitlines()[0])) == listed["ping lost"] | {"event", "time"}
    for path in ("/matrix.json", "/status.json", "/page.json"):
        assert set(fetched(path)) == listed[path], path
    (matrix,), (check,) = asked("matrix"), asked("check")
    assert (set(matrix), set(check)) == (listed["matrix"], listed["check"])
    assert set(fetched("/cluster")) == listed["/cluster"]
    for one in ("rows", "nodes", "verdicts"):
        assert set(matrix[one][0]) == listed["each of " + one]
    with RawPeer.dial(first) as blocked:
        blocked.become_peer(port=free_port())
        cluster = wait_until(
            lambda: [said for said in [fetched("/cluster")] if said["directions_down"]]
        )[0]
    assert not cluster["ok"]
    assert set(cluster["directions_down"][0]) == listed["each of down"] - {"state"}
    rows = mesh(2)
    with_dial(rows, 0, 1, "refused")
    with FakeNode(rows) as node:
        check = json.loads(typed("check", node.text, "--json", "--within", "0")[1])
    assert set(check["down"][0]) == listed["each of down"]


# -- the wire --------------------------------------------------------------------------------------


def test_every_message_stands_in_the_wire_with_its_fields():
    """The judge of other people's nodes has its own list; both say the same."""
    wire = entries(section("wire", "The messages"))
    assert set(wire) == set(messages._READERS)
    for msgtype, fields in FIELDS.items():
        for field in fields:
            shown = "**%s**" % field[:-1] if field.endswith("!") else "``%s``" % field
            assert shown in wire[msgtype], (msgtype, field)


def test_every_reason_and_every_field_of_a_row_is_explained():
    assert set(first_column(section("wire", "The messages"))) >= messages.BYE_REASONS
    assert set(first_column(section("wire", "Rows"))) == set(row_messages.LINK_FIELDS) - {"nodeid"}


# -- the library -----------------------------------------------------------------------------------


def test_the_librarys_examples_run(make_node, capsys):
    other = make_node()
    blocks = re.findall(r"\.\. code:: python\n\n((?:    .*\n|\n)+)", ALL["library"])
    assert len(blocks) == 2
    for code in blocks:
        code = re.sub("^    ", "", code, flags=re.M)
        code = code.replace("6000", str(other.port)).replace("timeout=10", "timeout=0.5")
        exec(compile(code, "library.rst", "exec"), {})
    printed = capsys.readouterr().out
    assert "'listening'" in printed
    assert "'peer_up'" in printed
    assert "hello, everyone" in str(list(other.events(timeout=0.1)))


def test_every_name_of_the_library_and_every_field_of_a_peer_is_mentioned():
    named = " ".join(words(ALL["library"]))
    for name in [*p2p_plain.__all__, *methods(Node), *PeerInfo._fields]:
        assert re.search(r"\b%s\b" % name, named), name


def methods(thing):
    return {name for name in dir(thing) if not name.startswith("_")}


def test_the_help_of_a_node_lists_settings_methods_and_events_with_their_fields():
    text = pydoc.plain(pydoc.render_doc(Node))
    assert re.findall(r":param (\w+):", text) == list(inspect.signature(Node).parameters)
    table = re.search(r"The methods, (.+?)\*\*Life", text, re.S).group(1)
    assert methods(Node) <= set(re.findall(r"\w+", table))
    shown = re.findall(r"^ \|      (\w+)  +([\w, ]+)$", text.partition("**Events**")[2], re.M)
    events = {name: {"event", "time", *fields.split(", ")} for name, fields in shown}
    assert events == listed_events()


@pytest.mark.skipif(sys.version_info < (3, 8), reason="typing.TypedDict came with Python 3.8")
def test_the_types_of_events_have_the_fields_that_are_listed():
    code = read(os.path.join(PACKAGE, "common", "event_types.pyi"))
    found = {}
    exec(code.replace("TYPE_CHECKING = False", "TYPE_CHECKING = True"), found)
    types = [one.__annotations__ for one in found["AnyEvent"].__args__]
    listed = listed_events()
    listed["refused"].update(("count", "why"))  # only of several, and only where more is known
    listed["reach"].add("why")
    assert {fields["event"].__args__[0]: set(fields) for fields in types} == listed


# -- the status page -------------------------------------------------------------------------------


@pytest.fixture
def page(make_node):
    """``page(path)``: what a node's status page answers."""
    node = make_node(http="127.0.0.1:0")
    other = make_node(bootstrap=node)
    wait_until(lambda: node.peers() and other.peers())
    url = "http://127.0.0.1:%d" % node._page.port

    def get(path):
        with urllib.request.urlopen(url + path, timeout=10) as answer:
            return answer.read(100000 if path != "/events" else 1).decode("utf-8")

    return get


def test_every_path_and_every_metric_is_listed(page):
    listed = re.findall(r"^``(/[\w.]*)``  ", ALL["page"], re.M)
    assert len(listed) > 8
    for path in listed:
        assert page(path), path
    families = re.findall(r"^# TYPE (p2p_plain_\w+)", page("/metrics"), re.M)
    assert sorted(re.findall(r"^``(p2p_plain_\w+)``", ALL["page"], re.M)) == sorted(families)


# -- restricted machines and services ----------------------------------------------------------------


posix = pytest.mark.skipif(os.name == "nt", reason="needs a shell")


def service_block(beginning):
    """The one block of the document about services that begins so."""
    (found,) = [b for b in literal_blocks(ALL["service"]) if b.startswith(beginning)]
    return found


@pytest.fixture
def machine(tmp_path):
    """``machine(script)``: run it in a shell where ``othermachine`` is a folder next door."""
    for name in ("p2p_plain", "scripts"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(os.path.join(ROOT, name), str(tmp_path / "here" / name), ignore=ignore)
    (tmp_path / "othermachine").mkdir()
    programs = {
        "python3": 'exec "%s" "$@"' % sys.executable,
        "scp": 'test "$1" != -r || shift; cp -r "$1" ../othermachine',
        "ssh": 'cd ../othermachine && shift && exec "$@"',
    }
    (tmp_path / "bin").mkdir()
    for name, does in programs.items():
        (tmp_path / "bin" / name).write_text("#!/bin/sh\n%s\n" % does)
        (tmp_path / "bin" / name).chmod(0o755)

    def type_in(script, folder="here"):
        env = dict(os.environ, PATH="%s:%s" % (tmp_path / "bin", os.environ["PATH"]))
        command = ["sh", "-e", "-c", script.replace("--bootstrap 192.0.2.2:6000", "--version")]
        return subprocess.check_output(command, cwd=str(tmp_path / folder), env=env).decode()

    return type_in


@posix
def test_copy_build_run_and_unpack(machine):
    version = "p2p_plain %s\n" % __version__
    assert machine(service_block("scp -r p2p_plain ")) == version
    build = service_block("python3 scripts/build.py")
    assert machine(build).splitlines()[-1] + "\n" == version
    assert build in literal_blocks(ALL["README"])
    assert machine(service_block("python3 -m zipfile"), "othermachine") == version


@posix
def test_the_check_by_cron_prints_nothing_until_something_is_wrong(onefile, make_node):
    node = make_node()
    line = cron_line("0 * * * * ", onefile).replace("127.0.0.1:6000", "127.0.0.1:%d" % node.port)
    for expect, said in (("1", ""), ("2 --within 0", "2 nodes are expected")):
        typed = line.replace("--expect 12", "--expect " + expect)
        printed = subprocess.check_output(["sh", "-c", typed]).decode()
        assert said in printed
        assert bool(said) == bool(printed)


@posix
def test_a_node_that_cron_starts_again_and_again_runs_once(onefile, make_node):
    """While one runs, the next one ends at once and prints nothing."""
    node = make_node(bind=None)
    line = cron_line("* * * * * ", onefile).replace("--boot", "--port %d --boot" % node.port)
    ended = subprocess.run(["sh", "-c", line], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert (ended.returncode, ended.stdout) == (CANNOT_START, b"")


def cron_line(when, onefile):
    """The command of a crontab's line, with this Python and the single file in its place."""
    line = service_block(when)[len(when) :]
    assert "%" not in line  # to cron that is the end of the line
    return re.sub(r"python3 \S+p2p_plain.pyz", '"%s" "%s"' % (sys.executable, onefile), line)


def test_the_units_start_the_same_node():
    """As root from the file or the folder, and without root."""
    units = [line.replace("%h/p2p_plain-", "/var/lib/p2p_plain/") for _, line in shown_commands()]
    units = [line for line in units if "--peers-file" in line]
    assert len(units) == 3
    assert len({tuple(line.split()) for line in units}) == 1


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
def test_systemd_has_no_complaint_about_the_units(tmp_path):
    units = [b for b in literal_blocks(ALL["service"]) if b.startswith("[Unit]")]
    assert len(units) == 2
    for unit in units:
        path = tmp_path / "p2p_plain.service"
        path.write_text(re.sub(r"python3 \S+\.pyz", "python3 -m p2p_plain", unit))
        said = subprocess.run(
            ["systemd-analyze", "verify", str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ).stdout.decode()
        assert "p2p_plain.service:" not in said


# -- the architecture ------------------------------------------------------------------------------


def first_column_of_docstring(folder):
    """The first words of the tables in the docstring of a folder of the package."""
    return first_column(ast.get_docstring(ast.parse(read(os.path.join(PACKAGE, folder, "__init__.py")))))


def test_every_module_stands_in_the_reading_order_and_the_node_comes_first():
    """``node`` and ``common`` list their own; the architecture lists the others."""
    files = glob.glob(os.path.join(PACKAGE, "**", "*.py"), recursive=True)
    modules = {os.path.relpath(name, PACKAGE)[:-3].replace(os.sep, "/") for name in files}
    order = first_column(section("architecture", "Read the source in this order"))
    order.remove("web/page.html")
    for folder in ("common", "node"):
        listed = first_column_of_docstring(folder)
        order += [folder + "/" + name for name in listed if folder + "/" + name in modules]
    assert len(order) - len(set(order)) == 2  # "listener" and "pinger" are threads, too
    assert set(order) == {name for name in modules if "__" not in name}


def test_every_class_method_and_function_that_is_named_exists():
    """Also those in the walk from accept to peer_up, and where each rule of the wire is."""
    found = set()
    for path in glob.glob(os.path.join(PACKAGE, "**", "*.py"), recursive=True):
        module = os.path.basename(path)[:-3]
        for node in ast.parse(read(path)).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                found.add("%s.%s" % (module, node.name))
            if isinstance(node, ast.ClassDef):
                methods = (one for one in node.body if isinstance(one, ast.FunctionDef))
                found.update("%s.%s" % (node.name, method.name) for method in methods)
    named = re.findall(r"``(\w+\.(?!py|rst)\w+)``", ALL["architecture"])
    assert len(named) > 20
    assert set(named) - {"socketserver.ThreadingTCPServer", "threading.Timer"} <= found


def test_every_folder_is_listed():
    listed = set(first_column(section("architecture", "Folders")))
    folders = {os.path.basename(os.path.dirname(p)) + "/" for p in glob.glob(PACKAGE + "/*/__init__.py")}
    files = {os.path.basename(path) for path in glob.glob(PACKAGE + "/[!_]*.py")}
    assert listed == folders | files


def test_every_thread_of_a_node_is_listed(make_node, tmp_path):
    node = make_node(peers_file=str(tmp_path / "peers.json"), http="127.0.0.1:0")
    other = make_node(bootstrap=node)
    wait_until(lambda: node.peers() and other.peers())
    listed = set(first_column(section("architecture", "Threads")) + first_column_of_docstring("node"))
    for one in (node, other):
        for name in one._crew.names():
            assert re.sub(r"\d+$", "N", name) in listed, name


# -- the lessons -----------------------------------------------------------------------------------


def test_every_lesson_stands_in_the_table_and_in_order():
    files = glob.glob(os.path.join(ROOT, "scripts", "lessons", "*.py"))
    names = {os.path.basename(path) for path in files} - {"classroom.py", "wire.py"}
    listed = re.findall(r"^``(\w+\.py)``  ", read(os.path.join(ROOT, "scripts/LESSONS.rst")), re.M)
    assert listed == sorted(names)
