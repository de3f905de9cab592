"""The network's contract, and the files that hold it."""

from pathlib import Path

import pytest
import torch

from mnist_lightning.models import digitnet
from mnist_lightning.models.digitnet import Architecture, DigitNet
from mnist_lightning.models.ood import OODHead
from tests.small_archive import assert_rounded


def close(one: torch.Tensor, other: torch.Tensor, rtol: float = 1.3e-6, atol: float = 1e-5) -> bool:
    """As `torch.testing.assert_close` compares float32, without its import of SymPy, which takes seconds."""
    return one.dtype == other.dtype and torch.allclose(one, other, rtol=rtol, atol=atol)


def test_pictures_to_logits() -> None:
    logits = DigitNet().eval()(torch.rand(3, 1, 28, 28))
    assert logits.shape == (3, 10)
    assert not torch.allclose(logits.softmax(1), logits)


def test_an_answer_does_not_depend_on_its_neighbours() -> None:
    network, images = DigitNet().eval(), torch.rand(8, 1, 28, 28)
    with torch.inference_mode():
        together, alone = network(images), torch.cat([network(image[None]) for image in images])
    assert close(together, alone, rtol=1e-4, atol=1e-5)


def test_the_shapes_of_weights_tell_their_network() -> None:
    made = DigitNet((8, 16, 24), pooled=True)  # as all networks from before the architecture was stored
    images = torch.rand(2, 1, 28, 28)
    again = DigitNet.from_state_dict(made.state_dict())
    assert close(again(images), made.eval()(images))
    with pytest.raises(RuntimeError, match="not the weights of a DigitNet"):
        DigitNet.from_state_dict({"weight": torch.zeros(3)})


def test_its_size_is_as_documented() -> None:
    assert sum(weights.numel() for weights in DigitNet().parameters()) == 140_282
    assert "140,000" in (DigitNet.__doc__ or "")


@pytest.fixture(params=[False, True], ids=["strided", "pooled"])
def network(request: pytest.FixtureRequest) -> DigitNet:
    torch.manual_seed(0)
    network = DigitNet((8, 16, 24), pooled=request.param)
    network.ood_head = OODHead(network.head.in_features, 5)
    network.ood_head.energy_weight.fill_(0.7)
    network.ood_head.threshold.fill_(-1.5)
    return network.eval()


def assert_same(network: DigitNet, other: DigitNet) -> None:
    images = torch.rand(4, 1, 28, 28)
    with torch.inference_mode():
        for ours, theirs in zip(network.predict_with_ood(images), other.predict_with_ood(images), strict=True):
            assert torch.equal(ours, theirs)
    assert other.threshold == network.threshold


def test_a_file_holds_weights_and_architecture(network: DigitNet, tmp_path: Path) -> None:
    digitnet.save(network, tmp_path / "weights.pt")
    content = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert content["architecture"] == {"widths": [8, 16, 24], "ood_hidden": 5, "pooled": network.pooled}
    loaded = digitnet.load((tmp_path / "weights.pt").read_bytes())
    assert loaded.architecture == Architecture((8, 16, 24), 5, network.pooled)
    assert loaded.threshold == network.threshold
    assert_rounded(loaded, network)


def test_a_file_is_written_again_without_further_rounding(network: DigitNet, tmp_path: Path) -> None:
    digitnet.save(network, tmp_path / "weights.pt")
    loaded = digitnet.load((tmp_path / "weights.pt").read_bytes())
    digitnet.save(loaded, tmp_path / "again.pt")
    assert_same(loaded, digitnet.load((tmp_path / "again.pt").read_bytes()))


def test_the_stored_architecture_is_not_guessed(network: DigitNet) -> None:
    with pytest.raises(RuntimeError, match="size mismatch"):
        DigitNet.from_state_dict(network.state_dict(), Architecture((8, 16, 32), 5, network.pooled))


def test_a_checkpoint_of_a_training_holds_it_too(network: DigitNet) -> None:
    checkpoint = {"epoch": 3, **digitnet.checkpoint_of(network, "network.")}
    assert_same(network, digitnet.from_checkpoint(checkpoint, "network."))


def test_weights_written_before_the_architecture_was_stored(network: DigitNet) -> None:
    former = {"hidden.": "first.", "output.": "last.", "logit_scale": "heat", "energy_weight": "trust"}
    weights = {}
    for name, value in network.state_dict().items():
        if name.startswith("ood_head."):
            for current, old in former.items():
                name = name.replace(current, old)
            name = name.replace("ood_head.", "judge.")
        weights[name] = value
    assert {"judge.first.weight", "judge.last.bias", "judge.heat", "judge.trust", "judge.threshold"} <= set(weights)
    if network.pooled:  # as all networks were at that time
        assert_same(network, DigitNet.from_state_dict(weights))


def test_temperature_changes_the_logits_and_not_the_ood_score(network: DigitNet) -> None:
    images = torch.rand(4, 1, 28, 28)
    with torch.inference_mode():
        logits, score = network.predict_with_ood(images)
        cooled_logits, cooled_score = network.with_temperature(2.0).predict_with_ood(images)
    assert close(cooled_logits, logits / 2)
    assert close(cooled_score, score)
