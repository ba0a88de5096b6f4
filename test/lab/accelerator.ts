import { accessSync, constants, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { cached, keyOf } from './cache.ts';
import { LabError, messageOf } from './errors.ts';
import { createTap, deleteTap } from './network.ts';
import type { Progress } from './progress.ts';
import { guestPaths, startGuest, waitForAgent, type GuestFiles, type RunningGuest } from './vm/guest.ts';
import type { Accelerator, Hardware } from './vm/qemu-args.ts';
import { sparseFile } from './vm/template.ts';

const PROBE_MS = 20_000;

/**
 * KVM where our own guest really boots with it, else emulation (TCG). /dev/kvm alone says little: there are virtual machines
 * that have it and in which every guest hangs. The answer is cached for this machine. HOLDFAST_ACCEL=tcg or kvm decides
 * without asking. Must be called in the lab's network namespace.
 */
export async function accelerator(
  cache: string,
  files: GuestFiles,
  progress: Progress,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<Accelerator> {
  const wanted = env['HOLDFAST_ACCEL'];
  if (wanted === 'tcg' || wanted === 'kvm') return wanted;
  if (wanted !== undefined && wanted !== '') {
    throw new LabError(
      `HOLDFAST_ACCEL is "${wanted}": it can be tcg (emulation) or kvm, or unset to have it found out`,
    );
  }
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
  } catch {
    return 'tcg';
  }
  const dir = await cached(
    cache,
    {
      kind: 'accelerator',
      key: keyOf(['1', os.release(), os.cpus()[0]?.model ?? '', files.qemu.version, files.guest.dir]),
      needBytes: 1024 ** 2,
      build: async (target) => {
        await progress.step('trying whether KVM works on this machine, once', PROBE_MS, async () => {
          const answer = await bootsWithKvm(files).then(
            () => ({ accelerator: 'kvm', why: 'a guest booted' }),
            (error: unknown) => ({ accelerator: 'tcg', why: messageOf(error) }),
          );
          await writeFile(path.join(target, 'answer.json'), JSON.stringify(answer));
        });
      },
    },
    progress,
  );
  const answer = JSON.parse(readFileSync(path.join(dir, 'answer.json'), 'utf8')) as {
    readonly accelerator: Accelerator;
  };
  return answer.accelerator;
}

async function bootsWithKvm(files: GuestFiles): Promise<void> {
  const dir = await mkdtemp(path.join(os.tmpdir(), 'holdfast-kvm-'));
  const tap = 't-kvm-probe';
  const hardware: Hardware = { accelerator: 'kvm', memoryMiB: 256, dataDisks: 0, kernelArgs: '' };
  let running: RunningGuest | undefined;
  await createTap(tap);
  try {
    const paths = guestPaths(dir, 'probe');
    const appImage = await sparseFile(path.join(dir, 'app'), 1024 ** 2);
    const backends = { ...paths, tap, mac: '52:54:00:77:ff:fe', appImage, dataImages: [] };
    running = await startGuest(files, 'probe', hardware, backends, { kind: 'plain' }, paths.qemuLog);
    await waitForAgent(running, paths.consoleFile, PROBE_MS);
  } finally {
    await running?.kill();
    await deleteTap(tap);
    await rm(dir, { recursive: true, force: true });
  }
}
