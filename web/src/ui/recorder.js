// A video of the canvas and the sound, in whatever form this browser can write.
import { withDuration } from "./webm-duration.js";

const KINDS = [
  ["video/mp4;codecs=avc1.42E01F,mp4a.40.2", "mp4"], ["video/webm;codecs=vp9,opus", "webm"], ["video/webm;codecs=vp8,opus", "webm"],
  ["video/webm", "webm"], ["video/mp4", "mp4"],
];

export const canRecord = () =>
  typeof MediaRecorder === "function" && "captureStream" in HTMLCanvasElement.prototype && KINDS.some(([kind]) => MediaRecorder.isTypeSupported(kind));

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function finished(blob, ending, seconds) {
  if (ending !== "webm") return blob;
  return new Blob([withDuration(new Uint8Array(await blob.arrayBuffer()), seconds)], { type: blob.type });
}

export class Recorder {
  /** canvas: what is seen. sound: a MediaStream. */
  constructor(canvas, sound) {
    const [kind, ending] = KINDS.find(([one]) => MediaRecorder.isTypeSupported(one));
    const picture = canvas.captureStream(30);
    const both = new MediaStream([...picture.getVideoTracks(), ...sound.getAudioTracks()]);
    this.recorder = new MediaRecorder(both, { mimeType: kind, videoBitsPerSecond: 6_000_000 });
    const parts = [];
    this.recorder.ondataavailable = ({ data }) => data.size && parts.push(data);
    this.done = new Promise((resolve) => {
      this.recorder.onstop = async () => {
        for (const track of picture.getTracks()) track.stop();
        resolve({ blob: await finished(new Blob(parts, { type: kind }), ending, (performance.now() - started) / 1000), ending });
      };
    });
    const started = performance.now();
    this.recorder.start(1000);
  }

  /** Gives {blob, ending}. */
  stop() {
    this.recorder.stop();
    return this.done;
  }
}
