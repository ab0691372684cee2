"""The renderer: a page as JSON on standard input, a PDF on standard output. Run as a process of its own.

It has no database, no environment, and as its file system root a folder that holds the template alone. Nothing a
device or a person wrote becomes markup: the template is our own file, the page reaches it as one JSON value, and
typst shows strings as they are. Characters that could mislead (bidirectional overrides, controls) or that no built-in
font has are written out as ``‹U+202E›``.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import tempfile
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typst

if TYPE_CHECKING:
    from typst import PDFStandard

TEMPLATE = Path(__file__).with_name("service_report.typ")
STANDARDS: list[PDFStandard] = ["a-2b", "ua-1"]
"""Archivable and accessible: fonts inside, tagged."""

PROBE = b"""#set document(title: [.])
#set text(font: ("Libertinus Serif", "DejaVu Sans Mono"))
#sys.inputs.t"""
"""Shows characters as the template would."""

MOST_INPUT = 4 * 1024 * 1024
CPU_SECONDS = 20
MEMORY_BYTES = 1024**3

_LAST_COVERED = 0x2C00
"""No built-in font reaches further; not worth trying one by one."""

_LONG_WORD = re.compile(r"[^\s\u200b]{25,}")
_BREAK_AFTER = re.compile(r"([/\\._:=,;&?-])(?=[^\s])")


def render(page: dict[str, Any], *, made_at: datetime) -> bytes:
    """The PDF of a page (see ``rules.page_of``). The same page and time give the same bytes."""
    fonts = typst.Fonts(include_system_fonts=False)
    with tempfile.TemporaryDirectory(prefix="forestall-report-") as root:
        hidden = _not_shown(page, fonts, root)
        shown = _each_text(page, lambda text: _breakable(_written_out(text, hidden)))
        return _compiled(TEMPLATE.read_bytes(), {"page": json.dumps(shown)}, fonts, root, made_at)


def _compiled(template: bytes, inputs: dict[str, str], fonts: typst.Fonts, root: str, made_at: datetime) -> bytes:
    """The PDF of a template, which is the one file below ``root``."""
    path = Path(root, "main.typ")
    path.write_bytes(template)
    return typst.compile(
        str(path), root=root, font_paths=fonts, sys_inputs=inputs, pdf_standards=STANDARDS, timestamp=made_at
    )


def _each_text(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_each_text(item, change) for item in value]
    if isinstance(value, dict):
        return {key: _each_text(item, change) for key, item in value.items()}
    return value


def _not_shown(page: dict[str, Any], fonts: typst.Fonts, root: str) -> frozenset[str]:
    """The characters of the page that must be written out."""
    texts: list[str] = []
    _each_text(page, texts.append)
    letters = {letter for text in texts for letter in text if not " " <= letter <= "~"}
    hidden = {letter for letter in letters if _misleading(letter) or ord(letter) >= _LAST_COVERED}
    return frozenset(hidden | _without_glyph(sorted(letters - hidden), fonts, root))


def _misleading(letter: str) -> bool:
    return letter not in "\n\t" and unicodedata.category(letter) in {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}


def _without_glyph(letters: list[str], fonts: typst.Fonts, root: str) -> set[str]:
    """Those that no built-in font has: halve until the ones that the standard refuses are found."""
    if not letters:
        return set()
    try:
        _compiled(PROBE, {"t": " ".join(letters)}, fonts, root, datetime.fromtimestamp(0, UTC))
    except typst.TypstError:
        if len(letters) == 1:
            return set(letters)
        half = len(letters) // 2
        return _without_glyph(letters[:half], fonts, root) | _without_glyph(letters[half:], fonts, root)
    return set()


def _written_out(text: str, hidden: frozenset[str]) -> str:
    return "".join(f"‹U+{ord(letter):04X}›" if letter in hidden else letter for letter in text)


def _breakable(text: str) -> str:
    """Let long words (paths, names) break at the line's end: after punctuation, else anywhere every 20 letters.
    Hashes (64 hex digits) are left whole, so that they can be copied."""

    def soften(match: re.Match[str]) -> str:
        word = match.group()
        if re.fullmatch(r"[0-9a-f]{64}", word):
            return word
        pieces = _BREAK_AFTER.sub("\\1\u200b", word).split("\u200b")
        return "\u200b".join("\u200b".join(re.findall(r".{1,20}", piece)) for piece in pieces)

    return _LONG_WORD.sub(soften, text)


def _limit_yourself() -> None:
    """Bound what a page can cost. Writing is for standard output alone: the folder stays empty."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> int:
    """Read ``{"page": …, "made_at": "…"}``, write the PDF. Exit code 2 and a line on standard error for bad input."""
    _limit_yourself()
    raw = sys.stdin.buffer.read(MOST_INPUT + 1)
    if len(raw) > MOST_INPUT:
        sys.stderr.write(f"the page is larger than {MOST_INPUT} bytes\n")
        return 2
    try:
        asked = json.loads(raw)
        # typst takes whole seconds.
        made_at = datetime.fromisoformat(asked["made_at"]).astimezone(UTC).replace(microsecond=0)
        pdf = render(asked["page"], made_at=made_at)
    except (ValueError, KeyError, TypeError, RecursionError, typst.TypstError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 2
    sys.stdout.buffer.write(pdf)
    return 0


if __name__ == "__main__":
    sys.exit(main())
