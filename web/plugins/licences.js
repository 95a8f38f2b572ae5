// What is inside the built page goes with its licence.
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
      const parts = [["three", "three.js", "https://threejs.org", "LICENSE"], ["meshoptimizer", "meshoptimizer", "https://meshoptimizer.org", "LICENSE.md"]];
      const texts = parts.map(([name, title, address, licence]) => {
        const folder = join(root, "node_modules", name);
        const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
        return `assets/page.js contains ${title} ${version} (${address}), under this licence:\n\n${readFileSync(join(folder, licence), "utf8")}`;
      });
      this.emitFile({ type: "asset", fileName: "THIRD_PARTY.txt", source: texts.join("\n\n") });
    },
  };
}
