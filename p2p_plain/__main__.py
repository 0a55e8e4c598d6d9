"""``python -m p2p_plain``."""

import sys

if __name__ == "__main__":
    try:
        from .cli import main

        sys.exit(main())
    except KeyboardInterrupt:  # before there was anything to stop
        sys.exit(0)
