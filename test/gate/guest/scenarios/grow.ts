import { LEG_HEADER_BYTES } from '../../../../lib/api/names.ts';
import { resizeDisk, sameData } from '../disks.ts';
import * as gate from '../gate.ts';
import { asking, startWriter } from '../writer.ts';

export interface GrowOptions {
  readonly fromBytes: number;
  readonly toBytes: number;
  /** Sectors that md may use for the bitmap; undefined: what it needs now. */
  readonly bitmapSectors?: number;
}

export interface GrowResult {
  readonly deviceBytes: number;
  /** The bitmap's chunk in the running array, and what the next start would ask for. */
  readonly chunkBytes: number;
  readonly nextChunkBytes: number;
  readonly acknowledgedMeanwhile: number;
  readonly identical: boolean;
}

/** A running array with valves gets larger under a writer: disk, export, namespace, valve, member, array. */
export async function grow({ fromBytes, toBytes, bitmapSectors }: GrowOptions): Promise<GrowResult> {
  const rig = { ...gate.DEFAULT_RIG, sizeBytes: fromBytes };
  const larger = { ...rig, sizeBytes: toBytes };
  return await gate.withRig(rig, async () => {
    await gate.assemble(rig);
    if (bitmapSectors !== undefined) await gate.setAttribute('bitmap/space', String(bitmapSectors));
    await gate.activate();
    const writer = startWriter(gate.DEVICE, 2, 1024);
    await asking(() => writer.reaches(20));
    const before = writer.acks().length;
    const legBytes = LEG_HEADER_BYTES + toBytes;
    for (const leg of rig.legs) {
      await resizeDisk(leg, legBytes);
      await gate.revalidate(leg);
      await gate.until('the namespace is larger', () => {
        const found = [...gate.nvme.listNamespaces((nqn) => nqn === gate.nqnOf(leg)).values()][0];
        return (found?.sizeBytes ?? 0) >= legBytes;
      });
      await gate.valves.swap(gate.valveOf(leg), legBytes, gate.namespaceOf(leg).devNo);
      await gate.setAttribute(`dev-${gate.memberOf(leg, rig).device}/size`, String(toBytes / 1024));
    }
    await gate.setAttribute('component_size', String(toBytes / 1024));
    await gate.synced(90_000);
    await gate.until('nothing is left to copy', () => gate.attribute('resync_start') === 'none', 90_000);
    const acknowledgedMeanwhile = writer.acks().length - before;
    await writer.stop();
    return {
      deviceBytes: gate.deviceBytes(),
      chunkBytes: Number(gate.attribute('bitmap/chunksize')),
      nextChunkBytes: gate.chunkBytesOf(larger),
      acknowledgedMeanwhile,
      identical: sameData(rig.legs, LEG_HEADER_BYTES, toBytes),
    };
  });
}
