"""The single file on unusual machines, far from its sources.

The folder has to work in the same environments, so most tests run both.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import urllib.request

import pytest

from p2p_plain import __version__, cli
from tests.support import PATIENCE, ROOT, Program, free_port, wait_until

pytestmark = pytest.mark.long

posix = pytest.mark.skipif(os.name == "nt", reason="needs a shell")

NAME = "z\u00fcrich"
LOCAL = ("--port", "0", "--bind", "127.0.0.1")
FOLDER = ("-m", "p2p_plain")


@pytest.fixture(params=["file", "folder"])
def both(request, onefile):
    """How to run the program: as a single file elsewhere, and as the folder."""
    if request.param == "file":
        return {"what": (onefile,), "cwd": os.path.dirname(onefile)}
    return {"what": FOLDER, "cwd": ROOT}


def run(*words, what, cwd, flags=(), env=None, prefix=(), **more):
    """Run it to its end; its exit code, stdout and stderr."""
    more.setdefault("stdin", subprocess.DEVNULL)
    more.setdefault("stdout", subprocess.PIPE)
    done = subprocess.run(
        list(prefix) + [sys.executable] + list(flags) + list(what) + list(words),
        cwd=cwd,
        env=env,
        stderr=subprocess.PIPE,
        timeout=2 * PATIENCE,
        **more
    )
    return done.returncode, (done.stdout or b"").decode(), done.stderr.decode()


def shell(redirections):
    """A command prefix that applies redirections, such as closed descriptors."""
    return ("sh", "-c", 'exec "$@" ' + redirections, "sh")


# -- all of it is there -------------------------------------------------------------------------------


def test_file_prints_its_version_and_how_to_run_it(onefile):
    how = {"what": [os.path.basename(onefile)], "cwd": os.path.dirname(onefile)}
    code, out, err = run("--version", **how)
    assert (code, err) == (0, "")
    version = re.escape(__version__)
    assert re.match(r"p2p_plain %s( \([0-9a-f]{7}(-dirty)?\))?\n$" % version, out)
    for words in [[]] + [[command] for command in cli.COMMANDS]:
        code, out, err = run(*words, "--help", **how)
        assert (code, err) == (0, "")
        assert out.startswith("usage: python3 p2p_plain.pyz ")
        assert "\n  python3 p2p_plain.pyz " in out  # an example
        assert "-m p2p_plain" not in out


@pytest.mark.skipif(not shutil.which("python3"), reason="needs python3 on the PATH")
@posix
def test_file_is_executable(onefile):
    said = subprocess.check_output([onefile, "--version"], cwd="/")
    assert said.startswith(b"p2p_plain %s" % __version__.encode())


def test_file_runs_all_commands_and_serves_the_page(onefile, tmp_path):
    """Also after it has been deleted: a running node reads nothing more from it."""
    path = str(tmp_path / "copied.pyz")
    shutil.copy(onefile, path)
    how = {"what": (path,), "cwd": str(tmp_path)}
    page = free_port()
    with Program(*LOCAL, "--name", "alpha", "--http", str(page), **how) as first:
        where = "127.0.0.1:%d" % first.port
        with Program(*LOCAL, "--name", "beta", "--bootstrap", where, **how) as second:
            code, out, err = run("check", where, "--expect", "2", **how)
            assert (code, err) == (0, "")
            assert "2 nodes, 2 of 2 directions up" in out
            code, out, err = run("ping", where, "-c", "2", "-i", "0.01", **how)
            assert (code, err) == (0, "")
            assert "2 sent, 2 received" in out
            code, out, err = run("matrix", where, "--json", **how)
            assert (code, err) == (0, "")
            assert sorted(n["name"] for n in json.loads(out)["nodes"]) == ["alpha", "beta"]
            watching = subprocess.Popen(
                [sys.executable, path, "watch", where, "--interval", "0.05"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            block = b"".join(iter(watching.stdout.readline, b"\n"))
            watching.stdout.close()
            assert b"alpha" in block and b"beta" in block
            assert watching.wait(PATIENCE) == 0
            with watching.stderr as said:
                assert said.read() == b""
            os.unlink(path)
            with open(os.path.join(ROOT, "p2p_plain", "web", "page.html"), "rb") as file:
                assert get(page, "/") == file.read()
            assert b"\np2p_plain_nodes 2\n" in get(page, "/metrics")
            assert second.stop() == 0
        first.wait_for("peer_down")
        assert first.stop(signal.SIGINT) == 0
        assert first.seen[-1]["reason"] == "SIGINT"


def get(port, path):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open("http://127.0.0.1:%d%s" % (port, path), timeout=PATIENCE) as answer:
        return answer.read()


def test_invitation_names_the_file(onefile):
    process = subprocess.Popen(
        [sys.executable, onefile, *LOCAL], cwd=os.path.dirname(onefile), stdout=subprocess.PIPE
    )
    process.stdout.readline()
    said = process.stdout.readline().decode()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert re.search(r"join with:  python3 p2p_plain\.pyz --bootstrap 127\.0\.0\.1:\d+ --port 0$", said)


def test_traceback_has_the_line_numbers_of_the_sources(onefile):
    code = "from p2p_plain import Node; Node(port=0).send('nobody', 1)"
    found = []
    for path in onefile, ROOT:
        _, _, err = run(what=("-c", code), cwd="/", env={"PYTHONPATH": path})
        found.append(re.findall(r'p2p_plain/(?:\w+/)?(\w+\.py)", line (\d+), in (\w+)', err))
    assert found[0] == found[1]
    assert ("node.py", "send") in [(name, function) for name, _, function in found[0]]


# -- a Python that is too old ---------------------------------------------------------------------------


def python2():
    """A Python 2.7 of this machine; ``None`` if there is none."""
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    folders = os.path.join(pyenv, "versions")
    found = [shutil.which("python2.7")]
    for name in os.listdir(folders) if os.path.isdir(folders) else []:
        if name.startswith("2.7"):
            found.append(os.path.join(folders, name, "bin", "python2.7"))
    for python in filter(None, found):
        try:  # a shim of pyenv without a version behind it fails
            subprocess.check_output([python, "-V"], stderr=subprocess.STDOUT)
            return python
        except (OSError, subprocess.CalledProcessError):
            pass
    return None


def test_python_2_is_refused_in_one_line(both):
    python = python2()
    if python is None:
        pytest.skip("needs a Python 2.7")
    done = subprocess.Popen(
        [python, *both["what"]], cwd=both["cwd"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = done.communicate()
    assert (done.returncode, out) == (3, b"")
    assert err == b"p2p_plain: needs Python 3.6 or newer; this is 2.7\n"


def test_early_python_3_is_refused_in_one_line(onefile):
    code = (
        "import runpy, sys\n"
        "sys.version_info = (3, 5, 2)\n"
        "runpy.run_path(%r, run_name='__main__')\n" % onefile
    )
    code, out, err = run(what=("-c", code), cwd="/")
    assert (code, out, err) == (3, "", "p2p_plain: needs Python 3.6 or newer; this is 3.5\n")


# -- flags, variables, descriptors ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags, env",
    [
        (["-I", "-S", "-O", "-W", "error", "-bb"], None),
        (["-E", "-S", "-OO", "-B"], None),
        (["-W", "error"], {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}),
    ],
    ids=["isolated", "optimised", "warnings"],
)
def test_program_works_with_any_flags_of_python(both, flags, env):
    if "-I" in flags and both["what"] == FOLDER:
        flags = ["-E" if flag == "-I" else flag for flag in flags]  # -I hides the folder
    how = dict(both, flags=flags, env=env)
    page = str(free_port())
    with Program(*LOCAL, "--http", page, **how) as program:
        where = "127.0.0.1:%d" % program.port
        code, out, err = run("matrix", where, "--json", **how)
        assert (code, err) == (0, "")
        assert len(json.loads(out)["nodes"]) == 1
        code, out, err = run("ping", where, "-c", "1", **how)
        assert (code, err) == (0, "")
        assert run("check", where, "--expect", "1", **how)[::2] == (0, "")
        assert get(int(page), "/healthz") == b"ok\n"
        assert program.stop() == 0


@posix
def test_program_works_without_environment_stdin_and_a_utf_8_locale(both):
    """Without HOME as well.  Names outside ASCII arrive unchanged at the other end."""
    how = dict(both, env={"LC_ALL": "C"}, prefix=shell("<&-"))
    name, network = NAME.encode("utf-8"), "\u00f1".encode("utf-8")
    with Program(*LOCAL, "--name", name, "--network", network, **how) as program:
        assert program.wait_for("listening")[0]["name"] == NAME
        where = "127.0.0.1:%d" % program.port
        code, out, err = run("matrix", where, "--network", network, "--json", **how)
        assert (code, err) == (0, "")
        assert [node["name"] for node in json.loads(out)["nodes"]] == [NAME]
        code, out, err = run("ping", where, "--network", network, "-c", "1", **how)
        assert (code, err) == (0, "")
        assert NAME in out or "z\\xfcrich" in out
        assert program.stop() == 0


@posix
def test_program_works_with_stdout_and_stderr_closed(both):
    quiet = shell("<&- >&- 2>&-")
    assert run("--version", prefix=quiet, **both) == (0, "", "")
    assert run("--help", prefix=quiet, **both) == (0, "", "")
    assert run("--port", "no", prefix=quiet, **both) == (2, "", "")
    port = free_port()
    words = ("--port", str(port), "--bind", "127.0.0.1", "--trace", "--log-level", "debug")
    with Program(*words, prefix=quiet, **both) as program:
        where = "127.0.0.1:%d" % port
        wait_until(lambda: run("ping", where, "-c", "1", **both)[0] == 0)
        assert run("ping", where, "-c", "1", prefix=quiet, **both) == (0, "", "")
        assert run("matrix", where, prefix=quiet, **both) == (0, "", "")
        assert program.stop() == 0


@posix
def test_closed_pipe_is_a_quiet_end(both):
    """``| head -1`` prints no error and gives exit code 0."""
    with Program(*LOCAL, **both) as program:
        where = "127.0.0.1:%d" % program.port
        for words in (["--version"], ["--help"], LOCAL, ["matrix", where], ["watch", where]):
            read, write = os.pipe()
            os.close(read)
            try:
                assert run(*words, stdout=write, **both) == (0, "", ""), words
            finally:
                os.close(write)


@posix
def test_program_works_in_a_deleted_folder(onefile, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    prefix = ("sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh")
    assert run("--version", what=(onefile,), cwd=str(gone), prefix=prefix)[::2] == (0, "")
    gone.mkdir()
    with Program(*LOCAL, what=(onefile,), cwd=str(gone), prefix=prefix) as program:
        assert program.port
        assert program.stop() == 0


# -- containers -----------------------------------------------------------------------------------------


def reason_for_no_containers():
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "needs root on Linux"
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "true"]
    try:
        subprocess.check_output(command, stderr=subprocess.STDOUT)
    except (OSError, subprocess.CalledProcessError):
        return "may not make namespaces here"
    return "" if os.path.isdir("/mnt") else "needs /mnt"


containers = pytest.mark.skipif(bool(reason_for_no_containers()), reason=reason_for_no_containers())

BARREN = r"""
import fcntl, json, os, resource, shutil, socket, struct, subprocess, sys

prefix, python, onefile, folder = sys.argv[1:]
here = "/mnt/work"


def mount(*words):
    subprocess.check_call(("mount",) + words)


# The user nobody may not read a home folder, so what it needs is mounted or copied to /mnt.
mount("-t", "tmpfs", "none", "/mnt")
os.chmod("/mnt", 0o755)
os.makedirs(here)
os.mkdir("/mnt/python")
mount("--bind", prefix, "/mnt/python")
shutil.copy(onefile, "/mnt/p2p_plain.pyz")
shutil.copytree(folder, here + "/p2p_plain")

for name in os.listdir("/proc/sys/net/ipv6/conf"):
    with open("/proc/sys/net/ipv6/conf/%s/disable_ipv6" % name, "w") as file:
        file.write("1")
with socket.socket() as sock:  # SIOCSIFFLAGS, IFF_UP: netdevice(7)
    fcntl.ioctl(sock, 0x8914, struct.pack("16sH14x", b"lo", 1))

with open("/proc/self/mounts") as file:
    points = [line.split()[1] for line in file]
for point in points:
    # All but the mounts that we need or that our own /mnt hides.
    if not point.startswith(("/proc", "/sys", "/dev")) and os.path.exists(point):
        mount("-o", "remount,bind,ro", point)


def drop():
    os.chdir(here)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def start(*words):
    return subprocess.Popen(
        ("/mnt/python/bin/" + python,) + words,
        preexec_fn=drop,
        env={"LD_LIBRARY_PATH": "/mnt/python/lib", "TMPDIR": here},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def end(process, complaint=b""):
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, complaint), (process.returncode, out, err)
    return out.decode()


probe = "import os, tempfile\nprint(os.getuid())\ntry: tempfile.mkdtemp()\nexcept OSError: print('no')"
assert end(start("-c", probe)).split() == ["65534", "no"]
for what in ["/mnt/p2p_plain.pyz"], ["-m", "p2p_plain"]:
    node = start(*what + ["--json", "--port", "0", "--http", "0", "--peers-file", "peers.json"])
    said = node.stdout.readline()
    assert said, node.stderr.read()
    (address,) = json.loads(said.decode())["addresses"]
    assert address.startswith("127.0.0.1:"), address
    assert "1 received" in end(start(*what + ["ping", address, "-c", "1"]))
    assert "1 node" in end(start(*what + ["check", address, "--expect", "1"]))
    assert len(json.loads(end(start(*what + ["matrix", address, "--json"])))["nodes"]) == 1
    node.terminate()
    complaint = b"cannot save /mnt/work/peers.json: Read-only file system\n"
    assert json.loads(end(node, complaint))["reason"] == "SIGTERM"
print("all is well")
"""


@containers
def test_program_works_read_only_without_ipv6_as_nobody_with_64_descriptors(onefile):
    python = os.path.basename(os.path.realpath(sys.executable))
    done = subprocess.run(
        ["unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork"]
        + ["--kill-child", "--mount-proc", sys.executable, "-c", textwrap.dedent(BARREN)]
        + [os.path.realpath(sys.base_prefix), python, onefile, os.path.join(ROOT, "p2p_plain")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=6 * PATIENCE,
    )
    assert done.stdout == b"all is well\n", done.stderr.decode()


def first_process_of(unshare):
    """Our number of the process that is number 1 in its own namespace."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % name) as file:
                parent = file.read().rpartition(")")[2].split()[1]
        except OSError:
            continue  # it has just ended
        if int(parent) == unshare.pid:
            return int(name)
    return None


@containers
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_1_of_a_container_stops_at_a_signal(both, number):
    """For process 1 the kernel ignores every signal that has no handler."""
    alone = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    with Program(*LOCAL, prefix=alone, **both) as program:
        program.wait_for("listening")
        os.kill(first_process_of(program.process), number)
        assert program.process.wait(PATIENCE) == 0
        wait_until(lambda: program.events("stopped"))
        assert program.seen[-1]["reason"] == signal.Signals(number).name
    asking = subprocess.Popen(
        list(alone) + [sys.executable] + list(both["what"]) + ["check", "127.0.0.1:1"],
        cwd=both["cwd"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    first = wait_until(lambda: first_process_of(asking))
    wait_until(lambda: handles(first, signal.SIGTERM))
    os.kill(first, number)
    out, err = asking.communicate(timeout=PATIENCE)
    assert (asking.returncode, out, err) == (1, b"", b"")


def handles(pid, number):
    """True if that process has a handler for the signal."""
    with open("/proc/%d/status" % pid) as file:
        caught = re.search(r"SigCgt:\s*([0-9a-f]+)", file.read()).group(1)
    return int(caught, 16) >> (number - 1) & 1
