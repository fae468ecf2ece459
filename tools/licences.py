"""The licences of everything that 'pip install nearkin[...]' brings, as the packages state them.

    python tools/licences.py [--extras baselines,export,explore] [--out docs/licences.md]

Follows the installed packages' own requirements from nearkin's on, so it lists what is installed here and nothing else.
Licences that are copyleft, proprietary or not stated are named above the table.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What packages say in their classifiers or free text -> SPDX, where they have no licence expression.
_KNOWN = {
    "MIT License": "MIT", "BSD License": "BSD", "Apache Software License": "Apache-2.0", "ISC License (ISCL)": "ISC",
    "Python Software Foundation License": "PSF-2.0", "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Historical Permission Notice and Disclaimer (HPND)": "HPND", "The Unlicense (Unlicense)": "Unlicense",
    "MIT": "MIT", "3-Clause BSD License": "BSD-3-Clause", "Apache 2.0": "Apache-2.0", "Apache License 2.0": "Apache-2.0", "Apache-2.0": "Apache-2.0",
    "Apache License v2.0": "Apache-2.0", "BSD 3-Clause": "BSD-3-Clause", "BSD-3-Clause": "BSD-3-Clause",
}  # fmt: skip
_MARKED = re.compile(r"GPL|MPL|EPL|CDDL|EUPL|[Pp]roprietary")
_UNKNOWN = "not stated"


def main() -> None:
    parser = argparse.ArgumentParser(description="Licences of the dependencies.")
    parser.add_argument("--extras", default="baselines,export,explore")
    parser.add_argument("--out", type=Path, help="Markdown file; default: the terminal")
    a = parser.parse_args()
    rows = [(name, metadata.version(name), licence(name)) for name in needed(set(a.extras.split(",")))]
    text = page(rows, a.extras)
    if a.out:
        a.out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def needed(extras: set[str]) -> list[str]:
    """Names of all installed packages that nearkin with these extras leads to, sorted."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    first = [*project["dependencies"], *(r for extra in extras for r in project["optional-dependencies"][extra])]
    pending = [(Requirement(text), "") for text in first]
    seen: set[tuple[str, str]] = set()
    found: set[str] = set()
    while pending:
        requirement, asked = pending.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": asked}):
            continue
        name = canonicalize_name(requirement.name)
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            sys.exit(f"{name} is not installed; install '.[{','.join(sorted(extras))}]' first")
        found.add(name)
        for extra in ("", *requirement.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                pending += [(Requirement(text), extra) for text in requires]
    return sorted(found)


def licence(name: str) -> str:
    """The licence expression of an installed package, or what its classifiers or free text say."""
    about = metadata.metadata(name)
    if stated := about.get("License-Expression"):
        return stated
    classified = [
        c.rsplit(" :: ", 1)[1] for c in about.get_all("Classifier") or [] if c.startswith("License :: OSI Approved :: ")
    ]
    if classified:
        return " AND ".join(_KNOWN.get(c, c) for c in classified)
    free = (about.get("License") or "").strip()
    first = free.splitlines()[0].strip() if free else ""
    return _KNOWN.get(first, first[:60]) or _UNKNOWN


def page(rows: list[tuple[str, str, str]], extras: str) -> str:
    """Markdown."""
    marked = [name for name, _, stated in rows if _MARKED.search(stated) or stated == _UNKNOWN]
    head = [
        "# Licences of the dependencies",
        "",
        f"nearkin is BSD-3-Clause. `pip install 'nearkin[{extras}]'` brings {len(rows)} packages, under the licences that",
        "they state themselves (versions as installed when this page was made). Made by",
        f"`python tools/licences.py --extras {extras} --out docs/licences.md`.",
        "",
        f"Copyleft, proprietary or not stated: {', '.join(marked) or 'none'}. Code inside the explorer's page: `explore/assets/vendor/LICENSES.txt`.",
        "CUDA's packages come with torch on Linux; a CPU build of torch brings none of them.",
        "",
        "| package | version | licence |",
        "|---|---|---|",
    ]
    return "\n".join(head + [f"| {' | '.join(row)} |" for row in rows]) + "\n"


if __name__ == "__main__":
    main()
