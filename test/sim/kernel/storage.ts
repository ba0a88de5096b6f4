import { copyVolumeName, LEG_HEADER_BYTES, logicalVolumeName } from '../../../lib/api/names.ts';
import { createNvmet } from '../../../lib/host/nvmet.ts';
import type { Lvm } from '../../../lib/host/lvm.ts';
import type { BlockDevices } from '../../../lib/host/blockdev.ts';
import { Killer } from '../../../storage-agent/testing/crash.ts';
import { FakeStorage } from '../../../storage-agent/testing/fake-lvm.ts';
import type { ProgramHandle } from '../scheduler.ts';
import { Content, Disk } from './disk.ts';
import { BLOCK_BYTES } from './io.ts';
import { bootIdOf } from './names.ts';
import { pagesOf, type Pages } from './pages.ts';
import { Target } from './target.ts';
import { asTurns } from './turns.ts';
import type { DiskHealth, Export, StorageKernel, StorageKernelOptions } from './types.ts';

const MIB = 1024 * 1024;
const EXTENT_BYTES = 4 * MIB;
const DEVICE = '/dev/dm-';
/** How the names of copies of snapshots begin. */
const COPY = copyVolumeName('');
const HEADER_BLOCKS = LEG_HEADER_BYTES / BLOCK_BYTES;

/** What client kernels reach over the network. */
export interface StorageEnd extends StorageKernel {
  readonly target: Target;
  /** Of the boot that runs now. */
  readonly boot: ProgramHandle;
  /** Size of a subsystem's namespace; undefined while there is none. */
  namespaceBytes(nqn: string): number | undefined;
  /** Puts a value on the medium of a replica behind everybody's back; blocks of the header are negative. */
  pokeBlock(replicaUid: string, block: number, value: number): void;
  /** Flushes of a replica's volume that its disk has done. */
  flushes(replicaUid: string): number;
}

type Volume = FakeStorage['lvs'] extends Map<string, infer V> ? V : never;

/** LVM with the contents of its volumes: LVM's own metadata is durable at once, the contents only when flushed. */
class Volumes extends FakeStorage {
  private readonly contents = new Map<Volume, Content>();
  private readonly isVolatile: boolean;
  private readonly pages: Pages;

  constructor(target: { readonly open: ReadonlyMap<string, number> }, isVolatile: boolean, pages: Pages) {
    super(new Killer(), target);
    this.pages = pages;
    this.isVolatile = isVolatile;
  }

  byPath(path: string): Volume | undefined {
    if (!path.startsWith(DEVICE)) return undefined;
    const devNo = `253:${path.slice(DEVICE.length)}`;
    for (const each of this.lvs.values()) if (each.devNo === devNo) return each;
    return undefined;
  }

  /** A simulated volume grows by less than LVM's usual extent. */
  protected override wholeExtents(sizeBytes: number): number {
    return Math.ceil(sizeBytes / MIB) * MIB;
  }

  content(volume: Volume): Content {
    let found = this.contents.get(volume);
    if (!found) this.contents.set(volume, (found = new Content(this.isVolatile)));
    return found;
  }

  wrote(volume: Volume): void {
    volume.mappedBytes = Math.min(volume.sizeBytes, this.content(volume).written() * BLOCK_BYTES);
  }

  losePower(fraction: () => number): void {
    for (const content of this.contents.values()) content.losePower(fraction);
    this.reboot();
  }

  override async discard(device: string): Promise<void> {
    await super.discard(device);
    const volume = this.byPath(device);
    if (volume) this.content(volume).discard();
  }

  override async zero(device: string, offsetBytes: number, lengthBytes: number): Promise<void> {
    await super.zero(device, offsetBytes, lengthBytes);
    const volume = this.byPath(device);
    if (volume) this.content(volume).zero(offsetBytes / BLOCK_BYTES, Math.ceil(lengthBytes / BLOCK_BYTES));
  }

  protected override copied(origin: string, name: string): void {
    const named = (wanted: string): Volume | undefined => [...this.lvs.values()].find((each) => each.name === wanted);
    const [from, to] = [named(origin), named(name)];
    if (from && to) this.contents.set(to, this.content(from).copy());
  }

  override flush(device?: string): Promise<void> {
    const volume = device === undefined ? undefined : this.byPath(device);
    if (volume) this.content(volume).flush();
    return Promise.resolve();
  }

  override readStart(device: string, lengthBytes: number): Promise<Buffer> {
    const volume = this.byPath(device);
    if (!volume) return super.readStart(device, lengthBytes);
    const blocks = Array.from({ length: Math.ceil(lengthBytes / BLOCK_BYTES) }, (_, block) => block);
    return Promise.resolve(Buffer.concat(blocks.map((block) => this.pages.bytes(this.content(volume).read(block)))));
  }

  override firstNonZero(device: string): Promise<number | undefined> {
    const volume = this.byPath(device);
    if (!volume) return super.firstNonZero(device);
    const block = this.content(volume).firstNonZero();
    return Promise.resolve(block === undefined ? undefined : block * BLOCK_BYTES);
  }
}

/** A storage machine: LVM on disks that forget what was not flushed, and the kernel's NVMe target. */
export function createStorageKernel(options: StorageKernelOptions): StorageEnd {
  const { machine, world, pool } = options;
  let boots = 0;
  let on = true;
  let boot: ProgramHandle = { name: `kernel of ${machine}`, alive: true };
  const health = new Map<string, DiskHealth>();
  let disks = new Map<Volume, Disk>();
  const open = new Map<string, number>();
  const volumes = new Volumes({ open }, options.volatileCache ?? true, pagesOf(world));
  let target = newTarget();
  putPool();

  function newTarget(): Target {
    open.clear();
    return new Target(world, boot, open, (path) => {
      const volume = volumes.byPath(path);
      if (!volume) return undefined;
      return (request, answer) => {
        diskOf(volume).submit(volumes.content(volume), request, (status, values) => {
          if (request.op === 'write') volumes.wrote(volume);
          answer(status, values);
        });
      };
    });
  }

  function diskOf(volume: Volume): Disk {
    let disk = disks.get(volume);
    if (!disk) {
      disks.set(volume, (disk = new Disk(world, boot)));
      disk.setHealth(healthOf(volume));
    }
    return disk;
  }

  const healthOf = ({ name }: Volume): DiskHealth => health.get(name) ?? health.get('') ?? 'well';

  function putPool(): void {
    const group = `hf-${pool.name}`;
    const totalExtents = Math.floor(pool.sizeBytes / EXTENT_BYTES);
    for (const device of pool.devices) {
      if (options.withPool === false) {
        volumes.disks.set(device, { state: 'empty', sizeBytes: pool.sizeBytes });
        continue;
      }
      volumes.labels.set(device, { group, inUse: true });
      volumes.disks.set(device, { state: 'occupied', found: ['LVM2_member'] });
    }
    if (options.withPool === false) return;
    volumes.vgs.set(group, { tags: ['holdfast', `hf.pool=${pool.name}`], totalExtents });
    const shape = { tags: ['holdfast'], layout: ['thin', 'pool'], devNo: '253:1000', mappedBytes: 0 };
    const sizeBytes = (totalExtents - 16) * EXTENT_BYTES;
    volumes.lvs.set(`${group}/holdfast-pool`, { group, name: 'holdfast-pool', sizeBytes, pool: '', ...shape });
  }

  const volumeOf = (uid: string): Volume | undefined =>
    [...volumes.lvs.values()].find(({ name }) => name === logicalVolumeName(uid));
  const blockOf = (uid: string, read: (content: Content) => number): number | undefined => {
    const volume = volumeOf(uid);
    return volume && read(volumes.content(volume));
  };

  return {
    machine,
    get on() {
      return on;
    },
    get bootId() {
      return bootIdOf(machine, boots);
    },
    get boot() {
      return boot;
    },
    get target() {
      return target;
    },
    namespaceBytes: (nqn) => target.sizeBytes(nqn, (path) => volumes.byPath(path)?.sizeBytes),
    host(program) {
      const ports = asTurns<Lvm & BlockDevices>(volumes, world, program, EFFECTS);
      return {
        lvm: ports,
        disks: ports,
        nvmet: createNvmet({
          fs: target.configFs(program),
          exec: () => Promise.resolve({ code: 0, stdout: '', stderr: '' }),
        }),
        bootId: bootIdOf(machine, boots),
        now: () => world.clockOf(program).now(),
        sleep: (ms) => world.timer(program, ms, 'sleep'),
      };
    },
    powerOff() {
      if (!on) return;
      on = false;
      boot.alive = false;
      volumes.losePower(() => world.fraction());
      disks = new Map();
    },
    powerOn() {
      if (on) return;
      on = true;
      boots += 1;
      boot = { name: `kernel of ${machine}`, alive: true };
      target = newTarget();
      for (const volume of volumes.lvs.values()) if (volume.layout.includes('pool')) volume.devNo = '253:2000';
    },
    setHealth(state, replicaUid) {
      if (replicaUid === undefined) health.clear();
      health.set(replicaUid === undefined ? '' : logicalVolumeName(replicaUid), state);
      for (const [volume, disk] of disks) disk.setHealth(healthOf(volume));
    },
    replicas: () =>
      [...volumes.lvs.values()]
        .filter(({ name }) => name.startsWith('hf-') && !name.startsWith(COPY))
        .map(({ name }) => name.slice(3)),
    copies: () =>
      [...volumes.lvs.values()].filter(({ name }) => name.startsWith(COPY)).map(({ name }) => name.slice(COPY.length)),
    readCopyBlock(copyUid, block) {
      const volume = [...volumes.lvs.values()].find(({ name }) => name === copyVolumeName(copyUid));
      return volume && volumes.content(volume).read(HEADER_BLOCKS + block);
    },
    readBlock: (uid, block) => blockOf(uid, (content) => content.read(HEADER_BLOCKS + block)),
    readDurableBlock: (uid, block) => blockOf(uid, (content) => content.durable(HEADER_BLOCKS + block)),
    pokeBlock(uid, block, value) {
      const volume = volumeOf(uid);
      if (volume) volumes.content(volume).write(HEADER_BLOCKS + block, value, true);
    },
    flushes: (uid) => blockOf(uid, (content) => content.flushes) ?? 0,
    exports: (): Export[] => (on ? target.exports() : []),
  };
}

/** What changes something; everything else only looks. */
const EFFECTS = new Set([
  'createGroup',
  'createThinPool',
  'createThinVolume',
  'createThinSnapshot',
  'activate',
  'extend',
  'addTag',
  'changeTags',
  'rename',
  'remove',
  'discard',
  'zero',
  'flush',
]);
