"""Decoding block by block equals decoding at once, in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jambatalk.audio import Speech, open_blocks
from jambatalk.audio.speech import gather
from jambatalk.errors import InputError
from sounds import FORMATS, encode, tone

NOISE = np.random.default_rng(1).uniform(-0.9, 0.9, (30011, 2)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    seconds=st.floats(1e-4, 5.0),
    rate=st.sampled_from([8000, 11025, 16000, 44100, 48000]),
    length=st.integers(1, 30011),
)
def test_blocks_joined_equal_the_whole(seconds, rate, length):
    whole = Speech.load(NOISE[:length], rate=rate).samples
    blocks = list(open_blocks(NOISE[:length], rate, seconds=seconds))
    size = max(1, round(seconds * 16000))
    assert all(len(block) == size for block in blocks[:-1])
    assert 0 < len(blocks[-1]) <= size
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "ogg", "m4a"])
def test_blocks_of_files(name):
    data = encode(name, tone(3.0, FORMATS[name][2]), channels=2)
    whole = Speech.load(data)
    for seconds in (0.013, 0.5, 100.0):
        np.testing.assert_array_equal(
            np.concatenate(list(open_blocks(data, seconds=seconds))), whole.samples
        )
        np.testing.assert_array_equal(np.concatenate(list(whole.blocks(seconds))), whole.samples)


def test_block_length_is_checked():
    with pytest.raises(InputError, match="a block lasts 0"):
        open_blocks(b"x", seconds=0)


def test_long_sound_goes_to_a_memory_map():
    pieces = [NOISE[i : i + 1000, 0] for i in range(0, 30000, 1000)]
    expected = np.concatenate(pieces)
    mapped = gather(iter(pieces), limit=0.5)
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, expected)
    assert not isinstance(gather(iter(pieces), limit=10.0), np.memmap)
    speech = Speech(mapped)
    assert isinstance(speech.samples, np.memmap)
    np.testing.assert_array_equal(np.concatenate(list(speech.blocks(0.1))), expected)
    np.testing.assert_array_equal(
        speech.samples, expected
    )  # still readable after its pages were given back


def test_hours_of_sound_pass_in_bounded_memory():
    """An hour of 8 kHz sound is generated, decoded and walked through while Python's own memory
    stays small.
    """
    import io
    import tracemalloc

    import soundfile

    out = io.BytesIO()
    with soundfile.SoundFile(out, "w", 8000, 1, "PCM_U8", format="WAV") as file:
        minute = tone(60.0, 8000)
        for _ in range(60):
            file.write(minute)
    out.seek(0)
    tracemalloc.start()
    try:
        count = sum(len(block) for block in open_blocks(out))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 3600 * 16000
    assert peak < 20e6  # the whole would be 230 MB
