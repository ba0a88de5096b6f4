import type { ControlPlane } from '../controlplane/controlplane.ts';
import { LabError } from './errors.ts';
import { HEALTHY_LINK, linkScript, type Impairment, type LinkState } from './link-faults.ts';
import { setTap } from './network.ts';
import { shellQuote } from '../../lib/host/exec.ts';
import { HOST_ADDRESS } from './vm/identity.ts';
import { diskNode } from './vm/qemu-args.ts';
import type { Vm } from './vm/vm.ts';

/** The other end of a link: a VM, or the host with the control plane. */
export type Peer = Vm | 'control-plane';

/** Everything that can be made to go wrong, and right again. A fault of a VM's link outlives its power cycle. */
export interface Faults {
  /** Pulls the plug (kill -9 of QEMU: what the guest never flushed may still be in the host's page cache). */
  readonly powerOff: (vm: Vm) => Promise<void>;
  /** Power back: a fresh boot with its disks. */
  readonly powerOn: (vm: Vm) => Promise<void>;
  /** Cuts a VM off everything, both ways, silently. */
  readonly cutLink: (vm: Vm) => Promise<void>;
  /** Mends everything about a VM's link. */
  readonly restoreLink: (vm: Vm) => Promise<void>;
  /** One direction only: what comes to the VM is lost, or what it sends is. */
  readonly cutOneWay: (vm: Vm, direction: 'toVm' | 'fromVm') => Promise<void>;
  /** Cuts the link between two ends only; `from` an end: only what that end sends to the other. */
  readonly cutBetween: (a: Vm, b: Peer, only?: { readonly from: Peer }) => Promise<void>;
  readonly restoreBetween: (a: Vm, b: Peer) => Promise<void>;
  /** Delay, loss, a rate limit on what the VM sends; {} ends it. */
  readonly impair: (vm: Vm, impairment: Impairment) => Promise<void>;
  /** Sends a signal to every process whose command line matches (pgrep -f); returns how many. Throws when none does. */
  readonly killProgram: (vm: Vm, pattern: string, signal?: string) => Promise<number>;
  /** From now on the data disk (0 is the first) answers with EIO: all requests, or only reads or writes. */
  readonly breakDisk: (vm: Vm, options?: DiskFault) => Promise<void>;
  /** The disk works again; its content is what it was. */
  readonly repairDisk: (vm: Vm, index?: number) => Promise<void>;
  /** Takes the API server away: its connections reset, or (freeze) silent. */
  readonly stopApiServer: (how?: 'crash' | 'freeze') => Promise<void>;
  readonly startApiServer: () => Promise<void>;
}

export interface DiskFault {
  readonly index?: number;
  readonly requests?: 'all' | 'read' | 'write';
}

/**
 * What each kind of broken disk refuses, in QEMU's words. Not flush: QEMU itself flushes when the filter is taken out again,
 * and would be refused; with every write refused there is nothing to flush.
 */
const IO_TYPES = {
  all: ['read', 'write', 'write-zeroes', 'discard'],
  read: ['read'],
  write: ['write', 'write-zeroes', 'discard'],
} as const;

/** The faults of a lab. */
export function createFaults(controlPlane: () => ControlPlane): Faults {
  const links = new Map<string, LinkState>();
  const linkOf = (vm: Vm): LinkState => links.get(vm.name) ?? HEALTHY_LINK;
  const setLink = async (vm: Vm, change: Partial<LinkState>): Promise<void> => {
    const state = { ...linkOf(vm), ...change };
    links.set(vm.name, state);
    if (vm.running()) await vm.exec(linkScript(state));
  };
  /** Loses what `sender` sends to `receiver`: at the receiver's door, or, when the host receives, at the sender's. */
  const lose = async (sender: Peer, receiver: Peer, lost: boolean): Promise<void> => {
    if (receiver !== 'control-plane') {
      await setLink(receiver, { deafTo: changed(linkOf(receiver).deafTo, addressOf(sender), lost) });
    } else if (sender !== 'control-plane') {
      await setLink(sender, { muteTo: changed(linkOf(sender).muteTo, HOST_ADDRESS, lost) });
    }
  };
  return {
    powerOff: async (vm) => {
      await vm.powerOff();
    },
    powerOn: async (vm) => {
      const state = links.get(vm.name);
      await vm.powerOn(state === undefined ? '' : linkScript(state));
    },
    cutLink: async (vm) => {
      await setTap(vm.tap, false);
    },
    restoreLink: async (vm) => {
      await setLink(vm, HEALTHY_LINK);
      await setTap(vm.tap, true);
    },
    cutOneWay: async (vm, direction) => {
      await setLink(vm, direction === 'toVm' ? { losesInbound: true } : { losesOutbound: true });
    },
    cutBetween: async (a, b, only) => {
      if (only === undefined || only.from === a) await lose(a, b, true);
      if (only === undefined || only.from === b) await lose(b, a, true);
    },
    restoreBetween: async (a, b) => {
      await lose(a, b, false);
      await lose(b, a, false);
    },
    impair: async (vm, impairment) => {
      await setLink(vm, { impairment });
    },
    killProgram: async (vm, pattern, signal = 'KILL') => {
      const name = signal.replace(/^SIG/, '');
      // the shell's own command line holds the pattern too
      const found = await vm.exec(
        `for p in $(pgrep -f -- ${shellQuote(pattern)}); do [ $p = $$ ] || [ $p = 1 ] || { kill -s ${shellQuote(name)} $p && echo $p; }; done`,
        { check: false },
      );
      const count = found.stdout.split('\n').filter((line) => line !== '').length;
      if (count === 0)
        throw new LabError(
          `${vm.name}: no process matches "${pattern}"${found.stderr === '' ? '' : `: ${found.stderr}`}`,
        );
      return count;
    },
    breakDisk: async (vm, options = {}) => {
      const index = checkedDisk(vm, options.index);
      const node = diskNode(index);
      const rules = IO_TYPES[options.requests ?? 'all'].map((iotype) => ({
        event: 'none',
        iotype,
        errno: 5,
        immediately: true,
      }));
      // QEMU's blkdebug filter (docs/devel/testing/blkdebug.rst) is put between the disk and its file
      await removeFilter(vm, index);
      await vm.qmp().execute('blockdev-add', {
        driver: 'blkdebug',
        'node-name': `broken${index}`,
        image: node.file,
        'inject-error': rules,
        discard: 'unmap',
      });
      await reopen(vm, index, `broken${index}`);
    },
    repairDisk: async (vm, index) => {
      await removeFilter(vm, checkedDisk(vm, index));
    },
    stopApiServer: async (how) => {
      await controlPlane().stopApiServer(how);
    },
    startApiServer: async () => {
      await controlPlane().startApiServer();
    },
  };
}

function addressOf(peer: Peer): string {
  return peer === 'control-plane' ? HOST_ADDRESS : peer.address;
}

function changed(list: readonly string[], item: string, present: boolean): readonly string[] {
  const without = list.filter((other) => other !== item);
  return present ? [...without, item] : without;
}

function checkedDisk(vm: Vm, index = 0): number {
  if (vm.dataDisks[index] === undefined) {
    throw new LabError(`${vm.name} has ${vm.dataDisks.length} data disks, numbered from 0: there is no disk ${index}`);
  }
  return index;
}

/** Lets the disk's format node read and write through another node. */
async function reopen(vm: Vm, index: number, file: string): Promise<void> {
  const node = diskNode(index).format;
  const options = [{ driver: 'raw', 'node-name': node, file, discard: 'unmap' }];
  await vm.qmp().execute('blockdev-reopen', { options });
}

async function removeFilter(vm: Vm, index: number): Promise<void> {
  const nodes = (await vm.qmp().execute('query-named-block-nodes', { flat: true })) as readonly {
    'node-name'?: string;
  }[];
  if (!nodes.some((node) => node['node-name'] === `broken${index}`)) return;
  await reopen(vm, index, diskNode(index).file);
  await vm.qmp().execute('blockdev-del', { 'node-name': `broken${index}` });
}
