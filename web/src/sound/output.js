// The page's one AudioContext: what is played, and what a recording gets.
let context = null, tap = null;

/** The context, made at the first use: browsers want a key or a click before. */
export async function output() {
  context ??= new AudioContext({ latencyHint: "interactive" });
  if (context.state !== "running") await context.resume();
  tap ??= context.createMediaStreamDestination();
  return { context, tap };
}

/** Seconds on the context's clock of what is at the ear right now. */
export function audibleNow(context) {
  const stamp = context.getOutputTimestamp?.();
  if (stamp && stamp.contextTime > 0 && stamp.performanceTime > 0) {
    const audible = stamp.contextTime + (performance.now() - stamp.performanceTime) / 1000;
    // Some browsers' stamps stand still or run off: believed only where the plain clock agrees.
    if (audible <= context.currentTime + 0.02 && audible > context.currentTime - 1) return audible;
  }
  return context.currentTime - (context.outputLatency || context.baseLatency || 0);
}
