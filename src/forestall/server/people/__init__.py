"""Clients, sites, persons, their roles, and the scope every query must name."""
