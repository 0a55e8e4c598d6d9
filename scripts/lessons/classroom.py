"""What all lessons share that is not about sockets: command line, lines on the screen, Ctrl-C."""

import os
import signal
import sys
import time

PORT = 7001
BEGAN = time.monotonic()
NAIVE = "--naive" in sys.argv[1:]


def tell(text):
    """Print a line, with the seconds since the start in front of it."""
    sys.stdout.write("%5.1f s  %s\n" % (time.monotonic() - BEGAN, text))
    sys.stdout.flush()


def run(lesson, break_it=None, most_ports=1):
    """Call ``lesson(port)``, or with ``--break`` ``break_it(port)``, until it ends or Ctrl-C.

    With ``most_ports=2`` a second port may be given, and is handed on.
    """
    flags = [word for word in sys.argv[1:] if not word.isdigit()]
    ports = [int(word) for word in sys.argv[1:] if word.isdigit()]
    if flags == ["--help"]:
        print(sys.modules["__main__"].__doc__.strip())
        return
    known = ["--naive"] + (["--break"] if break_it else [])
    function, most = (break_it, 1) if flags == ["--break"] else (lesson, most_ports)
    sound = len(flags) <= 1 and set(flags) <= set(known)
    if not sound or len(ports) > most or max([0] + ports) > 65535:
        name = os.path.basename(sys.argv[0])
        more = " [PORT_TO_DIAL]" if most_ports > 1 else ""
        leave("usage: %s [%s] [PORT%s]   (--help explains)" % (name, " | ".join(known), more), 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    try:
        function(*ports or [PORT])
    except KeyboardInterrupt:
        pass
    except ConnectionRefusedError:
        leave("nobody listens there; first start the lesson in another terminal", 1)
    except OSError as error:
        leave("port %d: %s" % ((ports or [PORT])[0], error.strerror or error), 3)


def leave(why, code):
    """End with one line that says why."""
    sys.stderr.write(why + "\n")
    sys.exit(code)
