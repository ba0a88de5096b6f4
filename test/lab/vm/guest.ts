import path from 'node:path';
import { startDaemon, tailOfFile, waitFor, type Daemon } from '../process.ts';
import { LabError, hasCode } from '../errors.ts';
import type { GuestAssets } from '../assets/guest.ts';
import type { Qemu } from '../assets/qemu.ts';
import { qemuArgs, type Backends, type Hardware, type Memory } from './qemu-args.ts';
import { qgaClient, type Qga } from './qga.ts';
import { connectQmp, type Qmp } from './qmp.ts';

/** A running QEMU with both of its control channels. */
export interface RunningGuest {
  readonly daemon: Daemon;
  readonly qmp: Qmp;
  readonly qga: Qga;
  readonly kill: () => Promise<void>;
}

export interface GuestFiles {
  readonly qemu: Qemu;
  readonly guest: GuestAssets;
}

/** The folder of a VM and the files in it. */
export interface GuestPaths {
  readonly consoleFile: string;
  readonly ackLogFile: string;
  readonly qgaSocket: string;
  readonly qmpSocket: string;
  readonly qemuLog: string;
}

export function guestPaths(dir: string, name: string): GuestPaths {
  return {
    consoleFile: path.join(dir, `${name}.console.log`),
    ackLogFile: path.join(dir, `${name}.log`),
    qgaSocket: path.join(dir, `${name}.qga`),
    qmpSocket: path.join(dir, `${name}.qmp`),
    qemuLog: path.join(dir, `${name}.qemu.log`),
  };
}

/** Starts QEMU and waits until its control socket answers. The guest may still be booting. */
export async function startGuest(
  files: GuestFiles,
  name: string,
  hardware: Hardware,
  backends: Backends,
  memory: Memory,
  qemuLog: string,
): Promise<RunningGuest> {
  const args = qemuArgs(files.qemu, files.guest, name, hardware, backends, memory);
  const daemon = await startDaemon(`QEMU of ${name}`, files.qemu.binary, args, { logFile: qemuLog });
  try {
    const qmp = await waitFor(
      `the control socket of ${name}`,
      async () => {
        requireRunning(daemon);
        return await connectQmp(backends.qmpSocket).catch((error: unknown) => {
          // not there yet, or QEMU is just ending: then the next look says why
          if (['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE'].some((code) => hasCode(error, code))) return undefined;
          throw error;
        });
      },
      { timeoutMs: 20_000, everyMs: 20 },
    );
    const qga = qgaClient(backends.qgaSocket);
    return {
      daemon,
      qmp,
      qga,
      kill: async () => {
        qmp.close();
        qga.close();
        await daemon.kill();
      },
    };
  } catch (error) {
    await daemon.kill();
    throw error;
  }
}

/** Throws LabError with QEMU's last words when it has ended. */
export function requireRunning(daemon: Daemon): void {
  const reason = daemon.ended();
  if (reason !== undefined) throw new LabError(`${daemon.name} ended (${reason}):\n${tailOfFile(daemon.logFile)}`);
}

/** Waits until the guest agent answers. */
export async function waitForAgent(running: RunningGuest, consoleFile: string, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    requireRunning(running.daemon);
    try {
      await running.qga.command('guest-ping', {}, 2_000);
      return;
    } catch (error) {
      if (performance.now() < deadline && error instanceof LabError) continue;
      throw new LabError(
        `${running.daemon.name}: the guest agent does not answer after ${timeoutMs / 1000} s. Its console:\n${tailOfFile(consoleFile)}`,
        { cause: error },
      );
    }
  }
}
