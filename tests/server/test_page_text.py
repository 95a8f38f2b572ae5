"""Typed text in a real browser: the face goes with the browser's voice, word by word."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("playwright.sync_api")
from browser_page import Visit, browser, server
from jambatalk.face.head import default_head
from jambatalk.server.text_to_motion import FPS, SpeakRequest, answer

__all__ = ["browser", "server"]  # fixtures

TEXT = "Mama buys big maps. Peter puts them away."

# A voice that is slower than the server thinks, breathes after a sentence, and tells where it is,
# as real ones do.
VOICE = """
window.SpeechSynthesisUtterance = class { constructor(text) { this.text = text } };
const spoken = { cancelled: 0, starts: [] };
window.spoken = spoken;
let timer = null;
Object.defineProperty(window, "speechSynthesis", { value: {
  getVoices: () => [{ name: "Test", voiceURI: "test", lang: "en-GB" }],
  addEventListener() {},
  cancel() { spoken.cancelled += 1; clearTimeout(timer) },
  speak(one) {
    const words = [...one.text.matchAll(/[a-z]+/gi)];
    let k = 0;
    const next = () => {
      if (k === 0) one.onstart?.({});
      if (k === words.length) { one.onend?.({}); return }
      one.onboundary?.({ name: "word", charIndex: words[k].index });
      spoken.starts.push(performance.now() / 1000);
      const [word, ends] = [words[k][0], one.text[words[k].index + words[k][0].length] === "."];
      k += 1;
      timer = setTimeout(next, 150 + 80 * word.length + (ends ? 500 : 0));
    };
    timer = setTimeout(next, 50);
  },
} });
"""


def _visit(browser: Any, server: str) -> Visit:
    context = browser.new_context
    try:
        # The voice has to be there before the page's own script runs.
        def with_voice(**options: Any) -> Any:
            made = context(**options)
            made.add_init_script(VOICE)
            return made

        browser.new_context = with_voice
        return Visit(browser, server).ready()
    finally:
        browser.new_context = context


def test_the_face_goes_with_the_browsers_voice(browser: Any, server: str) -> None:
    visit = _visit(browser, server)
    visit.page.click("#speak-open")
    visit.page.fill("#text", TEXT)
    visit.page.keyboard.press("Enter")
    visit.until("jambatalk.source?.kind === 'spoken' && jambatalk.source.over")
    found = visit.page.evaluate(
        "({ words: jambatalk.source.words, names: jambatalk.source.track.names })"
    )
    starts = np.array(visit.page.evaluate("spoken.starts"))
    rows = visit.page.evaluate("jambatalk.telemetry.filter((row) => row.share === 1)")
    assert [word["text"] for word in found["words"]] == TEXT.replace(".", "").split()
    at, media, jaw = (np.array([row[name] for row in rows]) for name in ("at", "t", "jawOpen"))
    assert len(at) > 4
    # What is shown is the server's motion at the shown media time ...
    motion = json.loads(answer(SpeakRequest(text=TEXT)))
    weights = np.array(motion["weights"])[:, motion["names"].index("jawOpen")]
    wrong = np.abs(jaw - np.interp(media, np.arange(len(weights)) / FPS, weights))
    # ... and that follows the voice, which is slower than the server's guess.
    begins, ends = (np.array([word[name] for word in found["words"]]) for name in ("start", "end"))
    said = np.searchsorted(starts, at, "right") - 1  # the word that the voice is at
    inside = (said > 0) & (
        at > starts[said] + 0.2
    )  # the picture before the report is another word's
    early, late = (media - ends[said])[inside], (begins[said] - media)[inside]
    pause = np.array([*(begins[1:] - ends[:-1]), 1.0])[said][inside]
    print(
        f"\ntext: {len(at)} pictures, jawOpen off by at most {wrong.max():.4f}, "
        f"media time at most {(early - pause).max():.3f} s "
        f"past the voice's word and {late.max():.3f} s before it"
    )
    assert wrong.max() < 2e-3
    assert inside.sum() > 4
    assert (early - pause).max() < 0.02
    assert late.max() < 0.1
    assert set(found["names"]) <= set(default_head().names)
    visit.leave()


def test_text_that_cannot_be_said_and_stopping(browser: Any, server: str) -> None:
    visit = _visit(browser, server)
    visit.page.click("#speak-open")
    visit.page.fill("#text", "???")
    visit.page.keyboard.press("Enter")
    assert "no English word" in visit.trouble()
    assert [words for words in visit.wrong if "422" not in words] == []
    visit.wrong.clear()
    visit.page.fill("#text", TEXT)
    visit.page.keyboard.press("Enter")
    visit.until("jambatalk.source?.soundTime > 0.3")
    before = visit.page.evaluate("spoken.cancelled")
    visit.page.click("#microphone")  # says Stop
    visit.until("jambatalk.source.over")
    assert visit.page.evaluate("spoken.cancelled") > before
    visit.leave()
