"""Fixtures: the rule that nothing may fail silently."""

import logging
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


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
