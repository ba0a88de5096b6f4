import { constants } from 'node:fs';
import { access, lstat, mkdir, readdir, readFile, rmdir, symlink, unlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Exec } from './exec.ts';

/** The few file operations that configfs knows (kernel: Documentation/filesystems/configfs.rst). Replaced in tests. */
export interface ConfigFs {
  /** Names in a folder, or undefined when there is no such folder. */
  list(dir: string): Promise<readonly string[] | undefined>;
  /** Trimmed text of an attribute, or undefined when it isn't there. */
  read(file: string): Promise<string | undefined>;
  /** Writes an attribute. */
  write(file: string, value: string): Promise<void>;
  /** Makes a folder; one that is there already is fine. */
  mkdir(dir: string): Promise<void>;
  /** Removes a folder; one that is gone already is fine. */
  rmdir(dir: string): Promise<void>;
  /** Disables a namespace, which waits for its I/O in flight, and removes its folder; one that is gone already is fine. */
  drainNamespace(dir: string): Promise<void>;
  /** Makes a link; one that is there already is fine. */
  link(target: string, at: string): Promise<void>;
  /** Removes a link; one that is gone already is fine. */
  unlink(at: string): Promise<void>;
}

/** How long the I/O in flight may take before the loop reports it and comes back. */
const DRAIN_MS = 20_000;

function hasErrno(error: unknown, ...codes: readonly string[]): boolean {
  return codes.includes((error as NodeJS.ErrnoException).code ?? '');
}

/** Waits for the work; these errors mean that it is done already. */
async function swallow(work: Promise<unknown>, ...codes: readonly string[]): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!hasErrno(error, ...codes)) throw error;
  }
}

async function exists(at: string): Promise<boolean> {
  return await lstat(at).then(
    () => true,
    () => false,
  );
}

/**
 * Disabling waits in the kernel for the I/O in flight (drivers/nvme/target/core.c, nvmet_ns_disable). Should that be cut
 * short and done again, `enable` reads 0 already, and removing the folder is what waits for the first one.
 */
export const DRAIN_SCRIPT = '[ "$(cat "$1/enable")" = 0 ] || echo 0 > "$1/enable"; rmdir "$1"';

/**
 * The kernel's configfs. The one change that waits for I/O is made by a child process: a thread of ours that hangs in the
 * kernel with a dead disk could never be taken back, and there are only four of them.
 */
export function createConfigFs(exec: Exec): ConfigFs {
  return {
    list: async (dir) =>
      await readdir(dir).catch((error: unknown) => {
        if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
        throw error;
      }),
    read: async (file) => {
      try {
        return (await readFile(file, 'utf8')).trim();
      } catch (error) {
        if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
        throw error;
      }
    },
    // No O_CREAT: in configfs an attribute exists or it doesn't.
    write: (file, value) => writeFile(file, value, { flag: constants.O_WRONLY }),
    mkdir: (dir) => swallow(mkdir(dir), 'EEXIST'),
    rmdir: (dir) => swallow(rmdir(dir), 'ENOENT'),
    drainNamespace: async (dir) => {
      if (await exists(dir)) await exec('sh', ['-ec', DRAIN_SCRIPT, 'sh', dir], { timeoutMs: DRAIN_MS });
    },
    link: (target, at) => swallow(symlink(target, at), 'EEXIST'),
    unlink: (at) => swallow(unlink(at), 'ENOENT'),
  };
}

/** A subsystem as it stands in the kernel. */
export interface Subsystem {
  readonly nqn: string;
  readonly serial: string;
  readonly model: string;
  readonly allowAnyHost: boolean;
  readonly allowedHosts: readonly string[];
  readonly namespaces: readonly {
    readonly nsid: string;
    readonly devicePath: string;
    readonly uuid: string;
    readonly enabled: boolean;
  }[];
  /** Where it can be reached. */
  readonly listeners: readonly Listener[];
}

/** Where a target listens. */
export interface Listener {
  readonly ip: string;
  readonly port: number;
}

/** What an export is to look like. */
export interface ExportSpec {
  readonly nqn: string;
  readonly serial: string;
  readonly model: string;
  /** The namespace's UUID. */
  readonly uuid: string;
  readonly devicePath: string;
  /** The only host that may connect. */
  readonly hostNqn: string;
  readonly listeners: readonly Listener[];
}

/** What is left of a subsystem, most to least. `draining`: removed, but controllers of it still live in the kernel. */
export type Presence = 'standing' | 'draining' | 'gone' | 'unknown';

/** The port to the kernel's NVMe target. Each effect may be repeated after a crash at any point. */
export interface Nvmet {
  /** Loads the modules and mounts configfs and debugfs where that hasn't been done. @throws with what is missing. */
  prepare(): Promise<void>;
  /** The NQNs of all subsystems whose name begins with `prefix`. */
  list(prefix: string): Promise<readonly string[]>;
  observe(nqn: string): Promise<Subsystem | undefined>;
  /** Makes the subsystem with its namespace; nobody can connect before `connectable`. */
  create(spec: ExportSpec): Promise<void>;
  /** Opens it to its host on all listeners. */
  connectable(nqn: string, listeners: readonly Listener[]): Promise<void>;
  /** Cuts all its controllers, waits for I/O in flight, and removes it. Then ask `presence`. */
  remove(nqn: string): Promise<void>;
  /**
   * Whether anything of it still lives. The kernel's debugfs keeps a subsystem's folder until its last controller is
   * freed (drivers/nvme/target/core.c, nvmet_subsys_free; Linux 6.11 and later with CONFIG_NVME_TARGET_DEBUGFS);
   * without debugfs a removed subsystem is `unknown`, and the caller needs another proof.
   */
  presence(nqn: string): Promise<Presence>;
  /** Tells the kernel that the volume below has grown. */
  revalidate(nqn: string): Promise<void>;
}

const NSID = '1';

/** A port's number from its address, so that a half-made port is found again. Ports of other owners are left alone. */
export function preferredPortId(listener: Listener): number {
  let hash = 2166136261;
  for (const char of `${listener.ip}:${listener.port}`) hash = Math.imul(hash ^ char.charCodeAt(0), 16777619) >>> 0;
  return 18_432 + (hash % 4096);
}

export interface NvmetOptions {
  readonly fs: ConfigFs;
  readonly exec: Exec;
  readonly configDir?: string;
  readonly debugDir?: string;
}

/** The real port, over configfs. */
export function createNvmet(options: NvmetOptions): Nvmet {
  const { fs, exec, configDir = '/sys/kernel/config', debugDir = '/sys/kernel/debug' } = options;
  const root = path.join(configDir, 'nvmet');
  const debugRoot = path.join(debugDir, 'nvmet');
  const subsystemDir = (nqn: string): string => path.join(root, 'subsystems', nqn);
  const portDir = (id: string): string => path.join(root, 'ports', id);

  const listenerOf = async (id: string): Promise<Listener & { type: string }> => {
    const at = (name: string): Promise<string | undefined> => fs.read(path.join(portDir(id), name));
    const [type = '', ip = '', port = ''] = [
      await at('addr_trtype'),
      await at('addr_traddr'),
      await at('addr_trsvcid'),
    ];
    return { type, ip, port: Number(port) };
  };

  /** Ids of the ports that a subsystem is linked to. */
  const linkedPorts = async (nqn: string): Promise<string[]> => {
    const found: string[] = [];
    for (const id of (await fs.list(path.join(root, 'ports'))) ?? []) {
      if ((await fs.list(path.join(portDir(id), 'subsystems')))?.includes(nqn) === true) found.push(id);
    }
    return found;
  };

  /** The id of the port for an address; made when there is none. A port's address can only be set while unused. */
  const ensurePort = async (listener: Listener): Promise<string> => {
    const ids = (await fs.list(path.join(root, 'ports'))) ?? [];
    for (const id of ids) {
      const known = await listenerOf(id);
      if (known.type === 'tcp' && known.ip === listener.ip && known.port === listener.port) return id;
    }
    let number = preferredPortId(listener);
    // A port at our number that has an address belongs to that address: take the next number.
    while (ids.includes(String(number)) && (await listenerOf(String(number))).ip !== '') number++;
    const dir = portDir(String(number));
    await fs.mkdir(dir);
    await fs.write(path.join(dir, 'addr_trtype'), 'tcp');
    await fs.write(path.join(dir, 'addr_adrfam'), listener.ip.includes(':') ? 'ipv6' : 'ipv4');
    await fs.write(path.join(dir, 'addr_trsvcid'), String(listener.port));
    // Last: a port that has its address is complete.
    await fs.write(path.join(dir, 'addr_traddr'), listener.ip);
    return String(number);
  };

  // One at a time: two exports that begin together would both make the port, and the second would find it in use.
  let lastPort: Promise<unknown> = Promise.resolve();
  const portFor = (listener: Listener): Promise<string> => {
    const mine = lastPort.then(() => ensurePort(listener));
    lastPort = mine.catch(() => undefined);
    return mine;
  };

  const observe = async (nqn: string): Promise<Subsystem | undefined> => {
    const dir = subsystemDir(nqn);
    const attribute = async (name: string): Promise<string> => (await fs.read(path.join(dir, name))) ?? '';
    if ((await fs.list(dir)) === undefined) return undefined;
    const namespaces = await Promise.all(
      ((await fs.list(path.join(dir, 'namespaces'))) ?? []).map(async (nsid) => ({
        nsid,
        devicePath: await attribute(`namespaces/${nsid}/device_path`),
        uuid: await attribute(`namespaces/${nsid}/device_uuid`),
        enabled: (await attribute(`namespaces/${nsid}/enable`)) === '1',
      })),
    );
    const listeners = await Promise.all(
      (await linkedPorts(nqn)).map(async (id) => {
        const { ip, port } = await listenerOf(id);
        return { ip, port };
      }),
    );
    return {
      nqn,
      serial: await attribute('attr_serial'),
      model: await attribute('attr_model'),
      allowAnyHost: (await attribute('attr_allow_any_host')) === '1',
      allowedHosts: (await fs.list(path.join(dir, 'allowed_hosts'))) ?? [],
      namespaces,
      listeners,
    };
  };

  return {
    prepare: () => prepareTarget(fs, exec, { root, configDir, debugDir }),
    list: async (prefix) =>
      ((await fs.list(path.join(root, 'subsystems'))) ?? []).filter((nqn) => nqn.startsWith(prefix)),
    observe,
    create: async (spec) => {
      const dir = subsystemDir(spec.nqn);
      const namespace = path.join(dir, 'namespaces', NSID);
      const host = path.join(root, 'hosts', spec.hostNqn);
      await fs.mkdir(dir);
      await fs.write(path.join(dir, 'attr_allow_any_host'), '0');
      await fs.write(path.join(dir, 'attr_serial'), spec.serial);
      await fs.mkdir(host);
      await fs.link(host, path.join(dir, 'allowed_hosts', spec.hostNqn));
      await fs.mkdir(namespace);
      await fs.write(path.join(namespace, 'device_path'), spec.devicePath);
      await fs.write(path.join(namespace, 'device_uuid'), spec.uuid);
      await fs.write(path.join(namespace, 'enable'), '1');
      // Last: the model carries the epoch, and a subsystem that has it is complete.
      await fs.write(path.join(dir, 'attr_model'), spec.model);
    },
    connectable: async (nqn, listeners) => {
      for (const listener of listeners) {
        const id = await portFor(listener);
        await fs.link(subsystemDir(nqn), path.join(portDir(id), 'subsystems', nqn));
      }
    },
    remove: async (nqn) => {
      const dir = subsystemDir(nqn);
      // First nobody may come in and those inside are cut (nvmet_port_del_ctrls), ...
      for (const id of await linkedPorts(nqn)) await fs.unlink(path.join(portDir(id), 'subsystems', nqn));
      // ... then their I/O is waited for (nvmet_ns_disable: percpu_ref_kill, wait_for_completion), ...
      for (const nsid of (await fs.list(path.join(dir, 'namespaces'))) ?? []) {
        await fs.drainNamespace(path.join(dir, 'namespaces', nsid));
      }
      for (const host of (await fs.list(path.join(dir, 'allowed_hosts'))) ?? []) {
        await fs.unlink(path.join(dir, 'allowed_hosts', host));
      }
      // ... and the name goes: a controller that is still on its way out keeps the old, empty object, never a new one.
      await fs.rmdir(dir);
    },
    presence: async (nqn) => {
      if ((await fs.list(subsystemDir(nqn))) !== undefined) return 'standing';
      if ((await fs.list(debugRoot)) === undefined) return 'unknown';
      return (await fs.list(path.join(debugRoot, nqn))) === undefined ? 'gone' : 'draining';
    },
    revalidate: async (nqn) => {
      await fs.write(path.join(subsystemDir(nqn), 'namespaces', NSID, 'revalidate_size'), '1');
    },
  };
}

interface TargetDirs {
  readonly root: string;
  readonly configDir: string;
  readonly debugDir: string;
}

/** Modules and mounts. Each step only where it is needed, so that a container without modprobe works on a prepared host. */
async function prepareTarget(fs: ConfigFs, exec: Exec, dirs: TargetDirs): Promise<void> {
  if ((await fs.list(dirs.root)) === undefined) {
    if (((await fs.list(dirs.configDir)) ?? []).length === 0) {
      await exec('modprobe', ['configfs'], { ok: [0, 1] });
      await exec('mount', ['-t', 'configfs', 'none', dirs.configDir], { ok: [0, 32] });
    }
    await exec('modprobe', ['nvmet']);
  }
  // nvmet itself asks for its transport when a port is opened; asking now gives the clearer error.
  await exec('modprobe', ['nvmet-tcp']).catch(async (error: unknown) => {
    const loaded = await access('/sys/module/nvmet_tcp').then(
      () => true,
      () => false,
    );
    if (!loaded) throw error;
  });
  if ((await fs.list(dirs.root)) === undefined) {
    throw new Error(
      `${dirs.root} is not there although the module nvmet is loaded: is configfs mounted on ${dirs.configDir}?`,
    );
  }
  if (((await fs.list(dirs.debugDir)) ?? []).length === 0) {
    // Only the proof that controllers are gone gets weaker without it.
    await exec('mount', ['-t', 'debugfs', 'none', dirs.debugDir], { ok: [0, 1, 32] });
  }
}
