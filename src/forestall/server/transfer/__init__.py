"""Clients coming and going: lists imported, everything of one client exported, a client removed."""
