import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: ["node_modules/", "src/generated/"] },
  js.configs.recommended,
  { files: ["src/**/*.js", "tests/**/*.js"], languageOptions: { globals: globals.browser } },
  { files: ["src/sound/*.worklet.js"], languageOptions: { globals: globals.audioWorklet } },
  { files: ["plugins/*.js", "*.config.js"], languageOptions: { globals: globals.node } },
];
