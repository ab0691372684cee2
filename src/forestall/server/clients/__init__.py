"""How each client is served: its record, sites, contacts, and what is true about it now."""
