"""Baselines of configuration, drift from them, deviations accepted, and what other tools found."""
