import { open } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import type { Sysfs } from './sysfs.ts';

/** An NVMe controller of this host, as `/sys/class/nvme` shows it. */
export interface NvmeController {
  /** Kernel name, e.g. `nvme3`. */
  readonly name: string;
  readonly nqn: string;
  /** `live`, `connecting`, `resetting`, `deleting`, ... */
  readonly state: string;
}

/** An NVMe namespace as a block device of this host. */
export interface NvmeNamespace {
  /** Kernel name, e.g. `nvme3n1`. */
  readonly name: string;
  /** NQN of its subsystem. */
  readonly nqn: string;
  /** `major:minor`. */
  readonly devNo: string;
  readonly sizeBytes: number;
}

export interface NvmeConnectOptions {
  readonly nqn: string;
  readonly address: string;
  readonly port: number;
  readonly hostNqn: string;
  readonly hostId: string;
  readonly keepAliveSeconds: number;
  readonly fastIoFailSeconds: number;
}

const CLASS = '/sys/class/nvme';

/** The sysfs path of a controller's state: `live`, `connecting`, `deleting`, ... */
export const controllerStatePath = (name: string): string => `${CLASS}/${name}/state`;

/** The port to this host's NVMe/TCP controllers. */
export interface NvmeHost {
  /** The fabrics controllers whose subsystem NQN satisfies `wanted`. */
  listControllers(wanted: (nqn: string) => boolean): NvmeController[];
  /**
   * The fabrics namespaces by the NQN of their subsystem (ours have one namespace each). Only heads and plain namespaces
   * count: with native multipath (the kernel's default) `nvme0c1n1` is one hidden path below the head `nvme0n1`.
   */
  listNamespaces(wanted: (nqn: string) => boolean): ReadonlyMap<string, NvmeNamespace>;
  /** Whether something accepts TCP connections there. */
  answersTcp(address: string, port: number, timeoutMs: number): Promise<boolean>;
  /**
   * Connects one NVMe/TCP controller and returns its kernel name.
   * @throws Error with the errno of the kernel, e.g. ECONNREFUSED, EALREADY (this host already holds that controller).
   */
  connectController(options: NvmeConnectOptions): Promise<string>;
  /**
   * Has a controller look again how large its namespaces are. The target tells of a change by itself, once, and to who is
   * connected just then (kernel: drivers/nvme/host/core.c, nvme_handle_aen_notice, nvme_queue_scan).
   */
  rescan(name: string): Promise<void>;
  /** Deletes a controller; its namespaces and all I/O that waits in them end. Returns when the kernel is done. */
  deleteController(name: string): Promise<void>;
}

/** The port over sysfs and /dev/nvme-fabrics. */
export function createNvmeHost(sysfs: Sysfs): NvmeHost {
  return {
    listControllers: (wanted) => listControllers(sysfs, wanted),
    listNamespaces: (wanted) => listNamespaces(sysfs, wanted),
    answersTcp,
    connectController,
    rescan: (name) => sysfs.writeAttribute(`${CLASS}/${name}/rescan_controller`, '1'),
    deleteController: (name) => deleteController(sysfs, name),
  };
}

function listControllers(sysfs: Sysfs, wanted: (nqn: string) => boolean): NvmeController[] {
  return sysfs
    .listDirectory(CLASS)
    .filter((name) => /^nvme\d+$/.test(name))
    .flatMap((name) => {
      const nqn = sysfs.readAttribute(`${CLASS}/${name}/subsysnqn`);
      if (nqn === undefined || !wanted(nqn)) return [];
      const state = sysfs.readAttribute(controllerStatePath(name));
      return state === undefined ? [] : [{ name, nqn, state }];
    });
}

function listNamespaces(sysfs: Sysfs, wanted: (nqn: string) => boolean): ReadonlyMap<string, NvmeNamespace> {
  const found = sysfs
    .listDirectory('/sys/block')
    .filter((name) => /^nvme\d+n\d+$/.test(name))
    .map((name) => readNamespace(sysfs, name, wanted))
    .filter((namespace) => namespace !== undefined);
  return new Map(found.map((namespace) => [namespace.nqn, namespace]));
}

function readNamespace(sysfs: Sysfs, name: string, wanted: (nqn: string) => boolean): NvmeNamespace | undefined {
  // `device` is the subsystem of a head and the controller of a plain namespace; both have this attribute.
  const nqn = sysfs.readAttribute(`/sys/block/${name}/device/subsysnqn`);
  if (nqn === undefined || !wanted(nqn)) return undefined;
  const devNo = sysfs.readAttribute(`/sys/block/${name}/dev`);
  const sectors = sysfs.readAttribute(`/sys/block/${name}/size`);
  if (devNo === undefined || !(Number(sectors) > 0)) return undefined;
  return { name, nqn, devNo, sizeBytes: Number(sectors) * 512 };
}

/**
 * Whether something accepts TCP connections there. Asked before the kernel is: a connect through
 * `/dev/nvme-fabrics` to a silent address keeps the calling thread for as long as TCP tries (minutes).
 */
function answersTcp(address: string, port: number, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTcp({ host: address, port });
    const finish = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(timeoutMs, () => finish(false));
    socket.once('connect', () => finish(true));
    socket.once('error', () => finish(false));
  });
}

/**
 * The option string for `/dev/nvme-fabrics` (kernel: drivers/nvme/host/fabrics.c, opt_tokens).
 * `ctrl_loss_tmo=-1`: the kernel never gives a leg up by itself. `fast_io_fail_tmo`: its I/O moves up into the valve,
 * so that dropping a leg never has to wait for a controller. The queues are few, because hundreds of legs share a host.
 */
export function fabricsOptions(options: NvmeConnectOptions): string {
  return [
    'transport=tcp',
    `traddr=${options.address}`,
    `trsvcid=${options.port}`,
    `nqn=${options.nqn}`,
    `hostnqn=${options.hostNqn}`,
    `hostid=${options.hostId}`,
    'ctrl_loss_tmo=-1',
    'reconnect_delay=1',
    `keep_alive_tmo=${options.keepAliveSeconds}`,
    `fast_io_fail_tmo=${options.fastIoFailSeconds}`,
    'nr_io_queues=2',
    'queue_size=64',
  ].join(',');
}

async function connectController(options: NvmeConnectOptions): Promise<string> {
  const file = await open('/dev/nvme-fabrics', 'r+');
  try {
    await file.write(fabricsOptions(options));
    const { bytesRead, buffer } = await file.read(Buffer.alloc(256), 0, 256, null);
    const instance = /instance=(\d+)/.exec(buffer.toString('latin1', 0, bytesRead))?.[1];
    if (instance === undefined) throw new Error(`/dev/nvme-fabrics answered without an instance`);
    return `nvme${instance}`;
  } finally {
    await file.close();
  }
}

async function deleteController(sysfs: Sysfs, name: string): Promise<void> {
  if (sysfs.readAttribute(controllerStatePath(name)) === undefined) return;
  await sysfs.writeAttribute(`${CLASS}/${name}/delete_controller`, '1').catch((error: { code?: string }) => {
    if (error.code !== 'ENOENT' && error.code !== 'ENODEV') throw error;
  });
}
