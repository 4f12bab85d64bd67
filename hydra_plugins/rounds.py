"""Hydra accepts a sweeper from this namespace only; what it does is in launch/sweep.py."""

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class Rounds(BasicSweeper):
    """A grid, launched in rounds until no job is left; Hydra imports this file for every command, so it is light."""

    def setup(self, *, config, **context) -> None:
        from launch.sweep import prepare

        prepare(config)
        super().setup(config=config, **context)

    def sweep(self, arguments: list[str]) -> None:
        from conf.sweep import jobs
        from launch.job import grid_of
        from launch.sweep import Sweep

        loader = self.hydra_context.config_loader
        asked = jobs(self.params, tuple(arguments), loader)
        configs = [loader.load_sweep_config(self.config, job) for job in asked]
        with grid_of(asked):
            Sweep(asked, configs, self.launcher, self.max_batch_size or len(asked)).run()
