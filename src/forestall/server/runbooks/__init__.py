"""Signed procedures, their jobs, and the standing orders that let them run unattended."""
