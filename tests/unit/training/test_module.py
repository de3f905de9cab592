"""The training step."""

import os
import subprocess
import sys

import pytest
import torch

from mnist_lightning.models.digitnet import DigitNet, predict_logits
from mnist_lightning.training.module import DigitClassifier
from mnist_lightning.training.schedule import Schedule
from tests.support import PROJECT


@pytest.mark.parametrize("limit", ["ATEN_CPU_CAPABILITY=avx2", "ONEDNN_MAX_CPU_ISA=AVX2"])
def test_hidden_instructions_are_not_used(limit: str) -> None:
    """With bfloat16 and without AVX-512, a training would take seven times as long."""
    variable, value = limit.split("=")
    program = "from mnist_lightning.models.digitnet import bfloat16_is_faster; print(bfloat16_is_faster('cpu'))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, variable: value},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


def test_steps_lower_the_loss() -> None:
    torch.manual_seed(0)
    images, labels = torch.rand(32, 1, 28, 28), torch.arange(32) % 10
    module = DigitClassifier(DigitNet(), lambda parameters: torch.optim.SGD(parameters, lr=0.05), Schedule())
    optimizer = module.optimizer(module.network.parameters())
    losses = []
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(module.network(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_logits_are_in_float32_and_in_the_order_of_the_images() -> None:
    images = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8)
    network = DigitNet()
    logits = predict_logits(network, images, batch_size=2)
    assert logits.dtype == torch.float32
    with torch.inference_mode():
        torch.testing.assert_close(logits, network.eval()(images.float() / 255), rtol=1e-4, atol=1e-5)
