import { open } from 'node:fs/promises';
import { constants } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { alignedBuffer, readDevice } from '../direct.ts';
import * as gate from '../gate.ts';
import { asking } from '../writer.ts';

export interface ReadErrorResult {
  /** What a read of the broken place gave: `data`, `error`, or `waits`. */
  readonly read: 'data' | 'error' | 'waits';
  readonly arrayState: string | undefined;
  readonly memberState: readonly string[];
  readonly bad: string | undefined;
  /** Writes acknowledged while nobody acted, which the leg lacks. */
  readonly missing: number;
}

/** The disk of leg 1 refuses everything, and the volume is read: with a valve, and with md alone. */
export async function readError({
  valves,
  badBlockLog = true,
}: {
  readonly valves: boolean;
  readonly badBlockLog?: boolean;
}): Promise<ReadErrorResult> {
  const rig = { ...gate.DEFAULT_RIG, valves, badBlockLog };
  return await gate.withRig(rig, async () => {
    const writer = await gate.startWithWriter(rig, 1);
    await writer.stop();
    const device = gate.memberOf(1, rig).device;
    await gate.breakLeg(1, rig, 'error');
    const file = await open(gate.DEVICE, constants.O_RDONLY | constants.O_DIRECT);
    // md reads from one leg or the other: enough places that both are asked.
    const reading = (async (): Promise<'data' | 'error'> => {
      try {
        for (let at = 0; at < 64; at++) await file.read(alignedBuffer(gate.BLOCK), 0, gate.BLOCK, at * 16 * gate.BLOCK);
        return 'data';
      } catch {
        return 'error';
      }
    })();
    const read = await Promise.race([reading, sleep(3000, 'waits' as const)]);
    const array = gate.md.readArray(gate.ARRAY);
    const member = array?.members.find((found) => found.device === device);
    const bad = gate.attribute(`dev-${device}/unacknowledged_bad_blocks`);
    await gate.release(1, rig);
    await asking(() => reading);
    await file.close();
    readDevice(gate.DEVICE, 0, gate.BLOCK);
    return {
      read,
      arrayState: array?.state,
      memberState: [...(member?.state ?? [])],
      bad,
      missing: gate.missingOn(1, rig, writer.acks()),
    };
  });
}
