// Bundles the programs into dist/, which is what ships and what the lab runs.
import { rm } from 'node:fs/promises';
import { build } from 'esbuild';

/** Programs by the name of their bundle. */
const programs: Readonly<Record<string, string>> = {
  holdfast: 'cli/main.ts',
  operator: 'operator/main.ts',
  'csi-driver': 'csi-driver/main.ts',
  'csi-call': 'csi-driver/call.ts',
  'storage-agent': 'storage-agent/main.ts',
  writer: 'test/lab/guest/writer.ts',
  gate: 'test/gate/guest/main.ts',
  conformance: 'test/sim/conformance/guest.ts',
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in programs));
if (unknown.length > 0) {
  console.error(`unknown program ${unknown.join(', ')}; there are: ${Object.keys(programs).join(', ')}`);
  process.exit(2);
}
if (wanted.length === 0) await rm('dist', { recursive: true, force: true });
await build({
  entryPoints: Object.fromEntries(
    Object.entries(programs).filter(([name]) => wanted.length === 0 || wanted.includes(name)),
  ),
  outdir: 'dist',
  outExtension: { '.js': '.mjs' },
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  // What is imported only when it is needed stays apart, and what programs share is there once.
  splitting: true,
  platform: 'node',
  format: 'esm',
  target: 'node24',
  minify: true,
  legalComments: 'none',
  logLevel: 'warning',
  // Some dependencies are CommonJS and call require() for Node's own modules.
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
});
