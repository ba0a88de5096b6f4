import { checkHistory } from '../history/check.ts';
import { explainAll } from '../history/explain.ts';
import { arrayName, LEG_HEADER_BYTES, logicalVolumeName, VALVE_PREFIX } from '../../lib/api/index.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { legsOf, look, watchUntil } from '../system/watch.ts';
import type { System } from '../system/system.ts';
import { pause } from '../system/workload.ts';
import type { ChaosVolume, History } from './workload.ts';

/** Something that may never be. */
export interface Finding {
  readonly what: 'history' | 'error' | 'not healthy' | 'not clean' | 'legs differ' | 'left behind' | 'stuck';
  readonly text: string;
}

/** How long a volume may take to be whole again when everything works: the heal of a small volume on a busy machine. */
const HEALTHY_WITHIN_MS = 240_000;
/** How long what is no longer needed may take to go. */
const CLEAN_WITHIN_MS = 90_000;

/** Waits until all replicas are in sync, in the record and at the client. */
export async function becomesHealthy(system: System, { name, replicas }: ChaosVolume): Promise<Finding | undefined> {
  try {
    await watchUntil(system, name, `${name} is healthy`, HEALTHY_WITHIN_MS, ({ volume, inSync, connection }) => {
      const members = volume.status?.replicas?.length ?? 0;
      const legs = connection?.status?.legs ?? [];
      const whole = legs.length === replicas && legs.every(({ state }) => state === 'InSync');
      return members === replicas && inSync.length === replicas && whole;
    });
    return undefined;
  } catch (error) {
    const view = await look(system, name);
    return { what: 'not healthy', text: `${(error as Error).message}; ${legsOf(view)}` };
  }
}

/** Every read must be explained by the writes, and no writer may have seen an error. */
export function judge({ runs, operations, initial }: History): Finding[] {
  const findings: Finding[] = runs.flatMap(({ client, first, end }) =>
    typeof end === 'string'
      ? []
      : [{ what: 'error', text: `the writer ${first} on ${client} got ${end.code} at block ${end.block}` } as const],
  );
  const violations = checkHistory(operations, { initial });
  if (violations.length > 0) {
    const time = (ms: number): string => new Date(ms).toISOString().slice(11, 23);
    findings.push({ what: 'history', text: explainAll(violations, time) });
  }
  return findings;
}

/** After a detach in order, all legs are in sync and the same, bit for bit. */
export async function compareLegs(system: System, { name, sizeBytes, replicas }: ChaosVolume): Promise<Finding[]> {
  const { volume } = await look(system, name);
  const { attachment, inSync = [] } = volume.status ?? {};
  const findings: Finding[] = [];
  if (attachment?.clean !== true || inSync.length !== replicas) {
    const text = `${name} after its detach: clean ${attachment?.clean}, in sync ${inSync.join(', ')}`;
    findings.push({ what: 'not clean', text });
  }
  const sums = await Promise.all(
    inSync.map(async (replica) => {
      const object = await system.replicas.get(replica);
      const lv = logicalVolumeName(object?.metadata.uid ?? '');
      const vm = system.lab.vm(object?.spec.storageNode ?? '');
      // O_DIRECT: the page cache of a device that is exported may be old
      const from = LEG_HEADER_BYTES / 65_536;
      const script = `minor=$(lvs --noheadings -o lv_kernel_minor -S lv_name=${lv} | tr -d ' ')
        dd if=/dev/dm-$minor bs=64k skip=${from} count=${sizeBytes / 65_536} iflag=direct status=none | md5sum | cut -c1-32`;
      return { replica, sum: (await vm.exec(script)).stdout.trim() };
    }),
  );
  if (new Set(sums.map(({ sum }) => sum)).size > 1)
    findings.push({ what: 'legs differ', text: sums.map(({ replica, sum }) => `${replica} ${sum}`).join(', ') });
  return findings;
}

/** With nothing attached: only what the API names may exist, on the storage nodes and on the clients. */
export async function nothingLeft(system: System, volumes: readonly ChaosVolume[]): Promise<Finding | undefined> {
  const deadline = performance.now() + CLEAN_WITHIN_MS;
  for (;;) {
    const left = await leftovers(system, volumes);
    if (left.length === 0) return undefined;
    if (performance.now() > deadline) return { what: 'left behind', text: left.join('; ') };
    await pause(1000);
  }
}

async function leftovers(system: System, volumes: readonly ChaosVolume[]): Promise<string[]> {
  const { items: replicas } = await system.replicas.list();
  const left: string[] = [];
  for (const { name } of volumes) {
    const { volume } = await look(system, name);
    const members = volume.status?.replicas?.map((replica) => replica.name) ?? [];
    const mine = replicas.filter(({ spec }) => spec.volume === name).map(({ metadata }) => metadata.name);
    left.push(...mine.filter((replica) => !members.includes(replica)).map((replica) => `VolumeReplica ${replica}`));
    left.push(...members.filter((member) => !mine.includes(member)).map((member) => `no VolumeReplica ${member}`));
  }
  const { items: connections } = await system.connections.list();
  left.push(...connections.map(({ metadata }) => `VolumeConnection ${metadata.name}`));
  const onStorage = async (vm: Vm): Promise<string[]> => {
    const uids = replicas.filter(({ spec }) => spec.storageNode === vm.name).map(({ metadata }) => metadata.uid ?? '');
    const { stdout } = await vm.exec(`
      lvs --noheadings -o lv_name 2>/dev/null | tr -d ' ' | sed 's/^/lv /'
      ls /sys/kernel/config/nvmet/subsystems 2>/dev/null | sed 's/^/export /'`);
    const lines = stdout.split('\n').filter((line) => line.startsWith('lv hf-') || line.startsWith('export '));
    const wrong = lines.filter((line) => !uids.some((uid) => line.includes(uid)));
    const missing = uids.filter((uid) => !lines.includes(`lv ${logicalVolumeName(uid)}`));
    return [...wrong, ...missing.map((uid) => `no lv for ${uid}`)].map((text) => `${vm.name}: ${text}`);
  };
  const onClient = async (vm: Vm): Promise<string[]> => {
    const { stdout } = await vm.exec(
      `ls -d /sys/block/${arrayName('')}* /dev/mapper/${VALVE_PREFIX}* /dev/holdfast/* 2>/dev/null
       grep -l holdfast /sys/class/nvme/*/subsysnqn 2>/dev/null
       grep -E '/mnt/data|md_hf_' /proc/mounts; true`,
    );
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => `${vm.name}: ${line}`);
  };
  const onVms = await Promise.all([...system.lab.storage.map(onStorage), ...system.lab.clients.map(onClient)]);
  return [...left, ...onVms.flat()];
}
