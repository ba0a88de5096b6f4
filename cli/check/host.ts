import { ARRAY_PREFIX, isReplicaNqn, VALVE_PREFIX } from '../../lib/api/index.ts';
import { createBlockDevices } from '../../lib/host/blockdev.ts';
import { run } from '../../lib/host/exec.ts';
import { createLvm } from '../../lib/host/lvm.ts';
import { createMd } from '../../lib/host/md.ts';
import { createMounts } from '../../lib/host/mount.ts';
import { createNvmeHost } from '../../lib/host/nvme.ts';
import { createConfigFs, createNvmet } from '../../lib/host/nvmet.ts';
import { hostSysfs, listDirectory, readAttribute } from '../../lib/host/sysfs.ts';
import { hasUdev } from '../../lib/host/udev.ts';
import { createValves } from '../../lib/host/valve.ts';
import { describeError } from '../../lib/log.ts';
import type { NodeFacts } from './node.ts';

/** Reads what this machine has of ours. It changes nothing and opens no leg, so it never waits for one. */
export async function lookAtThisHost(node: string, isStorageNode: boolean): Promise<NodeFacts> {
  const problems: string[] = [];
  const attempt = async <T>(what: string, read: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await read();
    } catch (error) {
      problems.push(`${what} could not be read: ${describeError(error)}`);
      return undefined;
    }
  };
  const disks = createBlockDevices(run);
  const lvm = createLvm({ exec: run, devices: () => disks.scannable(), udev: hasUdev });
  const nvmet = createNvmet({ fs: createConfigFs(run), exec: run });
  const md = createMd(hostSysfs);
  const arrays = md.list(ARRAY_PREFIX);
  const byDevice = new Map(arrays.map((name) => [md.deviceNumber(name), name]));
  const mounts = (await attempt('the mounts', () => createMounts(run).list())) ?? [];
  return {
    node,
    bootId: readAttribute('/proc/sys/kernel/random/boot_id') ?? '',
    logicalVolumes: isStorageNode ? await attempt('the logical volumes', () => lvm.volumes()) : undefined,
    exports: await exportsOf(nvmet),
    controllers: createNvmeHost(hostSysfs).listControllers(isReplicaNqn),
    valves: [...createValves(hostSysfs, run).list(VALVE_PREFIX).keys()],
    arrays: arrays.flatMap((name) => md.readArray(name) ?? []),
    mounts: mounts.flatMap(({ device, target }) => {
      const array = byDevice.get(device);
      return array === undefined ? [] : [{ target, array }];
    }),
    links: listDirectory('/dev/holdfast'),
    problems,
  };
}

async function exportsOf(nvmet: ReturnType<typeof createNvmet>): Promise<NodeFacts['exports']> {
  const names = await nvmet.list('');
  const found = await Promise.all(names.filter(isReplicaNqn).map((nqn) => nvmet.observe(nqn)));
  return found.filter((subsystem) => subsystem !== undefined);
}
