"""Every message between agent and server, declared once. No I/O.

Rules of evolution (so that versions can mix): a new field has a default, a field's type never changes,
unknown fields are dropped by the decoder. Times are timezone-aware UTC datetimes.
"""
