// The page of jambatalk serve: wires the head, the sources and the controls.
import { readCharacter } from "./head/character.js";
import { readHead } from "./head/head.js";
import { MotionMixer } from "./head/motion-mixer.js";
import { Resolution } from "./head/resolution.js";
import { Viewer } from "./head/viewer.js";
import { Api, readToken } from "./live/api.js";
import { motionFile } from "./live/motion-file.js";
import { decode } from "./sound/decode.js";
import { output } from "./sound/output.js";
import { ClipSource } from "./sources/clip.js";
import { MicSource } from "./sources/microphone.js";
import { hasVoice, SpeechSynthSource } from "./sources/speech-synth.js";
import { CurveChart } from "./ui/curve-chart.js";
import { listenToKeys } from "./ui/keys.js";
import { canRecord, Recorder, save } from "./ui/recorder.js";
import { Settings } from "./ui/settings.js";
import { keepChoices, loadChoices } from "./ui/store.js";
import { Telemetry } from "./ui/telemetry.js";
import { applyTheme, whenSystemChanges } from "./ui/theme.js";

const at = (id) => document.getElementById(id);
const api = new Api(readToken());
const choices = loadChoices();
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const mixer = new MotionMixer(), telemetry = new Telemetry(), chart = new CurveChart(at("chart"));
let viewer = null, head = null, source = null, last = null, count = 0, recorder = null, retry = null, sample = null;

window.jambatalk = { telemetry: telemetry.rows, get source() { return source ?? last; }, get head() { return head; } };

// Words and states ------------------------------------------------------------------------------------------------------------

const say = (words) => (at("status").textContent = words);

function showError(error, again) {
  at("error-text").textContent = error.message;
  retry = again;
  at("retry").hidden = !again;
  at("error").hidden = false;
  say("");
  place();
}

function hideError() {
  at("error").hidden = true;
  place();
}

function showState() {
  const busy = source !== null;
  at("microphone").classList.toggle("busy", busy);
  at("microphone").setAttribute("aria-pressed", String(busy));
  at("microphone").querySelector("span").textContent = busy ? "Stop" : "Talk";
  at("again").hidden = busy || last?.kind !== "clip" || !last.complete;
  at("curves").hidden = !choices.curves || (!busy && !last);
  at("save-motion").disabled = !(last ?? source)?.track;
  place();
}

// The head keeps clear of the controls.
function place() {
  const wide = window.innerWidth > 640, sheet = at("settings");
  // On a phone the settings come up from below: who moves a slider wants to see what it does.
  const below = !wide && !sheet.hidden ? sheet : at("desk");
  viewer?.keepFree(wide ? 24 : 56, Math.max(window.innerHeight - below.getBoundingClientRect().top, 0) + 8);
}

// Sources ---------------------------------------------------------------------------------------------------------------------

function startFields() {
  const { blinks, gaze, head: turns, breath, brows, life, style } = choices;
  const fields = { token: api.token };
  if (style) fields.style = style;
  if (life) fields.life = { blinks, gaze, head: turns, breath, brows };
  return fields;
}

const on = {
  over(one) {
    if (source !== one) return;
    source = null;
    last = one;
    say("Done.");
    showState();
  },
  failed(one, error) {
    if (source !== one) return;
    const again = one.again;
    one.cancel();
    showError(error, again);
  },
};

async function begin(make, words, again) {
  source?.cancel();
  hideError();
  const one = make();
  one.again = again;
  one.number = ++count;
  source = one;
  say("Connecting…");
  showState();
  try {
    await one.begin();
    if (source === one) say(words);
  } catch (error) {
    if (source === one) source = null;
    showState();
    showError(error, again);
  }
}

const talk = () => begin(() => new MicSource(api.stream, startFields(), choices, on), "Listening. Say something.", talk);
const play = (sound, words) =>
  begin(() => new ClipSource(api.stream, startFields(), sound, on), words, () => play(sound, words));

async function playSample() {
  try {
    hideError();
    output(); // here, while the click still counts
    sample ??= await decode(await api.bytes("v1/demo.flac"));
    await play(sample, "Playing the sample, a recorded voice.");
  } catch (error) {
    showError(error, playSample);
  }
}

const isCharacter = ({ name }) => /\.(glb|vrm)$/i.test(name);

/** A sound is played; a character takes the face's place, and stays in this browser. */
const take = (file) => (isCharacter(file) ? showCharacter(file) : playFile(file));

async function showCharacter(file) {
  try {
    hideError();
    say(`Reading ${file.name}…`);
    await loadCharacter(await file.arrayBuffer(), file.name);
    say(`${file.name} stays in this browser. Press Talk, or play the sample.`);
  } catch (error) {
    showError(error, null);
  }
}

async function playFile(file) {
  try {
    hideError();
    output();
    say(`Reading ${file.name}…`);
    await play(await decode(await file.arrayBuffer()), `Playing ${file.name}.`);
  } catch (error) {
    showError(error, null);
  }
}

function playAgain() {
  const earlier = last;
  if (earlier?.kind !== "clip" || !earlier.complete) return;
  begin(() => new ClipSource(api.stream, startFields(), earlier.sound, on, earlier), "Playing it again.", playAgain);
}

const speak = (text) =>
  begin(() => new SpeechSynthSource(api, text, choices, on), "Speaking with this browser's voice.", () => speak(text));

function stopOrStart() {
  if (!source) talk();
  else source.stop();
}

async function record() {
  if (recorder) {
    const one = recorder;
    recorder = null;
    at("record").setAttribute("aria-pressed", "false");
    const { blob, ending } = await one.stop();
    save(blob, `jambatalk.${ending}`);
    say("The video is in your downloads.");
    return;
  }
  const { tap } = await output();
  recorder = new Recorder(viewer.canvas, tap.stream);
  at("record").setAttribute("aria-pressed", "true");
  say("Recording. Press Record again to save.");
}

function saveMotion() {
  const { track } = source ?? last;
  save(new Blob([motionFile(track)], { type: "application/json" }), "jambatalk-motion.json");
}

// The picture -----------------------------------------------------------------------------------------------------------------

const life = () => (choices.life ? choices : null);
let before = 0, numbersAt = 0;
const resolution = new Resolution();

function picture(stamp) {
  requestAnimationFrame(picture);
  const seconds = Math.min((stamp - before) / 1000, 0.25);
  before = stamp;
  const now = performance.now() / 1000;
  if (head) {
    const one = source;
    const seen = mixer.apply(head, one, life(), seconds, calm.matches);
    if (seen) {
      const weight = (name) => mixer.weights[head.shape(name)];
      telemetry.add({
        at: now, source: one.number, kind: one.kind, t: seen.time, sound: one.soundTime, share: seen.share, level: one.level(seen.time),
        jawOpen: weight("jawOpen"), mouthClose: weight("mouthClose"), mouthFunnel: weight("mouthFunnel"), gap: seen.gap, pose: seen.pose,
      });
    }
  }
  viewer.sharpest = resolution.after(seconds, viewer.sharpest);
  viewer.draw(seconds, calm.matches);
  if (!at("curves").hidden && head) chart.draw(source ?? last, telemetry.rows.at(-1)?.t ?? 0, head);
  if (now - numbersAt > 0.5) {
    numbersAt = now;
    at("numbers").textContent = source?.latency ? measured(source, now) : "";
  }
}

function measured(one, now) {
  const beyond = one.kind === "microphone" ? one.latency.quantile(0.5) : null;
  const parts = [`look-ahead ${Math.round(1000 * one.latency.lookAhead)} ms`];
  if (beyond !== null) parts.push(`+ ${Math.round(1000 * beyond)} ms measured`);
  const rate = one.latency.rate(now);
  if (rate) parts.push(`${rate.toFixed(0)} frames/s`);
  return parts.join(", ");
}

let loading = 0;
async function loadFace(identity) {
  const number = ++loading;
  const [glb, shade] = await Promise.all([api.bytes(`v1/faces/${identity}.glb`), api.json(`v1/faces/${identity}/shade`)]);
  shade.vertices = Uint8Array.from(atob(shade.vertices), (c) => c.charCodeAt(0));
  const next = await readHead(glb, shade);
  if (number !== loading) return; // another was chosen meanwhile
  viewer.show(next);
  head = next;
}

async function loadCharacter(data, name) {
  const number = ++loading;
  const next = await readCharacter(data, name);
  if (number !== loading) return next.dispose();
  viewer.show(next);
  head = next;
  settings.offerCharacter(name);
}

// Controls --------------------------------------------------------------------------------------------------------------------

function paintTheme() {
  viewer?.backdrop.paint(applyTheme(choices));
}

const settings = new Settings(choices, (name) => {
  if (name === "theme") paintTheme();
  if (name === "identity") loadFace(choices.identity).catch((error) => showError(error, () => loadFace(choices.identity).then(hideError)));
  if (name === "curves") showState();
});

function wire() {
  at("microphone").onclick = stopOrStart;
  at("sample").onclick = playSample;
  at("record").onclick = record;
  at("file-open").onclick = () => at("file").click();
  at("file").onchange = ({ target }) => {
    if (target.files[0]) take(target.files[0]);
    target.value = "";
  };
  at("retry").onclick = () => retry?.();
  at("dismiss").onclick = hideError;
  at("again").onclick = playAgain;
  at("save-motion").onclick = saveMotion;
  at("help-open").onclick = () => at("help").showModal();
  at("speak-open").onclick = () => {
    const open = at("composer").hidden;
    at("composer").hidden = !open;
    at("speak-open").setAttribute("aria-expanded", String(open));
    if (open) at("text").focus();
    place();
  };
  at("composer").onsubmit = (event) => {
    event.preventDefault();
    const text = at("text").value.trim();
    if (text) speak(text);
  };
  let inside = 0;
  const files = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => files(event) && (at("drop").hidden = ++inside === 0));
  addEventListener("dragleave", (event) => files(event) && (at("drop").hidden = --inside === 0));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    inside = 0;
    at("drop").hidden = true;
    const file = event.dataTransfer?.files[0];
    if (file && !at("sample").disabled) take(file);
  });
  listenToKeys({
    " ": stopOrStart, m: () => (source?.kind === "microphone" ? source.stop() : talk()), s: playSample, p: playAgain, f: () => at("file").click(),
    r: () => canRecord() && record(), "?": () => at("help").showModal(), Escape: () => source?.stop(),
  }, () => !at("microphone").disabled);
  addEventListener("resize", place);
  const sizes = new ResizeObserver(place);
  sizes.observe(at("desk"));
  sizes.observe(at("settings"));
  addEventListener("pagehide", () => source?.cancel());
}

function offerVoices() {
  const fill = () => {
    const voices = speechSynthesis.getVoices();
    at("voice").replaceChildren(new Option("Default voice", ""), ...voices.map((one) => new Option(one.name, one.voiceURI)));
    at("voice").value = choices.voice;
    at("voice").hidden = voices.length < 2;
  };
  at("voice").onchange = ({ target }) => {
    choices.voice = target.value;
    keepChoices(choices);
  };
  speechSynthesis.addEventListener?.("voiceschanged", fill);
  fill();
  at("speak-open").hidden = false;
}

async function open() {
  hideError();
  try {
    say("Loading the face…");
    const info = await api.json("v1/info");
    settings.offer(info);
    if (info.speak && hasVoice()) offerVoices();
    if (info.character) await loadCharacter(await api.bytes("v1/character"), info.character);
    else await loadFace(choices.identity);
    for (const button of document.querySelectorAll(".dock button")) button.disabled = false;
    at("record").hidden = !canRecord();
    say("Press Talk and say something, or play the sample.");
    document.documentElement.dataset.ready = "";
    place();
  } catch (error) {
    showError(error, open);
  }
}

wire();
try {
  viewer = new Viewer(at("viewer"));
} catch {
  showError(new Error("This browser has no WebGL, which the face is drawn with. Turn on hardware acceleration or try another browser."), null);
}
if (viewer) {
  paintTheme();
  whenSystemChanges(paintTheme);
  place();
  requestAnimationFrame(picture);
  open();
}
