"""From Python's values to the texts that settings are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Union

Route = Mapping[str, Union[str, bool]]
"""Where a name leads: the keys ``name`` and ``url``, and if need be ``audience``
and ``token``."""

Value = Union[str, bool, int, Iterable[str], Iterable[Route], None]
"""What a setting can be given as; ``None`` says nothing."""


def texts(settings: Mapping[str, Value]) -> list[tuple[str, str]]:
    """The settings that say something, as texts."""
    return [(key, _text(value)) for key, value in settings.items() if value is not None]


def _text(value: Value) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return json.dumps([dict(item) if isinstance(item, Mapping) else item for item in value or ()])
