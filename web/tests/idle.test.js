// The page's idle motion is Python's: same numbers, same chances, same frames.
import { expect, test } from "vitest";
import { Idle } from "../src/head/idle.js";
import { draw, streamKey } from "../src/head/rng.js";
import reference from "./idle_reference.json";

test("a minute of a resting face equals what Python gives", () => {
  const { settings, fps, names, frames, weights, pose } = reference;
  const idle = new Idle(settings.seed);
  let blinks = 0;
  frames.forEach((frame, row) => {
    const found = idle.at(frame / fps, settings);
    names.forEach((name, k) => expect(found.shapes[name] ?? 0).toBeCloseTo(weights[row][k], 5));
    found.pose.forEach((angle, axis) => expect(angle).toBeCloseTo(pose[row][axis], 5));
    blinks += weights[row][names.indexOf("eyeBlinkLeft")] > 0.5;
  });
  expect(blinks).toBeGreaterThan(0);
});

test("the same seed gives the same face, another seed another", () => {
  const life = { blinks: 1, gaze: 1, head: 1, breath: 1 };
  const run = (seed) => {
    const idle = new Idle(seed);
    return Array.from({ length: 600 }, () => idle.step(1 / 60, life).pose[1]);
  };
  expect(run(5)).toEqual(run(5));
  expect(run(5)).not.toEqual(run(6));
});

test("strengths of 0 leave the face still", () => {
  const { shapes, pose } = new Idle().step(7, { blinks: 0, gaze: 0, head: 0, breath: 0 });
  expect(Object.values(shapes).every((weight) => weight === 0)).toBe(true);
  expect(pose.map(Math.abs)).toEqual([0, 0, 0]);
});

test("numbers of a stream lie in 0..1 and do not depend on order", () => {
  const key = streamKey(3, 1);
  const later = draw(key, 9);
  const all = Array.from({ length: 20 }, (_, index) => draw(key, index));
  expect(all[9]).toBe(later);
  expect(Math.min(...all)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...all)).toBeLessThan(1);
});
