"""A voice agent's events, as a Realtime API sends them, with the face's motion between them."""

from __future__ import annotations

import base64
from importlib.resources import files

import jambatalk
from jambatalk.agents import RealtimeMotion

RATE = 16000
PIECE = 641  # bytes: a network cuts where it likes, also within a sample


def main() -> None:
    motion = RealtimeMotion(jambatalk.load())  # one per connection
    speech = jambatalk.Speech.load(files("jambatalk") / "assets" / "demo.flac")
    sound = (speech.samples * 32767).astype("<i2").tobytes()

    # The API says what its sound is like; without a word it is 24 kHz.
    sizes = {"audio": {"output": {"format": {"type": "audio/pcm", "rate": RATE}}}}
    motion.feed({"type": "session.updated", "session": sizes})

    # What the API would send: deltas, faster than they are played, and the end of the sound.
    stream = [
        {
            "type": "response.output_audio.delta",
            "item_id": "item_1",
            "delta": base64.b64encode(sound[start : start + PIECE]).decode(),
        }
        for start in range(0, len(sound), PIECE)
    ]
    stream.append({"type": "response.output_audio.done", "item_id": "item_1"})

    frames, jaw = 0, 0
    for event in stream:
        for out in motion.feed(event):  # send these to the client, in this order
            if out["type"] == "response.output_audio.blendshapes":
                if "names" in out:
                    jaw = out["names"].index("jawOpen")
                frames += len(out["weights"])
                if frames % 25 == 0:
                    print(f"{out['offset_ms']:.0f} ms  jaw {out['weights'][0][jaw]:.2f}")
    print(f"{frames} frames beside {len(sound) / 2 / RATE:.2f} s of sound")

    # The user begins to speak in the middle of the next answer.
    for event in stream[:300]:
        motion.feed(event | {"item_id": "item_2"})
    for out in motion.feed({"type": "input_audio_buffer.speech_started"}):
        print(out["type"], out.get("item_id", ""))
    late = [out for event in stream[300:] for out in motion.feed(event | {"item_id": "item_2"})]
    print(f"after it: {sum('weights' in out for out in late)} frames of the old answer")


if __name__ == "__main__":
    main()
