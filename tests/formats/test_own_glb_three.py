"""A character's written file as three.js plays it, in a headless browser: our weights at its times.

Needs Chromium, playwright and the node modules of ``web/`` (``npm ci`` there, or NODE_PATH).
"""

from __future__ import annotations

import http.server
import os
import shutil
import threading
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import jambatalk
from jambatalk.face.deform import pose_matrix, weights_on
from jambatalk.face.face import Face
from jambatalk.idle import IdleSettings, add_idle_motion
from tiny_avatar import SHARED, make_avatar

CHROMIUM = shutil.which("chromium")
PLACES = [Path(__file__).parents[2] / "web" / "node_modules"]
PLACES += [Path(place) for place in os.environ.get("NODE_PATH", "").split(os.pathsep) if place]
THREE = next((place / "three" for place in PLACES if (place / "three").is_dir()), None)

PAGE = """<!doctype html><script type="importmap">
{"imports": {"three": "./three/build/three.module.js", "three/addons/": "./three/examples/jsm/"}}
</script><script type="module">
import * as THREE from 'three';
import {GLTFLoader} from 'three/addons/loaders/GLTFLoader.js';
import {MeshoptDecoder} from 'three/addons/libs/meshopt_decoder.module.js';
window.play = async (file, times) => {
  const loader = new GLTFLoader();
  loader.setMeshoptDecoder(MeshoptDecoder);
  const gltf = await loader.loadAsync(file);
  const clip = gltf.animations.find((one) => one.name === 'speech');
  const mixer = new THREE.AnimationMixer(gltf.scene);
  const action = mixer.clipAction(clip);
  action.setLoop(THREE.LoopOnce);
  action.clampWhenFinished = true;
  action.play();
  return times.map((time) => {
    action.reset();
    mixer.setTime(time);
    gltf.scene.updateMatrixWorld(true);
    const weights = {}, turns = {};
    gltf.scene.traverse((node) => {
      if (node.morphTargetInfluences)
        for (const [name, index] of Object.entries(node.morphTargetDictionary))
          (weights[name] ??= []).push(node.morphTargetInfluences[index]);
      if (node.isBone || node.type === 'Object3D')
        turns[node.name] = new THREE.Quaternion().setFromRotationMatrix(node.matrixWorld).toArray();
    });
    return {weights, turns, length: clip.duration};
  });
};
window.ready = true;
</script>"""


@pytest.fixture
def browser_page(tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None or THREE is None:
        pytest.skip("needs chromium and three in web/node_modules or NODE_PATH")
    (tmp_path / "three").symlink_to(THREE)
    (tmp_path / "page.html").write_text(PAGE)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{server.server_port}/page.html")
            page.wait_for_function("window.ready")
            yield page
            browser.close()
    finally:
        server.shutdown()


@pytest.mark.parametrize(
    "name",
    ["made", *(pytest.param(one, marks=pytest.mark.shared) for one in ("brunette-t", "vroid"))],
)
def test_three_plays_our_weights(tmp_path, browser_page, name):
    path = tmp_path / "me.glb"
    if name == "made":
        make_avatar(path)
    elif not SHARED.is_dir():
        pytest.skip("no ../shared/data/avatars")
    else:
        shutil.copy(SHARED / f"{name}.glb", path)
    face = Face.load(path)
    demo = (files("jambatalk") / "assets" / "demo.flac").read_bytes()
    motion = add_idle_motion(jambatalk.load("light").animate(demo), IdleSettings.parse("seed=3"))
    motion = replace(motion, face=face)
    motion.save(tmp_path / "talk.glb")
    frames = np.linspace(0, len(motion) - 1, 10).round().astype(int)
    times = (frames / motion.fps).tolist()
    seen = browser_page.evaluate("([file, times]) => window.play(file, times)", ["talk.glb", times])

    weights, columns = weights_on(face, motion)
    names = [face.names[k] for k in columns]
    moved = 0.0
    for frame, shown in zip(frames, seen):
        assert shown["length"] == pytest.approx((len(motion) - 1) / motion.fps, abs=1e-4)
        for k, shape in enumerate(names):
            # The same on every mesh that has the shape.
            assert shown["weights"][shape] == pytest.approx(
                [float(weights[frame, k])] * len(shown["weights"][shape]), abs=1e-3
            )
            moved = max(moved, float(weights[frame, k]))
    assert moved > 0.2
    # The head's turn in the world is the motion's, on top of how it rests.
    bone = next(one for one in ("Head", "head") if one in seen[0]["turns"])
    rest = pose_matrix(motion.head_pose[frames[0]]).T @ matrix(seen[0]["turns"][bone])
    for frame, shown in zip(frames, seen):
        expected = pose_matrix(motion.head_pose[frame]) @ rest
        assert matrix(shown["turns"][bone]) == pytest.approx(expected, abs=2e-3)


def matrix(quaternion):
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
