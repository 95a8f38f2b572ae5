import { expect, test } from "vitest";
import { readFrame } from "../src/live/frame.js";
import { Latency } from "../src/live/latency.js";
import { motionFile } from "../src/live/motion-file.js";
import { Track } from "../src/live/track.js";

test("a binary frame is read as docs/live.md lays it out", () => {
  const buffer = new ArrayBuffer(24 + 12 + 4);
  const view = new DataView(buffer);
  view.setUint32(0, 0x4a544631, false);
  view.setUint8(4, 1);
  view.setUint16(6, 2, true);
  view.setUint32(8, 3, true);
  view.setUint32(12, 7, true);
  view.setFloat64(16, 0.28, true);
  [0.1, -0.2, 0.3].forEach((angle, axis) => view.setFloat32(24 + 4 * axis, angle, true));
  [65535, 13107].forEach((weight, k) => view.setUint16(36 + 2 * k, weight, true));
  const frame = readFrame(buffer);
  expect([frame.turn, frame.index, frame.time]).toEqual([3, 7, 0.28]);
  expect(frame.pose[1]).toBeCloseTo(-0.2, 6);
  expect(Array.from(frame.weights, (w) => w.toFixed(4))).toEqual(["1.0000", "0.2000"]);
});

test("a track interpolates between frames and holds the outermost", () => {
  const track = new Track(["jawOpen"], 25);
  track.add({ time: 0, weights: [0.2], pose: [0, 0, 0] });
  track.add({ time: 0.04, weights: [0.6], pose: [0.1, 0, 0] });
  const weights = new Float32Array(1);
  expect(track.at(0.01, weights)[0]).toBeCloseTo(0.025, 6);
  expect(weights[0]).toBeCloseTo(0.3, 6);
  track.at(9, weights);
  expect(weights[0]).toBeCloseTo(0.6, 6);
});

test("old frames go", () => {
  const track = new Track(["jawOpen"], 10, 5);
  for (let i = 0; i < 400; i++) track.add({ time: i / 10, weights: [0], pose: null });
  expect(track.end - track.frames[0].time).toBeLessThanOrEqual(15);
  expect(track.end).toBeCloseTo(39.9, 6);
});

test("a motion file has the form of Motion.save", () => {
  const track = new Track(["jawOpen", "mouthClose"], 25);
  track.add({ time: 1, weights: Float32Array.of(0.25, 0.1), pose: [0.1, 0, 0] });
  track.add({ time: 1.04, weights: Float32Array.of(0.5, 0), pose: [0.2, 0, 0] });
  expect(JSON.parse(motionFile(track))).toEqual({
    format: "jambatalk-motion", version: 1, fps: 25, seconds: 0.08, names: ["jawOpen", "mouthClose"],
    frames: [
      { time: 0, weights: [0.25, 0.1], head_pose: [0.1, 0, 0] },
      { time: 0.04, weights: [0.5, 0], head_pose: [0.2, 0, 0] },
    ],
  });
});

test("latency counts from the last sound that a frame needed", () => {
  const latency = new Latency(0.2);
  latency.soundSent(0.5, 10);
  latency.frameReceived(0.3, 10.05);
  latency.frameReceived(0.9, 10.06); // no sound for it was sent: not measured
  expect(latency.quantile(0.5)).toBeCloseTo(0.05, 6);
});
