"""Which vulnerabilities the installed software has, and what to do first."""
