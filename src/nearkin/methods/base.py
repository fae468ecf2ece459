"""What every method answers even where it has nothing to do, so that neither the loop nor a study asks what kind it is."""

from __future__ import annotations

from pathlib import Path

from nearkin.data.imageset import ImageSet


class Method:
    """Hooks of the training loop and of a study; methods override those that concern them.

    Attributes:
        runs: run folders by method name, of methods that this one reads (see MethodInfo.needs).
        tensorboard: whether training also writes event files.
    """

    runs: dict[str, Path] = {}
    tensorboard: bool = False

    def use_runs(self, runs: dict[str, Path]) -> None:
        """Run folders by method name, as the study trained them before this one."""
        self.runs = runs

    def before_epoch(self, epoch: int) -> None:
        """Called before the first step of each epoch (0-based), and after a resume inside one."""

    def after_step(self, step: int) -> None:
        """Called after each optimiser step."""

    def test_losses(self, test: ImageSet, run_dir: Path, *, seed: int) -> None:
        """Log the losses on test images, for methods that have any. Called once, after training."""
