import { setTimeout as sleep } from 'node:timers/promises';
import { run } from '../../../../lib/host/exec.ts';
import type { DiskMode } from '../disks.ts';
import { asking, startWriter } from '../writer.ts';
import * as gate from '../gate.ts';

export interface HoldOptions {
  /** `native`: mdadm's own metadata, no valve. `external`: external metadata alone. `valve`: with a valve below. */
  readonly gate: 'native' | 'external' | 'valve';
  /** `fence`: the subsystem is taken away. Otherwise how the disk behaves. */
  readonly fault: 'fence' | 'cut' | Exclude<DiskMode, 'good'>;
  readonly queueDepth: number;
  readonly badBlockLog?: boolean;
  readonly bitmap?: boolean;
  /** How many legs there are; the second fails. Default 2. */
  readonly legs?: number;
  /** How long nobody acts. */
  readonly holdMs: number;
}

export interface HoldResult {
  /** Acknowledged before the fault, and while nobody acted. */
  readonly before: number;
  readonly after: number;
  /** Acknowledged writes that the failed leg lacks: each one would be lost if the client died now and that leg were used. */
  readonly missing: number;
  /** What md said while nobody acted. */
  readonly arrayState: string | undefined;
  readonly memberState: readonly string[];
  /** From the agent's last step to the next acknowledged write; undefined when there was none. */
  readonly resumedAfterMs: number | undefined;
}

/** A leg fails under a logging writer, and no agent acts for a while. */
export async function hold(options: HoldOptions): Promise<HoldResult> {
  const { badBlockLog = true, bitmap = true, legs = 2 } = options;
  const rig = {
    ...gate.DEFAULT_RIG,
    legs: Array.from({ length: legs }, (_, at) => at + 1),
    valves: options.gate === 'valve',
    badBlockLog,
    bitmap,
  };
  const native = options.gate === 'native';
  const writing = async (): Promise<HoldResult> => {
    if (native) await createNative(rig);
    else await gate.start(rig);
    const writer = startWriter(native ? NATIVE : gate.DEVICE, options.queueDepth, gate.blocksOf(rig));
    if (native) await writer.reaches(60);
    else await asking(() => writer.reaches(60));
    await sleep(100);
    const before = writer.acks().length;
    if (options.fault === 'fence') await gate.fence(2);
    else if (options.fault === 'cut') await gate.cutLeg(2, true);
    else await gate.breakLeg(2, rig, options.fault);
    await sleep(options.holdMs);
    const acks = writer.acks();
    const device = native ? undefined : gate.memberOf(2, rig).device;
    const array = gate.md.readArray(gate.ARRAY);
    const result = {
      before,
      after: acks.length - before,
      missing: gate.missingOn(2, rig, acks),
      arrayState: array?.state,
      memberState: [...(array?.members.find((member) => member.device === device)?.state ?? [])],
    };
    let resumedAfterMs: number | undefined;
    if (!native) {
      await gate.release(2, rig);
      const releasedAt = Date.now();
      await asking(() => writer.reaches(acks.length + 1, 10_000));
      resumedAfterMs = Math.max(0, (writer.acks()[acks.length]?.endMs ?? 0) - releasedAt);
    }
    await writer.stop();
    return { ...result, resumedAfterMs };
  };
  return await gate.withRig(rig, async () => {
    try {
      return await writing();
    } finally {
      if (native) await run('mdadm', ['--stop', NATIVE], { ok: [0, 1] });
      const controller = gate.controllerOf(2);
      if (!rig.valves && controller !== undefined) await gate.nvme.deleteController(controller.name);
    }
  });
}

const NATIVE = '/dev/md77';

/** mdadm's own array over the same legs, with its data where ours is. */
async function createNative(rig: gate.Rig): Promise<void> {
  const devices = rig.legs.map((leg) => `/dev/${gate.namespaceOf(leg).device}`);
  const layout = '--level=1 --metadata=1.2 --assume-clean --data-offset=4M --bitmap=internal --bitmap-chunk=64K';
  await run('mdadm', [
    '--create',
    NATIVE,
    '--run',
    ...layout.split(' '),
    `--raid-devices=${devices.length}`,
    ...devices,
  ]);
}
