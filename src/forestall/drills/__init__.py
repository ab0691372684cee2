"""Drills: real, bounded, reversible faults on this machine, to watch the loop detect, repair and prove."""
