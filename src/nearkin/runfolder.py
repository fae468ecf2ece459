"""Output folders: they must be writable before hours are spent, and written by one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nearkin.errors import OutputError

_LOCK = ".lock"


def claim(folder: Path) -> None:
    """Create ``folder`` and make sure files can be written there. Raises OutputError otherwise."""
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}. Choose another -o.") from error


def claim_files(*files: Path | None, source: Path | None = None) -> None:
    """Make sure, before anything is computed, that files can be written. None: one that was not asked for.

    Args:
        source: the file that is read, which none of them may replace.
    Raises:
        OutputError: a folder of that name, the source itself, or a folder that cannot be written.
    """
    for file in files:
        if file is None:
            continue
        if file.is_dir():
            raise OutputError(f"cannot write {file}: it is a folder. Give the name of a file.")
        if source is not None and file.exists() and source.exists() and file.samefile(source):
            raise OutputError(f"cannot write {file}: it is what is read, and would be lost. Choose another name.")
        claim(file.parent)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Claim ``folder`` and hold it: two processes that train into one folder would mix their checkpoints and metrics.

    The lock is the operating system's, so that it ends with its process, kill -9 included; the empty file stays.

    Raises:
        OutputError: another process holds it, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    claim(folder)
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(
            f"another nearkin process is writing to {folder}. Wait for it to end, or choose another -o."
        ) from None
    try:
        yield
    finally:
        lock.release()
