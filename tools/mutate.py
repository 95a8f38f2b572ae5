"""Change single lines that matter, one at a time, and see whether the tests notice.

    python tools/mutate.py                # all of MUTATIONS, in a temporary copy of the repository
    python tools/mutate.py close seed     # those whose name holds one of the words

Prints a line for each and ends with status 1 if one was not noticed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTEST = (sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider")
COPIED = ("src", "tests", "tools", "docs", "examples", "pyproject.toml", "README.md")


@dataclass(frozen=True)
class Mutation:
    """One change that some test must notice.

    Args:
        name: what is broken.
        file: below ``src/jambatalk``.
        line: text that stands in the file once; ``new`` takes its place.
        tests: test files, of which one must fail.
    """

    name: str
    file: str
    line: str
    new: str
    tests: tuple[str, ...]


def _m(name: str, file: str, line: str, new: str, *tests: str) -> Mutation:
    return Mutation(name, file, line, new, tests)


MUTATIONS = (
    _m(
        "server: a gone connection closes its session",
        "server/websocket.py",
        "            handle.close()\n",
        "            pass\n",
        "tests/server/test_socket.py",
    ),
    _m(
        "server: the token is checked",
        "server/websocket.py",
        "if not hmac.compare_digest(given, secret.encode()):",
        "if False:",
        "tests/server/test_socket.py",
    ),
    _m(
        "server: pages of other origins are refused",
        "server/access.py",
        'if not host or origin.lower() not in (f"http://{host}", f"https://{host}"):',
        "if False:",
        "tests/server/test_access.py",
        "tests/server/test_app.py",
    ),
    _m(
        "server: large messages are refused",
        "server/websocket.py",
        "if size > most:",
        "if False:",
        "tests/server/test_socket.py",
    ),
    _m(
        "files: renamed into place only when complete",
        "atomic.py",
        "    temporary = Path(name)\n",
        "    temporary = target\n",
        "tests/cli/test_animate.py",
        "tests/datasets/test_prepare.py",
    ),
    _m(
        "files: a failed write leaves nothing",
        "atomic.py",
        "            temporary.unlink()\n",
        "            pass\n",
        "tests/test_atomic.py",
    ),
    _m(
        "corpora: a damaged prepared clip is made again",
        "datasets/prepare.py",
        "            if all(whole):\n",
        "            if True:\n",
        "tests/datasets/test_prepare.py",
    ),
    _m(
        "sessions: a stored session has a checksum",
        "streaming/serialize.py",
        "intact = checksum in (None, _checksum(text, arrays))",
        "intact = True",
        "tests/test_session.py",
    ),
    _m(
        "sessions: weights stay in 0..1",
        "streaming/core.py",
        "np.clip(values if self.gains is None else values * self.gains, 0.0, 1.0)",
        "values",
        "tests/streaming/test_session_live.py",
        "tests/test_session.py",
    ),
    _m(
        "sessions: an interrupted turn starts a new one",
        "streaming/core.py",
        "        self.turn += 1\n",
        "        pass\n",
        "tests/streaming/test_session_live.py",
    ),
    _m(
        "mamba: the convolution's state goes on",
        "models/mamba.py",
        "u, conv = self.conv(u, state.conv, silu=True)",
        "u, conv = self.conv(u, state.conv * 0, silu=True)",
        "tests/models/test_modules.py",
    ),
    _m(
        "mamba: the scan's state goes on",
        "models/mamba.py",
        "self.D, state.ssm, gate",
        "self.D, state.ssm * 0, gate",
        "tests/models/test_modules.py",
    ),
    _m(
        "convolution: the newest steps are kept",
        "ops/causal_conv.py",
        "return F.silu(y) if silu else y, padded[:, length:]",
        "return F.silu(y) if silu else y, padded[:, : kernel - 1]",
        "tests/ops/test_conv.py",
    ),
    _m(
        "attention: positions go on from chunk to chunk",
        "models/attention.py",
        "            state.position + length,\n            torch.clamp",
        "            state.position,\n            torch.clamp",
        "tests/models/test_attention.py",
        "tests/models/test_modules.py",
    ),
    _m(
        "attention: an empty cache is masked",
        "models/attention.py",
        "real = index >= cached - state.filled[:, None, None]",
        "real = index >= 0 * state.filled[:, None, None]",
        "tests/models/test_attention.py",
        "tests/models/test_modules.py",
    ),
    _m(
        "network: the look-ahead is cut off",
        "models/speech_to_motion.py",
        "        x = x[:, c.delay :]\n",
        "        x = x[:, : x.shape[1] - c.delay]\n",
        "tests/models/test_model.py",
    ),
    _m(
        "normalization: the mean follows the voice",
        "models/features.py",
        "mean[b, i] += step * (x[b, t, i] - mean[b, i] - total) + level_step * total",
        "mean[b, i] += level_step * total",
        "tests/models/test_modules.py",
    ),
    _m(
        "experts: each result comes home to its frame",
        "models/moe.py",
        "return torch.cat(parts)[order.argsort()]",
        "return torch.cat(parts)",
        "tests/models/test_moe.py",
    ),
    _m(
        "experts: the gate is continuous",
        "models/moe.py",
        "gates = top[:, : self.top_k] - left_out",
        "gates = top[:, : self.top_k]",
        "tests/models/test_moe.py",
    ),
    _m(
        "closure: lips go all the way to the closed pose",
        "models/speech_to_motion.py",
        "return motion + share * (pose - motion)",
        "return motion + 0.5 * share * (pose - motion)",
        "tests/models/test_lip_contact.py",
    ),
    _m(
        "style: the chosen style is added",
        "models/speech_to_motion.py",
        "return x + STYLE_SCALE * added.to(x.dtype)",
        "return x + 0 * added.to(x.dtype)",
        "tests/models/test_style.py",
    ),
    _m(
        "training: dropout follows the step's seed",
        "training/trainer.py",
        "            torch.manual_seed(int(seed.generate_state(1, np.uint64)[0]))\n",
        "            pass\n",
        "tests/training/test_training.py",
        "tests/training/test_loop.py",
    ),
    _m(
        "training: terms are weighed",
        "training/losses.py",
        "getattr(weights, name) * term for name",
        "term for name",
        "tests/training/test_training.py",
        "tests/training/test_vertices.py",
    ),
    _m(
        "training: norms and biases do not decay",
        "training/trainer.py",
        '{"params": vectors, "weight_decay": 0.0, "scale": scale},',
        '{"params": vectors, "weight_decay": config.weight_decay, "scale": scale},',
        "tests/training/test_training.py",
        "tests/training/test_loop.py",
    ),
    _m(
        "statistics: Holm's adjusted values never fall",
        "statistics.py",
        "np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))",
        "p[order] * np.arange(len(p), 0, -1)",
        "tests/evaluation/test_statistics.py",
    ),
    _m(
        "metrics: FFE knows its unit",
        "evaluation/metrics/vertices.py",
        "return Ratio(total / pair.truth.size * pair.unit.to_mm**2, 1)",
        "return Ratio(total / pair.truth.size, 1)",
        "tests/evaluation/test_vertex_metrics.py",
    ),
    _m(
        "locks: a second process does not get a lock that is held",
        "file_lock.py",
        "            while not self._try_lock():\n",
        "            while not (self._try_lock() or True):\n",
        "tests/server/test_jobs.py",
        "tests/server/test_jobs_restart.py",
        "tests/experiments/test_ablate.py",
    ),
    _m(
        "pickles: names other than arrays are refused",
        "datasets/safe_pickle.py",
        "    def find_class(self, module: str, name: str) -> Any:\n",
        "    def find_class_(self, module: str, name: str) -> Any:\n",
        "tests/datasets/test_unpickle.py",
    ),
    _m(
        "splits: VOCASET's validation subjects",
        "datasets/readers/vocaset.py",
        '"val": ("170811_03275", "170908_03277")',
        '"val": ("170811_03275", "170811_03275")',
        "tests/datasets/test_prepare.py",
    ),
)


def apply(mutation: Mutation, root: Path) -> str:
    """Change the file below ``root`` and return its text before."""
    path = root / "src" / "jambatalk" / mutation.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.line) != 1:
        raise SystemExit(
            f"{mutation.name}: {mutation.file} holds {mutation.line.strip()!r} "
            f"{text.count(mutation.line)} times, expected once"
        )
    path.write_text(text.replace(mutation.line, mutation.new), encoding="utf-8")
    return text


def noticed(mutation: Mutation, root: Path) -> str | None:
    """Run the mutation's tests on the changed copy; return the first test that failed, if any."""
    text = apply(mutation, root)
    try:
        for tests in mutation.tests:
            done = subprocess.run(
                [*PYTEST, f"--basetemp={root / 'temporary'}", tests],
                cwd=root,
                env=os.environ | {"PYTHONPATH": str(root / "src")},
                capture_output=True,
                text=True,
            )
            if done.returncode == 1:
                failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
                return failed[0].split()[1] if failed else tests
            if done.returncode:
                raise SystemExit(f"{tests} could not run:\n{done.stdout}{done.stderr}")
    finally:
        (root / "src" / "jambatalk" / mutation.file).write_text(text, encoding="utf-8")
    return None


def main() -> None:
    words = sys.argv[1:]
    chosen = [m for m in MUTATIONS if not words or any(word in m.name for word in words)]
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in COPIED:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
        for mutation in chosen:
            began = time.perf_counter()
            by = noticed(mutation, copy)
            missed += by is None
            seconds = time.perf_counter() - began
            verdict = f"noticed by {by}" if by else "NOT NOTICED"
            print(f"{mutation.name}: {verdict} ({seconds:.0f} s)", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} noticed")
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
