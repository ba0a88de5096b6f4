import {
  compareMarks,
  copyVolumeName,
  describeStamp,
  legSizeBytes,
  logicalVolumeName,
  logicalVolumeTags,
  markOfModel,
  replicaModel,
  replicaSerial,
  standingOf,
  THIN_POOL_NAME,
  type ErrorCode,
  type ExportMark,
} from '../../lib/api/index.ts';
import type { ExportSpec, Listener } from '../../lib/host/nvmet.ts';
import type { TagChange } from '../../lib/host/lvm.ts';
import { adoptionChange, contradiction, epochChange, identityOf, labelChange, labelTags } from './identity.ts';
import { isCopy } from '../copy/identity.ts';
import { allocatedBytes, ERASED_TAG, FOREIGN_HEADER_TAG, type ReplicaWorld } from './world.ts';

/** One effect on this node or on the replica's object. Each may be done again after a crash at any point in it. */
export type Action =
  /** `forgotten`: the standing export's drain, which is higher than the one that is asked for. */
  | { readonly kind: 'fence'; readonly nqn: string; readonly why: string; readonly forgotten?: number }
  | { readonly kind: 'await-drain'; readonly nqn: string; readonly devNo: string | undefined }
  | {
      readonly kind: 'create-volume';
      readonly group: string;
      readonly pool: string;
      readonly name: string;
      readonly sizeBytes: number;
      readonly tags: readonly string[];
    }
  /** ... with the content of a copy of a snapshot, without copying it. */
  | {
      readonly kind: 'copy-volume';
      readonly group: string;
      readonly origin: string;
      readonly name: string;
      readonly tags: readonly string[];
    }
  /** What is in front of the data is that of the replica that was copied: it goes before anybody sees it. */
  | { readonly kind: 'clear-header'; readonly group: string; readonly name: string; readonly devicePath: string }
  /** Gives the logical volume of a lost object the name that it has under this one. */
  | { readonly kind: 'adopt-volume'; readonly group: string; readonly from: string; readonly name: string }
  | { readonly kind: 'label-volume'; readonly group: string; readonly name: string; readonly change: TagChange }
  | { readonly kind: 'activate-volume'; readonly group: string; readonly name: string }
  | {
      readonly kind: 'extend-volume';
      readonly group: string;
      readonly name: string;
      readonly sizeBytes: number;
      /** The standing export that is to show the new size, if there is one. */
      readonly nqn: string | undefined;
    }
  | {
      readonly kind: 'allocate-volume';
      readonly group: string;
      readonly name: string;
      readonly devicePath: string;
      readonly fromBytes: number;
      readonly toBytes: number;
    }
  | {
      readonly kind: 'export';
      readonly spec: ExportSpec;
      readonly epoch: number;
      /** What the tags of its logical volume are to say before; undefined when they say so already. */
      readonly label: { readonly group: string; readonly name: string; readonly change: TagChange } | undefined;
    }
  /** Only what an interrupted or older export lacks. */
  | { readonly kind: 'listen'; readonly nqn: string; readonly listeners: readonly Listener[] }
  | {
      readonly kind: 'erase-volume';
      readonly group: string;
      readonly name: string;
      readonly devNo: string;
      readonly devicePath: string;
      readonly sizeBytes: number;
    }
  | { readonly kind: 'remove-volume'; readonly group: string; readonly name: string }
  | { readonly kind: 'release'; readonly group: string; readonly name: string };

/** What the replica's status is to say. What isn't named here stays as it was. */
export interface StatusIntent {
  readonly phase: 'Pending' | 'Ready' | 'Erasing' | 'Failed';
  readonly code?: ErrorCode;
  readonly message: string;
  /** The export (or its absence) is right: the epoch may be reported as fenced. */
  readonly fencedEpoch?: number;
  /** ... and so may the drain: no I/O of a time before it is left. */
  readonly drained?: number;
  /** The disk knows better than the object or the record: neither exported nor reported as fenced. */
  readonly conflict?: boolean;
}

/** The next step for a replica: one effect, or nothing more to do for now. */
export type Plan =
  | { readonly next: 'act'; readonly action: Action; readonly status: StatusIntent }
  /** `again`: look again after a while, because what is waited for sends no event. */
  | { readonly next: 'rest'; readonly status: StatusIntent; readonly again: boolean };

function act(action: Action, phase: StatusIntent['phase'], message: string): Plan {
  return { next: 'act', action, status: { phase, message } };
}

function wait(message: string, code?: ErrorCode, phase: StatusIntent['phase'] = 'Pending'): Plan {
  return { next: 'rest', status: { phase, message, ...(code === undefined ? {} : { code }) }, again: true };
}

function conflict(what: string): Plan {
  const message = `${what}; was the API server restored from an old backup? Nothing is exported; see holdfast recover`;
  return { next: 'rest', status: { phase: 'Failed', code: 'HF315', message, conflict: true }, again: true };
}

/**
 * Decides the next step for a replica from one look at the world. Pure: the same world gives the same step, and the
 * steps, done one after another, end in `rest`.
 */
export function planReplica(world: ReplicaWorld): Plan {
  return world.replica.state === 'Orphan' ? planOrphan(world) : planActive(world);
}

/** What the kernel's target alone says, before LVM is asked: LVM waits for disks and locks, fencing must not. */
export type ExportWorld = Pick<ReplicaWorld, 'replica' | 'nqn' | 'subsystem' | 'presence' | 'former'>;

type FencingWorld = ExportWorld & Pick<ReplicaWorld, 'devicePath' | 'volume' | 'inUse'>;

/** The fencing that is due whatever LVM will say, or undefined. */
export function planFencingFirst(world: ExportWorld): Plan | undefined {
  // An orphan's export goes too, but only after its record was read.
  if (world.replica.state !== 'Active') return undefined;
  return planFencing({ ...world, devicePath: undefined, volume: undefined, inUse: undefined });
}

/** Whether the standing export is complete and is what the object asks for, and so must not be touched. */
function isRight(world: FencingWorld): boolean {
  const { subsystem, replica, devicePath } = world;
  const namespace = subsystem?.namespaces[0];
  const mark = subsystem && markOfModel(subsystem.model);
  if (subsystem === undefined || namespace === undefined || mark === undefined) return false;
  return (
    replica.hostNqn !== '' &&
    compareMarks(mark, replica) === 0 &&
    !subsystem.allowAnyHost &&
    subsystem.allowedHosts.length === 1 &&
    subsystem.allowedHosts[0] === replica.hostNqn &&
    subsystem.namespaces.length === 1 &&
    namespace.enabled &&
    namespace.uuid.toLowerCase() === replica.uid.toLowerCase() &&
    // While the pool can't be read the device is unknown; a standing export keeps its device open, so it is the same.
    (devicePath === undefined || namespace.devicePath === devicePath)
  );
}

/** Given a former export, When epoch, host or drain changed, Then it goes and is proved to be gone, before anything else. */
function planFencing(world: FencingWorld): Plan | undefined {
  const { replica, subsystem, presence, nqn, inUse } = world;
  if (subsystem !== undefined && !isRight(world)) {
    const standing = markOfModel(subsystem.model);
    // A drain that the API server has forgotten costs nobody anything: the export is drained once more, under the number that
    // is asked for now.
    if (standing !== undefined && standing.epoch > replica.epoch) {
      // A newer object is on its way, or the API server has forgotten it; the client that has it goes on meanwhile.
      return conflict(`the object says ${describeMark(replica)}, and ${describeMark(standing)} is exported`);
    }
    const why = standing === undefined ? 'a half-made export' : `the export of ${describeMark(standing)}`;
    const isForgotten = standing?.epoch === replica.epoch && standing.drain > replica.drain;
    const forgotten = isForgotten ? { forgotten: standing.drain } : {};
    return act({ kind: 'fence', nqn, why, ...forgotten }, 'Pending', `removing ${why}`);
  }
  // Without debugfs the open count of the volume is the proof: a live namespace keeps its device open.
  if (presence === 'draining' || (presence === 'unknown' && inUse === true)) {
    return act(
      { kind: 'await-drain', nqn, devNo: world.volume?.devNo },
      'Pending',
      "waiting for the former host's controllers to go",
    );
  }
  return undefined;
}

const describeMark = ({ epoch, drain }: ExportMark): string =>
  drain === 0 ? `epoch ${epoch}` : `epoch ${epoch}, drain ${drain}`;

function planActive(world: ReplicaWorld): Plan {
  return planFencing(world) ?? planFormer(world) ?? planVolume(world) ?? planLabels(world) ?? planExport(world);
}

/** Given a volume that was exported under a lost object, Then that export goes first: its host is a former host. */
function planFormer({ former, volume, adoptable }: ReplicaWorld): Plan | undefined {
  if (former === undefined) return undefined;
  const why = 'the export of an object that is lost';
  if (former.subsystem !== undefined) {
    return act({ kind: 'fence', nqn: former.nqn, why }, 'Pending', `removing ${why}`);
  }
  if (former.presence !== 'draining') return undefined;
  const devNo = (adoptable ?? volume)?.devNo;
  return act(
    { kind: 'await-drain', nqn: former.nqn, devNo },
    'Pending',
    "waiting for the former host's controllers to go",
  );
}

/** Given an active replica, Then its logical volume exists, is active, large enough and (when thick) allocated. */
function planVolume(world: ReplicaWorld): Plan | undefined {
  const { replica, pool, volume, record, subsystem } = world;
  const name = logicalVolumeName(replica.uid);
  const sizeBytes = legSizeBytes(replica.sizeBytes);
  const tags = logicalVolumeTags(replica.volumeUid, replica.uid);
  // A live export goes on whatever LVM says about the pool just now.
  if (pool.state === 'unavailable') return subsystem === undefined ? wait(pool.why, 'HF304') : undefined;
  if (volume === undefined && replica.adopt !== undefined) {
    const from = logicalVolumeName(replica.adopt.replicaUid);
    if (world.adoptable !== undefined) {
      return act({ kind: 'adopt-volume', group: pool.group, from, name }, 'Pending', `taking over ${from}`);
    }
    return wait(`there is no logical volume ${pool.group}/${from} to take over`, 'HF317', 'Failed');
  }
  if (volume === undefined) {
    if (replica.wasReady || (record.state === 'names' && record.inSync)) {
      const message = `the logical volume ${pool.group}/${name} is gone; its data is lost here, and an empty one must not take its place`;
      return wait(message, 'HF307', 'Failed');
    }
    const { namesake } = world;
    if (namesake !== undefined) {
      return conflict(`${namesake.group}/${namesake.name} holds ${replica.name} of this volume under another UID`);
    }
    if (record.state === 'gone') return wait(`there is no ReplicatedVolume "${replica.volume}" with this UID`);
    if (replica.copyUid !== undefined) return planCopy(world, replica.copyUid, pool.group);
    const create = { group: pool.group, pool: THIN_POOL_NAME, name, sizeBytes, tags: [...tags, ...labelTags(replica)] };
    return act({ kind: 'create-volume', ...create }, 'Pending', 'creating the logical volume');
  }
  const former = replica.adopt && logicalVolumeTags(replica.adopt.volumeUid, replica.adopt.replicaUid);
  const adoption = adoptionChange(replica, volume);
  if (adoption !== undefined && former?.every((tag) => volume.tags.includes(tag)) === true) {
    const label = { group: pool.group, name, change: adoption };
    return act({ kind: 'label-volume', ...label }, 'Pending', 'taking over the logical volume');
  }
  if (tags.some((tag) => !volume.tags.includes(tag))) {
    const message = `the logical volume ${pool.group}/${name} has the tags "${volume.tags.join(',')}" where "${tags.join(',')}" were expected`;
    return wait(message, 'HF308', 'Failed');
  }
  if (volume.tags.includes(ERASED_TAG)) {
    return wait(`the logical volume ${pool.group}/${name} was erased`, 'HF307', 'Failed');
  }
  if (!volume.active || world.devicePath === undefined || volume.devNo === undefined) {
    return act({ kind: 'activate-volume', group: pool.group, name }, 'Pending', 'activating the logical volume');
  }
  if (volume.tags.includes(FOREIGN_HEADER_TAG)) {
    const clear = { group: pool.group, name, devicePath: world.devicePath };
    return act({ kind: 'clear-header', ...clear }, 'Pending', 'clearing the header of the replica that was copied');
  }
  if (volume.sizeBytes < sizeBytes) {
    const grow = { group: pool.group, name, sizeBytes, nqn: subsystem?.nqn };
    return act({ kind: 'extend-volume', ...grow }, 'Pending', 'growing the logical volume');
  }
  const allocated = allocatedBytes(volume.tags);
  if (replica.provisioning === 'Thick' && allocated < volume.sizeBytes) {
    const range = { devicePath: world.devicePath, fromBytes: allocated, toBytes: volume.sizeBytes };
    return act({ kind: 'allocate-volume', group: pool.group, name, ...range }, 'Pending', 'allocating all blocks');
  }
  return undefined;
}

/** Given a replica that begins with a snapshot, When its copy is in this pool, Then it shares the copy's blocks. */
function planCopy({ replica, copy }: ReplicaWorld, copyUid: string, group: string): Plan {
  const name = logicalVolumeName(replica.uid);
  const origin = copyVolumeName(copyUid);
  if (copy === undefined || !isCopy(copy, copyUid)) {
    return wait(`there is no copy ${group}/${origin} of a snapshot to begin with`, 'HF319', 'Failed');
  }
  const tags = [...logicalVolumeTags(replica.volumeUid, replica.uid), ...labelTags(replica), FOREIGN_HEADER_TAG];
  return act({ kind: 'copy-volume', group, origin, name, tags }, 'Pending', `making it from ${origin}`);
}

/**
 * Given a logical volume, Then its tags contradict nothing that the object says, and tell all of it; and before it is
 * exported anew, the record in front of its data is none that the API server has forgotten, and its tags say to whom and
 * under which epoch it goes.
 */
function planLabels(world: ReplicaWorld): Plan | undefined {
  const { replica, pool, volume } = world;
  if (volume === undefined || pool.state === 'unavailable') return undefined;
  const what = contradiction(replica, identityOf(volume.tags));
  if (what !== undefined) return conflict(what);
  const place = { group: pool.group, name: volume.name };
  const labels = labelChange(replica, volume);
  if (labels !== undefined) {
    return act({ kind: 'label-volume', ...place, change: labels }, 'Pending', 'labelling the logical volume');
  }
  if (replica.hostNqn === '') return undefined;
  const objection = planLeg(world);
  if (objection !== undefined) return objection;
  const epoch = epochChange(replica, volume);
  // What is not exported yet is labelled by the very step that exports it: a client waits for both.
  if (epoch === undefined || world.subsystem === undefined) return undefined;
  return act({ kind: 'label-volume', ...place, change: epoch }, 'Pending', `labelling epoch ${replica.epoch}`);
}

/** Why a replica that is about to be exported must not be, by the header of its leg. */
function planLeg({ replica, leg, devicePath }: ReplicaWorld): Plan | undefined {
  if (leg === undefined) return undefined;
  const { decoded, record } = leg;
  switch (decoded.state) {
    case 'blank':
      return undefined;
    case 'damaged':
      return wait(
        `the header of the leg (${devicePath ?? 'no device'}) can't be read: ${decoded.why}`,
        'HF316',
        'Failed',
      );
    case 'record': {
      const { header } = decoded;
      const isOwn =
        [replica.uid, replica.adopt?.replicaUid].includes(header.replicaUid) &&
        [replica.volumeUid, replica.adopt?.volumeUid].includes(header.volumeUid);
      if (!isOwn) {
        const message = `the header in front of its data is that of replica ${header.replica} (${header.replicaUid}) of volume ${header.volume} (${header.volumeUid})`;
        return wait(message, 'HF308', 'Failed');
      }
      const standing = standingOf(header, record);
      if (standing === 'same' || standing === 'behind') return undefined;
      return conflict(`the API server has ${describeStamp(record)}, the disk knows ${describeStamp(header)}`);
    }
  }
}

function ready(world: ReplicaWorld): Plan {
  const { replica } = world;
  const deleted = replica.deleting
    ? `it was deleted but is still a replica of volume ${replica.volume}; it is kept until the operator makes it an orphan`
    : undefined;
  const host = replica.hostNqn === '' ? 'nobody may connect' : `exported to ${replica.hostNqn}`;
  const status: StatusIntent = {
    phase: 'Ready',
    fencedEpoch: replica.epoch,
    drained: replica.drain,
    ...(deleted === undefined ? { message: host } : { code: 'HF310', message: deleted }),
  };
  return { next: 'rest', status, again: true };
}

/** Given a host, Then one subsystem with this volume, open to that host only; given none, Then none. */
function planExport(world: ReplicaWorld): Plan {
  const { replica, subsystem, nqn, devicePath, listeners, pool, volume } = world;
  if (replica.hostNqn === '') return ready(world);
  if (subsystem === undefined) {
    if (devicePath === undefined || volume === undefined || pool.state === 'unavailable') {
      return wait('the logical volume has no device');
    }
    const spec: ExportSpec = {
      nqn,
      serial: replicaSerial(replica.uid),
      model: replicaModel(replica),
      uuid: replica.uid,
      devicePath,
      hostNqn: replica.hostNqn,
      listeners,
    };
    const change = epochChange(replica, volume);
    const label = change && { group: pool.group, name: volume.name, change };
    return act({ kind: 'export', spec, epoch: replica.epoch, label }, 'Pending', `exporting to ${replica.hostNqn}`);
  }
  const missing = listeners.filter(
    (wanted) => !subsystem.listeners.some((each) => each.ip === wanted.ip && each.port === wanted.port),
  );
  if (missing.length > 0) {
    const addresses = missing.map((each) => `${each.ip} port ${each.port}`).join(', ');
    return act({ kind: 'listen', nqn, listeners: missing }, 'Pending', `opening ${addresses}`);
  }
  return ready(world);
}

/** Why an orphan may not be touched, or undefined when the record lets it go (law 7: never by age, never by guess). */
export function orphanRefusal(world: Pick<ReplicaWorld, 'replica' | 'record'>): string | undefined {
  const { replica, record } = world;
  if (!replica.deleting) return 'an orphan is erased only after its object was deleted';
  switch (record.state) {
    case 'gone':
    case 'omits':
      return undefined;
    case 'unread':
      return `the record of volume ${replica.volume} has not been read`;
    case 'blank':
      return `the record of volume ${replica.volume} names no replicas at all, so it can't say that this one isn't needed`;
    case 'names':
      return record.inSync
        ? `the record of volume ${replica.volume} names it as in sync`
        : `the record of volume ${replica.volume} still names it (${record.role})`;
  }
}

/** Given an orphan that its record let go, Then: no export, blocks gone and read back, volume gone, object gone. */
function planOrphan(world: ReplicaWorld): Plan {
  const { replica, pool, volume, subsystem, presence, nqn, devicePath } = world;
  const refusal = orphanRefusal(world);
  if (refusal !== undefined) return wait(`not erased: ${refusal}`, 'HF311');
  if (!replica.hasFinalizer) return { next: 'rest', status: { phase: 'Erasing', message: 'erased' }, again: false };
  if (subsystem !== undefined) return act({ kind: 'fence', nqn, why: 'an orphan' }, 'Erasing', 'removing the export');
  if (presence === 'draining' || (presence === 'unknown' && world.inUse === true)) {
    return act(
      { kind: 'await-drain', nqn, devNo: volume?.devNo },
      'Erasing',
      "waiting for the host's controllers to go",
    );
  }
  if (pool.state === 'unavailable') return wait(`can't be erased now: ${pool.why}`, 'HF304', 'Erasing');
  const name = logicalVolumeName(replica.uid);
  const place = { group: pool.group, name };
  if (volume === undefined) return act({ kind: 'release', ...place }, 'Erasing', 'erased; letting the object go');
  if (identityOf(volume.tags).replicaUid !== replica.uid) {
    return wait(`the logical volume ${pool.group}/${name} has no tag hf.replica=${replica.uid}`, 'HF308', 'Failed');
  }
  if (volume.tags.includes(ERASED_TAG)) {
    return act({ kind: 'remove-volume', ...place }, 'Erasing', 'removing the logical volume');
  }
  if (devicePath === undefined || volume.devNo === undefined) {
    return act({ kind: 'activate-volume', ...place }, 'Erasing', 'activating the logical volume to erase it');
  }
  const { devNo, sizeBytes } = volume;
  return act({ kind: 'erase-volume', ...place, devNo, devicePath, sizeBytes }, 'Erasing', 'discarding all blocks');
}
