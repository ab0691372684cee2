"""Who may command a device, and how it is shown: keys, DSSE envelopes, statements, authorization rules. No I/O."""
