"""The network in the form that TorchServe's base class expects: a file's only class, made without arguments."""

from benchmarks.peers.predictor import default_archive
from mnist_lightning.models import archive
from mnist_lightning.models.digitnet import DigitNet


class ClassicNet(DigitNet):
    """The classifier of the archive that the environment names, without its out-of-distribution head."""

    def __init__(self) -> None:
        network = archive.load_network(default_archive())
        super().__init__(network.widths, pooled=network.pooled)
