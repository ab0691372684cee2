// Bundles the console's charts into the folder named as the first argument.
import { build } from "esbuild";

await build({
  entryPoints: { charts: "src/charts.js" },
  outdir: process.argv[2],
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "inline",
  logLevel: "warning",
});
