// A dropped character speaks as Python makes it speak: the same lips, the same weights.
import { expect, test } from "vitest";
import { meaningOf, meaningsOf } from "../src/head/dialects.js";
import { findLips, measure } from "../src/head/lips.js";
import { solve, Transfer } from "../src/head/transfer.js";
import reference from "./characters_reference.json";

const flat = (rows) => Float64Array.from(rows.flat());
const points = flat(reference.vertices), triangles = reference.triangles.flat();
const shapes = reference.basis.map(flat);

test("names in every dialect", () => {
  expect(meaningOf("AK_01_BrowDownLeft")).toBe("browDownLeft");
  expect(meaningOf("blendShape1.eyeBlink_L")).toBe("eyeBlinkLeft");
  expect(meaningOf("あ")).toBe("vowel_aa");
  expect(meaningOf("Wolf3D.viseme_PP")).toBe("viseme_PP");
  expect(meaningOf("Hair_A")).toBe(null);
  expect(meaningOf("constructor")).toBe(null);
  expect(Object.fromEntries(meaningsOf(reference.names))).toEqual(reference.meanings);
  expect([...meaningsOf(["Blink", "Blink_L", "Blink_R"]).keys()]).toEqual(["Blink_L", "Blink_R"]);
});

test("the lips are where Python finds them", () => {
  const { upper, lower, right, left } = findLips(points, shapes[0], triangles);
  expect([upper, lower, ...right, ...left]).toEqual(reference.lips);
  expect(findLips(points, shapes[3], triangles)).toBe(null); // a blink parts nothing
});

test("the weights are Python's", () => {
  const lips = findLips(points, shapes[0], triangles);
  const meanings = reference.names.map((name) => reference.meanings[name]);
  const transfer = new Transfer(meanings, shapes.map((shape) => measure(lips, shape)), measure(lips, points)[1]);
  reference.weights.forEach((row, n) => {
    const found = transfer.weights(row);
    found.forEach((value, k) => expect(value).toBeCloseTo(reference.solved[n][k], 3));
  });
});

test("bounds hold, and a weight beyond its prior costs", () => {
  expect(solve([[2, 0], [0, 1]], [6, 0.25], [1, 1], [0, 0], 1e-6)[0]).toBe(1);
  const cheap = solve([[1]], [0.5], [1], [0], 0.1, 0), dear = solve([[1]], [0.5], [1], [0], 0.1, 0.4);
  expect(cheap[0]).toBeCloseTo(0.495, 2);
  expect(dear[0]).toBeCloseTo(0.297, 2);
});
