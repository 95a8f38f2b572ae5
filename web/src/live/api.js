// Requests to the server this page came from, with its token where there is one.

/** The token of the link's fragment. The fragment never leaves the browser; it also goes from the address bar and history. */
export function readToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token !== null) history.replaceState(null, "", location.pathname + location.search);
  return token;
}

export class Api {
  constructor(token) {
    this.token = token;
  }

  async #ask(path, options = {}) {
    const headers = { ...options.headers };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    let reply;
    try {
      reply = await fetch(path, { ...options, headers });
    } catch {
      throw new Error("The server does not answer. Is jambatalk serve still running?");
    }
    if (reply.ok) return reply;
    if (reply.status === 401) throw new Error("This server wants its token: open the whole link that jambatalk serve printed.");
    const said = await reply.json().catch(() => ({}));
    throw new Error(said.error ? `The server says: ${said.error}.` : `The server answers ${reply.status}.`);
  }

  async json(path) {
    return (await this.#ask(path)).json();
  }

  async bytes(path) {
    return (await this.#ask(path)).arrayBuffer();
  }

  async post(path, body) {
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    return (await this.#ask(path, options)).json();
  }

  /** The address of the live stream. */
  get stream() {
    return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/stream`;
  }
}
