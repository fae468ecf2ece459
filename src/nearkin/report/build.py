"""Write report.html: read what the study left on disk, format it, compute nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup, escape

from nearkin.errors import reading
from nearkin.fileio import read_object, write_text
from nearkin.folders import StudyFolder
from nearkin.format import three_digits
from nearkin.report.anomalies import anomaly_rows, one_class_rows, sources
from nearkin.report.charts import COLOURS, charts, run_colours, shown_first
from nearkin.report.embed import json_script, load_arrays, png_uri
from nearkin.report.pointmaps import cluster_maps, joint_maps, point_maps

_SHOWN_USES = ("vicreg", "ngn", "raw-pixels")  # methods whose pictures stand side by side
_SHOWN = 8  # methods whose maps and entangled classes lie open; those of the others are folded, and without pictures
_TOLD = 30  # runs whose training and layers lie open
_ASSETS = Path(__file__).parent / "assets"


def _pct(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _general(value: float | None) -> str:
    return "–" if value is None else three_digits(value)


def _number(cell: dict[str, Any] | None) -> str:
    return _general(None if cell is None else cell["mean"])


def _cell(cell: dict[str, Any] | None, best: float | None) -> Markup:
    """An accuracy with its interval; the best of its column is bold."""
    if cell is None:
        return Markup("–")
    text = Markup(f"{100 * cell['mean']:.2f}")
    if best is not None and cell["mean"] >= best:
        text = Markup("<b>") + text + Markup("</b>")
    if cell["interval"]:
        low, high = cell["interval"]
        text += Markup(f'<span class="ci">[{100 * low:.1f}, {100 * high:.1f}]</span>')
    return text


def _pairs_of(rows: list[dict[str, Any]], x: str, y: str) -> list[tuple[float, float]]:
    """A curve's points, those without a value left out."""
    return [(row[x], row[y]) for row in rows if row[x] is not None and row[y] is not None]


def _listed(names: list[str]) -> Markup:
    """ "A was", "A and B were", "A; B and 7 more methods were". Semicolons, because titles hold commas."""
    if not names:
        return Markup("Nothing was")
    if len(names) == 1:
        return escape(names[0]) + Markup(" was")
    if len(names) > 4:
        return escape(f"{'; '.join(names[:2])} and {len(names) - 2} more methods") + Markup(" were")
    return escape(f"{'; '.join(names[:-1])} and {names[-1]}") + Markup(" were")


def _samples(data: dict[str, Any], arrays: dict[str, Any], thumbs: dict[str, str]) -> list[dict[str, Any]]:
    """Rows of example images, one per class."""
    rows = []
    if "sample_ids" not in arrays:
        return []
    counts = data["splits"].get("test", data["splits"]["train"])["per_class"] or {}
    for k in dict.fromkeys(arrays["sample_labels"].tolist()):
        name = data["classes"][k] if data["classes"] and k >= 0 else "no label" if data["classes"] else "examples"
        ids = arrays["sample_ids"][arrays["sample_labels"] == k]
        images = [(thumbs[str(i)], str(i)) for i in ids if str(i) in thumbs]
        rows.append({"name": name, "count": counts.get(name), "images": images})
    return rows


def build(study: Path, out: Path | None = None) -> Path:
    """Write the report of the study in ``study`` to ``out`` (default: report.html in it) and return the path.

    Raises:
        DataError: no results.json there, or a damaged one. OutputError: the file cannot be written.
    """
    results = read_object(StudyFolder(study).results_file, data=dict, runs=list, table=list)
    with reading(f"{study / 'results.json'} does not hold what a study writes: it", "Run the study's command again."):
        html = _render(study, results)
    target = out or StudyFolder(study).report_file
    write_text(target, html)
    return target


def _render(study: Path, results: dict[str, Any]) -> str:
    """The page. It only formats what the study computed."""
    data = results["data"]
    arrays = load_arrays(StudyFolder(study).thumbnails_file)
    thumbs = {str(i): png_uri(image) for i, image in zip(arrays.get("ids", []), arrays.get("images", []), strict=True)}
    shown_maps, map_data, map_ids, map_labels = point_maps(study, sorted(results["runs"], key=shown_first))
    uses = results.get("uses") or {}
    shown_joint, joint_data = joint_maps(uses.get("anomalies"), len(map_data))
    map_data += joint_data
    cluster_index, cluster_data = cluster_maps(study, uses.get("clusters") or [], len(map_data))
    map_data += cluster_data
    shown_charts = charts(study, results["runs"])
    first_seed = [run for run in results["runs"] if run["seed"] == results["runs"][0]["seed"] or not run["trained"]]
    mixed: list[dict[str, Any]] = []
    for run in sorted(first_seed, key=shown_first):
        layer = run["evaluation"]["primary_layer"]
        found = run["evaluation"]["layers"][layer]["entanglement"]
        if found and run["trained"] and "@" not in run["method"]:
            mixed.append({"title": run["title"], "layer": layer, "pictures": len(mixed) < _SHOWN} | found)
    scored = any(row["linear"] for row in results["table"])
    keys = ("linear", "linear_sgd", "linear_sgd_standardised", "knn")
    best = {key: max((row[key]["mean"] for row in results["table"] if row[key]), default=None) for key in keys}
    tested = [row for row in results["table"] if row["linear"]]
    own = [row for row in tested if not row.get("variant")]
    bars = [
        {
            "title": row["title"],
            "baseline": row["baseline"],
            "value": row["linear"]["mean"],
            "interval": row["linear"]["interval"],
            "published": results["reference_study"].get(row["method"]),
        }
        for row in sorted(own, key=lambda row: -row["linear"]["mean"])
    ]
    trained_runs = [run for run in results["runs"] if run["trained"]]
    environment = Environment(
        loader=FileSystemLoader(_ASSETS),
        autoescape=select_autoescape(default=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        r=results,
        d=data,
        css=Markup((_ASSETS / "style.css").read_text(encoding="utf-8")),
        js=Markup((_ASSETS / "report.js").read_text(encoding="utf-8")),
        payload=Markup(
            json_script(
                {
                    "charts": shown_charts,
                    "maps": map_data,
                    "ids": map_ids,
                    "labels": map_labels,
                    "classes": data["classes"],
                    "colors": COLOURS,
                    "images_per_epoch": data["study_splits"]["train"],
                }
            )
        ),
        trained=_listed(list(dict.fromkeys(run["title"] for run in sorted(trained_runs, key=shown_first)))),
        label_users=list(dict.fromkeys(run["title"] for run in trained_runs if run["uses_labels"])),
        charts=shown_charts,
        maps=shown_maps,
        mixed=mixed,
        scored=scored,
        best=best,
        bars=bars,
        variants=len(tested) - len(own),
        chance=1 / len(data["classes"]) if data["classes"] else None,
        samples=_samples(data, arrays, thumbs),
        thumbs=thumbs,
        open_methods=_SHOWN,
        open_runs=_TOLD,
        shown_uses=_SHOWN_USES,
        mp="mutual-proximity",
        an_table=anomaly_rows(uses.get("anomalies")),
        one_class=one_class_rows(uses.get("anomalies"), _SHOWN_USES),
        foreign=sources(uses.get("anomalies")),
        joint=shown_joint,
        pairs_of=_pairs_of,
        cluster_index=cluster_index,
        trained_runs=trained_runs,
        run_colours=run_colours(results["runs"]),
        colours=COLOURS,
        pct=_pct,
        num=_number,
        g=_general,
        cell=_cell,
    )
