"""One writer per folder, whose lock ends with its process; JSON from files that nobody vouches for; values as JSON."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nearkin.errors import DamagedFile, OutputError
from nearkin.fileio import (
    IF_KNOWN,
    LEFT_OUT,
    MERGED,
    claim,
    exclusive,
    from_json,
    named,
    read_json,
    read_object,
    to_json,
    write_json,
)

HOLD = "import sys, time; from pathlib import Path; from nearkin.fileio import exclusive\n"
HOLD += "with exclusive(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


def test_a_second_process_is_told_and_a_killed_one_leaves_the_folder_free(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "out")], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    with (
        pytest.raises(OutputError, match="another nearkin process is writing to .*choose another -o"),
        exclusive(tmp_path / "out"),
    ):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with exclusive(tmp_path / "out"):
        pass


def test_released_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), exclusive(tmp_path):
        raise RuntimeError
    with exclusive(tmp_path):
        pass


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="cannot write to"):
        claim(tmp_path / "out")


def _text(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_text("{"), "cannot be read as JSON (JSONDecodeError: "),
        (_text("[" * 100_000), "cannot be read as JSON (RecursionError: "),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "cannot be read as JSON (UnicodeDecodeError: "),
        (Path.mkdir, "is not a regular file"),
        (os.mkfifo, "is not a regular file"),
        (_text("[1]"), "holds no JSON object"),
        (_text('{"n": true, "t": "x"}'), "has no usable 'n'"),
        (_text('{"n": 1}'), "has no usable 't'"),
    ],
)
def test_an_object_that_is_none_is_told_in_one_line(
    tmp_path: Path, make: Callable[[Path], object], reason: str
) -> None:
    path = tmp_path / "a.json"
    make(path)
    with pytest.raises(DamagedFile) as caught:
        read_object(path, n=int, t=str)
    assert caught.value.reason.startswith(reason) and not caught.value.missing
    assert str(caught.value) == f"{path} is damaged (it {caught.value.reason}). Delete it and run again."
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_not_a_damaged_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "a.json", tmp_path / "file" / "a.json"):
        with pytest.raises(
            DamagedFile, match=r"no file .*a\.json; is this a folder written by 'nearkin study'\?"
        ) as caught:
            read_json(path)
        assert caught.value.missing
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value), "it comes back from a Ray worker"


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "a.json", "wb") as file:
        file.truncate(2**28 + 1)
    with pytest.raises(DamagedFile, match="it is larger than 256 MiB"):
        read_json(tmp_path / "a.json")


@dataclass(frozen=True)
class _Inner:
    value: np.float32
    rows: Any = field(default=None, metadata=LEFT_OUT)


@dataclass(frozen=True)
class _Outer:
    area: float = field(metadata=named("AUROC"))
    interval: tuple[float, float]
    parts: dict[Any, _Inner]
    matrix: Any
    path: Path
    chosen: dict[str, float] = field(metadata=MERGED)
    nothing: None = None


def test_dataclasses_arrays_and_paths_become_what_json_reads_back(tmp_path: Path) -> None:
    half = _Inner(np.float32(0.5), np.ones(3))
    value = _Outer(np.float64(0.25), (0.1, 0.2), {1: half, "b": half}, np.arange(4).reshape(2, 2), tmp_path, {"C": 3.0})
    want = {
        "AUROC": 0.25,
        "interval": [0.1, 0.2],
        "parts": {"1": {"value": 0.5}, "b": {"value": 0.5}},
        "matrix": [[0, 1], [2, 3]],
        "path": str(tmp_path),
        "C": 3.0,
        "nothing": None,
    }
    assert to_json(value) == want and list(to_json(value)) == list(want)
    write_json(tmp_path / "a.json", to_json(value))
    assert read_object(tmp_path / "a.json", AUROC=float, parts=dict) == want
    settings = {"a": (1, (True, None)), 2: np.str_("b"), None: np.int64(3)}
    assert to_json(settings) == {"a": [1, [True, None]], "2": "b", "null": 3}
    assert to_json({1: (2, 3.5)}) == json.loads(json.dumps({1: (2, 3.5)}))
    with pytest.raises(TypeError, match="set has no JSON"):
        to_json({"a": {1}})


@dataclass(frozen=True)
class _Part:
    value: float


@dataclass(frozen=True)
class _Saved:
    area: float = field(metadata=named("AUROC"))
    first: _Part = field(metadata=MERGED)
    parts: dict[str, _Part]
    rows: NDArray[np.int64]
    pairs: tuple[tuple[str, ...], ...]
    perhaps: tuple[_Part, ...] | None
    curve: NDArray[np.float64] | None = field(default=None, metadata=IF_KNOWN)


def test_dataclasses_are_read_back_from_json() -> None:
    half = _Part(0.5)
    value = _Saved(0.25, half, {"a": half}, np.arange(3), (("x",), ()), (half, half), np.array([[0.1, 0.2]]))
    saved = json.loads(json.dumps(to_json(value)))
    again = from_json(_Saved, saved | {"of a later version": 1})
    assert to_json(again) == saved and again.pairs == value.pairs and again.parts == value.parts
    assert again.rows.dtype == np.int64 and again.curve is not None and again.curve.dtype == np.float64
    bare = _Saved(0.25, half, {}, np.arange(0), (), None)
    assert "curve" not in to_json(bare) and to_json(bare)["perhaps"] is None
    assert from_json(_Saved, to_json(bare)).perhaps is None and from_json(_Saved, to_json(bare)).curve is None
    with pytest.raises(ValueError, match="has no usable 'parts'"):
        from_json(_Saved, {"AUROC": 1.0, "value": 0.5})
    with pytest.raises(ValueError, match="has no usable 'parts.a.value'"):
        from_json(_Saved, saved | {"parts": {"a": {"value": "half"}}})
