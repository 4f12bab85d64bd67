"""ReMax: REINFORCE with the reward of the greedy answer as the baseline."""

from dataclasses import dataclass

from algorithms.base import Batch, Loss, Objective, group_mean, token_sum


@dataclass(frozen=True)
class ReMax(Objective):
    """REINFORCE with the reward of the greedy answer as the baseline.

        loss = -sum_t A_t log pi(y_t),    A_t = reward_t - reward_t of the greedy answer

    Sum over tokens, mean over rollouts, one epoch. The greedy answer takes the likeliest token each time, which costs
    one more answer per prompt. Once it is right, only wrong answers have a gradient, which lowers their own
    probability. The paper adds a KL penalty to the reward. https://arxiv.org/abs/2310.10505
    """

    name = "remax"
    paper = "https://arxiv.org/abs/2310.10505"
    sampler = "single"
    baseline = "greedy"
    zero_variance_gradient = "none"
    epochs = 1

    def loss(self, logp, batch: Batch) -> Loss:
        return group_mean(token_sum(-batch.advantage * logp, batch.mask), batch.weight), {}
