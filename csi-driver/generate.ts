import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../lib/host/exec.ts';

/** The interfaces that this driver speaks, by the Go modules that carry their files. */
const interfaces = [
  {
    module: 'github.com/container-storage-interface/spec@v1.13.0',
    file: 'csi.proto',
    // Snapshot metadata is a service of its own, which this driver doesn't have.
    services: ['csi.v1.Identity', 'csi.v1.Controller', 'csi.v1.GroupController', 'csi.v1.Node'],
    as: 'csi',
    // descriptor.ts serves the specification's own options (alpha_field and the like), which nothing here reads.
    outputs: ['csi.ts', 'google/protobuf/timestamp.ts', 'google/protobuf/wrappers.ts'],
  },
  {
    module: 'k8s.io/kubelet@v0.36.3',
    file: 'pkg/apis/pluginregistration/v1/api.proto',
    services: ['pluginregistration.Registration'],
    as: 'registration',
    outputs: ['registration.ts'],
  },
] as const;

const root = dirname(dirname(fileURLToPath(import.meta.url)));

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
 * Generates TypeScript from the interfaces' own files into `outputDir` (default `csi-driver/generated`). Needs Go and the
 * Go module proxy for these files only; the result is committed, so that nobody else needs them.
 *
 * @throws ExecError when a file can't be had or doesn't compile
 */
export async function generateCsi(outputDir = join(root, 'csi-driver', 'generated')): Promise<void> {
  await rm(outputDir, { recursive: true, force: true });
  for (const wanted of interfaces) await generate(wanted, outputDir);
}

async function generate(wanted: (typeof interfaces)[number], outputDir: string): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), 'holdfast-csi-'));
  try {
    await copyFile(join(await download(wanted.module), wanted.file), join(work, `${wanted.as}.proto`));
    const template = {
      version: 'v2',
      inputs: [{ directory: work, types: wanted.services }],
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
    for (const file of wanted.outputs) {
      await write(join(outputDir, file), await readFile(join(work, 'out', file), 'utf8'));
    }
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The unpacked Go module's folder in Go's module cache. */
async function download(module: string): Promise<string> {
  const { stdout } = await run('go', ['mod', 'download', '-json', module], {
    timeoutMs: 300_000,
    env: { GOFLAGS: '-mod=mod' },
  });
  const { Dir: folder } = JSON.parse(stdout) as { readonly Dir?: string };
  if (folder === undefined) {
    throw new Error(`go mod download named no folder for ${module}`);
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
