"""Protected systems: what must be recoverable, what covers it, and what has been proved by restoring."""
