/*
 * Compile step.ts and write the binary, as base64 in a script, because a page that is opened from disk cannot fetch it:
 * `npm run build-trainer`, or with another place to write to, `npm run build-trainer -- PATH`. The same source gives the
 * same bytes, with the compiler that package-lock.json pins.
 */
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";

const folder = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(folder, "step_binary.js");
const options = ["-O3", "--noAssert", "--runtime", "stub", "--enable", "simd", "--use", "abort="];

let binary;
const { error, stderr } = await asc.main(["step.ts", "--baseDir", folder, "--outFile", "step.wasm", ...options], {
  writeFile: (name, contents) => (binary = contents),
});
if (error) {
  process.stderr.write(`${stderr}step.ts: ${error.message}\n`);
  process.exit(1);
}
const head = "// Made from step.ts by `npm run build-trainer`; not edited by hand.\n";
writeFileSync(out, `${head}globalThis.cvaeStepBinary = "${Buffer.from(binary).toString("base64")}";\n`);
