"""Which files of a folder are pictures."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".heic", ".heif", ".avif", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".pbm", ".pgm", ".ppm"),
}


def is_image(path: Path) -> bool:
    """Whether a path is an image file and not a hidden one, such as a file that is being written."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def walk_images(folder: Path, on_error: Callable[[OSError], object]) -> Iterator[Path]:
    """The image files of a folder and its sub-folders, sorted within each, without hidden ones.

    Links to folders are not followed. `on_error` is called for each folder that cannot be listed.
    """
    for name, folders, files in os.walk(folder, onerror=on_error):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        yield from filter(is_image, (Path(name, file) for file in sorted(files)))
