"""Single image files, outside any data set: decoded as the loader of folders decodes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from nearkin.data.decode import MAX_BYTES, decode
from nearkin.data.files import list_folder
from nearkin.data.imageset import Skipped
from nearkin.errors import DataError


def read_images(paths: Sequence[Path]) -> tuple[list[str], list[Image.Image], list[Skipped]]:
    """RGB images of files and of all files below folders, with their names.

    An unreadable file inside a folder is skipped and listed; a file that was named itself must be readable.

    Raises:
        DataError: nothing there, an unreadable file, a folder without images or without readable ones.
    """
    names: list[str] = []
    images: list[Image.Image] = []
    skipped: list[Skipped] = []
    for path in paths:
        if not path.is_dir():
            try:
                with open(path, "rb") as handle:
                    images.append(decode(handle.read(MAX_BYTES)))
            except OSError as error:
                raise DataError(f"{path}: {error.strerror or error}.") from error
            except ValueError as error:
                raise DataError(f"{path}: {error}.") from error
            names.append(str(path))
            continue
        files = list_folder(path)
        if not files.paths:
            raise DataError(f"no images in {path}. Looked for .png, .jpg, .webp, .bmp, .gif, .tif and .ppm files.")
        before = len(images)
        for inside in files.paths:
            try:
                images.append(decode(files.read(inside)))
                names.append(f"{path}/{inside}")
            except ValueError as error:
                skipped.append(Skipped(f"{path}/{inside}", str(error)))
        if len(images) == before:
            raise DataError(
                f"{path}: none of its {len(files.paths)} images is readable; first: {skipped[-1].path}: {skipped[-1].reason}."
            )
    return names, images, skipped
