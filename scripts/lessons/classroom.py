"""What all lessons share that is not about sockets: command line, lines on the screen, Ctrl-C."""

import os
import re
import signal
import sys
import time

PORT = 7001
BEGAN = time.monotonic()
NAIVE = "--naive" in sys.argv[1:]

ROOTS = (os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."), ".")
"""Where p2p_plain is looked for: above this folder, or, if that was copied, in the current one."""


def report(text):
    """Print a line, with the seconds since the start in front of it.

    Past Python's buffer: that has a lock, and a thread that holds it while the program ends would
    make Python abort.
    """
    line = "%5.1f s  %s\n" % (time.monotonic() - BEGAN, text)
    os.write(1, line.encode("ascii", "backslashreplace"))


def run(lesson, break_it=None, most_ports=1):
    """Call ``lesson(port)``, or with ``--break`` ``break_it(port)``, until it ends or Ctrl-C.

    With ``most_ports=2`` a second port may be given.  It is passed on to ``lesson``.
    """
    flags = [word for word in sys.argv[1:] if not word.isdigit()]
    ports = [int(word) for word in sys.argv[1:] if word.isdigit()]
    if flags == ["--help"]:
        print(with_lines(sys.modules["__main__"].__doc__.strip()))
        return
    known = ["--naive"] + (["--break"] if break_it else [])
    function, most = (break_it, 1) if flags == ["--break"] else (lesson, most_ports)
    sound = len(flags) <= 1 and set(flags) <= set(known)
    if not sound or len(ports) > most or max([0] + ports) > 65535:
        name = os.path.basename(sys.argv[0])
        more = " [PORT_TO_DIAL]" if most_ports > 1 else ""
        leave("usage: %s [%s] [PORT%s]   (--help explains)" % (name, " | ".join(known), more), 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    port = (ports or [PORT])[0]
    try:
        function(*ports or [PORT])
    except KeyboardInterrupt:
        pass
    except ConnectionRefusedError:
        leave("port %d: nothing listens there; does the lesson run in another terminal?" % port, 1)
    except OSError as error:
        leave("port %d: %s" % (port, error.strerror or error), 3)


def leave(why, code):
    """End with one line that says why."""
    sys.stderr.write(why + "\n")
    sys.exit(code)


def with_lines(header):
    """Return the header of a lesson with the line of each name that stands behind a file."""
    return re.sub(r"(p2p_plain/\S+\.py)(  +)([\w.]+)", _with_line, header)


def _with_line(found):
    file, gap, name = found.groups()
    for root in ROOTS:
        path = os.path.join(root, file)
        if os.path.exists(path):
            try:
                place = "%s:%d" % (file, line_of(path, name))
            except LookupError:
                break  # another version of the package
            return place.ljust(len(file + gap) + 4) + name
    return found.group()


def line_of(path, name):
    """Return the line that defines ``name``: a CONSTANT, function, Class or Class.method.

    Raises ``LookupError`` if there is none.
    """
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    number = 0
    for part in name.split("."):
        definition = re.compile(r"\s*(class |def )?%s\b( =|:|\()" % part)
        found = [n for n, line in enumerate(lines[number:], number + 1) if definition.match(line)]
        number = found[0]
    return number
