"""``import nearkin`` is cheap; every public name is there when it is used."""

from __future__ import annotations

import inspect
import subprocess
import sys
import typing
from importlib.resources import files

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


def test_types_are_shipped_and_every_public_signature_has_them() -> None:
    assert files("nearkin").joinpath("py.typed").is_file()
    public = [getattr(nearkin, name) for name in nearkin.__all__]
    functions = [item for item in public if inspect.isfunction(item)]
    functions += [item for name in nearkin.losses.__all__ if inspect.isfunction(item := getattr(nearkin.losses, name))]
    for cls in filter(inspect.isclass, public):
        own = [base for base in cls.__mro__ if base.__module__.startswith("nearkin.")]
        methods = {name: getattr(cls, name) for base in own for name in vars(base) if not name.startswith("_")}
        functions += [item for item in methods.values() if inspect.isroutine(item)]
    assert len(functions) > 20
    for function in functions:
        inner = inspect.unwrap(getattr(function, "__func__", function))
        hints = typing.get_type_hints(inner)  # names that only the type checker could resolve would raise
        named = set(inspect.signature(inner).parameters) - {"self", "cls"}
        assert named | {"return"} <= set(hints), function
