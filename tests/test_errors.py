"""Errors: what they are to a caller of the library, and to a shell."""

from __future__ import annotations

import pytest

from nearkin.errors import ConfigError, DataError, NearkinError, OutputError, TrainingError, reading


def test_an_illegal_value_is_a_value_error() -> None:
    from nearkin.methods import create

    with pytest.raises(ValueError, match="unknown method 'vicrg'"):
        create("vicrg", {}, (3, 16, 16))
    assert issubclass(ConfigError, NearkinError) and not issubclass(DataError, ValueError)


def test_exit_codes() -> None:
    codes = {NearkinError: 1, ConfigError: 2, DataError: 3, OutputError: 4, TrainingError: 5}
    assert {error: error.exit_code for error in codes} == codes


def test_reading_lets_a_config_error_through_and_tells_any_other_value_error() -> None:
    with pytest.raises(ConfigError, match="as it was"), reading("a file"):
        raise ConfigError("as it was")
    with pytest.raises(DataError, match="a file cannot be read .no number"), reading("a file"):
        raise ValueError("no number")
