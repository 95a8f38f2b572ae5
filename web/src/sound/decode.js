// A sound file's samples at its own rate, mono.

/** Samples a second that a WAV or FLAC file states, else null. */
export function statedRate(bytes) {
  const view = new DataView(bytes);
  if (bytes.byteLength < 48) return null;
  const word = view.getUint32(0, false);
  if (word === 0x52494646 && view.getUint32(12, false) === 0x666d7420) return view.getUint32(24, true); // RIFF ... "fmt "
  if (word === 0x664c6143) return (view.getUint16(18, false) << 4) | (view.getUint8(20) >> 4); // fLaC
  return null;
}

/** ArrayBuffer -> AudioBuffer. Decoded at the file's own rate where it is known: nothing is resampled on the way to the server. */
export async function decode(bytes) {
  const stated = statedRate(bytes);
  const rate = stated >= 8000 && stated <= 96000 ? stated : 48000;
  let sound;
  try {
    sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes.slice(0));
  } catch {
    throw new Error("This browser cannot read that file as sound. WAV, MP3, FLAC, Ogg and M4A usually work.");
  }
  if (sound.length < 0.05 * rate) throw new Error("That file holds no sound to speak of.");
  return sound;
}

/** AudioBuffer -> Float32Array of its mean channel. */
export function mono(sound) {
  const first = sound.getChannelData(0);
  if (sound.numberOfChannels === 1) return first;
  const mean = new Float32Array(sound.length);
  for (let c = 0; c < sound.numberOfChannels; c++) {
    const channel = sound.getChannelData(c);
    for (let i = 0; i < mean.length; i++) mean[i] += channel[i] / sound.numberOfChannels;
  }
  return mean;
}

/** Loudness (root mean square) of every 20 ms. */
export function levels(samples, rate) {
  const step = Math.round(0.02 * rate);
  const result = new Float32Array(Math.ceil(samples.length / step));
  for (let i = 0; i < samples.length; i++) result[Math.floor(i / step)] += samples[i] * samples[i];
  return result.map((power) => Math.sqrt(power / step));
}
