"""nearkin study: the main job."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from nearkin.cli import options


def study(
    data: options.Data = "shapes",
    ood: Annotated[
        list[str] | None,
        typer.Option(
            "--ood",
            help="Images that do not belong, e.g. mnist: how well every method tells them apart. A name or a path; "
            "may be repeated.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for the results. Default: runs/DATA-PRESET.")
    ] = None,
    preset: options.Preset = "quick",
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            help="Comma-separated names or groups (main, study, ablations, neighbours, relatives, ceilings, weights, codes, "
            "all), or variants NAME@SETTING=VALUE. Default: the preset's.",
        ),
    ] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", help="A count (3) or a list (0,1,2).")] = None,
    subset: options.Subset = None,
    epochs: options.Epochs = None,
    set_: options.Set = None,
    labels: options.Labels = None,
    image_column: options.ImageColumn = None,
    label_column: options.LabelColumn = None,
    value_range: options.ValueRange = None,
    size: options.Size = None,
    strict: options.Strict = False,
    device: options.Device = "auto",
    fresh: Annotated[bool, typer.Option("--fresh", help="Throw away what is in the folder and start over.")] = False,
    tensorboard: options.TensorBoard = False,
    quiet: options.Quiet = False,
) -> None:
    """Train every method on the same data, evaluate them under one protocol, write a report.

    Interrupted? Run the same command again: it continues where it was.
    """
    from nearkin.study.presets import expand_methods, get_preset
    from nearkin.study.study import StudyConfig, run_study
    from nearkin.train.device import pick_device

    chosen = get_preset(preset)
    settings, usual_subset = chosen.on(pick_device(device))
    config = StudyConfig(
        data=data,
        preset=preset,
        methods=expand_methods(methods) if methods is not None else chosen.methods,
        seeds=_seeds(seeds, chosen.seeds),
        settings=settings | options.overrides(set_, epochs),
        subset=subset if subset is not None else usual_subset,
        size=size,
        labels=str(labels) if labels else None,
        strict=strict,
        read=options.read_options(image_column, label_column, value_range).given(),
        ood=tuple(dict.fromkeys(ood or ())),
        device=device,
        command="nearkin " + shlex.join(sys.argv[1:]),
    )
    name = Path(data).stem or "data"
    folder = out or Path("runs") / f"{name}-{preset}"
    results = run_study(config, folder, fresh=fresh, progress=not quiet, say=typer.echo, tensorboard=tensorboard)
    from nearkin.cli.tables import print_results
    from nearkin.report import build, write_markdown

    print_results(results)
    write_markdown(folder)
    typer.echo(f"report: {build(folder)}")


def _seeds(text: str | None, default: tuple[int, ...]) -> tuple[int, ...]:
    from nearkin.errors import ConfigError

    if text is None:
        return default
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--seeds {text}: expected a count (3) or a list (0,1,2).") from error
    if any(n < 0 for n in numbers) or numbers == [0] and "," not in text:
        raise ConfigError(f"--seeds {text}: expected a count of at least 1, or a list of seeds >= 0.")
    return tuple(dict.fromkeys(numbers)) if "," in text else tuple(range(numbers[0]))
