import { describeStamp, findCondition, stampOf, type ReplicatedVolume, type VolumeReplica } from '../lib/api/index.ts';
import { replicasOf, volumeOf, type Context } from './context.ts';
import { fields, table, type Cell, type Colour } from './terminal.ts';

const PHASES: Readonly<Record<string, Colour>> = {
  Healthy: 'green',
  Healing: 'yellow',
  Degraded: 'yellow',
  Waiting: 'red',
  Pending: 'yellow',
};

/** All volumes, one a line. */
export async function listVolumes(context: Context, json: boolean): Promise<number> {
  const { items } = await context.volumes.list();
  if (json) {
    context.out(`${JSON.stringify(items, null, 2)}\n`);
    return 0;
  }
  const rows = items.map(({ metadata, status = {} }) => [
    metadata.name,
    phase(status.phase),
    status.inSyncSummary ?? '',
    status.size ?? '',
    status.attachment?.node ?? '',
    status.message ?? '',
  ]);
  context.out(table(['NAME', 'PHASE', 'IN-SYNC', 'SIZE', 'ATTACHED', 'MESSAGE'], rows, context.paint));
  return 0;
}

/** One volume with its record, its replicas and its client. */
export async function showVolume(context: Context, name: string, json: boolean): Promise<number> {
  const volume = await volumeOf(context, name);
  const replicas = await replicasOf(context, name);
  const connections = (await context.connections.list()).items.filter(({ spec }) => spec.volume === name);
  if (json) {
    context.out(`${JSON.stringify({ volume, replicas, connections }, null, 2)}\n`);
    return 0;
  }
  const { spec, status = {} } = volume;
  const { attachment } = status;
  context.out(
    fields(
      [
        ['Volume', name],
        ['Phase', status.phase],
        ['Message', status.message],
        ['Size', status.size],
        ['Wanted replicas', String(spec.replicas)],
        ['Wanted at', spec.attachTo === '' ? 'nobody' : spec.attachTo],
        ['Attached to', attachment?.node === '' ? 'nobody' : attachment?.node],
        ['Record', describeStamp(stampOf(status))],
        ['Stopped in order', attachment && (attachment.clean ? 'yes' : 'no')],
        ['Forced start', spec.forceStart && `from ${spec.forceStart.replica}, lineage ${spec.forceStart.lineage}`],
      ],
      context.paint,
    ),
  );
  context.out('\n');
  const header = ['REPLICA', 'NODE', 'ROLE', 'IN SYNC', 'PHASE', 'EPOCH', 'FENCED', 'ON DISK', 'MESSAGE'];
  context.out(table(header, replicaRows(volume, replicas), context.paint));
  for (const { metadata, status: seen = {} } of connections) {
    context.out('\n');
    const rows = (seen.legs ?? []).map((leg) => [
      leg.replica,
      cell(leg.state, leg.state === 'InSync' ? 'green' : 'yellow'),
      leg.path ?? '',
      leg.message ?? '',
    ]);
    context.out(`${metadata.name}: ${seen.phase ?? 'nothing heard yet'} ${seen.devicePath ?? ''}\n`);
    context.out(table(['LEG', 'STATE', 'PATH', 'MESSAGE'], rows, context.paint));
  }
  return 0;
}

function cell(text: string, colour: Colour): Cell {
  return { text, colour };
}

function phase(text = ''): Cell {
  const colour = PHASES[text];
  return { text, ...(colour === undefined ? {} : { colour }) };
}

function replicaRows(volume: ReplicatedVolume, replicas: readonly VolumeReplica[]): (readonly (string | Cell)[])[] {
  const { status = {} } = volume;
  const recorded = status.replicas ?? [];
  const names = [...new Set([...recorded.map(({ name }) => name), ...replicas.map(({ metadata }) => metadata.name)])];
  return names.map((name) => {
    const record = recorded.find((each) => each.name === name);
    const object = replicas.find(({ metadata }) => metadata.name === name);
    const isInSync = status.inSync?.includes(name) ?? false;
    const disk = object?.status?.disk;
    const isConsistent = findCondition(object?.status?.conditions, 'Consistent')?.status !== 'False';
    return [
      name,
      record?.storageNode ?? object?.spec.storageNode ?? '',
      record?.role ?? (object?.spec.state === 'Orphan' ? 'Orphan' : 'not recorded'),
      { text: isInSync ? 'yes' : 'no', colour: isInSync ? 'green' : 'yellow' },
      object?.status?.phase ?? (object === undefined ? 'no object' : ''),
      String(object?.spec.epoch ?? ''),
      String(object?.status?.fencedEpoch ?? ''),
      disk === undefined
        ? ''
        : { text: `lineage ${disk.lineage}, epoch ${disk.epoch}`, ...(isConsistent ? {} : { colour: 'red' as const }) },
      object?.status?.message ?? '',
    ];
  });
}
