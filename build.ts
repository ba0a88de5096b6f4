// Bundles the programs into dist/, which is what ships and what the lab runs.
import { rm } from 'node:fs/promises';
import { build, type Metafile } from 'esbuild';

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

/** Writes bundles of these programs into a folder. @returns what went into them @throws Error for an unknown program */
export async function bundle(names: readonly string[], outdir: string): Promise<Metafile> {
  const unknown = names.filter((name) => !(name in programs));
  if (unknown.length > 0) {
    throw new Error(`unknown program ${unknown.join(', ')}; there are: ${Object.keys(programs).join(', ')}`);
  }
  const { metafile } = await build({
    absWorkingDir: import.meta.dirname,
    entryPoints: Object.fromEntries(names.map((name) => [name, programs[name] ?? ''])),
    outdir,
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
    metafile: true,
    // Some dependencies are CommonJS and call require() for Node's own modules.
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
    },
  });
  return metafile;
}

if (import.meta.main) {
  const wanted = process.argv.slice(2);
  if (wanted.length === 0) await rm('dist', { recursive: true, force: true });
  try {
    await bundle(wanted.length === 0 ? Object.keys(programs) : wanted, 'dist');
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exit(2);
  }
}
