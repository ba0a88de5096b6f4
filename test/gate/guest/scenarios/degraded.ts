import { open } from 'node:fs/promises';
import { constants } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { LEG_HEADER_BYTES } from '../../../../lib/api/names.ts';
import { alignedBuffer } from '../direct.ts';
import { sameData } from '../disks.ts';
import * as gate from '../gate.ts';
import { asking } from '../writer.ts';

/** md's bitmap thread runs every 5 s (time_base), and clears a bit in its second round at the earliest. */
const CLEARED_MS = 25_000;
const KEPT_MS = 12_000;

export interface DegradedResult {
  /** With both legs there, how long until the bits of what was written are clear again. */
  readonly clearedAfterMs: number;
  /** The chunks that leg 2 lacks, and the bits on leg 1 when leg 2 returns. */
  readonly lacking: readonly number[];
  readonly bits: readonly number[];
  readonly copiedKib: number;
  readonly identical: boolean;
  /** After the rejoin: `bitmap/can_clear`, and how long until all bits are clear (undefined: not within 25 s). */
  readonly canClear: string | undefined;
  readonly clearedAgainAfterMs: number | undefined;
}

/**
 * Leg 2 is lost, the array is written to and started again from leg 1 alone, twice, written to each time; then leg 2 comes
 * back by bitmap.
 * @param keep whether the starter takes care of the bits: reads them before the start, says that none may be cleared, and
 * sets them again
 */
export async function degradedRestart({ keep }: { readonly keep: boolean }): Promise<DegradedResult> {
  const rig = gate.DEFAULT_RIG;
  return await gate.withRig(rig, async () => {
    await gate.start(rig);
    await writeChunks([1, 20], rig);
    const clearedAfterMs = (await clear(rig)) ?? Infinity;
    await gate.release(2, rig);
    await gate.remove(2, rig);
    await writeChunks([5, 40], rig);
    await gate.stop();
    for (const chunk of [60, 80]) {
      const bits = gate.bitsOn(1, rig);
      await gate.assemble(rig, { legs: [1], resyncStart: '0' });
      if (keep) {
        await gate.setAttribute('bitmap/can_clear', 'false');
        await gate.setAttribute('bitmap_set_bits', bits.join(' '));
      }
      await gate.activate();
      await writeChunks([chunk], rig);
      await sleep(KEPT_MS);
      await gate.stop();
    }
    const before = gate.bitsOn(1, rig);
    await gate.assemble(rig, { legs: [1], resyncStart: '0' });
    if (keep) {
      await gate.setAttribute('bitmap/can_clear', 'false');
      await gate.setAttribute('bitmap_set_bits', before.join(' '));
    }
    await gate.activate();
    await writeChunks([100], rig);
    await sleep(KEPT_MS);
    const bits = gate.bitsOn(1, rig);
    const copiedKib = await gate.rejoin(2, rig, { kind: 'Bitmap' });
    const identical = sameData(rig.legs, LEG_HEADER_BYTES, rig.sizeBytes);
    const canClear = gate.attribute('bitmap/can_clear');
    if (keep) await gate.setAttribute('bitmap/can_clear', 'true');
    await writeChunks([1], rig);
    const clearedAgainAfterMs = await clear(rig);
    return { clearedAfterMs, lacking: [5, 40, 60, 80, 100], bits, copiedKib, identical, canClear, clearedAgainAfterMs };
  });
}

/** How long until no bit is set on leg 1; undefined when it takes too long. */
async function clear(rig: gate.Rig): Promise<number | undefined> {
  const from = Date.now();
  return await gate
    .until('no bit is set', () => gate.bitsOn(1, rig).length === 0, CLEARED_MS)
    .then(
      () => Date.now() - from,
      () => undefined,
    );
}

async function writeChunks(chunks: readonly number[], rig: gate.Rig): Promise<void> {
  const file = await open(gate.DEVICE, constants.O_RDWR | constants.O_DIRECT);
  const block = alignedBuffer(gate.BLOCK);
  for (const chunk of chunks) {
    block.fill(chunk + Math.floor(Math.random() * 100));
    await asking(() => file.write(block, 0, gate.BLOCK, chunk * gate.chunkBytesOf(rig)));
  }
  await file.close();
}
