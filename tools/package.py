"""Build wheel and sdist twice, compare them byte by byte, and try the wheel in a fresh environment.

    python tools/package.py [--out dist] [--no-install]

The two builds happen in different folders with different clocks' stamps on the files; SOURCE_DATE_EPOCH is the last
commit's time, so that anyone who builds this commit gets these bytes (the SHA-256 is printed). The wheel is then installed
with constraints.txt into an empty environment, where 'nearkin --help' and 'nearkin data info shapes' must work without
anything of this checkout. Needs hatchling here, or the network to fetch it; the installation needs the network or uv's
cache. uv is used where it is found, else pip.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description="Reproducible wheel and sdist, tried in a fresh environment.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--no-install", action="store_true", help="build and compare only")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        built = [build(copy_of_the_sources(work / part), work / part / "dist") for part in ("a", "b")]
        for one, other in zip(*built, strict=True):
            if one.name != other.name or one.read_bytes() != other.read_bytes():
                sys.exit(f"{one.name} and {other.name} differ between two builds")
        a.out.mkdir(parents=True, exist_ok=True)
        for file in built[0]:
            shutil.copy(file, a.out / file.name)
            print(
                f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}  ({file.stat().st_size:,} bytes, twice the same)"
            )
        if not a.no_install:
            install(next(file for file in built[0] if file.suffix == ".whl"), work / "env")


def copy_of_the_sources(target: Path) -> Path:
    """What git tracks, with the present as every file's time."""
    listed = run(["git", "ls-files", "-z"], cwd=ROOT).split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
    return target


def build(source: Path, out: Path) -> list[Path]:
    """[sdist, wheel] of ``source``, by its own build backend."""
    epoch = run(["git", "log", "-1", "--format=%ct"], cwd=ROOT).strip() or str(int(time.time()))
    env = os.environ | {"SOURCE_DATE_EPOCH": epoch}
    if importlib.util.find_spec("hatchling") is not None:
        code = "import sys, hatchling.build as b; print(b.build_sdist(sys.argv[1]), b.build_wheel(sys.argv[1]))"
        out.mkdir(parents=True, exist_ok=True)
        run([sys.executable, "-c", code, str(out)], cwd=source, env=env)
    elif uv := find_uv():
        run([uv, "build", "--quiet", "--out-dir", str(out), str(source)], env=env)
    else:
        sys.exit("building needs hatchling: pip install hatchling")
    return sorted((path for path in out.iterdir() if path.suffix in (".gz", ".whl")), key=lambda path: path.suffix)


def install(wheel: Path, folder: Path) -> None:
    """The wheel and its dependencies in a new environment, tried from an empty folder."""
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    constraints = ["-c", str(ROOT / "constraints.txt")]
    if uv := find_uv():
        run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
        run([uv, "pip", "install", "--quiet", "--python", str(python), *constraints, str(wheel)])
    else:
        venv.create(folder, with_pip=True)
        run([str(python), "-m", "pip", "install", "--quiet", *constraints, str(wheel)])
    empty = folder / "empty"
    empty.mkdir()
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    where = run([str(python), "-c", "import nearkin; print(nearkin.__file__)"], cwd=empty, env=env).strip()
    if not Path(where).is_relative_to(folder):
        sys.exit(f"the fresh environment imports {where}")
    for command in (["--help"], ["data", "info", "shapes"]):
        print(f"fresh environment, nearkin {' '.join(command)}:")
        print(run([str(python), "-m", "nearkin", *command], cwd=empty, env=env).strip().splitlines()[0])


def find_uv() -> str | None:
    """uv beside this Python, or on the path."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else shutil.which("uv")


def run(command: list[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Output of a command; ends with its error output when it fails."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])} ... failed:\n{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
