import { cp, readFile } from 'node:fs/promises';
import path from 'node:path';
import { cached, cacheDir, keyOf } from '../lab/cache.ts';
import { LabError } from '../lab/errors.ts';
import { findProgram, run } from '../lab/process.ts';
import type { Progress } from '../lab/progress.ts';

/** Programs to compile from the modules that a folder's go.mod pins. */
export interface GoPrograms {
  /** Folder with go.mod and go.sum. */
  readonly moduleDir: string;
  /** Name in the cache. */
  readonly kind: string;
  /** What a person reads: "etcd and kube-apiserver v1.36.3". */
  readonly title: string;
  /** What to do where there is no Go. */
  readonly instead: string;
  readonly needBytes: number;
  readonly estimateMs: number;
  /** By name. */
  readonly programs: Readonly<Record<string, GoProgram>>;
}

export interface GoProgram {
  readonly package: string;
  readonly ldflags: string;
  /** For a place that has other libraries than this machine, or none. */
  readonly static?: boolean;
}

/**
 * The folder that holds the programs: from the cache, else compiled.
 * @throws LabError when Go is missing or too old, or a build fails
 */
export async function goPrograms(
  wanted: GoPrograms,
  progress: Progress,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<string> {
  const { moduleDir, kind, title, needBytes, estimateMs, programs } = wanted;
  const goMod = await readFile(path.join(moduleDir, 'go.mod'), 'utf8');
  const goSum = await readFile(path.join(moduleDir, 'go.sum'));
  return await cached(
    cacheDir(env),
    {
      kind,
      key: keyOf(['2', goMod, goSum, process.arch, JSON.stringify(programs)]),
      needBytes,
      build: async (target) => {
        const go = await requireGo(goMod, wanted, env);
        await progress.step(`building ${title} from source, once`, estimateMs, async (note) => {
          for (const [name, program] of Object.entries(programs)) {
            await build(go, moduleDir, program, path.join(target, name), note);
          }
        });
      },
    },
    progress,
  );
}

/** Files of a module that a folder's go.mod pins: in the cache, else copied from where Go keeps modules, which it fetches. */
export interface GoFiles extends Omit<GoPrograms, 'programs' | 'needBytes' | 'estimateMs'> {
  readonly module: string;
  /** Folder within the module. */
  readonly folder: string;
}

/** The folder that holds the files. @throws LabError when Go is missing or too old, or there is no such module */
export async function goModuleFiles(wanted: GoFiles, progress: Progress): Promise<string> {
  const { moduleDir, kind, module, folder } = wanted;
  const goMod = await readFile(path.join(moduleDir, 'go.mod'), 'utf8');
  return await cached(
    cacheDir(),
    {
      kind,
      key: keyOf(['1', goMod, module, folder]),
      needBytes: 1024 ** 2,
      build: async (target) => {
        const go = await requireGo(goMod, wanted, process.env);
        const { stdout } = await run(go, ['mod', 'download', '-json', module], { cwd: moduleDir, timeoutMs: 600_000 });
        const { Dir } = JSON.parse(stdout.toString()) as { readonly Dir: string };
        await cp(path.join(Dir, folder), target, { recursive: true });
      },
    },
    progress,
  );
}

async function requireGo(
  goMod: string,
  { title, instead }: Pick<GoPrograms, 'title' | 'instead'>,
  env: Readonly<Record<string, string | undefined>>,
): Promise<string> {
  const wanted = /^go (\S+)/m.exec(goMod)?.[1] ?? '1.26.0';
  const help = `${title} are built from source, once. Install Go ${wanted} or newer (https://go.dev/dl/), or ${instead}.`;
  const go = findProgram('go', `${env['PATH'] ?? ''}:/usr/local/go/bin`);
  if (go === undefined) throw new LabError(`Go is not installed. ${help}`);
  // Go before 1.21 would fail on the go line with a riddle; newer ones fetch the toolchain they need by themselves.
  const found = /go version go(\d+)\.(\d+)/.exec((await run(go, ['version'])).stdout.toString());
  if (found === null || Number(found[1]) < 1 || (found[1] === '1' && Number(found[2]) < 21)) {
    throw new LabError(`${go} is too old. ${help}`);
  }
  return go;
}

async function build(
  go: string,
  moduleDir: string,
  program: GoProgram,
  output: string,
  note: (text: string) => void,
): Promise<void> {
  let packages = 0;
  // With a C compiler Go takes libc for names and users; without one its programs are static anyway.
  const usesC = (await run(go, ['env', 'CGO_ENABLED'], { cwd: moduleDir })).stdout.toString().trim() === '1';
  const statically = program.static === true && usesC ? ' -linkmode external -extldflags -static' : '';
  const flags = ['-v', '-trimpath', '-ldflags', `${program.ldflags}${statically}`];
  await run(go, ['build', ...flags, '-o', output, program.package], {
    cwd: moduleDir,
    timeoutMs: 60 * 60_000,
    diesWithUs: true,
    onLine: (line) => {
      packages += 1;
      note(`${path.basename(output)}: package ${packages}, ${line.trim()}`);
    },
  });
}
