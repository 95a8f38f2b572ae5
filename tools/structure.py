"""Print the measures of the package's structure: files, lines, import circles and arrows.

    python tools/structure.py            # the table, today against before the redesign
    python tools/structure.py --arrows   # also every arrow between packages
    python tools/structure.py --crossed  # also the files that animate(path) and save("x.mp4") enter

``tests/test_structure.py`` holds the rules: no circle between files or packages, and imports point
to lower ``LEVELS`` only.
"""

from __future__ import annotations

import argparse
import ast
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGE = "jambatalk"

# Circles are the count of the review, which also followed modules named in strings; this script
# counts 4 between files and 3 between packages in that version.
BEFORE = {
    "files": 330,
    "median lines": 92,
    "files under 60 lines": 88,
    "lines in src": 36795,
    "lines in __init__ files": None,
    "# fmt: skip": 161,
    "lines over 100 columns": None,
    "circles between files": 6,
    "circles between packages": None,
    "files crossed by animate + save": 54,
}
GOAL = {
    "files": "<= 210",
    "median lines": ">= 140",
    "files under 60 lines": "<= 25",
    "lines in src": "<= 33,000",
    "lines in __init__ files": "few",
    "# fmt: skip": "0",
    "lines over 100 columns": "0",
    "circles between files": "0",
    "circles between packages": "0",
    "files crossed by animate + save": "<= 30",
}

LEVELS = (
    {"errors", "version", "typing"},
    {"arrays", "atomic", "config", "file_lock", "ops", "statistics", "supervised_process"},
    {"audio"},
    {"streaming"},
    {"motion"},
    {"models", "face", "text"},
    {"render", "idle", "export"},
    {"session", "formats"},
    {"talker", "jambatalk"},
    {"datasets", "senders"},
    {"baselines", "study"},
    {"training", "evaluation"},
    {"experiments", "client", "agents"},
    {"server"},
    {"cli"},
    {"__main__"},
)
"""The packages and root files from the bottom up: imports point to lower levels only."""

ONLY = {
    "ops": {"errors"},
    "motion": {"streaming", "errors", "atomic"},
    "models": {"ops", "audio", "config", "atomic", "errors"},
    "face": {"motion", "arrays", "atomic", "errors"},
    "study": {
        "motion",
        "face",
        "audio",
        "render",
        "atomic",
        "errors",
        "statistics",
        "supervised_process",
        "version",
    },
    "jambatalk": {"ops", "version"},
}
"""What the packages that all others rest on, and the user studies, may import at most."""

EXCEPTIONS = {
    ("client", "server"),  # the protocol's words
    ("evaluation", "training"),  # cutting test clips
    ("streaming", "models"),  # storing the network's state
    ("study", "datasets"),  # reading the truth of a prepared corpus
}
"""Arrows that break the rule today; each is to be removed."""

Graph = dict[str, set[str]]


def source_files(root: Path = ROOT) -> list[Path]:
    """All Python files of the package except ``__init__``, which only lists names."""
    return sorted(p for p in (root / "src" / PACKAGE).rglob("*.py") if p.name != "__init__.py")


def module_name(path: Path, root: Path = ROOT) -> str:
    """The dotted name under which a file is imported."""
    parts = path.relative_to(root / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class _RuntimeImports(ast.NodeVisitor):
    """Collect the package's modules that a file imports when it runs, functions included."""

    def __init__(self, module: str, is_package: bool, known: set[str]) -> None:
        self.base = module.split(".") if is_package else module.split(".")[:-1]
        self.known, self.found = known, set[str]()

    def visit_If(self, node: ast.If) -> None:
        test = node.test
        name = test.id if isinstance(test, ast.Name) else getattr(test, "attr", "")
        for child in node.orelse if name == "TYPE_CHECKING" else [*node.body, *node.orelse]:
            self.visit(child)

    def visit_Import(self, node: ast.Import) -> None:
        self.found |= {alias.name for alias in node.names} & self.known

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        source = node.module or ""
        if node.level:
            above = self.base[: len(self.base) - node.level + 1]
            source = ".".join([*above, *([source] if source else [])])
        for alias in node.names:
            inner = f"{source}.{alias.name}"
            self.found |= {inner if inner in self.known else source} & self.known


def file_graph(root: Path = ROOT) -> Graph:
    """Which module of the package imports which at run time; ``__init__`` files are modules too."""
    paths = {module_name(p, root): p for p in (root / "src" / PACKAGE).rglob("*.py")}
    graph: Graph = {}
    for module, path in sorted(paths.items()):
        visitor = _RuntimeImports(module, path.name == "__init__.py", set(paths))
        visitor.visit(ast.parse(path.read_text(encoding="utf-8")))
        graph[module] = visitor.found - {module}
    return graph


def package_of(module: str) -> str:
    """The first folder below the package, or the file's own name where it lies in no folder."""
    return module.split(".")[1] if "." in module else PACKAGE


def package_graph(files: Graph) -> dict[str, dict[str, list[str]]]:
    """Arrows between packages, each with the imports (``module -> module``) that make it."""
    arrows: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for module, targets in files.items():
        for target in sorted(targets):
            if package_of(module) != package_of(target):
                arrows[package_of(module)][package_of(target)].append(f"{module} -> {target}")
    return arrows


def wrong_arrows(arrows: dict[str, dict[str, list[str]]]) -> list[str]:
    """Arrows that do not point to a lower level or that ``ONLY`` forbids, with their imports."""
    level = {package: i for i, packages in enumerate(LEVELS) for package in packages}
    wrong = []
    for package, targets in sorted(arrows.items()):
        for target, why in sorted(targets.items()):
            known = package in level and target in level
            down = known and level[target] < level[package]
            allowed = target in ONLY.get(package, {target})
            if not (down and allowed) and (package, target) not in EXCEPTIONS:
                wrong.append(f"{package} -> {target} ({'; '.join(why)})")
    return wrong


def circles(graph: Graph) -> list[list[str]]:
    """Groups of nodes that reach one another: strongly connected components (Tarjan)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in order:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], order[target])
        if low[node] == order[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    sys.setrecursionlimit(max(sys.getrecursionlimit(), 10 * len(graph) + 1000))
    for node in sorted(graph):
        if node not in order:
            visit(node)
    return sorted(found)


def files_crossed(root: Path = ROOT) -> list[str]:
    """Package files in which ``animate(path)`` and ``save("x.mp4")`` enter a Python function.

    Both are done once before, so that imports, compilations and caches do not count; threads do.
    """
    import jambatalk

    home = str(root / "src" / PACKAGE)
    seen: set[str] = set()

    def entered(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(home):
            seen.add(frame.f_code.co_filename)

    with tempfile.TemporaryDirectory() as folder:
        path = _one_second(Path(folder))
        talker = jambatalk.load()
        talker.animate(path).save(Path(folder) / "warm.mp4")
        seen.clear()
        threading.setprofile(entered)
        sys.setprofile(entered)
        try:
            talker.animate(path).save(Path(folder) / "x.mp4")
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    return sorted(str(Path(name).relative_to(home)) for name in seen)


def _one_second(folder: Path) -> Path:
    import numpy as np
    import soundfile

    t = np.arange(16000) / 16000
    soundfile.write(folder / "h.wav", 0.2 * np.sin(2 * np.pi * 150 * t) * np.sin(6 * t), 16000)
    return folder / "h.wav"


def measures(root: Path = ROOT) -> dict[str, int]:
    """All measures of the table, by name."""
    lines = {p: p.read_text(encoding="utf-8").splitlines() for p in source_files(root)}
    every = [
        line
        for p in (root / "src" / PACKAGE).rglob("*.py")
        for line in p.read_text(encoding="utf-8").splitlines()
    ]
    files = file_graph(root)
    packages = {p: set(targets) for p, targets in package_graph(files).items()}
    # A program of its own: what this one has imported or compiled must not matter.
    crossed = subprocess.run(
        [sys.executable, __file__, "--only-crossed", "--root", str(root)],
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        "files": len(lines),
        "median lines": int(statistics.median(map(len, lines.values()))),
        "files under 60 lines": sum(len(text) < 60 for text in lines.values()),
        "lines in src": sum(map(len, lines.values())),
        "lines in __init__ files": len(every) - sum(map(len, lines.values())),
        "# fmt: skip": sum("# fmt: skip" in line for line in every),
        "lines over 100 columns": sum(len(line) > 100 for line in every),
        "circles between files": len(circles(files)),
        "circles between packages": len(circles(packages)),
        "files crossed by animate + save": len(crossed.stdout.splitlines()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="another checkout to measure")
    parser.add_argument("--arrows", action="store_true", help="list the arrows between packages")
    parser.add_argument(
        "--crossed", action="store_true", help="list the files that animate crosses"
    )
    parser.add_argument("--small", action="store_true", help="list the files under 60 lines")
    parser.add_argument("--only-crossed", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    root = options.root.resolve()
    sys.path.insert(0, str(root / "src"))
    if options.only_crossed:
        print("\n".join(files_crossed(root)))
        return
    for name, value in measures(root).items():
        before = "not counted" if BEFORE[name] is None else f"{BEFORE[name]:,}"
        print(f"{name:34}{before:>12}  ->{value:>7,}   goal {GOAL[name]}")
    files = file_graph(root)
    arrows = package_graph(files)
    packages = {p: set(targets) for p, targets in arrows.items()}
    for what, graph in (("files", files), ("packages", packages)):
        for group in circles(graph):
            print(f"\ncircle between {what}: {', '.join(group)}")
            inside = set(group)
            for node in group:
                for target in sorted(graph[node] & inside):
                    why = arrows[node][target] if what == "packages" else []
                    print(f"    {node} -> {target}" + (f"  ({'; '.join(why[:3])})" if why else ""))
    for arrow in wrong_arrows(arrows):
        print(f"\nwrong arrow: {arrow}")
    if options.small:
        print("\nfiles under 60 lines")
        for path in source_files(root):
            count = len(path.read_text(encoding="utf-8").splitlines())
            if count < 60:
                print(f"    {count:3} {path.relative_to(root / 'src' / PACKAGE)}")
    if options.arrows:
        print("\narrows between packages")
        for package in sorted(arrows):
            print(f"    {package} -> {', '.join(sorted(arrows[package]))}")
    if options.crossed:
        print("\nfiles crossed by animate(path) and save('x.mp4')")
        print("\n".join(f"    {name}" for name in files_crossed(root)))


if __name__ == "__main__":
    main()
