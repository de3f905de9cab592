"""The model card of a training: intended use, data, metrics, limits. After Mitchell et al. (2019)."""

from collections.abc import Sequence

from mnist_lightning.evaluation.metrics import ClassificationMetrics
from mnist_lightning.evaluation.ood import OODMetrics

TEMPLATE = """\
# Handwritten-digit classifier

{parameters:,} weights in {layers} convolutions (channels {widths}), trained with {optimizer}, seed {seed}.

**Intended use:** pictures of one digit, 0 to 9, drawn or photographed. The archive's preprocessing converts them to
MNIST's format. A picture that does not look like a single digit is answered with a note. **Not intended** for decisions
in which an unnoticed wrong digit does harm.

## Data

The classifier is trained on 55,000 training images of MNIST and {feedback}, augmented as `recipe.yaml` says. The
checkpoint, the optimizer and the temperature are selected on 5,000 validation images. The official 10,000 test images
are only reported. The out-of-distribution head is fitted afterwards and does not change the logits of the ten digits.
Its outliers are generated: letters and signs of fonts, scribbles, drawings, textures, noise, several digits, rotated
digits.

## Metrics

| | |
|---|---:|
| accuracy on MNIST's test set | {test:.2f} % |
| accuracy on the validation images | {validation:.2f} % |
| expected calibration error, test set | {calibration:.2f} % |
| temperature (divides the logits) | {temperature:.3f} |
| test digits rejected as non-digits | {rejected_digits:.2f} % |
| held-out outliers rejected | {rejected_outliers:.1f} % |
| area under the ROC curve, test digits against held-out outliers | {auroc:.4f} |
| `is_digit` threshold for rejection | {threshold:.3f} |
| training time | {seconds:.0f} s |

| digit | precision, % | recall, % |
|---|---:|---:|
{digits}

## Limitations

Letters that look like handwritten digits (O, I, l, S, Z, B, b, g, q and similar ones) are classified as digits. In a
picture cropped to the ink on all sides, ink and paper cannot be distinguished. MNIST was written by Americans in the
1990s; regional variants of other countries are drawn onto some training images by rule, not learned from people.

Made from commit {git_commit}.
"""


def render_model_card(
    metrics: ClassificationMetrics,
    ood_metrics: OODMetrics,
    *,
    optimizer: str,
    seed: int,
    widths: Sequence[int],
    parameters: int,
    seconds: float,
    feedback: str,
    git_commit: str,
) -> str:
    """The card as Markdown.

    `parameters` is the number of weights, `seconds` the training time, and `feedback` tells of what else than MNIST it
    is trained on.
    """
    rows = zip(range(10), metrics.precision, metrics.recall, strict=True)
    return TEMPLATE.format(
        optimizer=optimizer,
        seed=seed,
        widths=", ".join(map(str, widths)),
        layers=len(widths),
        parameters=parameters,
        seconds=seconds,
        feedback=feedback,
        git_commit=git_commit,
        test=100 * metrics.test_accuracy,
        validation=100 * metrics.validation_accuracy,
        calibration=100 * metrics.calibration_error,
        temperature=metrics.temperature,
        rejected_digits=100 * ood_metrics.rejected_digits,
        rejected_outliers=100 * ood_metrics.rejected_outliers,
        auroc=ood_metrics.auroc,
        threshold=ood_metrics.threshold,
        digits="\n".join(f"| {digit} | {100 * p:.2f} | {100 * r:.2f} |" for digit, p, r in rows),
    )
