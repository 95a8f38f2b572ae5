// The face's shapes, mixed here rather than by the GPU: each moves few vertices, and so a mix costs about a millisecond, where
// the GPU would visit all 52 shapes for every vertex, twice a picture, from a texture of 16 MB.

/** Copies of the places of a BufferAttribute, at 32 bits. */
const values = (attribute) => Float32Array.from({ length: 3 * attribute.count }, (_, i) => attribute.getComponent((i / 3) | 0, i % 3));

// The numbers of an offset that are not 0, and where they go.
function sparse(attribute) {
  const dense = values(attribute);
  const places = Uint32Array.from(dense.keys()).filter((i) => dense[i] !== 0);
  return { places, offsets: Float32Array.from(places, (i) => dense[i]) };
}

export class Shapes {
  /** geometry: with its neutral positions and normals, and a morph attribute for each shape. */
  constructor(geometry) {
    this.kinds = ["position", "normal"].map((name) => ({
      attribute: geometry.getAttribute(name),
      neutral: values(geometry.getAttribute(name)),
      shapes: geometry.morphAttributes[name].map(sparse),
    }));
  }

  /** The neutral places, (3 * vertices,) metres. */
  get neutral() {
    return this.kinds[0].neutral;
  }

  /** How far shape k moves a vertex along an axis (0 x, 1 y, 2 z), in metres. */
  offset(k, vertex, axis) {
    const { places, offsets } = this.kinds[0].shapes[k];
    const found = places.indexOf(3 * vertex + axis);
    return found < 0 ? 0 : offsets[found];
  }

  /** Put the mix of weights (one per shape) into the geometry. */
  mix(weights) {
    for (const { attribute, neutral, shapes } of this.kinds) {
      const mixed = attribute.array;
      mixed.set(neutral);
      for (let k = 0; k < shapes.length; k++) {
        const weight = weights[k];
        if (weight === 0) continue;
        const { places, offsets } = shapes[k];
        for (let i = 0; i < places.length; i++) mixed[places[i]] += weight * offsets[i];
      }
      attribute.needsUpdate = true;
    }
  }
}
