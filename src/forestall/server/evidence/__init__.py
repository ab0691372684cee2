"""The per-client evidence log: appended in the same transaction as the act it records."""
