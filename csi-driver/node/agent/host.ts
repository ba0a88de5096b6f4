import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm, symlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DEVICE_DIR } from '../../../lib/api/names.ts';
import { systemClock } from '../../../lib/clock.ts';
import { run, type Exec } from '../../../lib/host/exec.ts';
import { createMd, suspendPath } from '../../../lib/host/md.ts';
import { createNvmeHost } from '../../../lib/host/nvme.ts';
import { hostSysfs, listDirectory, readAttribute, readLink } from '../../../lib/host/sysfs.ts';
import { createValves } from '../../../lib/host/valve.ts';
import type { AgentPorts, DeviceLinks } from './ports.ts';
import { createDeviceUsers } from './users.ts';

const MODULES = ['nvme-tcp', 'raid1', 'dm-multipath', 'dm-round-robin'];
/** A direct read is of whole blocks. */
const BLOCK_BYTES = 4096;

/**
 * The machine that this process runs on.
 *
 * @param exec runs what writes may wait for
 */
export function thisHost(exec: Exec): AgentPorts {
  const bootId = readAttribute('/proc/sys/kernel/random/boot_id');
  if (bootId === undefined) throw new Error('/proc/sys/kernel/random/boot_id is missing: is /proc mounted?');
  return {
    bootId,
    clock: { ...systemClock, monotonicMs: () => performance.now() },
    sysfs: hostSysfs,
    md: createMd(hostSysfs),
    nvme: createNvmeHost(hostSysfs),
    valves: createValves(hostSysfs, exec),
    users: createDeviceUsers(run),
    links,
    async readDevice(device, offsetBytes, lengthBytes, timeoutMs) {
      // A child process, as a read of a leg may wait for as long as the leg is away.
      const skip = offsetBytes / BLOCK_BYTES;
      const count = Math.ceil(lengthBytes / BLOCK_BYTES);
      const args = [`if=/dev/${device}`, `bs=${BLOCK_BYTES}`, `skip=${skip}`, `count=${count}`];
      return (await exec('dd', [...args, 'iflag=direct', 'status=none'], { encoding: 'latin1', timeoutMs })).stdout;
    },
    async writeDevice(device, offsetBytes, bytes, timeoutMs) {
      const args = [`of=/dev/${device}`, `bs=${BLOCK_BYTES}`, `seek=${offsetBytes / BLOCK_BYTES}`, 'iflag=fullblock'];
      const input = bytes.toString('latin1');
      const how = ['oflag=direct,dsync', 'conv=notrunc', 'status=none'];
      await exec('dd', [...args, ...how], { input, encoding: 'latin1', timeoutMs });
    },
    async flushDevice(device, timeoutMs) {
      await exec('sync', ['--data', `/dev/${device}`], { timeoutMs });
    },
    async syncFilesystem(mountPoint, timeoutMs) {
      await run('sync', ['--file-system', mountPoint], { timeoutMs });
    },
    guardSuspension: (array, ms) => guardSuspension(suspendPath(array), ms),
    newToken: () => randomUUID(),
    async prepare() {
      for (const module of MODULES) await run('modprobe', [module]);
    },
  };
}

/**
 * It tries again later: a `suspend` of a process that was killed may still be under way in the kernel, and take effect after
 * the first try.
 */
const GUARD = 'echo armed; for pause in "$2" 5 10 30; do sleep "$pause"; echo 0 > "$1"; done';

function guardSuspension(path: string, ms: number): Promise<() => void> {
  const args = ['-c', GUARD, 'holdfast-suspension', path, String(ms / 1000)];
  // A session of its own: what ends this process's group leaves it alone.
  const child = spawn('sh', args, { detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the guard of the suspension ended at once (${code ?? 'killed'})`)));
    child.stdout.once('data', () => {
      child.stdout.destroy();
      child.unref();
      resolve(() => {
        try {
          if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
        } catch (error) {
          // It has ended by itself.
          if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
        }
      });
    });
  });
}

const links: DeviceLinks = {
  // One that was cut off while it was being made has another name, and is overwritten by the next.
  list: () =>
    listDirectory(DEVICE_DIR)
      .filter((name) => !name.endsWith('.new'))
      .map((name) => `${DEVICE_DIR}/${name}`),
  read: readLink,
  async point(path, target) {
    await mkdir(dirname(path), { recursive: true });
    const next = `${path}.new`;
    await rm(next, { force: true });
    await symlink(target, next);
    await rename(next, path);
  },
  async remove(path) {
    await rm(path, { force: true });
  },
};
