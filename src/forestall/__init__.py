"""Forestall: proactive IT maintenance."""

__version__ = "0.1.0"
