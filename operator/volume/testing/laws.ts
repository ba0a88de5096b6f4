/** Checks the laws of data safety on every write, from the writes alone: it knows nothing of how the operator decides. */
import type { ReplicatedVolume, VolumeReplica } from '../model.ts';
import type { Write } from './store.ts';

/** The objects that the laws look at, as the API server has them. */
export interface Objects {
  readonly volumes: { readonly rows: ReadonlyMap<string, ReplicatedVolume> };
  readonly replicas: { readonly rows: ReadonlyMap<string, VolumeReplica> };
}

export class LawBroken extends Error {}

function law(holds: boolean, message: string): void {
  if (!holds) throw new LawBroken(message);
}

export function checkLaws(write: Write, api: Objects): void {
  if (write.kind === 'volume' && write.before !== undefined && write.after !== undefined) {
    volumeLaws(write.before, write.after, api);
  }
  if (write.kind === 'replica') {
    replicaLaws(write.before, write.after, api);
  }
  if (write.kind === 'connection' && write.after !== undefined) {
    const { spec } = write.after;
    const volume = api.volumes.rows.get(spec.volume);
    if (write.before === undefined) {
      law(volume?.status?.attachment?.node === spec.node, 'a connection is made for the attached node only');
      law(volume?.status?.attachment?.epoch === spec.epoch, 'a connection is made under the epoch of the attachment');
    }
  }
}

function volumeLaws(before: ReplicatedVolume, after: ReplicatedVolume, api: Objects): void {
  const inSync = after.status?.inSync ?? [];
  const names = (after.status?.replicas ?? []).map(({ name }) => name);
  const dropped = (before.status?.replicas ?? []).filter(({ name }) => !names.includes(name));
  for (const { name } of dropped) {
    law(!inSync.includes(name), `${name} is forgotten although it is in sync`);
    const object = api.replicas.rows.get(name);
    const marked =
      object === undefined || (object.spec.state === 'Orphan' && object.metadata.deletionTimestamp !== undefined);
    law(marked, `${name} is forgotten before it is marked`);
  }
  const countOf = ({ status }: ReplicatedVolume): number =>
    (status?.replicas ?? []).filter(({ role }) => role === 'Member').length;
  // Those that it wants since a moment ago are to come.
  const least = Math.min(countOf(before), after.spec.replicas);
  law(countOf(after) === 0 || countOf(after) >= least, 'the volume has fewer members than it wants');
  law(
    inSync.every((name) => names.includes(name)),
    `the in-sync set ${inSync.join()} names replicas that the record does not: ${names.join()}`,
  );
  const [was, is] = [before.status?.attachment, after.status?.attachment];
  if (is !== undefined && was !== undefined && is.node !== '' && was.node !== is.node) {
    law(was.node === '', `handed from ${was.node} to ${is.node} without a fence in between`);
    law(is.epoch > was.epoch, 'granted without a higher epoch');
    const confirmed = inSync.filter((name) => api.replicas.rows.get(name)?.status?.fencedEpoch === is.epoch);
    law(confirmed.length > 0, 'granted although no in-sync replica has confirmed the fence');
  }
}

function replicaLaws(before: VolumeReplica | undefined, after: VolumeReplica | undefined, api: Objects): void {
  const name = after?.metadata.name ?? before?.metadata.name ?? '';
  const spec = after?.spec ?? before?.spec;
  const volume = api.volumes.rows.get(spec?.volume ?? '');
  if (volume === undefined || volume.metadata.uid !== spec?.volumeUid) return;
  const record = (volume.status?.replicas ?? []).find((entry) => entry.name === name);
  const inSync = volume.status?.inSync?.includes(name) ?? false;
  const ending = volume.metadata.deletionTimestamp !== undefined && volume.status?.attachment?.node === '';
  if (before === undefined) {
    law(record !== undefined, `${name} is made before the record names it`);
    law(!inSync, `${name} is made anew although it is said to be in sync`);
  }
  if (after?.spec.state === 'Orphan' && before?.spec.state !== 'Orphan' && !ending) {
    law(!inSync && record?.role !== 'Member', `${name} is orphaned although the volume needs it`);
  }
  if (after === undefined) {
    law(record === undefined, `${name} is erased although the record names it`);
  }
}
