// The frames of a source as the JSON that `jambatalk animate` and Motion.load read (jambatalk/formats/json.py).
const SIX = (value) => Math.round(value * 1e6) / 1e6;

/** track: a Track with frames. Gives the file's text. */
export function motionFile({ names, fps, frames }) {
  const posed = frames.every(({ pose }) => pose);
  const rows = frames.map(({ weights, pose }, index) => ({
    time: SIX(index / fps),
    weights: Array.from(weights, SIX),
    ...(posed && { head_pose: pose.map(SIX) }),
  }));
  return JSON.stringify({ format: "jambatalk-motion", version: 1, fps, seconds: rows.length / fps, names, frames: rows });
}
