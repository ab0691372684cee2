"""Samples behind one small interface: append, latest, range."""
