"""The page for auditors holds: its own Python program, run as it stands there, agrees with the verifier."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from forestall.ledger import bundle, records
from forestall.trust.keys import key_id, public_bytes
from forestall.verify.tests.workbench import honest, write

PAGE = Path(__file__).parents[4] / "docs" / "protocol" / "evidence.md"


def audit(path: Path) -> subprocess.CompletedProcess[str]:
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    return subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)


def test_the_auditors_program_agrees_on_an_honest_bundle(tmp_path: Path) -> None:
    bench = honest(12)
    done = audit(write(tmp_path, bench.bundle()))
    assert done.returncode == 0, done.stderr
    log = bench.logs[0]
    signed = sum(bool(record.envelope) and not record.erased for record in log.records)
    expected = f"client 0: {len(log.records)} entries, {signed} signed by devices, {len(log.checkpoints)} checkpoints"
    assert done.stdout.splitlines()[0] == expected
    assert done.stdout.splitlines()[-1] == f"log key {key_id(public_bytes(bench.log_key))}"


def test_the_auditors_program_finds_a_changed_content(tmp_path: Path) -> None:
    content = honest(12).bundle()
    changed = content.replace(b"fills", b"spins", 1)
    assert changed != content
    assert audit(write(tmp_path, changed)).returncode != 0


def test_the_page_names_every_word_of_the_format() -> None:
    text = PAGE.read_text()
    kinds = (bundle.HeaderLine, bundle.CheckpointLine, bundle.EntryLine, bundle.SealLine, bundle.BundleSeal)
    shapes = (bundle.KeptCheckpoints, bundle.BundleClient, records.Leaf, records.Content)
    words = {field for kind in kinds + shapes for field in kind.__struct_fields__}
    words |= {bundle.FORMAT, bundle.CHECKPOINTS_FORMAT, records.COMMITMENT_DOMAIN.decode().strip()}
    words |= {bundle.BundleHeader.PAYLOAD_TYPE, bundle.BundleSeal.PAYLOAD_TYPE, *records.SIGNED_KINDS}
    assert [word for word in sorted(words) if word not in text] == []
