// Finds the mouth of a face that nobody has marked, as face/lips.py does: where the mesh parts when the mouth opens.
import { lips as numbers } from "../generated/characters.json";

const some = (found) => found.filter((_, n) => n % Math.max(Math.ceil(found.length / numbers.mostNear), 1) === 0);
const distance = (p, i, j) => Math.hypot(p[3 * i] - p[3 * j], p[3 * i + 1] - p[3 * j + 1], p[3 * i + 2] - p[3 * j + 2]);

function median(values) {
  const sorted = Float64Array.from(values).sort(), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : 0.5 * (sorted[half - 1] + sorted[half]);
}

/**
 * points: (3 V) at rest. offsets: (3 V) of the shape that opens the mouth. triangles: (3 F) vertices.
 * Gives { upper, lower, right: [2], left: [2] }, vertices; null where nothing parts.
 */
export function findLips(points, offsets, triangles) {
  const count = points.length / 3, all = Array.from({ length: count }, (_, v) => v);
  const size = (v) => Math.max(Math.abs(offsets[3 * v]), Math.abs(offsets[3 * v + 1]), Math.abs(offsets[3 * v + 2]));
  const largest = all.reduce((most, v) => Math.max(most, size(v)), 0);
  const moved = all.filter((v) => size(v) > 0.05 * largest);
  if (!moved.length) return null;
  const ends = (axis) => moved.reduce(([a, b], v) => [Math.min(a, points[3 * v + axis]), Math.max(b, points[3 * v + axis])], [Infinity, -Infinity]);
  const [lowX, highX] = ends(0), [lowY, highY] = ends(1);
  const width = highX - lowX, middle = 0.5 * (lowX + highX);
  if (!(width > 0)) return null;
  const x = (v) => points[3 * v], y = (v) => points[3 * v + 1], z = (v) => points[3 * v + 2], rise = (v) => offsets[3 * v + 1];
  const across = (v) => Math.abs(x(v) - middle), behind = median(moved.map(z));
  const strip = some(all.filter((v) =>
    across(v) < numbers.strip * width && y(v) > lowY - 0.2 * width && y(v) < highY + 0.2 * width && z(v) > behind));
  let most = 0, best = -Infinity, pair = null;
  for (const turn of [0, 1]) {
    for (const i of strip) for (const j of strip) {
      const parting = rise(i) - rise(j);
      if (parting <= 0.5 * most || y(i) < y(j) - 0.01 * width) continue;
      const apart = distance(points, i, j);
      if (apart >= numbers.near * width) continue;
      if (turn === 0) {
        most = Math.max(most, parting);
        continue;
      }
      const score = 0.5 * (z(i) - 0.6 * across(i) + z(j) - 0.6 * across(j)) - apart;
      if (score > best) [best, pair] = [score, [i, j, parting]];
    }
  }
  if (!pair) return null;
  const [upper, lower, opening] = pair;
  const heartY = 0.5 * (y(upper) + y(lower)), heartZ = 0.5 * (z(upper) + z(lower));
  let band = some(all.filter((v) =>
    Math.abs(y(v) - heartY) < numbers.band * width && z(v) > heartZ - numbers.depth * width && across(v) < 0.5 * width));
  band = band.filter((v) => !hidden(points, triangles, v, numbers.hidden * width));
  let right = middle, left = middle, rightPair = null, leftPair = null;
  for (const i of band) for (const j of band) {
    const parting = rise(i) - rise(j), place = 0.5 * (x(i) + x(j));
    if (parting <= numbers.cornerParts * opening || (right <= place && place <= left)) continue;
    const apart = distance(points, i, j);
    if (apart >= numbers.cornerNear * width || apart >= parting) continue;
    if (place < right) [right, rightPair] = [place, [i, j]];
    if (place > left) [left, leftPair] = [place, [i, j]];
  }
  return rightPair && leftPair ? { upper, lower, right: rightPair, left: leftPair } : null;
}

// Whether a triangle lies more than margin in front of a vertex.
function hidden(points, triangles, vertex, margin) {
  const px = points[3 * vertex], py = points[3 * vertex + 1], pz = points[3 * vertex + 2] + margin;
  for (let t = 0; t < triangles.length; t += 3) {
    const a = 3 * triangles[t], b = 3 * triangles[t + 1], c = 3 * triangles[t + 2];
    if (points[a + 2] < pz && points[b + 2] < pz && points[c + 2] < pz) continue;
    const ax = points[a], ay = points[a + 1];
    const bx = points[b] - ax, by = points[b + 1] - ay, cx = points[c] - ax, cy = points[c + 1] - ay;
    const area = bx * cy - by * cx;
    if (area === 0) continue;
    const x = px - ax, y = py - ay, u = (x * cy - y * cx) / area, v = (bx * y - by * x) / area;
    if (u < 0 || v < 0 || u + v > 1) continue;
    if (points[a + 2] + u * (points[b + 2] - points[a + 2]) + v * (points[c + 2] - points[a + 2]) > pz) return true;
  }
  return false;
}

/** The six measures of a mouth, of places or of offsets (3 V); in metres, as face/lips.py's MEASURES. */
export function measure(lips, values) {
  const at = (v, axis) => values[3 * v + axis], mean = (pair, axis) => 0.5 * (at(pair[0], axis) + at(pair[1], axis));
  const { upper, lower, right, left } = lips;
  return [
    at(upper, 1) - at(lower, 1), mean(left, 0) - mean(right, 0), at(upper, 2), at(upper, 1),
    0.5 * (mean(left, 1) + mean(right, 1)), 0.5 * (mean(left, 0) + mean(right, 0)),
  ];
}
