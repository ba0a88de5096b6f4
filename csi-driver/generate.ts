import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../lib/host/exec.ts';

/** The CSI specification that this driver speaks. Its Go module carries csi.proto. */
export const csiSpecModule = 'github.com/container-storage-interface/spec@v1.13.0';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Group snapshots and snapshot metadata are services of their own, which this driver doesn't have. */
const services = ['csi.v1.Identity', 'csi.v1.Controller', 'csi.v1.Node'];

const tsProtoOptions = [
  'outputServices=grpc-js',
  'forceLong=bigint',
  'oneof=unions-value',
  'enumsAsLiterals=true',
  'unrecognizedEnum=false',
  'useDate=false',
  'importSuffix=.ts',
  'esModuleInterop=true',
  'env=node',
  'comments=false',
];

/**
 * Generates TypeScript from the CSI specification into `outputDir` (default `csi-driver/generated`). Needs Go and the
 * Go module proxy for the specification's file only; the result is committed, so that nobody else needs them.
 *
 * @throws ExecError when the specification can't be had or doesn't compile
 */
export async function generateCsi(outputDir = join(root, 'csi-driver', 'generated')): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), 'holdfast-csi-'));
  try {
    await copyFile(join(await downloadSpec(), 'csi.proto'), join(work, 'csi.proto'));
    const template = {
      version: 'v2',
      inputs: [{ directory: work, types: services }],
      plugins: [
        {
          local: [process.execPath, join(root, 'node_modules', 'ts-proto', 'protoc-gen-ts_proto')],
          out: join(work, 'out'),
          opt: tsProtoOptions,
        },
      ],
    };
    await run(join(root, 'node_modules', '.bin', 'buf'), ['generate', '--template', JSON.stringify(template)], {
      timeoutMs: 120_000,
    });
    // descriptor.ts serves the specification's own options (alpha_field and the like), which nothing here reads.
    const files = ['csi.ts', 'google/protobuf/timestamp.ts', 'google/protobuf/wrappers.ts'];
    await rm(outputDir, { recursive: true, force: true });
    for (const file of files) {
      await write(join(outputDir, file), await readFile(join(work, 'out', file), 'utf8'));
    }
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The unpacked Go module's folder in Go's module cache. */
async function downloadSpec(): Promise<string> {
  const { stdout } = await run('go', ['mod', 'download', '-json', csiSpecModule], {
    timeoutMs: 300_000,
    env: { GOFLAGS: '-mod=mod' },
  });
  const { Dir: folder } = JSON.parse(stdout) as { readonly Dir?: string };
  if (folder === undefined) {
    throw new Error(`go mod download named no folder for ${csiSpecModule}`);
  }
  return folder;
}

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

if (import.meta.main) {
  await generateCsi();
}
