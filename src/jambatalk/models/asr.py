"""The frozen speech recognizer that the paper's lip reader is compared with: any wav2vec2-CTC
network of transformers.
"""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jambatalk.atomic import atomic_write
from jambatalk.errors import InputError
from jambatalk.models.encoders.pretrained import WaveReader, read_architecture, transformers_library
from jambatalk.models.lip_reader import TEXT_RATE, TextReader

Array = NDArray[Any]
Features = dict[str, Array]


class FeatureCache:
    """Named arrays per clip, found again by the clip's sound.

    folder: where <identity>/<sound>.npz files are kept; None keeps everything in memory. identity:
    distinguishes one network and one use of it from all others.
    """

    def __init__(self, folder: Path | None, identity: str) -> None:
        self.folder = None if folder is None else folder / identity
        self._kept: dict[str, Features] = {}

    def get(self, samples: Array, make: Callable[[Array], Features]) -> Features:
        """What ``make`` gives for the sound (n,) float32; called when it is not there yet, or its
        file is damaged.
        """
        key = hashlib.sha256(np.ascontiguousarray(samples, np.float32).tobytes()).hexdigest()
        if self.folder is None:
            if key not in self._kept:
                self._kept[key] = make(samples)
            return self._kept[key]
        path = self.folder / f"{key}.npz"
        if (found := _read(path)) is None:
            found = make(samples)
            with atomic_write(path) as temporary, temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **found)
        return found


def _read(path: Path) -> Features | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception:  # missing, or cut off: as many kinds of error as there are damages
        return None


def network_identity(network: nn.Module, use: str) -> str:
    """Name a network's numbers and the use made of them: 16 hexadecimal digits, for folders."""
    digest = hashlib.sha256(use.encode())
    for name, value in network.state_dict().items():
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class ASRFeatures:
    """What the recognizer reads in a clip. latent: (T50, width) float16. letters: (T50,) int32, the
    best one per frame.
    """

    latent: Array
    letters: Array

    def between(self, start: float, end: float) -> ASRFeatures:
        """The part from ``start`` to ``end`` seconds."""
        part = slice(round(start * TEXT_RATE), round(end * TEXT_RATE))
        return ASRFeatures(self.latent[part], self.letters[part])


# Letters without a recognizer: what a lip reader needs to learn to read the corpus' own texts, when
# no network is at hand.


NAME = "letters"
ALPHABET = "|" + string.ascii_lowercase + "'"
WIDTH = 128


class CharTokenizer:
    """Stands in for ``SpeechRecognizer`` where CTC with the corpus' texts is the only term: it
    spells, and reads no sound.
    """

    width = WIDTH
    blank = 0
    letters = 1 + len(ALPHABET)

    def frames(self, samples: int) -> int:
        """Frames at 50 Hz of so many samples at 16 kHz."""
        return int(samples * TEXT_RATE / 16_000)

    def spelled(self, text: str) -> list[int]:
        """A text as letters; what is none is left out, a space is the word mark."""
        return [
            1 + ALPHABET.index(char) for char in "|".join(text.lower().split()) if char in ALPHABET
        ]

    def read(self, samples: NDArray[Any], device: Any) -> ASRFeatures:
        """InputError: it has no network that reads sound."""
        raise InputError(f"{NAME!r} reads no sound: expected a wav2vec2 network as recognizer")


class SpeechRecognizer:
    """Reads each clip once; never trained.

    The network is loaded with its weights from a hub id or a local folder.
    """

    def __init__(
        self, name: str, cache: Path | None = None, device: str | torch.device = "cpu"
    ) -> None:
        """Raises MissingExtraError without transformers, InputError when there is no such network
        or it has no letters.
        """
        transformers = transformers_library()
        normalize = read_architecture(transformers, name)["do_normalize"]
        try:
            network, notes = transformers.AutoModelForCTC.from_pretrained(
                name, output_loading_info=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            why = " ".join(str(error).split())[:300]
            raise InputError(
                f"the recognizer {name!r} is not a wav2vec2-CTC network that can be loaded ({why})"
            ) from error
        if absent := sorted(key for key in notes["missing_keys"] if key.startswith("lm_head")):
            raise InputError(
                f"the recognizer {name!r} lacks {absent[0]}: expected a network trained to read "
                "letters (CTC)"
            )
        self.name = name
        self.network: Any = network.float().eval().requires_grad_(False).to(device)
        self.width: int = network.config.hidden_size
        self.letters: int = network.config.vocab_size
        self.blank: int = network.config.pad_token_id
        self._read = TextReader(self.network, normalize)
        self._frames = WaveReader(getattr(network, network.base_model_prefix), normalize).length
        self._cache = FeatureCache(cache, network_identity(self.network, f"letters {normalize}"))

    def frames(self, samples: int) -> int:
        """Frames at 50 Hz that the recognizer makes of so many samples at 16 kHz."""
        return self._frames(samples)

    def read(self, samples: Array, device: str | torch.device) -> ASRFeatures:
        """What is said in the sound (n,) at 16 kHz.

        Rounded to float16 at once, so that a cache changes nothing.
        """

        def make(samples: Array) -> dict[str, Array]:
            self.network.to(device)
            with torch.autocast(torch.device(device).type, enabled=False):
                latent, logits = self._read(
                    torch.from_numpy(np.array(samples, np.float32))[None].to(device)
                )
            limit = float(np.finfo(np.float16).max)
            return {
                "latent": latent[0].clamp(-limit, limit).cpu().numpy().astype(np.float16),
                "letters": logits[0].argmax(-1).cpu().numpy().astype(np.int32),
            }

        return ASRFeatures(**self._cache.get(samples, make))

    def spelled(self, text: str) -> list[int]:
        """A text as the recognizer's letters; those that it does not know are left out, a space is
        its word mark.
        """
        letters = self.vocabulary()
        known = (
            next((letters[c] for c in (char, char.lower(), char.upper()) if c in letters), None)
            for char in "|".join(text.split())
        )
        return [letter for letter in known if letter is not None]

    def vocabulary(self) -> dict[str, int]:
        """Letter -> index, from the network's vocab.json. InputError when there is none."""
        try:
            path = Path(self.name) / "vocab.json"
            if not path.is_dir() and not path.is_file():
                path = Path(transformers_library().utils.cached_file(self.name, "vocab.json"))
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"the recognizer {self.name!r} has no vocab.json that can be read ({error})"
            ) from error
        if not isinstance(found, dict) or not all(
            isinstance(index, int) and 0 <= index < self.letters for index in found.values()
        ):
            raise InputError(f"vocab.json of {self.name!r} does not number {self.letters} letters")
        return found


def collapsed(letters: Array | Tensor, blank: int) -> list[int]:
    """The text of a best letter per frame: repetitions once, blanks left out."""
    row = np.asarray(letters)
    first = np.ones(len(row), bool)
    first[1:] = row[1:] != row[:-1]
    return [int(letter) for letter in row[first] if letter != blank]
