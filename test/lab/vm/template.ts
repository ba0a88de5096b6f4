import { readFileSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import path from 'node:path';
import { cached, keyOf } from '../cache.ts';
import { LabError } from '../errors.ts';
import { createTap, deleteTap } from '../network.ts';
import { run, waitFor } from '../process.ts';
import type { Progress } from '../progress.ts';
import { execInGuest } from './exec.ts';
import type { Flavour } from './flavour.ts';
import { guestPaths, startGuest, waitForAgent, type GuestFiles, type RunningGuest } from './guest.ts';
import type { Hardware } from './qemu-args.ts';
import type { Qmp } from './qmp.ts';

/** A guest that was booted once and then saved: every VM of the same hardware starts from it. */
export interface Template {
  /** The guest's memory. */
  readonly ramFile: string;
  /** The state of CPU and devices. */
  readonly stateFile: string;
  /** The disk of a VM with a flavour, as it was when the state was saved. */
  readonly diskFile: string;
}

/** The app disk of every guest has this size, whatever is on it: a saved guest knows its disks' sizes. */
export const APP_DISK_BYTES = 512 * 1024 ** 2;
const TEMPLATE_DISK_BYTES = 1024 ** 3;
const FLAVOUR_DISK = 'flavour-disk';
const FLAVOUR_DISK_BYTES = 2 * 1024 ** 3;

/** What every VM finds loaded and warm: modules, and the programs that are slow to read through an emulated disk. */
const PREPARE = [
  'modprobe -a dm-thin-pool dm-snapshot dm-multipath dm-queue-length dm-service-time dm-round-robin dm-flakey raid1',
  'modprobe -a nvmet nvmet-tcp nvme-tcp ext4 xfs sch_netem sch_ingress cls_matchall cls_flower act_gact',
  'node -e 0',
  'lvm version; thin_check -V; dmsetup version; mkfs.ext4 -V; mkfs.xfs -V; mdadm -V; nvme version; fio --version; tc -V',
  'sync',
].join('\n');

/**
 * The saved state for this hardware, made when it isn't in the cache. Needs the lab's network namespace (the template has a
 * network card too). `tap` is the name of a tap for the time of making it.
 */
export async function template(
  cache: string,
  files: GuestFiles,
  hardware: Hardware,
  tap: string,
  progress: Progress,
  flavour?: Flavour,
): Promise<Template> {
  const dir = await cached(
    cache,
    {
      kind: 'state',
      key: keyOf([
        '3',
        files.guest.dir,
        files.qemu.version,
        files.qemu.binary,
        JSON.stringify(hardware),
        PREPARE,
        cpuModel(),
        ...(flavour === undefined ? [] : [flavour.prepare]),
      ]),
      needBytes: (hardware.memoryMiB + 100) * 1024 ** 2 + (flavour === undefined ? 0 : FLAVOUR_DISK_BYTES),
      build: async (target) => {
        await progress.step(
          `booting a guest of ${hardware.memoryMiB} MiB and saving its state, once`,
          flavour === undefined ? 15_000 : 90_000,
          async () => {
            await makeTemplate(target, files, hardware, tap, flavour);
          },
        );
      },
    },
    progress,
  );
  return { ramFile: path.join(dir, 'ram'), stateFile: path.join(dir, 'state'), diskFile: path.join(dir, FLAVOUR_DISK) };
}

/** The guest has calibrated its clock against this CPU. */
function cpuModel(): string {
  return /^model name\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '';
}

async function makeTemplate(
  dir: string,
  files: GuestFiles,
  hardware: Hardware,
  tap: string,
  flavour: Flavour | undefined,
): Promise<void> {
  const paths = guestPaths(dir, 'template');
  const appImage = await sparseFile(path.join(dir, 'app'), APP_DISK_BYTES);
  const dataImages = [];
  for (let index = 0; index < hardware.dataDisks; index += 1) {
    const file = await sparseFile(path.join(dir, `data${index}`), TEMPLATE_DISK_BYTES);
    dataImages.push({ file, serial: `template-${index + 1}` });
  }
  const ramFile = await sparseFile(path.join(dir, 'ram'), hardware.memoryMiB * 1024 ** 2);
  const flavourDisk = path.join(dir, FLAVOUR_DISK);
  if (flavour !== undefined)
    await run('cp', ['--sparse=always', flavour.diskFile, flavourDisk], { timeoutMs: 300_000 });
  await createTap(tap);
  let running: RunningGuest | undefined;
  try {
    const backends = {
      ...paths,
      tap,
      mac: '52:54:00:77:ff:ff',
      appImage,
      dataImages,
      ...(flavour === undefined ? {} : { flavourDisk: { file: flavourDisk, forget: false } }),
    };
    running = await startGuest(
      files,
      'template',
      hardware,
      backends,
      { kind: 'template', file: ramFile },
      paths.qemuLog,
    );
    await waitForAgent(running, paths.consoleFile, 120_000);
    await execInGuest(running.qga, 'template', PREPARE, { timeoutMs: 120_000 });
    if (flavour !== undefined) {
      // The disk behind those for data.
      const device = `/dev/vd${String.fromCodePoint('c'.charCodeAt(0) + hardware.dataDisks)}`;
      const mount = `mkdir -p ${flavour.mountPoint} && mount -o noatime ${device} ${flavour.mountPoint}`;
      await execInGuest(running.qga, 'template', `set -e\n${mount}\n${flavour.prepare}`, { timeoutMs: 600_000 });
    }
    running.qga.close();
    await save(running.qmp, path.join(dir, 'state'));
  } finally {
    await running?.kill();
    await deleteTap(tap);
  }
  for (const file of [appImage, ...dataImages.map((image) => image.file), ...Object.values(paths)]) {
    await rm(file, { force: true });
  }
}

/**
 * x-ignore-shared leaves the memory file out of the stream: it is the saved memory already. (QEMU marks the capability as
 * experimental by its x-; sandboxes that start from templates have rested on it since QEMU 4.0.)
 */
async function save(qmp: Qmp, file: string): Promise<void> {
  await qmp.execute('stop');
  await qmp.execute('migrate-set-capabilities', CAPABILITIES);
  await qmp.execute('migrate', { uri: `file:${file}` });
  await migrated(qmp);
}

/** Brings a guest that was started with `-incoming defer` to life. */
export async function resume(qmp: Qmp, stateFile: string): Promise<void> {
  await qmp.execute('migrate-set-capabilities', CAPABILITIES);
  await qmp.execute('migrate-incoming', { uri: `file:${stateFile}` });
  await migrated(qmp);
  await qmp.execute('cont');
}

const CAPABILITIES = { capabilities: [{ capability: 'x-ignore-shared', state: true }] };

async function migrated(qmp: Qmp): Promise<void> {
  await waitFor(
    'the migration of a guest',
    async () => {
      const info = (await qmp.execute('query-migrate')) as { readonly status?: string; readonly 'error-desc'?: string };
      if (info.status === 'failed')
        throw new LabError(`QEMU: migration failed: ${info['error-desc'] ?? 'no reason given'}`);
      return info.status === 'completed' ? true : undefined;
    },
    { timeoutMs: 60_000, everyMs: 10 },
  );
}

/** Makes an empty file of this size that takes no room. */
export async function sparseFile(file: string, sizeBytes: number): Promise<string> {
  const handle = await open(file, 'w');
  try {
    await handle.truncate(sizeBytes);
  } finally {
    await handle.close();
  }
  return file;
}
