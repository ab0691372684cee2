"""The agents' door: authenticate, decode, judge thresholds, commit in groups, acknowledge."""
