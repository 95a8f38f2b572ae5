"""What TensorBoard shows of a run: every figure of the log, and validation clips to look at and listen to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from jambatalk.errors import MissingExtraError
from jambatalk.training.pictures import FaceStrip, opening_chart
from jambatalk.training.task import Sample


class Board:
    """Writes event files in ``folder``, from ``step`` (the last one done) on; what an earlier process wrote after it is void.

    Raises MissingExtraError without the extra ``train``.
    """

    def __init__(self, folder: Path, step: int) -> None:
        try:
            import PIL.Image  # noqa: F401  (encodes the pictures)
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError('training needs tensorboard and pillow: pip install "jambatalk[train]"') from error
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)  # type: ignore[no-untyped-call]
        self._strip = FaceStrip()
        self._heard = False

    def settings(self, settings: Mapping[str, object]) -> None:
        """The run's settings as a text."""
        lines = yaml.safe_dump(dict(settings), sort_keys=False).splitlines()
        self._writer.add_text("settings", "\n".join(f"    {line}" for line in lines))  # type: ignore[no-untyped-call]

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """One point on every curve; names beginning with ``val_`` are grouped as validation, the others as training."""
        for name, value in values.items():
            tag = f"validation/{name[4:]}" if name.startswith("val_") else f"training/{name}"
            self._writer.add_scalar(tag, value, step)  # type: ignore[no-untyped-call]

    def samples(self, step: int, samples: Sequence[Sample]) -> None:
        """Predicted and true faces, their openings, and (the first time) the sound of each clip."""
        for place, sample in enumerate(samples):
            tag = f"clip {place + 1}"
            self._writer.add_image(f"{tag}/faces", self._strip(sample), step, dataformats="HWC")  # type: ignore[no-untyped-call]
            chart = opening_chart(sample)
            if chart is not None:
                self._writer.add_image(f"{tag}/opening", chart, step, dataformats="HWC")  # type: ignore[no-untyped-call]
            if not self._heard:
                sound = sample.speech.samples[None]
                self._writer.add_audio(f"{tag}/speech", sound, step, sample_rate=sample.speech.rate)  # type: ignore[no-untyped-call]
                self._writer.add_text(f"{tag}/name", sample.name, step)  # type: ignore[no-untyped-call]
        self._heard = self._heard or bool(samples)
        self._writer.flush()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Write what is pending."""
        self._writer.close()  # type: ignore[no-untyped-call]
