import { HoldfastError, type ReplicatedVolume, type VolumeReplica } from '../lib/api/index.ts';
import { replicasOf, volumeOf, type Context } from './context.ts';

export interface ForceStartOptions {
  readonly replica: string | undefined;
  readonly acceptDataLoss: boolean;
  readonly json: boolean;
}

/**
 * Asks the operator to go on from a replica that lacks writes. It says what is lost; without the acceptance it does
 * nothing else.
 * @throws HoldfastError HF600 for a volume or replica that is not there, HF601 without the acceptance
 */
export async function forceStart(context: Context, name: string, options: ForceStartOptions): Promise<number> {
  const volume = await volumeOf(context, name);
  const replicas = await replicasOf(context, name);
  const { replica } = options;
  const choices = candidates(volume);
  if (replica === undefined || !(volume.status?.replicas ?? []).some((each) => each.name === replica)) {
    const found = replica === undefined ? '--replica is missing' : `${name} has no replica "${replica}"`;
    const known = choices.length === 0 ? 'there is none to choose: all that were ever in sync are' : choices.join('; ');
    throw new HoldfastError('HF600', `${found}; ${known}`, { field: '--replica' });
  }
  const told = explain(volume, replicas, replica);
  if (volume.status?.inSync?.includes(replica) === true) {
    throw new HoldfastError('HF201', `${replica} is in sync: nothing has to be forced`, { field: '--replica' });
  }
  if (!options.acceptDataLoss) {
    context.out(`${told.join('\n')}\n`);
    throw new HoldfastError('HF601', 'nothing was done; repeat it with --accept-data-loss', {
      field: '--accept-data-loss',
    });
  }
  const lineage = (volume.status?.lineage ?? 1) + 1;
  const { recordGeneration = 0 } = volume.status ?? {};
  const request = { replica, lineage, recordGeneration, acceptDataLoss: true };
  const { uid, resourceVersion } = volume.metadata;
  // The resourceVersion: what was explained is what is decided on.
  const patched = await context.volumes.patch(name, {
    metadata: { uid, resourceVersion },
    spec: { forceStart: request },
  });
  context.out(
    options.json
      ? `${JSON.stringify({ volume: name, forceStart: patched.spec.forceStart }, null, 2)}\n`
      : `${told.join('\n')}\nasked for: lineage ${lineage} of ${name} from ${replica}. The operator carries it out when no in-sync replica can be\nreached and no client has the volume: holdfast volume show ${name}\n`,
  );
  return 0;
}

/** What a person must know before deciding. */
function explain(volume: ReplicatedVolume, replicas: readonly VolumeReplica[], replica: string): string[] {
  const { name } = volume.metadata;
  const { inSync = [], outOfSync = {} } = volume.status ?? {};
  const left = outOfSync[replica];
  const since =
    left === undefined ? 'It is not known since when it lacks writes.' : `It left the in-sync set at ${left.at}`;
  const where = (each: string): string =>
    `${each} on ${replicas.find(({ metadata }) => metadata.name === each)?.spec.storageNode ?? 'an unknown node'}`;
  return [
    `Volume ${name} would go on from ${where(replica)}.`,
    left === undefined ? since : `${since}${left.reason === undefined ? '' : ` (${left.reason})`}.`,
    `Every write since then is lost, also those that were acknowledged. They are on ${inSync.map(where).join(' and ')}.`,
    `When ${inSync.length === 1 ? 'it returns, it gets' : 'they return, they get'} a full copy of ${replica}; nothing brings the lost writes back.`,
    ...(left?.mixedSince === undefined ? [] : [mixture(replica, left.mixedSince)]),
    'A client that still reaches them may go on writing until it learns of this; that is lost as well.',
    'The replica may have been dropped in the middle of a write of the filesystem: expect a journal replay, check the data.',
  ];
}

/** Of a replica to which data was being copied when the source was lost. */
export function mixture(replica: string, since: string): string {
  return `Data was being copied to ${replica} since ${since}, and that has not ended: it holds blocks of two times, which no filesystem may survive. Choose it only if nothing else is left.`;
}

function candidates(volume: ReplicatedVolume): string[] {
  const { inSync = [], outOfSync = {} } = volume.status ?? {};
  return (volume.status?.replicas ?? [])
    .filter(({ name }) => !inSync.includes(name) && Object.hasOwn(outOfSync, name))
    .map(({ name, storageNode }) => {
      const isMixed = outOfSync[name]?.mixedSince !== undefined;
      return `${name} on ${storageNode} lacks what was written since ${outOfSync[name]?.at}${isMixed ? ', and holds blocks of two times, as a copy to it has not ended' : ''}`;
    });
}
