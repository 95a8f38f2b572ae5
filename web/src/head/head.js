// The head that the server sends: its glTF file, and how light falls into its folds.
import { BufferAttribute, BufferGeometry, DynamicDrawUsage, SkinnedMesh, Sphere, Vector3 } from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
import { mouth } from "../generated/materials.json";
import { Shapes } from "./shapes.js";
import { shared } from "./surface.js";


/** One identity's head. glb: ArrayBuffer. shade: what /v1/faces/NAME/shade says. */
export async function readHead(glb, shade) {
  const gltf = await new GLTFLoader().parseAsync(glb, "");
  const parts = [];
  gltf.scene.traverse((node) => node.isSkinnedMesh && parts.push(node));
  return new Head(gltf.scene, parts, shade);
}

class Head {
  constructor(root, parts, shade) {
    const first = parts[0];
    this.root = root;
    this.shapes = new Shapes(first.geometry);
    this.numbers = first.morphTargetDictionary;
    this.count = Object.keys(this.numbers).length;
    this.materialNames = parts.map((part) => part.material.name);
    this.anatomy = shade.anatomy;
    for (const part of parts) part.removeFromParent();
    this.mesh = new SkinnedMesh(this.#geometry(parts, shade));
    this.mesh.frustumCulled = false;
    root.add(this.mesh);
    root.updateMatrixWorld(true);
    this.mesh.bind(first.skeleton, first.bindMatrix);
    this.joint = root.getObjectByName("head");
    this.joint.rotation.order = "YXZ"; // yaw, then pitch, then roll, as in face/deform.py
    this.#follow(shade);
  }

  // One primitive per material, all with the same vertices: as one mesh with groups they are moved once.
  #geometry(parts, shade) {
    const geometry = new BufferGeometry();
    const source = parts[0].geometry;
    for (const name of ["position", "normal"]) {
      geometry.setAttribute(name, source.getAttribute(name).setUsage(DynamicDrawUsage));
    }
    for (const name of ["color", "skinIndex", "skinWeight"]) geometry.setAttribute(name, source.getAttribute(name));
    const { neutral } = this.shapes;
    geometry.setAttribute("rest", new BufferAttribute(neutral, 3));
    geometry.setAttribute("shade", new BufferAttribute(shade.vertices, 4, true));
    const indices = new Uint16Array(parts.reduce((sum, part) => sum + part.geometry.index.count, 0));
    let at = 0;
    parts.forEach((part, number) => {
      const { array, count } = part.geometry.index;
      indices.set(array, at);
      geometry.addGroup(at, count, number);
      at += count;
    });
    geometry.setIndex(new BufferAttribute(indices, 1));
    const points = Array.from({ length: neutral.length / 3 }, (_, v) => new Vector3().fromArray(neutral, 3 * v));
    geometry.boundingSphere = new Sphere().setFromPoints(points);
    return geometry;
  }

  // The places on the lips that tell how open the mouth is, with how every shape moves them.
  #follow({ gap: [upper, lower], lips }) {
    const numbers = [...Array(this.count).keys()];
    this.gapShapes = numbers.map((k) => this.shapes.offset(k, upper, 1) - this.shapes.offset(k, lower, 1));
    this.lipRest = lips.map((vertex) => this.shapes.neutral[3 * vertex + 2]);
    this.lipShapes = numbers.map((k) => lips.map((vertex) => this.shapes.offset(k, vertex, 2)));
  }

  /** The number of a shape, or undefined. */
  shape(name) {
    return this.numbers[name];
  }

  /** Move to weights (one per shape) and a pose (pitch, yaw, roll in radians). Gives how far apart the lips are, in metres. */
  pose(weights, pose) {
    this.shapes.mix(weights);
    let opened = 0;
    const lips = this.lipRest.slice();
    for (let k = 0; k < this.count; k++) {
      const weight = weights[k];
      if (weight === 0) continue;
      opened += weight * this.gapShapes[k];
      const shape = this.lipShapes[k];
      for (let v = 0; v < lips.length; v++) lips[v] += weight * shape[v];
    }
    shared.opening.value = Math.min(Math.max(opened / mouth.wide, 0), 1);
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
