// three.js is inside the built page; its licence goes with it.
import { readFileSync } from "node:fs";
import { join } from "node:path";

export function licences() {
  let root = ".";
  return {
    name: "jambatalk-licences",
    apply: "build",
    configResolved(config) {
      root = config.root;
    },
    generateBundle() {
      const folder = join(root, "node_modules", "three");
      const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
      const text = readFileSync(join(folder, "LICENSE"), "utf8");
      this.emitFile({
        type: "asset",
        fileName: "THIRD_PARTY.txt",
        source: `assets/page.js contains three.js ${version} (https://threejs.org), under this licence:\n\n${text}`,
      });
    },
  };
}
