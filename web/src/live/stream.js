// One live session: sound in, frames out (docs/live.md).
import { readFrame } from "./frame.js";

const WORDS = {
  bad_token: "This server wants its token: open the whole link that jambatalk serve printed.",
  overloaded: "The server is busy with others right now. Try again in a moment.",
  too_slow: "This device did not keep up with the frames, so the server ended the session.",
  too_long: "The session reached the server's time limit. Start again to go on.",
  idle: "Nothing was sent for a while, so the server ended the session.",
};
const GONE = "The connection to the server broke. Is jambatalk serve still running?";

export class StreamError extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

/**
 * Opens a session. start: the fields of the start message. on: {frame(frame), ended(message), failed(StreamError)}.
 * Resolves with the open Stream once the server is ready.
 */
export function openStream(address, start, on) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    const stream = new Stream(socket);
    let ready = false, refused = null;
    const fail = (error) => {
      if (stream.closed) return;
      stream.closed = true;
      if (ready) on.failed(error);
      else reject(error);
    };
    socket.onopen = () => socket.send(JSON.stringify({ type: "start", frames: "binary", ...start }));
    socket.onmessage = ({ data }) => {
      if (stream.closed) return;
      if (typeof data !== "string") {
        on.frame(readFrame(data));
        return;
      }
      const message = JSON.parse(data);
      if (message.type === "ready") {
        ready = true;
        stream.ready = message;
        resolve(stream);
      } else if (message.type === "error") {
        refused = new StreamError(WORDS[message.code] ?? `The server says: ${message.message}.`, message.code);
        fail(refused);
      } else if (message.type === "ended" || message.type === "interrupted") on.ended(message);
    };
    socket.onclose = ({ code }) => fail(refused ?? new StreamError(code === 1008 ? "The server refused the connection." : GONE, `close ${code}`));
  });
}

class Stream {
  constructor(socket) {
    this.socket = socket;
    this.ready = null;
    this.closed = false;
  }

  /** Sound in the encoding of the start message. */
  send(samples) {
    if (!this.closed) this.socket.send(samples);
  }

  /** Bytes that wait in this browser. */
  get waiting() {
    return this.socket.bufferedAmount;
  }

  end() {
    if (!this.closed) this.socket.send(JSON.stringify({ type: "end" }));
  }

  close() {
    this.closed = true;
    this.socket.close();
  }
}
