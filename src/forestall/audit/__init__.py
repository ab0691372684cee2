"""The baseline audit of a machine: no server, no enrolment, no database.

``report.py`` collects, judges by the same kinds as the server, and ranks; ``plain.py`` (JSON), ``terminal.py``,
``page.py`` (HTML) and ``pdf.py`` show the same report. Text from the device is data in each of them (``inert.py``).
"""
