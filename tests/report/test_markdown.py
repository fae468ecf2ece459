"""results.md: the numbers of results.json, in a table that no name can break."""

from __future__ import annotations

from pathlib import Path

from nearkin.report import write_markdown
from tests.report.test_build import study


def test_table_and_command(tmp_path: Path) -> None:
    results = study(tmp_path / "a", name="a|b<i>")
    text = write_markdown(tmp_path / "a" / "out").read_text(encoding="utf-8")
    for row in results["table"]:
        assert f"{100 * row['linear']['mean']:.2f}" in text
    assert results["command"] in text and all(line in text for line in results["protocol"])
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1


def test_answers_stand_there() -> None:
    from nearkin.report.markdown import _answer

    row = {"title": "x|y", "layer": "z", "mean": 0.5, "interval": [0.4, 0.6], "n_seeds": 1, "purity": 0.25}
    text = "\n".join(_answer(1, {"question": "Q?", "statement": "S.", "caveat": "C.", "rows": [row]}))
    assert "x\\|y" in text and "50.00 [40.0, 60.0]" in text and "0.25" in text and "C." in text
