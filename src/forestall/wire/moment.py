"""A time on the wire: one that names no time zone is refused, because nobody could say when it was."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
