"""What the trainer and the samplers need of a policy."""

from typing import ClassVar

from torch import Tensor, nn


class Policy(nn.Module):
    """Parameters of shape (S, ...): seeds share nothing, so one backward pass gives each seed its own gradient."""

    name: ClassVar[str]

    def logp(self, contexts: Tensor | None, candidates: Tensor | None) -> Tensor:
        """Log-probs (S,B,K,T) in nats of candidates (S,B,K); None lists all contexts, or all actions of each."""
        raise NotImplementedError

    def sample(self, contexts: Tensor | None, uniforms: Tensor) -> Tensor:
        """Candidates (S,B,K) drawn with uniforms (S,B,K) in [0, 1)."""
        raise NotImplementedError
