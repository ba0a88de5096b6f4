import type { BlockDevices, DiskState } from '../../lib/host/blockdev.ts';
import type {
  Lvm,
  LvmGroup,
  LvmPhysical,
  LvmVolume,
  TagChange,
  ThinPoolOptions,
  ThinSnapshotOptions,
  ThinVolumeOptions,
} from '../../lib/host/lvm.ts';
import type { Killer } from './crash.ts';

const EXTENT = 4 * 1024 * 1024;

interface FakeVolume {
  group: string;
  name: string;
  sizeBytes: number;
  tags: string[];
  layout: string[];
  pool: string;
  devNo: string | undefined;
  mappedBytes: number;
}

/** LVM and the disks below it, in memory. */
export class FakeStorage implements Lvm, BlockDevices {
  readonly disks = new Map<string, DiskState>();
  readonly labels = new Map<string, { group: string; inUse: boolean }>();
  readonly vgs = new Map<string, { tags: string[]; totalExtents: number }>();
  readonly lvs = new Map<string, FakeVolume>();
  takesDiscards = true;
  private minor = 0;
  private readonly killer: Killer;
  private readonly target: { readonly open: ReadonlyMap<string, number> };

  constructor(killer: Killer, target: { readonly open: ReadonlyMap<string, number> }) {
    this.killer = killer;
    this.target = target;
  }

  /** The machine starts anew: nothing is active any more. */
  reboot(): void {
    for (const volume of this.lvs.values()) volume.devNo = undefined;
    this.minor += 10;
  }

  private volume(group: string, name: string): FakeVolume {
    const found = this.lvs.get(`${group}/${name}`);
    if (found === undefined) throw new Error(`Failed to find logical volume "${group}/${name}"`);
    return found;
  }

  private add(volume: Omit<FakeVolume, 'devNo' | 'mappedBytes'>): void {
    const key = `${volume.group}/${volume.name}`;
    if (this.lvs.has(key)) throw new Error(`Logical Volume "${volume.name}" already exists`);
    this.lvs.set(key, { ...volume, devNo: `253:${++this.minor}`, mappedBytes: 0 });
  }

  groups(): Promise<readonly LvmGroup[]> {
    const groups = [...this.vgs].map(([name, vg]) => {
      const used = [...this.lvs.values()].filter((each) => each.group === name && each.layout.includes('pool'));
      const usedExtents = used.reduce((sum, each) => sum + each.sizeBytes / EXTENT, 0);
      const extents = {
        extentBytes: EXTENT,
        totalExtents: vg.totalExtents,
        freeExtents: vg.totalExtents - usedExtents,
      };
      return { name, tags: vg.tags, ...extents, missingDevices: 0, usable: true };
    });
    return Promise.resolve(groups);
  }

  volumes(): Promise<readonly LvmVolume[]> {
    const volumes = [...this.lvs.values()].map((each): LvmVolume => {
      const active = each.devNo !== undefined;
      return {
        group: each.group,
        name: each.name,
        sizeBytes: each.sizeBytes,
        tags: [...each.tags],
        layout: each.layout,
        pool: each.pool,
        active,
        devNo: each.devNo,
        open: active ? (this.target.open.get(this.devicePath(each)) ?? 0) > 0 : undefined,
        dataPercent: active ? (each.mappedBytes / each.sizeBytes) * 100 : undefined,
        metadataPercent: undefined,
        metadataBytes: undefined,
        health: '',
      };
    });
    return Promise.resolve(volumes);
  }

  private devicePath(volume: FakeVolume): string {
    return `/dev/dm-${volume.devNo?.split(':')[1]}`;
  }

  physicals(): Promise<readonly LvmPhysical[]> {
    return Promise.resolve([...this.labels].map(([device, label]) => ({ device, ...label })));
  }

  protected wholeExtents(sizeBytes: number): number {
    return Math.ceil(sizeBytes / EXTENT) * EXTENT;
  }

  createGroup(name: string, devices: readonly string[], tags: readonly string[]): Promise<void> {
    return this.killer.effect('vgcreate', () => {
      let totalExtents = 0;
      for (const device of devices) {
        const disk = this.disks.get(device);
        const label = this.labels.get(device);
        if (disk?.state !== 'empty' && label === undefined) throw new Error(`${device} holds data`);
        totalExtents += 256;
        this.labels.set(device, { group: name, inUse: true });
        this.disks.set(device, { state: 'occupied', found: ['LVM2_member signature at 0x218'] });
      }
      this.vgs.set(name, { tags: [...tags], totalExtents });
    });
  }

  createThinPool(options: ThinPoolOptions): Promise<void> {
    return this.killer.effect('lvcreate thin-pool', () => {
      const { group, name } = options;
      const tags = [...options.tags];
      this.add({ group, name, sizeBytes: options.dataExtents * EXTENT, tags, layout: ['thin', 'pool'], pool: '' });
    });
  }

  createThinVolume(options: ThinVolumeOptions): Promise<void> {
    return this.killer.effect('lvcreate thin', () => {
      const { group, name, pool } = options;
      this.volume(group, pool);
      const sizeBytes = this.wholeExtents(options.sizeBytes);
      this.add({ group, name, pool, sizeBytes, tags: [...options.tags], layout: ['thin', 'sparse'] });
    });
  }

  createThinSnapshot({ group, origin, name, tags }: ThinSnapshotOptions): Promise<void> {
    return this.killer.effect('lvcreate snapshot', () => {
      const { pool, sizeBytes, mappedBytes, layout } = this.volume(group, origin);
      this.add({ group, name, pool, sizeBytes, tags: [...tags], layout });
      const made = this.volume(group, name);
      made.mappedBytes = mappedBytes;
      made.devNo = undefined;
      const start = this.starts.get(origin);
      if (start !== undefined) this.starts.set(name, Buffer.from(start));
      this.copied(origin, name);
    });
  }

  /** For those who keep the contents of volumes. */
  protected copied(_origin: string, _name: string): void {}

  activate(group: string, name: string): Promise<void> {
    return this.killer.effect('lvchange -ay', () => {
      this.volume(group, name).devNo ??= `253:${++this.minor}`;
    });
  }

  extend(group: string, name: string, sizeBytes: number): Promise<void> {
    return this.killer.effect('lvextend', () => {
      this.volume(group, name).sizeBytes = this.wholeExtents(sizeBytes);
    });
  }

  addTag(group: string, name: string, tag: string): Promise<void> {
    return this.killer.effect(`lvchange --addtag ${tag}`, () => {
      const volume = this.volume(group, name);
      if (!volume.tags.includes(tag)) volume.tags.push(tag);
    });
  }

  changeTags(group: string, name: string, { add, remove }: TagChange): Promise<void> {
    return this.killer.effect(
      `lvchange ${[...add.map((t) => `+${t}`), ...remove.map((t) => `-${t}`)].join(' ')}`,
      () => {
        const volume = this.volume(group, name);
        volume.tags = [...new Set([...volume.tags.filter((tag) => !remove.includes(tag)), ...add])];
      },
    );
  }

  rename(group: string, name: string, to: string): Promise<void> {
    return this.killer.effect('lvrename', () => {
      const volume = this.volume(group, name);
      if (this.lvs.has(`${group}/${to}`)) throw new Error(`Logical Volume "${to}" already exists`);
      this.lvs.delete(`${group}/${name}`);
      volume.name = to;
      this.lvs.set(`${group}/${to}`, volume);
    });
  }

  remove(group: string, name: string): Promise<void> {
    return this.killer.effect('lvremove', () => {
      const volume = this.volume(group, name);
      if ((this.target.open.get(this.devicePath(volume)) ?? 0) > 0) throw new Error(`${name} is in use`);
      if (volume.mappedBytes > 0 && !volume.tags.includes('hf.erased')) throw new Error('data was not erased');
      this.lvs.delete(`${group}/${name}`);
    });
  }

  probe(device: string): Promise<DiskState> {
    return Promise.resolve(this.disks.get(device) ?? { state: 'missing', why: `${device} does not exist` });
  }

  resolve(device: string): Promise<string | undefined> {
    return Promise.resolve(this.disks.has(device) ? device : undefined);
  }

  pathOf(devNo: string): Promise<string> {
    return Promise.resolve(`/dev/dm-${devNo.split(':')[1]}`);
  }

  scannable(): Promise<readonly string[]> {
    return Promise.resolve([...this.disks.keys()]);
  }

  private byDevice(device: string): FakeVolume {
    const found = [...this.lvs.values()].find((each) => this.devicePath(each) === device);
    if (found === undefined) throw new Error(`no such device ${device}`);
    return found;
  }

  discard(device: string): Promise<void> {
    return this.killer.effect('blkdiscard', () => {
      if (!this.takesDiscards) throw new Error('BLKDISCARD ioctl failed: Operation not supported');
      this.byDevice(device).mappedBytes = 0;
    });
  }

  /** Ranges that were overwritten with zeros. */
  readonly zeroed = new Set<string>();

  zero(device: string, offsetBytes: number, lengthBytes: number): Promise<void> {
    return this.killer.effect('zeroout', () => {
      const volume = this.byDevice(device);
      this.zeroed.add(`${volume.name}:${offsetBytes}`);
      if (offsetBytes === 0) this.starts.delete(volume.name);
      volume.mappedBytes = Math.min(volume.sizeBytes, Math.max(volume.mappedBytes, offsetBytes + lengthBytes));
    });
  }

  flush(_device?: string): Promise<void> {
    return Promise.resolve();
  }

  mappedBytes(devNo: string): Promise<number> {
    return Promise.resolve([...this.lvs.values()].find((each) => each.devNo === devNo)?.mappedBytes ?? 0);
  }

  isOpen(devNo: string): Promise<boolean> {
    return Promise.resolve((this.target.open.get(`/dev/dm-${devNo.split(':')[1]}`) ?? 0) > 0);
  }

  /** What the client has written to the first bytes of a volume, by the volume's name. */
  readonly starts = new Map<string, Buffer>();

  readStart(device: string, lengthBytes: number): Promise<Buffer> {
    const start = this.starts.get(this.byDevice(device).name) ?? Buffer.alloc(0);
    return Promise.resolve(Buffer.concat([start, Buffer.alloc(lengthBytes)]).subarray(0, lengthBytes));
  }

  firstNonZero(device: string): Promise<number | undefined> {
    const volume = this.byDevice(device);
    return Promise.resolve(volume.mappedBytes === 0 || this.zeroed.has(`${volume.name}:0`) ? undefined : 0);
  }
}
