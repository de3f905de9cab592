"""A digit recogniser's whole life in one command: train, choose, archive, serve, ask.

python -m mnist_lightning.lifecycle
python -m mnist_lightning.lifecycle --config config/quick.yaml
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from mnist_lightning import client, train
from mnist_lightning.datasets import mnist
from mnist_lightning.serving.torchserve import ServerError, running, usual_port


def main(arguments: list[str] | None = None) -> int:
    """The verb; its exit code. The flags are those of `train`."""
    job = train.job_of(arguments)
    if code := train.run(job):
        return code
    recipe = job.recipe
    picture = example(recipe.data_dir, Path("data"))
    try:
        with running(recipe.model_store, usual_port()) as server:
            print(f"serving at {server.url}, asking about {picture}", file=sys.stderr)
            code = client.main(["--url", server.url, str(picture)])
    except ServerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if code == 0:
        print(train.next_steps(str(picture), recipe))
    return code


def example(source: Path, folder: Path) -> Path:
    """The first of MNIST's test digits, a 7, as a person would send it: dark ink, white paper, 280×280 pixels."""
    images, labels = mnist.load(source, train=False)
    ink = Image.fromarray(np.asarray(images[0, 0])).resize((280, 280), Image.Resampling.BICUBIC)
    path = folder / f"example-{int(labels[0])}.png"
    folder.mkdir(parents=True, exist_ok=True)
    Image.eval(ink, lambda value: 255 - value).save(path)
    return path


if __name__ == "__main__":
    sys.exit(main())
