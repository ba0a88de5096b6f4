import { sameData } from '../disks.ts';
import { LEG_HEADER_BYTES } from '../../../../lib/api/names.ts';
import * as gate from '../gate.ts';

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
  readonly copiedKib: number;
  readonly identical: boolean;
}

/** A leg is lost under a writer and comes back, in an array that has no bitmap. */
export async function withoutBitmap(): Promise<WithoutBitmapResult> {
  const rig = { ...gate.DEFAULT_RIG, bitmap: false };
  return await gate.withRig(rig, async () => {
    const writer = await gate.startWithWriter(rig, 4);
    await gate.release(2, rig);
    await gate.remove(2, rig);
    await writer.reaches(writer.acks().length + 20);
    const copiedKib = await gate.rejoin(2, rig, { kind: 'Full' });
    await writer.stop();
    return { copiedKib, identical: sameData(rig.legs, LEG_HEADER_BYTES, rig.sizeBytes) };
  });
}
