"""The Khronos group's glTF validator, where node and its package are there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

VALIDATE = """
const validator = require('gltf-validator'), fs = require('fs');
const read = (path) => validator.validateBytes(new Uint8Array(fs.readFileSync(path)));
Promise.all(process.argv.slice(1).map(read)).then((reports) =>
  console.log(JSON.stringify(reports.map((report) => report.issues.numErrors))));
"""


def validator_errors(*paths: Path) -> list[int]:
    """Errors that the Khronos validator finds; skips where node or its package is not there."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node to run gltf-validator")
    modules = [
        str(Path(__file__).parents[2] / "web" / "node_modules"),
        os.environ.get("NODE_PATH", ""),
    ]
    environment = os.environ | {"NODE_PATH": os.pathsep.join(modules)}
    command = [node, "-e", VALIDATE, *map(str, paths)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    if "Cannot find module 'gltf-validator'" in done.stderr:
        pytest.skip("no gltf-validator: npm ci in web/, or NODE_PATH")
    assert done.returncode == 0, done.stderr
    errors: list[int] = json.loads(done.stdout)
    return errors
