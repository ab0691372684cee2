"""The one way in which an action fails."""

from __future__ import annotations

from collections.abc import Mapping

from forestall.trust.proofs import RestoreProof
from forestall.trust.statements import PackageChange


class ActionFailed(Exception):  # noqa: N818 - read as a sentence: raise ActionFailed
    """An action did not reach its end. ``code`` goes into the job's result, ``sentence`` is for people."""

    def __init__(
        self,
        code: str,
        sentence: str,
        *,
        output: str = "",
        changed: Mapping[str, int] | None = None,
        packages: tuple[PackageChange, ...] | None = None,
        proof: RestoreProof | None = None,
    ) -> None:
        super().__init__(f"{code}: {sentence}")
        self.code = code
        self.sentence = sentence
        self.output = output
        self.changed = dict(changed or {})
        self.packages = packages
        self.proof = proof
        """Of a backup that was tried and found wanting."""
