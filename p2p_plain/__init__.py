"""A peer-to-peer network in plain Python: every instance is server and client."""

__version__ = "0.1.0"
