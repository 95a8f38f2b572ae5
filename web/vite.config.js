// The page goes into the Python package and is committed there: names without hashes keep its history readable.
import { defineConfig } from "vite";
import { sourcesManifest } from "./plugins/manifest.js";
import { licences } from "./plugins/licences.js";

export default defineConfig({
  base: "./",
  build: {
    outDir: "../src/jambatalk/server/page",
    emptyOutDir: true,
    target: "es2022",
    sourcemap: false,
    // What is inlined as data: would need a wider Content-Security-Policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 900,
    rolldownOptions: {
      output: {
        entryFileNames: "assets/page.js",
        chunkFileNames: "assets/[name].js",
        assetFileNames: "assets/[name][extname]",
      },
    },
  },
  server: { proxy: { "/v1": { target: "http://127.0.0.1:8000", ws: true } } },
  plugins: [licences(), sourcesManifest()],
});
