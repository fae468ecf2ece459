"""Errors that a user can act on. Each carries one line (what, where, legal values, the fix) and an exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_LONGEST = 200  # characters of a foreign message


class NearkinError(Exception):
    """Base of all errors raised on purpose. The command line prints its message as one line.

    Anything else that escapes is a bug.
    """

    exit_code = 1


class ConfigError(NearkinError, ValueError):
    """A setting, flag, argument or name is not legal. A ValueError too, as callers of a library expect."""

    exit_code = 2


class DataError(NearkinError):
    """Input data is missing, unreadable or unusable."""

    exit_code = 3


class DamagedFile(DataError):
    """A file that cannot be used: it is missing, unreadable, or does not hold what it should.

    Attributes:
        path: the file. reason: one line that can follow its name, such as "holds no JSON object". missing: whether there
        is no such file.
    """

    def __init__(self, path: object, reason: str, missing: bool = False) -> None:
        super().__init__(path, reason, missing)  # pickle passes these to __init__
        self.path, self.reason, self.missing = path, one_line(reason), missing

    def __str__(self) -> str:
        if self.missing:
            return f"no file {self.path}; is this a folder written by 'nearkin study'?"
        return f"{self.path} is damaged (it {self.reason}). Delete it and run again."


class OutputError(NearkinError):
    """Results cannot be written (read-only folder, full disk)."""

    exit_code = 4


class TrainingError(NearkinError):
    """Training cannot go on (non-finite loss). The last good checkpoint is kept."""

    exit_code = 5


def one_line(text: object) -> str:
    """``text`` without control characters and line ends: names of foreign files must not steer a terminal."""
    return "".join(c if c.isprintable() else " " for c in str(text))


@contextmanager
def reading(what: object, fix: str = "") -> Iterator[None]:
    """Turn any error of the block, which parses a foreign file, into a DataError that names ``what``.

    Hostile content makes parsers raise nearly anything (struct.error, zlib.error, KeyError, MemoryError, ...), and all of
    it means the same to the user. Use it around parsers only: it would hide our own bugs.
    """
    try:
        yield
    except NearkinError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
        raise DataError(f"{what} cannot be read ({reason}).{' ' * bool(fix)}{fix}") from error


def unknown(kind: str, name: str, legal: Iterable[str]) -> ConfigError:
    """Build the error for an unknown name, with "did you mean" when one legal name is close."""
    legal = list(legal)
    close = difflib.get_close_matches(name.lower(), [item.lower() for item in legal], n=1, cutoff=0.5)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return ConfigError(f"unknown {kind} '{name}'.{hint} Legal: {', '.join(legal)}.")
