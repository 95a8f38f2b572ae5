"""Pictures and numbers inside a page: PNG bytes, addresses that hold the data itself, sound as a spectrogram."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import MissingExtraError

Array = NDArray[Any]


def require_matplotlib() -> None:
    """MissingExtraError when the pictures' library is absent."""
    try:
        import matplotlib.image  # noqa: F401
    except ImportError as error:
        raise MissingExtraError('a report needs matplotlib: pip install "jambatalk[evaluate]"') from error


def png(image: Array) -> bytes:
    """A PNG of (H, W, 3) or (H, W, 4), as uint8 or floats in 0..1. The same image gives the same bytes."""
    require_matplotlib()
    from matplotlib.image import imsave

    if image.dtype != np.uint8:
        image = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    plain: Any = {"Software": None}  # the library's version is none of the picture's business
    imsave(buffer, image, format="png", metadata=plain)
    return buffer.getvalue()


def jpeg(image: Array) -> bytes:
    """A JPEG of (H, W, 3) uint8, for what need not be sharp."""
    require_matplotlib()
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, image, format="jpeg", pil_kwargs={"quality": 80})
    return buffer.getvalue()


def data_uri(data: bytes, kind: str) -> str:
    """An address that holds the data itself, such as ``data:image/png;base64,...``."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def spectrogram(samples: Array) -> bytes:
    """PNG of the mel spectrogram of (n,) samples at 16 kHz: one column each 10 ms, low tones below, the loudest 60 dB in grey.

    Black ink on a transparent ground, so that it shows on light pages; a dark page inverts it.
    """
    import torch

    from jambatalk.nn.mel import LogMel, MelConfig

    config = MelConfig(bands=80, fft=512)
    mel = LogMel(config)
    frames = -(-len(samples) // config.hop)
    # The window of column j is centred on the middle of its 10 ms.
    late = (config.window - config.hop) // 2
    padded = np.zeros((frames * config.hop + late) // config.hop * config.hop + config.hop, np.float32)
    padded[: len(samples)] = samples
    with torch.no_grad():
        power, _ = mel(torch.from_numpy(padded)[None], mel.init_state(1))
    shift = round(late / config.hop)
    level = power[0, shift : shift + frames].numpy().T[::-1] * (10 / np.log(10))  # dB
    ink = np.clip((level - level.max() + 60) / 60, 0, 1)
    return png(np.stack([np.zeros_like(ink)] * 3 + [ink], axis=2))
