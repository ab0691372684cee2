"""The agent: looks (``collect``), tells the server (``link``), and does what operators signed (``act``).

``main.py`` is the loop, one process without threads. What needs much memory (collecting facts, signatures, jobs)
runs in forked children that end when it is done (``apart.py``). It dials out; it never listens.
"""
