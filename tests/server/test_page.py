"""The page in a real browser against a real server: what it shows is what the network gives, in
time with the sound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import jambatalk
from browser_page import DEMO, STEP, TOKEN, Array, Visit, browser, server, websockets
from jambatalk.audio import Speech
from jambatalk.motion import Motion

__all__ = ["browser", "server"]  # fixtures


@pytest.fixture(scope="module")
def offline() -> Motion:
    return jambatalk.load().animate(Speech.load(DEMO.read_bytes()))


def _column(motion: Motion, name: str, times: Array) -> Array:
    """(n,) weights at times in seconds, straight lines between frames."""
    assert motion.weights is not None
    return np.interp(
        times, np.arange(len(motion)) / motion.fps, motion.weights[:, motion.names.index(name)]
    )


def _best_lag(curve: Any, reference: Array) -> tuple[float, float]:
    """Seconds by which the reference has to be late to be most like the curve, and their
    correlation then."""
    lags = np.arange(-0.4, 0.4001, 0.005)
    alike = [np.corrcoef(curve(lag), reference)[0, 1] for lag in lags]
    return float(lags[int(np.argmax(alike))]), float(max(alike))


def test_the_sample_shows_the_offline_result_on_the_clock_of_the_sound(
    browser: Any, server: str, offline: Motion
) -> None:
    visit = Visit(browser, server).ready()
    visit.page.click("#sample")
    visit.until("jambatalk.telemetry.at(-1)?.t > 5 && jambatalk.source.complete")
    visit.page.keyboard.press("Escape")
    times, jaw, sound = (visit.shown(name) for name in ("t", "jawOpen", "sound"))
    assert len(times) > 10  # software WebGL draws as many pictures as the machine has time for
    assert np.ptp(times) > 4
    wrong = np.abs(jaw - _column(offline, "jawOpen", times))
    behind = sound - times
    print(
        f"\nsample: {len(times)} pictures, jawOpen off by at most {wrong.max():.5f}, media time "
        f"behind the AudioContext's clock by {1000 * np.median(behind):.0f} ms, "
        f"{1000 * behind.min():.0f} to "
        f"{1000 * behind.max():.0f} ms"
    )
    assert wrong.max() < 2e-3
    # The face goes with what is heard, which the context made a moment (its output latency) before.
    # On a busy machine the clock of the sound may come late once.
    assert np.sort(behind)[1] > -0.03
    assert np.all(behind < 0.3)
    # Again, without the server.
    before = visit.page.evaluate("performance.getEntriesByType('resource').length")
    visit.page.click("#again")
    visit.until(
        "jambatalk.source.kind === 'clip' && jambatalk.source.earlier"
        " && jambatalk.source.soundTime > 0.5"
    )
    visit.page.click("#microphone")
    visit.until("jambatalk.source.over")
    assert visit.page.evaluate("performance.getEntriesByType('resource').length") == before
    visit.leave()


def test_the_microphone_moves_the_mouth_as_offline(
    browser: Any, server: str, offline: Motion
) -> None:
    visit = Visit(browser, server).ready()
    visit.page.click("#microphone")
    visit.until("jambatalk.source?.sent > 7")
    visit.page.keyboard.press("Escape")
    visit.until("jambatalk.source.over")
    level = np.array(visit.page.evaluate("jambatalk.source.levels"))
    times, sound = (visit.shown(name) for name in ("t", "sound"))
    beyond = visit.page.evaluate("jambatalk.source.latency.quantile(0.5)")

    # Against the offline result of the very samples that left the page.
    left = np.frombuffer(bytes(visit.sent), "<i2").astype(np.float32) / 32767
    rate = visit.page.evaluate("jambatalk.source.context.sampleRate")
    own = jambatalk.load().animate(Speech.load(left, rate))
    place = visit.page.evaluate("jambatalk.source.track.names").index("jawOpen")
    received = np.array(
        visit.page.evaluate(
            f"jambatalk.source.track.frames.map((one) => [one.time, one.weights[{place}]])"
        )
    )
    wrong = np.abs(received[:, 1] - _column(own, "jawOpen", received[:, 0]))
    print(
        f"\nmicrophone: {len(left) / rate:.2f} s at {rate:.0f} Hz, {len(received)} frames, "
        f"jawOpen off by at most {wrong.max():.5f} from that of the sound sent; "
        f"{len(times)} pictures"
    )
    # Sixteen bits and another path through the resampler. The frames rather than the pictures: on
    # a busy machine a frame may come after the picture it was for, which then shows the one before.
    assert wrong.max() < 0.03
    assert len(received) >= round(7 * own.fps) - 10

    # Where the recording lies in what the page sent: by its loudness, not by the mouth.
    samples, rate = soundfile.read(str(DEMO), dtype="float32")
    step = round(STEP * rate)
    loud = np.sqrt(np.mean(samples[: len(samples) // step * step].reshape(-1, step) ** 2, axis=1))
    grid = np.arange(len(level)) * STEP

    def heard(late: float) -> Array:
        return np.interp(grid - late, np.arange(len(loud)) * STEP, loud, 0.0, 0.0)

    offsets = np.arange(-0.5, 2.0, 0.0025)
    alike = [np.corrcoef(heard(offset), level)[0, 1] for offset in offsets]
    offset = float(offsets[int(np.argmax(alike))])

    end = min(offset + len(offline) / offline.fps - 0.2, 7.0)
    came = received[(received[:, 0] > offset + 0.2) & (received[:, 0] < end)]
    lag, likeness = _best_lag(
        lambda late: _column(offline, "jawOpen", came[:, 0] - offset - late), came[:, 1]
    )
    inside = (times > offset + 0.2) & (times < end)
    times, sound = times[inside], sound[inside]
    print(
        f"the recording begins {offset:.3f} s into the sound sent "
        f"(loudness r {max(alike):.3f}); jawOpen r {likeness:.3f} at a lag of "
        f"{1000 * lag:.0f} ms of media time; shown "
        f"{1000 * np.median(sound - times):.0f} ms after the sound left the page; frames "
        f"came {1000 * beyond:.0f} ms beyond the "
        "look-ahead"
    )
    assert max(alike) > 0.95
    assert len(times) > 10  # software WebGL draws as many pictures as the machine has time for
    # The browser's echo cancellation and gain change the sound a little.
    assert likeness > 0.85
    assert abs(lag) <= 0.04
    visit.leave()


def test_a_refused_microphone_is_said_in_words(browser: Any, server: str) -> None:
    visit = Visit(browser, server, permissions=()).ready()
    visit.page.click("#microphone")
    assert "microphone is not allowed" in visit.trouble()
    for name, words in (
        ("NotFoundError", "No microphone was found"),
        ("NotReadableError", "another program may be using it"),
    ):
        visit.page.evaluate(
            "(name) => { navigator.mediaDevices.getUserMedia ="
            " () => Promise.reject(new DOMException('no', name)) }",
            name,
        )
        visit.page.click("#retry")
        visit.until(f"document.getElementById('error-text').textContent.includes({words!r})")
    assert visit.page.inner_text("#microphone") == "Talk"
    visit.leave()


def test_a_wrong_token_and_a_busy_server_are_said_in_words(browser: Any, server: str) -> None:
    visit = Visit(browser, server, token="not-the-token")
    assert "wants its token" in visit.trouble()
    visit.context.close()

    visit = Visit(browser, server).ready()
    assert "token" not in visit.page.url
    assert TOKEN not in visit.page.evaluate("JSON.stringify(localStorage)")
    with websockets.connect(f"ws://{server}/v1/stream", proxy=None) as other:
        other.send(f'{{"type": "start", "token": "{TOKEN}"}}')
        assert '"ready"' in other.recv()
        visit.page.click("#sample")
        assert "busy" in visit.trouble()
    # The other has left: trying again works.
    for _ in range(40):
        visit.page.click("#retry")
        visit.page.wait_for_timeout(300)
        if visit.page.is_hidden("#error"):
            break
    visit.until("jambatalk.telemetry.length > 0")
    visit.leave()


def test_a_file_of_ones_own_and_the_saved_motion(
    browser: Any, server: str, offline: Motion, tmp_path: Path
) -> None:
    samples, rate = soundfile.read(str(DEMO), dtype="float32")
    own = tmp_path / "own.wav"
    soundfile.write(own, np.stack([samples[: 2 * rate]] * 2, axis=1), rate)
    visit = Visit(browser, server).ready()
    visit.page.set_input_files("#file", own)
    visit.until("jambatalk.source?.over")
    visit.page.click("#settings-open")
    with visit.page.expect_download() as download:
        visit.page.click("#save-motion")
    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    found = Motion.load(saved)  # the file that `jambatalk animate` reads and writes
    rows = found.weights
    assert rows is not None
    assert (found.names, found.fps) == (offline.names, offline.fps)
    # Frames whose look-ahead lies within the two seconds are those of the whole recording.
    assert offline.weights is not None
    np.testing.assert_allclose(rows[:44], offline.weights[:44], atol=2e-3)
    visit.page.set_input_files(
        "#file", {"name": "text.wav", "mimeType": "audio/wav", "buffer": b"no sound at all"}
    )
    assert "cannot read that file" in visit.trouble()
    visit.leave()


def test_a_dropped_file_plays(browser: Any, server: str, offline: Motion) -> None:
    visit = Visit(browser, server).ready()
    visit.page.evaluate(
        """async (token) => {
          const reply = await fetch("v1/demo.flac", { headers: { Authorization: `Bearer ${token}` }
          });
          const data = new DataTransfer();
          data.items.add(new File([await reply.blob()], "mine.flac", { type: "audio/flac" }));
          for (const kind of ["dragenter", "dragover"])
            dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true
            }));
          window.dropping = !document.getElementById("drop").hidden;
          dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true
          }));
        }""",
        TOKEN,
    )
    assert visit.page.evaluate("dropping")
    assert visit.page.is_hidden("#drop")
    visit.until("jambatalk.source?.kind === 'clip' && jambatalk.telemetry.at(-1)?.t > 1.5")
    visit.page.keyboard.press("Escape")
    times, jaw = visit.shown("t"), visit.shown("jawOpen")
    assert np.abs(jaw - _column(offline, "jawOpen", times)).max() < 2e-3
    visit.leave()


def test_a_recording_is_a_video_with_sound(browser: Any, server: str, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    visit = Visit(browser, server).ready()
    visit.page.click("#record")
    visit.page.click("#sample")
    visit.until("jambatalk.telemetry.at(-1)?.t > 2")
    with visit.page.expect_download() as download:
        visit.page.click("#record")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.suffix in (".mp4", ".webm")
    with av.open(str(path)) as found:
        assert found.duration is not None, "the file does not say how long it is"
        assert 1.5e6 < found.duration < 60e6
        video, sound = found.streams.video[0], found.streams.audio[0]
        pictures, blocks = [], []
        for packet in found.demux(video, sound):
            for frame in packet.decode():
                (pictures if packet.stream is video else blocks).append(frame)
    seconds = sum(block.samples / block.sample_rate for block in blocks)
    loud = max(float(np.abs(block.to_ndarray().astype(np.float32)).max()) for block in blocks)
    seen = np.stack(
        [
            picture.to_ndarray(format="rgb24")[::8, ::8].astype(np.float32)
            for picture in (pictures[0], pictures[-1])
        ]
    )
    print(
        f"\nrecording: {path.suffix}, {len(pictures)} pictures of {video.width}x{video.height}, "
        f"{seconds:.2f} s of sound"
    )
    assert len(pictures) > 2
    assert (video.width, video.height) == (240, 320)
    assert 2 < seconds < 60
    assert loud > 0.01
    assert seen.std() > 20  # a head, not an empty canvas
    visit.leave()
