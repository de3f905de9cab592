"""Which files of a folder are pictures."""

from pathlib import Path

from mnist_lightning.common.pictures import walk_images


def test_pictures_are_found_in_order_and_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.JPEG", "a.tif", ".hidden/3.png", "b/.4.png", "b/text.txt", "picture.png/5.bmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "c").symlink_to(tmp_path)
    (tmp_path / "broken.png").symlink_to("absent")
    (tmp_path / "link.png").symlink_to("a.tif")
    errors: list[OSError] = []
    found = [str(path.relative_to(tmp_path)) for path in walk_images(tmp_path, errors.append)]
    assert found == ["a.tif", "link.png", "b/1.JPEG", "b/2.png", "picture.png/5.bmp"]
    assert errors == []


def test_folders_that_cannot_be_listed_are_reported(tmp_path: Path) -> None:
    errors: list[OSError] = []
    assert list(walk_images(tmp_path / "absent", errors.append)) == []
    assert [error.filename for error in errors] == [str(tmp_path / "absent")]
