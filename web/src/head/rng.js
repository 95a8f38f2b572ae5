// Numbers from a counter, the same as jambatalk/idle/rng.py gives: number n of a stream depends on (seed, stream, n) alone.
const GOLDEN = 0x9e3779b97f4a7c15n;
const wrapped = (z) => BigInt.asUintN(64, z);

function mix(z) {
  z = wrapped((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
  z = wrapped((z ^ (z >> 27n)) * 0x94d049bb133111ebn);
  return z ^ (z >> 31n);
}

/** The key of one of a seed's streams. */
export const streamKey = (seed, stream) => mix(wrapped(mix(wrapped(BigInt(seed) + GOLDEN)) + BigInt(stream + 1) * GOLDEN));

/** Number `index` of a stream, uniform in [0, 1). */
export const draw = (key, index) => Number(mix(wrapped(key + BigInt(index + 1) * GOLDEN)) >> 11n) * 2 ** -53;

/** One stream's numbers, one after another. */
export class CounterRNG {
  constructor(seed, stream) {
    this.key = streamKey(seed, stream);
    this.count = 0;
  }

  uniform(low = 0, high = 1) {
    return low + (high - low) * draw(this.key, this.count++);
  }

  /** spread: the standard deviation of the logarithm. */
  logNormal(median, spread) {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return median * Math.exp(spread * radius * Math.cos(2 * Math.PI * this.uniform()));
  }
}
