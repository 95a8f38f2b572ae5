// The course of a study: consent, headphones, practice, trials, end. Where it goes on is told by what has been answered.

import { call, file, Refused, wait } from "./server.js";
import { memory, Outbox } from "./outbox.js";
import { Player } from "./player.js";

const $ = (id) => document.getElementById(id);
const AHEAD = 2; // trials whose videos are fetched before they are needed
const WORDS = { 1: "Bad", 2: "Poor", 3: "Fair", 4: "Good", 5: "Excellent" };

let study, rater, trials, outbox, answered, keyboard = () => {};
const loaded = new Map(); // media name -> promise of an address in memory

// An element: make("p", { class: "hint", text: "..." }, children). Texts are never read as HTML.
function make(tag, { text, class: name, ...rest } = {}, ...children) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (name) element.className = name;
  for (const [key, value] of Object.entries(rest)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

function show(...content) {
  keyboard = () => {};
  $("main").replaceChildren(...content);
  scrollTo(0, 0);
  $("main").focus({ preventScroll: true });
}

function sentence(title, ...texts) {
  show(make("section", { class: "card narrow" }, make("h1", { text: title }), ...texts.map((text) => make("p", { text }))));
}

function status() {
  const label = $("saved"), waiting = outbox.waiting;
  label.className = outbox.trouble || outbox.refused ? "saved waiting" : "saved";
  label.dataset.waiting = waiting;
  if (outbox.refused) label.textContent = `Not stored: ${outbox.refused}`;
  else if (outbox.trouble) label.textContent = waiting ? `No connection – ${waiting} kept here` : "No connection – trying again";
  else label.textContent = waiting ? "Saving …" : answered.size ? "Saved ✓" : "";
}

const trouble = (is) => { outbox.trouble = is; status(); };

const randomId = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

const left = () => trials.filter((trial) => !answered.has(trial.id) && !outbox.has(trial.id));

function fetched(name) {
  if (!loaded.has(name)) loaded.set(name, file(name, trouble));
  return loaded.get(name);
}

function fetchAhead() {
  const soon = left().slice(0, AHEAD + 1).flatMap((trial) => trial.media);
  for (const [name, address] of loaded) {
    if (!soon.includes(name) && name !== study.volume) { loaded.delete(name); address.then(URL.revokeObjectURL, () => {}); }
  }
  for (const name of soon) fetched(name).catch(() => {});
}

function progress() {
  const counted = trials.filter((trial) => trial.kind === "rating");
  const done = counted.length - left().filter((trial) => trial.kind === "rating").length;
  const bar = $("progress");
  bar.hidden = false;
  bar.setAttribute("aria-valuemax", counted.length);
  bar.setAttribute("aria-valuenow", done);
  bar.firstElementChild.style.width = `${(100 * done) / counted.length}%`;
  return { done, all: counted.length };
}

function next() {
  const trial = left()[0];
  if (!trial) return finish();
  fetchAhead();
  if (trial.kind !== "headphones") return watch(trial);
  const first = trials.filter((one) => one.kind === "headphones")[0];
  return trial === first ? volume(() => listen(trial)) : listen(trial);
}

function answer(trial, values, began, plays) {
  answered.add(trial.id);
  outbox.add({ rater, trial: trial.id, answer: values, took_ms: Math.round(performance.now() - began), plays: Math.min(plays, 10000) });
  next();
}

// Radio buttons that look like large keys. onPick is called with nothing after every choice.
function question(id, text, choices, onPick) {
  const field = make("fieldset", {}, make("legend", { text }));
  const row = make("div", { class: "choices" });
  for (const choice of choices) {
    const input = make("input", { type: "radio", name: id, value: String(choice) });
    const words = choice === "tie" ? "No difference" : String(choice);
    const face = make("span", { text: words });
    if (WORDS[choice] && id !== "tone") face.append(make("small", { text: WORDS[choice] }));
    input.addEventListener("change", onPick);
    row.append(make("label", { class: "choice" }, input, face));
  }
  field.append(row);
  field.value = () => {
    const picked = field.querySelector("input:checked");
    return picked ? choices.find((choice) => String(choice) === picked.value) : undefined;
  };
  field.pick = (choice) => {
    const input = [...field.querySelectorAll("input")].find((one) => one.value === String(choice));
    if (input && !field.disabled) { input.checked = true; input.focus({ preventScroll: true }); onPick(); }
  };
  return field;
}

function consent() {
  const box = make("input", { type: "checkbox", id: "agree" });
  const start = make("button", { class: "main", type: "button", id: "start", text: "Start", disabled: true });
  box.addEventListener("change", () => { start.disabled = !box.checked; });
  start.addEventListener("click", () => { start.disabled = true; join(); });
  const needs = study.headphones ? "You need headphones. " : "";
  show(make("section", { class: "card narrow" },
    make("h1", { text: study.title }),
    ...study.consent.split(/\n\s*\n/).map((text) => make("p", { text })),
    make("p", { class: "hint", text: `${needs}There are ${study.ratings} short trials after a practice one. If you close the page, you can go on later in this browser.` }),
    make("label", { class: "agree" }, box, make("span", { text: "I have read this and agree to take part." })),
    make("div", { class: "next" }, start)));
}

async function join() {
  const key = `jambatalk-study/${study.id}`;
  memory.setItem(`${key}/rater`, rater);
  try {
    const found = await call("join", { rater, consent: study.consent_sha256 }, trouble);
    trials = found.trials;
    answered = new Set(found.answered);
  } catch (refused) {
    memory.removeItem(`${key}/rater`);
    return sentence("You cannot take part", `Sorry: ${refused.message}.`);
  }
  $("withdraw").hidden = false;
  outbox.flush();
  status();
  progress();
  next();
}

// Leaving before the sound's end breaks off its start, which is no fault.
const start = (sound) => sound.play().catch((error) => { if (error.name !== "AbortError") throw error; });

function volume(then) {
  const sound = new Audio();
  const play = make("button", { type: "button", id: "noise", text: "▶ Play the noise", disabled: true });
  const done = make("button", { class: "main", type: "button", id: "volume-done", text: "Continue", disabled: true });
  play.addEventListener("click", () => { sound.currentTime = 0; start(sound); done.disabled = false; });
  done.addEventListener("click", () => { sound.pause(); then(); });
  fetched(study.volume).then((address) => { sound.src = address; play.disabled = false; });
  show(make("section", { class: "card narrow" },
    make("h1", { text: "Put on your headphones" }),
    make("p", { text: "Play the noise and set the volume so that it is clear but comfortable. Leave it like this until the end." }),
    make("div", { class: "plays" }, play), make("div", { class: "next" }, done)));
}

function listen(trial) {
  const began = performance.now(), all = trials.filter((one) => one.kind === "headphones");
  let plays = 0;
  const sound = new Audio();
  const play = make("button", { class: "main", type: "button", id: "play", text: "▶ Play the tones", disabled: true });
  const go = make("button", { class: "main", type: "button", id: "next", text: "Next", disabled: true });
  const asked = question("tone", "Which of the three tones was the quietest?", [1, 2, 3], () => { go.disabled = false; });
  asked.disabled = true;
  play.addEventListener("click", () => { plays += 1; sound.currentTime = 0; start(sound); });
  sound.addEventListener("ended", () => { asked.disabled = false; play.className = ""; play.textContent = "↻ Play again"; });
  go.addEventListener("click", () => { sound.pause(); answer(trial, { tone: asked.value() }, began, plays); });
  fetched(trial.media[0]).then((address) => { sound.src = address; play.disabled = false; });
  show(make("section", { class: "card narrow" },
    make("p", { class: "lead" }, make("strong", { text: "Headphones" }), make("span", { text: `${all.indexOf(trial) + 1} of ${all.length}` })),
    make("p", { text: "You will hear three tones, one after the other." }),
    make("div", { class: "plays" }, play), asked, make("div", { class: "next" }, go),
    make("p", { class: "keys" }, make("kbd", { text: "Space" }), " play  ", make("kbd", { text: "1" }), "–", make("kbd", { text: "3" }), " answer  ", make("kbd", { text: "Enter" }), " next")));
  keyboard = (key) => {
    if (key === " ") play.click();
    else if ("123".includes(key)) asked.pick(Number(key));
    else if (key === "Enter") go.click();
    else return false;
    return true;
  };
}

async function watch(trial) {
  const two = trial.media.length === 2, names = two ? ["A", "B"] : [""];
  const { done, all } = progress();
  let began = performance.now();
  const videos = trial.media.map((_, i) => make("video", { playsInline: true, preload: "auto", disablePictureInPicture: true, "aria-label": two ? `Video ${names[i]}` : "Video" }));
  const figures = videos.map((video, i) => {
    const figure = make("figure", {}, video, ...(two ? [make("figcaption", { text: names[i] })] : []), make("span", { class: "seen", text: "✓ seen" }));
    video.addEventListener("loadedmetadata", () => figure.style.setProperty("--shape", video.videoWidth / video.videoHeight || 1));
    return figure;
  });
  const stage = make("div", { class: two ? "stage two" : "stage" }, ...figures);
  const hint = make("p", { class: "hint", id: "hint", role: "status" });
  const go = make("button", { class: "main", type: "button", id: "next", text: "Next", disabled: true });
  const fields = Object.entries(study.questions).map(([id, text]) => question(id, text, study.choices, change));
  const asked = make("div", { class: fields.length > 1 ? "asked several" : "asked one" }, ...fields);
  const play = two
    ? [make("button", { type: "button", class: "main", id: "play-both", text: "▶ Both" }), make("button", { type: "button", id: "play-a", text: "▶ A" }), make("button", { type: "button", id: "play-b", text: "▶ B" })]
    : [make("button", { type: "button", class: "main", id: "play-a", text: "▶ Play" })];
  const which = two ? [[0, 1], [0], [1]] : [[0]];
  const player = new Player(videos, change);
  let ready = false;

  function current() { return fields.find((field) => field.value() === undefined); }

  function change(problem) {
    const watched = player.watched, open = current();
    videos.forEach((video, i) => {
      figures[i].classList.toggle("playing", player.playing.includes(video));
      figures[i].classList.toggle("seen-it", player.ended.has(video));
    });
    for (const button of play) button.disabled = !ready;
    for (const field of fields) {
      field.disabled = !watched;
      field.classList.toggle("now", watched && field === open);
    }
    go.disabled = !watched || Boolean(open);
    if (problem instanceof Error) hint.textContent = `Your browser cannot play this video (${problem.name}).`;
    else if (!ready) hint.textContent = "Loading …";
    else if (!watched) hint.textContent = two ? "First watch both videos to the end, together or one by one." : "First watch the video to the end.";
    else if (open) hint.textContent = "You may play again. Then answer below.";
    else hint.textContent = "";
  }

  videos.forEach((video, i) => video.addEventListener("click", () => ready && player.play([i])));
  play.forEach((button, i) => button.addEventListener("click", () => player.play(which[i])));
  go.addEventListener("click", () => {
    player.stop();
    answer(trial, Object.fromEntries(Object.keys(study.questions).map((id, i) => [id, fields[i].value()])), began, player.count);
  });
  const practice = trial.kind === "practice";
  show(
    make("p", { class: "lead" }, make("strong", { text: practice ? "Practice" : `${done + 1} of ${all}` }),
      make("span", { text: practice ? "This one does not count." : two ? "Compare the two videos." : "Watch the video." })),
    ...(trial.instruction ? [make("p", { class: "note", text: trial.instruction })] : []),
    stage, make("div", { class: "plays" }, ...play), hint, asked, make("div", { class: "next" }, go),
    make("p", { class: "keys" }, make("kbd", { text: "Space" }), " play  ",
      ...(two ? [make("kbd", { text: "←" }), " A  ", make("kbd", { text: "→" }), " B  ", ...(study.choices.includes("tie") ? [make("kbd", { text: "↓" }), " no difference  "] : [])]
        : [make("kbd", { text: "1" }), "–", make("kbd", { text: "5" }), " answer  "]),
      make("kbd", { text: "Enter" }), " next"));
  keyboard = (key) => {
    const choice = two ? { ArrowLeft: "A", ArrowRight: "B", ArrowDown: "tie" }[key] : Number(key);
    if (key === " ") play[0].click();
    else if (key === "Enter") go.click();
    else if (study.choices.includes(choice)) {
      const open = current();
      if (!open) return false; // all is answered: arrows move within the question that has the focus, as in any form
      open.pick(choice);
    } else return false;
    return true;
  };
  change();
  try {
    const addresses = await Promise.all(trial.media.map(fetched));
    videos.forEach((video, i) => {
      // Should a browser not play from memory, it gets the file from the server piece by piece.
      video.addEventListener("error", () => { video.src = `media/${trial.media[i]}`; }, { once: true });
      video.src = addresses[i];
    });
    ready = true;
    began = performance.now();
    change();
  } catch (refused) {
    if (refused instanceof Refused) hint.textContent = `Sorry: ${refused.message}.`;
  }
}

async function finish() {
  progress();
  while (outbox.waiting && !outbox.refused) {
    if (!$("main").querySelector("#waiting")) {
      show(make("section", { class: "card narrow", id: "waiting" }, make("h1", { text: "Saving your last answers …" }),
        make("p", { text: "Please keep this page open until it says that everything is stored." })));
    }
    await wait(200);
  }
  if (outbox.refused) return sentence("Some answers could not be stored", `The server says: ${outbox.refused}. Please tell the people who sent you here.`);
  show(make("section", { class: "card narrow", id: "end" }, make("p", { class: "big", text: "✓" }), make("h1", { text: "Thank you!" }),
    make("p", { text: "All your answers are stored. You may close this page now." })));
}

async function withdraw() {
  if (!confirm("Stop here and delete all your answers?")) return;
  outbox.clear();
  await call("forget", { rater }, trouble);
  memory.removeItem(`jambatalk-study/${study.id}/rater`);
  $("withdraw").hidden = true;
  $("progress").hidden = true;
  $("saved").textContent = "";
  sentence("Your answers are deleted", "Thank you for your time. You may close this page now.");
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  // A button or box that has the focus keeps its own keys.
  const own = event.target.closest("button, input[type=checkbox]") && (event.key === " " || event.key === "Enter");
  if (!own && keyboard(event.key)) event.preventDefault();
});
addEventListener("online", () => outbox && outbox.flush());
$("withdraw").addEventListener("click", withdraw);

async function begin() {
  try {
    study = await call("study", null, (is) => { if (is) $("saved").textContent = "No connection – trying again"; });
  } catch (refused) {
    return sentence("This study is not open to you", `Sorry: ${refused.message}.`);
  }
  document.title = study.title;
  $("title").textContent = study.title;
  const key = `jambatalk-study/${study.id}`, known = memory.getItem(`${key}/rater`);
  rater = known || randomId();
  answered = new Set();
  outbox = new Outbox(`${key}/answer/${rater}/`, status);
  status();
  if (known) await join();
  else consent();
}

begin();
