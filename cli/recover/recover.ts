import {
  API_GROUP_VERSION,
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
import { planRecovery, type Outcome, type VolumeRecovery } from './plan.ts';

export interface RecoverCommand {
  readonly volume: string | undefined;
  readonly without: readonly string[];
  readonly apply: boolean;
  readonly json: boolean;
}

/** A storage agent that was not heard of for as long may be away; clocks of machines differ by less than that. */
const SILENT_MS = 60_000;

/** Reads what the storage nodes tell, says what has to be written, and with `apply` writes it. Gives the exit code. */
export async function recover(context: Context, command: RecoverCommand): Promise<number> {
  const evidence = await gather(context);
  const { volume, without } = command;
  const outcomes = planRecovery(evidence, { volume, without, now: new Date(context.nowMs()) });
  if (command.json) context.out(`${JSON.stringify(outcomes, null, 2)}\n`);
  else context.out(describe(context, outcomes, evidence, command.apply));
  if (command.apply) {
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
      return [`${paint(outcome.volume, 'red')}: HF602: ${outcome.why}`];
    }
    const { volume, create, status, adopt, raise, why, warnings } = outcome.recovery;
    const { inSync = [], attachment, lineage, recordGeneration } = status;
    return [
      `${paint(volume, 'yellow')}: ${why}`,
      ...(create === undefined ? [] : [`  create ReplicatedVolume ${volume}: ${JSON.stringify(create.spec)}`]),
      `  record: in sync ${inSync.join(', ')}; lineage ${lineage}, epoch ${attachment?.epoch}, record ${recordGeneration}; attached to nobody`,
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

/** The volume, made if need be, with the mark that keeps the operator away. */
async function held({ volumes }: Context, { volume: name, create }: VolumeRecovery): Promise<ReplicatedVolume> {
  const annotations = { [RECOVERING_ANNOTATION]: 'holdfast recover is writing its record' };
  const found = await volumes.get(name);
  if (found !== undefined) {
    const { uid, resourceVersion } = found.metadata;
    return await volumes.patch(name, { metadata: { uid, resourceVersion, annotations } });
  }
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
