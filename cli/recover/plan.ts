import {
  describeStamp,
  RECOVERING_ANNOTATION,
  standingOf,
  type RecordStamp,
  type ReplicatedVolume,
} from '../../lib/api/index.ts';
import { build, heights, inTheWay, nextOrdinal, type VolumeRecovery } from './build.ts';
import { diskVolumes, latest, recordOfApi, type DiskCopy, type DiskVolume, type Evidence } from './evidence.ts';
import { choiceName, choices, keepOne } from './keep.ts';

export type Outcome =
  | { readonly kind: 'recover'; readonly recovery: VolumeRecovery }
  /** `choices`: the replicas for which a person may decide, and lose what they lack. */
  | { readonly kind: 'refused'; readonly volume: string; readonly why: string; readonly choices: readonly string[] };

export interface RecoverOptions {
  /** Only this volume. */
  readonly volume?: string | undefined;
  /** Replicas that a person knows to be lost for good. */
  readonly without: readonly string[];
  /** The replica that a person decides for, `NAME` or `NAME@NODE`, where the disks leave the choice open. */
  readonly keep?: string | undefined;
  readonly now: Date;
}

/**
 * What has to be written so that the API server knows of each volume what the disks know. Pure. A volume on which they
 * agree is left alone.
 */
export function planRecovery(evidence: Evidence, options: RecoverOptions): Outcome[] {
  return diskVolumes(evidence)
    .filter(({ name }) => options.volume === undefined || name === options.volume)
    .flatMap((disks) => recoverVolume(evidence, disks, options) ?? []);
}

function recoverVolume(evidence: Evidence, found: DiskVolume, options: RecoverOptions): Outcome | undefined {
  const refused = (why: string, named: readonly string[] = []): Outcome => ({
    kind: 'refused',
    volume: found.name,
    why,
    choices: named,
  });
  const object = evidence.volumes.find(({ metadata }) => metadata.name === found.name);
  // A volume that an earlier run has begun to build has a UID that the disks don't know yet.
  const isBegun = object?.metadata.annotations?.[RECOVERING_ANNOTATION] !== undefined;
  const mine = object?.metadata.uid === found.uid || isBegun ? object : undefined;
  const api = recordOfApi(mine);
  const disks = { ...found, copies: found.copies.filter((copy) => !isGivenUp(copy, found, api)) };
  const { now, keep } = options;
  const resourceVersion = object?.metadata.resourceVersion;
  const undecided = (why: string): Outcome => {
    const names = choices({ disks, mine }).map((copy) => choiceName(copy, disks));
    if (keep === undefined || names.length === 0) return refused(why, names);
    const kept = keepOne({ evidence, disks, mine, resourceVersion, api, now }, keep);
    return typeof kept === 'string' ? refused(kept, names) : { kind: 'recover', recovery: kept };
  };
  const records = disks.copies.flatMap(({ record }) => record ?? []);
  const known = [...records, ...(api === undefined ? [] : [api])];
  const untold = known.length > 0 ? [] : untoldOf(evidence, disks, mine, options.without);
  const best = latest(known) ?? untouched(evidence, disks, mine);
  const unknown = disks.copies.filter((copy) => copy.object === undefined);
  const isBehind =
    api === undefined ||
    records.some((record) => ['ahead', 'diverged'].includes(standingOf(record, api))) ||
    disks.copies.some(knowsBetter) ||
    // Its storage agent makes nothing of that object while the disk holds another replica of its name.
    inTheWay(evidence, unknown).length > 0;
  // Copies that the last record does not count on are no reason to touch a volume.
  if (!isBehind && !unknown.some(({ name }) => best?.inSync.includes(name) === true)) return undefined;
  if (mine === undefined && object !== undefined && recordOfApi(object) !== undefined) {
    return refused(
      `another volume of this name is in use (UID ${object.metadata.uid}); the disks belong to ${disks.uid}`,
    );
  }
  if (mine === undefined && disks.copies.some((copy) => copy.object !== undefined)) {
    return refused(
      'it has VolumeReplica objects but no ReplicatedVolume; they are being erased, restore the ReplicatedVolume',
    );
  }
  if (best === undefined) {
    return refused(
      'it was in use, and no disk that can be seen carries its record; bring the other storage nodes back',
    );
  }
  if (untold.length > 0) {
    const names = untold.join(', ');
    return refused(
      `${names} has not been told of by its storage node, and may hold what was written: bring it back, or say that it is lost for good: --without ${names}`,
    );
  }
  const doubled = disks.copies.filter((a) => disks.copies.some((b) => a !== b && a.name === b.name));
  if (doubled.length > 0) {
    return undecided(
      `two replicas have the same name: ${doubled.map(({ name, node }) => `${name} on ${node}`).join(', ')}`,
    );
  }
  // Made anew by an API server that had forgotten the first. One that holds nothing goes.
  const taken = inTheWay(evidence, disks.copies).find(({ status }) => status?.nqn !== undefined);
  if (taken !== undefined) {
    const { name } = taken.metadata;
    return refused(`there is a VolumeReplica ${name} in the place of the one on the disk, and it has been exported`);
  }
  const rivals = known.filter(
    (stamp) => standingOf(stamp, best) === 'diverged' || standingOf(best, stamp) === 'diverged',
  );
  if (rivals[0] !== undefined) {
    return undecided(`two histories contradict each other: ${describeStamp(best)}, and ${describeStamp(rivals[0])}`);
  }
  const unseen = best.inSync.filter((name) => !disks.copies.some((copy) => copy.name === name));
  const unexplained = unseen.filter((name) => !options.without.includes(name));
  if (unexplained.length > 0) {
    const names = unexplained.join(', ');
    return refused(
      `the last record that was found is ${describeStamp(best)}, and ${names} is on no disk that can be seen: it may hold later writes. Bring its storage node back, or say that it is lost for good: --without ${names}`,
    );
  }
  const inSync = best.inSync.filter((name) => !unseen.includes(name));
  if (inSync.length === 0) return undecided('no replica of the last in-sync set is left');
  if (keep !== undefined) {
    return refused(`nothing has to be given up: recover it without --keep, from ${inSync.join(', ')}`);
  }
  const epoch = heights(disks, api).epoch + 1;
  const why = `the disks know ${describeStamp(best)}`;
  const findings = { evidence, disks, mine, resourceVersion, best, inSync, epoch, now, why, lost: [] };
  return { kind: 'recover', recovery: build(findings) };
}

/**
 * Without an object, of a lineage before the API server's, and one on another node has its name: a person has decided against it, and
 * the volume has all that it counts on since then.
 */
function isGivenUp({ object, name, node, lineage, record }: DiskCopy, all: DiskVolume, api?: RecordStamp): boolean {
  const objects = all.copies.filter((each) => each.object !== undefined);
  const isReplaced = objects.some((each) => each.name === name && each.node !== node);
  if (object !== undefined || api === undefined || !isReplaced) return false;
  const isCarriedOut = api.inSync.every((wanted) => objects.some((each) => each.name === wanted));
  return isCarriedOut && Math.max(lineage, record?.lineage ?? 0) < api.lineage;
}

/** An epoch and its host are one decision: the same epoch for another host is as wrong as an earlier one. */
function knowsBetter({ object, epoch, host, lineage }: DiskCopy): boolean {
  if (object === undefined) return false;
  const { spec } = object;
  if (epoch > spec.epoch || lineage > spec.lineage) return true;
  return epoch === spec.epoch && host !== undefined && host !== spec.hostNqn;
}

/**
 * A volume that nobody has ever started, though it may have been handed out: a client writes a header before anything else. Its replicas
 * are empty, and so alike. Without its object nobody knows how many they were: only the first ones will do (one that replaces another has
 * a later number, and no header as long as data is copied to it), and all storage nodes must have told of theirs.
 */
function untouched(
  { silent }: Evidence,
  { copies }: DiskVolume,
  mine: ReplicatedVolume | undefined,
): RecordStamp | undefined {
  if (!copies.every(({ epoch, lineage, blank }) => lineage === 1 && (epoch === 0 || blank))) return undefined;
  const names = new Set(copies.map(({ name }) => name));
  const areFirst = nextOrdinal([...names]) === names.size;
  if (mine === undefined && !(areFirst && silent.length === 0)) return undefined;
  // Of a volume that begins with a snapshot the others get their data from those that were made from its copies.
  const filled = copies.filter(({ beganWithCopy }) => beganWithCopy);
  if (mine?.spec.source !== undefined && filled.length === 0) return undefined;
  const inSync = (filled.length > 0 ? filled : copies).map(({ name }) => name);
  return { lineage: 1, epoch: 0, generation: 1, inSync };
}

/** Replicas of the volume of whose disks nothing is known. */
function untoldOf(
  { replicas }: Evidence,
  { uid, copies }: DiskVolume,
  mine: ReplicatedVolume | undefined,
  without: readonly string[],
): string[] {
  const objects = replicas.filter(({ spec }) => spec.volumeUid === uid && spec.state === 'Active');
  const named = [
    ...(mine?.status?.replicas ?? []).map(({ name }) => name),
    ...objects.map(({ metadata }) => metadata.name),
  ];
  return [...new Set(named)].filter((name) => !without.includes(name) && !copies.some((copy) => copy.name === name));
}
