// One frame of the binary form in docs/live.md.
const POSE = 1;

/** ArrayBuffer -> {turn, index, time, pose: [pitch, yaw, roll] | null, weights: Float32Array}. */
export function readFrame(buffer) {
  const view = new DataView(buffer);
  if (view.getUint32(0, false) !== 0x4a544631) throw new Error("a message of the server is no frame");
  const count = view.getUint16(6, true);
  let at = 24, pose = null;
  if (view.getUint8(4) & POSE) {
    pose = [0, 4, 8].map((offset) => view.getFloat32(at + offset, true));
    at += 12;
  }
  const weights = new Float32Array(count);
  for (let k = 0; k < count; k++) weights[k] = view.getUint16(at + 2 * k, true) / 65535;
  return { turn: view.getUint32(8, true), index: view.getUint32(12, true), time: view.getFloat64(16, true), pose, weights };
}
