"""The coverage matrix, the daily health run and the health score."""
