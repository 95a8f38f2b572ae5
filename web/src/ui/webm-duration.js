// MediaRecorder writes webm for a stream, without its length: players then show no end and cannot seek. This adds it.
const SEGMENT = 0x18538067, INFO = 0x1549a966, DURATION = 0x4489;

// An EBML element's header at `at`: {id, size, start}, size null where unknown.
function header(bytes, at) {
  const idLength = Math.clz32(bytes[at]) - 23;
  let id = 0;
  for (let i = 0; i < idLength; i++) id = id * 256 + bytes[at + i];
  const first = bytes[at + idLength];
  const length = Math.clz32(first) - 23;
  let size = first & (0xff >> length), known = size !== 0xff >> length;
  for (let i = 1; i < length; i++) {
    const byte = bytes[at + idLength + i];
    known ||= byte !== 0xff;
    size = size * 256 + byte;
  }
  return { id, size: known ? size : null, start: at + idLength + length };
}

// Walk the elements from `at` to the first with the id, or null.
function find(bytes, id, at, end) {
  while (at < end) {
    const element = header(bytes, at);
    if (element.id === id) return { ...element, at };
    if (element.size === null) return null;
    at = element.start + element.size;
  }
  return null;
}

/** bytes: Uint8Array of a recorded webm. seconds: its length. Gives the same file with a Duration, or `bytes` as they are. */
export function withDuration(bytes, seconds) {
  const segment = find(bytes, SEGMENT, 0, bytes.length);
  // A segment of known size, or one with an index, would need its numbers moved as well.
  if (!segment || segment.size !== null) return bytes;
  const info = find(bytes, INFO, segment.start, bytes.length);
  if (!info || info.size === null || find(bytes, DURATION, info.start, info.start + info.size)) return bytes;
  const addition = new DataView(new ArrayBuffer(11));
  addition.setUint16(0, DURATION);
  addition.setUint8(2, 0x88);
  addition.setFloat64(3, 1000 * seconds); // in the default scale of a millisecond, which MediaRecorder uses
  const head = new DataView(new ArrayBuffer(12)); // the id, and a size in eight bytes
  head.setUint32(0, INFO);
  head.setBigUint64(4, BigInt(info.size + addition.byteLength) | (1n << 56n));
  const cut = info.start + info.size;
  const parts = [bytes.subarray(0, info.at), new Uint8Array(head.buffer), bytes.subarray(info.start, cut), new Uint8Array(addition.buffer), bytes.subarray(cut)];
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
