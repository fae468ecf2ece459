"""The interface of a method: settings, ``fit``, ``load``, ``embed``, and the hooks of the training loop. Imports no torch.

Settings are a flat dictionary with defaults, checked by name and type: the method's own and, where it has a training loop,
the fields of TrainConfig.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from nearkin.errors import ConfigError, unknown
from nearkin.train.config import TrainConfig

if TYPE_CHECKING:
    import numpy as np
    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from nearkin.data.imageset import Splits
    from nearkin.train.loop import Trainable


@dataclass(frozen=True)
class FitContext:
    """What to fit a method on, in which folder, and how.

    Attributes:
        splits: the images; labels are read only by methods that say so (``MethodInfo.uses_labels``).
        folder: the run's folder; an interrupted training continues there, a finished one is loaded.
        device: "auto", "cpu" or "cuda". progress: whether to draw a bar. title: the bar's text, and that of messages.
        tensorboard: whether training also writes event files.
        runs: run folders by method name, of the methods whose runs this one reads (``MethodInfo.needs``).
    """

    splits: Splits
    folder: Path
    seed: int = 0
    device: str = "auto"
    progress: bool = True
    title: str = ""
    tensorboard: bool = False
    runs: Mapping[str, Path] = field(default_factory=dict)

    def train(
        self, method: Trainable, config: TrainConfig, fabric: Fabric, on_eval: Callable[[int, float], None]
    ) -> None:
        """Run the training loop on the training images; see :func:`nearkin.train.loop.train`."""
        from nearkin.train.loop import train

        train(
            method,
            self.splits.train.images,
            config,
            self.folder,
            seed=self.seed,
            fabric=fabric,
            on_eval=on_eval,
            progress=self.progress,
            title=self.title or "training",
            tensorboard=self.tensorboard,
        )


class Method(ABC):
    """A way to make vectors of images: built from settings, then fitted or loaded, then asked to embed.

    Attributes:
        defaults: the method's own settings, by name; those of training come on top where it has a training loop.
        settings: all of them with their values, as recorded in a run's config.json.
        one_by_one: whether an image's vector is the same whatever images are embedded with it.
    """

    defaults: ClassVar[dict[str, Any]] = {}
    settings: dict[str, Any]
    one_by_one: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, settings: dict[str, Any], image_shape: tuple[int, int, int]) -> None:
        """Check the settings for images of shape (3, S, S). Raises ConfigError: an unknown or illegal one."""

    @property
    @abstractmethod
    def primary_layer(self) -> str:
        """The layer that downstream work should use."""

    @property
    @abstractmethod
    def layers(self) -> tuple[str, ...]:
        """Names of all layers that :meth:`embed` returns, in its order."""

    @property
    def best_side(self) -> int | None:
        """Side in pixels of the images that :meth:`embed` is best given; None: of those that the method was built for."""
        return None

    @property
    def provenance(self) -> dict[str, Any]:
        """What vectors say of their origin beside the run's settings; JSON-able."""
        return {}

    @abstractmethod
    def fit(self, context: FitContext) -> None:
        """Learn from ``context.splits.train`` and leave weights in ``context.folder``. After an interruption it continues there."""

    @abstractmethod
    def load(self, folder: Path, device: str = "auto", runs: Mapping[str, Path] | None = None) -> None:
        """Load what :meth:`fit` left in ``folder``. ``runs`` as in :class:`FitContext`, for methods that embed through them."""

    @abstractmethod
    def embed(self, images: NDArray[np.uint8], layers: tuple[str, ...] | None = None) -> dict[str, NDArray[np.float32]]:
        """uint8 (N, 3, S, S) -> {layer: float32 (N, D)}; ``layers``: only these, None for all."""

    def test_losses(self, context: FitContext) -> None:  # noqa: B027 (a hook)
        """Log the losses on the test images, for methods that have any. Called once, after :meth:`fit`."""

    def before_epoch(self, epoch: int) -> None:  # noqa: B027 (a hook)
        """Called before the first step of each epoch (0-based), and after a resume inside one."""

    def after_step(self, step: int) -> None:  # noqa: B027 (a hook)
        """Called after each optimiser step."""

    def compile_embedding(self, layer: str) -> None:
        """Compile what :meth:`embed` runs for ``layer``, which takes seconds; vectors differ by rounding.

        Raises:
            ConfigError: this method has nothing to compile, or the compiler fails.
        """
        raise ConfigError("--compile: this method has nothing to compile; leave it out.")


TRAIN_DEFAULTS = {field.name: field.default for field in dataclasses.fields(TrainConfig)}


def _convert(name: str, value: Any, default: Any) -> Any:
    """``value`` in the type of ``default``; widths may come as "1024,1024"."""
    try:
        if isinstance(default, tuple):
            parts = value.split(",") if isinstance(value, str) else value
            return tuple(int(part) for part in parts)
        if isinstance(default, bool):
            return value if isinstance(value, bool) else {"true": True, "false": False}[str(value).lower()]
        if isinstance(default, int):
            if float(value) != int(float(value)):
                raise ValueError
            return int(float(value))
        return type(default)(value)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise ConfigError(f"setting {name}={value!r} must be a {type(default).__name__}, like {default!r}.") from error


def resolve(defaults: dict[str, Any], given: dict[str, Any], *, train: bool = True) -> dict[str, Any]:
    """Defaults of the method (and of training) overridden by ``given``.

    Raises:
        ConfigError: unknown name (with "did you mean") or a value of the wrong type.
    """
    known = (TRAIN_DEFAULTS if train else {}) | defaults
    for name in given:
        if name not in known:
            raise unknown("setting", name, sorted(known))
    return known | {name: _convert(name, value, known[name]) for name, value in given.items()}


def train_config(settings: dict[str, Any]) -> TrainConfig:
    """The TrainConfig inside resolved ``settings``."""
    return TrainConfig(**{name: settings[name] for name in TRAIN_DEFAULTS})
