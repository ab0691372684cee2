"""A check that is not passing, from raise to clear, through one list of stages."""
