import { closeSync, openSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { ControlPlane } from '../controlplane/controlplane.ts';
import { serveControl } from './control.ts';
import { LabError } from './errors.ts';
import type { Lab } from './lab.ts';

/** What `lab.json` says about a lab that was left running. */
export interface KeptLab {
  readonly kubeconfigPath: string | undefined;
  readonly url: string | undefined;
  readonly vms: readonly {
    readonly name: string;
    readonly role: string;
    readonly zone: string;
    readonly address: string;
    readonly logFile: string;
    readonly consoleFile: string;
  }[];
  readonly timings: Lab['timings'];
}

export const KEPT_FILE = 'lab.json';
export const CONTROL_SOCKET = 'lab.sock';

/**
 * Opens the lab to the command line (exec, fault, …) and tells `run --keep` that it may go home. The calling process must
 * stay: the lab lives as long as it does.
 */
export async function keepLab(base: string, lab: Lab, controlPlane: ControlPlane | undefined): Promise<void> {
  if (process.env['HOLDFAST_LAB_KEEP'] !== '1') {
    throw new LabError(
      'this lab ends with its command: start it by "node test/lab/main.ts run --keep -- …" to keep it',
    );
  }
  await serveControl(path.join(base, CONTROL_SOCKET), lab);
  const kept: KeptLab = {
    kubeconfigPath: controlPlane?.kubeconfigPath,
    url: controlPlane?.url,
    vms: lab.vms.map((vm) => ({
      name: vm.name,
      role: vm.role,
      zone: vm.zone,
      address: vm.address,
      logFile: vm.ackLogFile,
      consoleFile: vm.consoleFile,
    })),
    timings: lab.timings,
  };
  detachOutput(path.join(base, 'lab.log'));
  const file = path.join(base, KEPT_FILE);
  writeFileSync(`${file}.new`, JSON.stringify(kept, null, 2));
  renameSync(`${file}.new`, file);
}

/** Whoever reads our output (a pipe, a terminal) may go away: from now on it goes to a file. */
function detachOutput(file: string): void {
  for (const fd of [1, 2]) {
    closeSync(fd);
    const opened = openSync(file, 'a');
    if (opened !== fd) throw new LabError(`standard output went to descriptor ${opened} instead of ${fd}`);
  }
}
