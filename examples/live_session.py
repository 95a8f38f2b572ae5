"""Frames while sound comes in, as a microphone or a voice over the network would bring it."""

from __future__ import annotations

from importlib.resources import files

import jambatalk

RATE = 16000
PIECE = 320  # samples: 20 ms


def main() -> None:
    talker = jambatalk.load()
    speech = jambatalk.Speech.load(files("jambatalk") / "assets" / "demo.flac")
    session = talker.stream(rate=RATE)
    print(f"a frame waits for {session.look_ahead_ms:.0f} ms of sound after its own time")

    # A turn: frames come out while sound goes in, the last ones when the turn ends.
    first = speech.samples[: 2 * RATE]
    count = 0
    for start in range(0, len(first), PIECE):
        for frame in session.push(first[start : start + PIECE]):
            count += 1
            if count % 10 == 0:
                print(f"{frame.time:.2f} s  jaw {frame['jawOpen']:.2f}")
    count += len(session.flush())
    print(f"turn 1: {count} frames")

    # The second turn is interrupted: what was not shown is dropped, and the face goes to rest.
    session.push(speech.samples[2 * RATE : 3 * RATE])
    rest = session.interrupt()
    print(f"turn 2: interrupted, {len(rest)} frames to rest, jaw {rest[-1]['jawOpen']:.2f}")

    # A session can be stored; another process goes on from it, bit-exactly.
    piece = speech.samples[3 * RATE : 4 * RATE]
    session.push(piece)
    stored = session.save()
    other = talker.restore(stored)
    same = [f.weights.tolist() for f in session.push(piece)] == [
        f.weights.tolist() for f in other.push(piece)
    ]
    print(f"stored in {len(stored) / 1000:.0f} kB, the restored session gives the same: {same}")


if __name__ == "__main__":
    main()
