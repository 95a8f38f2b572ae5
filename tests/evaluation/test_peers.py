"""benchmarks/quality/peers: the fit finds what was put in; the stub of Web Audio is one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from jambatalk.text.phones import Timed

PEERS = Path(__file__).resolve().parents[2] / "benchmarks/quality/peers"
LATE = 0.12  # seconds


@pytest.fixture
def same_fit(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(PEERS))
    import same_fit

    yield same_fit
    sys.modules.pop("same_fit", None)


def curves(rng: np.random.Generator, seconds: float, rate: float, late: float) -> np.ndarray:
    """Three slow curves, sampled ``late`` seconds after the time that they are of: (T, 3)."""
    times = np.arange(round(seconds * rate)) / rate - late
    parts = rng.uniform(0.5, 3.0, (3, 4)), rng.uniform(0, 6, (3, 4))
    return np.sin(2 * np.pi * parts[0][..., None] * times + parts[1][..., None]).sum(1).T


def test_fit_finds_lag_and_map(same_fit: ModuleType) -> None:
    """Outputs that are late by 120 ms, and a mouth that is linear in them."""
    outputs, clips = {}, []
    linear = np.array([[1.0, 0.2], [-0.5, 2.0], [0.0, -1.0]])
    for n in range(12):
        truth = curves(np.random.default_rng(n), 3.0, 25.0, 0.0) @ linear + [4.0, 50.0]
        late = curves(np.random.default_rng(n), 3.4, 60.0, LATE)
        # A column that never moves must not matter.
        outputs[str(n)] = same_fit.Output(np.hstack([late, np.zeros((len(late), 1))]), 60.0, 0.1)
        clips.append(same_fit.Filmed(str(n), "none", 0, slice(5, 70), truth[:, 0], truth[:, 1]))
    fit = same_fit.fit_mouth(outputs, clips[:8])
    assert fit.lag == pytest.approx(LATE, abs=0.021)
    mouths = {name: same_fit.use_fit(output, fit) for name, output in outputs.items()}
    found = same_fit.score_filmed(mouths, clips[8:])
    assert found["opening, none"].value > 0.99
    assert found["width, none"].value > 0.99
    assert found["opening, none"].count == 4
    wrong = {str(n): mouths[str((n + 1) % 4 + 8)] for n in range(8, 12)}
    assert same_fit.score_filmed(wrong, clips[8:])["opening, none"].value < 0.6


def test_a_lead_is_skipped(same_fit: ModuleType) -> None:
    truth = curves(np.random.default_rng(1), 3.0, 25.0, 0.0)
    rows = np.vstack([np.zeros((50, 2)), truth[:, :2]])
    clip = same_fit.Filmed("a", "zeros 2 s", 50, slice(0, 75), truth[:, 0], truth[:, 1])
    found = same_fit.score_filmed({"a": same_fit.Output(rows, 25.0)}, [clip])
    assert found["opening, zeros 2 s"].value == pytest.approx(1.0)


def test_late_outputs_are_read_where_they_are(same_fit: ModuleType) -> None:
    """One column for each phone, 120 ms late: read there all are right, without the lag few are."""
    names = ("m", "f", "s", "k", "i", "u", "ɑ")
    outputs, sentences = {}, []
    for n in range(10):
        order = np.random.default_rng(n).permutation(len(names))
        phones = [Timed(names[p], 0.2 + 0.1 * k, 0.3 + 0.1 * k) for k, p in enumerate(order)]
        rows = np.random.default_rng(n).normal(0, 0.05, (150, len(names)))
        for k, p in enumerate(order):
            start = round((0.2 + 0.1 * k + LATE) * 100)
            rows[start : start + 10, p] += 1.0
        outputs[str(n)] = same_fit.Output(rows, 100.0)
        sentences.append(same_fit.Spoken(str(n), tuple(phones)))
    lag, _ = timing = same_fit.choose_legible(outputs, sentences)
    assert lag == pytest.approx(LATE, abs=0.13)  # one of three frames, 80 ms apart, is enough
    assert same_fit.score_spoken(outputs, [sentences], timing)["legibility"].value == 1.0
    assert same_fit.score_spoken(outputs, [sentences], (lag - 0.5, 0.0))["legibility"].value < 0.5


@pytest.mark.skipif(shutil.which("node") is None, reason="no node on this machine")
def test_analyser_and_worklet_do_what_the_specification_says(tmp_path: Path) -> None:
    """A tone's bytes after the formula of AnalyserNode; a worklet counts blocks and answers."""
    script = tmp_path / "check.mjs"
    script.write_text(
        """
        const { installBrowser, play } = await import(process.argv[2]);
        installBrowser(48000);
        registerProcessor("echo", class extends AudioWorkletProcessor {
          static get parameterDescriptors() { return [{ name: "gain", defaultValue: 3 }]; }
          process([[block]], outputs, { gain }) {
            this.port.postMessage({ length: block.length, gain: gain[0], time: currentTime });
          }
        });
        const node = new AudioWorkletNode({}, "echo");
        const messages = [];
        node.port.onmessage = ({ data }) => messages.push(data);
        const analyser = new AudioContext().createAnalyser();
        const samples = Float32Array.from({ length: 48000 }, (_, i) =>
          0.01 * Math.sin((2 * Math.PI * 64 * i) / 2048));
        const bytes = new Uint8Array(analyser.frequencyBinCount);
        let draws = 0;
        play(samples, 60, (block) => { node.feed(block); analyser.feed(block); }, () => {
          analyser.getByteFrequencyData(bytes);
          draws += 1;
        });
        console.log(JSON.stringify({
          draws, blocks: messages.length, last: messages.at(-1), clock: performance.now(),
          bytes: Array.from(bytes.slice(60, 69)),
        }));
        """
    )
    address = (PEERS / "web_audio.mjs").as_uri()
    done = subprocess.run(["node", script, address], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["draws"] == 60
    assert found["last"] == {"length": 128, "gain": 3, "time": found["clock"] / 1000}
    assert found["blocks"] == pytest.approx(59 / 60 * 375, abs=2)
    # A tone in the middle of bin 64 under a Blackman window: 0.42, 0.25 and 0.04 of half its size.
    sizes = 0.01 / 2 * np.array([0.04, 0.25, 0.42, 0.25, 0.04])
    # 60 calls of smoothing from zero.
    decibels = 20 * np.log10(sizes * (1 - 0.8**60))
    expected = np.floor(255 / 70 * (decibels + 100))
    assert found["bytes"][2:7] == pytest.approx(list(expected), abs=2)
    assert max(found["bytes"][0], found["bytes"][8]) < 30


@pytest.mark.skipif(shutil.which("node") is None, reason="no node on this machine")
def test_an_unknown_peer_is_named_in_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        ["node", PEERS / "run.mjs", "nobody", tmp_path, tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "peers: wlipsync-vowels" in done.stderr
