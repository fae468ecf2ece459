"""``import nearkin`` is cheap; every public name is there when it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import nearkin


def test_import_is_cheap() -> None:
    code = "import sys, nearkin; bad = [m for m in ('torch', 'sklearn', 'numpy') if m in sys.modules]; sys.exit(str(bad) if bad else 0)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("name", nearkin.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(nearkin, name).__doc__ and name in dir(nearkin)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Vicreg'"):
        nearkin.Vicreg  # noqa: B018
