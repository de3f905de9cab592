"""The model card: what a network is, how it was measured, what it cannot do; after Mitchell et al. (2019)."""

from collections.abc import Sequence

from mnist_lightning.assessment import Assessment

CARD = """\
# A reader of handwritten digits

{parameters:,} weights in {layers} convolutions (channels {widths}), trained with {optimizer}, seed {seed}.

**For** pictures of one digit, 0 to 9, drawn or photographed, brought to MNIST's form by the preprocessing that
the archive carries. **Not for** several digits in one picture, letters, or anything where a wrong digit does harm
that nobody would notice.

## Data

55,000 training images of MNIST and nothing else, changed at random as `recipe.yaml` says; 5,000 for validation,
by which the checkpoint, the optimizer and the temperature are chosen; the official 10,000 test images only to report.

## Measured

| | |
|---|---:|
| accuracy on MNIST's test set | {test:.2f} % |
| accuracy on the validation images | {validation:.2f} % |
| expected calibration error, test set | {calibration:.2f} % |
| temperature that the logits are divided by | {temperature:.3f} |
| seconds of training | {seconds:.0f} |

| digit | precision, % | recall, % |
|---|---:|---:|
{digits}

## What it cannot do

Anything that is no digit gets a digit for an answer. A picture cut to the ink on all sides shows no paper to tell
ink from. MNIST was written by Americans of the 1990s; habits of other countries are drawn onto a part of the training
digits by rule, not learnt from people.

Made from commit {git_commit}.
"""


def card(
    assessment: Assessment,
    *,
    optimizer: str,
    seed: int,
    widths: Sequence[int],
    parameters: int,
    seconds: float,
    git_commit: str,
) -> str:
    """The card as Markdown."""
    rows = zip(range(10), assessment.precision, assessment.recall, strict=True)
    return CARD.format(
        optimizer=optimizer,
        seed=seed,
        widths=", ".join(map(str, widths)),
        layers=len(widths),
        parameters=parameters,
        seconds=seconds,
        git_commit=git_commit,
        test=100 * assessment.test_accuracy,
        validation=100 * assessment.validation_accuracy,
        calibration=100 * assessment.calibration_error,
        temperature=assessment.temperature,
        digits="\n".join(f"| {digit} | {100 * p:.2f} | {100 * r:.2f} |" for digit, p, r in rows),
    )
