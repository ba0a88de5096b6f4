import { setTimeout as sleep } from 'node:timers/promises';
import { LEG_HEADER_BYTES } from '../../../../lib/api/names.ts';
import { sameData } from '../disks.ts';
import * as gate from '../gate.ts';

export interface RefusedResult {
  /** What the controller's state was, in order; `gone`: the kernel removed it. */
  readonly controller: readonly string[];
  readonly namespace: boolean;
  readonly acknowledged: number;
  readonly memberState: readonly string[];
  /** After the export is there again: whether it went on without a member lost, and the legs are the same. */
  readonly resumed: boolean;
  readonly identical: boolean;
}

/**
 * A leg's target cuts the client and refuses it from then on.
 * @param how `host`: it may not come in. `subsystem`: nothing of that name is there, but the port is.
 */
export async function refused({ how }: { readonly how: 'host' | 'subsystem' }): Promise<RefusedResult> {
  const rig = gate.DEFAULT_RIG;
  return await gate.withRig(rig, async () => {
    const writer = await gate.startWithWriter(rig, 2);
    const seen: string[] = [];
    const watch = setInterval(() => {
      const state = gate.controllerOf(2)?.state ?? 'gone';
      if (seen.at(-1) !== state) seen.push(state);
    }, 10);
    await gate.refuse(2, how);
    await sleep(1500);
    const before = writer.acks().length;
    await sleep(5000);
    clearInterval(watch);
    const acknowledged = writer.acks().length - before + gate.missingOn(2, rig, writer.acks());
    const namespace = gate.nvme.listNamespaces((nqn) => nqn === gate.nqnOf(2)).size > 0;
    const memberState = [...(gate.md.readArray(gate.ARRAY)?.members.find(({ slot }) => slot === 1)?.state ?? [])];
    await gate.letIn(2);
    await gate.returned(2, rig);
    const resumed = await writer.reaches(before + 20, 15_000).then(
      () => gate.attribute('degraded') === '0',
      () => false,
    );
    await writer.stop();
    return {
      controller: seen,
      namespace,
      acknowledged,
      memberState,
      resumed,
      identical: sameData(rig.legs, LEG_HEADER_BYTES, rig.sizeBytes),
    };
  });
}
