// Answers on their way: each is kept in the browser, under a key of its own, until the server says that it is stored.

import { call } from "./server.js";

// Some private windows have no storage; the study then works until the page is closed.
export const memory = (() => {
  try {
    localStorage.setItem("jambatalk-probe", "1");
    localStorage.removeItem("jambatalk-probe");
    return localStorage;
  } catch {
    const map = new Map();
    return {
      getItem: (key) => (map.has(key) ? map.get(key) : null), setItem: (key, value) => map.set(key, value),
      removeItem: (key) => map.delete(key), key: (i) => [...map.keys()][i] ?? null, get length() { return map.size; },
    };
  }
})();

export class Outbox {
  constructor(prefix, onChange) {
    this.prefix = prefix;
    this.onChange = onChange;
    this.sending = false;
    this.trouble = false;
  }

  keys() {
    const found = [];
    for (let i = 0; i < memory.length; i++) if (memory.key(i).startsWith(this.prefix)) found.push(memory.key(i));
    return found;
  }

  get waiting() { return this.keys().length; }

  has(trial) { return memory.getItem(this.prefix + trial) !== null; }

  add(answer) {
    memory.setItem(this.prefix + answer.trial, JSON.stringify(answer));
    this.onChange(this);
    this.flush();
  }

  clear() { for (const key of this.keys()) memory.removeItem(key); }

  async flush() {
    if (this.sending) return;
    this.sending = true;
    try {
      for (let keys = this.keys(); keys.length; keys = this.keys()) {
        const answer = JSON.parse(memory.getItem(keys[0]));
        if (answer) await call("answer", answer, (trouble) => { this.trouble = trouble; this.onChange(this); });
        memory.removeItem(keys[0]);
        this.onChange(this);
      }
    } catch (refused) {
      // Kept in the browser; the page says so, since only the study's maker can help.
      this.refused = refused.message;
      this.onChange(this);
    } finally {
      this.sending = false;
    }
  }
}
