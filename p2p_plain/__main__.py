"""``python -m p2p_plain``, and the first thing that runs in the one file (``scripts/build.py``)."""

import gc
import sys

if __name__ == "__main__":
    # Nothing that is imported is garbage: to look for some takes 2 of the 45 ms of a start.
    if hasattr(gc, "freeze"):  # not in Python 3.6, and without it the search comes only later
        gc.disable()
    try:
        from p2p_plain.cli import main

        sys.exit(main())
    except KeyboardInterrupt:  # before there was anything to stop
        sys.exit(0)
