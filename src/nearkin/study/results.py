"""results.json: every run's evaluation, the table over seeds, the ablation's numbers and the verdict in words."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nearkin.evaluate.evaluation import MEASURES, PROBES
from nearkin.evaluate.published import reference_study
from nearkin.evaluate.stats import STUDENT, Interval, t_interval
from nearkin.fileio import IF_KNOWN, MERGED, read_json, read_object, to_json
from nearkin.folders import StudyFolder
from nearkin.methods import method_info
from nearkin.methods.registry import is_variant
from nearkin.runs.run import FinishedRun
from nearkin.study.answers import RunResult, answers, signed, without_variance
from nearkin.study.presets import GROUPS
from nearkin.system import available_cores
from nearkin.version import __version__

_PACKAGES = ("torch", "torchvision", "timm", "scikit-learn", "faiss-cpu", "openTSNE", "numpy", "pyarrow")
_MOST_SENTENCES = 3  # trained methods that get a sentence each; more are put in order in one line


@dataclass(frozen=True)
class SeedMean:
    """A measure of one method over its seeds.

    Attributes:
        interval: 95 %, made as interval_kind says: over seeds, or a single run's own; None where it has none.
        n: test images of an accuracy.
    """

    mean: float
    interval: Interval | None
    interval_kind: str | None
    n_seeds: int
    n: int | None = field(default=None, metadata=IF_KNOWN)


@dataclass(frozen=True)
class MethodRow:
    """A method in the study's table.

    Attributes:
        variant: NAME@SETTING=VALUE of a method that has a row of its own. layer: the primary one, of ``dim`` dimensions.
        measures: by their names in ``MEASURES``; None where not measured.
    """

    method: str
    variant: bool
    title: str
    trained: bool
    baseline: bool
    uses_labels: bool
    layer: str
    dim: int
    measures: dict[str, SeedMean | None] = field(metadata=MERGED)

    @property
    def linear(self) -> SeedMean | None:
        """The linear probe, by which methods are put in order."""
        return self.measures["linear"]


@dataclass(frozen=True)
class Remark:
    """A sentence of the verdict. level: "good", "warn" or "bad"."""

    level: str
    text: str


def collect(folder: StudyFolder, command: str, finished: list[FinishedRun], uses: dict[str, Any]) -> dict[str, Any]:
    """Assemble the results of all finished runs of a study. JSON-able. uses: what uses.json holds."""
    study, data = read_object(folder.study_file, config=dict), read_object(folder.data_file, study_splits=dict)
    runs = [run_result(run) for run in finished]
    table = over_seeds(runs)
    return {
        "title": f"{data['name']}: what the embeddings are worth",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
        "nearkin_version": __version__,
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in _PACKAGES},
        "hardware": hardware(),
        "preset": study["config"]["preset"],
        "protocol": _protocol(data, runs),
        "data": data,
        "reference_study": reference_study(data["name"]),
        "runs": to_json(runs),
        "table": to_json(table),
        "intervals": _intervals(table),
        "ablation": to_json(without_variance(runs)),
        "answers": to_json(answers(runs)),
        "uses": uses,
        "verdict": to_json(verdict(runs, table, data)),
    }


def hardware() -> dict[str, Any]:
    """CPU name, cores this process may use, GPU name or None."""
    import torch

    name = platform.processor() or platform.machine()
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), name)
    return {
        "cpu": name,
        "cores": available_cores(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def run_result(run: FinishedRun) -> RunResult:
    """A finished run as results.json lists it. Raises DataError for a damaged file."""
    settings, record = run.config().settings, run.record()
    info = method_info(run.method)
    epochs, train = (record.read(kind="epoch", split=split) for split in ("val", "train"))
    steps, diagnoses = len(record.read(kind="step")), record.read(kind="diagnosis")
    seconds = epochs[-1]["seconds"] if epochs else 0.0
    neighbors, graph, encoder = (run.folder / f"{name}.json" for name in ("neighbors", "graph", "encoder"))
    return RunResult(
        id=run.name,
        method=run.method,
        title=run.evaluation.title,
        seed=run.seed,
        trained=bool(epochs),
        baseline=info.baseline,
        of_study=run.method in GROUPS["study"],
        uses_labels=info.uses_labels,
        config=settings,
        seconds=seconds,
        images_per_s=steps * settings["batch_size"] / seconds if seconds else None,
        epochs=epochs[-1]["epoch"] if epochs else 0,
        training=train[-1] | {k: v for k, v in epochs[-1].items() if k in ("projector_std", "alignment")}
        if epochs and train
        else {},
        losses=_losses(train, record.read(kind="test")),
        neighbor_purity=read_json(neighbors)["purity"] if neighbors.exists() else None,
        graph=read_json(graph)["note"] if graph.exists() else None,
        diagnosis={k: diagnoses[-1][k] for k in ("state", "message")} if diagnoses else None,
        evaluation=run.evaluation,
        curve=tuple((line["epoch"], line["loss"]) for line in train if "loss" in line),
        encoder=read_object(encoder, note=str) if encoder.exists() else None,
    )


def _losses(train: list[dict[str, Any]], test: list[dict[str, Any]]) -> dict[str, dict[str, Any] | None] | None:
    """Loss and terms of the first and the last epoch, and of the last weights on test images (None where not measured)."""
    if not train:
        return None
    return {
        name: {key: value for key, value in line.items() if key not in ("kind", "epoch", "split", "seconds")} or None
        for name, line in (("first", train[0]), ("train", train[-1]), ("test", test[-1] if test else {}))
    }


def over_seeds(runs: Sequence[RunResult]) -> list[MethodRow]:
    """One row per method: its primary layer, each measure over the seeds."""
    methods = dict.fromkeys(run.method for run in runs)
    return [_row([run for run in runs if run.method == method], methods) for method in methods]


def _row(group: list[RunResult], methods: dict[str, None]) -> MethodRow:
    """The row of a method's runs, one per seed."""
    first = group[0]
    base = first.method.partition("@")[0]
    primary = first.evaluation.primary_layer
    layers = [run.evaluation.layers[primary] for run in group]
    measures: dict[str, SeedMean | None] = {}
    for name, measure in MEASURES.items():
        values = [value for layer in layers if (value := measure.of(layer)) is not None]
        scores = [score for layer in layers if name in PROBES and (score := layer.probe(name))]
        n = scores[0].n if scores else None
        interval = t_interval(values)
        if not values:
            measures[name] = None
        elif interval is not None:
            measures[name] = SeedMean(float(np.mean(values)), interval, STUDENT, len(values), n)
        elif scores:
            measures[name] = SeedMean(values[0], scores[0].interval, scores[0].interval_kind, 1, n)
        else:
            measures[name] = SeedMean(values[0], None, None, 1)
    return MethodRow(
        method=first.method,
        variant=is_variant(first.method) and base in methods,
        title=first.title,
        trained=first.trained,
        baseline=first.baseline,
        uses_labels=first.uses_labels,
        layer=primary,
        dim=layers[0].dim,
        measures=measures,
    )


def _intervals(table: Sequence[MethodRow]) -> str:
    """The basis of the table's accuracies: test images, seeds, and the kind of their intervals."""
    cells = [row.linear for row in table if row.linear]
    if not cells:
        return ""
    images = " or ".join(f"{n:,}" for n in sorted({cell.n for cell in cells if cell.n is not None}))
    kinds = sorted({(cell.n_seeds, str(cell.interval_kind)) for cell in cells if cell.interval})
    text = "; ".join(f"{kind} ({seeds} seed{'s' if seeds > 1 else ''})" for seeds, kind in kinds)
    return f"n = {images} test images. Intervals: {text}."


def _protocol(data: dict[str, Any], runs: Sequence[RunResult]) -> list[str]:
    sizes = data["study_splits"]
    lines = [
        f"Trained on {sizes['train']:,} images without labels; everything chosen on {sizes['val']:,} validation images "
        f"held out of train; test ({sizes['test']:,} images) read once, at the end.",
        "Features are frozen and come from one un-augmented view per image, the net in evaluation mode.",
    ]
    if any(run.encoder for run in runs):
        lines.append(
            "Encoders that others trained learn nothing from these images; the verdict says what their weights have seen."
        )
    if data.get("subset"):
        lines.append(
            f"A fixed subset of {data['subset']:,} train images (validation included) was used, not the whole set."
        )
    for layer in (run.evaluation.primary for run in runs):
        if layer.linear:
            # Of the first run: all share it, but for whether the fit converged, which is told of those where it did not.
            lines += [
                f"{name}: {score.protocol.replace('NOT converged', 'converged')}."
                for name in ("linear", "linear_sgd", "knn")
                if (score := layer.probe(name))
            ]
            break
    stuck = [
        f"{run.title} s{run.seed} ({name})"
        for run in runs
        for name, layer in run.evaluation.layers.items()
        if layer.linear and not layer.linear.converged
    ]
    if stuck:
        lines.append(f"The linear probe did NOT converge on: {', '.join(stuck)}.")
    return lines


# The verdict in plain words: what was trained, how good it is against baselines, what is wrong with it


def verdict(runs: Sequence[RunResult], table: Sequence[MethodRow], data: dict[str, Any]) -> list[Remark]:
    """Sentences, the most important first. ``data``: as data.json describes the images."""
    out = _accuracies(table, data)
    if not data["classes"]:
        text = "The images have no labels: health, maps and clusters are shown, accuracy cannot be. "
        text += "Labels for a few hundred images (--labels) would add probes and entanglement."
        out.append(Remark("warn", text))
    out += [Remark("warn", f"{run.title}: {run.encoder['note']}") for run in runs if run.encoder]
    out += _diagnoses(runs)
    trained = [run for run in runs if run.trained]
    if trained and len({run.seed for run in trained}) == 1:
        text = "One seed only: the intervals cover the choice of test images, not the luck of training."
        out.append(Remark("warn", text))
    if data.get("subset"):
        text = f"Trained on a subset of {data['subset']:,} images; not comparable with full-length results."
        out.append(Remark("warn", text))
    for item in data["skipped"][:1]:
        count = len(data["skipped"])
        text = f"{count} files were unreadable and skipped, first: {item['path']} ({item['reason']})."
        out.append(Remark("warn", text))
    return out


def _accuracies(table: Sequence[MethodRow], data: dict[str, Any]) -> list[Remark]:
    scored = [(row, row.linear.mean) for row in table if row.linear]
    learned = [(row, mean) for row, mean in scored if not row.baseline]
    best = max((item for item in scored if item[0].baseline), key=lambda item: item[1], default=None)
    chance = 100 / len(data["classes"]) if data["classes"] else 0.0
    own = [(row, mean) for row, mean in learned if not row.uses_labels]
    if len(own) > _MOST_SENTENCES:
        main = next((item for item in own if item[0].method == "vicreg"), own[0])
        return [_sentence(*main, best, chance), *_order(learned, best)]
    return [_sentence(*item, best, chance) for item in learned]


def _sentence(row: MethodRow, accuracy: float, best: tuple[MethodRow, float] | None, chance: float) -> Remark:
    """One method beside the ``best`` baseline, with its accuracy. ``chance``: in percent."""
    labels = " Its training reads labels: no competitor." if row.uses_labels else ""
    text = f"{row.title}: {100 * accuracy:.1f} % linear probe (layer {row.layer}, {row.dim} dimensions), chance {chance:.1f} %"
    if best is None:
        return Remark("warn", text + ". No baseline was run, so this number stands alone." + labels)
    gain = accuracy - best[1]
    level = "good" if gain > 0.05 else "warn" if gain > 0 else "bad"
    text += f"; {signed(gain)} points against the best baseline ({best[0].title}, {100 * best[1]:.1f} %)."
    return Remark(level, text + labels)


def _order(learned: list[tuple[MethodRow, float]], best: tuple[MethodRow, float] | None) -> list[Remark]:
    """All methods in one line, best first, and those that do not beat the best baseline in another.

    Variants of a setting (NAME@...) are left to the table where NAME itself was run. Semicolons, because titles hold commas.
    """
    shown = [item for item in learned if not item[0].variant]
    ranked = sorted(shown, key=lambda item: -item[1])
    line = "; ".join(f"{row.title} {100 * mean:.1f}" for row, mean in ranked)
    more = "Intervals and variants of a setting" if len(shown) < len(learned) else "Intervals"
    out = [Remark("good", f"Linear probe in %, best first: {line}. {more} are in the table.")]
    behind = [row.title for row, mean in ranked if best is not None and mean <= best[1]]
    if best is not None and behind:
        out.append(Remark("bad", f"Not better than the best baseline ({best[0].title}): {'; '.join(behind)}."))
    return out


def _diagnoses(runs: Sequence[RunResult]) -> list[Remark]:
    """Problems found by the diagnosis. Seeds of a method with the same problem share a line."""
    same: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for run in runs:
        if run.diagnosis and run.diagnosis["state"] != "healthy":
            same.setdefault((run.title, run.diagnosis["state"]), []).append((run.seed, run.diagnosis["message"]))
    out = []
    for (title, state), group in same.items():
        seeds = ", ".join(str(seed) for seed, _ in group)
        which = f"seed {seeds}" if len(group) == 1 else f"seeds {seeds}; figures of seed {group[0][0]}"
        text = f"{title} ({which}): {state}. {group[0][1]}"
        out.append(Remark("warn" if state == "too short" else "bad", text))
    return out
