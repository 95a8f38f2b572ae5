// Writes sources.json beside the built page: a SHA-256 of every source it was made from, so that a test can tell a page that
// was not rebuilt without having npm.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";

const ROOTS = ["index.html", "package.json", "package-lock.json", "vite.config.js", "plugins", "src"];

function files(path) {
  try {
    return readdirSync(path).flatMap((name) => files(join(path, name)));
  } catch (error) {
    if (error.code === "ENOTDIR") return [path];
    throw error;
  }
}

export function sourcesManifest() {
  let root = ".";
  return {
    name: "jambatalk-sources",
    apply: "build",
    configResolved(config) {
      root = config.root;
    },
    generateBundle() {
      const hashes = {};
      for (const path of ROOTS.flatMap((name) => files(join(root, name))).sort()) {
        const text = readFileSync(path, "utf8").replaceAll("\r\n", "\n");
        hashes[relative(root, path).split(sep).join("/")] = createHash("sha256").update(text).digest("hex");
      }
      this.emitFile({ type: "asset", fileName: "sources.json", source: JSON.stringify(hashes, null, 1) + "\n" });
    },
  };
}
