"""The whole lifecycle in one command: train, promote, archive, serve, and classify one digit.

python -m mnist_lightning.lifecycle
python -m mnist_lightning.lifecycle --config quick.yaml
"""

import sys
from pathlib import Path

from mnist_lightning.client import ClientError, ask
from mnist_lightning.client.formatting import format_answer
from mnist_lightning.datasets.mnist import MnistUnavailableError
from mnist_lightning.datasets.samples import write_example
from mnist_lightning.packaging.pipeline import next_steps, train_and_promote
from mnist_lightning.serving.torchserve import ServerError, default_or_free_port, running
from mnist_lightning.training.arguments import parse_request
from mnist_lightning.training.config import Recipe


def main(arguments: list[str] | None = None) -> int:
    """Run the verb; return its exit code. The flags are those of `train`."""
    request = parse_request(arguments)
    return train_and_promote(request) or serve_and_ask(request.recipe)


def serve_and_ask(recipe: Recipe) -> int:
    """Serve the archive while the server classifies one of MNIST's test digits; return the exit code."""
    try:
        picture = write_example(recipe.data_dir, Path("data"))
        with running(recipe.model_store, default_or_free_port()) as server:
            print(f"serving at {server.url}, asking about {picture}", file=sys.stderr)
            print(format_answer(str(picture), ask(picture.read_bytes(), server.url)))
    except (ServerError, ClientError, MnistUnavailableError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(next_steps(str(picture), recipe))
    return 0


if __name__ == "__main__":
    sys.exit(main())
