"""The documentation cannot rot: commands parse, settings and their defaults are the code's, metrics are those logged.

So do links, targets of make, quoted messages, and what the tables of presets, exit codes and extras say.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from nearkin import errors
from nearkin.errors import ConfigError
from nearkin.methods import METHODS, FitContext, create, method_class, planned_runs, without_repeats
from nearkin.methods.base import TRAIN_DEFAULTS, resolve
from nearkin.methods.joint import JointEmbedding
from nearkin.runs.fit import method_settings
from nearkin.study.presets import PRESETS, expand_methods, get_preset
from nearkin.train.record import MetricsLog
from tests.commands import ROOT, commands_in, parse
from tests.methods.test_contract import TINY, make_splits

DOCS = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"]
# The commands of README and LOG are parsed by tests/test_readme.py.
OTHERS = [ROOT / name for name in ("README.md", "CHANGELOG.md", "LOG.md")]
PAGES = ROOT / "docs" / "methods"
INDEX = (PAGES / "README.md").read_text(encoding="utf-8")
TEXT = {path: path.read_text(encoding="utf-8") for path in [*DOCS, *OTHERS]}
COMMANDS = [(path.relative_to(ROOT).as_posix(), command) for path in DOCS for command in commands_in(TEXT[path])]


def tables(kind: str) -> dict[str, list[list[str]]]:
    """Name -> rows of the table after each "<!-- KIND: NAME -->" of the methods' pages, cells without backticks."""
    out: dict[str, list[list[str]]] = {}
    for path in sorted(PAGES.glob("*.md")):
        for name, table in re.findall(rf"<!-- {kind}: ([\w-]+) -->\n+((?:\|.*\n)+)", TEXT[path]):
            rows = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table.splitlines()]
            assert name not in out, f"two tables of {kind}: {name}"
            out[name] = rows[:1] + rows[2:]
    return out


SETTINGS, METRICS = tables("settings"), tables("metrics")
SHARED: dict[str, Any] = {"shared": JointEmbedding.defaults, "training": TRAIN_DEFAULTS}


def defaults(name: str) -> dict[str, Any]:
    """The settings of a method's class with their defaults, those of training left out."""
    return method_class(name).defaults


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_command_parses_and_its_methods_take_its_settings(page: str, command: str) -> None:
    name, given = parse(command)
    if name not in ("fit", "study"):
        return
    names = (given["method"],) if name == "fit" else expand_methods(given["methods"] or "vicreg")
    pairs = dict(pair.split("=") for pair in given["set_"] or ())
    settings = get_preset(given["preset"]).settings | {"encoder": "fast-tiny"} | pairs  # a small net is built sooner
    for method in names:
        try:
            create(method, method_settings(method, settings), (3, 32, 32))
        except ConfigError as error:
            assert "scikit-image" in str(error)


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_stands_in_the_index_and_on_its_page(name: str) -> None:
    rows = [line for line in INDEX.splitlines() if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1
    links = re.findall(r"\]\(([\w.-]+\.md)[)#]", rows[0])
    assert len(links) == 1 and f"`{name}`" in TEXT[PAGES / links[0]]
    wanted = [part for command in commands_in(rows[0]) for part in re.split(r"[ ,@]", command)]
    assert name in wanted, f"the row of {name} has no command for it"


def anchors(text: str) -> set[str]:
    """The fragments that GitHub makes of a page's headings."""
    heads = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def test_links_lead_somewhere() -> None:
    for path, text in TEXT.items():
        for target, fragment in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", text):
            if "://" in target:
                continue
            found = (path.parent / target).resolve() if target else path
            assert found.exists(), f"{path.name}: {target}"
            assert not fragment or fragment in anchors(TEXT[found]), f"{path.name}: {target}#{fragment}"


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_settings_tables_say_what_the_code_does(name: str) -> None:
    header, *rows = SETTINGS[name]
    assert header == ["setting", "default", "meaning"]
    code = SHARED[name] if name in SHARED else defaults(name)
    assert {row[0] for row in rows} <= set(code)
    # Written as for --set; the code's own conversion makes values of them.
    read = resolve(code, {row[0]: row[1] for row in rows}, train=False)
    assert {row[0]: read[row[0]] for row in rows} == {row[0]: code[row[0]] for row in rows}


@pytest.mark.parametrize("name", list(METHODS))
def test_every_setting_is_documented(name: str) -> None:
    """In a shared table, or in one of a method of the same class or a base class, with this method's default."""
    explained = {(row[0], str(SHARED[key][row[0]])) for key in SHARED for row in SETTINGS[key][1:]}
    for key in set(SETTINGS) - set(SHARED):
        if issubclass(method_class(name), method_class(key)):
            explained |= {(row[0], str(defaults(key)[row[0]])) for row in SETTINGS[key][1:]}
    missing = {key for key, value in defaults(name).items() if (key, str(value)) not in explained}
    assert not missing


def logged(name: str, folder: Path) -> set[str]:
    """Names in every metrics.jsonl that one epoch of a method leaves behind."""
    own = defaults(name)
    settings = {k: v for k, v in TINY.items() if k in own or k in TRAIN_DEFAULTS} | {"epochs": 1}
    settings |= {"neighbors_from": "pixels"} if "neighbors_from" in own else {}
    splits = make_splits()
    method = create(name, settings, (3, 16, 16))
    context = FitContext(splits, folder, device="cpu", progress=False)
    method.fit(context)
    method.test_losses(context)
    return {key for path in folder.rglob("*.jsonl") for line in MetricsLog(path).read() for key in line}


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"shared"}))
def test_metrics_tables_name_what_is_logged(name: str, tmp_path: Path) -> None:
    rows, shared = ({row[0] for row in METRICS[key][1:]} for key in (name, "shared"))
    found = logged(name, tmp_path)
    assert found - shared == rows
    if name == "vicreg":
        assert shared <= found


def test_every_trained_class_has_a_metrics_table() -> None:
    documented = {METHODS[name].target for name in METRICS if name != "shared"}
    assert documented == {info.target for info in METHODS.values() if info.trained}


def test_targets_of_make_exist() -> None:
    rules = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    shown = {
        word
        for text in TEXT.values()
        for words in re.findall(r"(?:^|`)make((?: [a-z][\w-]*)+)", text, re.M)
        for word in words.split()
    }
    assert {"demo", "test", "docs"} <= shown <= rules


def messages() -> list[str]:
    """Every string of the source, with "…" where a value is put in."""
    out = []
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values)
                out.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                out.append(node.value)
    return out


def test_quoted_messages_are_those_of_the_source() -> None:
    faq = TEXT[ROOT / "docs" / "faq.md"]
    quoted = [line for block in re.findall(r"^```text\n(.*?)^```", faq, re.M | re.S) for line in block.splitlines()]
    quoted += [code for code in re.findall(r"`([^`\n]+)`", faq) if "…" in code and code != "…"]
    assert len(quoted) > 15
    source = messages()
    missing = [quote for quote in quoted if not any(quote in text for text in source)]
    assert not missing


def rows(page: str, header: str) -> list[list[str]]:
    """The rows of the table with this header line, cells without backticks."""
    table = re.search(rf"^{re.escape(header)}\n\|[-|]+\n((?:\|.*\n)+)", TEXT[ROOT / page], re.M)
    assert table is not None, header
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in table[1].splitlines()]


def test_presets_are_those_of_the_code() -> None:
    found = rows("docs/study.md", "| preset | encoder | epochs | training images on a CPU | runs | cost |")
    wanted = [
        [
            name,
            preset.settings["encoder"],
            str(preset.settings["epochs"]),
            f"{preset.subset:,}" if preset.subset else "all",
            str(len(planned_runs(without_repeats(preset.methods, preset.settings), preset.seeds))),
        ]
        for name, preset in PRESETS.items()
    ]
    assert [row[:5] for row in found] == wanted


def test_exit_codes_and_extras_are_all_named() -> None:
    codes = {int(row[0]) for row in rows("docs/command-line.md", "| exit code | meaning |")}
    assert codes == {0, 130} | {e.exit_code for e in (errors.NearkinError, *errors.NearkinError.__subclasses__())}
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    assert {row[0] for row in rows("docs/quick-start.md", "| extra | for |")} == extras - {"dev", "browser"}
