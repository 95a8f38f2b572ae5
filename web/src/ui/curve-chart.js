// The last seconds of a source as curves: how loud the sound was, how far the jaw and the lips opened.
const SECONDS = 6;
const WIDEST = 0.02; // metres between the lips at the chart's top
const JAW = 0.5; // jawOpen at the chart's top

export class CurveChart {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
  }

  /** source: what plays or played last; time: its media time at the right edge; head: gives the lips' distance of a frame. */
  draw(source, time, head) {
    const { canvas, pen } = this;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width || !source?.track) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const style = getComputedStyle(canvas);
    const base = height - 4, span = height - 8;
    const x = (at) => width * (1 - (time - at) / SECONDS);
    const y = (value) => base - span * Math.min(Math.max(value, 0), 1);
    const from = Math.max(time - SECONDS, 0);

    pen.fillStyle = style.getPropertyValue("--level");
    pen.beginPath();
    pen.moveTo(x(from), base);
    // A square root: speech's quiet half is worth seeing.
    for (let at = Math.floor(from / 0.02) * 0.02; at <= time; at += 0.02) pen.lineTo(x(at), y(1.25 * Math.sqrt(source.level(at))));
    pen.lineTo(width, base);
    pen.fill();

    const frames = source.track.frames.filter((frame) => frame.time > from - 0.1 && frame.time <= time);
    const jaw = source.track.names.indexOf("jawOpen");
    pen.lineWidth = 1.8;
    pen.lineJoin = pen.lineCap = "round";
    const curve = (colour, value) => {
      pen.strokeStyle = style.getPropertyValue(colour);
      pen.beginPath();
      for (const frame of frames) pen.lineTo(x(frame.time), y(value(frame)));
      pen.stroke();
    };
    curve("--lips", (frame) => (frame.gap ??= head.gapOf(source.track.names, frame.weights)) / WIDEST);
    curve("--jaw", (frame) => frame.weights[jaw] / JAW);
    pen.fillStyle = style.getPropertyValue("--line");
    pen.fillRect(0, base + 1, width, 1);
  }
}
