import { checkHistory } from '../history/check.ts';
import { explainAll } from '../history/explain.ts';
import {
  ARRAY_PREFIX,
  arrayName,
  connectionName,
  DEVICE_DIR,
  LEG_HEADER_BYTES,
  logicalVolumeName,
  VALVE_PREFIX,
  valveName,
} from '../../lib/api/index.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { STAGING } from '../system/csi.ts';
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
export function judge({ name }: ChaosVolume, { runs, operations, initial }: History): Finding[] {
  const findings = runs.flatMap(({ client, first, end }): Finding[] =>
    typeof end === 'string'
      ? []
      : [
          {
            what: 'error',
            text: `the writer of ${name} (${first}) on ${client} got ${end.code} at block ${end.block}`,
          },
        ],
  );
  const violations = checkHistory(operations, { initial });
  if (violations.length > 0) {
    const time = (ms: number): string => new Date(ms).toISOString().slice(11, 23);
    findings.push({ what: 'history', text: `${name}: ${explainAll(violations, time)}` });
  }
  return findings;
}

/** Does something while nothing of a volume changes: a filesystem writes by itself now and then. */
export async function frozen<T>({ kind, path }: ChaosVolume, client: Vm, work: () => Promise<T>): Promise<T> {
  if (kind === 'block') return await work();
  await client.exec(`fsfreeze -f ${path}`);
  try {
    return await work();
  } finally {
    await client.exec(`fsfreeze -u ${path}`);
  }
}

/** When nothing changes, all legs are in sync and the same, bit for bit. */
export async function compareLegs(system: System, { name, sizeBytes, replicas }: ChaosVolume): Promise<Finding[]> {
  const { inSync } = await look(system, name);
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
  const text = sums.map(({ replica, sum }) => `${replica} ${sum}`).join(', ');
  return sums.length === replicas && new Set(sums.map(({ sum }) => sum)).size === 1
    ? []
    : [{ what: 'legs differ', text }];
}

/** After a detach in order the record says so, and that all legs are in sync. */
export async function detachedInOrder(system: System, { name, replicas }: ChaosVolume): Promise<Finding[]> {
  const { attachment, inSync = [] } = (await look(system, name)).volume.status ?? {};
  if (attachment?.clean === true && inSync.length === replicas) return [];
  const text = `${name} after its detach: clean ${attachment?.clean}, in sync ${inSync.join(', ')}`;
  return [{ what: 'not clean', text }];
}

/** Only what the API names may exist, on the storage nodes and on the clients, and all of it must. */
export async function nothingLeft(system: System, used: readonly ChaosVolume[]): Promise<Finding | undefined> {
  const deadline = performance.now() + CLEAN_WITHIN_MS;
  for (;;) {
    const left = await leftovers(system, used);
    if (left.length === 0) return undefined;
    if (performance.now() > deadline) return { what: 'left behind', text: left.join('; ') };
    await pause(500);
  }
}

async function leftovers(system: System, used: readonly ChaosVolume[]): Promise<string[]> {
  const { lab } = system;
  const [replicas, connections, views] = await Promise.all([
    system.replicas.list().then(({ items }) => items),
    system.connections.list().then(({ items }) => items),
    Promise.all(used.map(async ({ name }) => (await look(system, name)).volume)),
  ]);
  const ofObjects = views.flatMap(({ metadata: { name }, status }) => {
    const members = status?.replicas?.map((replica) => replica.name) ?? [];
    const mine = replicas.filter(({ spec }) => spec.volume === name).map(({ metadata }) => metadata.name);
    return difference(mine, members).map((text) => `VolumeReplica ${text}`);
  });
  const attached = views.flatMap(({ metadata, status }) =>
    status?.attachment?.node ? [{ volume: metadata.name, node: status.attachment.node }] : [],
  );
  const wanted = attached.map(({ volume, node }) => connectionName(volume, node));
  const ofConnections = difference(
    connections.map(({ metadata }) => metadata.name),
    wanted,
  ).map((text) => `VolumeConnection ${text}`);
  const onStorage = async (vm: Vm): Promise<string[]> => {
    const uids = replicas.filter(({ spec }) => spec.storageNode === vm.name).map(({ metadata }) => metadata.uid ?? '');
    const volumesHere = await lines(vm, "lvs --noheadings -o lv_name 2>/dev/null | tr -d ' ' | grep '^hf-'");
    const exports = await lines(vm, 'ls /sys/kernel/config/nvmet/subsystems 2>/dev/null');
    const strayExports = exports.filter((nqn) => !uids.some((uid) => nqn.includes(uid)));
    return [...difference(volumesHere, uids.map(logicalVolumeName)), ...strayExports];
  };
  const onClient = async (vm: Vm): Promise<string[]> => {
    const here = connections.filter(({ spec }) => spec.node === vm.name);
    const names = here.map(({ spec }) => spec.volume);
    const nqns = here.flatMap(({ spec }) => spec.legs.map(({ nqn }) => nqn));
    const [arrays, valves, links, controllers, mounts] = await Promise.all([
      lines(vm, `cd /sys/block && ls -d ${ARRAY_PREFIX}* 2>/dev/null`),
      lines(vm, `cd /dev/mapper && ls -d ${VALVE_PREFIX}* 2>/dev/null`),
      lines(vm, `ls ${DEVICE_DIR} 2>/dev/null`),
      lines(vm, 'cat /sys/class/nvme/*/subsysnqn 2>/dev/null | grep holdfast'),
      lines(vm, `awk '{print $2}' /proc/mounts | grep -E '^/mnt/|^${STAGING}/'`),
    ]);
    const paths = used.filter(({ name }) => names.includes(name)).map((volume) => mountsOf(volume));
    return [
      ...difference(
        arrays,
        here.map(({ spec }) => arrayName(spec.volumeUid)),
      ),
      ...difference(valves, nqns.map(valveName)),
      ...difference(links, names),
      ...difference(controllers, nqns),
      ...difference(mounts, paths.flat()),
    ];
  };
  const onVms = await Promise.all(
    lab.vms.map(async (vm) => {
      const found = await (vm.role === 'storage' ? onStorage(vm) : onClient(vm));
      return found.map((text) => `${vm.name}: ${text}`);
    }),
  );
  return [...ofObjects, ...ofConnections, ...onVms.flat()];
}

const mountsOf = ({ name, kind, path }: ChaosVolume): string[] =>
  kind === 'block' ? [path] : [path, `${STAGING}/${name}`];

async function lines(vm: Vm, script: string): Promise<string[]> {
  const { stdout } = await vm.exec(`${script}; true`);
  return stdout.split('\n').filter((line) => line !== '');
}

/** What is there and should not be, and the other way round. */
function difference(found: readonly string[], wanted: readonly string[]): string[] {
  return [
    ...found.filter((name) => !wanted.includes(name)).map((name) => `${name} is left`),
    ...wanted.filter((name) => !found.includes(name)).map((name) => `${name} is missing`),
  ];
}
