"""Pictures of the explored images: by row, as WebP, and as sprite sheets of thumbnails."""

from __future__ import annotations

import functools
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nearkin.data import ImageSet
from nearkin.data.sources import images_of
from nearkin.errors import DataError, NearkinError, reading
from nearkin.explore.spaces import Say
from nearkin.fileio import read_arrays, read_object
from nearkin.folders import StudyFolder

ACROSS = 16  # thumbnails per side of a sheet
PER_SHEET = ACROSS * ACROSS
MOST_SIDE = 64


class Pictures:
    """Images uint8 (M, 3, S, S) of some of the N rows.

    Args:
        where: int64 (N,), the image of each row, -1 where there is none.
    """

    def __init__(self, images: NDArray[np.uint8], where: NDArray[np.int64]) -> None:
        self.images, self.where = images, where
        self.side = min(MOST_SIDE, int(images.shape[-1]))
        self.sheets = -(-len(where) // PER_SHEET)
        self.sheet = functools.lru_cache(maxsize=256)(self._sheet)

    def _pixels(self, row: int) -> Image.Image:
        image = Image.fromarray(np.ascontiguousarray(self.images[self.where[row]].transpose(1, 2, 0)))
        return image

    def _sheet(self, number: int) -> bytes:
        """Thumbnails of rows 256 * number and on, row by row, 16 to a line, as one WebP. Raises DataError: no such sheet."""
        if not 0 <= number < self.sheets:
            raise DataError(f"no sheet {number}; there are {self.sheets}.")
        rows = range(number * PER_SHEET, min((number + 1) * PER_SHEET, len(self.where)))
        lines = -(-len(rows) // ACROSS)
        sheet = Image.new("RGB", (ACROSS * self.side, lines * self.side), (128, 128, 128))
        for k, row in enumerate(rows):
            if self.where[row] < 0:
                continue
            image = self._pixels(row)
            if image.width != self.side:
                image = image.resize((self.side, self.side), Image.Resampling.BOX)
            sheet.paste(image, ((k % ACROSS) * self.side, (k // ACROSS) * self.side))
        return _webp(sheet, 82)

    def picture(self, row: int) -> bytes:
        """One image at the size it was loaded in, as WebP. Raises DataError where there is none."""
        if not 0 <= row < len(self.where) or self.where[row] < 0:
            raise DataError(f"no picture of row {row}.")
        return _webp(self._pixels(row), 92)


def _webp(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=3)
    return buffer.getvalue()


def open_pictures(
    ids: NDArray[np.str_], images: str | None, study: StudyFolder | None, say: Say
) -> tuple[Pictures | None, ImageSet | None]:
    """Pictures of the images ``ids`` (N,) from a data set, or as far as a study leads to them, with the set's factors.

    Args:
        images: the data to take them from; its absence or mistakes are errors. None: the study's data, then its
            thumbnails, then none, each with a note.
    Raises:
        DataError: what :func:`nearkin.data.sources.images_of` raises for ``images``.
    """
    if images is not None:
        wanted = images_of(ids, images)
        return Pictures(wanted.images, np.arange(len(ids))), wanted
    if study is None:
        say("note: no thumbnails; --images DATA, the data the embeddings were made of, shows them")
        return None, None
    try:
        data = read_object(study.data_file, source=str, image_shape=list)
        with reading(study.data_file):
            size = int(data["image_shape"][-1])
        wanted = images_of(ids, data["source"], size=size, read=data.get("read"))
        return Pictures(wanted.images, np.arange(len(ids))), wanted
    except (NearkinError, OSError) as error:
        say(
            f"note: the study's images cannot be read ({' '.join(str(error).split())[:160]}); --images DATA says where they are"
        )
    return _thumbnails(ids, study, say), None


def _thumbnails(ids: NDArray[np.str_], study: StudyFolder, say: Say) -> Pictures | None:
    """The thumbnails that the study keeps for its report: of some images only."""
    path = study.thumbnails_file
    if not path.exists():
        return None
    arrays = read_arrays(path)
    names, images = arrays.get("ids", np.zeros(0)).ravel().tolist(), arrays.get("images", np.zeros(0))
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[1] != 3
        or 0 in images.shape
        or len(images) != len(names)
    ):
        raise DataError(f"{path} is damaged (it holds no thumbnails). Delete it and run the study again.")
    index = {name: k for k, name in enumerate(names)}
    where = np.array([index.get(name, -1) for name in ids.tolist()], dtype=np.int64)
    if (where < 0).all():
        return None
    say(f"note: thumbnails of {int((where >= 0).sum()):,} of {len(ids):,} images, those that the report keeps")
    return Pictures(images, where)
