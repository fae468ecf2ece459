"""The command line: parse, one call, print. Importing it imports no torch; commands import what they need."""

from __future__ import annotations

import sys

import typer

from nearkin.cli.commands import (
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
app.command("study")(study.study)
app.command("fit")(fit.fit)
app.command("embed")(embed.embed)
app.command("evaluate")(evaluate.evaluate)
app.command("export")(export.export)
app.command("map")(map_.map_)
app.command("search")(search.search)
app.command("hubs")(hubs.hubs)
app.command("anomalies")(anomalies.anomalies)
app.command("cluster")(cluster.cluster)
app.command("factors")(factors.factors)
app.command("duplicates")(duplicates.duplicates)
app.command("explore")(explore.explore)
app.command("report")(report.report)
app.command("compare")(compare.compare)
app.command("runs")(runs.runs)
app.command("doctor")(doctor.doctor)
app.add_typer(data.app, name="data")


def main() -> None:
    """Run the command line; errors that a user can act on become one line and an exit code."""
    from nearkin.errors import NearkinError, one_line

    try:
        app()
    except NearkinError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(error.exit_code)
    except SystemExit as leaving:  # typer turns Ctrl-C into exit code 130 by itself
        if leaving.code == 130:
            print("interrupted; run the same command again to continue", file=sys.stderr)
        raise
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        print(f"error: {one_line(error.filename or 'the system')}: {error.strerror or error}", file=sys.stderr)
        sys.exit(4)
