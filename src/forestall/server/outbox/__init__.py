"""What happened and has to be told on: a row in the same transaction, routed by ``loop.py``."""
