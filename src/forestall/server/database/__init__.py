"""Where the relational data lives: SQLite in the data folder, or PostgreSQL with a role per process and row-level
security as the second wall behind the scope that every query names."""
