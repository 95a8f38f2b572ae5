// Says on another character what a frame says on the default head: the problem of face/transfer.py, solved the same way.
import table from "../generated/characters.json";
import { recipeMatrix } from "./dialects.js";

const numbers = table.transfer;
const about = table.names.map((name) => numbers.aboutMouth.some((start) => name.startsWith(start)));

/** Weights w in 0..1 for the least |counts (matrix w - wanted)|^2 + hold^2 |w - prior|^2 + more * sum of w beyond prior. */
export function solve(matrix, wanted, counts, prior, hold, more = 0) {
  const many = matrix.length, size = prior.length, rows = matrix.map((row, m) => row.map((value) => counts[m] * value));
  const weights = prior.map((value) => Math.min(Math.max(value, 0), 1)), held = hold * hold;
  const error = rows.map((row, m) => row.reduce((sum, value, k) => sum + value * weights[k], -counts[m] * wanted[m]));
  for (let sweep = 0; sweep < numbers.sweeps; sweep++) {
    let largest = 0;
    for (let k = 0; k < size; k++) {
      let slope = held * (weights[k] - prior[k]), curve = held;
      for (let m = 0; m < many; m++) {
        slope += rows[m][k] * error[m];
        curve += rows[m][k] * rows[m][k];
      }
      let value = weights[k] - slope / curve;
      if (value > prior[k]) value = Math.max(value - (0.5 * more) / curve, prior[k]);
      value = Math.min(Math.max(value, 0), 1);
      const step = value - weights[k];
      if (step === 0) continue;
      weights[k] = value;
      for (let m = 0; m < many; m++) error[m] += rows[m][k] * step;
      largest = Math.max(largest, Math.abs(step));
    }
    if (largest < numbers.enough) break;
  }
  return weights;
}

const FAMILIES = [
  [(meaning) => table.names.includes(meaning), ["jawOpen"]],
  [(meaning) => meaning.startsWith("viseme_"), ["viseme_aa", "viseme_O", "viseme_E"]],
  [(meaning) => meaning.startsWith("vowel_"), ["vowel_aa", "vowel_oh"]],
];

export class Transfer {
  /**
   * meanings: of the K shapes that move something. measures: K times the six of lips.js, or null where the lips were not
   * found. width: of the mouth at rest, in metres.
   */
  constructor(meanings, measures, width) {
    let used = meanings.map(() => true);
    for (const [n, [belongs, opens]] of FAMILIES.entries()) {
      if (!meanings.some((meaning) => belongs(meaning) && opens.includes(meaning))) continue;
      for (const [other] of FAMILIES.slice(n + 1)) used = used.map((now, k) => now && !other(meanings[k]));
      break;
    }
    const matrix = recipeMatrix(meanings);
    const mouthy = meanings.map((_, k) => matrix.some((row, n) => about[n] && row[k] !== 0));
    this.count = meanings.length;
    this.groups = [true, false].map((mouth) => {
      const columns = meanings.map((_, k) => k).filter((k) => used[k] && mouthy[k] === mouth);
      const rows = table.names.map((_, n) => n).filter((n) => about[n] === mouth);
      const part = rows.map((n) => columns.map((k) => matrix[n][k]));
      const exact = columns.every((_, k) => part.filter((row) => row[k] !== 0).length === 1) &&
        part.every((row) => row.reduce((a, b) => a + b, 0) <= 1);
      return { mouth, columns, rows, part, spread: exact ? 1e-6 : numbers.spread };
    });
    this.scale = width / table.width;
    this.measures = measures;
    this.own = measures && this.groups[0].columns.map((k) => measures[k].map((value) => (1000 * value) / this.scale));
  }

  /** The shapes that frames move. */
  get used() {
    return this.groups.flatMap(({ columns }) => columns).sort((a, b) => a - b);
  }

  /** (52,) ARKit weights -> (K,) weights of the character's shapes. */
  weights(arkit) {
    const found = new Float32Array(this.count);
    for (const { mouth, columns, rows, part, spread } of this.groups) {
      if (!columns.length) continue;
      let weights = solve(part, rows.map((n) => arkit[n]), rows.map(() => 1), columns.map(() => 0), spread);
      if (mouth && this.own) weights = this.#byLips(arkit, weights);
      columns.forEach((k, n) => (found[k] = weights[n]));
    }
    return found;
  }

  #byLips(arkit, prior) {
    const wanted = numbers.counts.map((_, m) => 1000 * table.measures.reduce((sum, row, n) => sum + arkit[n] * row[m], 0));
    wanted[0] = Math.max(wanted[0], 0);
    const counts = numbers.counts.slice();
    const nearly = Math.min(Math.max(1 - wanted[0] / (1000 * numbers.closed), 0), 1);
    counts[0] *= 1 + (numbers.closedCounts - 1) * nearly;
    const matrix = counts.map((_, m) => this.own.map((row) => row[m]));
    return solve(matrix, wanted, counts, prior, numbers.prior, numbers.more);
  }
}
