import { setTimeout as sleep } from 'node:timers/promises';
import { LEG_HEADER_BYTES } from '../../../../lib/api/names.ts';
import { sameData } from '../disks.ts';
import * as gate from '../gate.ts';
import { asking } from '../writer.ts';

export interface StartResult {
  /** What the start said; undefined: the array runs. */
  readonly error: string | undefined;
  readonly arrayState: string | undefined;
}

/** The agent's start, on whatever kernel this is. */
export async function startArray(): Promise<StartResult> {
  const rig = gate.DEFAULT_RIG;
  return await gate.withRig(rig, async () => {
    const error = await gate.start(rig).then(
      () => undefined,
      (failure: Error) => failure.message,
    );
    return { error, arrayState: gate.md.readArray(gate.ARRAY)?.state };
  });
}

export interface WithoutBitmapResult {
  /** Acknowledged writes that the failed leg lacked while nobody acted. */
  readonly missing: number;
  readonly copiedKib: number;
  readonly identical: boolean;
}

/** A leg fails under a writer, nobody acts, it is released and comes back, in an array that has no bitmap. */
export async function withoutBitmap({ holdMs }: { readonly holdMs: number }): Promise<WithoutBitmapResult> {
  const rig = { ...gate.DEFAULT_RIG, bitmap: false };
  return await gate.withRig(rig, async () => {
    const writer = await gate.startWithWriter(rig, 16);
    await gate.breakLeg(2, rig, 'error');
    await sleep(holdMs);
    const missing = gate.missingOn(2, rig, writer.acks());
    await gate.release(2, rig);
    await asking(() => writer.reaches(writer.acks().length + 20, 60_000));
    await gate.remove(2, rig);
    await gate.breakLeg(2, rig, 'good');
    const copiedKib = await gate.rejoin(2, rig, { kind: 'Full' });
    await writer.stop();
    return { missing, copiedKib, identical: sameData(rig.legs, LEG_HEADER_BYTES, rig.sizeBytes) };
  });
}
