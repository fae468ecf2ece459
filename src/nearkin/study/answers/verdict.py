"""The verdict in plain words: what was trained, how good it is against baselines, what is wrong with it."""

from __future__ import annotations

from typing import Any

from nearkin.study.answers.common import signed

_MOST_SENTENCES = 3  # trained methods that get a sentence each; more are put in order in one line


def verdict(runs: list[dict[str, Any]], table: list[dict[str, Any]], data: dict[str, Any]) -> list[dict[str, str]]:
    """Sentences with a level ("good", "warn", "bad"), the most important first."""
    out = _accuracies(table, data)
    if not data["classes"]:
        out.append(
            {
                "level": "warn",
                "text": "The images have no labels: health, maps and clusters are shown, accuracy cannot be. "
                "Labels for a few hundred images (--labels) would add probes and entanglement.",
            }
        )
    out += _diagnoses(runs)
    trained = [run for run in runs if run["trained"]]
    if trained and len({run["seed"] for run in trained}) == 1:
        text = "One seed only: the intervals cover the choice of test images, not the luck of training."
        out.append({"level": "warn", "text": text})
    if data.get("subset"):
        text = f"Trained on a subset of {data['subset']:,} images; not comparable with full-length results."
        out.append({"level": "warn", "text": text})
    for item in data["skipped"][:1]:
        count = len(data["skipped"])
        text = f"{count} files were unreadable and skipped, first: {item['path']} ({item['reason']})."
        out.append({"level": "warn", "text": text})
    return out


def _accuracies(table: list[dict[str, Any]], data: dict[str, Any]) -> list[dict[str, str]]:
    scored = [row for row in table if row["linear"]]
    learned = [row for row in scored if not row["baseline"]]
    baselines = [row for row in scored if row["baseline"]]
    best = max(baselines, key=lambda row: row["linear"]["mean"], default=None)
    chance = 100 / len(data["classes"]) if data["classes"] else 0.0
    own = [row for row in learned if not row["uses_labels"]]
    if len(own) > _MOST_SENTENCES:
        main = next((row for row in own if row["method"] == "vicreg"), own[0])
        return [_sentence(main, best, chance), *_order(learned, best)]
    return [_sentence(row, best, chance) for row in learned]


def _sentence(row: dict[str, Any], best: dict[str, Any] | None, chance: float) -> dict[str, str]:
    accuracy = row["linear"]["mean"]
    labels = " Its training reads labels: no competitor." if row["uses_labels"] else ""
    text = (
        f"{row['title']}: {100 * accuracy:.1f} % linear probe (layer {row['layer']}, {row['dim']} dimensions), "
        f"chance {chance:.1f} %"
    )
    if best is None:
        return {"level": "warn", "text": text + ". No baseline was run, so this number stands alone." + labels}
    gain = accuracy - best["linear"]["mean"]
    level = "good" if gain > 0.05 else "warn" if gain > 0 else "bad"
    text += (
        f"; {signed(gain)} points against the best baseline ({best['title']}, {100 * best['linear']['mean']:.1f} %)."
    )
    return {"level": level, "text": text + labels}


def _order(learned: list[dict[str, Any]], best: dict[str, Any] | None) -> list[dict[str, str]]:
    """All methods in one line, best first, and those that do not beat the best baseline in another.

    Variants of a setting (NAME@...) are left to the table where NAME itself was run. Semicolons, because titles hold commas.
    """
    shown = [row for row in learned if not row["variant"]]
    ranked = sorted(shown, key=lambda row: -row["linear"]["mean"])
    line = "; ".join(f"{row['title']} {100 * row['linear']['mean']:.1f}" for row in ranked)
    more = "Intervals and variants of a setting" if len(shown) < len(learned) else "Intervals"
    out = [{"level": "good", "text": f"Linear probe in %, best first: {line}. {more} are in the table."}]
    behind = [row["title"] for row in ranked if best is not None and row["linear"]["mean"] <= best["linear"]["mean"]]
    if best is not None and behind:
        text = f"Not better than the best baseline ({best['title']}): {'; '.join(behind)}."
        out.append({"level": "bad", "text": text})
    return out


def _diagnoses(runs: list[dict[str, Any]]) -> list[dict[str, str]]:
    """What is wrong with which runs; seeds of a method with the same trouble share a line."""
    same: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        found = run["diagnosis"]
        if found and found["state"] != "healthy":
            same.setdefault((run["title"], found["state"]), []).append(run)
    out = []
    for (title, state), group in same.items():
        seeds = ", ".join(str(run["seed"]) for run in group)
        which = f"seed {seeds}" if len(group) == 1 else f"seeds {seeds}; figures of seed {group[0]['seed']}"
        text = f"{title} ({which}): {state}. {group[0]['diagnosis']['message']}"
        out.append({"level": "warn" if state == "too short" else "bad", "text": text})
    return out
