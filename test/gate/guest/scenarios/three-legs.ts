import { setTimeout as sleep } from 'node:timers/promises';
import { LEG_HEADER_BYTES } from '../../../../lib/api/names.ts';
import { sameData } from '../disks.ts';
import * as gate from '../gate.ts';
import { asking } from '../writer.ts';

export interface ThreeLegsResult {
  /** Acknowledged while both of the legs that fail are still counted, and while one is. */
  readonly whileTwoFail: number;
  readonly whileOneFails: number;
  readonly identicalAfterRejoin: boolean;
  /** What the kernel answered to 3 → 2 → 3 members of the running array, and whether the legs are the same afterwards. */
  readonly shrink: string;
  readonly extend: string;
  readonly identicalAfterExtend: boolean;
}

/** Three legs: two fail at once, each is held until it is released by itself; then the array loses a place and gets it back. */
export async function threeLegs(): Promise<ThreeLegsResult> {
  const rig = { ...gate.DEFAULT_RIG, legs: [1, 2, 3] };
  return await gate.withRig(rig, async () => {
    const writer = await gate.startWithWriter(rig, 4);
    await Promise.all([gate.breakLeg(2, rig, 'error'), gate.fence(3)]);
    await sleep(1000);
    const first = writer.acks().length;
    await sleep(1000);
    const whileTwoFail =
      writer.acks().length - first + gate.missingOn(2, rig, writer.acks()) + gate.missingOn(3, rig, writer.acks());
    await gate.release(2, rig);
    await sleep(1000);
    const whileOneFails = writer.acks().length - first + gate.missingOn(3, rig, writer.acks());
    await gate.release(3, rig);
    await asking(() => writer.reaches(first + 20));
    await gate.remove(2, rig);
    await gate.remove(3, rig);
    await gate.breakLeg(2, rig, 'good');
    const gone = gate.controllerOf(3);
    if (gone !== undefined) await gate.nvme.deleteController(gone.name);
    await gate.offer(3);
    await gate.connectLeg(3, rig);
    for (const leg of [2, 3]) {
      const member = await gate.freshMember(leg, rig);
      await gate.addMember(leg, rig, member, 'Bitmap');
      await gate.until('it is copied', async () => {
        if (gate.attribute('array_state') === 'write-pending') await gate.activate();
        return gate.attribute('sync_action') === 'idle' && gate.attribute('degraded') === String(3 - leg);
      });
    }
    await writer.stop();
    const identicalAfterRejoin = sameData(rig.legs, LEG_HEADER_BYTES, rig.sizeBytes);
    await gate.release(3, rig);
    await gate.remove(3, rig);
    const attempt = (disks: string): Promise<string> =>
      gate.setAttribute('raid_disks', disks).then(
        () => 'done',
        (error: Error) => error.message,
      );
    const shrink = await attempt('2');
    const extend = await attempt('3');
    await gate.rejoin(3, rig, { kind: 'Full' });
    return {
      whileTwoFail,
      whileOneFails,
      identicalAfterRejoin,
      shrink,
      extend,
      identicalAfterExtend: sameData(rig.legs, LEG_HEADER_BYTES, rig.sizeBytes),
    };
  });
}
