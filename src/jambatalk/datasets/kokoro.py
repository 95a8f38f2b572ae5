"""Kokoro, a synthesiser of 54 voices, made to speak phones at given times.

Its network predicts how long each symbol lasts, in steps of 25 ms. Here the caller says it instead,
so that a recorded sentence can be spoken by another voice at the times of the recording.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.atomic import file_sha256
from jambatalk.audio import SAMPLE_RATE
from jambatalk.errors import InputError, MissingExtraError, reading, shown
from jambatalk.text.phones import SILENCE, VOWELS, Timed

Array = NDArray[Any]

STEP = 0.025  # seconds; the unit of the network's durations
LEAD = 0.075
"""Seconds by which a symbol sounds before its steps: measured by forced alignment."""

RATE = 24_000
"""Samples a second that the network gives."""

MODEL_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
"""Of the network that the figures in the documentation were measured with."""

MODEL, VOCABULARY, VOICES = "kokoro.onnx", "config.json", "voices"
"""Names of the three parts where they lie in one folder."""

LICENCE = "voice {voice} of Kokoro-82M v1.0 (Apache-2.0)"

ROUND, DURATIONS = "/encoder/Round", "durations"
STYLES = (510, 1, 256)

EDGE = 0
"""The token that begins and ends a sequence."""

LONGEST_START, LONGEST_END = 13, 6
"""Steps of the first and the last token; silence beyond them is added afterwards. Where they fill a
second, the network puts a sound as loud as speech into it. The first phone of a sentence comes 30
to 50 ms late behind 10 steps, as much too early behind 18.
"""

LONGEST = 510
"""Tokens of a sequence: a pack of a voice holds one style for each length up to this."""

SPACE, STRESS, FULL_STOP = " ", "ˈ", "."

STRESSED_FROM = 0.06
"""Seconds; a word's first vowel that lasts as long as this is taken as its stressed one."""

_AS_WRITTEN = {
    "aʊ": "W",
    "aɪ": "I",
    "eɪ": "A",
    "oʊ": "O",
    "ɔɪ": "Y",
    "tʃ": "ʧ",
    "dʒ": "ʤ",
    "g": "ɡ",
}
"""Phones that Kokoro's alphabet writes with other signs than IPA."""


@dataclass(frozen=True)
class Take:
    """What the network is given for one sentence.

    tokens: of the alphabet, EDGE first and last. steps: of 25 ms for each token, at least one.
    before: steps of silence put before the network's sound. seconds: of the clip; what is left
    after the network's sound is silence, too.
    """

    tokens: tuple[int, ...]
    steps: tuple[int, ...]
    before: int
    seconds: float


def take_of_phones(
    phones: Sequence[Timed],
    seconds: float,
    vocabulary: Mapping[str, int],
    words: Sequence[Timed] = (),
) -> Take:
    """Plan a clip from its phones in IPA, pauses as "sil", in seconds and in order of time.

    words: with their times; phones belong to the word in which their middle lies, and spaces are
    put between words. Without words, everything between two pauses is one. InputError for a phone
    that the alphabet lacks, or for more of them than fit.
    """
    return take_of_symbols(symbols_of(phones, words), seconds, vocabulary)


def symbols_of(phones: Sequence[Timed], words: Sequence[Timed] = ()) -> list[Timed]:
    """Phones in IPA -> symbols of Kokoro's alphabet with stress marks and spaces. Marks that last
    no time of their own have equal start and end.
    """
    spoken = [phone for phone in phones if phone.text != SILENCE]
    spans = [word for word in words if word.text not in ("", "sil", "sp")]
    groups = [_word_of(phone, spans) for phone in spoken]
    symbols: list[Timed] = []
    stressed = False
    for i, phone in enumerate(spoken):
        before = spoken[i - 1] if i else None
        if before is not None and (groups[i] != groups[i - 1] or phone.start > before.end + 1e-6):
            symbols.append(Timed(SPACE, before.end, max(before.end, phone.start)))
            stressed = False
        vowel = phone.text in VOWELS
        mark = vowel and not stressed and phone.end - phone.start >= STRESSED_FROM
        if mark:
            symbols.append(Timed(STRESS, phone.start, phone.start + STEP))
            stressed = True
        start = phone.start + STEP if mark else phone.start
        symbols += _written(phone, start, mark)
    return symbols


def _word_of(phone: Timed, words: Sequence[Timed]) -> int:
    middle = (phone.start + phone.end) / 2
    distances = [max(word.start - middle, middle - word.end, 0.0) for word in words]
    return int(np.argmin(distances)) if distances else 0


def _written(phone: Timed, start: float, stressed: bool) -> list[Timed]:
    if phone.text == "ɝ":
        middle = (start + phone.end) / 2
        return [Timed("ɜ" if stressed else "ə", start, middle), Timed("ɹ", middle, phone.end)]
    # The aligner's dictionary has one phone for the vowels of "cut" and "about".
    weak = phone.text == "ʌ" and not stressed
    text = "ə" if weak else _AS_WRITTEN.get(phone.text, phone.text)
    return [Timed(text, start, phone.end)]


def take_of_symbols(
    symbols: Sequence[Timed], seconds: float, vocabulary: Mapping[str, int]
) -> Take:
    """Plan a clip from symbols of the alphabet with their times in seconds, in order of time; "^"
    and "$" (the edges) are left out.

    Every boundary is put on the step nearest to its time, moved no further than the one step
    demands that every symbol has at least: so errors of rounding do not add up.
    """
    kept = [symbol for symbol in symbols if symbol.text not in ("^", "$")]
    if not kept:
        raise InputError("no phones to speak: expected at least one that is not a pause")
    if unknown := [symbol.text for symbol in kept if symbol.text not in vocabulary]:
        raise InputError(
            f"the synthesiser's alphabet lacks {', '.join(dict.fromkeys(unknown))}: expected its "
            "own symbols or IPA of English"
        )
    if len(kept) + 2 > LONGEST:
        raise InputError(f"{len(kept)} symbols, expected at most {LONGEST - 2}")
    total = max(int(np.ceil(seconds / STEP - 1e-6)), 1)
    if total < len(kept) + 2:
        raise InputError(
            f"{len(kept)} symbols in {seconds:.2f} s, expected at least {STEP * 1000:g} ms for each"
        )
    times = [kept[0].start]
    for symbol, after in zip(kept, [*kept[1:], None]):
        times.append(symbol.end if after is None else max(after.start, times[-1]))
    edges = _on_steps((np.array(times) + LEAD) / STEP, total)
    steps = np.diff(np.concatenate([[0], edges, [total]]))
    tokens = (EDGE, *(vocabulary[symbol.text] for symbol in kept), EDGE)
    before = max(int(steps[0]) - LONGEST_START, 0)
    steps[0] -= before
    steps[-1] = min(steps[-1], LONGEST_END)
    return Take(tokens, tuple(int(step) for step in steps), before, seconds)


def _on_steps(wanted: Array, total: int) -> Array:
    """Whole steps (n,) nearest to ``wanted`` (n,) in the least-squares sense, each at least one
    after the one before, from 1 to total - 1.
    """
    # With i taken off, "at least one apart" becomes "not falling": isotonic regression, and
    # rounding keeps the order.
    blocks: list[list[float]] = []
    for value in wanted - np.arange(len(wanted)):
        blocks.append([float(value), 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, n), (b, m) = blocks[-2:]
            blocks[-2:] = [[(a * n + b * m) / (n + m), n + m]]
    level = np.concatenate([np.full(int(n), value) for value, n in blocks])
    return np.clip(np.round(level), 1, total - len(wanted)).astype(int) + np.arange(len(wanted))


class Kokoro:
    """The synthesiser: speaks a ``Take`` in one of its voices.

    Runs on the CPU, one thread for each call; calls from several threads may overlap.
    """

    def __init__(
        self, model: Path, voices: Path | None = None, vocabulary: Path | None = None
    ) -> None:
        """model: the network (.onnx), or a folder that holds kokoro.onnx. voices: folder of packs
        (<name>.bin), None for "voices" beside the network. vocabulary: JSON with "vocab", symbol ->
        token, None for config.json beside the network.

        InputError when one of them is missing or damaged; MissingExtraError without onnx.
        """
        self.path = model / MODEL if model.is_dir() else model
        beside = self.path.parent
        self.folder = beside / VOICES if voices is None else voices
        words = beside / VOCABULARY if vocabulary is None else vocabulary
        if not self.path.is_file():
            raise InputError(f"no synthesiser at {self.path}: expected Kokoro's network (.onnx)")
        self.packs = tuple(sorted(path.stem for path in self.folder.glob("*.bin")))
        if not self.packs:
            raise InputError(f"no voices in {self.folder}: expected packs named <voice>.bin")
        with reading(words, "a vocabulary"):
            table = json.loads(words.read_text(encoding="utf-8"))["vocab"]
            self.vocabulary = {str(symbol): int(token) for symbol, token in table.items()}
        self._session: Any = _open(self.path)
        self._styles: dict[str, Array] = {}

    @cached_property
    def sha256(self) -> str:
        """Of the network's file."""
        return file_sha256(self.path)

    def speak(self, take: Take, voice: str) -> Array:
        """(n,) float32 at 16 kHz, in -1..1, as long as the take's ``seconds``. InputError for an
        unknown voice, or when the network gives another length than the steps say.
        """
        import soxr

        style = self._style(voice)[len(take.tokens) - 2]
        with reading(self.path, "a network of this kind"):
            sound = self._session.run(
                None,
                {
                    "tokens": np.array([take.tokens], np.int64),
                    "style": style,
                    "speed": np.ones(1, np.float32),
                    DURATIONS: np.array([take.steps], np.float32),
                },
            )[0].reshape(-1)
        wanted = sum(take.steps) * STEP
        if abs(len(sound) / RATE - wanted) > STEP / 2 or not np.isfinite(sound).all():
            raise InputError(
                f"the synthesiser gave {len(sound) / RATE:.3f} s in the voice {voice}, expected "
                f"{wanted:.3f} s of finite samples"
            )
        samples = soxr.resample(sound.astype(np.float32), RATE, SAMPLE_RATE)
        fitted = np.zeros(round(take.seconds * SAMPLE_RATE), np.float32)
        first = round(take.before * STEP * SAMPLE_RATE)
        last = min(first + len(samples), len(fitted))
        fitted[first:last] = np.clip(samples[: last - first], -1.0, 1.0)
        return fitted

    def _style(self, voice: str) -> Array:
        if voice not in self.packs:
            raise InputError(
                f"no voice {shown(voice)} in {self.folder}: choose from {', '.join(self.packs)}"
            )
        if voice not in self._styles:
            path = self.folder / f"{voice}.bin"
            with reading(path, "a voice's pack"):
                values = np.fromfile(path, "<f4")
                if values.size != np.prod(STYLES) or not np.isfinite(values).all():
                    raise InputError(
                        f"{path} holds {values.size} numbers, expected {int(np.prod(STYLES))} "
                        "finite ones"
                    )
            self._styles[voice] = values.reshape(STYLES)
        return self._styles[voice]


def _open(path: Path) -> Any:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            'the synthesiser needs onnx: pip install "jambatalk[onnx]"'
        ) from error
    with reading(path, "an ONNX network"):
        network = onnx.load(path)
    take_durations(network.graph, str(path))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # its warnings are about the network, not about the user's input
    with reading(path, "an ONNX network that runs here"):
        return onnxruntime.InferenceSession(
            network.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )


def take_durations(graph: Any, name: str) -> None:
    """Change an ONNX graph in place: the rounded durations that it predicts become its input
    ``durations`` (1, tokens) float32. InputError when it has no such node.
    """
    import onnx

    found = [node for node in graph.node if node.name == ROUND]
    if len(found) != 1:
        raise InputError(
            f"{name} has {len(found)} nodes {ROUND}, expected the one of Kokoro that rounds the "
            "durations"
        )
    (rounded,) = found[0].output
    for node in graph.node:
        for i, source in enumerate(node.input):
            if source == rounded:
                node.input[i] = DURATIONS
    graph.node.remove(found[0])
    graph.input.append(
        onnx.helper.make_tensor_value_info(DURATIONS, onnx.TensorProto.FLOAT, [1, "tokens"])
    )
