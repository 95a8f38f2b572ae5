// What the key light sees: a depth picture of the moved head, drawn before each picture.
import {
  DepthTexture, DoubleSide, FloatType, Matrix4, MeshBasicMaterial, NearestFilter, OrthographicCamera, Vector3, WebGLRenderTarget,
} from "three";
import { KEY } from "./lights.js";
import { materialOf } from "./materials.js";
import { shared } from "./surface.js";

const SIZE = 1024;

export class Shadow {
  /** centre, radius: a ball, in metres, that holds the head however it moves. */
  constructor(centre, radius) {
    this.centre = centre;
    this.radius = radius;
    this.camera = new OrthographicCamera(-radius, radius, radius, -radius, 0, 2 * radius);
    this.target = new WebGLRenderTarget(SIZE, SIZE, { magFilter: NearestFilter, minFilter: NearestFilter });
    this.target.depthTexture = new DepthTexture(SIZE, SIZE, FloatType);
    this.matrix = new Matrix4();
    shared.shadowMap.value = this.target.depthTexture;
    shared.shadowTexel.value = 1 / SIZE;
    shared.toShadow.value = this.matrix;
    // Both sides: light also passes a mesh's open rim from behind.
    this.casting = new MeshBasicMaterial({ side: DoubleSide, colorWrite: false });
    this.hidden = new MeshBasicMaterial({ visible: false });
  }

  /** The range of depth in metres. */
  get range() {
    return 2 * this.radius;
  }

  draw(renderer, scene, mesh, viewer) {
    const towards = shared.keyWorld.value.copy(KEY.towards).applyQuaternion(viewer.quaternion);
    this.camera.position.copy(this.centre).addScaledVector(towards, this.radius);
    this.camera.up.copy(new Vector3(0, 1, 0).applyQuaternion(viewer.quaternion));
    this.camera.lookAt(this.centre);
    this.camera.updateMatrixWorld();
    this.matrix
      .set(0.5, 0, 0, 0.5, 0, 0.5, 0, 0.5, 0, 0, 0.5, 0.5, 0, 0, 0, 1)
      .multiply(this.camera.projectionMatrix)
      .multiply(this.camera.matrixWorldInverse);
    const drawn = mesh.material;
    mesh.material = drawn.map(({ name }) => (materialOf(name).castsShadow ? this.casting : this.hidden));
    renderer.setRenderTarget(this.target);
    renderer.clear();
    renderer.render(scene, this.camera);
    renderer.setRenderTarget(null);
    mesh.material = drawn;
  }
}
