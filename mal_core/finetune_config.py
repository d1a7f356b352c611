"""The settings of a fine-tune: what learns, from what, and what holds it back."""

from dataclasses import dataclass

from mal_core.config import option, require


@dataclass(frozen=True)
class FinetuneConfig:
    """A fine-tune on cached features of the decoder and the last blocks; on a GPU of all blocks."""

    epochs: int = option(3, "epochs at most: passes over the crops")
    epoch_steps: int = option(12, "an epoch of fewer steps passes over the crops again")
    patience: int = option(2, "epochs without gain on the held-out images that end it; 0: none do")
    batch_size: int = option(8, "crops a step")
    views: int = option(2, "cached crops an instance: half of them mirrored")
    tuned_blocks: int = option(2, "last transformer blocks that learn on a CPU")
    gpu_blocks: int = option(48, "last transformer blocks that learn on a GPU")
    decoder_rate: float = option(1e-4, "peak learning rate of the decoder")
    encoder_rate: float = option(5e-5, "peak learning rate of the tuned blocks")
    pull: float = option(30.0, "pull of the weights to the parent's, in place of weight decay")
    distil_weight: float = option(2.0, "of staying with the parent on other photos")
    distil_crops: int = option(96, "cached crops of those photos")
    distil_batch: int = option(4, "of them in each step")
    box_weight: float = option(1.0, "of an instance that has only a box, against one with a mask")
    touched_weight: float = option(3.0, "of pixels that a person changed, against the others")
    unseen_band: float = option(1.5, "cells along an edge that nobody vouched for, left out")
    warmup_share: float = option(0.1, "share of the steps in which the rate climbs to its peak")
    clip_norm: float = option(1.0, "largest gradient norm of a step")
    box_jitter: float = option(0.02, "standard deviation of each box side, fraction of its length")
    margin_spread: float = option(0.1, "a view's margin is drawn this far around the test margin")
    seed: int = option(0, "seed of views and order")

    def __post_init__(self) -> None:
        require(self, epochs=(1, 1000), epoch_steps=(1, 10**6), patience=(0, 1000))
        require(self, batch_size=(1, 1024), views=(1, 16))
        require(self, tuned_blocks=(0, 48), gpu_blocks=(0, 48), seed=(0, 2**31))
        require(self, decoder_rate=(0, 1), encoder_rate=(0, 1), pull=(0, 1000))
        require(self, distil_weight=(0, 1000), distil_crops=(0, 10000), distil_batch=(0, 1024))
        require(self, box_weight=(0, 1000), touched_weight=(1, 1000), unseen_band=(0, 16))
        require(self, warmup_share=(0, 1), clip_norm=(1e-6, 1e6), box_jitter=(0, 0.5))
        require(self, margin_spread=(0, 0.2))

    def frozen_blocks(self, depth: int, device: str) -> int:
        """How many of a network's first blocks stay as they are.

        Args:
            depth: its blocks.
            device: "cpu", "cuda" or another of torch's device types.
        """
        return max(0, depth - (self.tuned_blocks if device == "cpu" else self.gpu_blocks))
