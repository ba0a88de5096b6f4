import { MAX_NAME_LENGTH } from '../lib/api/names.ts';
import { formatBytes } from '../lib/api/size.ts';
import { fsTypes, minFsBytes, type FsType } from '../lib/host/mkfs.ts';
import { CsiError, invalid } from './grpc/errors.ts';
import { VolumeCapability_AccessMode_Mode as Mode, type VolumeCapability } from './generated/csi.ts';
import { mountOptionFault } from './mount-options.ts';

/** A way to use a volume that this driver supports. */
export type VolumeUse =
  | { readonly kind: 'block'; readonly access: Access }
  | {
      readonly kind: 'mount';
      readonly access: Access;
      /** Undefined: whatever is there, and the default when the device is blank. */
      readonly fsType: FsType | undefined;
      readonly mountFlags: readonly string[];
    };

export type Access = 'writer' | 'single-writer' | 'reader';

/** The filesystem of a volume whose StorageClass names none. */
export const DEFAULT_FS_TYPE: FsType = 'ext4';

const accesses: ReadonlyMap<Mode, Access> = new Map([
  [Mode.SINGLE_NODE_WRITER, 'writer'],
  [Mode.SINGLE_NODE_MULTI_WRITER, 'writer'],
  [Mode.SINGLE_NODE_SINGLE_WRITER, 'single-writer'],
  [Mode.SINGLE_NODE_READER_ONLY, 'reader'],
]);

/** A ReplicatedVolume's name: a DNS subdomain (RFC 1123) that a label's value may be: of at most 63 characters. */
export function isVolumeName(name: string): boolean {
  return (
    name.length <= MAX_NAME_LENGTH && /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/.test(name)
  );
}

/** @throws CsiError (INVALID_ARGUMENT) when the field is empty */
export function required(field: string, value: string, what: string): string {
  if (value === '') throw invalid(field, value, what);
  return value;
}

/** A volume id that becomes part of paths on this node. @throws CsiError (INVALID_ARGUMENT) */
export function volumeId(value: string): string {
  if (!isVolumeName(value)) throw invalid('volume_id', value, 'the id that CreateVolume returned');
  return value;
}

/** @throws CsiError (INVALID_ARGUMENT) for a relative path or one that climbs */
export function absolutePath(field: string, value: string): string {
  if (!value.startsWith('/') || value.includes('\0') || value.split('/').includes('..')) {
    throw invalid(field, value, 'an absolute path without ".."');
  }
  return value.replace(/(?<=.)\/+$/, '');
}

/** @throws CsiError (INVALID_ARGUMENT) when there is none, or one that this driver doesn't support */
export function volumeUses(field: string, capabilities: readonly VolumeCapability[]): readonly VolumeUse[] {
  if (capabilities.length === 0) throw invalid(field, undefined, 'at least one volume capability');
  return capabilities.map((capability, index) => volumeUse(`${field}[${index}]`, capability));
}

/** @throws CsiError (INVALID_ARGUMENT) naming the part that is missing or not supported */
export function volumeUse(field: string, capability: VolumeCapability | undefined): VolumeUse {
  if (capability === undefined) throw invalid(field, undefined, 'a volume capability');
  const access = accessOf(`${field}.access_mode`, capability.accessMode?.mode);
  const type = capability.accessType;
  if (type === undefined) throw invalid(field, undefined, 'an access type, either mount or block');
  switch (type.$case) {
    case 'block':
      return { kind: 'block', access };
    case 'mount': {
      const { fsType, mountFlags, volumeMountGroup } = type.value;
      if (volumeMountGroup !== '') {
        throw invalid(
          `${field}.mount.volume_mount_group`,
          volumeMountGroup,
          'none, as VOLUME_MOUNT_GROUP is not offered',
        );
      }
      checkMountFlags(`${field}.mount.mount_flags`, mountFlags);
      return { kind: 'mount', access, fsType: fsTypeOf(`${field}.mount.fs_type`, fsType), mountFlags };
    }
  }
}

/** @throws CsiError (OUT_OF_RANGE, HF403) when a volume is too small for the filesystem */
export function checkFilesystemSize(sizeBytes: number, fsType: FsType): void {
  const least = minFsBytes[fsType];
  if (sizeBytes >= least) return;
  const message = `a volume of ${formatBytes(sizeBytes)} is too small for ${fsType}, which needs ${formatBytes(least)}`;
  throw new CsiError('OUT_OF_RANGE', 'HF403', message, 'capacity_range');
}

function accessOf(field: string, mode: Mode | undefined): Access {
  const single = 'SINGLE_NODE_WRITER, SINGLE_NODE_SINGLE_WRITER, SINGLE_NODE_MULTI_WRITER or SINGLE_NODE_READER_ONLY';
  if (mode === undefined || mode === Mode.UNKNOWN) throw invalid(field, undefined, single);
  const access = accesses.get(mode);
  if (access !== undefined) return access;
  const name = Object.entries(Mode).find(([, value]) => value === mode)?.[0] ?? String(mode);
  const claimed = claimWords.get(mode);
  const shown = claimed === undefined ? name : `${name} (${claimed})`;
  const why = 'a volume is attached to one node at a time, as only one may write to its replicas';
  const message = `${field} is ${shown}: expected ReadWriteOnce or ReadWriteOncePod (${single}): ${why}`;
  throw new CsiError('INVALID_ARGUMENT', 'HF401', message, field);
}

/** What a PersistentVolumeClaim says for the modes that are refused. */
const claimWords: ReadonlyMap<Mode, string> = new Map([
  [Mode.MULTI_NODE_READER_ONLY, 'ReadOnlyMany'],
  [Mode.MULTI_NODE_MULTI_WRITER, 'ReadWriteMany'],
]);

function checkMountFlags(field: string, flags: readonly string[]): void {
  for (const [index, flag] of flags.entries()) {
    const fault = mountOptionFault(flag);
    if (fault === undefined) continue;
    const at = `${field}[${index}]`;
    // An option's value may be confidential (CSI specification, mount_flags).
    const name = JSON.stringify(flag.replace(/=.*/s, '=…').slice(0, 40));
    throw new CsiError('INVALID_ARGUMENT', 'HF401', `${at} is ${name}: ${fault}`, at);
  }
}

function fsTypeOf(field: string, value: string): FsType | undefined {
  if (value === '') return undefined;
  const known = fsTypes.find((type) => type === value);
  if (known === undefined) throw invalid(field, value, fsTypes.join(' or '));
  return known;
}
