"""The network's contract."""

import pytest
import torch

from mnist_lightning.models.digitnet import DigitNet


def test_pictures_to_logits() -> None:
    logits = DigitNet().eval()(torch.rand(3, 1, 28, 28))
    assert logits.shape == (3, 10)
    assert not torch.allclose(logits.softmax(1), logits)


def test_an_answer_does_not_depend_on_its_neighbours() -> None:
    network, images = DigitNet().eval(), torch.rand(8, 1, 28, 28)
    with torch.inference_mode():
        together, alone = network(images), torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_weights_tell_their_network() -> None:
    made = DigitNet((8, 16, 24))
    images = torch.rand(2, 1, 28, 28)
    again = DigitNet.from_state_dict(made.state_dict())
    torch.testing.assert_close(again(images), made.eval()(images))
    with pytest.raises(RuntimeError, match="not a digit network"):
        DigitNet.from_state_dict({"weight": torch.zeros(3)})


def test_prepared_for_the_server_it_answers_the_same() -> None:
    torch.manual_seed(0)
    network, images = DigitNet().eval(), torch.rand(16, 1, 28, 28)
    with torch.inference_mode():
        plain = network(images)
        fast = network.optimized_for_inference()(images)
    assert fast.dtype == torch.float32
    torch.testing.assert_close(fast, plain, rtol=0.05, atol=0.05)


def test_its_size_is_as_said() -> None:
    assert sum(weights.numel() for weights in DigitNet().parameters()) == 280_778
    assert "281,000" in (DigitNet.__doc__ or "")
