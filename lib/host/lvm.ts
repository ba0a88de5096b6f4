import { ExecError, type Exec } from './exec.ts';

/** A volume group as `vgs` reports it. */
export interface LvmGroup {
  readonly name: string;
  readonly tags: readonly string[];
  readonly extentBytes: number;
  readonly totalExtents: number;
  readonly freeExtents: number;
  /** Physical volumes that LVM knows of but cannot find. */
  readonly missingDevices: number;
  /** Exported to another system (`vgexport`), of another system (`systemid`) or only in parts here. */
  readonly usable: boolean;
}

/** A logical volume as `lvs` reports it. */
export interface LvmVolume {
  readonly group: string;
  readonly name: string;
  readonly sizeBytes: number;
  readonly tags: readonly string[];
  /** LVM's words, e.g. `thin,pool`, `thin,sparse`, `linear`. */
  readonly layout: readonly string[];
  /** Name of the thin pool of a thin volume, else empty. */
  readonly pool: string;
  readonly active: boolean;
  /** `major:minor` while active. */
  readonly devNo: string | undefined;
  /** How often the device is open; undefined while inactive. */
  readonly open: boolean | undefined;
  /** Per cent of a thin volume or pool that is mapped to real blocks; undefined while inactive. */
  readonly dataPercent: number | undefined;
  readonly metadataPercent: number | undefined;
  readonly metadataBytes: number | undefined;
  /** LVM's word when something is wrong, e.g. `failed`, `out_of_data`, `metadata_read_only`; else empty. */
  readonly health: string;
}

/** A physical volume as `pvs` reports it. */
export interface LvmPhysical {
  /** The device's path, or `[unknown]` when it is missing. */
  readonly device: string;
  /** Empty for a device that belongs to no group. */
  readonly group: string;
  /** True when the label says that a group uses it, even if that group's metadata cannot be found now. */
  readonly inUse: boolean;
}

export interface ThinPoolOptions {
  readonly group: string;
  readonly name: string;
  readonly dataExtents: number;
  readonly metadataBytes: number;
  readonly chunkBytes: number;
  readonly tags: readonly string[];
}

export interface ThinVolumeOptions {
  readonly group: string;
  readonly pool: string;
  readonly name: string;
  /** Rounded up to whole extents by LVM. */
  readonly sizeBytes: number;
  readonly tags: readonly string[];
}

export interface ThinSnapshotOptions {
  readonly group: string;
  /** The thin volume whose content it gets; it shares all blocks with it and needs it no longer. */
  readonly origin: string;
  readonly name: string;
  readonly tags: readonly string[];
}

/** The port to LVM. Every effect may be done again: LVM refuses what is there already, and the caller looks first. */
export interface Lvm {
  groups(): Promise<readonly LvmGroup[]>;
  volumes(): Promise<readonly LvmVolume[]>;
  physicals(): Promise<readonly LvmPhysical[]>;
  createGroup(name: string, devices: readonly string[], tags: readonly string[]): Promise<void>;
  createThinPool(options: ThinPoolOptions): Promise<void>;
  createThinVolume(options: ThinVolumeOptions): Promise<void>;
  /**
   * Makes a thin volume with the content that another one has now, as a whole: device-mapper lets I/O under way on the origin
   * end and holds back what comes (dm-thin: create_snap needs a suspended origin), and what the pool had been given is on its
   * disks before the snapshot is (dm-thin.c, commit: the data device is flushed first). It is left inactive.
   */
  createThinSnapshot(options: ThinSnapshotOptions): Promise<void>;
  activate(group: string, volume: string): Promise<void>;
  extend(group: string, volume: string, sizeBytes: number): Promise<void>;
  addTag(group: string, volume: string, tag: string): Promise<void>;
  /** Adds and removes tags in one change of the metadata. */
  changeTags(group: string, volume: string, change: TagChange): Promise<void>;
  rename(group: string, volume: string, to: string): Promise<void>;
  remove(group: string, volume: string): Promise<void>;
}

export interface TagChange {
  readonly add: readonly string[];
  readonly remove: readonly string[];
}

/** LVM's output could not be understood. */
export class LvmParseError extends Error {
  override readonly name = 'LvmParseError';
}

/** LVM refused; the message is LVM's own, the cause has the whole command. */
export class LvmError extends Error {
  override readonly name = 'LvmError';
}

/** What LVM said, in one line and without the long command that made it say so. */
function complaintOf(error: unknown): string {
  if (!(error instanceof ExecError)) return String(error);
  const said = error.result?.stderr.trim() ?? '';
  return said === '' ? error.message : said.split(/\s*\n\s*/).join('; ');
}

type Row = Readonly<Record<string, string>>;

/** The rows of one report of `--reportformat json` (lvmreport(7)): every value is a string. */
function rowsOf(json: string, report: 'vg' | 'lv' | 'pv'): Row[] {
  let parsed: { report?: readonly Readonly<Record<string, readonly Row[]>>[] };
  try {
    parsed = JSON.parse(json) as typeof parsed;
  } catch (error) {
    throw new LvmParseError(`LVM's report is not JSON: ${json.slice(0, 200)}`, { cause: error });
  }
  if (!Array.isArray(parsed.report)) throw new LvmParseError(`LVM's report has no "report": ${json.slice(0, 200)}`);
  return parsed.report.flatMap((part) => part[report] ?? []);
}

function text(row: Row, field: string): string {
  const value = row[field];
  if (value === undefined) throw new LvmParseError(`LVM's report lacks the field ${field}`);
  return value;
}

function integer(row: Row, field: string): number {
  const value = Number(text(row, field));
  if (!Number.isSafeInteger(value)) throw new LvmParseError(`LVM's field ${field} is no whole number: ${row[field]}`);
  return value;
}

/** A number that LVM leaves empty when it doesn't apply or the volume isn't active. */
function optionalNumber(row: Row, field: string): number | undefined {
  const value = text(row, field);
  if (value === '') return undefined;
  const number = Number(value);
  if (!Number.isFinite(number)) throw new LvmParseError(`LVM's field ${field} is no number: ${value}`);
  return number;
}

function words(value: string): string[] {
  return value === '' ? [] : value.split(',');
}

const GROUP_FIELDS =
  'vg_name,vg_tags,vg_extent_size,vg_extent_count,vg_free_count,vg_missing_pv_count,vg_exported,vg_partial';
const VOLUME_FIELDS =
  'vg_name,lv_name,lv_size,lv_tags,lv_layout,pool_lv,lv_active,lv_kernel_major,lv_kernel_minor,lv_device_open,' +
  'data_percent,metadata_percent,lv_metadata_size,lv_health_status';
const PHYSICAL_FIELDS = 'pv_name,vg_name,pv_in_use';

/** Parses the report of `vgs`. @throws LvmParseError */
export function parseGroups(json: string): LvmGroup[] {
  return rowsOf(json, 'vg').map((row) => ({
    name: text(row, 'vg_name'),
    tags: words(text(row, 'vg_tags')),
    extentBytes: integer(row, 'vg_extent_size'),
    totalExtents: integer(row, 'vg_extent_count'),
    freeExtents: integer(row, 'vg_free_count'),
    missingDevices: integer(row, 'vg_missing_pv_count'),
    usable: text(row, 'vg_exported') === '' && text(row, 'vg_partial') === '',
  }));
}

/** Parses the report of `lvs`. @throws LvmParseError */
export function parseVolumes(json: string): LvmVolume[] {
  return rowsOf(json, 'lv').map((row) => {
    const major = integer(row, 'lv_kernel_major');
    const active = text(row, 'lv_active') !== '' && major >= 0;
    return {
      group: text(row, 'vg_name'),
      name: text(row, 'lv_name'),
      sizeBytes: integer(row, 'lv_size'),
      tags: words(text(row, 'lv_tags')),
      layout: words(text(row, 'lv_layout')),
      pool: text(row, 'pool_lv'),
      active,
      devNo: active ? `${major}:${integer(row, 'lv_kernel_minor')}` : undefined,
      open: active ? text(row, 'lv_device_open') !== '' : undefined,
      dataPercent: optionalNumber(row, 'data_percent'),
      metadataPercent: optionalNumber(row, 'metadata_percent'),
      metadataBytes: optionalNumber(row, 'lv_metadata_size'),
      health: text(row, 'lv_health_status'),
    };
  });
}

/** Parses the report of `pvs`. @throws LvmParseError */
export function parsePhysicals(json: string): LvmPhysical[] {
  return rowsOf(json, 'pv').map((row) => ({
    device: text(row, 'pv_name'),
    group: text(row, 'vg_name'),
    inUse: text(row, 'pv_in_use') !== '',
  }));
}

function tagArgs(tags: readonly string[]): string[] {
  return tags.flatMap((tag) => ['--addtag', tag]);
}

/** What the real port needs. */
export interface LvmOptions {
  readonly exec: Exec;
  /**
   * The devices that LVM may open. It must never read a leg or an array of ours: a leg whose node is away answers
   * nothing, and LVM would hang with it.
   */
  readonly devices: () => Promise<readonly string[]>;
  /** Whether a udev daemon makes the device nodes. Without one LVM must not wait for it. */
  readonly udev: () => Promise<boolean>;
}

/** A report that takes longer has met a disk that doesn't answer. */
const REPORT_MS = 20_000;
const CHANGE_MS = 60_000;

/** LVM's configuration for our calls (lvm.conf(5)). */
export function lvmConfig(udev: boolean): string {
  const always = 'devices { hints="none" filter=["a|.*|"] global_filter=["a|.*|"] } global { suffix=0 }';
  // A full pool fails writes at once, so that the client can drop the leg and record it; waiting would stall the volume.
  const activation = 'monitoring=0 error_when_full=1';
  return udev
    ? `${always} activation { ${activation} }`
    : `${always} activation { ${activation} udev_sync=0 udev_rules=0 }`;
}

/**
 * The real LVM, by its commands. `--devices` makes it open the given devices only (lvmdevices(8)), so that neither a
 * client's legs nor the content of our own volumes is scanned.
 */
export function createLvm(options: LvmOptions): Lvm {
  const { exec } = options;
  const call = async (command: string, args: readonly string[], timeoutMs = CHANGE_MS): Promise<string> => {
    const [devices, udev] = await Promise.all([options.devices(), options.udev()]);
    const common = ['--config', lvmConfig(udev), ...devices.flatMap((device) => ['--devices', device])];
    const env: Record<string, string> = { LVM_SUPPRESS_FD_WARNINGS: '1' };
    if (!udev) env['DM_DISABLE_UDEV'] = '1';
    try {
      return (await exec('lvm', [command, ...common, ...args], { timeoutMs, env })).stdout;
    } catch (error) {
      throw new LvmError(`${command}: ${complaintOf(error)}`, { cause: error });
    }
  };
  const report = (command: string, fields: string): Promise<string> =>
    call(command, ['--reportformat', 'json', '--units', 'b', '--nosuffix', '-o', fields], REPORT_MS);
  return {
    groups: async () => parseGroups(await report('vgs', GROUP_FIELDS)),
    volumes: async () => parseVolumes(await report('lvs', VOLUME_FIELDS)),
    physicals: async () => parsePhysicals(await report('pvs', PHYSICAL_FIELDS)),
    createGroup: async (name, devices, tags) => {
      // No --yes: should LVM find a signature after all, it asks, gets no answer and gives up. A second guard.
      await call('vgcreate', [...tagArgs(tags), name, ...devices]);
    },
    createThinPool: async (pool) => {
      await call('lvcreate', [
        '--type=thin-pool',
        `--name=${pool.name}`,
        `--extents=${pool.dataExtents}`,
        `--poolmetadatasize=${pool.metadataBytes}b`,
        `--chunksize=${pool.chunkBytes}b`,
        // A new volume reads zeros.
        '--zero=y',
        '--discards=passdown',
        '--yes',
        ...tagArgs(pool.tags),
        pool.group,
      ]);
    },
    createThinVolume: async (volume) => {
      await call('lvcreate', [
        '--type=thin',
        `--thinpool=${volume.pool}`,
        `--name=${volume.name}`,
        `--virtualsize=${volume.sizeBytes}b`,
        // Its first sectors are zeros by the pool's zeroing; wiping would only allocate a block.
        '--wipesignatures=n',
        ...tagArgs(volume.tags),
        volume.group,
      ]);
    },
    createThinSnapshot: async ({ group, origin, name, tags }) => {
      const skip = ['--setactivationskip=y', '--activate=n'];
      await call('lvcreate', ['--snapshot', ...skip, `--name=${name}`, ...tagArgs(tags), `${group}/${origin}`]);
    },
    activate: async (group, volume) => {
      await call('lvchange', ['--activate', 'y', '--ignoreactivationskip', `${group}/${volume}`]);
    },
    extend: async (group, volume, sizeBytes) => {
      await call('lvextend', [`--size=${sizeBytes}b`, `${group}/${volume}`]);
    },
    addTag: async (group, volume, tag) => {
      await call('lvchange', ['--addtag', tag, `${group}/${volume}`]);
    },
    changeTags: async (group, volume, { add, remove }) => {
      if (add.length + remove.length === 0) return;
      const removals = remove.flatMap((tag) => ['--deltag', tag]);
      await call('lvchange', [...tagArgs(add), ...removals, `${group}/${volume}`]);
    },
    rename: async (group, volume, to) => {
      await call('lvrename', [group, volume, to]);
    },
    remove: async (group, volume) => {
      await call('lvremove', ['--yes', `${group}/${volume}`]);
    },
  };
}
