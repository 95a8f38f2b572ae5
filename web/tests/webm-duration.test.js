import { expect, test } from "vitest";
import { withDuration } from "../src/ui/webm-duration.js";

const EBML = [0x1a, 0x45, 0xdf, 0xa3, 0x83, 0x42, 0x86, 0x80];
const SEGMENT = [0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
const INFO = [0x15, 0x49, 0xa9, 0x66, 0x87, 0x2a, 0xd7, 0xb1, 0x83, 0x0f, 0x42, 0x40]; // a time scale of 1 ms
const CLUSTER = [0x1f, 0x43, 0xb6, 0x75, 0x81, 0xec];

test("a recorded webm gets its length in its Info", () => {
  const made = withDuration(Uint8Array.from([...EBML, ...SEGMENT, ...INFO, ...CLUSTER]), 2.5);
  const before = EBML.length + SEGMENT.length;
  const view = new DataView(made.buffer);
  expect(Array.from(made.subarray(0, before + 4))).toEqual([...EBML, ...SEGMENT, ...INFO.slice(0, 4)]);
  expect(view.getBigUint64(before + 4)).toBe((1n << 56n) + 18n);
  expect(Array.from(made.subarray(before + 12, before + 19))).toEqual(INFO.slice(5));
  expect(view.getUint16(before + 19)).toBe(0x4489);
  expect(view.getFloat64(before + 22)).toBe(2500);
  expect(Array.from(made.subarray(before + 30))).toEqual(CLUSTER);
  // A file that has it stays as it is.
  expect(withDuration(made, 9)).toBe(made);
});

test("what is no such file stays as it is", () => {
  for (const bytes of [[], EBML, [...EBML, ...SEGMENT], [0, 0, 0, 1]].map((one) => Uint8Array.from(one))) {
    expect(withDuration(bytes, 1)).toBe(bytes);
  }
});
