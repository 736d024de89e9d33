"""Orchard: crop yields from region weather, with how far to trust each number."""

__version__ = "0.2.0"

PACKAGE = __name__
"""The name that the whole is imported by: `app` in a checkout, another one in a wheel (`scripts/wheels.py`)."""
