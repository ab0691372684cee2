"""The server: judges what agents report, keeps tickets and clocks, and keeps the evidence. See ``loop.py``."""
