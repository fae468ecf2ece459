"""Shards: what is found, read, mixed and shared out; damaged and hostile ones."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearkin.data import shards as module
from nearkin.data.decode import ShardImage
from nearkin.data.imageset import Skipped
from nearkin.data.shards import is_shards, list_shards, read_shard, stream
from nearkin.errors import DataError
from tests.data.conftest import pixels, png, tar_files, write_parquet, write_tar


def read(source: str, skipped: list[Skipped] | None = None) -> list[ShardImage]:
    found: list[Skipped] = [] if skipped is None else skipped
    return [sample for shard in list_shards(source) for sample in read_shard(shard, 16, found.append)]


def test_tars_and_parquet_give_the_same_images(tmp_path: Path, tars: Callable[..., str]) -> None:
    a = read(tars([0, 1, 2], [3]))
    write_parquet(tmp_path / "p" / "0.parquet", [0, 1, 2])
    write_parquet(tmp_path / "p" / "1.parquet", [3])
    b = read(str(tmp_path / "p" / "*.parquet"))
    for number, (left, right) in enumerate(zip(a, b, strict=True)):
        assert np.array_equal(left.pixels, pixels(number)) and np.array_equal(right.pixels, pixels(number))
        assert left.label == right.label == ("odd" if number % 2 else "even")
    assert [sample.id for sample in a] == ["s-000.tar/0000", "s-000.tar/0001", "s-000.tar/0002", "s-001.tar/0003"]
    assert b[3].id == "1.parquet/0003.png"


@pytest.mark.parametrize(
    ("suffix", "mode"), [(".tar.gz", "w:gz"), (".tgz", "w:gz"), (".tar.bz2", "w:bz2"), (".tar.xz", "w:xz")]
)
def test_compressed(tmp_path: Path, suffix: str, mode: str) -> None:
    write_tar(tmp_path / f"x{suffix}", tar_files([7]), mode)
    assert np.array_equal(read(str(tmp_path / f"x{suffix}"))[0].pixels, pixels(7))


def test_urls_lists_and_names(tmp_path: Path) -> None:
    for name, number in (("a/x.tar", 0), ("b/x.tar", 1)):
        with fsspec.open(f"memory://nearkin-test/{name}", "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
            for inside, data in tar_files([number]):
                info = tarfile.TarInfo(inside)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    assert [s.id for s in read("memory://nearkin-test/*/x.tar")] == ["a/x.tar/0000", "b/x.tar/0001"]
    write_tar(tmp_path / "y.tar", tar_files([2]))
    (tmp_path / "list.txt").write_text(f"# two\nmemory://nearkin-test/a/x.tar\n\n{tmp_path}/y.tar\n{tmp_path}/*.tar\n")
    assert [int(s.id[-4:]) for s in read(str(tmp_path / "list.txt"))] == [0, 2]


def test_patterns(tmp_path: Path, tars: Callable[..., str]) -> None:
    tars([0], [1], [2])
    folder = tmp_path / "shards"
    for pattern, wanted in (("*.tar", [0, 1, 2]), ("s-00?.tar", [0, 1, 2]), ("s-00[02].tar", [0, 2])):
        assert [int(s.id[-4:]) for s in read(str(folder / pattern))] == wanted
    (folder / "s-000.tar").rename(folder / "[0].tar")  # a name that is there is no pattern
    assert [s.id for s in read(str(folder / "[0].tar"))] == ["[0].tar/0000"]


def test_what_counts_as_shards(tmp_path: Path) -> None:
    (tmp_path / "folder [1]").mkdir()
    assert is_shards("s3://bucket/x") and is_shards("a/*.parquet") and is_shards("x.tar.gz")
    assert not is_shards(str(tmp_path / "folder [1]")) and not is_shards("shapes") and not is_shards("x.parquet")


def test_json_labels_several_images_and_samples_without_one(tmp_path: Path) -> None:
    files = [
        ("a/1.json", b'{"label": "cat"}'),
        ("a/1.left.png", png(1)),
        ("a/1.right.png", png(2)),
        ("a/2.json", b"[[[["),
        ("a/2.PNG", png(3)),
        ("a/3.txt", b"no image"),
        (".hidden.png", png(4)),
    ]
    found = read(str(write_tar(tmp_path / "x.tar", files)))
    assert [(s.id, s.label) for s in found] == [("x.tar/a/1", "cat"), ("x.tar/a/2", None)]
    assert np.array_equal(found[0].pixels, pixels(1))


def test_unreadable_images_are_told_and_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = png(3)
    monkeypatch.setattr("nearkin.data.shards.MAX_RECORD", len(large) - 1)
    small = io.BytesIO()
    from PIL import Image

    Image.new("RGB", (16, 16)).save(small, "PNG")
    skipped: list[Skipped] = []
    path = write_tar(tmp_path / "x.tar", [("0.png", b"no image"), ("1.png", large), ("2.png", small.getvalue())])
    assert [s.id for s in read(str(path), skipped)] == ["x.tar/2"]
    assert [(s.path, s.reason.split(";")[0]) for s in skipped] == [
        ("x.tar/0", "not an image"),
        ("x.tar/1", f"{len(large):,} bytes"),
    ]


def refused(source: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read(source)
    assert "\n" not in str(caught.value)


def test_sources_that_are_none(tmp_path: Path) -> None:
    refused(str(tmp_path / "*.tar"), "no shards at")
    refused(str(tmp_path / "no.tar"), r"no\.tar cannot be opened")
    refused("nosuchprotocol://x/y.tar", "rotocol")
    (tmp_path / "x.jpg").write_text("")
    refused(f"{tmp_path}/*.jpg", r"x\.jpg is no shard: legal are \.tar")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    refused(str(tmp_path / "empty.txt"), "names no shards")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe")
    refused(str(tmp_path / "binary.txt"), "no readable list of shards")


@pytest.mark.parametrize("name", ["../x.png", "/etc/x.png", "a/../../x.png", "..\\x.png", "..\n/../x.png"])
def test_names_that_point_outside(tmp_path: Path, name: str) -> None:
    refused(str(write_tar(tmp_path / "evil.tar", [(name, png(0))])), "points outside the archive")


def test_links_and_devices_are_passed_over(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(9))
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        for k, kind in enumerate(
            (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)
        ):
            info = tarfile.TarInfo(f"{k}.png")
            info.type, info.linkname = kind, str(secret)
            tar.addfile(info)
        info = tarfile.TarInfo("good.png")
        info.size = len(png(1))
        tar.addfile(info, io.BytesIO(png(1)))
    assert [s.id for s in read(str(tmp_path / "evil.tar"))] == ["evil.tar/good"]


def test_damaged_tars(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "x.tar", tar_files([0, 1])).read_bytes()
    size = len(png(0))
    broken = {
        "noise": np.random.default_rng(0).bytes(4096),
        "empty": b"",
        "inside-a-file": whole[: 512 + size // 2],
        "inside-a-header": whole[: 512 + (size + 511) // 512 * 512 + 100],
        "bad-header": whole[:512] + whole[512:].replace(b"ustar", b"junk!", 1).replace(b"0000.cls", b"9999.cls", 1),
        "text": b"I am no archive" * 100,
    }
    for name, data in broken.items():
        (tmp_path / f"{name}.tar").write_bytes(data)
        refused(str(tmp_path / f"{name}.tar"), "not a readable tar, or damaged")
    zipped = gzip.compress(whole)
    (tmp_path / "half.tar.gz").write_bytes(zipped[: len(zipped) // 2])
    refused(str(tmp_path / "half.tar.gz"), "not a readable tar, or damaged")


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = tarfile.TarInfo("bomb")
    header.type, header.size = tarfile.XHDTYPE, 2**33  # tarfile would read 8 GB of extended header at once
    (tmp_path / "header.tar.gz").write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024**2)))
    refused(str(tmp_path / "header.tar.gz"), "a header claims 8,589,934,592 bytes")
    monkeypatch.setattr("nearkin.data.shards._MAX_TOTAL", 10_000)
    write_tar(tmp_path / "total.tar.gz", [("0.txt", bytes(9000)), ("1.txt", bytes(9000))], "w:gz")
    refused(str(tmp_path / "total.tar.gz"), "unpacks to more than 10,000 bytes")


def test_parquet_bombs_and_columns_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearkin.fileio.MOST_UNPACKED", 100_000)
    pq.write_table(pa.table({"image": pa.array([b"x"] * 300_000)}), tmp_path / "bomb.parquet")
    refused(str(tmp_path / "bomb*.parquet"), "more than 200 times its size; refused")
    twice = pa.Table.from_arrays([pa.array([b"x"])] * 2, names=["image", "image"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    refused(str(tmp_path / "twice*.parquet"), "two columns named 'image'")


def test_folders_that_link_to_themselves(tmp_path: Path, tars: Callable[..., str]) -> None:
    folder = Path(tars([0, 1])).parent
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    assert len(list_shards(f"{folder}/**/*.tar")) == len(list_shards(f"{folder}/*.tar"))


def test_damaged_parquet(tmp_path: Path) -> None:
    whole = write_parquet(tmp_path / "x.parquet", list(range(5))).read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    refused(str(tmp_path / "cut*.parquet"), "not a readable Parquet file")
    (tmp_path / "bad.parquet").write_bytes(whole[:4] + b"\xff" * 2000 + whole[2004:])
    refused(str(tmp_path / "bad*.parquet"), "damaged|not a readable")


def test_stream_is_seeded_shared_out_and_mixed(tars: Callable[..., str]) -> None:
    source = tars(*[list(range(10 * k, 10 * k + 10)) for k in range(5)])

    def epoch(**given: int) -> list[str]:
        return [sample.id for sample in stream(source, size=16, **{"buffer": 12, **given})]

    first = epoch()
    assert first == epoch() and sorted(first) == sorted(s.id for s in read(source))
    assert first != epoch(epoch=1) and first != epoch(seed=1) and first != sorted(first)
    parts = [epoch(rank=rank, world=2) for rank in range(2)]
    assert sorted(parts[0] + parts[1]) == sorted(first) and not set(parts[0]) & set(parts[1])
    mixed = [name.split("/")[0] for name in first]
    assert len({*mixed[:10]}) > 1  # not one shard after the other


def test_stream_holds_no_more_than_its_buffer(tars: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    read_so_far = 0
    original = module.read_shard

    def counted(*args: object) -> object:
        nonlocal read_so_far
        for sample in original(*args):  # type: ignore[arg-type]
            read_so_far += 1
            yield sample

    monkeypatch.setattr(module, "read_shard", counted)
    for given, _ in enumerate(stream(tars(list(range(30)), list(range(30, 60))), size=16, buffer=8), start=1):
        assert read_so_far - given <= 8
    assert read_so_far == 60


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.parquet"])
def test_any_damage_is_one_line(tmp_path: Path, name: str) -> None:
    if name == "x.parquet":
        whole = write_parquet(tmp_path / name, [0, 1]).read_bytes()
    else:
        whole = write_tar(tmp_path / name, tar_files([0, 1]), "w:gz" if name.endswith("gz") else "w").read_bytes()
    rng, refusals = np.random.default_rng(0), 0
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(int(rng.integers(1, 6))):
            where = int(rng.integers(600)) * (-1 if name == "x.parquet" else 1)  # where the headers are
            data[where % len(data)] = int(rng.integers(256))
        (tmp_path / name).write_bytes(data)
        try:
            read(str(tmp_path / name))
        except DataError as error:
            assert "\n" not in str(error)
            refusals += 1
    assert refusals > 75
