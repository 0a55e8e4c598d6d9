"""Fixtures: nodes that are stopped afterwards, and the rule that nothing may fail silently."""

import logging
import os
import signal
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


from p2p_plain import Node, cli  # noqa: E402
from p2p_plain.common.signals import stop_signals  # noqa: E402

# As most people have it: what a program writes into a pipe waits in a buffer first.
os.environ.pop("PYTHONUNBUFFERED", None)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started by a shell in the background: it ignores Ctrl-C, and so would all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_errors_logged():
    """An exception on a thread of ours is logged as an error: it fails the test that made it."""
    records = []

    class Collect(logging.Handler):
        def emit(self, record):
            records.append(record)

    handler = Collect(level=logging.ERROR)
    logger = logging.getLogger("p2p_plain")
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)
    assert not records, "\n".join(record.getMessage() for record in records)


@pytest.fixture(scope="session")
def onefile(tmp_path_factory):
    """The one file, built with this Python into a folder with nothing else in it."""
    path = str(tmp_path_factory.mktemp("far") / "p2p_plain.pyz")
    script = os.path.join(ROOT, "scripts", "build.py")
    subprocess.check_call([sys.executable, script, "--output", path], stdout=subprocess.DEVNULL)
    return path


@pytest.fixture
def make_node():
    """``make_node(**settings)``: a node that runs on a free port of 127.0.0.1."""
    made = []

    def make(**settings):
        settings.setdefault("port", 0)
        settings.setdefault("bind", "127.0.0.1")
        bootstrap = settings.get("bootstrap")
        if isinstance(bootstrap, Node):
            settings["bootstrap"] = "127.0.0.1:%d" % bootstrap.port
        node = Node(**settings)
        made.append(node)
        return node.start()

    yield make
    for node in made:
        node.stop()


@pytest.fixture
def typed(capsys):
    """Run a command in this process: ``typed("ping", ...)`` returns exit code, stdout, stderr."""
    handlers = {number: signal.getsignal(number) for number in stop_signals()}

    def run(*words):
        code = cli.main(list(words))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)
