"""The model card: what a network is, how it was measured, what it cannot do; after Mitchell et al. (2019)."""

from collections.abc import Sequence

from mnist_lightning.evaluation.metrics import Assessment
from mnist_lightning.training.ood import Rejection

CARD = """\
# A reader of handwritten digits

{parameters:,} weights in {layers} convolutions (channels {widths}), trained with {optimizer}, seed {seed}.

**For** pictures of one digit, 0 to 9, drawn or photographed, brought to MNIST's form by the preprocessing that
the archive carries. What looks like no digit, or like several, is told as such. **Not for** anything where a wrong
digit does harm that nobody would notice.

## Data

55,000 training images of MNIST and nothing else, changed at random as `recipe.yaml` says; 5,000 for validation,
by which the checkpoint, the optimizer and the temperature are chosen; the official 10,000 test images only to report.
What is no digit was learnt, by a part that leaves the ten digits' answers as they are, from pictures made by rule:
letters and signs of fonts, scribbles, drawings, textures, noise, several digits, turned ones.

## Measured

| | |
|---|---:|
| accuracy on MNIST's test set | {test:.2f} % |
| accuracy on the validation images | {validation:.2f} % |
| expected calibration error, test set | {calibration:.2f} % |
| temperature that the logits are divided by | {temperature:.3f} |
| digits of the test set refused as none | {refused_digits:.2f} % |
| pictures of other things refused, held back from training | {refused_others:.1f} % |
| area under the curve of these two | {separation:.4f} |
| `is_digit` below which a picture is refused | {threshold:.3f} |
| seconds of training | {seconds:.0f} |

| digit | precision, % | recall, % |
|---|---:|---:|
{digits}

## What it cannot do

Letters that many people write as others write a digit (O, I, l, S, Z, B, b, g, q and the like) pass for digits.
A picture cut to the ink on all sides shows no paper to tell
ink from. MNIST was written by Americans of the 1990s; habits of other countries are drawn onto a part of the training
digits by rule, not learnt from people.

Made from commit {git_commit}.
"""


def card(
    assessment: Assessment,
    refusing: Rejection,
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
        refused_digits=100 * refusing.refused_digits,
        refused_others=100 * refusing.refused_others,
        separation=refusing.separation,
        threshold=refusing.threshold,
        calibration=100 * assessment.calibration_error,
        temperature=assessment.temperature,
        digits="\n".join(f"| {digit} | {100 * p:.2f} | {100 * r:.2f} |" for digit, p, r in rows),
    )
