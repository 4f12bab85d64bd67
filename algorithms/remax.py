"""ReMax: REINFORCE against the greedy answer."""

from dataclasses import dataclass

from algorithms.base import Batch, Loss, Objective, group_mean, token_sum


@dataclass(frozen=True)
class ReMax(Objective):
    """REINFORCE with the reward of the likeliest answer, taken token by token, as the baseline.

        loss = -sum_t A_t log pi(y_t),    A_t = reward_t - reward_t of the greedy answer

    Sum over tokens, mean over rollouts, one epoch. Once the greedy answer is right, only mistakes carry a gradient,
    which point away from each mistake and nowhere else: the last of many actions is found slowly with one epoch.
    It costs one more answer per prompt. The paper adds a KL penalty to the reward. https://arxiv.org/abs/2310.10505
    """

    name = "remax"
    paper = "https://arxiv.org/abs/2310.10505"
    sampler = "single"
    baseline = "greedy"
    zero_variance_gradient = "none"
    epochs = 1

    def loss(self, logp, batch: Batch) -> Loss:
        return group_mean(token_sum(-batch.advantage * logp, batch.mask), batch.weight), {}
