// The head that the server sends: its glTF file, and how light falls into its folds.
import { Box3, BufferAttribute, BufferGeometry, SkinnedMesh, Sphere } from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
import { shared } from "./surface.js";

const WIDE = 0.012; // metres between the lips at which the mouth counts as open to the light

/** One identity's head. glb: ArrayBuffer. shade: what /v1/faces/NAME/shade says. */
export async function readHead(glb, shade) {
  const gltf = await new GLTFLoader().parseAsync(glb, "");
  const parts = [];
  gltf.scene.traverse((node) => node.isSkinnedMesh && parts.push(node));
  return new Head(gltf, parts, shade);
}

// three.js would let the shapes' whole reach count: the ball around the head at rest is what the shadow map is for.
function corners(position) {
  const { min, max } = new Box3().setFromBufferAttribute(position);
  return [min, max];
}

class Head {
  constructor(gltf, parts, shade) {
    const first = parts[0];
    // One primitive per material, all with the same vertices: as one mesh with groups, the shapes lie in memory once.
    const geometry = new BufferGeometry();
    for (const name of ["position", "normal", "color", "skinIndex", "skinWeight"]) {
      geometry.setAttribute(name, first.geometry.getAttribute(name));
    }
    geometry.morphAttributes = first.geometry.morphAttributes;
    geometry.morphTargetsRelative = true;
    const indices = new Uint32Array(parts.reduce((sum, part) => sum + part.geometry.index.count, 0));
    let at = 0;
    parts.forEach((part, number) => {
      indices.set(part.geometry.index.array, at);
      geometry.addGroup(at, part.geometry.index.count, number);
      at += part.geometry.index.count;
    });
    geometry.setIndex(new BufferAttribute(indices, 1));
    geometry.setAttribute("shade", new BufferAttribute(shade.vertices, 4, true));
    geometry.boundingSphere = new Sphere().setFromPoints(corners(geometry.getAttribute("position")));

    this.mesh = new SkinnedMesh(geometry);
    this.mesh.frustumCulled = false;
    this.mesh.morphTargetDictionary = { ...first.morphTargetDictionary };
    this.mesh.morphTargetInfluences = new Array(Object.keys(first.morphTargetDictionary).length).fill(0);
    this.joint = gltf.scene.getObjectByName("head");
    this.root = gltf.scene;
    for (const part of parts) part.removeFromParent();
    this.root.add(this.mesh);
    this.root.updateMatrixWorld(true);
    this.mesh.bind(first.skeleton, first.bindMatrix);
    this.joint.rotation.order = "YXZ"; // yaw, then pitch, then roll, as in render/head_turn.py
    this.materialNames = parts.map((part) => part.material.name);
    this.anatomy = shade.anatomy;
    this.#follow(shade);
  }

  // The places on the lips that tell how open the mouth is, with how every shape moves them.
  #follow({ gap, lips }) {
    const rest = this.mesh.geometry.getAttribute("position");
    const shapes = this.mesh.geometry.morphAttributes.position;
    this.gapRest = rest.getY(gap[0]) - rest.getY(gap[1]);
    this.gapShapes = shapes.map((shape) => shape.getY(gap[0]) - shape.getY(gap[1]));
    this.lipRest = lips.map((vertex) => rest.getZ(vertex));
    this.lipShapes = shapes.map((shape) => lips.map((vertex) => shape.getZ(vertex)));
  }

  /** The number of a shape, or undefined. */
  shape(name) {
    return this.mesh.morphTargetDictionary[name];
  }

  /** Wear weights (one per shape of the mesh) and a pose (pitch, yaw, roll in radians). Gives the lips' distance in metres. */
  wear(weights, pose) {
    const influences = this.mesh.morphTargetInfluences;
    let opened = 0;
    const lips = this.lipRest.slice();
    for (let k = 0; k < influences.length; k++) {
      const weight = weights[k];
      influences[k] = weight;
      if (weight === 0) continue;
      opened += weight * this.gapShapes[k];
      const shape = this.lipShapes[k];
      for (let v = 0; v < lips.length; v++) lips[v] += weight * shape[v];
    }
    shared.opening.value = Math.min(Math.max(opened / WIDE, 0), 1);
    shared.lipPlane.value = Math.max(...lips);
    this.joint.rotation.set(pose[0], pose[1], pose[2]);
    return opened;
  }

  /** How far apart a frame holds the lips, in metres. */
  gapOf(names, weights) {
    return names.reduce((sum, name, k) => sum + (this.gapShapes[this.shape(name)] ?? 0) * weights[k], 0);
  }

  dispose() {
    this.mesh.geometry.dispose();
    this.mesh.skeleton.dispose();
    for (const material of this.mesh.material) material.dispose();
  }
}
