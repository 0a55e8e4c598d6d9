"""The attacks, one module for each kind; importing this puts all of them on the list."""

from . import crowds, dialing, identity, page, rows, together

__all__ = ["crowds", "dialing", "identity", "page", "rows", "together"]
