"""Compiled kernels where neither the package nor a home can be written."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import jambatalk
from jambatalk.ops import kernel_cache

PROGRAM = """
import torch, numpy
from jambatalk.models.layers import RMSNorm
with torch.inference_mode():
    print(RMSNorm(8)(torch.full((1, 1, 8), 3.0)).sum().item())
"""


@pytest.fixture
def sealed(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A copy of the package in which no cache can be made, and an environment without a home.

    Files stand where folders would have to be made, which holds for root too.
    """
    source = Path(jambatalk.__file__).parent
    package = tmp_path / "lib" / "jambatalk"
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__", "assets", "page"))
    for folder in [package, *(p for p in package.rglob("*") if p.is_dir())]:
        (folder / "__pycache__").touch()
    (tmp_path / "nothing").touch()
    (tmp_path / "temporary").mkdir()
    keep = {k: v for k, v in os.environ.items() if k in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")}
    return package, keep | {
        "HOME": str(tmp_path / "nothing" / "home"),
        "PYTHONPATH": str(package.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(tmp_path / "temporary"),
        "OMP_NUM_THREADS": "1",
    }


def _run(environment: dict[str, str], program: str = PROGRAM) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.skipif(os.name == "nt", reason="no POSIX homes")
def test_kernels_run_without_home_and_writable_package(
    sealed: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    _, environment = sealed
    done = _run(environment)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(8.0, abs=1e-4)
    folder = tmp_path / "temporary" / f"jambatalk-kernels-{os.getuid()}"
    assert done.stderr.count("\n") == 1
    assert f"compiled kernels are kept in {folder}" in done.stderr
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.rglob("*.nbi")), "nothing was kept"


@pytest.mark.skipif(os.name == "nt", reason="no POSIX homes")
def test_a_folder_that_others_can_write_is_not_used(
    sealed: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    """numba unpickles its cache: another user's files must not get there."""
    _, environment = sealed
    open_to_all = tmp_path / "temporary" / f"jambatalk-kernels-{os.getuid()}"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    done = _run(environment, "import jambatalk, os; print(os.environ['NUMBA_CACHE_DIR'])")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) != open_to_all
    assert Path(done.stdout.strip()).parent == open_to_all.parent


def test_a_set_folder_and_a_writable_package_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/somewhere")
    kernel_cache.prepare_kernel_cache()
    assert kernel_cache.kernel_cache_folder() == "/somewhere"
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    kernel_cache.prepare_kernel_cache()
    assert "NUMBA_CACHE_DIR" not in os.environ
    assert kernel_cache.kernel_cache_folder().endswith("__pycache__")
    assert capsys.readouterr().err == ""
