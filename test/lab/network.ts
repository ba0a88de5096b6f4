import { LabError } from './errors.ts';
import { run } from './process.ts';
import { HOST_ADDRESS, PREFIX_LENGTH } from './vm/identity.ts';

export const BRIDGE = 'lab0';

/** The name of a VM's tap interface (at most 15 characters). */
export function tapName(vmName: string): string {
  const name = `t-${vmName}`;
  if (name.length > 15) throw new LabError(`the VM name ${vmName} is longer than 13 characters`);
  return name;
}

/** Makes the bridge, with the host's address on it. Only ever called in the lab's own network namespace. */
export async function createBridge(): Promise<void> {
  if ((await run('ip', ['link', 'show', 'dev', BRIDGE], { check: false })).code === 0) {
    throw new LabError('a lab is running in this network already: stop() it before another is started');
  }
  await ip('link', 'set', 'lo', 'up');
  // forward_delay 0 and no spanning tree: a port that comes up forwards at once
  await ip('link', 'add', BRIDGE, 'type', 'bridge', 'forward_delay', '0', 'stp_state', '0', 'mcast_snooping', '0');
  await ip('addr', 'add', `${HOST_ADDRESS}/${PREFIX_LENGTH}`, 'dev', BRIDGE);
  await ip('link', 'set', BRIDGE, 'up');
}

export async function deleteBridge(): Promise<void> {
  await ip('link', 'del', BRIDGE);
}

/** Makes a VM's tap, a port of the bridge. */
export async function createTap(tap: string): Promise<void> {
  await ip('tuntap', 'add', tap, 'mode', 'tap', 'vnet_hdr');
  await ip('link', 'set', tap, 'master', BRIDGE, 'up');
}

/** A tap that is down swallows everything in both directions, silently: a pulled cable that nobody is told about. */
export async function setTap(tap: string, up: boolean): Promise<void> {
  await ip('link', 'set', tap, up ? 'up' : 'down');
}

export async function deleteTap(tap: string): Promise<void> {
  await ip('link', 'del', tap);
}

async function ip(...args: string[]): Promise<void> {
  await run('ip', args);
}
