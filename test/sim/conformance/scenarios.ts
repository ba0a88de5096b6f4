import {
  ARRAY,
  assemble,
  CHUNK_BLOCKS,
  controllerOf,
  deviceOf,
  differences,
  drop,
  freshValve,
  join,
  memberOf,
  namespaceOf,
  pathOf,
  remove,
  SHAPE,
  SIZE_BYTES,
  stateOf,
  synced,
  until,
  valveOf,
  writeNow,
  type PendingWrite,
  type Stage,
} from './stage.ts';
import { LEG_HEADER_BYTES } from '../../../lib/api/names.ts';

/** What was seen, by name, in order. The real kernel and the simulated one have to agree on all of it. */
export type Seen = Record<string, unknown>;
export type Scenario = (stage: Stage) => Promise<Seen>;

/** Long enough for two keep-alives of 1 s, fast_io_fail_tmo of 1 s and a little more. */
const NOTICED_MS = 4500;
/** md's daemon looks at the bitmap every 5 s, and a bit goes at the second look after its last write. */
const AGED_MS = 16_000;
/** An answer that nothing holds up is there after this long. */
const SOON_MS = 1500;

const chunk = (number: number): number => number * CHUNK_BLOCKS;
const size = (seen: readonly number[]): number => seen.length;

/** How something ended: `done`, or the kernel's errno. */
const code = (work: Promise<unknown>): Promise<string | undefined> =>
  work.then(
    () => 'done',
    (error: { code?: string }) => error.code,
  );

/** The same beginning for most: two legs, one write done. */
async function running(stage: Stage): Promise<void> {
  await stage.connect(1);
  await stage.connect(2);
  await assemble(stage, [1, 2]);
  await writeNow(stage, 0, 1);
}

/** The first write after a start asks for `active` once. */
async function firstWrite(stage: Stage): Promise<Seen> {
  await stage.connect(1);
  await stage.connect(2);
  await assemble(stage, [1, 2]);
  const started = stateOf(stage);
  const write = stage.write(0, 1);
  await stage.sleep(SOON_MS);
  const waiting = { state: stateOf(stage), write: write.result() ?? 'waits' };
  await stage.md.activate(ARRAY);
  await until(stage, () => write.result() !== undefined);
  return { started, waiting, after: write.result(), state: stateOf(stage), bits: await stage.bits(2) };
}

/** A leg is cut off silently, dropped, and comes back by the bitmap. */
async function cutDropRejoin(stage: Stage): Promise<Seen> {
  await running(stage);
  await stage.cut(2, true);
  const write = stage.write(chunk(3), 2);
  await stage.sleep(NOTICED_MS);
  const cut = {
    write: write.result() ?? 'waits',
    state: stateOf(stage),
    members: [memberOf(stage, 1), memberOf(stage, 2)],
    controller: controllerOf(stage, 2),
    path: await pathOf(stage, 2),
  };
  await drop(stage, 2);
  const released = await until(stage, () => write.result() === 'done', SOON_MS);
  await stage.sleep(SOON_MS);
  const dropped = { released, member: memberOf(stage, 2), state: stateOf(stage) };
  const degraded = [await writeNow(stage, chunk(7), 3), await writeNow(stage, chunk(7) + 1, 4)];
  await stage.sleep(AGED_MS);
  const kept = await stage.bits(1);
  const lacks = await differences(stage);
  const removed = await remove(stage, 2);
  await stage.cut(2, false);
  const live = await until(stage, () => controllerOf(stage, 2) === 'live');
  await join(stage, 2, 'Bitmap');
  const back = await synced(stage);
  const after = { members: [memberOf(stage, 1), memberOf(stage, 2)], differ: await differences(stage) };
  await writeNow(stage, 1, 5);
  await stage.sleep(AGED_MS);
  const cleared = [await stage.bits(1), await stage.bits(2)];
  return { cut, dropped, degraded, kept, lacks, removed, live, back, after, cleared };
}

/** The disk of a leg answers with errors that count as the path's: the valve holds them, md hears nothing. */
async function pathErrors(stage: Stage): Promise<Seen> {
  await running(stage);
  await stage.setDisk(2, 'errors');
  const write = stage.write(chunk(3), 2);
  await stage.sleep(SOON_MS);
  const broken = {
    write: write.result() ?? 'waits',
    state: stateOf(stage),
    member: memberOf(stage, 2),
    controller: controllerOf(stage, 2),
    path: await pathOf(stage, 2),
  };
  await stage.setDisk(2, 'well');
  await stage.valves.reinstatePath(valveOf(2), namespaceOf(stage, 2).devNo);
  const released = await until(stage, () => write.result() === 'done', SOON_MS);
  return { broken, released, member: memberOf(stage, 2), differ: await differences(stage) };
}

/** An error that is not the path's goes through the valve: md holds every write until it is told that the loss is known. */
async function fullDisk(stage: Stage): Promise<Seen> {
  await running(stage);
  await stage.setDisk(2, 'full');
  const write = stage.write(chunk(3), 2);
  await stage.sleep(SOON_MS);
  const later = stage.write(chunk(5), 3);
  await stage.sleep(SOON_MS);
  const held = {
    writes: results([write, later]),
    state: stateOf(stage),
    isBlocked: memberOf(stage, 2).includes('blocked'),
  };
  await stage.md.failMember(ARRAY, deviceOf(stage, 2));
  await stage.md.unblockMember(ARRAY, deviceOf(stage, 2));
  await stage.sleep(SOON_MS);
  const unblocked = { writes: results([write, later]), state: stateOf(stage) };
  await stage.md.activate(ARRAY);
  await stage.sleep(SOON_MS);
  await stage.setDisk(2, 'well');
  return { held, unblocked, released: results([write, later]), isFaulty: memberOf(stage, 2).includes('faulty') };
}

/** With md's list of bad blocks for external metadata the member isn't failed by the error: md holds, and user space decides. */
async function notedError(stage: Stage): Promise<Seen> {
  await running(stage);
  const state = `/sys/block/${ARRAY}/md/dev-${deviceOf(stage, 2)}/state`;
  await stage.sysfs.writeAttribute(state, 'external_bbl');
  await stage.setDisk(2, 'full');
  const writes = [stage.write(chunk(3), 2), stage.write(chunk(5), 3)];
  await stage.sleep(SOON_MS);
  const held = { writes: results(writes), state: stateOf(stage), words: memberOf(stage, 2).split(',').sort() };
  await stage.md.failMember(ARRAY, deviceOf(stage, 2));
  await stage.sleep(SOON_MS);
  const failed = { writes: results(writes), state: stateOf(stage), words: memberOf(stage, 2).split(',').sort() };
  await stage.md.unblockMember(ARRAY, deviceOf(stage, 2));
  await stage.md.activate(ARRAY);
  await stage.sleep(SOON_MS);
  await stage.setDisk(2, 'well');
  return { held, failed, released: results(writes) };
}

const results = (writes: readonly PendingWrite[]): string[] => writes.map((write) => write.result() ?? 'waits');

/** The hole in md's own gate: when the write of the bitmap's page fails the leg, the data's write doesn't wait. */
async function fullBitmap(stage: Stage): Promise<Seen> {
  await running(stage);
  await stage.setDisk(2, 'full bitmap');
  const write = stage.write(chunk(3), 2);
  await stage.sleep(SOON_MS);
  const first = { write: write.result() ?? 'waits', state: stateOf(stage), member: memberOf(stage, 2) };
  const later = stage.write(chunk(5), 3);
  await stage.sleep(SOON_MS);
  await stage.setDisk(2, 'well');
  return { first, later: later.result() ?? 'waits' };
}

/** A leg that is failed before its loss is recorded: its write in flight is not held. That is why the record comes first. */
async function faultyFirst(stage: Stage): Promise<Seen> {
  await running(stage);
  await stage.cut(2, true);
  const write = stage.write(chunk(3), 2);
  await stage.sleep(NOTICED_MS);
  await stage.md.failMember(ARRAY, deviceOf(stage, 2));
  await stage.sleep(SOON_MS);
  const failed = { write: write.result() ?? 'waits', state: stateOf(stage), member: memberOf(stage, 2) };
  await stage.valves.open(valveOf(2), undefined);
  await stage.sleep(SOON_MS);
  return { failed, opened: write.result() ?? 'waits', state: stateOf(stage) };
}

/** All legs go and come back: a pause, and nothing else. */
async function allLegsAway(stage: Stage): Promise<Seen> {
  await running(stage);
  await stage.cut(1, true);
  await stage.cut(2, true);
  const write = stage.write(chunk(3), 2);
  await stage.sleep(8000);
  const away = { write: write.result() ?? 'waits', members: [memberOf(stage, 1), memberOf(stage, 2)] };
  await stage.cut(1, false);
  await stage.cut(2, false);
  await until(stage, () => [1, 2].every((leg) => controllerOf(stage, leg) === 'live'));
  const live = { write: write.result() ?? 'waits', paths: [await pathOf(stage, 1), await pathOf(stage, 2)] };
  for (const leg of [1, 2]) await stage.valves.reinstatePath(valveOf(leg), namespaceOf(stage, leg).devNo);
  const released = await until(stage, () => write.result() === 'done', SOON_MS);
  return { away, live, released, state: stateOf(stage), differ: await differences(stage) };
}

/** Legs that differ where a client died in the middle of writes: what the bitmap names is copied, if md is told to. */
async function unclean(stage: Stage, resyncStart: 'none' | '0'): Promise<Seen> {
  await running(stage);
  await stage.release();
  await stage.md.stopArray(ARRAY);
  const stopped = await stage.bits(1);
  await stage.poke(2, chunk(3) + 1, 77);
  await stage.poke(2, chunk(9), 78);
  for (const leg of [1, 2]) await stage.pokeBits(leg, [3]);
  await assemble(stage, [1, 2], resyncStart);
  const back = await synced(stage);
  await stage.sleep(SOON_MS);
  const differ = await differences(stage);
  if (stateOf(stage) === 'write-pending') await stage.md.activate(ARRAY);
  await stage.sleep(AGED_MS);
  return {
    stopped,
    back,
    differ,
    isResynced: stage.md.isResynced(ARRAY),
    bits: [await stage.bits(1), await stage.bits(2)],
  };
}

/** A new leg is filled while a writer goes on. */
async function fullRecovery(stage: Stage): Promise<Seen> {
  await stage.connect(1);
  await assemble(stage, [1]);
  const alone = [await writeNow(stage, 0, 1), await writeNow(stage, chunk(4), 2)];
  await stage.connect(2);
  await stage.poke(2, chunk(12), 99);
  await join(stage, 2, 'Full');
  const during = await writeNow(stage, chunk(15), 3);
  const back = await synced(stage);
  return { alone, during, back, members: [memberOf(stage, 1), memberOf(stage, 2)], differ: await differences(stage) };
}

/** An array that is started from one leg takes the bits that it finds for clean: they go, and with them what the other lacks. */
async function degradedRestart(stage: Stage): Promise<Seen> {
  await stage.connect(1);
  await stage.connect(2);
  await assemble(stage, [1]);
  await writeNow(stage, chunk(4), 2);
  await stage.sleep(AGED_MS);
  const degraded = await stage.bits(1);
  await stage.release();
  await stage.md.stopArray(ARRAY);
  const stopped = await stage.bits(1);
  await assemble(stage, [1], '0');
  const isResynced = stage.md.isResynced(ARRAY);
  await writeNow(stage, chunk(6), 3);
  await stage.sleep(AGED_MS);
  const restarted = await stage.bits(1);
  await join(stage, 2, 'Bitmap');
  const back = await synced(stage);
  return { degraded, stopped, isResynced, restarted, back, differ: size(await differences(stage)) };
}

/**
 * The target throws the host out. When something else is offered there, the host is refused and gives the controller up
 * (Linux 6.10 and later); when nothing is, it tries for ever. In both cases the write waits in the valve.
 */
async function fenced(stage: Stage, decoy: boolean): Promise<Seen> {
  await running(stage);
  if (decoy) await stage.decoy(2);
  await stage.fence(2);
  const write = stage.write(chunk(3), 2);
  const gone = await until(stage, () => controllerOf(stage, 2) === undefined, 10_000);
  await stage.sleep(SOON_MS);
  const valve = stage.valves.list('gate-valve-').get(valveOf(2));
  const after = {
    write: write.result() ?? 'waits',
    member: memberOf(stage, 2),
    path: await pathOf(stage, 2),
    below: valve?.below.length,
  };
  await drop(stage, 2);
  const released = await until(stage, () => write.result() === 'done', SOON_MS);
  return { gone, after, released };
}

/** The last working leg is not failed by asking; but from then on the array takes no write. */
async function lastLeg(stage: Stage): Promise<Seen> {
  await stage.connect(1);
  await assemble(stage, [1]);
  const before = await writeNow(stage, 0, 1);
  const asked = await stage.md.failMember(ARRAY, deviceOf(stage, 1)).then(
    () => 'done',
    (error: { code?: string }) => error.code,
  );
  const write = stage.write(1, 2);
  await stage.sleep(SOON_MS);
  return { before, asked, member: memberOf(stage, 1), state: stateOf(stage), after: write.result() ?? 'waits' };
}

/** Stopping clears the bits of the last writes, and so waits for a leg that is away, as long as that leg's valve is closed. */
async function stopWhileCut(stage: Stage): Promise<Seen> {
  await running(stage);
  await stage.release();
  await stage.cut(2, true);
  await stage.sleep(NOTICED_MS);
  let stopped = false;
  const stopping = stage.md.stopArray(ARRAY).then(() => (stopped = true));
  await stage.sleep(3000);
  const waiting = { stopped, path: await pathOf(stage, 2) };
  await stage.valves.open(valveOf(2), undefined);
  await stopping;
  return { waiting, stopped, left: stateOf(stage) };
}

/** Starting reads the bitmap from a leg, and waits for it in the same way; with the other leg's it would be content. */
async function assembleWhileCut(stage: Stage): Promise<Seen> {
  await stage.connect(1);
  await stage.connect(2);
  for (const leg of [1, 2]) await freshValve(stage, leg);
  await stage.cut(2, true);
  await stage.sleep(NOTICED_MS);
  const members = [1, 2].map((leg) => stage.valves.list('gate-valve-').get(valveOf(leg)));
  let started = false;
  const starting = stage.md
    .assembleReadOnly({
      ...SHAPE,
      resyncStart: 'none',
      members: members.map((valve, slot) => ({ device: valve?.device ?? '', devNo: valve?.devNo ?? '', slot })),
    })
    .then(() => (started = true));
  await stage.sleep(3000);
  const waiting = { started, path: await pathOf(stage, 2) };
  await stage.valves.open(valveOf(2), undefined);
  const came = await until(stage, () => started);
  if (came) await starting;
  return { waiting, came, state: stateOf(stage) };
}

/** Of two legs whose bitmaps differ, one decides what is copied. */
async function whichBitmap(stage: Stage): Promise<Seen> {
  await running(stage);
  await stage.release();
  await stage.md.stopArray(ARRAY);
  await stage.pokeBits(1, [3]);
  await stage.pokeBits(2, [9]);
  await stage.poke(2, chunk(3), 77);
  await stage.poke(2, chunk(9), 78);
  await assemble(stage, [1, 2], '0');
  const back = await synced(stage);
  await stage.sleep(SOON_MS);
  return { back, differ: await differences(stage) };
}

/** What md answers when it is asked for something at the wrong time. */
async function refusals(stage: Stage): Promise<Seen> {
  await running(stage);
  const held = await code(stage.md.stopArray(ARRAY));
  const inSync = await code(stage.md.removeMember(ARRAY, deviceOf(stage, 2)));
  const valve = await stage.valves.remove(valveOf(2)).then(
    () => 'removed',
    () => 'refused',
  );
  const twice = await code(
    stage.sysfs.writeAttribute(
      `/sys/block/${ARRAY}/md/new_dev`,
      stage.valves.list('gate-valve-').get(valveOf(2))?.devNo ?? '',
    ),
  );
  await stage.release();
  const free = await code(stage.md.stopArray(ARRAY));
  return { held, inSync, valve, twice, free, left: stateOf(stage) };
}

/** An agent that is killed while a leg joins, and freezes the array for ever: what it leaves. */
async function halfJoined(stage: Stage): Promise<Seen> {
  await stage.connect(1);
  await stage.connect(2);
  await assemble(stage, [1]);
  await writeNow(stage, 0, 1);
  const valve = await freshValve(stage, 2);
  const md = `/sys/block/${ARRAY}/md`;
  await stage.sysfs.writeAttribute(`${md}/sync_action`, 'frozen');
  await stage.sysfs.writeAttribute(`${md}/new_dev`, valve.devNo);
  await stage.sysfs.writeAttribute(`${md}/dev-${valve.device}/offset`, String(LEG_HEADER_BYTES / 512));
  const before = { action: stage.md.readArray(ARRAY)?.syncAction, member: memberOf(stage, 2), slot: slotOf(stage, 2) };
  await stage.sleep(SOON_MS);
  const later = { action: stage.md.readArray(ARRAY)?.syncAction, member: memberOf(stage, 2), slot: slotOf(stage, 2) };
  // Its successor does the whole sequence once more.
  await stage.md.addMember(ARRAY, {
    ...valve,
    slot: 1,
    sizeBytes: SIZE_BYTES,
    dataOffsetBytes: LEG_HEADER_BYTES,
    kind: 'Full',
  });
  const back = await synced(stage);
  return { before, later, back, differ: await differences(stage) };
}

/** From Linux 6.7 on a member goes only when all I/O of the array has ended, and new I/O waits for that. */
async function removeWhileWaiting(stage: Stage): Promise<Seen> {
  await running(stage);
  await drop(stage, 2);
  await stage.cut(1, true);
  const first = stage.write(chunk(3), 2);
  await stage.sleep(NOTICED_MS);
  let removed: string | undefined;
  void code(stage.md.removeMember(ARRAY, deviceOf(stage, 2))).then((result) => (removed = result));
  await stage.sleep(SOON_MS);
  const second = stage.write(chunk(5), 3);
  await stage.sleep(SOON_MS);
  const waiting = { removed: removed ?? 'waits', writes: [first.result() ?? 'waits', second.result() ?? 'waits'] };
  await stage.cut(1, false);
  await until(stage, () => controllerOf(stage, 1) === 'live');
  await stage.valves.reinstatePath(valveOf(1), namespaceOf(stage, 1).devNo);
  const released = await until(
    stage,
    () => first.result() === 'done' && second.result() === 'done' && removed !== undefined,
  );
  return { waiting, released, removed, member: memberOf(stage, 2) };
}

/** Which of md's doings make what a leg holds durable, and how a flush gets to a leg. */
async function flushed(stage: Stage): Promise<Seen> {
  await running(stage);
  await stage.sleep(AGED_MS);
  const grown = async (work: () => Promise<unknown>): Promise<boolean[]> => {
    const before = [stage.flushes(1), stage.flushes(2)];
    await work();
    return [1, 2].map((leg, index) => stage.flushes(leg) > (before[index] ?? 0));
  };
  const array = await grown(() => stage.flush());
  const leg = await grown(() => stage.flushLeg(2));
  await writeNow(stage, chunk(3), 2);
  const cleared = await grown(() => stage.sleep(AGED_MS));
  await drop(stage, 2);
  await remove(stage, 2);
  const copy = await grown(async () => {
    await join(stage, 2, 'Full');
    await synced(stage);
  });
  return { array, leg, cleared, copy };
}

function slotOf(stage: Stage, leg: number): number | undefined {
  return stage.md.readArray(ARRAY)?.members.find(({ device }) => device === deviceOf(stage, leg))?.slot;
}

export const scenarios: Readonly<Record<string, Scenario>> = {
  firstWrite,
  cutDropRejoin,
  pathErrors,
  fullDisk,
  notedError,
  fullBitmap,
  faultyFirst,
  allLegsAway,
  uncleanResync: (stage) => unclean(stage, '0'),
  uncleanNone: (stage) => unclean(stage, 'none'),
  fullRecovery,
  degradedRestart,
  fenced: (stage) => fenced(stage, false),
  refused: (stage) => fenced(stage, true),
  lastLeg,
  stopWhileCut,
  assembleWhileCut,
  whichBitmap,
  refusals,
  halfJoined,
  removeWhileWaiting,
  flushed,
};
