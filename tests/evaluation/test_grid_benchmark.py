"""scripts/grid_benchmark.py: seeds are joined, the verdicts stand in the text, weights are found in the runs' folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jambatalk.baselines import save_baseline
from jambatalk.baselines.bigru import VertexBiGRU, VertexBiGRUConfig
from jambatalk.baselines.visemes import VISEMES, Dominance, Visemes, save_visemes
from jambatalk.datasets.dataset import write_json
from jambatalk.models.config import EncoderConfig
from tiny_talk import VERTICES, write_talk

SCRIPT = Path(__file__).parents[2] / "scripts" / "grid_benchmark.py"


def corpus(folder: Path) -> Path:
    """Tiny clips in the splits that the benchmark has: five known, two others."""
    write_talk(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    tests = [clip for clip in manifest["clips"] if clip["splits"]["speaker"] == "test"]
    for number, clip in enumerate(tests):
        clip["splits"]["speaker"] = "test_seen" if number < 5 else "test_unseen"
    write_json(folder / "manifest.json", manifest)
    return folder


def table(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), "table", *map(str, arguments)], capture_output=True, text=True
    )


def test_runs_of_several_seeds_become_a_row(tmp_path: Path) -> None:
    data, runs = corpus(tmp_path / "data"), tmp_path / "runs"
    config = VertexBiGRUConfig(
        outputs=3 * VERTICES, fps=25, encoder=EncoderConfig(widths=[8, 12]), width=8, layers=1
    )
    for name in ("jambatalk-1", "jambatalk-2", "gru-1", "unfinished-1"):
        save_baseline(runs / name / "best.safetensors", VertexBiGRU(config), {})
        (runs / name / "log.jsonl").write_text(
            '{"seconds": 30.0}\n{"seconds": 60.0}\n', encoding="utf-8"
        )
        if name != "unfinished-1":
            (runs / name / "done").touch()
    shapes = np.zeros((len(VISEMES), 3 * VERTICES), np.float32)
    save_visemes(
        tmp_path / "keyed.safetensors",
        Visemes(shapes, np.ones(len(VISEMES)), Dominance(), "centimetres", {}),
    )
    done = table(
        data,
        "--runs",
        runs,
        "--extra",
        f"visemes={tmp_path / 'keyed.safetensors'}",
        "-o",
        tmp_path / "out",
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "table.json").read_text())
    assert set(found) == {"test_seen", "test_unseen"}
    rows = found["test_seen"]
    assert set(rows) == {"jambatalk", "gru", "visemes", "truth", "static", "mean"}
    assert (rows["jambatalk"]["seeds"], rows["gru"]["seeds"]) == (2, 1)
    assert rows["jambatalk"]["training_minutes"] == pytest.approx(1.5)
    assert rows["jambatalk"]["memory_mb"] > 50
    # Shapes of nothing are the static face.
    assert rows["visemes"]["LVE_cm2"]["mean"] == pytest.approx(rows["static"]["LVE_cm2"]["mean"])
    assert rows["gru"]["LVE_cm2"]["against jambatalk"]["too_few"]
    text = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert text == done.stdout
    assert "too few clips" in text


def test_a_folder_without_runs_is_one_sentence(tmp_path: Path) -> None:
    done = table(corpus(tmp_path / "data"), "--runs", tmp_path)
    assert done.returncode == 2
    assert "holds no finished run" in done.stderr
