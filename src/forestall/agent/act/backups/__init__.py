"""Restore tests: what a backup is worth is shown by bringing it back.

``prove`` finds the newest backup, lets the tool check it, restores a sample or all of it into a scratch folder
(``scratch``), compares it with hashes taken at backup time (``manifest``) or with live, unchanged files (``content``),
starts databases privately (``servers``), and cleans up. One module a tool (``tools.KITS``), all of one shape
(``trial.Kit``); programs are started by ``running``.
"""

from forestall.agent.act.backups.prove import prove

__all__ = ["prove"]
