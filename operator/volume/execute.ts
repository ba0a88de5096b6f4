import {
  API_GROUP_VERSION,
  CLIENT_AGENT_FINALIZER,
  OPERATOR_FINALIZER,
  RECOVERING_ANNOTATION,
  STORAGE_AGENT_FINALIZER,
  VOLUME_LABEL,
} from '../../lib/api/names.ts';
import type { Action } from './actions.ts';
import { actionEvent, followedOf } from './actions.ts';
import type { Fresh, Objection } from './guard.ts';
import { objectToAction, objectToRecord } from './guard.ts';
import { sameJson } from './merge-patch.ts';
import type { ReplicatedVolume, VolumeConnection, VolumeReplica } from './model.ts';
import type { Names, Needed } from './needed.ts';
import { neededForAction, neededForRecord } from './needed.ts';
import type { Plan } from './plan.ts';
import type { Ports, Store, Stores } from './ports.ts';
import { isAlreadyExists, isConflict, isNotFound } from './ports.ts';

/**
 * done: everything was carried out; `volume` is the volume as last written. gone: its last finalizer was taken off, and with
 * that it has ceased to be. stale: the world is not the one that was planned for; nothing is wrong, it has to be planned again.
 */
export type Outcome =
  | { readonly kind: 'done'; readonly volume: ReplicatedVolume }
  | { readonly kind: 'gone' }
  | { readonly kind: 'stale'; readonly why: string };

/**
 * Carries a plan out: first the status, with the record's intent in it, then the effects, each guarded by fresh reads.
 * Every effect can be repeated, so a crash at any point is made good by planning again.
 * @param isAnswer whether `planned` is what the API server has just answered to a write, and not what a cache has
 * @throws what the API server answers, except that something has changed in between
 */
export async function execute(plan: Plan, planned: ReplicatedVolume, ports: Ports, isAnswer = false): Promise<Outcome> {
  try {
    const volume = await writeStatus(plan, planned, ports);
    if (typeof volume === 'string') {
      return { kind: 'stale', why: volume };
    }
    for (const event of plan.events) {
      ports.tell(volume, event);
    }
    return await carryOut(plan.actions, volume, ports, isAnswer || plan.status !== undefined);
  } catch (error) {
    // Not found: it is gone, and a cache does not know yet.
    if (isConflict(error) || isNotFound(error)) {
      return { kind: 'stale', why: (error as Error).message };
    }
    throw error;
  }
}

/** Gives the volume as written, or why nothing was. */
async function writeStatus(plan: Plan, planned: ReplicatedVolume, ports: Ports): Promise<ReplicatedVolume | string> {
  if (plan.status === undefined) {
    return planned;
  }
  const { name, uid, resourceVersion } = planned.metadata;
  if (plan.record !== undefined) {
    // The volume itself need not be read: the write below happens only if it is still as it was when this was planned.
    const fresh = await withNeeded(planned, neededForRecord(plan.record, planned), ports);
    const objection = objectToRecord(plan.record, fresh);
    if (objection !== undefined) {
      return `${plan.record.kind}: ${objection}`;
    }
  }
  // The resourceVersion makes it a compare-and-swap: the client agent writes this status, too.
  const patch = { metadata: { uid, resourceVersion }, status: plan.status };
  const written = await ports.volumes.patch(name, patch, { subresource: 'status' });
  const { phase, message } = written.status ?? {};
  ports.log.info('status written', { volume: name, record: plan.record?.kind, phase, told: message });
  return written;
}

async function carryOut(
  actions: readonly Action[],
  planned: ReplicatedVolume,
  ports: Ports,
  isAnswer: boolean,
): Promise<Outcome> {
  let volume = planned;
  let isFresh = isAnswer;
  for (const action of actions) {
    const why = isFresh || isSwap(action) ? undefined : await changeOf(volume, ports);
    if (why !== undefined) {
      return { kind: 'stale', why };
    }
    const fresh = await withNeeded(volume, neededForAction(action, volume), ports);
    if (isDone(action, fresh)) {
      continue;
    }
    const objection: Objection = objectToAction(action, fresh);
    if (objection !== undefined) {
      return { kind: 'stale', why: `${action.kind}: ${objection}` };
    }
    const written = await perform(action, fresh, ports);
    ports.log.info('done', { volume: volume.metadata.name, action });
    if (
      action.kind === 'removeFinalizer' &&
      written !== undefined &&
      (written.metadata.finalizers ?? []).length === 0
    ) {
      return { kind: 'gone' };
    }
    volume = written ?? volume;
    // One look is enough for all replicas that are made: nobody can count on a replica that does not exist yet.
    isFresh = action.kind === 'createReplica';
    const event = actionEvent(action, volume);
    if (event !== undefined) {
      ports.tell(volume, event);
    }
  }
  return { kind: 'done', volume };
}

/** It writes the volume, and happens only if that is still as it was when this was planned: nothing has to be read first. */
const isSwap = ({ kind }: Action): boolean => kind === 'addFinalizer' || kind === 'removeFinalizer';

/** Reads the volume. Gives why the plan is out of date, if it is. */
async function changeOf(planned: ReplicatedVolume, stores: Stores): Promise<string | undefined> {
  const { name, uid, resourceVersion } = planned.metadata;
  const volume = await stores.volumes.get(name);
  if (volume === undefined || volume.metadata.uid !== uid) {
    return 'the volume is gone';
  }
  if (volume.metadata.annotations?.[RECOVERING_ANNOTATION] !== undefined) {
    return 'the volume is being recovered';
  }
  if (volume.metadata.resourceVersion !== resourceVersion) {
    return 'the volume has changed';
  }
  return undefined;
}

/** Reads those objects of the volume that the guard is going to ask for. */
async function withNeeded(volume: ReplicatedVolume, needed: Needed, stores: Stores): Promise<Fresh> {
  const { name } = volume.metadata;
  const [replicas, connections] = await Promise.all([
    readNamed<VolumeReplica>(stores.replicas, needed.replicas, name),
    readNamed<VolumeConnection>(stores.connections, needed.connections, name),
  ]);
  return {
    volume,
    get replicas() {
      return replicas ?? notRead('replicas');
    },
    get connections() {
      return connections ?? notRead('connections');
    },
  };
}

async function readNamed<T extends VolumeReplica | VolumeConnection>(
  store: Store<T>,
  names: Names | undefined,
  volume: string,
): Promise<readonly T[] | undefined> {
  if (names === undefined) return undefined;
  if (names === 'all') return (await store.list({ fieldSelector: `spec.volume=${volume}` })).items;
  const found = await Promise.all(names.map((name) => store.get(name)));
  return found.filter((object) => object !== undefined).filter(({ spec }) => spec.volume === volume);
}

/** To take what was not read for "there are none" would be to let anything through. */
function notRead(what: string): never {
  throw new Error(`the guard asks for the ${what} of the volume, which were not read`);
}

/** The effect is there already: the cache, or an operator before this one, is behind or ahead. */
function isDone(action: Action, fresh: Fresh): boolean {
  const replica = (uid: string) => fresh.replicas.find(({ metadata }) => metadata.uid === uid);
  const connection = (uid: string) => fresh.connections.find(({ metadata }) => metadata.uid === uid);
  switch (action.kind) {
    case 'setAccess': {
      const spec = replica(action.uid)?.spec;
      return spec?.epoch === action.epoch && spec.hostNqn === action.hostNqn;
    }
    case 'setDrain':
      return (replica(action.uid)?.spec.drain ?? 0) >= action.drain;
    case 'setSize':
      return (replica(action.uid)?.spec.sizeBytes ?? 0) >= action.sizeBytes;
    case 'setLineage':
      return (replica(action.uid)?.spec.lineage ?? 0) >= action.lineage;
    case 'orphanReplica':
      return (replica(action.uid)?.spec.state ?? 'Orphan') === 'Orphan';
    case 'deleteReplica':
      return replica(action.uid)?.metadata.deletionTimestamp !== undefined || replica(action.uid) === undefined;
    case 'createConnection':
      return fresh.connections.some(
        ({ metadata, spec }) => metadata.name === action.name && spec.epoch === action.spec.epoch,
      );
    case 'deleteConnection':
      return connection(action.uid)?.metadata.deletionTimestamp !== undefined || connection(action.uid) === undefined;
    case 'releaseConnection':
      return connection(action.uid) === undefined;
    case 'addFinalizer':
      return fresh.volume.metadata.finalizers?.includes(OPERATOR_FINALIZER) ?? false;
    case 'updateConnection': {
      const spec = connection(action.uid)?.spec;
      return spec !== undefined && sameJson(action.spec, followedOf(spec));
    }
    case 'createReplica':
    case 'removeFinalizer':
      return false;
  }
}

/** One effect. Gives the volume when it is the volume that was written. */
async function perform(action: Action, fresh: Fresh, stores: Stores): Promise<ReplicatedVolume | undefined> {
  const { name: volume, uid, resourceVersion, finalizers = [] } = fresh.volume.metadata;
  switch (action.kind) {
    case 'addFinalizer':
      return await stores.volumes.patch(volume, {
        metadata: { uid, resourceVersion, finalizers: [...finalizers, OPERATOR_FINALIZER] },
      });
    case 'removeFinalizer':
      return await stores.volumes.patch(volume, {
        metadata: { uid, resourceVersion, finalizers: finalizers.filter((each) => each !== OPERATOR_FINALIZER) },
      });
    case 'createReplica': {
      const isOurs = async (): Promise<boolean> =>
        (await stores.replicas.get(action.name))?.spec.volumeUid === action.spec.volumeUid;
      await createOnce(action.name, isOurs, async () => {
        await stores.replicas.create({
          apiVersion: API_GROUP_VERSION,
          kind: 'VolumeReplica',
          metadata: { name: action.name, labels: { [VOLUME_LABEL]: volume }, finalizers: [STORAGE_AGENT_FINALIZER] },
          spec: { ...action.spec },
        });
      });
      return undefined;
    }
    case 'setAccess':
      await stores.replicas.patch(action.name, {
        metadata: { uid: action.uid },
        spec: { hostNqn: action.hostNqn, epoch: action.epoch },
      });
      return undefined;
    case 'setDrain':
      await stores.replicas.patch(action.name, { metadata: { uid: action.uid }, spec: { drain: action.drain } });
      return undefined;
    case 'setSize':
      await stores.replicas.patch(action.name, {
        metadata: { uid: action.uid },
        spec: { sizeBytes: action.sizeBytes },
      });
      return undefined;
    case 'setLineage':
      await stores.replicas.patch(action.name, { metadata: { uid: action.uid }, spec: { lineage: action.lineage } });
      return undefined;
    case 'orphanReplica':
      await stores.replicas.patch(action.name, { metadata: { uid: action.uid }, spec: { state: 'Orphan' } });
      return undefined;
    case 'deleteReplica':
      await stores.replicas.delete(action.name, { uid: action.uid });
      return undefined;
    case 'createConnection':
      await createOnce(action.name, never, async () => {
        await stores.connections.create({
          apiVersion: API_GROUP_VERSION,
          kind: 'VolumeConnection',
          metadata: { name: action.name, labels: { [VOLUME_LABEL]: volume }, finalizers: [CLIENT_AGENT_FINALIZER] },
          spec: { ...action.spec },
        });
      });
      return undefined;
    case 'updateConnection':
      await stores.connections.patch(action.name, { metadata: { uid: action.uid }, spec: action.spec });
      return undefined;
    case 'deleteConnection':
      await stores.connections.delete(action.name, { uid: action.uid });
      return undefined;
    case 'releaseConnection':
      await releaseConnection(action.name, action.uid, fresh, stores);
      return undefined;
  }
}

async function releaseConnection(name: string, uid: string, fresh: Fresh, stores: Stores): Promise<void> {
  const { finalizers = [], resourceVersion } =
    fresh.connections.find(({ metadata }) => metadata.uid === uid)?.metadata ?? {};
  await stores.connections.patch(name, {
    metadata: { uid, resourceVersion, finalizers: finalizers.filter((each) => each !== CLIENT_AGENT_FINALIZER) },
  });
}

const never = (): Promise<boolean> => Promise.resolve(false);

/** An object of this name that belongs to something else is seen by the next plan, which then takes another name. */
async function createOnce(name: string, isOurs: () => Promise<boolean>, create: () => Promise<void>): Promise<void> {
  try {
    await create();
  } catch (error) {
    if (isAlreadyExists(error)) {
      if (await isOurs()) return;
      throw new Error(`${name} already exists and belongs to something else`, { cause: error });
    }
    throw error;
  }
}
