"""Observers: when they are called, what they see, and where their metrics go."""

import torch

from tests.helpers import experiment
from training.experiment import build
from training.observers.base import Observer


class Recorder(Observer):
    """Notes the calls of its hooks, and checks what the trainer shows in each."""

    def __init__(self, every_step: bool):
        self.every_step, self.calls = every_step, []

    def note(self, hook, trainer):
        self.calls.append((hook, trainer.step))
        return {f"{hook}_{self.every_step}": torch.full((2,), float(trainer.step))}

    def on_start(self, trainer):
        return self.note("start", trainer)

    def on_rollout(self, trainer, rollout):
        self.drawn_by = trainer.policy.logits.detach().clone()
        torch.testing.assert_close(rollout.logp(trainer.policy).detach(), rollout.batch.logp_old)
        return self.note("rollout", trainer)

    def on_first_gradient(self, trainer, rollout, logp, grad_norm, objective_metrics):
        assert torch.equal(trainer.policy.logits, self.drawn_by)  # no step was taken yet
        assert torch.equal(grad_norm, trainer.policy.logits.grad.flatten(1).norm(dim=1)) and (grad_norm > 0).all()
        assert logp.grad.shape == rollout.batch.logp_old.shape and logp.grad.any()
        assert objective_metrics["kl_reference"].shape == (2,)
        return self.note("gradient", trainer)

    def on_step_end(self, trainer, rollout):
        assert not torch.equal(trainer.policy.logits, self.drawn_by)
        return self.note("end", trainer)


def test_hooks_are_called_in_order_and_their_metrics_are_recorded(tmp_path):
    settings = ("train.steps=5", "train.log_every=3", "train.epochs=2", "train.diagnostics=true", "train.kl_beta=0.1")
    trainer = build(experiment(tmp_path, *settings), (0, 1))
    some, every = Recorder(every_step=False), Recorder(every_step=True)
    trainer.observers.observers += [some, every]
    history = trainer.run()

    def expected(steps):
        return [("start", 0), *((hook, step) for step in steps for hook in ("rollout", "gradient", "end"))]

    assert every.calls == expected([1, 2, 3, 4, 5]) and some.calls == expected([1, 3, 5])
    assert history.recorded_steps["end_True"] == [1, 2, 3, 4, 5] and history.recorded_steps["end_False"] == [1, 3, 5]
    assert history.recorded_steps["start_False"] == [0] and history.recorded_steps["error"] == [1, 3, 5]
    assert history.arrays()["rollout_True"].tolist() == [[step, step] for step in (1, 2, 3, 4, 5)]


def test_metrics_of_a_frozen_seed_are_not_a_number(tmp_path):
    class Constant(Observer):
        def on_step_end(self, trainer, rollout):
            return {"constant": torch.ones(2)}

    trainer = build(experiment(tmp_path, "train.steps=3"), (0, 1))
    trainer.observers.observers.append(Constant())

    def poison(trainer):
        if trainer.step == 1:
            with torch.no_grad():
                trainer.policy.logits[1, 0, 0] = torch.inf

    values = trainer.run(poison).arrays()["constant"]
    assert values[:, 0].tolist() == [1, 1, 1] and values[0, 1] == 1
    assert torch.tensor(values[1:, 1]).isnan().all()
