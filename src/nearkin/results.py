"""results.json: every run's evaluation, the table over seeds, the ablation's numbers and the verdict in words."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from nearkin import __version__
from nearkin.answers import answers
from nearkin.atomic import read_json
from nearkin.evaluate.stats import STUDENT, t_interval
from nearkin.methods import METHODS
from nearkin.train.record import Record

_SCORES = ("linear", "linear_sgd", "linear_sgd_standardised", "knn")
_PACKAGES = ("torch", "torchvision", "timm", "scikit-learn", "faiss-cpu", "openTSNE", "numpy", "pyarrow")
# Published by the reference study on CIFAR-10: linear probe of VICReg, and without the variance term.
REFERENCE_STUDY = {"vicreg": 0.7242, "vicreg-novar": 0.1758}


def collect(folder: Path, command: str) -> dict[str, Any]:
    """Assemble the results of all finished runs in a study folder. JSON-able."""
    study, data = read_json(folder / "study.json"), read_json(folder / "data.json")
    runs = [_run(path.parent) for path in sorted(folder.glob("runs/*/done.json"))]
    order = {name: k for k, name in enumerate(METHODS)}
    runs.sort(key=lambda run: (order[run["method"].split("@")[0]], run["method"], run["seed"]))
    table = _table(runs)
    ablation = _ablation(runs)
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
        "ablation": ablation,
        "answers": answers(runs),
        "verdict": _verdict(runs, table, data),
    }


def hardware() -> dict[str, Any]:
    """CPU name, cores this process may use, GPU name or None."""
    import torch

    name = platform.processor() or platform.machine()
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": name, "cores": cores, "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None}


def _run(folder: Path) -> dict[str, Any]:
    evaluation, config = read_json(folder / "evaluation.json"), read_json(folder / "config.json")
    record = Record(folder / "metrics.jsonl")
    epochs = record.read(kind="epoch", split="val")
    steps = len(record.read(kind="step"))
    train = record.read(kind="epoch", split="train")
    seconds = epochs[-1]["seconds"] if epochs else 0.0
    diagnoses = record.read(kind="diagnosis")
    trained = bool(epochs)
    table = folder / "neighbors.json"
    purity = read_json(table)["purity"] if table.exists() else None
    return {
        "id": folder.name,
        "method": evaluation["method"],
        "title": evaluation["title"],
        "seed": evaluation["seed"],
        "trained": trained,
        "config": config["settings"],
        "seconds": seconds,
        "images_per_s": steps * config["settings"]["batch_size"] / seconds if seconds else None,
        "epochs": epochs[-1]["epoch"] if epochs else 0,
        # The last epoch's numbers that are no evaluation of the embedding: loss terms, std of the codes or projections.
        "training": (train[-1] | {k: v for k, v in epochs[-1].items() if k in ("projector_std", "alignment")})
        if trained and train
        else {},
        "neighbor_purity": purity,
        "diagnosis": {k: diagnoses[-1][k] for k in ("state", "message")} if diagnoses else None,
        "evaluation": evaluation,
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


def _pick(layer: dict[str, Any], path: tuple[str, str]) -> float | None:
    group = layer.get(path[0])
    return None if group is None else group.get(path[1])


def _table(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per method: its primary layer, each number over the seeds."""
    rows = []
    for method in dict.fromkeys(run["method"] for run in runs):
        group = [run for run in runs if run["method"] == method]
        primary = group[0]["evaluation"]["primary_layer"]
        layers = [run["evaluation"]["layers"][primary] for run in group]
        row: dict[str, Any] = {
            "method": method,
            "title": group[0]["title"],
            "trained": group[0]["trained"],
            "layer": primary,
            "dim": layers[0]["dim"],
        }
        for name in _SCORES:
            found = [layer[name] for layer in layers if layer[name]]
            if found:
                row[name] = _over_seeds([s["accuracy"] for s in found], found[0]["interval"], found[0]["interval_kind"])
            else:
                row[name] = None
        for name, path in {
            "purity": ("entanglement", "purity"),
            "rankme": ("health", "rankme"),
            "silhouette": ("clusters", "silhouette"),
        }.items():
            numbers = [v for layer in layers if (v := _pick(layer, path)) is not None]
            row[name] = _over_seeds(numbers, None, "") if numbers else None
        rows.append(row)
    return rows


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
            lines += [f"{name}: {layer[name]['protocol']}." for name in ("linear", "linear_sgd", "knn")]
            break
    return lines


def _ablation(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The predictions about training without the variance term, with the numbers that decide them."""
    full = next((r for r in runs if r["method"] == "vicreg"), None)
    without = next((r for r in runs if r["method"] == "vicreg-novar"), None)
    if full is None or without is None:
        return {}
    name = full["evaluation"]["primary_layer"]
    a, b = full["evaluation"]["layers"][name], without["evaluation"]["layers"][name]
    numbers = {
        label: {
            "std_mean": layer["health"]["std_mean"],
            "rankme": layer["health"]["rankme"],
            "linear_sgd": _pick(layer, ("linear_sgd", "accuracy")),
            "linear_sgd_standardised": _pick(layer, ("linear_sgd_standardised", "accuracy")),
            "linear": _pick(layer, ("linear", "accuracy")),
        }
        for label, layer in (("vicreg", a), ("vicreg-novar", b))
    }
    collapsed = (
        b["health"]["std_mean"] < 0.1 * a["health"]["std_mean"] or b["health"]["rankme"] < 0.1 * a["health"]["rankme"]
    )
    out: dict[str, Any] = {
        "Does it collapse without the variance term?": {
            "statement": (
                f"{'Yes' if collapsed else 'No'}: on the layer '{name}' the mean std per dimension is "
                f"{b['health']['std_mean']:.2g} against {a['health']['std_mean']:.2g}, and RankMe {b['health']['rankme']:.1f} "
                f"against {a['health']['rankme']:.1f}."
            ),
            "numbers": numbers,
        }
    }
    if b["linear_sgd"]:
        lost, left = b["linear_sgd"]["accuracy"], b["linear_sgd_standardised"]["accuracy"]
        whole = a["linear_sgd"]["accuracy"]
        if lost >= whole - 0.02:
            meaning = "There is no loss to explain: without the term the raw features are read as well."
        elif left > lost + 0.5 * (whole - lost):
            meaning = "Most of the loss is scale: the information is still there, squeezed into tiny differences."
        else:
            meaning = "Standardising does not bring it back: most of the information is gone."
        out["Is information lost, or only scale?"] = {
            "statement": (
                f"The SGD probe reads {100 * lost:.1f} % from the raw features and {100 * left:.1f} % after standardising "
                f"each dimension (VICReg: {100 * whole:.1f} % raw). {meaning}"
            ),
            "numbers": {"raw": lost, "standardised": left},
        }
    maps = [layer.get("maps", {}).get("tsne", {}) for layer in (a, b)]
    if all(m and m.get("skipped") is None and m.get("purity") is not None for m in maps):
        out["Is its map more compact?"] = {
            "statement": (
                f"Class silhouette {b['clusters']['class_silhouette']:.3f} without the term, {a['clusters']['class_silhouette']:.3f} "
                f"with it; t-SNE map purity {maps[1]['purity']:.3f} against {maps[0]['purity']:.3f}. A collapsed cloud is small, "
                "but a t-SNE picture hides scale, so compactness alone says nothing about quality."
            ),
            "numbers": {"silhouette": [a["clusters"]["class_silhouette"], b["clusters"]["class_silhouette"]]},
        }
    return out


def convergence(folder: Path, runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Epochs until the training loss has made 95 % of its total fall, with and without variance."""
    found = {}
    for method in ("vicreg", "vicreg-novar"):
        run = next((r for r in runs if r["method"] == method), None)
        if run is None:
            return None
        lines = Record(folder / "runs" / run["id"] / "metrics.jsonl").read(kind="epoch", split="train")
        losses = [line["loss"] for line in lines]
        if len(losses) < 3 or losses[0] <= losses[-1]:
            return None
        target = losses[0] - 0.95 * (losses[0] - min(losses))
        found[method] = next(line["epoch"] for line, loss in zip(lines, losses, strict=True) if loss <= target)
    a, b = found["vicreg"], found["vicreg-novar"]
    verdict = "Yes" if b < a else "No"
    return {
        "statement": f"{verdict}: 95 % of the fall of its training loss is done after {b} epochs without the term, {a} with it. "
        "The two losses differ by a term, so this compares shapes of curves, not quality.",
        "numbers": found,
    }


def _signed(value: float) -> str:
    """One decimal with its sign, the minus a true one."""
    return f"{value:+.1f}".replace("-", "−")


def _verdict(runs: list[dict[str, Any]], table: list[dict[str, Any]], data: dict[str, Any]) -> list[dict[str, str]]:
    """Plain words: what was trained, how good against baselines, what is wrong with it."""
    out: list[dict[str, str]] = []
    learned = [row for row in table if row["trained"]]
    baselines = [row for row in table if not row["trained"]]
    scored = [row for row in learned if row["linear"]]
    chance = 1 / len(data["classes"]) if data["classes"] else None
    for row in scored:
        accuracy = row["linear"]["mean"]
        rivals = [b for b in baselines if b["linear"]]
        text = f"{row['title']}: {100 * accuracy:.1f} % linear probe (layer {row['layer']}, {row['dim']} dimensions), chance {100 * (chance or 0):.1f} %"
        if rivals:
            best = max(rivals, key=lambda b: b["linear"]["mean"])
            gain = accuracy - best["linear"]["mean"]
            level = "good" if gain > 0.05 else "warn" if gain > 0 else "bad"
            text += f"; {_signed(100 * gain)} points against the best baseline ({best['title']}, {100 * best['linear']['mean']:.1f} %)."
        else:
            level, text = "warn", text + ". No baseline was run, so this number stands alone."
        out.append({"level": level, "text": text})
    if not data["classes"]:
        out.append(
            {
                "level": "warn",
                "text": "The images have no labels: health, maps and clusters are shown, accuracy cannot be. "
                "Labels for a few hundred images (--labels) would add probes and entanglement.",
            }
        )
    for run in runs:
        if run["diagnosis"] and run["diagnosis"]["state"] != "healthy":
            out.append(
                {
                    "level": "bad",
                    "text": f"{run['title']} (seed {run['seed']}): {run['diagnosis']['state']}. {run['diagnosis']['message']}",
                }
            )
    if len({run["seed"] for run in runs}) == 1:
        out.append(
            {
                "level": "warn",
                "text": "One seed only: the intervals cover the choice of test images, not the luck of training.",
            }
        )
    if data.get("subset"):
        out.append(
            {
                "level": "warn",
                "text": f"Trained on a subset of {data['subset']:,} images; not comparable with full-length results.",
            }
        )
    for item in data["skipped"][:1]:
        out.append(
            {
                "level": "warn",
                "text": f"{len(data['skipped'])} files were unreadable and skipped, first: {item['path']} ({item['reason']}).",
            }
        )
    return out
