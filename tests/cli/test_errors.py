"""Bad input: one clear line on stderr, the right exit code, no traceback."""

from __future__ import annotations

import atexit
import contextlib
import resource
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nearkin.cli import main


def run(*args: str, cwd: Path, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    def before() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-m", "nearkin", *args],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=before,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(cwd),
            "NEARKIN_CACHE": str(cwd / "cache"),
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",  # under a limit, compiled modules of the environment would be cut off too
        },
    )


def one_line(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, (done.stdout, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    for word in words:
        assert word in lines[0], lines[0]


def images(folder: Path, n: int, same: bool = False) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(n):
        pixels = np.full((32, 32, 3), 7) if same else rng.integers(0, 256, (32, 32, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return folder


def test_help_is_fast_enough_to_import_no_torch(tmp_path: Path) -> None:
    code = "import sys, nearkin.cli; bad = [m for m in ('torch', 'sklearn', 'pyarrow', 'numpy', 'faiss') if m in sys.modules]; sys.exit(str(bad) if bad else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_missing_path(tmp_path: Path) -> None:
    one_line(run("data", "info", "no/such", cwd=tmp_path), 3, "no such file or folder: no/such")


def test_misspelt_name(tmp_path: Path) -> None:
    one_line(run("data", "info", "cifar-10", cwd=tmp_path), 3, "Did you mean 'cifar10'")


def test_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    one_line(run("data", "info", "empty", cwd=tmp_path), 3, "no images in empty")


def test_truncated_and_huge_images(tmp_path: Path) -> None:
    folder = images(tmp_path / "set", 1)
    whole = (folder / "0.png").read_bytes()
    (folder / "0.png").write_bytes(whole[: len(whole) // 2])
    Image.new("1", (30_000, 30_000)).save(folder / "huge.png")
    one_line(run("data", "info", "set", cwd=tmp_path), 3, "none of the 2 images is readable; first: 0.png")
    (folder / "0.png").write_bytes(whole)
    one_line(run("data", "info", "set", "--strict", cwd=tmp_path), 3, "huge.png", "pixels", "--strict")
    done = run("data", "info", "set", cwd=tmp_path)
    assert done.returncode == 0 and "skipped huge.png" in done.stdout and not done.stderr


def test_zip_with_paths_outside(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as z:
        z.writestr("../evil.png", b"x")
    one_line(run("data", "info", "evil.zip", cwd=tmp_path), 3, "points outside")


def test_object_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "o.npz", images=np.array([{}, []], dtype=object))
    one_line(run("data", "info", "o.npz", cwd=tmp_path), 3, "Python objects")


@pytest.mark.slow
def test_training_on_impossible_sets(tmp_path: Path) -> None:
    images(tmp_path / "one", 1)
    images(tmp_path / "same", 30, same=True)
    images(tmp_path / "few", 40)
    one_line(run("study", "one", "-o", "a", "-q", cwd=tmp_path), 3, "1 image")
    one_line(run("study", "same", "-o", "b", "-q", cwd=tmp_path), 3, "identical")
    one_line(run("study", "few", "-o", "c", "-q", cwd=tmp_path), 2, "batch_size 128 is larger")


@pytest.mark.slow
def test_wrong_names_and_values(tmp_path: Path) -> None:
    one_line(run("study", "--methods", "vicregg", "-o", "a", cwd=tmp_path), 2, "Did you mean 'vicreg'")
    one_line(run("study", "--preset", "quik", "-o", "a", cwd=tmp_path), 2, "Did you mean 'quick'")
    one_line(run("study", "--set", "encoder=resnet18-smal", "-o", "b", "-q", cwd=tmp_path), 2, "Did you mean")
    one_line(run("study", "--set", "learning_rate=1", "-o", "c", "-q", cwd=tmp_path), 2, "unknown setting")


@pytest.mark.slow
def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    one_line(run("study", "shapes", "-o", "file", "-q", cwd=tmp_path), 4, "cannot write to file")
    done = run("study", "shapes", "-o", "full", "--methods", "pca", "-q", cwd=tmp_path, limit=300_000)
    one_line(done, 4, "cannot write")


@pytest.mark.slow
def test_diverging_loss_stops_at_its_step(tmp_path: Path) -> None:
    images(tmp_path / "set", 80)
    small = ["--set", "batch_size=16", "--set", "projector=16,16", "--set", "optimizer=adam", "--set", "precision=fp32"]
    done = run(
        "fit",
        "set",
        "-o",
        "run",
        "--set",
        "lr=1e30",
        "--set",
        "warmup_epochs=0",
        *small,
        "--epochs",
        "4",
        "-q",
        cwd=tmp_path,
    )
    one_line(done, 5, "non-finite at step")


def test_ctrl_c_that_a_library_swallows_is_still_an_interruption(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pressed in the middle of an import inside pyarrow, which goes on with half a pandas and fails of that."""

    def swallow(**settings: object) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise AttributeError("partially initialized module")

    monkeypatch.setattr("nearkin.cli.app", swallow)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a worker of pytest-xdist has another one
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        signal.signal(signal.SIGINT, before)
        atexit.unregister(signal.signal)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted; run the same command again to continue\n"
