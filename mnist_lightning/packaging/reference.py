"""The reference distributions of a model: what its answers to MNIST's validation images look like.

The images are presented as drawings of 100×100 pixels, dark on light, and read as the server reads them. Their size
would tell nothing about the pictures that people send, so the reference has no picture size.
"""

from pathlib import Path

from PIL import Image

from mnist_lightning.common.constants import EXPORTED
from mnist_lightning.common.reference import Counts, dump
from mnist_lightning.datasets import mnist
from mnist_lightning.datasets.samples import PRESENTATIONS, present
from mnist_lightning.datasets.splits import MnistSplits
from mnist_lightning.inference import features
from mnist_lightning.inference.loader import load_model
from mnist_lightning.preprocessing.normalize import NormalizedImage, read_picture

PICTURES = 2_000  # which take three seconds
LEFT_OUT = "picture_size"


def present_validation_set(data: Path) -> list[NormalizedImage] | None:
    """The first PICTURES of MNIST's validation set as drawings; None if the folder `data` does not hold MNIST."""
    if not mnist.is_complete(data):
        return None
    images = MnistSplits.load(data).validation[0][:PICTURES, 0].numpy()
    return [read_picture(present(Image.fromarray(image), PRESENTATIONS["drawing"])) for image in images]


def measure_reference(folder: Path, images: list[NormalizedImage]) -> bytes:
    """The content of the reference file of the exported model in `folder`."""
    model = load_model((folder / EXPORTED).read_bytes(), folder)
    (readings,) = model.read([images])
    counted = features.count(readings)
    counts: Counts = {
        name: {bound: counted[name, bound] for feature, bound in features.bins() if feature == name}
        for name in features.FEATURES
        if name != LEFT_OUT
    }
    return dump(counts)
