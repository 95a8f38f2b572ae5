// A character of one's own, dropped on the page: it stays in the browser. It takes the place of the head, and is moved by the
// same 52 ARKit weights.
import { AmbientLight, Box3, DirectionalLight, Group, HemisphereLight, Matrix4, MeshBasicMaterial, Quaternion, Vector3 } from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
// The plain decoder: the other one is WebAssembly, which the page's policy does not admit.
import { MeshoptDecoder } from "../../node_modules/meshoptimizer/meshopt_decoder_reference.js";
import table from "../generated/characters.json";
import { meaningsOf, wordsOf } from "./dialects.js";
import { findLips, measure } from "./lips.js";
import { Transfer } from "./transfer.js";

const HEAD_HEIGHT = [0.08, 0.8], USUAL_HEIGHT = 0.25; // metres from the head's joint to its top; a file outside is in another unit
const LOOKS = ["eyeLook", "eyes_look"];

/** Read a .glb or .vrm. Throws an Error whose message can be shown. */
export async function readCharacter(data, name) {
  let gltf;
  try {
    const loader = new GLTFLoader().setMeshoptDecoder(MeshoptDecoder);
    gltf = await loader.parseAsync(data, "");
  } catch (error) {
    const why = /draco/i.test(error.message) ? "it is packed with Draco, which this page does not read" : error.message;
    throw new Error(`${name} cannot be read as a character: ${why}`, { cause: error });
  }
  return new Character(gltf, await expressionsOf(gltf), name);
}

// A VRM's expressions: name -> [[node, target, weight]...].
async function expressionsOf({ parser }) {
  const { VRMC_vrm: one, VRM: zero } = parser.json.extensions ?? {}, found = new Map(), nodes = parser.json.nodes ?? [];
  const add = (name, binds) => binds.length && found.set(name, binds);
  if (one) {
    for (const group of [one.expressions?.preset, one.expressions?.custom]) {
      for (const [name, entry] of Object.entries(group ?? {})) {
        add(name, (entry.morphTargetBinds ?? []).map(({ node, index, weight = 1 }) => [node, index, weight]));
      }
    }
  } else if (zero) {
    for (const { name, presetName = "unknown", binds = [] } of zero.blendShapeMaster?.blendShapeGroups ?? []) {
      const moved = binds.flatMap(({ mesh, index, weight = 100 }) =>
        nodes.flatMap((node, number) => (node.mesh === mesh ? [[number, index, weight / 100]] : [])));
      add(presetName === "unknown" ? name : presetName, moved);
    }
  }
  const wanted = new Set([...found.values()].flat().map(([node]) => node));
  const objects = new Map();
  for (const node of wanted) objects.set(node, await parser.getDependency("node", node));
  return new Map([...found].map(([name, binds]) => [name, binds.map(([node, target, weight]) => [objects.get(node), target, weight])]));
}

class Character {
  constructor(gltf, expressions, name) {
    this.name = name;
    this.root = new Group();
    this.scene = gltf.scene;
    this.root.add(gltf.scene);
    this.lit = true;
    this.count = table.names.length;
    this.numbers = Object.fromEntries(table.names.map((one, k) => [one, k]));
    const { VRM: zero, VRMC_vrm: one } = gltf.parser.json.extensions ?? {};
    this.meshes = [];
    gltf.scene.traverse((node) => {
      if (!node.isMesh) return;
      node.frustumCulled = false;
      this.meshes.push(node);
    });
    if (one || zero || this.meshes.some(({ material }) => material.name?.startsWith("N00_"))) this.#flatten();
    this.bones = this.#findBones(gltf, one ?? zero);
    if (zero) this.scene.rotation.y = Math.PI; // a VRM 0.x looks along -z
    this.#settle();
    const { left_eye: left, right_eye: right } = this.bones;
    if (left && right && !zero && place(left).x < place(right).x) {
      this.scene.rotation.y = Math.PI;
      this.#settle();
    }
    this.#scale();
    this.#findShapes(expressions);
    this.#findMouth();
    this.anatomy = this.#anatomy();
    this.#rest();
    this.#light();
  }

  // Characters that are drawn rather than modelled, VRM's and VRoid's, bring their light in their textures.
  #flatten() {
    for (const mesh of this.meshes) {
      const { map, color, alphaTest, transparent, side, depthWrite, opacity, name } = mesh.material;
      mesh.material.dispose();
      mesh.material = new MeshBasicMaterial({ map, color, alphaTest, transparent, side, depthWrite, opacity, name });
    }
  }

  #settle() {
    this.root.updateMatrixWorld(true);
    for (const mesh of this.meshes) mesh.skeleton?.update();
  }

  // neck, head and eyes: the humanoid's where the file says, else by name.
  #findBones({ parser, scene }, vrm) {
    const found = {}, wanted = { neck: "neck", head: "head", left_eye: "leftEye", right_eye: "rightEye" };
    const listed = Array.isArray(vrm?.humanoid?.humanBones)
      ? Object.fromEntries(vrm.humanoid.humanBones.map(({ bone, node }) => [bone, node]))
      : Object.fromEntries(Object.entries(vrm?.humanoid?.humanBones ?? {}).map(([bone, { node }]) => [bone, node]));
    scene.traverse((object) => {
      const number = parser.associations.get(object)?.nodes;
      for (const [ours, theirs] of Object.entries(wanted)) if (listed[theirs] !== undefined && listed[theirs] === number) found[ours] ??= object;
    });
    let bones = false;
    scene.traverse((object) => (bones ||= object.isBone));
    scene.traverse((object) => {
      if (object.isMesh || (bones && !object.isBone)) return;
      const bone = boneOf(wordsOf(parser.json.nodes?.[parser.associations.get(object)?.nodes]?.name ?? object.name));
      if (bone) found[bone] ??= object;
    });
    return found;
  }

  #scale() {
    const box = new Box3().setFromObject(this.scene, true), from = this.bones.head ? place(this.bones.head).y : box.min.y;
    const height = box.max.y - from;
    if (height > 0 && (height < HEAD_HEIGHT[0] || height > HEAD_HEIGHT[1])) {
      this.root.scale.setScalar(USUAL_HEIGHT / height);
      this.#settle();
    }
  }

  // Places of a mesh's vertices in the world, with one morph target at a weight of 1 or none.
  #places(mesh, target = null) {
    const { position } = mesh.geometry.attributes, moved = target === null ? null : mesh.geometry.morphAttributes.position?.[target];
    const out = new Float64Array(3 * position.count), at = new Vector3(), by = new Vector3();
    for (let v = 0; v < position.count; v++) {
      at.fromBufferAttribute(position, v);
      if (moved) at.add(by.fromBufferAttribute(moved, v));
      if (mesh.isSkinnedMesh) mesh.applyBoneTransform(v, at);
      at.applyMatrix4(mesh.matrixWorld).toArray(out, 3 * v);
    }
    return out;
  }

  // Shape -> [[mesh, target, weight]...], of meshes that share its name; a VRM's expressions are shapes of their own.
  #findShapes(expressions) {
    const shapes = new Map();
    for (const mesh of this.meshes) {
      for (const [name, target] of Object.entries(mesh.morphTargetDictionary ?? {})) {
        if (!shapes.has(name)) shapes.set(name, []);
        shapes.get(name).push([mesh, target, 1]);
      }
    }
    for (const [name, binds] of expressions) {
      const moved = binds.flatMap(([object, target, weight]) => {
        const meshes = [];
        object?.traverse((node) => node.isMesh && node.morphTargetInfluences && meshes.push(node));
        return meshes.map((mesh) => [mesh, target, weight]);
      });
      shapes.set(shapes.has(name) ? `${name} (expression)` : name, moved);
    }
    const plain = (name) => name.replace(/ \(expression\)$/, "");
    const meanings = meaningsOf([...shapes.keys()].map(plain));
    const expressed = new Set([...expressions.keys()].map((name) => meanings.get(name)));
    this.shapes = [];
    const height = new Box3().setFromObject(this.scene).getSize(new Vector3()).y;
    for (const [name, binds] of shapes) {
      const meaning = meanings.get(plain(name));
      if (!meaning || (expressed.has(meaning) && !expressions.has(plain(name)))) continue;
      if (this.#reach(binds) > table.lips.still * Math.min(height, 0.6)) this.shapes.push({ name, meaning, binds });
    }
    if (!this.shapes.length) throw new Error(`${this.name} has no shapes whose names are known, so that nothing of it can move.`);
  }

  // How far a shape moves anything, roughly: in the mesh's own unit times its scale.
  #reach(binds) {
    let most = 0;
    for (const [mesh, target, weight] of binds) {
      const moved = mesh.geometry.morphAttributes.position?.[target];
      if (!moved) continue;
      const scale = mesh.isSkinnedMesh ? skinScale(mesh) : mesh.matrixWorld.getMaxScaleOnAxis();
      let size = 0;
      for (let v = 0; v < moved.count; v++) size = Math.max(size, Math.abs(moved.getX(v)), Math.abs(moved.getY(v)), Math.abs(moved.getZ(v)));
      most = Math.max(most, size * scale * Math.abs(weight));
    }
    return most;
  }

  // One list of all vertices that shapes can move, and where the lips are in it.
  #findMouth() {
    const parts = this.meshes.filter((mesh) => mesh.morphTargetInfluences);
    const rest = parts.map((mesh) => this.#places(mesh)), starts = [];
    let count = 0;
    for (const one of rest) {
      starts.push(count);
      count += one.length / 3;
    }
    const points = new Float64Array(3 * count);
    rest.forEach((one, n) => points.set(one, 3 * starts[n]));
    const offsetsOf = ({ binds }) => {
      const out = new Float64Array(3 * count);
      for (const [mesh, target, weight] of binds) {
        const n = parts.indexOf(mesh);
        if (n < 0) continue;
        this.#places(mesh, target).forEach((value, i) => (out[3 * starts[n] + i] += weight * (value - rest[n][i])));
      }
      return out;
    };
    const triangles = parts.flatMap((mesh, n) => {
      const { index, attributes } = mesh.geometry;
      const order = index ? Array.from({ length: index.count }, (_, i) => index.getX(i)) : Array.from({ length: attributes.position.count }, (_, i) => i);
      return order.map((v) => v + starts[n]);
    });
    const opener = table.opening.map((meaning) => this.shapes.find((shape) => shape.meaning === meaning)).find(Boolean);
    this.lips = opener ? findLips(points, offsetsOf(opener), triangles) : null;
    const measures = this.lips && this.shapes.map((shape) => measure(this.lips, offsetsOf(shape)));
    const width = this.lips ? measure(this.lips, points)[1] : table.width;
    this.transfer = new Transfer(this.shapes.map(({ meaning }) => meaning), measures, width);
    this.points = points;
    this.mouth = this.lips && [0, 1, 2].map((axis) => 0.5 * (points[3 * this.lips.upper + axis] + points[3 * this.lips.lower + axis]));
    this.mouthWidth = width;
    this.eyes = this.#findEyes(offsetsOf);
  }

  #findEyes(offsetsOf) {
    const { left_eye: left, right_eye: right } = this.bones;
    if (left && right) return place(left).add(place(right)).multiplyScalar(0.5);
    const blinks = this.shapes.filter(({ meaning }) => ["blink", "eyeBlinkLeft", "eyeBlinkRight"].includes(meaning));
    const sum = new Vector3();
    let seen = 0;
    for (const shape of blinks) {
      offsetsOf(shape).forEach((value, i) => {
        if (i % 3 !== 1 || Math.abs(value) < 0.002) return;
        sum.add(new Vector3(this.points[i - 1], this.points[i], this.points[i + 1]));
        seen++;
      });
    }
    return seen ? sum.divideScalar(seen) : null;
  }

  // What the camera goes by, as face/deform.py measures it.
  #anatomy() {
    const box = new Box3().setFromObject(this.scene, true);
    const unit = this.eyes && this.mouth ? Math.max(this.eyes.y - this.mouth[1], 1e-3) : 1.3 * this.mouthWidth;
    const mouth = this.mouth ?? [0.5 * (box.min.x + box.max.x), box.max.y - 2.6 * unit, box.max.z];
    const chin = mouth[1] - 0.72 * unit;
    const centre = [this.eyes?.x ?? mouth[0], mouth[1] + 0.5 * unit, this.eyes ? 0.5 * (this.eyes.z + mouth[2]) : mouth[2]];
    return { top: Math.min(box.max.y, chin + 6 * unit), chin, centre, width: 3.2 * unit, unit };
  }

  // The resting turns of the bones, and what turns them about the world's axes.
  #rest() {
    this.#settle();
    this.turning = Object.fromEntries(Object.entries(this.bones).map(([name, bone]) => {
      const above = new Quaternion();
      bone.parent.getWorldQuaternion(above);
      return [name, { bone, local: bone.quaternion.clone(), above, back: above.clone().invert() }];
    }));
    const looks = this.shapes.some(({ meaning }) => LOOKS.some((start) => meaning.startsWith(start)));
    this.eyesTurn = !looks && this.turning.left_eye && this.turning.right_eye;
  }

  #light() {
    const key = new DirectionalLight(0xfff4e6, 1.9), rim = new DirectionalLight(0xdfe9ff, 1.1);
    const [x, y, z] = this.anatomy.centre;
    key.position.set(x - 0.62, y + 0.58, z + 0.7);
    rim.position.set(x + 0.78, y + 0.42, z - 0.62);
    for (const light of [key, rim]) {
      light.target.position.set(x, y, z);
      this.root.add(light, light.target);
    }
    this.root.add(new HemisphereLight(0xffffff, 0x6b5f58, 1.1), new AmbientLight(0xffffff, 0.35));
    const scale = 1 / this.root.scale.x; // lights stand in the root's unit
    for (const light of [key, rim]) light.position.multiplyScalar(scale), light.target.position.multiplyScalar(scale);
  }

  /** The number of one of ARKit's shapes, or undefined. */
  shape(name) {
    return this.numbers[name];
  }

  /** Move to 52 weights and a pose (pitch, yaw, roll in radians). Gives how far apart the lips are, in metres. */
  pose(weights, pose) {
    const own = this.transfer.weights(weights);
    for (const mesh of this.meshes) mesh.morphTargetInfluences?.fill(0);
    let opened = 0;
    this.shapes.forEach(({ binds }, k) => {
      if (own[k] === 0) return;
      opened += own[k] * (this.transfer.measures?.[k][0] ?? 0);
      for (const [mesh, target, weight] of binds) mesh.morphTargetInfluences[target] = Math.min(mesh.morphTargetInfluences[target] + own[k] * weight, 1);
    });
    this.weights = own;
    this.#turn(pose);
    if (this.eyesTurn) this.#look(weights);
    return opened;
  }

  #turn([pitch, yaw, roll]) {
    const whole = turned(pitch, yaw, roll), { neck, head } = this.turning;
    if (!head) return;
    const share = neck ? table.neckShare : 0;
    if (neck) put(neck, new Quaternion().slerp(whole, share));
    put(head, new Quaternion().slerp(whole, 1 - share));
  }

  #look(weights) {
    const [inwards, outwards, down, up] = table.eyeDegrees.map((degree) => (degree * Math.PI) / 180);
    const weight = (name) => weights[this.numbers[name]];
    for (const [side, sign] of [["Left", 1], ["Right", -1]]) {
      const yaw = sign * (outwards * weight(`eyeLookOut${side}`) - inwards * weight(`eyeLookIn${side}`));
      const pitch = down * weight(`eyeLookDown${side}`) - up * weight(`eyeLookUp${side}`);
      put(this.turning[`${side.toLowerCase()}_eye`], turned(pitch, yaw, 0));
    }
  }

  /** How far apart a frame holds the lips of the default head, in metres. */
  gapOf(names, weights) {
    return names.reduce((sum, name, k) => sum + (table.measures[this.shape(name)]?.[0] ?? 0) * weights[k], 0);
  }

  dispose() {
    for (const mesh of this.meshes) {
      mesh.geometry.dispose();
      mesh.skeleton?.dispose();
      for (const material of [mesh.material].flat()) {
        for (const value of Object.values(material)) value?.isTexture && value.dispose();
        material.dispose();
      }
    }
  }
}

const place = (object) => object.getWorldPosition(new Vector3());

/** yaw, then pitch, then roll, as face/deform.py's pose_matrix. */
function turned(pitch, yaw, roll) {
  const about = (x, y, z, angle) => new Quaternion().setFromAxisAngle(new Vector3(x, y, z), angle);
  return about(0, 1, 0, yaw).multiply(about(1, 0, 0, pitch)).multiply(about(0, 0, 1, roll));
}

// Turn a bone about the world's axes, from how it rests: above^-1 turn above local.
const put = ({ bone, local, above, back }, turn) => bone.quaternion.copy(back).multiply(turn).multiply(above).multiply(local);

function skinScale(mesh) {
  const bone = mesh.skeleton.bones[0], inverse = mesh.skeleton.boneInverses[0];
  return bone ? new Matrix4().multiplyMatrices(bone.matrixWorld, inverse).multiply(mesh.bindMatrix).getMaxScaleOnAxis() : 1;
}

function boneOf(words) {
  if (["head", "neck"].includes(words.at(-1))) return words.at(-1);
  if (!words.some((word) => word === "eye" || word === "faceeye") || words.includes("end")) return null;
  if (["lid", "brow", "lash", "socket"].some((word) => words.includes(word))) return null;
  for (const [side, letter] of [["left", "l"], ["right", "r"]]) if (words.includes(side) || words.includes(letter)) return `${side}_eye`;
  return null;
}
