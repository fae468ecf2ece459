"""results.json: every run's evaluation, the table over seeds, the ablation's numbers and the verdict in words."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from nearkin import __version__
from nearkin.evaluate.stats import STUDENT, t_interval
from nearkin.fileio import read_json, read_object
from nearkin.methods import method_info, rank
from nearkin.study.answers import answers, collapse, convergence, verdict
from nearkin.study.answers.common import pick
from nearkin.study.presets import GROUPS
from nearkin.system import available_cores
from nearkin.train.record import MetricsLog

_SCORES = ("linear", "linear_sgd", "linear_sgd_standardised", "knn")
_PACKAGES = ("torch", "torchvision", "timm", "scikit-learn", "faiss-cpu", "openTSNE", "numpy", "pyarrow")
# Published by the reference study on CIFAR-10: linear probes of VICReg, without the variance term, and of NGN.
REFERENCE_STUDY = {"vicreg": 0.7242, "vicreg-novar": 0.1758, "ngn": 0.3491}


def collect(folder: Path, command: str) -> dict[str, Any]:
    """Assemble the results of all finished runs in a study folder. JSON-able."""
    study, data = read_object(folder / "study.json", config=dict), read_object(folder / "data.json", study_splits=dict)
    runs = [_run(path.parent) for path in sorted(folder.glob("runs/*/done.json"))]
    runs.sort(key=lambda run: (rank(run["method"]), run["seed"]))
    table = _table(runs)
    ablation = collapse(runs)
    faster = convergence(folder, runs) if ablation else None
    if faster is not None:
        ablation["Does it converge faster without the variance term?"] = faster
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
        "reference_study": REFERENCE_STUDY if data["name"] == "cifar10" else {},
        "runs": runs,
        "table": table,
        "intervals": _intervals(table),
        "ablation": ablation,
        "answers": answers(runs),
        "uses": read_json(folder / "uses.json") if (folder / "uses.json").exists() else {},
        "verdict": verdict(runs, table, data),
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


def _run(folder: Path) -> dict[str, Any]:
    evaluation = read_object(folder / "evaluation.json", method=str, seed=int, layers=dict)
    config = read_object(folder / "config.json", settings=dict)
    info = method_info(evaluation["method"])
    record = MetricsLog(folder / "metrics.jsonl")
    epochs = record.read(kind="epoch", split="val")
    steps = len(record.read(kind="step"))
    train = record.read(kind="epoch", split="train")
    seconds = epochs[-1]["seconds"] if epochs else 0.0
    diagnoses = record.read(kind="diagnosis")
    trained = bool(epochs)
    table, graph = folder / "neighbors.json", folder / "graph.json"
    purity = read_json(table)["purity"] if table.exists() else None
    return {
        "id": folder.name,
        "method": evaluation["method"],
        "title": evaluation["title"],
        "seed": evaluation["seed"],
        "trained": trained,
        "baseline": info.baseline,
        "of_study": evaluation["method"] in GROUPS["study"],  # the report shows these first
        "uses_labels": info.uses_labels,
        "config": config["settings"],
        "seconds": seconds,
        "images_per_s": steps * config["settings"]["batch_size"] / seconds if seconds else None,
        "epochs": epochs[-1]["epoch"] if epochs else 0,
        # The last epoch's numbers that are no evaluation of the embedding: loss terms, std of the codes or projections.
        "training": (train[-1] | {k: v for k, v in epochs[-1].items() if k in ("projector_std", "alignment")})
        if trained and train
        else {},
        "losses": _losses(train, record.read(kind="test")),
        "neighbor_purity": purity,
        "graph": read_json(graph)["note"] if graph.exists() else None,
        "diagnosis": {k: diagnoses[-1][k] for k in ("state", "message")} if diagnoses else None,
        "evaluation": evaluation,
    }


def _losses(train: list[dict[str, Any]], test: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Loss and terms of the first and the last epoch, and of the last weights on test images (None where not measured)."""
    if not train:
        return None
    return {
        name: {key: value for key, value in line.items() if key not in ("kind", "epoch", "split", "seconds")} or None
        for name, line in (("first", train[0]), ("train", train[-1]), ("test", test[-1] if test else {}))
    }


def _over_seeds(values: list[float], single: list[float] | None, kind: str) -> dict[str, Any]:
    """Mean with a t interval over seeds, or the single run's own interval."""
    interval = t_interval(values)
    if interval is not None:
        return {
            "mean": float(np.mean(values)),
            "interval": list(interval),
            "interval_kind": STUDENT,
            "n_seeds": len(values),
        }
    return {"mean": values[0], "interval": single, "interval_kind": kind if single else None, "n_seeds": 1}


def _table(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per method: its primary layer, each number over the seeds."""
    rows = []
    methods = dict.fromkeys(run["method"] for run in runs)
    for method in methods:
        base, at, _ = method.partition("@")
        group = [run for run in runs if run["method"] == method]
        primary = group[0]["evaluation"]["primary_layer"]
        layers = [run["evaluation"]["layers"][primary] for run in group]
        row: dict[str, Any] = {
            "method": method,
            "variant": bool(at) and base in methods,  # of a method that has a row of its own
            "title": group[0]["title"],
            "trained": group[0]["trained"],
            "baseline": group[0]["baseline"],
            "uses_labels": group[0]["uses_labels"],
            "layer": primary,
            "dim": layers[0]["dim"],
        }
        for name in _SCORES:
            found = [layer[name] for layer in layers if layer[name]]
            if found:
                row[name] = _over_seeds([s["accuracy"] for s in found], found[0]["interval"], found[0]["interval_kind"])
                row[name]["n"] = found[0]["n"]
            else:
                row[name] = None
        for name, path in {
            "purity": ("entanglement", "purity"),
            "rankme": ("health", "rankme"),
            "silhouette": ("clusters", "silhouette"),
        }.items():
            numbers = [v for layer in layers if (v := pick(layer, path)) is not None]
            row[name] = _over_seeds(numbers, None, "") if numbers else None
        rows.append(row)
    return rows


def _intervals(table: list[dict[str, Any]]) -> str:
    """What the accuracies of the table stand on: test images, seeds, and the kind of their intervals."""
    cells = [row["linear"] for row in table if row["linear"]]
    if not cells:
        return ""
    images = " or ".join(f"{n:,}" for n in sorted({cell["n"] for cell in cells}))
    kinds = sorted({(cell["n_seeds"], cell["interval_kind"]) for cell in cells if cell["interval"]})
    text = "; ".join(f"{kind} ({seeds} seed{'s' if seeds > 1 else ''})" for seeds, kind in kinds)
    return f"n = {images} test images. Intervals: {text}."


def _protocol(data: dict[str, Any], runs: list[dict[str, Any]]) -> list[str]:
    sizes = data["study_splits"]
    lines = [
        f"Trained on {sizes['train']:,} images without labels; everything chosen on {sizes['val']:,} validation images "
        f"held out of train; test ({sizes['test']:,} images) read once, at the end.",
        "Features are frozen and come from one un-augmented view per image, the net in evaluation mode.",
    ]
    if data.get("subset"):
        lines.append(
            f"A fixed subset of {data['subset']:,} train images (validation included) was used, not the whole set."
        )
    for run in runs:
        layer = run["evaluation"]["layers"][run["evaluation"]["primary_layer"]]
        if layer["linear"]:
            # Of the first run: all share it, but for whether the fit converged, which is told of those where it did not.
            lines += [
                f"{name}: {layer[name]['protocol'].replace('NOT converged', 'converged')}."
                for name in ("linear", "linear_sgd", "knn")
            ]
            break
    stuck = [
        f"{run['title']} s{run['seed']} ({name})"
        for run in runs
        for name, layer in run["evaluation"]["layers"].items()
        if layer["linear"] and not layer["linear"].get("converged", True)
    ]
    if stuck:
        lines.append(f"The linear probe did NOT converge on: {', '.join(stuck)}.")
    return lines
