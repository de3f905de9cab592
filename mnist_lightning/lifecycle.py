"""The whole lifecycle in one command: train, promote, archive, serve, and classify one digit.

python -m mnist_lightning.lifecycle
python -m mnist_lightning.lifecycle --config quick.yaml
"""

import sys

from mnist_lightning.common.imports import quick_imports


def main(arguments: list[str] | None = None) -> int:
    """Run the verb; return its exit code. The flags are those of `train`."""
    with quick_imports():  # here: the processes that draw images import this module, too
        from mnist_lightning.packaging import pipeline
        from mnist_lightning.training.arguments import parse_request
    request = parse_request(arguments)
    return pipeline.train_and_promote(request) or pipeline.serve_and_ask(request.recipe)


if __name__ == "__main__":
    sys.exit(main())
