"""Comparing versions, as each package manager does."""
