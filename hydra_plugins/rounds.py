"""Hydra accepts a sweeper from this namespace only; what it does is in launch/sweep.py."""

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class Rounds(BasicSweeper):
    """A grid, launched in rounds until no job is left; Hydra imports this file for every command, so it is light."""

    def setup(self, *, config, **context) -> None:
        from launch.sweep import prepare

        prepare(config)
        super().setup(config=config, **context)

    def sweep(self, arguments: list[str]) -> None:
        from conf.sweep import differences, jobs
        from launch.command_line import quoted
        from launch.sweep import Sweep

        loader = self.hydra_context.config_loader
        asked = jobs(self.params, tuple(arguments), loader)
        named = zip(asked, differences(asked), strict=True)
        asked = [[*job, f"hydra.job.name={quoted(name)}"] for job, name in named]
        configs = [loader.load_sweep_config(self.config, job) for job in asked]
        Sweep(asked, configs, self.launcher, self.max_batch_size or len(asked)).run()
