import {
  copyVolumeName,
  logicalVolumeName,
  LVM_TAG,
  replicaNqn,
  stampOf,
  STORAGE_AGENT_FINALIZER,
  THIN_POOL_NAME,
  volumeGroupName,
  type ReplicatedVolume,
  type StorageNode,
  type VolumeReplica,
} from '../../lib/api/index.ts';
import { decodeLegHeader, LEG_SLOTS_BYTES } from '../../lib/host/leg-header.ts';
import type { LvmVolume } from '../../lib/host/lvm.ts';
import type { Listener } from '../../lib/host/nvmet.ts';
import type { Ports } from '../ports.ts';
import type { VolumeCache } from '../volumes.ts';
import type { FreshFacts } from './guard.ts';
import { contradiction, identityOf } from './identity.ts';
import type { Action, ExportWorld } from './plan.ts';
import {
  ERASED_TAG,
  type ExportFacts,
  type LegFacts,
  type PoolFacts,
  type RecordFacts,
  type ReplicaFacts,
  type ReplicaWorld,
} from './world.ts';

/** The facts of a replica's object. */
export function replicaFacts(object: VolumeReplica): ReplicaFacts {
  const { metadata, spec, status } = object;
  return {
    name: metadata.name,
    uid: metadata.uid ?? '',
    volume: spec.volume,
    volumeUid: spec.volumeUid,
    pool: spec.pool,
    sizeBytes: spec.sizeBytes,
    provisioning: spec.provisioning,
    state: spec.state,
    hostNqn: spec.hostNqn,
    epoch: spec.epoch,
    drain: spec.drain,
    lineage: spec.lineage,
    adopt: spec.adopt,
    copyUid: spec.source?.copyUid,
    deleting: metadata.deletionTimestamp !== undefined,
    hasFinalizer: metadata.finalizers?.includes(STORAGE_AGENT_FINALIZER) ?? false,
    wasReady: status?.fencedEpoch !== undefined || status?.nqn !== undefined,
    fencedEpoch: status?.fencedEpoch,
  };
}

/** What a volume's record says about a replica. */
export function recordFacts(volume: ReplicatedVolume | undefined, replica: ReplicaFacts): RecordFacts {
  if (volume === undefined || volume.metadata.uid !== replica.volumeUid) return { state: 'gone' };
  const { replicas = [], inSync = [] } = volume.status ?? {};
  const entry = replicas.find((each) => each.name === replica.name);
  const isInSync = inSync.includes(replica.name);
  if (entry !== undefined || isInSync) return { state: 'names', inSync: isInSync, role: entry?.role ?? 'in sync' };
  // A record without a single name is no record: it may have been restored without its status.
  return replicas.length === 0 ? { state: 'blank' } : { state: 'omits' };
}

/** The pool of a replica, as far as LVM's volumes tell. */
export function poolFacts(node: StorageNode | undefined, pool: string, volumes: readonly LvmVolume[]): PoolFacts {
  if (node === undefined) return { state: 'unavailable', why: 'the StorageNode object of this node is gone' };
  const wanted = node.spec.pools.find((each) => each.name === pool);
  if (wanted === undefined) {
    const names = node.spec.pools.map((each) => each.name).join(', ');
    return { state: 'unavailable', why: `StorageNode ${node.metadata.name} has no pool "${pool}" (it has: ${names})` };
  }
  const group = wanted.volumeGroup ?? volumeGroupName(pool);
  const thinPool = volumes.find((each) => each.group === group && each.name === THIN_POOL_NAME);
  const isOurs = thinPool !== undefined && thinPool.layout.includes('pool') && thinPool.tags.includes(LVM_TAG);
  if (!isOurs)
    return { state: 'unavailable', why: `pool "${pool}" is not set up yet; see the StorageNode's conditions` };
  if (!thinPool.active) return { state: 'unavailable', why: `pool "${pool}" is not active` };
  return { state: 'ready', group };
}

/** Where a node's target listens. */
export function listenersOf(node: StorageNode | undefined): Listener[] {
  return (node?.spec.addresses ?? []).map(({ ip, port }) => ({ ip, port }));
}

/** A replica's data under an object that the API server has forgotten; an erased one holds nothing. */
function findNamesake(replica: ReplicaFacts, volumes: readonly LvmVolume[]): LvmVolume | undefined {
  return volumes.find(({ tags }) => {
    const found = identityOf(tags);
    const isNamed = found.volumeUid === replica.volumeUid && found.replica === replica.name;
    return isNamed && found.replicaUid !== replica.uid && !found.erased;
  });
}

function findVolume(pool: PoolFacts, uid: string, volumes: readonly LvmVolume[]): LvmVolume | undefined {
  return findNamed(pool, logicalVolumeName(uid), volumes);
}

/** The logical volume of this name in a pool. */
export function findNamed(pool: PoolFacts, name: string, volumes: readonly LvmVolume[]): LvmVolume | undefined {
  if (pool.state === 'unavailable') return undefined;
  return volumes.find((each) => each.group === pool.group && each.name === name);
}

/** Looks at a replica's object and its export. Undefined when its object isn't there. */
export async function observeExport(ports: Ports, name: string): Promise<ExportWorld | undefined> {
  const object = ports.api.cachedReplica(name);
  if (object === undefined) return undefined;
  const replica = replicaFacts(object);
  const [own, former] = await Promise.all([
    exportFacts(ports, replica.uid),
    replica.adopt === undefined ? undefined : exportFacts(ports, replica.adopt.replicaUid),
  ]);
  return { replica, ...own, former };
}

async function exportFacts(ports: Ports, uid: string): Promise<ExportFacts> {
  const nqn = replicaNqn(uid, ports.bootId);
  const [subsystem, presence] = await Promise.all([ports.nvmet.observe(nqn), ports.nvmet.presence(nqn)]);
  return { nqn, subsystem, presence };
}

/**
 * Looks at all the rest that concerns the replica.
 * @param known the record that let the replica be erased; what is left after that hangs on nothing new
 */
export async function observeReplica(
  ports: Ports,
  volumes: VolumeCache,
  seen: ExportWorld,
  known?: RecordFacts,
): Promise<ReplicaWorld> {
  const { replica, presence } = seen;
  const node = ports.api.cachedNode();
  const list = await volumes.get();
  const pool = poolFacts(node, replica.pool, list);
  const volume = findVolume(pool, replica.uid, list);
  // Only what may make or destroy data hangs on the record; a standing replica asks nobody.
  const needsRecord = replica.state === 'Orphan' ? replica.deleting : volume === undefined && pool.state === 'ready';
  const isErased = volume === undefined || volume.tags.includes(ERASED_TAG);
  const record: RecordFacts = !needsRecord
    ? { state: 'unread' }
    : isErased && known !== undefined
      ? known
      : recordFacts(await ports.api.readVolume(replica.volume), replica);
  const devNo = volume?.devNo;
  const devicePath = devNo === undefined ? undefined : await ports.disks.pathOf(devNo);
  const willExport = replica.hostNqn !== '' && seen.subsystem === undefined;
  const isContradicted = volume !== undefined && contradiction(replica, identityOf(volume.tags)) !== undefined;
  const needsLeg = replica.state === 'Active' && (willExport || isContradicted);
  return {
    ...seen,
    record,
    pool,
    volume,
    namesake: findNamesake(replica, list),
    adoptable: replica.adopt === undefined ? undefined : findVolume(pool, replica.adopt.replicaUid, list),
    copy: replica.copyUid === undefined ? undefined : findNamed(pool, copyVolumeName(replica.copyUid), list),
    leg: needsLeg && devicePath !== undefined ? await legFacts(ports, replica, devicePath) : undefined,
    devicePath,
    inUse: presence === 'unknown' && devNo !== undefined ? await ports.disks.isOpen(devNo) : undefined,
    listeners: listenersOf(node),
  };
}

/** The disk first, the record after it: the record is written to the API server before it is written to the legs. */
async function legFacts(ports: Ports, replica: ReplicaFacts, devicePath: string): Promise<LegFacts> {
  const decoded = decodeLegHeader(await ports.disks.readStart(devicePath, LEG_SLOTS_BYTES));
  const volume = await ports.api.readVolume(replica.volume);
  const isOurs = volume !== undefined && volume.metadata.uid === replica.volumeUid;
  return { decoded, record: stampOf((isOurs ? volume.status : undefined) ?? {}) };
}

/**
 * Given an orphan that is being deleted, when its volume is gone or its record omits it, then so it is for ever: neither is
 * ever undone, and a name is never used again. It need not be asked for again for each step of one erasure.
 */
export function isSettled({ state, deleting }: ReplicaFacts, record: RecordFacts): boolean {
  return state === 'Orphan' && deleting && (record.state === 'gone' || record.state === 'omits');
}

/** Of these the object need not be read again: an orphan that is being deleted stays one (the API server holds that). */
const OF_AN_ORPHAN: ReadonlySet<Action['kind']> = new Set(['erase-volume', 'remove-volume', 'release']);
/** These hang on what LVM says right now. */
const NEEDS_VOLUME: ReadonlySet<Action['kind']> = new Set([
  'create-volume',
  'copy-volume',
  'clear-header',
  'adopt-volume',
  'extend-volume',
  'allocate-volume',
  'erase-volume',
  'remove-volume',
  'release',
]);

/**
 * Reads again, past every cache, what the guard judges an effect by. Only what it needs, because fencing and exporting
 * are what a failing-over volume waits for, and `lvs` is slow. The record is the one that was read for this very decision.
 */
export async function readFreshFacts(
  ports: Ports,
  volumes: VolumeCache,
  planned: ReplicaFacts,
  action: Action,
  record: RecordFacts,
): Promise<FreshFacts> {
  const list = NEEDS_VOLUME.has(action.kind) ? await volumes.fresh() : [];
  // Last, so that the object is the freshest of them all.
  const replica = OF_AN_ORPHAN.has(action.kind) ? planned : await readFacts(ports, planned);
  const pool = poolFacts(ports.api.cachedNode(), planned.pool, list);
  const named = list.filter((each) => each.name === logicalVolumeName(planned.uid));
  return {
    replica,
    record,
    volume: findVolume(pool, planned.uid, list),
    namesake: findNamesake(planned, list),
    adoptable: planned.adopt === undefined ? undefined : findVolume(pool, planned.adopt.replicaUid, list),
    copy: planned.copyUid === undefined ? undefined : findNamed(pool, copyVolumeName(planned.copyUid), list),
    groups: pool.state === 'ready' ? named.map((each) => each.group) : undefined,
  };
}

async function readFacts(ports: Ports, { name, uid }: ReplicaFacts): Promise<ReplicaFacts | undefined> {
  const object = await ports.api.readReplica(name);
  return object !== undefined && object.metadata.uid === uid ? replicaFacts(object) : undefined;
}
