import { mkdir, readlink, rm, truncate } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { startControlPlane, type ControlPlane } from '../controlplane/controlplane.ts';
import { accelerator } from './accelerator.ts';
import { guestAssets } from './assets/guest.ts';
import { qemuAssets } from './assets/qemu.ts';
import { requireTools, runTools } from './assets/tools.ts';
import { cacheDir, requireRoom } from './cache.ts';
import { LabError, hasCode } from './errors.ts';
import { createFaults, type Faults } from './faults.ts';
import { keepLab } from './keep.ts';
import { createBridge, deleteBridge } from './network.ts';
import { run } from './process.ts';
import { formatBytes, formatDuration, silent, type Progress } from './progress.ts';
import { HOST_ADDRESS, identityOf } from './vm/identity.ts';
import type { Flavour } from './vm/flavour.ts';
import type { GuestFiles } from './vm/guest.ts';
import type { Accelerator, Hardware } from './vm/qemu-args.ts';
import { APP_DISK_BYTES, sparseFile, template, type Template } from './vm/template.ts';
import { createVm, type Role, type Vm, type VmSpec } from './vm/vm.ts';

export interface LabOptions {
  /** Storage VMs s1, s2, … in the zones a, b, …; default 4. */
  readonly storage?: number;
  /** Client VMs c1, c2, …; default 2. */
  readonly clients?: number;
  readonly storageMemoryMiB?: number;
  readonly clientMemoryMiB?: number;
  /** Sizes of the empty data disks /dev/vdc, /dev/vdd, … of a storage VM; default one of 2 GiB. They take room only as used. */
  readonly storageDiskBytes?: readonly number[];
  readonly clientDiskBytes?: readonly number[];
  /** A folder that every guest finds at /opt/holdfast, read-only. */
  readonly appDir?: string;
  /** Default true. Without it `controlPlane` throws. */
  readonly withControlPlane?: boolean;
  /** More for the guests' kernel command line, for example "nvme_core.multipath=N". */
  readonly kernelArgs?: string;
  /** Of VMs by name: what they have beyond a plain guest. Its memory takes the place of that of the role. */
  readonly flavours?: Readonly<Record<string, Flavour>>;
  /** Further arguments for kube-apiserver, and its port; default 6443. */
  readonly apiServerArgs?: readonly string[];
  readonly apiPort?: number;
  /** Boot each guest instead of resuming a saved one. */
  readonly coldBoot?: boolean;
  readonly progress?: Progress;
}

/** Milliseconds since startLab was called. */
export interface LabTimings {
  readonly assetsMs: number;
  readonly controlPlaneMs: number | undefined;
  readonly vmMs: Readonly<Record<string, number>>;
  readonly totalMs: number;
}

export interface Lab {
  /** Folder of this lab: disks, logs, sockets. Gone when the lab is. */
  readonly dir: string;
  readonly vms: readonly Vm[];
  readonly storage: readonly Vm[];
  readonly clients: readonly Vm[];
  /** The VM of this name; LabError that lists the names when there is none. */
  readonly vm: (name: string) => Vm;
  readonly controlPlane: ControlPlane;
  readonly faults: Faults;
  readonly accelerator: Accelerator;
  readonly timings: LabTimings;
  /** Ends every VM and the control plane. */
  readonly stop: () => Promise<void>;
  /** Leaves the lab running in the background after the caller's command line has ended (only under `run --keep`). */
  readonly keep: () => Promise<void>;
}

export const API_PORT = 6443;

/**
 * Starts a lab: control plane and VMs at the same time. Must run inside `node test/lab/main.ts run -- …`, which gives it a
 * network and a process namespace of its own. Throws LabError when something is missing; what was started is then ended.
 */
export async function startLab(options: LabOptions = {}): Promise<Lab> {
  const started = performance.now();
  const sinceStart = (): number => Math.round(performance.now() - started);
  const progress = options.progress ?? silent;
  const base = await labFolder();
  const dir = await runFolder(base);
  await requireTools(runTools, progress);
  const specs = vmSpecs(options);
  requireMemory(specs);
  const cache = cacheDir();
  await requireRoom(dir, 1024 ** 3, 'the disks of the VMs');
  await createBridge();
  const cleanups: (() => Promise<void>)[] = [];
  let stopping: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    stopping ??= (async () => {
      await Promise.all(cleanups.map(async (cleanup) => await cleanup()));
      await deleteBridge();
      await rm(dir, { recursive: true, force: true });
    })();
    await stopping;
  };
  const startControl = async (): Promise<{ controlPlane: ControlPlane; ms: number } | undefined> => {
    if (options.withControlPlane === false) return undefined;
    const controlPlane = await startControlPlane({
      dir: path.join(dir, 'cp'),
      bindAddress: '0.0.0.0',
      advertiseAddress: HOST_ADDRESS,
      port: options.apiPort ?? API_PORT,
      apiServerArgs: options.apiServerArgs ?? [],
      progress,
    });
    cleanups.push(controlPlane.stop);
    progress.say(`  control plane ready (${formatDuration(sinceStart())})`);
    return { controlPlane, ms: sinceStart() };
  };
  const startVms = async (): Promise<StartedVms> => {
    const files = { qemu: await qemuAssets(cache, progress), guest: await guestAssets(cache, progress) };
    const how = await accelerator(cache, files, progress);
    const fullSpecs = specs.map((spec) => ({ ...spec, hardware: { ...spec.hardware, accelerator: how } }));
    const [templates, appImage] = await Promise.all([
      options.coldBoot === true ? new Map<string, Template>() : templatesFor(fullSpecs, cache, files, progress),
      makeAppImage(path.join(dir, 'app.erofs'), options.appDir),
    ]);
    const assetsMs = sinceStart();
    const hosts = [
      `${HOST_ADDRESS} control-plane`,
      ...specs.map(({ identity }) => `${identity.address} ${identity.name}`),
    ];
    const vmMs: Record<string, number> = {};
    const vms = await allOrNothing(
      fullSpecs.map(async (spec) => {
        const vm = await createVm(spec, {
          dir,
          files,
          template: templates.get(JSON.stringify(spec.hardware)),
          appImage,
          withApp: options.appDir !== undefined,
          hosts,
        });
        cleanups.push(vm.remove);
        await vm.powerOn();
        vmMs[vm.name] = sinceStart();
        return vm;
      }),
    );
    progress.say(
      `  ${vms.length} VMs ready (${formatDuration(sinceStart())}, ${how === 'kvm' ? 'KVM' : 'emulated CPUs'})`,
    );
    return { vms, vmMs, assetsMs, accelerator: how };
  };
  try {
    const [control, vms] = await allOrNothing2(startControl(), startVms());
    const timings = { assetsMs: vms.assetsMs, controlPlaneMs: control?.ms, vmMs: vms.vmMs, totalMs: sinceStart() };
    return assemble(base, dir, vms, control?.controlPlane, timings, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

interface StartedVms {
  readonly vms: readonly Vm[];
  readonly vmMs: Readonly<Record<string, number>>;
  readonly assetsMs: number;
  readonly accelerator: Accelerator;
}

function assemble(
  base: string,
  dir: string,
  started: StartedVms,
  controlPlane: ControlPlane | undefined,
  timings: LabTimings,
  stop: () => Promise<void>,
): Lab {
  const { vms } = started;
  const control = (): ControlPlane => {
    if (controlPlane === undefined) throw new LabError('this lab was started without a control plane');
    return controlPlane;
  };
  const lab: Lab = {
    dir,
    vms,
    storage: vms.filter((vm) => vm.role === 'storage'),
    clients: vms.filter((vm) => vm.role === 'client'),
    vm: (name) => {
      const found = vms.find((vm) => vm.name === name);
      if (found === undefined)
        throw new LabError(`there is no VM ${name}; there are ${vms.map((vm) => vm.name).join(', ')}`);
      return found;
    },
    get controlPlane() {
      return control();
    },
    faults: createFaults(control),
    accelerator: started.accelerator,
    timings,
    stop,
    keep: async () => {
      await keepLab(base, lab, controlPlane);
    },
  };
  return lab;
}

/** The lab's folder, given by `run`. Refuses to touch the network of the machine itself. */
async function labFolder(): Promise<string> {
  const dir = process.env['HOLDFAST_LAB_DIR'];
  const namespace = process.env['HOLDFAST_LAB_NETNS'];
  if (dir === undefined || namespace === undefined || (await readlink('/proc/self/ns/net')) !== namespace) {
    throw new LabError(
      'a lab needs a network of its own: start this program by "node test/lab/main.ts run -- <program> <arguments>"',
    );
  }
  await mkdir(dir, { recursive: true });
  return dir;
}

type BareSpec = Omit<VmSpec, 'hardware'> & { readonly hardware: Omit<Hardware, 'accelerator'> };

/** A folder for this start of a lab: one program may start several, one after the other. */
async function runFolder(base: string): Promise<string> {
  for (let number = 1; ; number += 1) {
    const dir = path.join(base, String(number));
    try {
      await mkdir(dir);
      return dir;
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error;
    }
  }
}

/** What VMs there are to be, from the options. */
export function vmSpecs(options: LabOptions): BareSpec[] {
  const kernelArgs = options.kernelArgs ?? '';
  const group = (role: Role, count: number, memoryMiB: number, sizes: readonly number[], before: number): BareSpec[] =>
    Array.from({ length: count }, (_, index) => ({
      identity: identityOf(`${role === 'storage' ? 's' : 'c'}${index + 1}`, before + index + 1),
      role,
      zone: String.fromCodePoint('a'.charCodeAt(0) + (index % 26)),
      hardware: { memoryMiB, dataDisks: sizes.length, kernelArgs },
      dataDiskBytes: sizes,
    }));
  const storage = checkedCount('storage', options.storage ?? 4);
  const clients = checkedCount('clients', options.clients ?? 2);
  const plain = [
    ...group('storage', storage, options.storageMemoryMiB ?? 256, options.storageDiskBytes ?? [2 * 1024 ** 3], 0),
    ...group('client', clients, options.clientMemoryMiB ?? 384, options.clientDiskBytes ?? [], storage),
  ];
  return plain.map((spec) => withFlavour(spec, options.flavours?.[spec.identity.name]));
}

function withFlavour(spec: BareSpec, flavour: Flavour | undefined): BareSpec {
  if (flavour === undefined) return spec;
  const { key, cpus, translationMiB, memoryMiB } = flavour;
  return { ...spec, flavour, hardware: { ...spec.hardware, memoryMiB, flavour: { key, cpus, translationMiB } } };
}

function checkedCount(name: string, count: number): number {
  if (Number.isInteger(count) && count >= 0 && count <= 50) return count;
  throw new LabError(`${name} is ${count}: it must be a whole number from 0 to 50`);
}

/** Guests that run out of host memory die in strange ways: say so before. */
function requireMemory(specs: readonly BareSpec[]): void {
  const meminfo = readFileSync('/proc/meminfo', 'utf8');
  const availableBytes = Number(/^MemAvailable:\s+(\d+) kB/m.exec(meminfo)?.[1] ?? Number.POSITIVE_INFINITY) * 1024;
  // beside its memory, QEMU holds up to 256 MiB of translated code; the control plane 350 MiB
  const needBytes = specs.reduce((sum, spec) => sum + (spec.hardware.memoryMiB + 100) * 1024 ** 2, 350 * 1024 ** 2);
  if (availableBytes < needBytes) {
    throw new LabError(
      `${specs.length} VMs need about ${formatBytes(needBytes)} of memory and ${formatBytes(availableBytes)} are available: ` +
        `start fewer VMs or end something else`,
    );
  }
}

/** One saved state for each kind of hardware, one after the other (each is made with all CPUs to itself). */
async function templatesFor(
  specs: readonly VmSpec[],
  cache: string,
  files: GuestFiles,
  progress: Progress,
): Promise<Map<string, Template>> {
  const templates = new Map<string, Template>();
  for (const { hardware, flavour } of specs) {
    const key = JSON.stringify(hardware);
    if (!templates.has(key))
      templates.set(key, await template(cache, files, hardware, `t-tpl${templates.size}`, progress, flavour));
  }
  return templates;
}

/** A disk image with the caller's programs, or an empty one. */
async function makeAppImage(file: string, appDir: string | undefined): Promise<string> {
  if (appDir === undefined) return await sparseFile(file, APP_DISK_BYTES);
  await rm(file, { force: true });
  await run('mkfs.erofs', ['-T0', '--all-root', file, appDir]);
  await truncate(file, APP_DISK_BYTES);
  return file;
}

/** Like Promise.all, but a failure is reported only when all have ended: nothing goes on behind the caller's back. */
async function allOrNothing<T>(works: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(works);
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}

async function allOrNothing2<A, B>(a: Promise<A>, b: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([a, b]);
  return [await a, await b];
}
