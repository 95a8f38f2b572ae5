"""The frozen speech recogniser that the paper's lip reader is compared with: any wav2vec2-CTC network of transformers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jambatalk.errors import InputError
from jambatalk.nn.lip_reader import TEXT_RATE, TextReader
from jambatalk.nn.pretrained_source import read_architecture, transformers_library
from jambatalk.nn.pretrained_waves import WaveReader
from jambatalk.training.feature_cache import FeatureCache, network_identity

Array = NDArray[Any]


@dataclass(frozen=True)
class Reading:
    """What the recogniser reads in a clip. latent: (T50, width) float16. letters: (T50,) int32, the best one per frame."""

    latent: Array
    letters: Array

    def between(self, start: float, end: float) -> Reading:
        """The part from ``start`` to ``end`` seconds."""
        part = slice(round(start * TEXT_RATE), round(end * TEXT_RATE))
        return Reading(self.latent[part], self.letters[part])


class Recogniser:
    """Reads each clip once; never trained. The network is loaded with its weights from a hub id or a local folder."""

    def __init__(self, name: str, cache: Path | None = None, device: str | torch.device = "cpu") -> None:
        """Raises MissingExtraError without transformers, InputError when there is no such network or it has no letters."""
        transformers = transformers_library()
        normalize = read_architecture(transformers, name)["do_normalize"]
        try:
            network, notes = transformers.AutoModelForCTC.from_pretrained(name, output_loading_info=True)
        except (OSError, ValueError, RuntimeError) as error:
            why = " ".join(str(error).split())[:300]
            raise InputError(f"the recogniser {name!r} is no wav2vec2-CTC network that can be loaded ({why})") from error
        if absent := sorted(key for key in notes["missing_keys"] if key.startswith("lm_head")):
            raise InputError(f"the recogniser {name!r} lacks {absent[0]}: expected a network trained to read letters (CTC)")
        self.name = name
        self.network: Any = network.float().eval().requires_grad_(False).to(device)
        self.width: int = network.config.hidden_size
        self.letters: int = network.config.vocab_size
        self.blank: int = network.config.pad_token_id
        self._read = TextReader(self.network, normalize)
        self._frames = WaveReader(getattr(network, network.base_model_prefix), normalize).length
        self._cache = FeatureCache(cache, network_identity(self.network, f"letters {normalize}"))

    def frames(self, samples: int) -> int:
        """Frames at 50 Hz that the recogniser makes of so many samples at 16 kHz."""
        return self._frames(samples)

    def read(self, samples: Array, device: str | torch.device) -> Reading:
        """What is said in the sound (n,) at 16 kHz. Rounded to float16 at once, so that a cache changes nothing."""

        def make(samples: Array) -> dict[str, Array]:
            self.network.to(device)
            with torch.autocast(torch.device(device).type, enabled=False):
                latent, logits = self._read(torch.from_numpy(np.array(samples, np.float32))[None].to(device))
            limit = float(np.finfo(np.float16).max)
            return {
                "latent": latent[0].clamp(-limit, limit).cpu().numpy().astype(np.float16),
                "letters": logits[0].argmax(-1).cpu().numpy().astype(np.int32),
            }

        return Reading(**self._cache.get(samples, make))

    def spelled(self, text: str) -> list[int]:
        """A text as the recogniser's letters; those that it does not know are left out, a space is its word mark."""
        letters = self.vocabulary()
        known = (next((letters[c] for c in (char, char.lower(), char.upper()) if c in letters), None) for char in
                 "|".join(text.split()))  # fmt: skip
        return [letter for letter in known if letter is not None]

    def vocabulary(self) -> dict[str, int]:
        """Letter -> index, from the network's vocab.json. InputError when there is none."""
        try:
            path = Path(self.name) / "vocab.json"
            if not path.is_dir() and not path.is_file():
                path = Path(transformers_library().utils.cached_file(self.name, "vocab.json"))
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"the recogniser {self.name!r} has no vocab.json that can be read ({error})") from error
        if not isinstance(found, dict) or not all(
            isinstance(index, int) and 0 <= index < self.letters for index in found.values()
        ):
            raise InputError(f"vocab.json of {self.name!r} does not give {self.letters} letters their numbers")
        return found


def collapsed(letters: Array | Tensor, blank: int) -> list[int]:
    """The text of a best letter per frame: repetitions once, blanks left out."""
    row = np.asarray(letters)
    first = np.ones(len(row), bool)
    first[1:] = row[1:] != row[:-1]
    return [int(letter) for letter in row[first] if letter != blank]
