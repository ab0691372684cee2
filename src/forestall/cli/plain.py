"""Text of others on a terminal: words, and never a command to it."""

from __future__ import annotations

from typing import Any

# Escape sequences recolour, move the cursor, rename the window or answer for the person who reads; overrides of the
# direction of reading make one name look like another. Each becomes one visible letter; line ends and tabs stay.
_SHOWN = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **dict.fromkeys(
        [*range(0x80, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD
    ),
}


def plain(text: str) -> str:
    """The text with every control character as a picture of itself (␛), letter for letter."""
    return text.translate(_SHOWN)


def plain_all(value: Any) -> Any:
    """The same for every text in what came as JSON."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, list):
        return [plain_all(one) for one in value]
    if isinstance(value, dict):
        return {plain(name): plain_all(one) for name, one in value.items()}
    return value
