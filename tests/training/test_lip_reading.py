"""Reading lips in training: the paper's reader beside a recognizer, the phone reader beside a
Whisper, and their masks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("transformers", reason="transformers is not installed")

import transformers

from jambatalk.errors import InputError
from jambatalk.models.asr import FeatureCache, SpeechRecognizer, collapsed, network_identity
from jambatalk.models.lip_reader import ctc_per_letter
from jambatalk.text.phones import Timed
from jambatalk.training.distillation import WhisperTeacher
from jambatalk.training.lip_reading import (
    LipReading,
    LipReadingConfig,
    LipTarget,
    PhoneReading,
    PhoneReadingConfig,
)
from small_network import speechlike
from tiny_speech import LETTERS, WIDTH, save_wav2vec2_ctc, save_whisper

TINY = LipReadingConfig(heads=2, layers=1, hidden=24)


@pytest.fixture(scope="module")
def wav2vec2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_wav2vec2_ctc(tmp_path_factory.mktemp("speech") / "wav2vec2")


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_whisper(tmp_path_factory.mktemp("speech") / "whisper")


@torch.no_grad()
def test_the_recognizer_equals_that_of_transformers(wav2vec2: Path) -> None:
    recognizer, samples = SpeechRecognizer(str(wav2vec2)), speechlike(1.3)
    read = recognizer.read(samples, "cpu")
    normal = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)(
        samples, sampling_rate=16000, return_tensors="pt"
    )
    network = transformers.AutoModelForCTC.from_pretrained(wav2vec2).eval()
    assert np.allclose(
        read.latent, network.wav2vec2(normal.input_values).last_hidden_state[0], atol=2e-3
    )
    assert read.letters.tolist() == network(normal.input_values).logits[0].argmax(-1).tolist()
    assert len(read.letters) == recognizer.frames(len(samples)) == 64
    half = read.between(0.5, 1.0)
    assert np.array_equal(half.latent, read.latent[25:50])
    assert half.letters.tolist() == read.letters[25:50].tolist()
    # Greedy decoding as the tokenizer of transformers has it.
    tokenizer = transformers.Wav2Vec2CTCTokenizer(
        str(wav2vec2 / "vocab.json"),
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
    )
    text = collapsed(read.letters, recognizer.blank)
    assert len(set(text)) > 1
    spoken = [
        letter for letter in text if letter > 2
    ]  # the tokenizer drops marks of beginning and end
    assert tokenizer.decode(read.letters, skip_special_tokens=False).replace(" ", "|") in (
        "".join(LETTERS[letter] for letter in text),
        "".join(LETTERS[letter] for letter in spoken),
    )


def test_repetitions_count_once_and_blanks_part_them() -> None:
    assert collapsed(np.array([0, 5, 5, 0, 5, 6, 6, 0, 0]), 0) == [5, 5, 6]
    assert collapsed(np.array([0, 0]), 0) == []
    assert collapsed(np.zeros(0, np.int32), 0) == []


def test_a_text_is_spelled_in_the_recognizers_letters(wav2vec2: Path, tmp_path: Path) -> None:
    recognizer = SpeechRecognizer(str(wav2vec2))
    assert [LETTERS[letter] for letter in recognizer.spelled(" Bad  cab, é")] == [*"bad|cab|"]
    network = transformers.Wav2Vec2Model(transformers.AutoConfig.from_pretrained(wav2vec2))
    network.save_pretrained(tmp_path / "deaf")
    with pytest.raises(
        InputError, match=r"lacks lm_head\.bias: expected a network trained to read letters"
    ):
        SpeechRecognizer(str(tmp_path / "deaf"))
    with pytest.raises(InputError, match="no speech encoder at"):
        SpeechRecognizer(str(tmp_path / "nowhere"))
    transformers.AutoModelForCTC.from_pretrained(wav2vec2).save_pretrained(tmp_path / "mute")
    with pytest.raises(InputError, match=r"no vocab\.json"):
        SpeechRecognizer(str(tmp_path / "mute")).spelled("bad")


def test_what_is_read_is_kept_by_sound_and_network(wav2vec2: Path, tmp_path: Path) -> None:
    first = SpeechRecognizer(str(wav2vec2), tmp_path)
    reading = first.read(speechlike(0.5), "cpu")
    (path,) = tmp_path.rglob("*.npz")
    again = SpeechRecognizer(str(wav2vec2), tmp_path)
    again.network.lm_head = None  # computing again would fail
    assert np.array_equal(again.read(speechlike(0.5), "cpu").latent, reading.latent)
    path.write_bytes(path.read_bytes()[:100])
    assert np.array_equal(
        SpeechRecognizer(str(wav2vec2), tmp_path).read(speechlike(0.5), "cpu").latent,
        reading.latent,
    )
    other = save_wav2vec2_ctc(tmp_path / "other", seed=5)
    assert not np.array_equal(
        SpeechRecognizer(str(other), tmp_path).read(speechlike(0.5), "cpu").latent, reading.latent
    )
    assert len(list(tmp_path.rglob("*.npz"))) == 2


def test_cached_features_are_made_once() -> None:
    made = []

    def make(samples: np.ndarray) -> dict[str, np.ndarray]:
        made.append(len(samples))
        return {"sum": samples.sum(keepdims=True)}

    cache = FeatureCache(None, "a")
    for samples in (np.ones(3, np.float32), np.ones(4, np.float32), np.ones(3, np.float32)):
        assert cache.get(samples, make)["sum"].tolist() == [len(samples)]
    assert made == [3, 4]
    assert network_identity(torch.nn.Linear(2, 2), "a") != network_identity(
        torch.nn.Linear(2, 2), "a"
    )


def test_the_papers_terms_are_mean_squared_error_and_ctc() -> None:
    torch.manual_seed(0)
    reading = LipReading(3, WIDTH, len(LETTERS), 0, TINY).eval()
    lips, latent, text = torch.randn(1, 30, 9), torch.randn(50, WIDTH), torch.tensor([5, 6, 6, 7])
    terms = reading(lips, 30.0, [30], [LipTarget(50, latent, text)])
    ours, logits = reading.reader(lips, 30.0, 50)
    assert terms["latent"].item() == pytest.approx(F.mse_loss(ours[0], latent).item(), rel=1e-6)
    expected = F.ctc_loss(
        logits.log_softmax(-1).transpose(0, 1), text[None], torch.tensor([50]), torch.tensor([4])
    )
    assert terms["ctc"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert set(reading(lips, 30.0, [30], [LipTarget(50, latent)])) == {"latent"}
    assert set(reading(lips, 30.0, [30], [LipTarget(50, None, text)])) == {"ctc"}
    assert not any(name.startswith("reader.text_encoder") for name in reading.state_dict())


def test_ctc_of_an_empty_text_and_of_one_too_long_is_finite() -> None:
    logits = torch.zeros(2, 4, 3, requires_grad=True)
    loss = ctc_per_letter(
        logits, [4, 3], [torch.tensor([], dtype=torch.long), torch.tensor([1, 1, 2, 1])], 0
    )
    # Four blanks of one in three each; the other text needs five frames and has three.
    assert loss.item() == pytest.approx(4 * np.log(3) / 2, rel=1e-5)
    loss.backward()
    assert torch.isfinite(logits.grad).all()


def test_padding_does_not_reach_the_lip_reader() -> None:
    torch.manual_seed(0)
    reading = LipReading(3, WIDTH, len(LETTERS), 0, TINY).eval()
    lips = torch.randn(2, 30, 9)
    lips[1, 20:] = float("nan")
    lips.requires_grad_()
    aims = [
        LipTarget(frames, torch.randn(frames, WIDTH), torch.tensor([5, 6])) for frames in (50, 33)
    ]
    both = reading(lips, 30.0, [30, 20], aims)
    alone = [reading(lips[i : i + 1, :n], 30.0, [n], [aims[i]]) for i, n in ((0, 30), (1, 20))]
    for name, value in both.items():
        assert value.item() == pytest.approx((alone[0][name] + alone[1][name]).item() / 2, rel=1e-5)
    sum(both.values()).backward()
    assert torch.isfinite(lips.grad).all()
    assert (lips.grad[1, 20:] == 0).all()
    assert (lips.grad[1, :20] != 0).any()


PHONES = ("b", "m", "ɑ")
SAID = (
    Timed("sil", 0.0, 0.1),
    Timed("m", 0.1, 0.3),
    Timed("ɑ", 0.3, 0.6),
    Timed("b", 0.6, 0.7),
    Timed("ɑ", 0.7, 1.0),
)


def phone_reader(**changes: object) -> PhoneReading:
    torch.manual_seed(0)
    return PhoneReading(2, PHONES, PhoneReadingConfig(**{"width": 16, "layers": 2, **changes}))


def test_padding_changes_nothing_for_the_phone_reader() -> None:
    reader = phone_reader(teacher_width=5).eval()
    lips, teacher = 0.01 * torch.randn(2, 25, 6), torch.randn(2, 50, 5)
    lips[1, 15:] = float("nan")
    teacher[1, 30:] = float("nan")
    lips.requires_grad_()
    phones, counts = torch.tensor([[2, 3, 1], [1, 0, 0]]), torch.tensor([3, 1])
    both = reader(lips, 25.0, phones, counts, teacher, torch.tensor([25, 15]))
    alone = [
        reader(
            lips[i : i + 1, :n],
            25.0,
            phones[i : i + 1],
            counts[i : i + 1],
            teacher[i : i + 1, : 2 * n],
        )
        for i, n in ((0, 25), (1, 15))
    ]
    assert set(both) == {"ctc", "latent"}
    for name, value in both.items():
        assert value.item() == pytest.approx((alone[0][name] + alone[1][name]).item() / 2, rel=1e-5)
    wanted = torch.autograd.grad((alone[0]["ctc"] + alone[1]["ctc"]) / 2, lips, retain_graph=True)[
        0
    ]
    found = torch.autograd.grad(both["ctc"], lips, retain_graph=True)[0]
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-6 * float(wanted.abs().max()))
    assert (found[1, 15:] == 0).all()
    both["latent"].backward()
    assert torch.isfinite(lips.grad).all()


def test_unknown_phones_are_left_out_and_terms_are_optional() -> None:
    reader = phone_reader().eval()
    lips, phones = 0.01 * torch.randn(2, 25, 6), torch.tensor([[2, 3], [1, 1]])
    known = reader(lips[:1], 25.0, phones[:1], torch.tensor([2]))["ctc"].item()
    assert reader(lips, 25.0, phones, torch.tensor([2, -1]))["ctc"].item() == pytest.approx(
        known, rel=1e-6
    )
    assert reader(lips, 25.0, phones, torch.tensor([-1, -1]))["ctc"].item() == 0.0
    assert reader(lips, 25.0, None, None) == {}
    with pytest.raises(ValueError, match="teacher_width is 0"):
        reader(lips, 25.0, None, None, torch.randn(2, 50, 5))
    with pytest.raises(ValueError, match="no phones"):
        PhoneReading(2, (), PhoneReadingConfig())
    with pytest.raises(ValueError, match="kernel is 4"):
        PhoneReadingConfig(kernel=4)


def test_the_phone_reader_learns_to_read_and_teaches_lips_to_be_read() -> None:
    """Three phones, three shapes of the lips: read after training, and motion is drawn towards what
    was spoken.
    """
    rng = np.random.default_rng(0)
    shapes = rng.normal(0, 0.004, (3, 6))
    rest = torch.full((2, 3), 0.05)

    def sequence(spoken: list[int]) -> torch.Tensor:
        frames = np.concatenate(
            [np.repeat(shapes[[i]], 6, axis=0) + rng.normal(0, 2e-4, (6, 6)) for i in spoken]
        )
        return torch.from_numpy(frames).float() + rest.reshape(-1)

    reader = phone_reader(width=32, layers=3, dropout=0.0)
    reader.set_rest(rest)
    optimizer = torch.optim.Adam(reader.parameters(), 1e-2)
    for _ in range(120):
        spoken = [[int(i) for i in rng.permutation(3)] for _ in range(8)]
        loss = reader(
            torch.stack([sequence(s) for s in spoken]),
            25.0,
            torch.tensor(spoken) + 1,
            torch.full((8,), 3),
        )["ctc"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    still = rest.reshape(1, 1, 6).repeat(1, 18, 1).clone().requires_grad_()
    target, length = torch.tensor([[1, 2, 3]]), torch.tensor([3])
    mover = torch.optim.Adam([still], 3e-4)
    before = reader(still, 25.0, target, length)["ctc"].item()
    for _ in range(40):
        mover.zero_grad()
        reader(still, 25.0, target, length)["ctc"].backward()
        mover.step()
    assert reader(still, 25.0, target, length)["ctc"].item() < 0.2 * before


@torch.no_grad()
def test_the_teacher_equals_whisper_of_transformers(whisper: Path, tmp_path: Path) -> None:
    teacher, samples = WhisperTeacher(str(whisper), 1, tmp_path / "cache"), speechlike(1.5)
    found = teacher.features(samples)
    assert found.shape == (75, WIDTH) == (75, teacher.width)
    assert found.dtype == np.float16
    network = transformers.WhisperModel.from_pretrained(whisper).eval()
    extractor = transformers.WhisperFeatureExtractor(feature_size=20, chunk_length=2)
    mel = extractor(samples, sampling_rate=16000, return_tensors="pt").input_features
    states = network.encoder(mel, output_hidden_states=True).hidden_states
    assert np.allclose(found, states[1][0, :75], atol=5e-3)
    (path,) = (tmp_path / "cache").rglob("*.npz")
    assert np.array_equal(
        WhisperTeacher(str(whisper), 1, tmp_path / "cache").features(samples), found
    )
    assert not np.array_equal(
        WhisperTeacher(str(whisper), 2, tmp_path / "cache").features(samples), found
    )
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 2
    assert path.stat().st_size < 2 * found.nbytes + 1000


def test_the_teacher_computes_long_clips_in_pieces(whisper: Path, wav2vec2: Path) -> None:
    teacher, samples = WhisperTeacher(str(whisper), 2), speechlike(5.3)
    found = teacher.features(samples)
    assert found.shape == (265, WIDTH)
    assert np.isfinite(found).all()
    # The first piece is computed with what follows it, as Whisper computes two seconds.
    whole = teacher.features(samples[:32000])
    assert np.abs(found[:50].astype(float) - whole[:50]).max() < 0.1 * whole.astype(float).std()
    with pytest.raises(InputError, match="'wav2vec2', expected Whisper"):
        WhisperTeacher(str(wav2vec2), 1)
    with pytest.raises(InputError, match="layer is 3"):
        WhisperTeacher(str(whisper), 3)
