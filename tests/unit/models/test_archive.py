"""An archive's network is loaded, or the error says what is wrong with the archive."""

import io
import zipfile
from pathlib import Path

import pytest
import torch

from mnist_lightning.models import digitnet
from mnist_lightning.models.archive import ArchiveError, load_network
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.preprocessing.normalize import from_bytes
from tests.small_archive import assert_rounded
from tests.support import SEVEN, WEIGHTS_FILE


def archive_of(folder: Path, name: str, content: bytes) -> Path:
    path = folder / "mnist.mar"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, content)
    return path


def saved(folder: Path, value: object) -> bytes:
    torch.save(value, folder / "value.pt")
    return (folder / "value.pt").read_bytes()


def test_an_archive_holds_the_network_that_was_packaged(small_store: Path) -> None:
    network, packaged = load_network(small_store / "mnist.mar"), digitnet.load(WEIGHTS_FILE.read_bytes())
    assert not network.training
    assert network.architecture == packaged.architecture
    assert_rounded(network, packaged)


def test_an_archive_made_before_the_architecture_was_stored() -> None:
    """Such an archive holds a plain state_dict, whose out-of-distribution head has the keys `judge.*`."""
    path = WEIGHTS_FILE.with_name("legacy.mar")
    with zipfile.ZipFile(path) as archive:
        weights = torch.load(io.BytesIO(archive.read("mnist.pt")), weights_only=True)
    assert {"judge.first.weight", "judge.last.bias", "judge.heat", "judge.trust", "judge.threshold"} <= set(weights)
    network = load_network(path)
    assert network.pooled
    assert network.threshold == weights["judge.threshold"].sigmoid().item()
    assert network(torch.from_numpy(from_bytes(SEVEN.read_bytes()))[None, None]).argmax() == 7


def test_an_absent_archive(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"does not exist; create it with"):
        load_network(tmp_path / "mnist.mar")


def test_a_file_that_is_not_an_archive(tmp_path: Path) -> None:
    (tmp_path / "mnist.mar").write_bytes(b"hello")
    with pytest.raises(ArchiveError, match="does not hold a digit network: File is not a zip file"):
        load_network(tmp_path / "mnist.mar")


def test_an_archive_of_another_model(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="does not hold a digit network"):
        load_network(archive_of(tmp_path, "other.pt", b""))


@pytest.mark.parametrize(
    "value",
    [
        {"weight": torch.zeros(3)},
        [1, 2],
        {"state_dict": 5},
        {"state_dict": {}, "architecture": {"widths": [8, 16], "depth": 3}},
        {"state_dict": DigitNet((8, 16)).state_dict(), "architecture": {"widths": [8, 24], "ood_hidden": 0}},
    ],
)
def test_other_weights(value: object, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="does not hold a digit network"):
        load_network(archive_of(tmp_path, "mnist.pt", saved(tmp_path, value)))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04hello", WEIGHTS_FILE.read_bytes()[:-500]])
def test_damaged_weights(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="does not hold a digit network"):
        load_network(archive_of(tmp_path, "mnist.pt", content))


def test_a_network_without_an_ood_head(tmp_path: Path) -> None:
    digitnet.save(DigitNet((8, 16)), tmp_path / "weights.pt")
    with pytest.raises(ArchiveError, match="no out-of-distribution head; train again"):
        load_network(archive_of(tmp_path, "mnist.pt", (tmp_path / "weights.pt").read_bytes()))
