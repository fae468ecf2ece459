"""Output folders: they must be writable before hours are spent."""

from __future__ import annotations

from pathlib import Path

from nearkin.errors import OutputError


def claim(folder: Path) -> None:
    """Create ``folder`` and make sure files can be written there. Raises OutputError otherwise."""
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}. Choose another -o.") from error
