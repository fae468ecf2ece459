"""Settings of a method: a flat dictionary with defaults, checked by name and type."""

from __future__ import annotations

import dataclasses
from typing import Any

from nearkin.errors import ConfigError, unknown
from nearkin.train.config import TrainConfig

TRAIN_DEFAULTS = {field.name: field.default for field in dataclasses.fields(TrainConfig)}


def _convert(name: str, value: Any, default: Any) -> Any:
    """``value`` in the type of ``default``; widths may come as "1024,1024"."""
    try:
        if isinstance(default, tuple):
            parts = value.split(",") if isinstance(value, str) else value
            return tuple(int(part) for part in parts)
        if isinstance(default, bool):
            return value if isinstance(value, bool) else {"true": True, "false": False}[str(value).lower()]
        if isinstance(default, int):
            if float(value) != int(float(value)):
                raise ValueError
            return int(float(value))
        return type(default)(value)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise ConfigError(f"setting {name}={value!r} must be a {type(default).__name__}, like {default!r}.") from error


def resolve(defaults: dict[str, Any], given: dict[str, Any], *, train: bool = True) -> dict[str, Any]:
    """Defaults of the method (and of training) overridden by ``given``.

    Raises:
        ConfigError: unknown name (with "did you mean") or a value of the wrong type.
    """
    known = (TRAIN_DEFAULTS if train else {}) | defaults
    for name in given:
        if name not in known:
            raise unknown("setting", name, sorted(known))
    return known | {name: _convert(name, value, known[name]) for name, value in given.items()}


def train_config(settings: dict[str, Any]) -> TrainConfig:
    """The TrainConfig inside resolved ``settings``."""
    return TrainConfig(**{name: settings[name] for name in TRAIN_DEFAULTS})
