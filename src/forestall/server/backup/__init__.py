"""Forestall's own backup: taken while it runs, encrypted, proved by restoring it, and put back.

Flow: ``snapshot`` copies the databases and keys into a scratch folder → ``archive`` packs and encrypts them (``age``)
into a file that is not yet named a backup → ``proof`` restores that file and compares → it gets its name, and
``status`` says so. ``services`` is that sentence as code; ``rules`` decides when, and what is kept.
"""
