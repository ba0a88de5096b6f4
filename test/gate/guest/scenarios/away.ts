import { setTimeout as sleep } from 'node:timers/promises';
import { LEG_HEADER_BYTES } from '../../../../lib/api/names.ts';
import { sameData } from '../disks.ts';
import * as gate from '../gate.ts';

/** `fast_io_fail_tmo` in seconds; -1 is off. */
export interface AwayOptions {
  readonly fastIoFailSeconds: number;
}

export interface OneLegAwayResult {
  readonly acknowledgedWhileAway: number;
  /** Before anybody acts: the controller, whether the valve has given up its path, and where the leg's I/O waits. */
  readonly controller: string | undefined;
  readonly pathFailed: boolean | undefined;
  readonly inNamespace: number;
  readonly inValve: number;
  /** From the record to the next acknowledged write; undefined: not within 3 s, it took the end of the controller. */
  readonly releasedAfterMs: number | undefined;
  readonly afterDeleteMs: number | undefined;
}

/** The network to one leg goes silently; 3 s later its loss is recorded and it is dropped, its controller being left alone. */
export async function oneLegAway({ fastIoFailSeconds }: AwayOptions): Promise<OneLegAwayResult> {
  const rig = { ...gate.DEFAULT_RIG, keepAliveSeconds: 1, fastIoFailSeconds };
  return await gate.withRig(rig, async () => {
    const writer = await gate.startWithWriter(rig, 2);
    await gate.cutLeg(2, true);
    await sleep(500);
    const before = writer.acks().length;
    await sleep(4000);
    const acknowledgedWhileAway = writer.acks().length - before;
    const waiting = {
      controller: gate.controllerOf(2)?.state,
      pathFailed: (await gate.valves.status(gate.valveOf(2)))?.pathFailed,
      inNamespace: gate.inFlight(gate.namespaceOf(2).device),
      inValve: gate.inFlight(gate.memberOf(2, rig).device),
    };
    const releasedAt = Date.now();
    await gate.release(2, rig);
    const sinceMs = async (from: number, timeoutMs: number): Promise<number | undefined> =>
      await writer.reaches(before + 1, timeoutMs).then(
        () => (writer.acks()[before]?.endMs ?? 0) - from,
        () => undefined,
      );
    const releasedAfterMs = await sinceMs(releasedAt, 3000);
    let afterDeleteMs: number | undefined;
    if (releasedAfterMs === undefined) {
      const deletedAt = Date.now();
      const controller = gate.controllerOf(2);
      if (controller !== undefined) void gate.nvme.deleteController(controller.name).catch(() => undefined);
      afterDeleteMs = await sinceMs(deletedAt, 20_000);
    }
    await writer.stop();
    return { acknowledgedWhileAway, ...waiting, releasedAfterMs, afterDeleteMs };
  });
}

export interface AllLegsAwayResult {
  readonly acknowledgedWhileAway: number;
  readonly degraded: string | undefined;
  /** Whether it went on by itself, with no agent; and after the agent used the paths again. */
  readonly resumedAlone: boolean;
  readonly resumed: boolean;
  readonly identical: boolean;
}

/** The network to all legs goes silently for 6 s. */
export async function allLegsAway({ fastIoFailSeconds }: AwayOptions): Promise<AllLegsAwayResult> {
  const rig = { ...gate.DEFAULT_RIG, keepAliveSeconds: 1, fastIoFailSeconds };
  return await gate.withRig(rig, async () => {
    const writer = await gate.startWithWriter(rig, 2);
    for (const leg of rig.legs) await gate.cutLeg(leg, true);
    await sleep(500);
    const before = writer.acks().length;
    await sleep(6000);
    const acknowledgedWhileAway = writer.acks().length - before;
    for (const leg of rig.legs) await gate.cutLeg(leg, false);
    const went = (timeoutMs: number): Promise<boolean> =>
      writer.reaches(before + 20, timeoutMs).then(
        () => true,
        () => false,
      );
    const resumedAlone = await went(8000);
    for (const leg of rig.legs) await gate.returned(leg, rig);
    const resumed = await went(15_000);
    const degraded = gate.attribute('degraded');
    await writer.stop();
    return {
      acknowledgedWhileAway,
      degraded,
      resumedAlone,
      resumed,
      identical: sameData(rig.legs, LEG_HEADER_BYTES, rig.sizeBytes),
    };
  });
}
