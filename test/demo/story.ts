import { writeFile } from 'node:fs/promises';
import type { Lab } from '../lab/lab.ts';
import { dirtyBytes, longestStallMs, verify } from '../history/log.ts';
import { formatBytes, formatDuration } from '../lab/progress.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { storageReady, type System } from '../system/system.ts';
import { bench } from './bench.ts';
import { capability, TARGET } from '../system/csi.ts';
import { acksOf, dump, pause, runsOf, stageOn, startWriter, unstageFrom, waitForAck } from '../system/workload.ts';
import type { Figures } from './figures.ts';
import { bar, type Teller } from './teller.ts';
import { legsOf, look, watchUntil, type View } from '../system/watch.ts';

export const VOLUME = 'pg';
const VOLUME_BYTES = 96 * 1024 * 1024;
const CHUNK_BYTES = 64 * 1024;
const WRITER = { file: `${TARGET}/ledger`, blocks: 2048 };
const LEG_TIMEOUT_MS = 3000;
const REPLICA_TIMEOUT_S = 20;
/** How long the transient fault lasts: longer than legTimeout, shorter than replicaTimeout. */
const OUTAGE_MS = 8000;

/** What one chapter hands to the next. */
interface Story {
  readonly lab: Lab;
  readonly system: System;
  readonly tell: Teller;
  readonly figures: Partial<Figures>;
  client: Vm;
}

export interface StoryOptions {
  /** Turns of the benchmark; default: enough for a figure to rely on. */
  readonly benchRounds?: number;
  /** Leave the volume attached at the end. */
  readonly keep?: boolean;
}

/**
 * The main job from beginning to end, on real kernels: place, attach, write, lose a node for a moment, lose it for good,
 * heal, get it back, lose the client. Throws when a step does not come true; what it measured is returned.
 */
export async function runStory(
  lab: Lab,
  system: System,
  tell: Teller,
  options: StoryOptions = {},
): Promise<Partial<Figures>> {
  const client = lab.clients[0];
  if (!client) throw new Error('the story needs two client VMs');
  const story: Story = {
    lab,
    system,
    tell,
    figures: { legTimeoutMs: LEG_TIMEOUT_MS, accelerator: lab.accelerator },
    client,
  };
  await waitForNodes(story);
  await measure(story, options.benchRounds);
  await place(story);
  await attach(story);
  await transientFault(story);
  await permanentFault(story);
  await failOver(story);
  story.figures.rssMiB = await system.rssMiB();
  if (options.keep !== true) await cleanUp(story);
  return story.figures;
}

async function waitForNodes({ system, tell }: Story): Promise<void> {
  tell.chapter('Holdfast starts: four storage nodes in four zones make their pools');
  const ready = await storageReady(system, (text) => tell.live(text));
  for (const node of ready) {
    tell.say(`${node.metadata.name}  zone ${node.metadata.labels?.['zone']}  ${node.status?.summary?.capacity ?? ''}`);
  }
}

async function measure({ lab, system, tell, figures }: Story, rounds: number | undefined): Promise<void> {
  tell.chapter('Nothing of ours is in the data path: fio against a hand-made mdadm array');
  const client = lab.clients[1];
  if (!client) throw new Error('the story needs two client VMs');
  const result = await bench(system, client, (text) => tell.live(text), rounds);
  figures.mdadmRatio = result.ratio;
  tell.fact(
    'random 4 KiB writes, QD 8',
    `Holdfast ${result.holdfastIops.toFixed(0)}, mdadm ${result.mdadmIops.toFixed(0)} IOPS`,
  );
  tell.fact('Holdfast / mdadm', result.ratio.toFixed(2));
}

async function place({ system, tell, figures }: Story): Promise<void> {
  tell.chapter('A volume is placed: 2 replicas, "distinct(zone)"');
  await system.csi('controller', 'CreateVolume', {
    name: VOLUME,
    capacityRange: { requiredBytes: String(VOLUME_BYTES) },
    volumeCapabilities: [capability('ext4')],
    parameters: {
      replicas: '2',
      placement: 'distinct(zone)',
      legTimeout: `${LEG_TIMEOUT_MS}ms`,
      replicaTimeout: `${REPLICA_TIMEOUT_S}s`,
    },
  });
  const { volume } = await look(system, VOLUME);
  figures.volumeBytes = volume.spec.capacityBytes;
  for (const replica of volume.status?.replicas ?? []) {
    tell.say(`${replica.name} on ${replica.storageNode}: ${(replica.why ?? []).join('; ')}`);
  }
  tell.good(`${volume.status?.message}`);
}

async function attach(story: Story): Promise<void> {
  const { system, tell, client } = story;
  tell.chapter(`It is attached to ${client.name}, formatted and mounted; a writer begins`);
  const context = await stageOn(system, VOLUME, client);
  tell.good(`${devicePathOf(await look(system, VOLUME))} is mounted (epoch ${JSON.stringify(context['epoch'] ?? '')})`);
  await startWriter(client, WRITER);
  await waitForAck(
    client,
    (all) => all[19],
    (text) => tell.live(text),
  );
  const acks = await acksOf(client);
  tell.say(
    `the writer overwrites ${WRITER.blocks} blocks of 4 KiB, each durable before the next; ${acks.length} so far`,
  );
}

async function transientFault({ lab, system, tell, figures, client }: Story): Promise<void> {
  const { node, vm } = await lastReplica(system, lab);
  tell.chapter(`A moment's fault: ${vm.name} is cut off, for less than replicaTimeout`);
  const before = await acksOf(client);
  const cutAt = Date.now();
  const from = tell.now();
  await lab.faults.cutLink(vm);
  tell.fault(`the link of ${vm.name} is cut, silently, at ${new Date(cutAt).toISOString().slice(11, 23)}`);
  const show = (view: View): void => tell.live(`${legsOf(view)}; in-sync set: ${view.inSync.join(', ')}`);
  await watchUntil(system, VOLUME, 'the leg is dropped', 30_000, (view) => !view.inSync.includes(node), show);
  await watchUntil(
    system,
    VOLUME,
    'the drop is reported',
    10_000,
    (view) => view.connection?.status?.lastDrop?.replica === node,
    show,
  );
  const stalled = await waitForAck(
    client,
    (all) => all.find((ack) => ack.endMs >= cutAt + LEG_TIMEOUT_MS),
    (text) => tell.live(text),
  );
  const dropped = (await look(system, VOLUME)).connection?.status?.lastDrop;
  if (!dropped) throw new Error('the drop was not reported');
  const during = (await acksOf(client)).slice(before.length);
  figures.stallMs = longestStallMs(during);
  const recordedAt = Date.parse(dropped.recordedAt);
  // The writes that were under way when the link was cut had reached both legs within a second or never did.
  const early = during.filter((ack) => ack.endMs > cutAt + 1000 && ack.endMs < recordedAt);
  figures.recordedBeforeAck = recordedAt <= stalled.endMs && early.length === 0;
  tell.fact('writes stood still for', `${figures.stallMs} ms (legTimeout ${LEG_TIMEOUT_MS} ms)`);
  tell.fact(
    'in-sync set recorded',
    `${dropped.recordedAt.slice(11, 23)}: ${(await look(system, VOLUME)).inSync.join(', ')}`,
  );
  tell.fact('first write acknowledged after it', new Date(stalled.endMs).toISOString().slice(11, 23));
  while (Date.now() < cutAt + OUTAGE_MS) {
    tell.live(
      `the volume goes on with one replica; ${vm.name} is back in ${formatDuration(cutAt + OUTAGE_MS - Date.now())}`,
    );
    await pause(300);
  }
  await lab.faults.restoreLink(vm);
  tell.span({ fromMs: from, toMs: tell.now(), lane: vm.name, text: 'cut off', kind: 'fault' });
  tell.span({ fromMs: from, toMs: from + figures.stallMs, lane: 'writer', text: 'waits', kind: 'stall' });
  tell.good(`the link of ${vm.name} is mended`);
  const backAt = tell.now();
  const synced = await watchUntil(
    system,
    VOLUME,
    'the leg is in sync again',
    60_000,
    (view) =>
      view.inSync.includes(node) &&
      view.connection?.status?.lastSync?.replica === node &&
      view.connection.status.lastSync,
    show,
  );
  const written = (await acksOf(client)).filter(
    (ack) => ack.startMs >= recordedAt && ack.endMs <= Date.parse(synced.startedAt),
  );
  figures.bytesDirtied = synced.dirtyBytes;
  figures.bytesResynced = synced.copiedBytes;
  tell.span({ fromMs: backAt, toMs: tell.now(), lane: vm.name, text: 'resync', kind: 'sync' });
  tell.fact(
    'dirtied meanwhile',
    `${formatBytes(synced.dirtyBytes)} in chunks of 64 KiB (the writer alone: ${formatBytes(dirtyBytes(written, CHUNK_BYTES))})`,
  );
  tell.fact('copied by the resync', `${formatBytes(synced.copiedBytes)} of ${formatBytes(VOLUME_BYTES)}`);
}

async function permanentFault(story: Story): Promise<void> {
  const { lab, system, tell, figures } = story;
  const { node, vm } = await lastReplica(system, lab);
  tell.chapter(
    `A fault that stays: ${vm.name} is powered off; after ${REPLICA_TIMEOUT_S} s the volume heals elsewhere`,
  );
  const from = tell.now();
  const before = (await look(system, VOLUME)).volume.status?.replicas?.map(({ name }) => name) ?? [];
  await lab.faults.powerOff(vm);
  tell.fault(`${vm.name} is off`);
  const replaced = await watchUntil(
    system,
    VOLUME,
    'a replacement is placed',
    (REPLICA_TIMEOUT_S + 60) * 1000,
    ({ volume }) => volume.status?.replicas?.find(({ name, role }) => role === 'Member' && !before.includes(name)),
    (view) => tell.live(view.volume.status?.message ?? ''),
  );
  const startMs = tell.now();
  tell.say(`${replaced.name} is placed on ${replaced.storageNode}: ${(replaced.why ?? []).join('; ')}`);
  const healed = await watchUntil(
    system,
    VOLUME,
    'the volume is healed',
    180_000,
    (view) =>
      view.inSync.includes(replaced.name) &&
      view.connection?.status?.lastSync?.replica === replaced.name &&
      view.connection.status.lastSync,
    ({ connection }) => {
      const sync = connection?.status?.legs?.find((leg) => leg.replica === replaced.name)?.sync;
      tell.live(
        `${bar(sync?.doneBytes ?? 0, sync?.totalBytes ?? VOLUME_BYTES)} ${sync ? formatBytes(sync.doneBytes) : 'waiting for the new leg'}; the writer goes on`,
      );
    },
  );
  figures.bytesHealed = healed.copiedBytes;
  figures.healSeconds = seconds(tell.now() - startMs);
  tell.span({ fromMs: startMs, toMs: tell.now(), lane: replaced.storageNode, text: 'heal', kind: 'sync' });
  tell.good(
    `healed onto ${replaced.storageNode} in ${figures.healSeconds} s; ${formatBytes(healed.copiedBytes)} copied`,
  );

  await lab.faults.powerOn(vm);
  tell.span({ fromMs: from, toMs: tell.now(), lane: vm.name, text: 'off', kind: 'fault' });
  const backAt = tell.now();
  await system.startStorageAgent(vm);
  tell.say(`${vm.name} has power again; its replica is an orphan now`);
  const deadline = performance.now() + 90_000;
  while (await system.replicas.get(node)) {
    if (performance.now() > deadline) throw new Error(`the orphan ${node} was not erased within 90 s`);
    tell.live(`${node}: ${(await system.replicas.get(node))?.status?.message ?? 'waiting for the node'}`);
    await pause(300);
  }
  const { stdout } = await vm.exec('lvs --noheadings -o lv_name,lv_tags 2>/dev/null | grep hf.replica || true');
  if (stdout.trim() !== '') throw new Error(`${vm.name} still holds ${stdout.trim()}`);
  tell.span({ fromMs: backAt, toMs: tell.now(), lane: vm.name, text: 'erase', kind: 'sync' });
  tell.good(`${node} is erased and deleted; ${vm.name} holds nothing of it`);
}

async function failOver(story: Story): Promise<void> {
  const { lab, system, tell, figures } = story;
  const old = story.client;
  const next = lab.clients.find((vm) => vm !== old);
  if (!next) throw new Error('the story needs two client VMs');
  tell.chapter(`The client dies in mid-write: ${old.name} is powered off, the volume moves to ${next.name}`);
  const pathBefore = devicePathOf(await look(system, VOLUME));
  const from = tell.now();
  await lab.faults.powerOff(old);
  tell.fault(`${old.name} is off`);
  story.client = next;
  const moving = detachFrom(system, old).then(() => stageOn(system, VOLUME, next));
  const ticker = setInterval(() => {
    look(system, VOLUME).then(
      ({ volume }) => tell.live(volume.status?.message ?? ''),
      () => undefined,
    );
  }, 500);
  await moving.finally(() => clearInterval(ticker));
  figures.failoverSeconds = seconds(tell.now() - from);
  const pathAfter = devicePathOf(await look(system, VOLUME));
  if (pathAfter !== pathBefore) throw new Error(`the device path changed from ${pathBefore} to ${pathAfter}`);
  tell.span({ fromMs: from, toMs: tell.now(), lane: 'writer', text: 'fail-over', kind: 'stall' });
  tell.good(`mounted on ${next.name} after ${figures.failoverSeconds} s, same path ${pathAfter}`);
  const verdict = verify(await runsOf(old), await dump(next, WRITER.file));
  figures.acknowledgedWrites = verdict.acknowledged;
  figures.lostWrites = verdict.lost.length + verdict.torn.length;
  tell.fact('acknowledged writes', String(verdict.acknowledged));
  tell.fact('lost or torn', String(figures.lostWrites));
  if (figures.lostWrites > 0) throw new Error(`acknowledged writes are lost: ${JSON.stringify(verdict)}`);
  await writeFile(next.ackLogFile, '');
  await startWriter(next, WRITER);
  await waitForAck(
    next,
    (all) => all[9],
    (text) => tell.live(text),
  );
  tell.span({ fromMs: from, toMs: tell.now(), lane: old.name, text: 'off', kind: 'fault' });
  tell.good(`the writer goes on on ${next.name}`);
}

async function cleanUp(story: Story): Promise<void> {
  const { system, tell, client, lab } = story;
  tell.chapter('The volume is deleted; nothing is left');
  await lab.faults.killProgram(client, 'writer.mjs', 'TERM');
  await pause(500);
  await unstageFrom(system, VOLUME, client);
  await detachFrom(system, client);
  await system.csi('controller', 'DeleteVolume', { volumeId: VOLUME });
  const deadline = performance.now() + 60_000;
  for (;;) {
    const left = (await system.replicas.list()).items.map((replica) => replica.metadata.name);
    if (left.length === 0) break;
    if (performance.now() > deadline) throw new Error(`replicas are left: ${left.join(', ')}`);
    tell.live(`erasing ${left.join(', ')}`);
    await pause(300);
  }
  const onDisk = await Promise.all(
    lab.storage.map(async (vm) =>
      (await vm.exec('lvs --noheadings -o lv_name,lv_tags 2>/dev/null | grep hf.replica || true')).stdout.trim(),
    ),
  );
  if (onDisk.some((text) => text !== '')) throw new Error(`logical volumes are left: ${onDisk.join(' ')}`);
  tell.good('no replica, no logical volume, no export is left');
}

async function detachFrom(system: System, client: Vm): Promise<void> {
  await system.csi('controller', 'ControllerUnpublishVolume', { volumeId: VOLUME, nodeId: client.name }, 90_000);
}

/** The member that was added last, and the VM that holds it. */
async function lastReplica(system: System, lab: Lab): Promise<{ node: string; vm: Vm }> {
  const { volume } = await look(system, VOLUME);
  const replica = volume.status?.replicas?.filter(({ role }) => role === 'Member').at(-1);
  if (!replica) throw new Error('the volume has no replica');
  return { node: replica.name, vm: lab.vm(replica.storageNode) };
}

function devicePathOf(view: View): string {
  return view.connection?.status?.devicePath ?? '';
}

const seconds = (ms: number): number => Math.round(ms / 100) / 10;
