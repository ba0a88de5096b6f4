import { describeStamp, type RecordStamp, type ReplicatedVolume } from '../../lib/api/index.ts';
import { mixture } from '../force-start.ts';
import { build, heights, nextOrdinal, type VolumeRecovery } from './build.ts';
import type { DiskCopy, DiskVolume, Evidence } from './evidence.ts';

/*
 * The way out where the disks do not say what the volume is, or say two things: a person decides for the data of one replica. A new lineage
 * begins with it, as with a forced start, and whatever the others hold can only be overwritten from then on.
 */

export interface Undecided {
  readonly evidence: Evidence;
  readonly disks: DiskVolume;
  readonly mine: ReplicatedVolume | undefined;
  readonly resourceVersion: string | undefined;
  readonly api: RecordStamp | undefined;
  readonly now: Date;
}

/** How a person names a copy: by its name, and by its node where two have the same. */
export function choiceName(copy: DiskCopy, { copies }: DiskVolume): string {
  return copies.filter(({ name }) => name === copy.name).length > 1 ? `${copy.name}@${copy.node}` : copy.name;
}

/** The copies that a volume may go on from: those that were in sync at some time, and so were a state of the volume. */
export function choices({ disks, mine }: Pick<Undecided, 'disks' | 'mine'>): readonly DiskCopy[] {
  const { inSync = [], outOfSync = {} } = mine?.status ?? {};
  return disks.copies.filter(
    ({ name, record, object }) =>
      record?.inSync.includes(name) === true ||
      (object !== undefined && (inSync.includes(name) || Object.hasOwn(outOfSync, name))),
  );
}

/** What is to be written so that the volume goes on from that copy, or why it can't. */
export function keepOne(undecided: Undecided, wanted: string): VolumeRecovery | string {
  const { evidence, disks, mine, resourceVersion, api, now } = undecided;
  const [name = '', node] = wanted.split('@');
  const found = disks.copies.filter((each) => each.name === name && (node === undefined || each.node === node));
  const known = choices(undecided).map((each) => choiceName(each, disks));
  const told = known.length === 0 ? 'there is none to choose' : `to choose from: ${known.join(', ')}`;
  const [chosen, ...others] = found;
  if (chosen === undefined) return `${wanted} is on no disk that can be seen; ${told}`;
  if (others.length > 0) return `two replicas have the name ${name}; ${told}`;
  if (!choices(undecided).includes(chosen)) {
    return `${wanted} is not known to have been in sync at any time: what it holds is no state of the volume; ${told}`;
  }
  const { kept, copies } = oneOfEachName(disks, chosen, mine);
  const { epoch, generation, lineage } = heights(disks, api);
  const best = { lineage: lineage + 1, epoch, generation, inSync: [kept.name] };
  return build({
    evidence,
    disks: { ...disks, copies },
    mine,
    resourceVersion,
    best,
    inSync: [kept.name],
    epoch: epoch + 1,
    now,
    why: `by your decision the volume goes on from ${chosen.name} on ${chosen.node}, which knows ${describeRecord(chosen)}`,
    lost: lost(undecided, chosen, copies),
  });
}

/** Where two have one name: the one that is kept gets another when an object has its own, and what else is on a disk stays there. */
function oneOfEachName(
  { name: volume, copies }: DiskVolume,
  chosen: DiskCopy,
  mine: ReplicatedVolume | undefined,
): { readonly kept: DiskCopy; readonly copies: readonly DiskCopy[] } {
  const objects = copies.filter(({ object }) => object !== undefined);
  const isTaken = chosen.object === undefined && objects.some(({ name }) => name === chosen.name);
  const next = Math.max(mine?.status?.nextReplica ?? 0, nextOrdinal(copies.map(({ name }) => name)));
  const kept = isTaken ? { ...chosen, name: `${volume}-r${next}` } : chosen;
  const names = new Set([kept, ...objects].map(({ name }) => name));
  const used = copies.flatMap((each) => {
    if (each === chosen) return [kept];
    if (each.object === undefined && names.has(each.name)) return [];
    names.add(each.name);
    return [each];
  });
  return { kept, copies: used };
}

/** What a person must know before deciding. */
function lost({ disks, mine, api }: Undecided, chosen: DiskCopy, used: readonly DiskCopy[]): string[] {
  const mixedSince = mine?.status?.outOfSync?.[chosen.name]?.mixedSince;
  const others = disks.copies.filter((each) => each !== chosen);
  return [
    `every acknowledged write that ${chosen.name} on ${chosen.node} does not hold is lost, for good:`,
    ...others.map((each) => {
      const becomes = used.includes(each)
        ? 'it gets a full copy'
        : 'it stays on its disk, and is no part of the volume any more';
      return `  ${each.name} on ${each.node} knows ${describeRecord(each)}: ${becomes}`;
    }),
    ...(api === undefined ? [] : [`  the API server's record is ${describeStamp(api)}`]),
    'a client that has the volume is cut off; what it has written to the others meanwhile is lost as well',
    mixedSince === undefined
      ? 'it is as after a loss of power: check the filesystem and the data'
      : mixture(chosen.name, mixedSince),
  ];
}

const describeRecord = ({ record }: DiskCopy): string =>
  record === undefined ? 'no record of its own' : describeStamp(record);
