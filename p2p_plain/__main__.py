"""``python -m p2p_plain``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
