"""Where numba keeps compiled kernels: a folder that can be written, also without a home.

numba writes beside the source files or, where these are read-only, into the user's cache folder. In
a container with a read-only package and no home there is neither, and numba ends the program when
the first kernel is defined. ``prepare_kernel_cache`` then names a temporary folder; the package
calls it before any module with kernels is imported.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"
NAME = "jambatalk-kernels"


def prepare_kernel_cache() -> None:
    """Name a temporary folder for kernels where no other can be written, and say so in one line.

    Does nothing where NUMBA_CACHE_DIR is set or numba's own choice works.
    """
    if os.environ.get(VARIABLE) or _numbas_choice() is not None:
        return
    folder = _private_folder()
    if folder is None:
        print(
            "jambatalk: no folder can be written to keep compiled kernels: set NUMBA_CACHE_DIR",
            file=sys.stderr,
        )
        return
    os.environ[VARIABLE] = str(folder)
    if "numba" in sys.modules:  # which has read the variable already
        sys.modules["numba"].config.CACHE_DIR = str(folder)
    print(
        f"jambatalk: compiled kernels are kept in {folder}, since neither the package nor the "
        "user's cache folder can be written",
        file=sys.stderr,
    )


def kernel_cache_folder() -> str:
    """Return the folder that compiled kernels are kept in, for people."""
    return os.environ.get(VARIABLE) or str(_numbas_choice() or "none")


def _numbas_choice() -> Path | None:
    """The folder that numba takes by itself; None where it finds none."""
    for folder in (Path(__file__).parent / "cpu" / "__pycache__", _user_cache()):
        if _writable(folder):
            return folder
    return None


def _user_cache() -> Path:
    """The user's cache folder as numba names it on each system."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~\\AppData\\Local")
        return Path(base) / "numba" / "numba" / "Cache"
    if sys.platform == "darwin":
        return Path(os.path.expanduser("~/Library/Caches/numba"))
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "numba"


def _private_folder() -> Path | None:
    """A temporary folder of this user alone: numba unpickles what it finds in its cache."""
    try:
        user = os.getuid() if hasattr(os, "getuid") else "user"
        folder = Path(tempfile.gettempdir()) / f"{NAME}-{user}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if hasattr(os, "getuid"):
            found = folder.lstat()
            private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
            if not private or found.st_uid != os.getuid():
                folder = Path(tempfile.mkdtemp(prefix=f"{NAME}-"))
    except OSError:
        return None
    return folder if _writable(folder) else None


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True
