"""Image classification as a contextual bandit: the reward says only whether the chosen class was right."""

from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.base import require
from envs.base import ACTION_SAMPLERS, Env, Spec
from envs.datasets import Images, load

CLASSES = 10


@dataclass(frozen=True)
class ImageBandit(Env):
    """`batch` training images, drawn with replacement. One class is drawn for each; its reward is 1 if it is right.

    dataset   mnist or digits (scikit-learn's 8x8)
    data_dir  folder with MNIST's four IDX files; null: the public hub

    The baseline is sum_a pi(a)^2, the probability that two draws agree. The error is the share of test images whose
    likeliest class is wrong, after the step. https://arxiv.org/abs/2604.06159 (figure 4)
    """

    name = "image_bandit"

    dataset: str = "mnist"
    data_dir: str | None = None
    batch: int = 100

    def __post_init__(self):
        require(self.dataset in ("mnist", "digits"), "dataset", self.dataset, "mnist or digits")
        require(self.batch >= 1, "batch", self.batch, ">= 1")
        self.images  # noqa: B018  what cannot be loaded is refused before any work

    @property
    def images(self) -> Images:
        return load(self.dataset, self.data_dir)

    @property
    def spec(self) -> Spec:
        return Spec(
            contexts=len(self.images.train),
            inputs=self.images.train,
            actions=CLASSES,
            samplers=ACTION_SAMPLERS,
            group_size_settings={"group": "batch"},
            chance_error=1 - 1 / CLASSES,
            epochs=1,
            eval_at="update",
        )

    def contexts(self, noise) -> Tensor:
        return (noise.uniform("context", self.batch) * len(self.images.train)).long()

    def context_baseline(self, logp) -> Tensor:
        return logp.exp().square().sum(-1, keepdim=True)

    def true_reward(self, contexts, device) -> Tensor:
        return torch.nn.functional.one_hot(self._labels(contexts), CLASSES).float()

    def score(self, contexts, candidates, noise) -> Tensor:
        return (candidates == self._labels(contexts).unsqueeze(-1)).float().unsqueeze(-1)

    def labelled_contexts(self) -> tuple[Tensor, Tensor]:
        return self.images.test, self.images.test_labels

    def evaluate(self, policy, noise) -> dict[str, Tensor]:
        with torch.no_grad():
            test = self.images.test.to(next(policy.parameters()))
            classes = policy.logits(test).argmax(-1)
            return {"error": (classes != self.images.test_labels.to(test.device)).float().mean(-1)}

    def _labels(self, contexts: Tensor) -> Tensor:
        return self.images.train_labels.to(contexts.device)[contexts]
