"""A prepared corpus of vertices made up on the spot: a little mask whose mouth opens, with sound,
words and phones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jambatalk.datasets.dataset import FORMAT, VERSION, write_array, write_clip, write_json

FPS, FRAMES, GRID = 25.0, 40, 11
VERTICES = GRID * GRID
"""A sheet of 11 x 11 vertices with a slit for a mouth; rows from the forehead down."""
UPPER, LOWER = 6 * GRID + 5, 7 * GRID + 5
LIPS = [row * GRID + column for row in (6, 7) for column in range(3, 8)]
FOREHEAD = list(range(3 * GRID))
WORDS = [["sil", 0.0, 0.2], ["bop", 0.2, 0.8], ["mow", 0.8, 1.6]]
PHONES = [
    ["sil", 0.0, 0.2],
    ["b", 0.2, 0.32],
    ["ɑ", 0.32, 0.64],
    ["p", 0.64, 0.8],
    ["m", 0.8, 0.92],
    ["oʊ", 0.92, 1.3],
    ["f", 1.3, 1.44],
    ["sil", 1.44, 1.6],
]


def mask() -> tuple[np.ndarray, np.ndarray]:
    """(V, 3) centimetres and (F, 3): a bulging sheet, open between the sixth and the seventh row of
    the middle."""
    rows, columns = np.divmod(np.arange(VERTICES), GRID)
    x, y = (columns - 5.0) * 1.4, (5.0 - rows) * 1.8
    y[rows == 7] += 1.6  # the lips nearly touch
    vertices = np.stack([x, y, 6 - 0.06 * (x**2 + 0.7 * y**2)], 1).astype(np.float32)
    triangles = []
    for row in range(GRID - 1):
        for column in range(GRID - 1):
            if row == 6 and 3 <= column < 7:
                continue  # the mouth
            a, b = row * GRID + column, row * GRID + column + 1
            c, d = a + GRID, b + GRID
            triangles += [[a, c, b], [b, c, d]]
    return vertices, np.array(triangles, np.int32)


def talking(seed: int) -> np.ndarray:
    """(T, V, 3) offsets: the lower lip and the chin open in the vowels, the forehead trembles."""
    rng = np.random.default_rng(seed)
    t = np.arange(FRAMES) / FPS
    opening = np.clip(np.sin(np.pi * (t - 0.28) / 0.4), 0, None) * (t < 0.7) + 0.7 * np.clip(
        np.sin(np.pi * (t - 0.9) / 0.4), 0, None
    ) * ((t > 0.88) & (t < 1.32))
    offsets = np.zeros((FRAMES, VERTICES, 3))
    offsets[:, 7 * GRID :, 1] = -(1.0 + 0.2 * rng.normal()) * opening[:, None]
    offsets[:, FOREHEAD] += 0.02 * rng.normal(size=(FRAMES, 1, 3))
    return offsets.astype(np.float32)


def write_talk(
    folder: Path, test_clips: int = 7, speakers: int = 2, phones: bool = True
) -> dict[str, np.ndarray]:
    """Two training clips and some in the split "test"; gives clip -> true offsets."""
    vertices, triangles = mask()
    (folder / "clips").mkdir(parents=True)
    (folder / "templates").mkdir()
    subjects = {f"s{n}": f"templates/s{n}.npy" for n in range(speakers)}
    for n, path in enumerate(subjects.values()):
        write_array(folder / path, vertices * np.float32(1 + 0.02 * n))
    write_array(folder / "triangles.npy", triangles)
    write_json(
        folder / "regions.json", {"lips": LIPS, "upper_face": FOREHEAD, "opening": [UPPER, LOWER]}
    )
    truth, records = {}, []
    for n in range(test_clips + 2):
        name = f"clip{n}"
        truth[name] = talking(n)
        t = np.arange(round(FRAMES / FPS * 16000)) / 16000
        loud = np.interp(t, np.arange(FRAMES) / FPS, -truth[name][:, LOWER, 1])
        sound = (0.2 * loud * np.sin(2 * np.pi * (140 + 10 * n) * t)).astype(np.float32)
        details = {
            "subject": f"s{n % speakers}",
            "sentence": name,
            "splits": {"speaker": "train" if n < 2 else "test"},
            "fps": FPS,
            "text": "bop mow",
            "phones": PHONES if phones else None,
            "words": WORDS,
        }
        records.append(write_clip(folder, name, truth[name], sound, details))
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "corpus": "talk",
        "licence": "made up",
        "source": "talk",
        "unit": "centimetres",
        "fps": FPS,
        "motion": "offsets",
        "vertices": VERTICES,
        "subjects": subjects,
        "schemes": ["speaker"],
        "failed": {},
        "clips": records,
    }
    write_json(folder / "manifest.json", manifest)
    return {name: offsets for name, offsets in truth.items() if int(name[4:]) >= 2}


def write_predictions(
    folder: Path, truth: dict[str, np.ndarray], gain: float = 1.0, late: int = 0, noise: float = 0.0
) -> Path:
    """A folder of <clip>.npy: the truth times ``gain``, ``late`` frames behind, with trembling of
    ``noise`` centimetres."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(len(folder.name))
    for name, offsets in truth.items():
        moved = gain * np.roll(offsets, late, axis=0) + noise * rng.normal(
            size=(len(offsets), 1, 1)
        )
        np.save(folder / f"{name}.npy", moved.astype(np.float32))
    return folder
