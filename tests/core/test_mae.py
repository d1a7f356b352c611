"""The masked autoencoder: what is hidden, what is shown, and where it comes back."""

import pytest
import torch
from torch import Tensor

from mal_core.config import ModelConfig, PretrainConfig
from mal_core.mae import MaskedAutoencoder, hidden_loss, patch_targets, to_patches
from mal_core.model import MAL

MODEL = ModelConfig(dim=32, depth=2, heads=2, crop_size=64, registers=2)
CONFIG = PretrainConfig(decoder_dim=32, decoder_depth=1)


@pytest.fixture
def network() -> MaskedAutoencoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MaskedAutoencoder(MAL(MODEL).encoder, CONFIG).eval()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """(2, 3, 64, 64) crops and (2, 16) orders that differ."""
    random = torch.Generator().manual_seed(1)
    orders = [torch.randperm(16, generator=random) for _ in range(2)]
    return torch.randn(2, 3, 64, 64, generator=random), torch.stack(orders)


@pytest.mark.parametrize(("hidden", "visible"), [(0.75, 4), (0.5, 8), (0.9, 2), (0.06, 15)])
def test_the_hidden_share_is_exact(hidden: float, visible: int, batch: tuple[Tensor, ...]) -> None:
    config = PretrainConfig(hidden=hidden, decoder_dim=32, decoder_depth=1)
    network = MaskedAutoencoder(MAL(MODEL).encoder, config)
    assert network.visible == visible
    assert network.encode(*batch).shape == (2, visible, 32)


@pytest.mark.parametrize("hidden", [0.01, 0.99])
def test_a_share_that_hides_nothing_or_all_is_refused(hidden: float) -> None:
    with pytest.raises(ValueError, match="is none or all of them"):
        MaskedAutoencoder(MAL(MODEL).encoder, PretrainConfig(hidden=hidden))


def test_a_patch_holds_the_pixels_under_its_token(batch: tuple[Tensor, Tensor]) -> None:
    crops, _ = batch
    patches = to_patches(crops)
    for token in range(16):
        y, x = 16 * (token // 4), 16 * (token % 4)
        square = crops[:, :, y : y + 16, x : x + 16]  # (2, 3, 16, 16)
        torch.testing.assert_close(patches[:, token], square.permute(0, 2, 3, 1).flatten(1))


def test_targets_have_mean_0_and_variance_1_and_a_flat_patch_is_0() -> None:
    crops = torch.rand(1, 3, 32, 32)
    crops[:, :, :16, :16] = 0.3
    targets = patch_targets(crops)
    torch.testing.assert_close(targets.mean(-1), torch.zeros(1, 4), atol=1e-3, rtol=0)
    torch.testing.assert_close(targets[:, 1:].var(-1), torch.ones(1, 3), atol=1e-3, rtol=0)
    assert targets[:, 0].abs().max() < 1e-3


def test_only_hidden_patches_cost_something() -> None:
    guess, target = torch.randn(2, 6, 768), torch.randn(2, 6, 768)
    order = torch.tensor([[3, 0, 5, 1, 4, 2], [1, 2, 0, 3, 5, 4]])
    loss = hidden_loss(guess, target, order, visible=2)
    hidden = [(0, 5), (0, 1), (0, 4), (0, 2), (1, 0), (1, 3), (1, 5), (1, 4)]
    errors = [float((guess[b, n] - target[b, n]).square().mean()) for b, n in hidden]
    assert float(loss) == pytest.approx(sum(errors) / 8, rel=1e-5)
    shown, unseen = target.clone(), target.clone()
    shown[0, 3] += 5
    shown[1, 2] += 5
    unseen[0, 2] += 5
    assert hidden_loss(guess, shown, order, 2) == loss
    assert hidden_loss(guess, unseen, order, 2) != loss


def test_the_blocks_see_the_registers_and_the_shown_tokens_each_with_its_position(
    network: MaskedAutoencoder, batch: tuple[Tensor, Tensor]
) -> None:
    crops, order = batch
    encoder = network.encoder
    seen = network.encode(crops, order)
    _, maps = encoder.stem(crops, torch.zeros(2, 4, 64, 64))  # (2, 32, 4, 4): the whole picture
    for row in range(2):
        tokens = [encoder.reg[0, number] for number in range(2)]
        for place in order[row, :4].tolist():
            tokens.append(maps[row, :, place // 4, place % 4] + encoder.pos[0, place])
        wanted = encoder.finish(encoder.attend(torch.stack(tokens)[None]))[0]
        torch.testing.assert_close(seen[row], wanted, atol=1e-5, rtol=1e-4)


def test_the_decoder_puts_each_token_back_in_its_place(
    network: MaskedAutoencoder, batch: tuple[Tensor, Tensor]
) -> None:
    _, order = batch
    shown = torch.randn(2, 4, 32)
    guess = network.decode(shown, order)
    for row in range(2):
        tokens = [network.mask_token[0, 0] + network.pos[0, place] for place in range(16)]
        for number, place in enumerate(order[row, :4].tolist()):
            tokens[place] = network.narrow(shown[row, number]) + network.pos[0, place]
        wanted = torch.stack(tokens)[None]
        for block in network.blocks:
            wanted = block(wanted)
        wanted = network.guess(network.norm(wanted))[0]
        torch.testing.assert_close(guess[row], wanted, atol=1e-5, rtol=1e-4)


def test_a_crop_s_loss_does_not_depend_on_its_neighbours_in_the_batch(
    network: MaskedAutoencoder, batch: tuple[Tensor, Tensor]
) -> None:
    crops, order = batch
    alone = [network(crops[[row]], order[[row]]) for row in range(2)]
    torch.testing.assert_close(network(crops, order), sum(alone) / 2)
