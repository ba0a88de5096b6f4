import { mkdir, writeFile, readFile } from 'node:fs/promises';
import path from 'node:path';
import { startLab, type Lab, type LabOptions } from '../lab/lab.ts';
import { silent, type Progress } from '../lab/progress.ts';
import { capability } from '../system/csi.ts';
import { startSystem, storageReady, type System } from '../system/system.ts';
import { LEG_TIMEOUT_MS, REPLICA_TIMEOUT_MS } from './schedule.ts';
import { createWorkload, volumes, type ChaosVolume, type Workload } from './workload.ts';

const MIB = 1024 * 1024;

/** A lab with Holdfast and volumes, detached. */
export interface Stage {
  readonly lab: Lab;
  readonly system: System;
  readonly stop: () => Promise<void>;
}

/** When the volumes give up a leg, and a replica. */
export interface Timeouts {
  readonly legTimeoutMs: number;
  readonly replicaTimeoutMs: Readonly<Record<ChaosVolume['name'], number>>;
}

/** What rounds of chaos are played with. */
export const CHAOS_TIMEOUTS: Timeouts = { legTimeoutMs: LEG_TIMEOUT_MS, replicaTimeoutMs: REPLICA_TIMEOUT_MS };

export async function prepareStage(
  appDir: string,
  used: readonly ChaosVolume[],
  timeouts: Timeouts,
  progress: Progress = silent,
  options: Pick<LabOptions, 'clients' | 'storage'> = {},
): Promise<Stage> {
  // Small disks, so that a pool can be filled in seconds.
  const lab = await startLab({ appDir, storage: 4, clients: 4, storageDiskBytes: [448 * MIB], progress, ...options });
  let system: System | undefined;
  const stop = async (): Promise<void> => {
    await system?.stop();
    await lab.stop();
  };
  try {
    system = await startSystem(lab);
    await storageReady(system);
    const started = system;
    await Promise.all(used.map((volume) => createVolume(started, volume, timeouts)));
    return { lab, system, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * Each volume with the clients that it moves between, the first one being its home. No client has two writers: the log that
 * survives a machine's death has room for one.
 */
export function workloadsOf({ system, lab }: Stage, note?: (text: string) => void): Workload[] {
  const all = Object.values(volumes);
  return all.flatMap((volume, index) => {
    const own = lab.clients.filter((_, at) => at % all.length === index);
    return own[0] ? [createWorkload(system, volume, own[0], note, own)] : [];
  });
}

async function createVolume(
  system: System,
  { name, kind, sizeBytes, replicas }: ChaosVolume,
  { legTimeoutMs, replicaTimeoutMs }: Timeouts,
): Promise<void> {
  await system.csi('controller', 'CreateVolume', {
    name,
    capacityRange: { requiredBytes: String(sizeBytes) },
    volumeCapabilities: [capability(kind)],
    parameters: {
      replicas: String(replicas),
      placement: 'distinct(zone)',
      legTimeout: `${legTimeoutMs}ms`,
      replicaTimeout: `${replicaTimeoutMs[name]}ms`,
    },
  });
}

/** Everything that helps to find the cause of a violation, in a folder. */
export async function saveEvidence(system: System, dir: string, notes: readonly string[]): Promise<void> {
  await mkdir(dir, { recursive: true });
  const save = async (name: string, content: () => Promise<string> | string): Promise<void> => {
    const text = await Promise.resolve()
      .then(content)
      .catch((error: unknown) => `not to be had: ${String(error)}`);
    await writeFile(path.join(dir, name), text);
  };
  await save('notes.txt', () => notes.join('\n'));
  await save('operator.log', () => system.tail('operator', 2000));
  await save('csi-controller.log', () => system.tail('csi-controller', 500));
  await save('objects.json', async () => {
    const lists = [
      system.volumes.list(),
      system.replicas.list(),
      system.connections.list(),
      system.storageNodes.list(),
    ];
    return JSON.stringify(
      (await Promise.all(lists)).map(({ items }) => items),
      undefined,
      1,
    );
  });
  for (const vm of system.lab.vms) {
    if (!vm.running()) continue;
    await save(`${vm.name}.log`, () => system.guestLog(vm));
    await save(
      `${vm.name}.kernel`,
      async () => (await vm.exec(LOOK_ROUND, { check: false, timeoutMs: 20_000 })).stdout,
    );
    await save(`${vm.name}.writes`, () => readFile(vm.ackLogFile, 'utf8').catch(() => ''));
  }
}

const LOOK_ROUND = `
dmesg | tail -150
dmsetup table; dmsetup status; lvs 2>/dev/null; ps axo pid,stat,wchan:30,args | grep -v '\\[' | tail -30
for md in /sys/block/md_hf_*; do [ -d $md ] && grep -H . $md/md/array_state $md/md/degraded $md/md/dev-*/state $md/md/sync_action 2>/dev/null; done
for c in /sys/class/nvme/nvme*; do [ -d $c ] && grep -H . $c/state $c/subsysnqn $c/address; done
find /sys/kernel/config/nvmet/subsystems -maxdepth 1 2>/dev/null; cat /proc/mounts | tail -5`;
