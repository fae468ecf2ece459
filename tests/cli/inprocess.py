"""The command line inside the test's own process."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from nearkin.cli import app
from nearkin.errors import NearkinError


def invoke(*args: str, code: int = 0) -> str:
    """What a command prints; with ``code``, the one line of the error that it must end with."""
    found: Result = CliRunner(env={"COLUMNS": "100"}).invoke(app, list(args))
    if code:
        assert isinstance(found.exception, NearkinError), (found.output, found.exception)
        assert found.exception.exit_code == code and "\n" not in str(found.exception)
        return str(found.exception)
    assert found.exit_code == 0, (found.output, found.exception)
    return found.output
