import { ExecError } from '../../lib/host/exec.ts';
import type { DeviceContent, FsType } from '../../lib/host/mkfs.ts';
import type { MountEntry } from '../../lib/host/mount.ts';
import { CsiError } from '../grpc/errors.ts';
import type { NodeDeps } from '../node/deps.ts';

/** The program was killed: nothing after this point was done. */
export class Killed extends Error {}

/** Where the program is killed: at the n-th effect (from 1), before it, after it, or (mkfs) in its middle. */
export interface Kill {
  readonly effect: number;
  readonly when: 'before' | 'middle' | 'after';
}

/** A pretended client node with one attached volume `vol` at /dev/md127 (9:127), which survives when the program is killed. */
export interface FakeNode {
  content: DeviceContent | 'half-made';
  sizeBytes: number;
  /** Whether a user has written something: from then on a format is a data loss. */
  hasData: boolean;
  unfinished: boolean;
  mounts: MountEntry[];
  readonly folders: Set<string>;
  readonly files: Set<string>;
  readonly effects: string[];
  attached: boolean;
  kill: Kill | undefined;
  /** Tools that fail, by the name of the effect. */
  readonly broken: Map<string, string>;
  readonly deps: NodeDeps;
}

const DEVICE = { path: '/dev/md127', number: '9:127', epoch: 3 };

export function fakeNode(): FakeNode {
  let count = 0;
  const node: FakeNode = {
    content: { kind: 'blank' },
    sizeBytes: 2 ** 30,
    hasData: false,
    unfinished: false,
    mounts: [],
    folders: new Set(),
    files: new Set(),
    effects: [],
    attached: true,
    get kill() {
      return kill;
    },
    set kill(wanted) {
      kill = wanted;
      count = 0;
    },
    broken: new Map(),
    get deps() {
      return deps;
    },
  };
  let kill: Kill | undefined;

  const effect = (name: string, act: () => void, middle: () => void = () => undefined): void => {
    count += 1;
    const here = kill?.effect === count ? kill.when : undefined;
    if (here === 'before') throw new Killed(name);
    const why = node.broken.get(name);
    if (why !== undefined) throw new ExecError(`${name}: ${why}`, name);
    if (here === 'middle') {
      middle();
      throw new Killed(name);
    }
    act();
    node.effects.push(name);
    if (here === 'after') throw new Killed(name);
  };

  const entry = (changes: Partial<MountEntry> & Pick<MountEntry, 'target'>): MountEntry => ({
    id: node.mounts.length + 1,
    device: DEVICE.number,
    root: '/',
    options: ['rw', 'relatime'],
    fsType: 'ext4',
    source: DEVICE.path,
    superOptions: ['rw'],
    ...changes,
  });

  const device = (): typeof DEVICE | undefined => (node.attached ? DEVICE : undefined);

  const deps: NodeDeps = {
    node: 'n1',
    maxVolumes: 10,
    topology: async () => ({ zone: 'a' }),
    connections: () => [],
    devices: {
      async ready() {
        const found = device();
        if (found === undefined) throw new CsiError('FAILED_PRECONDITION', 'HF413', 'volume vol is not attached');
        return found;
      },
      connection: async () => undefined,
      now: async () => device(),
    },
    mounts: {
      list: async () => [...node.mounts],
      async canonical(path) {
        const folder = path.slice(0, path.lastIndexOf('/'));
        if (folder === '/missing') throw Object.assign(new Error('ENOENT'), { code: 'ENOENT' });
        return path;
      },
      async mount(_device, target, fsType, options) {
        effect('mount', () => {
          const { content } = node;
          if (
            content === 'half-made' ||
            content.kind !== 'filesystem' ||
            content.type !== fsType ||
            content.unfinished
          ) {
            throw new ExecError('mount: wrong fs type', 'mount');
          }
          node.mounts.push(entry({ target, fsType, options: options.includes('ro') ? ['ro'] : ['rw', ...options] }));
        });
      },
      async bind(source, target) {
        effect('bind', () => {
          const from = node.mounts.findLast((mount) => mount.target === source);
          const node127 = { device: '0:6', root: '/md127', fsType: 'devtmpfs', source: 'devtmpfs' };
          node.mounts.push(entry({ ...(source.startsWith('/dev/') ? node127 : from), target }));
        });
      },
      async makeReadOnly(target) {
        effect('remount', () => {
          node.mounts = node.mounts.map((mount) => (mount.target === target ? { ...mount, options: ['ro'] } : mount));
        });
      },
      async unmount(target) {
        effect('unmount', () => {
          const at = node.mounts.findLastIndex((mount) => mount.target === target);
          if (at < 0) throw new ExecError('umount: not mounted', 'umount');
          node.mounts.splice(at, 1);
        });
      },
    },
    filesystems: {
      sizeBytes: async () => node.sizeBytes,
      async probe() {
        return node.content === 'half-made' ? { kind: 'unknown', what: 'data of an unknown kind' } : node.content;
      },
      async make(_device, fsType: FsType) {
        effect(
          'make',
          () => (node.content = { kind: 'filesystem', type: fsType, unfinished: true }),
          () => (node.content = 'half-made'),
        );
        if (node.hasData) throw new Error('DATA LOSS: formatted a device with data');
      },
      async finish(_device, fsType: FsType) {
        effect('finish', () => (node.content = { kind: 'filesystem', type: fsType, unfinished: false }));
      },
      async grow() {
        effect('grow', () => undefined);
      },
      async check() {
        effect('check', () => undefined);
      },
    },
    formatRecord: {
      isUnfinished: async () => node.unfinished,
      begin: async () => effect('record begin', () => (node.unfinished = true)),
      finish: async () => effect('record finish', () => (node.unfinished = false)),
    },
    paths: {
      ensureDirectory: async (path) => effect('mkdir', () => node.folders.add(path)),
      ensureFile: async (path) => effect('touch', () => node.files.add(path)),
      remove: async (path) =>
        effect('remove', () => {
          if (node.mounts.some(({ target }) => target === path)) throw new Error('EBUSY');
          node.folders.delete(path);
          node.files.delete(path);
        }),
      blockDevice: async () => device(),
    },
    exec: async (command) => ({
      code: 0,
      stdout: command === 'blockdev' ? '1073741824\n' : '4096 1000 400 300 500 450\n',
      stderr: '',
    }),
  };
  return node;
}
