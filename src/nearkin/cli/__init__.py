"""The command line: parse, one call, print. Importing it imports no torch; commands import what they need."""

from __future__ import annotations

import atexit
import inspect
import io
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import typer

from nearkin.cli import (
    anomalies,
    cluster,
    compare,
    data,
    doctor,
    duplicates,
    embed,
    evaluate,
    explore,
    export,
    factors,
    fit,
    hubs,
    map_,
    report,
    runs,
    search,
    study,
)

app = typer.Typer(
    name="nearkin",
    help="From a folder of unlabelled images to an embedding, with honest evidence of how good it is.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)


def _add(name: str, command: Callable[..., None]) -> None:
    """Register a command; each paragraph of its docstring becomes one line of help, which the terminal wraps."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    app.command(name, help="\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs))(command)


_COMMANDS: dict[str, Callable[..., None]] = {
    "study": study.study,
    "fit": fit.fit,
    "embed": embed.embed,
    "evaluate": evaluate.evaluate,
    "export": export.export,
    "map": map_.map_,
    "search": search.search,
    "hubs": hubs.hubs,
    "anomalies": anomalies.anomalies,
    "cluster": cluster.cluster,
    "factors": factors.factors,
    "duplicates": duplicates.duplicates,
    "explore": explore.explore,
    "report": report.report,
    "compare": compare.compare,
    "runs": runs.runs,
    "doctor": doctor.doctor,
}
for _name, _command in _COMMANDS.items():
    _add(_name, _command)
app.add_typer(data.app, name="data")


def main() -> None:
    """Run the command line; errors that a user can act on become one line and an exit code."""
    from nearkin.errors import NearkinError, one_line

    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _without_reader(stream))
    # Ctrl-C while the interpreter goes down, when everything is written, would end in its "Fatal Python error".
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pressed: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        signal.default_int_handler(number, frame)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    try:
        try:
            code = app(standalone_mode=False)  # otherwise a misspelt flag would be told in a box of several lines
        except Exception as error:
            if pressed:  # a library swallowed Ctrl-C, such as in the middle of an import, and failed of it later
                raise KeyboardInterrupt from error
            raise
    except NearkinError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(error.exit_code)
    except _REFUSED as error:
        text = _refusal(error)
        if text:
            print(f"error: {one_line(text)}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except OSError as error:
        print(f"error: {one_line(error.filename or 'the system')}: {error.strerror or error}", file=sys.stderr)
        sys.exit(4)
    if code == 130:  # typer makes this of Ctrl-C by itself
        print("interrupted; run the same command again to continue", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


class _Unread(io.FileIO):
    """A stream whose reader may go away, as ``| head`` does: later output is dropped, and the command continues."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            return len(data)


def _without_reader(stream: Any) -> io.TextIOWrapper:
    """``stream``, a standard stream, for which a closed pipe is no error: results are still computed and saved."""
    stream.flush()
    raw = io.BufferedWriter(_Unread(stream.fileno(), "w", closefd=False))
    options = {"encoding": stream.encoding, "errors": stream.errors, "line_buffering": stream.line_buffering}
    return io.TextIOWrapper(raw, **options, write_through=stream.write_through)


# Typer keeps click inside itself since 0.26, before it was a package of its own: the base of what it exports is in both.
_REFUSED: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _refusal(error: Any) -> str:
    """Why the parser refuses a command, and where its flags are listed; "" where help has been printed instead."""
    text = " ".join(str(error.format_message()).split())
    if not text or type(error).__name__ == "NoArgsIsHelpError":
        return ""
    context = getattr(error, "ctx", None)
    return (
        text + "." * (text[-1] not in ".?)") + (f" See '{context.command_path} --help'." if context is not None else "")
    )
