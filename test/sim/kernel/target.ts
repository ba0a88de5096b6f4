import path from 'node:path';
import type { ConfigFs } from '../../../lib/host/nvmet.ts';
import type { ProgramHandle } from '../scheduler.ts';
import { errno, type Answer, type Request } from './io.ts';
import type { Export, KernelWorld } from './types.ts';

interface Namespace {
  readonly files: Map<string, string>;
  inFlight: number;
  drained: (() => void)[];
}

interface Subsystem {
  readonly nqn: string;
  readonly files: Map<string, string>;
  readonly hosts: Set<string>;
  readonly namespaces: Map<string, Namespace>;
}

interface Port {
  readonly files: Map<string, string>;
  readonly subsystems: Set<string>;
}

/** A host's association with a subsystem, as the target has it. */
export interface TargetController {
  readonly nqn: string;
  readonly hostNqn: string;
  readonly keepAliveMs: number;
  readonly subsystem: Subsystem;
  alive: boolean;
  lastSeenMs: number;
  inFlight: number;
  /** The target has closed the connection. */
  readonly onClosed: () => void;
}

/** Why a connect failed: nobody listens; or the target refuses, and a host that gets that answer gives the controller up. */
export type Refusal = 'ECONNREFUSED' | 'refused';

export const CONFIG = '/sys/kernel/config/nvmet';
const DEBUG = '/sys/kernel/debug/nvmet';
/** A controller that was told to go is freed after about this long. */
const FREE_MS = 20;

/** The device behind a path such as `/dev/dm-3`. */
export type OpenDevice = (path: string) => ((request: Request, answer: Answer) => void) | undefined;

/** The kernel's NVMe target (drivers/nvme/target): configfs, the controllers of hosts, and their commands. */
export class Target {
  readonly subsystems = new Map<string, Subsystem>();
  private readonly ports = new Map<string, Port>();
  private readonly hosts = new Set<string>();
  private controllers: TargetController[] = [];
  /** Open devices by path. */
  private readonly open: Map<string, number>;
  private readonly world: KernelWorld;
  private readonly boot: ProgramHandle;
  private readonly device: OpenDevice;

  constructor(world: KernelWorld, boot: ProgramHandle, open: Map<string, number>, device: OpenDevice) {
    this.open = open;
    this.world = world;
    this.boot = boot;
    this.device = device;
  }

  listens(ip: string, port: number): boolean {
    return [...this.ports.values()].some((each) => each.subsystems.size > 0 && isAt(each, ip, port));
  }

  connect(
    at: { ip: string; port: number },
    host: Omit<TargetController, 'subsystem' | 'alive' | 'lastSeenMs' | 'inFlight'>,
  ): TargetController | Refusal {
    if (!this.listens(at.ip, at.port)) return 'ECONNREFUSED';
    const linked = [...this.ports.values()].some((port) => isAt(port, at.ip, at.port) && port.subsystems.has(host.nqn));
    const subsystem = this.subsystems.get(host.nqn);
    if (!linked || !subsystem?.hosts.has(host.hostNqn)) return 'refused';
    const controller = { ...host, subsystem, alive: true, lastSeenMs: this.world.now(), inFlight: 0 };
    this.controllers.push(controller);
    return controller;
  }

  /** Whether the target still has the connection; a host that is silent for too long is cut off. Called when it is heard of. */
  hears(controller: TargetController): boolean {
    if (controller.alive && this.isExpired(controller)) this.close(controller);
    controller.lastSeenMs = this.world.now();
    return controller.alive;
  }

  private isExpired({ lastSeenMs, keepAliveMs }: TargetController): boolean {
    return this.world.now() - lastSeenMs > 2 * keepAliveMs;
  }

  /** The host has closed the connection, or the target cuts it. Commands that have reached the disk go on. */
  close(controller: TargetController): void {
    controller.alive = false;
    this.forget(controller);
  }

  private forget(controller: TargetController): void {
    if (controller.inFlight > 0) return;
    this.world.after(this.boot, FREE_MS * this.world.fraction(), 'free controller', () => {
      this.controllers = this.controllers.filter((each) => each !== controller);
    });
  }

  sizeBytes(nqn: string, sizeOf: (path: string) => number | undefined): number | undefined {
    const namespace = this.subsystems.get(nqn)?.namespaces.get('1');
    if (namespace?.files.get('enable') !== '1') return undefined;
    return sizeOf(namespace.files.get('device_path') ?? '');
  }

  /** Runs a command of a host. It is carried out even if the connection ends meanwhile; then nobody gets the answer. */
  execute(controller: TargetController, request: Request, answer: Answer): void {
    const namespace = controller.subsystem.namespaces.get('1');
    const submit = this.device(namespace?.files.get('device_path') ?? '');
    // NVME_SC_INVALID_NS, which is a path error to the host.
    if (namespace?.files.get('enable') !== '1' || !submit) return answer('path');
    namespace.inFlight += 1;
    controller.inFlight += 1;
    submit(request, (status, values) => {
      namespace.inFlight -= 1;
      controller.inFlight -= 1;
      if (!controller.alive) this.forget(controller);
      if (namespace.inFlight === 0) for (const go of namespace.drained.splice(0)) go();
      answer(status, values);
    });
  }

  exports(): Export[] {
    return [...this.subsystems.values()].map(({ nqn, hosts, namespaces }) => ({
      nqn,
      allowedHosts: [...hosts],
      controllers: this.controllers
        .filter((each) => each.nqn === nqn && each.alive && !this.isExpired(each))
        .map(({ hostNqn }) => hostNqn),
      inFlight: namespaces.get('1')?.inFlight ?? 0,
    }));
  }

  /** configfs. Each change is one turn of the program. */
  configFs(program: ProgramHandle): ConfigFs {
    const turn = <T>(label: string, effect: () => T): Promise<T> => this.world.turn(program, label, effect);
    return {
      list: (dir) => Promise.resolve(this.list(dir)),
      read: (file) => Promise.resolve(this.filesOf(path.dirname(file))?.get(path.basename(file))),
      write: (file, value) => turn(`write ${value} ${shortly(file)}`, () => this.write(file, value)),
      mkdir: (dir) => turn(`mkdir ${shortly(dir)}`, () => this.mkdir(dir)),
      rmdir: (dir) => turn(`rmdir ${shortly(dir)}`, () => this.rmdir(dir)),
      drainNamespace: async (dir) => {
        await turn(`drain ${shortly(dir)}`, () => this.disable(dir));
        await turn(`rmdir ${shortly(dir)}`, () => this.rmdir(dir));
      },
      link: (target, at) => turn(`link ${shortly(at)}`, () => this.link(target, at)),
      unlink: (at) => turn(`unlink ${shortly(at)}`, () => this.unlink(at)),
    };
  }

  private list(dir: string): readonly string[] | undefined {
    const draining = this.controllers.map(({ nqn }) => nqn);
    if (dir === DEBUG) return [...new Set([...this.subsystems.keys(), ...draining])];
    if (dir.startsWith(`${DEBUG}/`)) return this.list(DEBUG)?.includes(path.basename(dir)) ? [] : undefined;
    if (path.dirname(CONFIG) === dir || dir === path.dirname(DEBUG)) return ['nvmet'];
    const [kind, name = '', sub = '', child] = partsOf(dir);
    if (kind === undefined) return ['subsystems', 'ports', 'hosts'];
    if (name === '') {
      return [...(kind === 'subsystems' ? this.subsystems.keys() : kind === 'ports' ? this.ports.keys() : this.hosts)];
    }
    if (kind === 'hosts') return this.hosts.has(name) ? [] : undefined;
    if (kind === 'ports') {
      const port = this.ports.get(name);
      return sub === 'subsystems' ? port && [...port.subsystems] : port && [...port.files.keys(), 'subsystems'];
    }
    const subsystem = this.subsystems.get(name);
    if (sub === '' || !subsystem) return subsystem && [...subsystem.files.keys(), 'namespaces', 'allowed_hosts'];
    if (sub === 'allowed_hosts') return [...subsystem.hosts];
    if (child === undefined) return [...subsystem.namespaces.keys()];
    const namespace = subsystem.namespaces.get(child);
    return namespace && [...namespace.files.keys()];
  }

  private filesOf(dir: string): Map<string, string> | undefined {
    const [kind, name = '', sub, child = ''] = partsOf(dir);
    if (kind === 'ports') return this.ports.get(name)?.files;
    const subsystem = this.subsystems.get(name);
    return sub === undefined ? subsystem?.files : subsystem?.namespaces.get(child)?.files;
  }

  private write(file: string, value: string): void {
    const name = path.basename(file);
    const files = this.filesOf(path.dirname(file));
    const old = files?.get(name);
    if (!files || old === undefined) throw errno('ENOENT', file);
    const [kind, id = ''] = partsOf(file);
    if (kind === 'ports' && (this.ports.get(id)?.subsystems.size ?? 0) > 0) throw errno('EACCES', file);
    if (name === 'device_path' && files.get('enable') === '1') throw errno('EBUSY', file);
    if (name === 'enable' && old !== value) this.count(files.get('device_path') ?? '', value === '1' ? 1 : -1);
    files.set(name, value);
  }

  private count(device: string, by: 1 | -1): void {
    if (by === 1 && !this.device(device)) throw errno('ENOENT', `enable ${device}`);
    this.open.set(device, (this.open.get(device) ?? 0) + by);
  }

  private mkdir(dir: string): void {
    const [kind, name = '', sub, child = ''] = partsOf(dir);
    if (kind === 'hosts') this.hosts.add(name);
    else if (kind === 'ports') {
      if (this.ports.has(name)) return;
      const files = ['addr_trtype', 'addr_adrfam', 'addr_traddr', 'addr_trsvcid'].map((file) => [file, ''] as const);
      this.ports.set(name, { files: new Map(files), subsystems: new Set() });
    } else if (sub === undefined) {
      if (this.subsystems.has(name)) return;
      const files = new Map([
        ['attr_allow_any_host', '0'],
        ['attr_serial', 'random'],
        ['attr_model', 'Linux'],
      ]);
      this.subsystems.set(name, { nqn: name, files, hosts: new Set(), namespaces: new Map() });
    } else {
      const subsystem = this.subsystems.get(name);
      if (!subsystem) throw errno('ENOENT', dir);
      if (subsystem.namespaces.has(child)) return;
      const files = new Map([
        ['device_path', '(null)'],
        ['device_uuid', '0'],
        ['enable', '0'],
        ['revalidate_size', ''],
      ]);
      subsystem.namespaces.set(child, { files, inFlight: 0, drained: [] });
    }
  }

  private rmdir(dir: string): void {
    const [kind, name = '', sub, child = ''] = partsOf(dir);
    if (kind !== 'subsystems') throw errno('EPERM', dir);
    const subsystem = this.subsystems.get(name);
    if (!subsystem) return;
    if (sub === undefined) {
      if (subsystem.namespaces.size > 0 || subsystem.hosts.size > 0) throw errno('ENOTEMPTY', dir);
      if ([...this.ports.values()].some((port) => port.subsystems.has(name))) throw errno('EBUSY', dir);
      this.subsystems.delete(name);
      return;
    }
    const files = subsystem.namespaces.get(child)?.files;
    if (files?.get('enable') === '1') this.count(files.get('device_path') ?? '', -1);
    subsystem.namespaces.delete(child);
  }

  /** Disabling waits for the commands in flight (nvmet_ns_disable); new ones get an error at once. */
  private disable(dir: string): Promise<void> {
    const [, name = '', , child = ''] = partsOf(dir);
    const namespace = this.subsystems.get(name)?.namespaces.get(child);
    if (!namespace) return Promise.resolve();
    if (namespace.files.get('enable') === '1') {
      namespace.files.set('enable', '0');
      this.count(namespace.files.get('device_path') ?? '', -1);
    }
    if (namespace.inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => {
      namespace.drained.push(resolve);
    });
  }

  private link(target: string, at: string): void {
    const [kind, name = ''] = partsOf(at);
    const to = path.basename(target);
    if (kind === 'ports') {
      const port = this.ports.get(name);
      if (!port || !this.subsystems.has(to)) throw errno('ENOENT', at);
      port.subsystems.add(to);
    } else {
      const subsystem = this.subsystems.get(name);
      if (!subsystem || !this.hosts.has(to)) throw errno('ENOENT', at);
      subsystem.hosts.add(to);
    }
  }

  private unlink(at: string): void {
    const [kind, name = ''] = partsOf(at);
    const gone = path.basename(at);
    if (kind !== 'ports') {
      // A host that is no longer allowed keeps the controllers that it has.
      this.subsystems.get(name)?.hosts.delete(gone);
      return;
    }
    if (this.ports.get(name)?.subsystems.delete(gone) !== true) return;
    // nvmet_port_del_ctrls
    for (const controller of this.controllers.filter((each) => each.nqn === gone && each.alive)) {
      this.close(controller);
      controller.onClosed();
    }
  }
}

function partsOf(at: string): string[] {
  return at
    .slice(CONFIG.length + 1)
    .split('/')
    .filter((part) => part !== '');
}

/** For traces: the end of a path says enough. */
const shortly = (at: string): string => at.slice(CONFIG.length + 1);

function isAt({ files }: Port, ip: string, port: number): boolean {
  return files.get('addr_traddr') === ip && Number(files.get('addr_trsvcid')) === port;
}
