import { setTimeout as sleep } from 'node:timers/promises';
import { LEG_HEADER_BYTES } from '../../../../lib/api/names.ts';
import { sameData } from '../disks.ts';
import { killAfter } from '../kill.ts';
import * as gate from '../gate.ts';

/** On a machine that does other work besides. */
const GO_ON_MS = 60_000;

export interface Kill {
  /** Effects (writes to sysfs, programs run) that the agent had before it was killed. */
  readonly after: number;
  /** What is wrong, if something is. */
  readonly wrong: readonly string[];
}

/** Those after which something was wrong. */
export const wrongOf = (kills: readonly Kill[]): readonly Kill[] => kills.filter(({ wrong }) => wrong.length > 0);

/** Does `round` with the agent killed after 0, 1, 2, ... effects, until the sequence is not cut off any more. */
async function atEveryEffect(
  round: (after: number) => Promise<{ ended: 'finished' | 'killed'; wrong: string[] }>,
): Promise<Kill[]> {
  const kills: Kill[] = [];
  for (let after = 0; after < 60; after++) {
    const startedAt = Date.now();
    const { ended, wrong } = await round(after);
    // Told as it goes: a round that never ends is then the one after the last.
    console.error(`${ended} after ${after}: ${Date.now() - startedAt} ms`);
    if (ended === 'finished') return kills;
    kills.push({ after, wrong });
  }
  throw new Error('the sequence has no end');
}

/** Killed while it puts the array together: nothing can be written before the last step; the next run gets it right. */
export async function killAssemble(): Promise<Kill[]> {
  const rig = gate.DEFAULT_RIG;
  return await gate.withRig(rig, async () => {
    return await atEveryEffect(async (after) => {
      const wrong: string[] = [];
      const ended = await killAfter(after, () => gate.start(rig));
      const state = gate.md.readArray(gate.ARRAY)?.state ?? 'clear';
      if (ended === 'killed' && !['clear', 'inactive', 'readonly'].includes(state)) wrong.push(`left in ${state}`);
      if (ended === 'killed') {
        await gate.start(rig).catch((error: Error) => wrong.push(error.message));
        const again = gate.md.readArray(gate.ARRAY);
        if (again?.members.filter(({ state: words }) => words.has('in_sync')).length !== 2)
          wrong.push(JSON.stringify(gate.shown()));
      }
      await gate.md.stopArray(gate.ARRAY);
      return { ended, wrong };
    });
  });
}

/** Killed while it drops a leg: before the record nothing is acknowledged; after it the next run finishes. */
export async function killDrop(): Promise<Kill[]> {
  const rig = gate.DEFAULT_RIG;
  return await gate.withRig(rig, async () => {
    const writer = await gate.startWithWriter(rig, 4, 20);
    const kills = await atEveryEffect(async (after) => {
      const wrong: string[] = [];
      await gate.breakLeg(2, rig, 'error');
      await sleep(400);
      const before = writer.acks();
      if (gate.missingOn(2, rig, before) > 0) wrong.push('acknowledged before the record');
      await sleep(400);
      if (writer.acks().length !== before.length) wrong.push('acknowledged before the record, later');
      // From here on it is recorded.
      const ended = await killAfter(after, () => gate.release(2, rig));
      if (ended === 'killed') await gate.release(2, rig).catch((error: Error) => wrong.push(`again: ${error.message}`));
      await writer
        .reaches(before.length + 5, GO_ON_MS)
        .catch((error: Error) => wrong.push(`${error.message}; ${JSON.stringify(gate.shown())}`));
      if (gate.missingOn(1, rig, writer.acks()) > 0) wrong.push('leg 1 lacks acknowledged writes');
      await gate.remove(2, rig);
      await gate.breakLeg(2, rig, 'good');
      await gate.rejoin(2, rig, { kind: 'Bitmap' });
      return { ended, wrong };
    });
    await writer.stop();
    if (!sameData(rig.legs, LEG_HEADER_BYTES, rig.sizeBytes)) throw new Error('in the end the legs differ');
    return kills;
  });
}

/** Killed while it adds a leg: until the next run has finished nothing takes the leg for in sync, and then it is. */
export async function killAdd({ kind }: gate.Rejoin): Promise<Kill[]> {
  const rig = gate.DEFAULT_RIG;
  return await gate.withRig(rig, async () => {
    const writer = await gate.startWithWriter(rig, 4, 20);
    const kills = await atEveryEffect(async (after) => {
      const wrong: string[] = [];
      await gate.release(2, rig);
      await gate.remove(2, rig);
      await writer.reaches(writer.acks().length + 20, GO_ON_MS);
      const member = await gate.freshMember(2, rig);
      const ended = await killAfter(after, () => gate.addMember(2, rig, member, kind));
      await sleep(300);
      const array = gate.md.readArray(gate.ARRAY);
      const state = array?.members.find(({ device, slot }) => device === member.device && slot !== undefined)?.state;
      if (ended === 'killed' && array?.syncAction !== 'frozen' && state?.has('in_sync'))
        wrong.push('half added, and it counts as in sync');
      if (ended === 'killed')
        await gate.addMember(2, rig, member, kind).catch((error: Error) => wrong.push(`again: ${error.message}`));
      await gate.synced().catch((error: Error) => wrong.push(error.message));
      // What is acknowledged from now on is on both, and what was before is too.
      if (gate.missingOn(2, rig, writer.acks()) > 0) wrong.push('leg 2 lacks acknowledged writes');
      return { ended, wrong };
    });
    await writer.stop();
    return kills;
  });
}
