"""Train the optimizers of a recipe, promote the best on validation, and archive it.

python -m mnist_lightning.train                             # config/train.yaml
python -m mnist_lightning.train --config quick.yaml         # one epoch each, as a quick try
python -m mnist_lightning.train --epochs 2 --only SGD
python -m mnist_lightning.train --optimizers.Adam.init_args.lr 0.002
python -m mnist_lightning.train --seeds 5                   # mean, standard error, and a test of the difference
python -m mnist_lightning.train --from-run RUN_ID           # repeat a run of MLflow: its recipe and seed
python -m mnist_lightning.train --comparison NAME --only SGD  # one machine's part of a shared comparison
python -m mnist_lightning.train --resume                    # continue an interrupted training
"""

import sys

from mnist_lightning.common.imports import quick_imports


def main(arguments: list[str] | None = None) -> int:
    """Run the verb; return its exit code."""
    with quick_imports():  # here: the processes that draw images import this module, too
        from mnist_lightning.packaging.pipeline import next_steps, train_and_promote
        from mnist_lightning.training import distributed
        from mnist_lightning.training.arguments import parse_request
    request = parse_request(arguments)
    code = train_and_promote(request)
    if code == 0 and distributed.rank() == 0:
        print(next_steps("my_digit.png", request.recipe))
    return code


if __name__ == "__main__":
    sys.exit(main())
