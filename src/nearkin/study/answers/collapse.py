"""What happens without the variance term: collapse, of scale or of information?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nearkin.folders import StudyFolder
from nearkin.study.answers.common import pick
from nearkin.train.record import MetricsLog


def collapse(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The predictions about training without the variance term, with the numbers that decide them."""
    full = next((r for r in runs if r["method"] == "vicreg"), None)
    without = next((r for r in runs if r["method"] == "vicreg-novar"), None)
    if full is None or without is None:
        return {}
    before, after = full["evaluation"]["layers"], without["evaluation"]["layers"]
    name = full["evaluation"]["primary_layer"]
    a, b = before[name], after[name]
    out: dict[str, Any] = {
        "Does it collapse without the variance term?": {
            "statement": _layers(before, after),
            "numbers": {
                layer: {"vicreg": _numbers(before[layer]), "vicreg-novar": _numbers(after[layer])}
                for layer in before
                if layer in after
            },
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
    found = _compactness(a, b)
    if found is not None:
        out["Is its map more compact?"] = found
    return out


def _compactness(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any] | None:
    """How tight clusters are with (a) and without (b) the term, and whether they are the classes."""
    maps = [layer.get("maps", {}).get("tsne", {}) for layer in (a, b)]
    tight = [layer["clusters"]["silhouette"] for layer in (a, b)]
    classes = [layer["clusters"]["class_silhouette"] for layer in (a, b)]
    if None in (*tight, *classes) or not all(m and m.get("purity") is not None for m in maps):
        return None
    return {
        "statement": (
            f"{'Yes' if tight[1] > tight[0] else 'No'}: its k-means clusters have silhouette {tight[1]:.3f}, with the term "
            f"{tight[0]:.3f}. Whether the clusters are the classes is another matter: class silhouette {classes[1]:.3f} against "
            f"{classes[0]:.3f}, t-SNE map purity {maps[1]['purity']:.3f} against {maps[0]['purity']:.3f}. A t-SNE picture hides "
            "scale, and compactness alone says nothing about quality."
        ),
        "numbers": {"silhouette": tight, "class_silhouette": classes, "map_purity": [m["purity"] for m in maps]},
    }


def _numbers(layer: dict[str, Any]) -> dict[str, float | None]:
    return {
        "std_mean": layer["health"]["std_mean"],
        "rankme": layer["health"]["rankme"],
        "linear_sgd": pick(layer, ("linear_sgd", "accuracy")),
        "linear_sgd_standardised": pick(layer, ("linear_sgd_standardised", "accuracy")),
        "linear": pick(layer, ("linear", "accuracy")),
    }


def _layers(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Which layers collapse: the loss acts on the last one, and what lies before it may keep more."""
    collapsed: list[str] = []
    kept: list[str] = []
    for layer in (name for name in before if name in after):
        a, b = before[layer]["health"], after[layer]["health"]
        numbers = (
            f"'{layer}' (mean std per dimension {b['std_mean']:.2g} against {a['std_mean']:.2g}, "
            f"RankMe {b['rankme']:.1f} against {a['rankme']:.1f})"
        )
        gone = b["std_mean"] < 0.1 * a["std_mean"] or b["rankme"] < 0.1 * a["rankme"]
        (collapsed if gone else kept).append(numbers)
    if not collapsed:
        return f"No: neither spread nor rank falls below a tenth of VICReg's on {', '.join(kept)}."
    rest = f" Not on {', '.join(kept)}." if kept else ""
    return f"Yes, on {', '.join(collapsed)}: spread or rank is below a tenth of VICReg's.{rest}"


def convergence(folder: Path, runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Epochs until the training loss has made 95 % of its total fall, with and without variance."""
    found = {}
    for method in ("vicreg", "vicreg-novar"):
        run = next((r for r in runs if r["method"] == method), None)
        if run is None:
            return None
        lines = MetricsLog(StudyFolder(folder).run(run["id"]).metrics_file).read(kind="epoch", split="train")
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
