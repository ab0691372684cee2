"""What the client sees: service reports, as pages and PDF."""
