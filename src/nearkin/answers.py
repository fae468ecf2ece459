"""The questions that a study answers, as numbers with their spread and one plain paragraph each.

Everything here is computed from the finished runs' evaluations; nothing is trained or embedded. A question whose runs are
missing has no answer, and is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from nearkin.evaluate.stats import t_interval

Run = dict[str, Any]
_BOOTSTRAPS = 2000
_LEAST_RUNS = 5


def primary(run: Run) -> dict[str, Any]:
    """The evaluation of the layer that downstream work uses."""
    out: dict[str, Any] = run["evaluation"]["layers"][run["evaluation"]["primary_layer"]]
    return out


def linear(run: Run, layer: str | None = None) -> float | None:
    """Linear-probe accuracy of a layer (default: the primary one); None without labels."""
    layers = run["evaluation"]["layers"]
    found = layers[layer or run["evaluation"]["primary_layer"]]["linear"] if layer is None or layer in layers else None
    return None if found is None else float(found["accuracy"])


def _cell(runs: list[Run], method: str, layer: str | None = None) -> dict[str, Any] | None:
    """Mean linear accuracy over a method's seeds, with a t interval or the single run's Wilson interval."""
    mine = [run for run in runs if run["method"] == method and linear(run, layer) is not None]
    if not mine:
        return None
    values = [float(linear(run, layer) or 0.0) for run in mine]
    interval = t_interval(values)
    name = layer or mine[0]["evaluation"]["primary_layer"]
    if interval is None:
        interval = tuple(mine[0]["evaluation"]["layers"][name]["linear"]["interval"])
    return {
        "method": method,
        "title": mine[0]["title"],
        "layer": name,
        "mean": float(np.mean(values)),
        "interval": [float(v) for v in interval],
        "n_seeds": len(values),
    }


def _points(value: float) -> str:
    return f"{100 * value:.1f}"


def _gap(a: dict[str, Any], b: dict[str, Any]) -> str:
    """How a compares with b, in points, and whether the intervals keep apart."""
    apart = a["interval"][0] > b["interval"][1] or b["interval"][0] > a["interval"][1]
    text = f"{100 * (a['mean'] - b['mean']):+.1f}".replace("-", "−")
    return f"{text} points ({'intervals apart' if apart else 'intervals overlap'})"


def ablations(runs: list[Run]) -> dict[str, Any] | None:
    """Each of VICReg's terms off, and its weights' sensitivity where variants of the weights were run."""
    full = _cell(runs, "vicreg")
    parts = {
        "invariance": _cell(runs, "vicreg-noinv"),
        "variance": _cell(runs, "vicreg-novar"),
        "covariance": _cell(runs, "vicreg-nocov"),
    }
    found = {name: cell for name, cell in parts.items() if cell}
    if full is None or not found:
        return None
    variants = sorted({run["method"] for run in runs if run["method"].startswith("vicreg@") and "_weight=" in run["method"]})
    rows = [full, *found.values(), *(cell for v in variants if (cell := _cell(runs, v)))]
    worst = min(found, key=lambda name: found[name]["mean"])
    text = "; ".join(f"without {name} {_points(cell['mean'])} % ({_gap(cell, full)})" for name, cell in found.items())
    statement = f"VICReg reads {_points(full['mean'])} %; {text}. The term it can least do without here is {worst}."
    grid = [cell for cell in rows if "@" in cell["method"]]
    if grid:
        low, high = min(cell["mean"] for cell in grid), max(cell["mean"] for cell in grid)
        statement += f" Over {len(grid)} other weights the accuracy lies between {_points(low)} and {_points(high)} %."
    return {
        "question": "What does each term of VICReg contribute?",
        "statement": statement,
        "caveat": "A term's worth depends on the others' weights and on the length of training; a short run punishes slow terms.",
        "rows": rows,
    }


def two_by_two(runs: list[Run]) -> dict[str, Any] | None:
    """{shared encoder, code per image} x {augmentations, neighbours}."""
    cells = {
        "encoder, augmentations": _cell(runs, "vicreg"),
        "encoder, neighbours": _cell(runs, "ngn"),
        "codes, augmentations": _cell(runs, "lo", "codes"),
        "codes, neighbours": _cell(runs, "free-codes"),
    }
    full = {name: cell for name, cell in cells.items() if cell}
    if len(full) < 4:
        return None
    ea, en, ca, cn = (full[name]["mean"] for name in cells)
    amortised, generated = ((ea - ca) + (en - cn)) / 2, ((ea - en) + (ca - cn)) / 2
    rows = [cell | {"title": f"{cell['title']} ({name})"} for name, cell in full.items()]
    for method, layer in (("lo", "distilled"), ("le-vicreg", None), ("le-pixels", None)):
        extra = _cell(runs, method, layer)
        if extra:
            rows.append(extra | {"title": f"beside them: {extra['title']}" + (f", {layer}" if layer else "")})
    return {
        "question": "What do an amortised encoder and generated neighbours buy?",
        "statement": (
            f"With augmentations, the encoder is worth {_signed(ea - ca)} points over a code per image; with neighbours "
            f"{_signed(en - cn)}; on average {_signed(amortised)}. Augmentations are worth {_signed(ea - en)} points over "
            f"neighbours for the encoder and {_signed(ca - cn)} for codes; on average {_signed(generated)}."
        ),
        "caveat": (
            "LO ties codes to images by reconstruction, which the other cells do not have: its cell differs in two things. "
            "Neighbours here come from a trained VICReg, so the neighbour cells inherit what augmentations taught it, and "
            "free codes of new images are means of their neighbours' codes under that VICReg."
        ),
        "rows": rows,
    }


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def neighbours(runs: list[Run]) -> dict[str, Any] | None:
    """Does NGN fail because neighbours are wrong, or because invariance is no longer taught?"""
    base, vicreg = _cell(runs, "ngn"), _cell(runs, "vicreg")
    if base is None or vicreg is None:
        return None
    rows: list[dict[str, Any]] = [vicreg]
    for method in ("ngn", "ngn-cosine", "ngn-pixels", "ngn-oracle", "ngn-augmented"):
        cell = _cell(runs, method)
        if cell:
            shares = [run["neighbor_purity"] for run in runs if run["method"] == method and run.get("neighbor_purity")]
            rows.append(cell | {"purity": float(np.mean(shares)) if shares else None})
    by = {row["method"]: row for row in rows}
    text = f"NGN reads {_points(base['mean'])} %, {_gap(base, vicreg)} against VICReg"
    if by["ngn"].get("purity") is not None:
        text += f"; {_points(by['ngn']['purity'])} % of its neighbours are of the image's class"
    text += "."
    if "ngn-cosine" in by:
        text += f" Cosine instead of L2 neighbours: {_gap(by['ngn-cosine'], base)}."
    if "ngn-oracle" in by:
        text += f" Perfectly pure neighbours (an oracle that reads labels): {_gap(by['ngn-oracle'], base)}."
    if "ngn-augmented" in by:
        text += f" Augmentations added back: {_gap(by['ngn-augmented'], base)}."
    return {
        "question": "Does NGN fall short because neighbours are wrong, or because invariance is no longer taught?",
        "statement": text,
        "caveat": "The oracle teaches classes, not only invariance: it bounds what purer neighbours could give.",
        "rows": rows,
    }


def latent_codes(runs: list[Run]) -> dict[str, Any] | None:
    """LO's code forms and batch sizes: per-dimension std and probe."""
    mine = [run for run in runs if run["method"].split("@")[0] in ("lo", "lo-naive")]
    if not mine:
        return None
    rows = []
    for method in dict.fromkeys(run["method"] for run in mine):
        cell = _cell(runs, method, "codes")
        if cell is None:
            continue
        group = [run for run in mine if run["method"] == method]
        std = float(np.mean([run["training"].get("projector_std", math.nan) for run in group]))
        inferred = float(np.mean([primary(run)["health"]["std_mean"] for run in group]))
        rows.append(cell | {"std": std, "std_inferred": inferred, "batch": group[0]["config"].get("batch_size")})
    if not rows:
        return None
    by = {row["method"]: row for row in rows}
    text = ""
    if "lo" in by:
        text = f"A code per image reads {_points(by['lo']['mean'])} %, its training codes' std is {by['lo']['std']:.2f}."
    distilled = _cell(runs, "lo", "distilled")
    if distilled:
        rows.append(distilled | {"title": f"{distilled['title']}, distilled encoder"})
        text += f" The encoder distilled from them reads {_points(distilled['mean'])} %."
    if "lo-naive" in by:
        text += (
            f" A free code per view reads {_points(by['lo-naive']['mean'])} %, std {by['lo-naive']['std']:.2f}: nothing "
            "makes codes of similar images similar, so invariance, variance and covariance are met without the content."
        )
    return {
        "question": "Can the variance term work when each image has its own code?",
        "statement": text.strip(),
        "caveat": "Random codes satisfy variance and covariance from the start, so a std near 1 alone proves nothing.",
        "rows": rows,
    }


_PREDICTORS: dict[str, Callable[[Run], float | None]] = {
    "silhouette of k-means": lambda run: primary(run)["clusters"]["silhouette"],
    "silhouette of classes": lambda run: primary(run)["clusters"]["class_silhouette"],
    "neighbour purity": lambda run: (primary(run)["entanglement"] or {}).get("purity"),
    "t-SNE map purity": lambda run: (primary(run).get("maps", {}).get("tsne") or {}).get("purity"),
    "RankMe": lambda run: primary(run)["health"]["rankme"],
    "uniformity": lambda run: primary(run)["health"]["uniformity"],
    "alignment": lambda run: run["training"].get("alignment"),
    "final training loss": lambda run: run["training"].get("loss"),
}


def spearman(x: np.ndarray, y: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Rank correlation and its 95 % percentile interval by resampling runs. x, y: (n,)."""
    rho = float(stats.spearmanr(x, y).statistic)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(_BOOTSTRAPS):
        pick = rng.integers(0, len(x), len(x))
        if len(np.unique(x[pick])) > 1 and len(np.unique(y[pick])) > 1:
            draws.append(float(stats.spearmanr(x[pick], y[pick]).statistic))
    low, high = (float(v) for v in np.percentile(draws, [2.5, 97.5])) if draws else (math.nan, math.nan)
    return rho, low, high


def clusteredness(runs: list[Run]) -> dict[str, Any] | None:
    """Which number that needs no probe predicts the probe, over runs?"""
    scored = [run for run in runs if linear(run) is not None]
    families = {"all methods": scored} | {
        f"{family} only": [run for run in scored if run["method"].split("@")[0].split("-")[0] == family]
        for family in dict.fromkeys(run["method"].split("@")[0].split("-")[0] for run in scored)
    }
    rows = []
    for scope, group in families.items():
        for name, read in _PREDICTORS.items():
            if name == "final training loss" and scope == "all methods":
                continue  # losses of different methods have no common scale
            pairs = [(read(run), linear(run)) for run in group]
            kept = [(a, b) for a, b in pairs if a is not None and b is not None and math.isfinite(a)]
            if len(kept) < _LEAST_RUNS or len({a for a, _ in kept}) < 2:
                continue
            x, y = (np.array(column, dtype=np.float64) for column in zip(*kept, strict=True))
            if len(np.unique(y)) < 2:
                continue
            rho, low, high = spearman(x, y)
            if math.isfinite(low):
                rows.append({"scope": scope, "predictor": name, "rho": rho, "interval": [low, high], "n": len(kept)})
    if not rows:
        return None
    across = [row for row in rows if row["scope"] == "all methods"]
    best = max(across or rows, key=lambda row: abs(row["rho"]))
    shape = next((row for row in across if row["predictor"] == "silhouette of k-means"), None)
    text = f"Over {best['n']} runs, {best['predictor']} goes best with the probe: rank correlation {best['rho']:+.2f}"
    text += f" [{best['interval'][0]:+.2f}, {best['interval'][1]:+.2f}]."
    if shape is not None and shape is not best:
        low, high = shape["interval"]
        verdict = "says little" if low < 0 < high else "goes with it" if shape["rho"] > 0 else "goes against it"
        text += f" How clustered the embedding is (silhouette of k-means) {verdict}: {shape['rho']:+.2f} [{low:+.2f}, {high:+.2f}]."
    return {
        "question": "Does how clustered an embedding is predict how strong it is?",
        "statement": text.replace("-", "−"),
        "caveat": (
            "Purity and the silhouette of classes read the same labels as the probe; only silhouette of k-means, RankMe, "
            "uniformity, alignment and loss need none. A correlation over methods mixes families; few runs, wide intervals."
        ),
        "correlations": rows,
    }


def eigenmaps(runs: list[Run]) -> dict[str, Any] | None:
    """VICReg beside Laplacian eigenmaps."""
    vicreg = _cell(runs, "vicreg")
    maps = [cell for name in ("le-vicreg", "le-random", "le-pixels") if (cell := _cell(runs, name))]
    if vicreg is None or not maps:
        return None
    text = "; ".join(f"{cell['title']} {_points(cell['mean'])} % ({_gap(cell, vicreg)})" for cell in maps)
    return {
        "question": "VICReg beside Laplacian eigenmaps: is the neighbour graph enough?",
        "statement": f"VICReg {_points(vicreg['mean'])} %; {text}.",
        "caveat": (
            "Eigenmaps are as good as the distances their graph is built on, and have no encoder: new images are placed by "
            "the Nystrom extension. Their maps stand in the section Maps, in the same layout and with the same numbers."
        ),
        "rows": [vicreg, *maps],
    }


def answers(runs: list[Run]) -> list[dict[str, Any]]:
    """All questions that these runs can answer. JSON-able."""
    makers = (ablations, two_by_two, neighbours, latent_codes, clusteredness, eigenmaps)
    return [found for make in makers if (found := make(runs)) is not None]
