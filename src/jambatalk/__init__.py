"""jambatalk: give it speech, get a 3D face that talks.

import jambatalk

talker = jambatalk.load()
motion = talker.animate("hello.wav")
motion.save("hello.mp4")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from jambatalk.ops.kernel_cache import prepare_kernel_cache
from jambatalk.version import __version__

if TYPE_CHECKING:
    from jambatalk.audio import Speech
    from jambatalk.errors import InputError
    from jambatalk.face.face import Face
    from jambatalk.motion import Motion
    from jambatalk.session import Frame, Session
    from jambatalk.talker import Talker, load

# Imported on first use: `jambatalk --version` must not wait for torch.
_HOMES = {
    "Speech": "jambatalk.audio",
    "InputError": "jambatalk.errors",
    "Face": "jambatalk.face.face",
    "Motion": "jambatalk.motion",
    "Frame": "jambatalk.session",
    "Session": "jambatalk.session",
    "Talker": "jambatalk.talker",
    "load": "jambatalk.talker",
}

__all__ = [
    "Face",
    "Frame",
    "InputError",
    "Motion",
    "Session",
    "Speech",
    "Talker",
    "__version__",
    "load",
]


prepare_kernel_cache()  # before any module with kernels is imported


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'jambatalk' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
