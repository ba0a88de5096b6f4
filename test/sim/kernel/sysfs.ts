import type { HeldAttribute } from '../../../lib/host/sysfs.ts';
import { errno } from './io.ts';
import { listMd, readMd, writeMd } from './md-sysfs.ts';
import { MdArray } from './md.ts';
import type { HostController, NamespaceHead, NvmeHostKernel } from './nvme.ts';
import type { KernelWorld } from './types.ts';
import type { Mapper, ValveDevice } from './valve.ts';

type Thing = MdArray | ValveDevice | NamespaceHead | HostController;

const BLOCK = '/sys/block/';
const NVME = '/sys/class/nvme/';
const NEW_ARRAY = '/sys/module/md_mod/parameters/new_array';

/** The sysfs of one boot of a client machine, as far as the client agent looks at it. */
export class SysfsTree {
  readonly arrays = new Map<string, MdArray>();
  private readonly nvme: NvmeHostKernel;
  private readonly mapper: Mapper;
  private readonly world: KernelWorld;
  private minors = 512;

  constructor(world: KernelWorld, nvme: NvmeHostKernel, mapper: Mapper) {
    this.world = world;
    this.nvme = nvme;
    this.mapper = mapper;
  }

  /** What a path belongs to, and the file within it. */
  private find(path: string): { thing: Thing | undefined; file: string } {
    const { kind, name, file } = partsOf(path);
    if (kind === 'nvme') return { thing: this.nvme.controllers.get(name), file };
    if (kind === 'dm') return { thing: this.mapper.byDevice(name), file };
    return { thing: this.arrays.get(name) ?? this.nvme.heads.get(name), file };
  }

  read(path: string): string | undefined {
    const { thing, file } = this.find(path);
    return thing && this.readOf(thing, file);
  }

  private readOf(thing: Thing, file: string): string | undefined {
    if (!('devNo' in thing)) {
      if (file === 'subsysnqn') return thing.options.nqn;
      return file === 'state' ? (thing.state === 'new' ? 'connecting' : thing.state) : undefined;
    }
    if (file === 'dev') return thing.devNo;
    if (file === 'stat') return thing.counters.text();
    if (file === 'size') return String(thing.sizeBytes / 512);
    if (thing instanceof MdArray) return file.startsWith('md/') ? readMd(thing, file.slice(3)) : undefined;
    if (file === 'dm/name') return 'queues' in thing ? thing.name : undefined;
    if (file === 'dm/suspended') return 'queues' in thing ? (thing.suspended ? '1' : '0') : undefined;
    return file === 'device/subsysnqn' && 'nqn' in thing ? thing.nqn : undefined;
  }

  list(path: string): string[] {
    if (path === '/sys/block') {
      const valves = [...this.mapper.valves.values()].map(({ device }) => device);
      return [...this.arrays.keys(), ...valves, ...this.nvme.heads.keys()];
    }
    if (path === '/sys/class/nvme') return [...this.nvme.controllers.keys()];
    const { thing, file } = this.find(path);
    if (thing instanceof MdArray && file === 'md') return listMd(thing);
    // The link stays when the namespace is gone, and then leads nowhere.
    if (thing && 'queues' in thing && file === 'slaves') return [thing.path.name];
    return [];
  }

  /** @param isAlive whether the program that writes still runs @throws Error with the kernel's errno as its code */
  async write(path: string, value: string, isAlive: () => boolean = () => true): Promise<void> {
    if (path === NEW_ARRAY) {
      if (this.arrays.has(value)) throw errno('EEXIST', path);
      this.arrays.set(value, new MdArray(value, `9:${(this.minors += 1)}`, this.world, this.nvme.boot));
      return;
    }
    const { thing, file } = this.find(path);
    if (thing instanceof MdArray && file.startsWith('md/')) {
      await writeMd(thing, file.slice(3), value, (devNo) => this.mapper.byDevNo(devNo), isAlive);
      if (file === 'md/array_state' && value === 'clear') this.arrays.delete(thing.name);
      return;
    }
    if (thing && !('devNo' in thing) && file === 'delete_controller') {
      await new Promise<void>((resolve) => thing.delete(resolve));
      return;
    }
    if (thing && !('devNo' in thing) && file === 'rescan_controller') return thing.rescan();
    throw errno('ENOENT', path);
  }

  open(path: string): HeldAttribute {
    const { thing, file } = this.find(path);
    return {
      // The handle is of the object, not of its name.
      read: () => (thing !== undefined && this.find(path).thing === thing ? this.readOf(thing, file) : undefined),
      close: () => undefined,
    };
  }
}

interface Parts {
  readonly kind: 'nvme' | 'dm' | 'block';
  readonly name: string;
  readonly file: string;
}

/** The same few hundred paths are looked at all the time. */
const known = new Map<string, Parts>();

function partsOf(path: string): Parts {
  let found = known.get(path);
  if (found === undefined) known.set(path, (found = parse(path)));
  return found;
}

function parse(path: string): Parts {
  const isNvme = path.startsWith(NVME);
  const from = isNvme ? NVME.length : BLOCK.length;
  const slash = path.indexOf('/', from);
  const name = slash < 0 ? path.slice(from) : path.slice(from, slash);
  const file = slash < 0 ? '' : path.slice(slash + 1);
  return { kind: isNvme ? 'nvme' : name.startsWith('dm-') ? 'dm' : 'block', name, file };
}
