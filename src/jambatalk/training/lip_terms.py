"""The lip reader's two terms for shape weights: phones read off the lips that the weights move (CTC), and a teacher's latent."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from jambatalk.data.phones import PHONES, SILENCE
from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.training.bank import PHONE_INDEX
from jambatalk.training.phone_reading import RATE, PhoneReading, PhoneReadingConfig

SPOKEN = tuple(phone for phone in PHONES if phone != SILENCE)


class LipTerms(nn.Module):
    """Predicted weights (B, T, K) -> the terms ``ctc`` and ``latent``, see ``PhoneReading``."""

    template: Tensor
    basis: Tensor

    def __init__(self, face: Face, fps: float, config: PhoneReadingConfig, ctc: bool, latent: bool) -> None:
        """ctc, latent: which of the two is wanted. InputError when the face names no lips."""
        super().__init__()
        if "lips" not in face.regions:
            raise InputError("the face names no region lips, which the lip reader needs")
        lips = np.asarray(face.regions["lips"])
        self.fps, self.ctc, self.latent = fps, ctc, latent
        self.register_buffer("template", torch.from_numpy(np.ascontiguousarray(face.vertices[lips], np.float32)).reshape(-1))
        basis = np.ascontiguousarray(face.basis[:, lips], np.float32).reshape(len(face.names), -1)
        self.register_buffer("basis", torch.from_numpy(basis))  # (K, n * 3)
        self.reader = PhoneReading(len(lips), SPOKEN, config)
        self.reader.set_rest(self.template)

    def forward(self, weights: Tensor, phones: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """weights (B, T, K); phones (B, T) int64 indices into PHONES, -1 unknown; teacher (B, T, D) at the weights' rate."""
        targets, lengths = spoken_runs(phones) if self.ctc else (None, None)
        heard = None
        if self.latent:
            # The reader works at twice the rate: each frame is heard twice.
            heard = teacher.repeat_interleave(round(RATE / self.fps), dim=1)
        return self.reader(self.template + weights @ self.basis, self.fps, targets, lengths, heard)


def spoken_runs(phones: Tensor) -> tuple[Tensor, Tensor]:
    """What is spoken in each sequence: (B, P) indices into SPOKEN plus 1, padded with 0, and their number (B,).

    phones: (B, T) indices into PHONES by frame. Runs become one phone each, pauses none. The number is -1 where a phone of the
    sequence is unknown. A phone too short to own a frame is not asked for.
    """
    rows = []
    for sequence in phones.cpu().numpy():
        runs = sequence[np.flatnonzero(np.diff(sequence, prepend=sequence[:1] - 1))]
        rows.append(None if (sequence < 0).any() else runs[runs != PHONE_INDEX[SILENCE]])
    longest = max([1, *(len(row) for row in rows if row is not None)])
    index = np.array([0 if phone == SILENCE else SPOKEN.index(phone) + 1 for phone in PHONES])
    targets = torch.zeros(len(rows), longest, dtype=torch.long)
    for i, row in enumerate(rows):
        if row is not None:
            targets[i, : len(row)] = torch.from_numpy(index[row])
    return targets, torch.tensor([-1 if row is None else len(row) for row in rows])
