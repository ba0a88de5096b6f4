import {
  API_GROUP_VERSION,
  HoldfastError,
  OPERATOR_FINALIZER,
  RECOVERING_ANNOTATION,
  STORAGE_AGENT_FINALIZER,
  storageLeaseName,
  VOLUME_LABEL,
  type ReplicatedVolume,
  type VolumeReplica,
} from '../../lib/api/index.ts';
import type { Context } from '../context.ts';
import type { Evidence } from './evidence.ts';
import type { VolumeRecovery } from './build.ts';
import { planRecovery, type Outcome } from './plan.ts';

export interface RecoverCommand {
  readonly volume: string | undefined;
  readonly without: readonly string[];
  /** The replica that a person decides for. */
  readonly keep?: string | undefined;
  readonly acceptDataLoss?: boolean;
  readonly apply: boolean;
  readonly json: boolean;
}

/** A storage agent that was not heard of for as long may be away; clocks of machines differ by less than that. */
const SILENT_MS = 60_000;

/**
 * Reads what the storage nodes tell, says what has to be written, and with `apply` writes it. Gives the exit code.
 * @throws HoldfastError HF004 for a decision that names no volume, HF601 when what is lost by it was not accepted
 */
export async function recover(context: Context, command: RecoverCommand): Promise<number> {
  const { volume, without, keep } = command;
  if (keep !== undefined && volume === undefined) {
    throw new HoldfastError('HF004', '--keep decides for one volume: name it', { field: '--keep' });
  }
  const evidence = await gather(context);
  const outcomes = planRecovery(evidence, { volume, without, keep, now: new Date(context.nowMs()) });
  if (command.json) context.out(`${JSON.stringify(outcomes, null, 2)}\n`);
  else context.out(describe(context, outcomes, evidence, command.apply));
  if (command.apply) {
    const isLoss = outcomes.some((each) => each.kind === 'recover' && each.recovery.lost.length > 0);
    if (isLoss && command.acceptDataLoss !== true) {
      throw new HoldfastError('HF601', 'nothing was done; repeat it with --accept-data-loss', {
        field: '--accept-data-loss',
      });
    }
    for (const outcome of outcomes) {
      if (outcome.kind !== 'recover') continue;
      await carryOut(context, outcome.recovery);
      if (!command.json) context.out(`${outcome.recovery.volume}: recovered\n`);
    }
  }
  await release(context, outcomes, command.apply);
  return outcomes.some(({ kind }) => kind === 'refused') ? 1 : 0;
}

async function gather({ volumes, replicas, storageNodes, leases, nowMs }: Context): Promise<Evidence> {
  const [v, r, n, l] = await Promise.all([volumes.list(), replicas.list(), storageNodes.list(), leases.list()]);
  const silent = n.items
    .map(({ metadata }) => metadata.name)
    .filter((name) => {
      const lease = l.items.find(({ metadata }) => metadata.name === storageLeaseName(name));
      return nowMs() - Date.parse(lease?.spec?.renewTime ?? '') > SILENT_MS || lease === undefined;
    });
  return { volumes: v.items, replicas: r.items, nodes: n.items, silent };
}

function describe({ paint }: Context, outcomes: readonly Outcome[], evidence: Evidence, apply: boolean): string {
  const lines = outcomes.flatMap((outcome) => {
    if (outcome.kind === 'refused') {
      const decide = outcome.choices.map(
        (choice) => `  or decide for one, and lose what it lacks: holdfast recover ${outcome.volume} --keep ${choice}`,
      );
      return [`${paint(outcome.volume, 'red')}: HF602: ${outcome.why}`, ...decide];
    }
    const { volume, create, status, remove, adopt, raise, why, lost, warnings } = outcome.recovery;
    const { inSync = [], attachment, lineage, recordGeneration } = status;
    return [
      `${paint(volume, 'yellow')}: ${why}`,
      ...(create === undefined ? [] : [`  create ReplicatedVolume ${volume}: ${JSON.stringify(create.spec)}`]),
      `  record: in sync ${inSync.join(', ')}; lineage ${lineage}, epoch ${attachment?.epoch}, record ${recordGeneration}; attached to nobody`,
      ...lost.map((line) => paint(`  lost: ${line}`, 'red')),
      ...remove.map(({ name }) => `  delete VolumeReplica ${name}: it was made anew, and holds nothing`),
      ...adopt.map(
        ({ name, spec }) =>
          `  create VolumeReplica ${name}: takes over hf-${spec.adopt?.replicaUid} on ${spec.storageNode}`,
      ),
      ...raise.map(({ name, epoch }) => `  VolumeReplica ${name}: closed to every host, epoch ${epoch}`),
      ...warnings.map((warning) => paint(`  warning: ${warning}`, 'yellow')),
    ];
  });
  if (evidence.silent.length > 0)
    lines.push(paint(`not heard of: storage node ${evidence.silent.join(', ')}`, 'yellow'));
  if (outcomes.length === 0) lines.push('no disk that can be seen knows more than the API server: nothing to recover');
  else if (!apply && outcomes.some(({ kind }) => kind === 'recover'))
    lines.push('nothing was written; --apply writes it');
  return `${lines.join('\n')}\n`;
}

/** In an order in which the operator never finds a record that lacks a replica, nor an object that the record lacks. */
async function carryOut(context: Context, recovery: VolumeRecovery): Promise<void> {
  const { volume: name } = recovery;
  const volume = await held(context, recovery);
  const { uid = '' } = volume.metadata;
  const written = await context.volumes.patch(
    name,
    { metadata: { uid, resourceVersion: volume.metadata.resourceVersion }, status: recovery.status },
    { subresource: 'status' },
  );
  for (const { name: replica, uid: replicaUid, epoch, lineage } of recovery.raise) {
    await context.replicas.patch(replica, { metadata: { uid: replicaUid }, spec: { epoch, hostNqn: '', lineage } });
  }
  for (const each of recovery.remove) await removeEmpty(context, each);
  for (const { name: replica, spec } of recovery.adopt) {
    const object: VolumeReplica = {
      apiVersion: API_GROUP_VERSION,
      kind: 'VolumeReplica',
      metadata: { name: replica, labels: { [VOLUME_LABEL]: name }, finalizers: [STORAGE_AGENT_FINALIZER] },
      spec: { ...spec, volumeUid: uid },
    };
    await context.replicas.create(object);
  }
  await letGo(context, written);
}

/** An object that holds nothing goes as it is: if its storage agent has made something of it meanwhile, the API server refuses. */
async function removeEmpty({ replicas }: Context, { name, uid, resourceVersion }: Removal): Promise<void> {
  const open = await replicas.patch(name, { metadata: { uid, resourceVersion, finalizers: null } });
  // One that was being deleted has gone with its last finalizer.
  if (open.metadata.deletionTimestamp !== undefined) return;
  await replicas.delete(name, { uid, resourceVersion: open.metadata.resourceVersion ?? '' });
}

type Removal = VolumeRecovery['remove'][number];

/** The volume as it was when this was decided, made if need be, with the mark that keeps the operator away. */
async function held({ volumes }: Context, recovery: VolumeRecovery): Promise<ReplicatedVolume> {
  const { volume: name, create, resourceVersion } = recovery;
  const annotations = { [RECOVERING_ANNOTATION]: 'holdfast recover is writing its record' };
  if (resourceVersion !== undefined) return await volumes.patch(name, { metadata: { resourceVersion, annotations } });
  const object = {
    apiVersion: API_GROUP_VERSION,
    kind: 'ReplicatedVolume',
    metadata: { name, annotations, finalizers: [OPERATOR_FINALIZER] },
    spec: { ...create?.spec },
  };
  return await volumes.create(object as unknown as ReplicatedVolume);
}

async function letGo({ volumes }: Context, { metadata }: ReplicatedVolume): Promise<void> {
  await volumes.patch(metadata.name, {
    metadata: { uid: metadata.uid, annotations: { [RECOVERING_ANNOTATION]: null } },
  });
}

/** A run that broke off after its last object and before the mark was taken off leaves the mark alone. */
async function release(context: Context, outcomes: readonly Outcome[], apply: boolean): Promise<void> {
  if (!apply) return;
  for (const volume of (await context.volumes.list()).items) {
    const isMarked = volume.metadata.annotations?.[RECOVERING_ANNOTATION] !== undefined;
    const isDone = !outcomes.some((each) => each.kind === 'refused' && each.volume === volume.metadata.name);
    if (isMarked && isDone && volume.status?.attachment !== undefined) await letGo(context, volume);
  }
}
