"""Log-probs of given tokens from hidden states, without the logits of all positions in memory."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

CHUNK = 2**24  # logits in memory at once: 64 MiB in float32


def token_logp(hidden: Tensor, head: nn.Module, targets: Tensor, vocab: int, chunk: int = CHUNK) -> Tensor:
    """log softmax(head(hidden))[targets] in float32 or better, (N,), for hidden (N,D) and targets (N,).

    The head computes `chunk` logits at a time, and computes them again in the backward pass.
    """
    rows = max(1, chunk // vocab)
    if len(hidden) <= rows:
        return _logp(head, hidden, targets)
    parts = zip(hidden.split(rows), targets.split(rows), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([_logp(head, h, t) for h, t in parts])
    settings = {"use_reentrant": False, "preserve_rng_state": False}
    return torch.cat([checkpoint(_logp, head, h, t, **settings) for h, t in parts])


def _logp(head: nn.Module, hidden: Tensor, targets: Tensor) -> Tensor:
    logits = head(hidden)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(-1)
