// Calls to the server. The token of the study's link stays in the part of the address that is never sent or logged.

const token = new URLSearchParams(location.hash.slice(1)).get("token") || "";
const FIRST_WAIT = 500, LONGEST_WAIT = 8000;

export class Refused extends Error {
  constructor(status, reason) { super(reason); this.status = status; }
}

export const wait = (ms) => new Promise((done) => setTimeout(done, ms));

async function once(name, body) {
  const options = { method: "GET", headers: { "X-Study-Token": token }, cache: "no-store" };
  if (body) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const response = await fetch(`api/${name}`, options);
  const found = await response.json().catch(() => null);
  if (response.ok && found) return found;
  const passing = response.status >= 500 || response.status === 408 || response.status === 429 || (response.ok && !found);
  if (passing) throw new Error(`status ${response.status}`);
  throw new Refused(response.status, (found && found.error) || `status ${response.status}`);
}

// Tries until the server answers, ever more slowly. A refusal (4xx) is an answer.
export async function keepTrying(action, onTrouble = () => {}) {
  for (let pause = FIRST_WAIT; ; pause = Math.min(2 * pause, LONGEST_WAIT)) {
    try {
      const found = await action();
      onTrouble(false);
      return found;
    } catch (error) {
      if (error instanceof Refused) { onTrouble(false); throw error; }
      onTrouble(true);
      await Promise.race([wait(pause * (0.75 + 0.5 * Math.random())), new Promise((done) => addEventListener("online", done, { once: true }))]);
    }
  }
}

export const call = (name, body, onTrouble) => keepTrying(() => once(name, body), onTrouble);

// A whole file in memory: it plays without stalling, whatever happens to the connection.
export const file = (name, onTrouble) => keepTrying(async () => {
  const response = await fetch(`media/${name}`);
  if (response.status === 404) throw new Refused(404, "a file of this study is missing");
  if (!response.ok) throw new Error(`status ${response.status}`);
  return URL.createObjectURL(await response.blob());
}, onTrouble);
