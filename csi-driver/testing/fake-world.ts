import { posix } from 'node:path';
import { connectionName, devicePath, type ReplicatedVolume, type VolumeConnection } from '../../lib/api/index.ts';
import { clientLeaseName, MAX_VOLUMES_ANNOTATION } from '../../lib/api/names.ts';
import { systemClock } from '../../lib/clock.ts';
import { ExecError } from '../../lib/host/exec.ts';
import type { DeviceContent, Filesystems } from '../../lib/host/mkfs.ts';
import type { MountEntry, Mounts } from '../../lib/host/mount.ts';
import type { ControllerDeps } from '../controller/deps.ts';
import type { NodeDeps } from '../node/deps.ts';
import { createAttachedDevices } from '../node/device.ts';
import { createFormatRecord } from '../node/format-record.ts';
import { hostPaths, type BlockDevice } from '../node/paths.ts';
import { fakeCluster } from './fake-controller.ts';

const MAX_VOLUMES = 8;

/**
 * One client node with everything around the CSI services pretended: an operator and an agent that do at once what is
 * asked of them, devices and a mount table in memory. Folders are real: whoever calls looks at them.
 */
export function fakeWorld(node: string): { readonly controller: ControllerDeps; readonly node: NodeDeps } {
  const cluster = fakeCluster((volume) => queueMicrotask(() => obey(volume.metadata.name)));
  cluster.leases.put({
    metadata: { name: clientLeaseName(node), annotations: { [MAX_VOLUMES_ANNOTATION]: String(MAX_VOLUMES) } },
  });
  const contents = new Map<string, DeviceContent>();
  let mounts: MountEntry[] = [];

  /** Operator and client agent: what is there follows what is wanted. */
  function obey(name: string): void {
    const volume = cluster.volumes.peek(name);
    if (volume === undefined) return;
    const { inSync, attachment } = volume.status ?? {};
    const { attachTo, capacityBytes } = volume.spec;
    const isUnused = attachTo === '' && attachment === undefined;
    if (volume.metadata.deletionTimestamp !== undefined && isUnused) cluster.volumes.remove(name);
    else if (inSync === undefined) cluster.setStatus(name, { inSync: [`${name}-r0`, `${name}-r1`], capacityBytes });
    else if (volume.status?.capacityBytes !== capacityBytes) cluster.setStatus(name, { capacityBytes });
    else if (attachTo !== '' && attachment === undefined) attach(volume, attachTo);
    else if (attachTo === '' && attachment !== undefined) {
      cluster.connections.remove(connectionName(name, attachment.node));
      cluster.volumes.put({ ...volume, status: omitAttachment(volume.status) });
    }
  }

  function attach(volume: ReplicatedVolume, to: string): void {
    const { name, uid = '' } = volume.metadata;
    const epoch = 1;
    const legs = [`${name}-r0`, `${name}-r1`].map((replica) => ({ replica, state: 'InSync' }));
    cluster.connections.put({
      metadata: { name: connectionName(name, to) },
      spec: { volume: name, volumeUid: uid, node: to, epoch, legs },
      status: { phase: 'Connected', epoch, devicePath: devicePath(name), legs },
    } as unknown as VolumeConnection);
    cluster.setStatus(name, { attachment: { node: to, hostNqn: `nqn.${to}`, epoch, clean: false } });
  }

  const numbers = new Map<string, string>();
  const blockDevice = async (path: string): Promise<BlockDevice | undefined> => {
    const volume = posix.basename(path);
    if (!path.startsWith(devicePath('')) || cluster.volumes.peek(volume) === undefined) return undefined;
    const number = numbers.get(volume) ?? `9:${numbers.size}`;
    numbers.set(volume, number);
    return { path: `/dev/md${number.slice(2)}`, number };
  };
  const paths = { ...hostPaths, blockDevice };

  const mountTable: Mounts = {
    list: async () => mounts,
    canonical: async (path) => path,
    mount: async (device, target, fsType, options) => {
      const mount = { device: `9:${device.slice(7)}`, root: '/', target, fsType, source: device };
      mounts = [...mounts, { id: mounts.length, ...mount, options: ['rw', ...options], superOptions: ['rw'] }];
    },
    bind: async (source, target) => {
      const from = mounts.find((mount) => mount.target === source);
      const node = { device: '0:6', root: source.replace(/^\/dev/, ''), fsType: 'devtmpfs', source: 'devtmpfs' };
      const entry = from ?? { ...node, options: ['rw'], superOptions: ['rw'] };
      mounts = [...mounts, { ...entry, id: mounts.length, target }];
    },
    makeReadOnly: async (target) => {
      mounts = mounts.map((mount) => (mount.target === target ? { ...mount, options: ['ro'] } : mount));
    },
    unmount: async (target) => {
      const at = mounts.findLastIndex((mount) => mount.target === target);
      if (at < 0) throw new ExecError('umount: not mounted', 'umount');
      mounts = mounts.toSpliced(at, 1);
    },
  };

  const filesystems: Filesystems = {
    sizeBytes: async (device) => {
      const volume = [...numbers].find(([, number]) => `/dev/md${number.slice(2)}` === device)?.[0] ?? '';
      return cluster.volumes.peek(volume)?.spec.capacityBytes ?? 0;
    },
    probe: async (device) => contents.get(device) ?? { kind: 'blank' },
    make: async (device, type) => void contents.set(device, { kind: 'filesystem', type, unfinished: true }),
    finish: async (device, type) => void contents.set(device, { kind: 'filesystem', type, unfinished: false }),
    grow: async () => undefined,
    check: async () => undefined,
  };

  return {
    controller: cluster,
    node: {
      node,
      maxVolumes: MAX_VOLUMES,
      topology: async () => ({ zone: 'a' }),
      connections: () => cluster.connections.all(),
      devices: createAttachedDevices({ node, connections: cluster.connections, changes: cluster.changes, paths }),
      mounts: mountTable,
      filesystems,
      formatRecord: createFormatRecord({ node, volumes: cluster.volumes, clock: systemClock }),
      paths,
      exec: async (command) => ({
        code: 0,
        stdout: command === 'blockdev' ? `${2 ** 30}\n` : '4096 1000 400 300 500 450\n',
        stderr: '',
      }),
    },
  };
}

function omitAttachment(status: ReplicatedVolume['status']): NonNullable<ReplicatedVolume['status']> {
  const { attachment: _, ...rest } = status ?? {};
  return rest;
}
