"""results.json -> results.md: the same numbers as the report, for a repository or a terminal. It computes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nearkin.evaluate.evaluation import MEASURES, PROBES
from nearkin.fileio import write_text
from nearkin.folders import StudyFolder
from nearkin.format import markdown_text, three_digits
from nearkin.report.embed import results_of


def _score(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return "-"
    text = f"{100 * cell['mean']:.2f}"
    if cell["interval"]:
        low, high = cell["interval"]
        text += f" [{100 * low:.1f}, {100 * high:.1f}]"
    return text


def _number(cell: dict[str, Any] | None) -> str:
    return "-" if cell is None else three_digits(cell["mean"])


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(markdown_text(cell) for cell in row) + " |" for row in rows]


def _results(r: dict[str, Any]) -> list[str]:
    scores = [name for name in PROBES if any(row[name] for row in r["table"])]
    numbers = ("purity", "rankme", "silhouette")
    header = ["method", "layer", "dim", "seeds", *(MEASURES[name].column for name in (*scores, *numbers))]
    rows = []
    for row in r["table"]:
        seeds = next((str(row[key]["n_seeds"]) for key in ("linear", "rankme") if row[key]), "1")
        title = row["title"] + (" (baseline)" if row["baseline"] else "")
        cells = [title, row["layer"], str(row["dim"]), seeds, *(_score(row[name]) for name in scores)]
        rows.append(cells + [_number(row[name]) for name in numbers])
    return _table(header, rows)


def _answer(number: int, answer: dict[str, Any]) -> list[str]:
    lines = [f"### {number}. {answer['question']}", "", markdown_text(answer["statement"]), ""]
    if answer.get("rows"):
        extra = [
            name for name in ("purity", "std", "batch") if any(row.get(name) is not None for row in answer["rows"])
        ]
        header = ["method", "layer", "linear %", "seeds", *extra]
        lines += _table(
            header,
            [
                [row["title"], row["layer"], _score(row), str(row["n_seeds"])]
                + [three_digits(row[name]) if row.get(name) is not None else "-" for name in extra]
                for row in answer["rows"]
            ],
        )
        lines.append("")
    if answer.get("correlations"):
        lines += _table(
            ["over", "number", "runs", "rank correlation [95 % interval]"],
            [
                [
                    c["scope"],
                    c["predictor"],
                    str(c["n"]),
                    f"{c['rho']:+.2f} [{c['interval'][0]:+.2f}, {c['interval'][1]:+.2f}]",
                ]
                for c in answer["correlations"]
            ],
        )
        lines.append("")
    return [*lines, f"*What this does not mean.* {markdown_text(answer['caveat'])}", ""]


def markdown(r: dict[str, Any]) -> str:
    """The results as Markdown: command, verdict, table, answers, protocol."""
    lines = [f"# {markdown_text(r['title'])}", "", "```sh", r["command"].replace("`", "'"), "```", ""]
    lines += [f"- {markdown_text(item['text'])}" for item in r["verdict"]]
    lines += ["", "## Results", "", *_results(r), ""]
    lines.append(
        "Test accuracy, settings chosen on validation; brackets: 95 % interval, over seeds where several were run, else"
    )
    lines += ["over test images (Wilson).", ""]
    if r["answers"]:
        lines += ["## Answers", ""]
        for number, answer in enumerate(r["answers"], start=1):
            lines += _answer(number, answer)
    for question, answer in r["ablation"].items():
        lines += [f"**{question}** {markdown_text(answer['statement'])}", ""]
    lines += ["## Protocol", "", *(f"- {markdown_text(line)}" for line in r["protocol"])]
    hardware = r["hardware"]
    where = f"{hardware['cpu']}, {hardware['cores']} cores" + (f", {hardware['gpu']}" if hardware["gpu"] else "")
    versions = ", ".join(f"{name} {version}" for name, version in r["versions"].items())
    lines += ["", f"{where}. nearkin {r['nearkin_version']}, {versions}. Made {r['created']}."]
    return "\n".join(lines) + "\n"


def write_markdown(study: Path) -> Path:
    """Write results.md into the study's folder and return its path. Raises DataError without results.json."""
    target = StudyFolder(study).markdown_file
    with results_of(study) as results:
        text = markdown(results)
    write_text(target, text)
    return target
