import { writeFile } from 'node:fs/promises';
import { initialOf, onClock, unloggedWrites, type Run } from '../history/log.ts';
import { readsOf } from '../history/check.ts';
import type { Operation, Read } from '../history/history.ts';
import { LabError } from '../lab/errors.ts';
import { shellQuote } from '../lab/vm/exec.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { CSI, STAGING, TARGET, type VolumeKind } from '../system/csi.ts';
import type { System } from '../system/system.ts';
import { pause, runsOf } from '../system/workload.ts';
import type { VolumeName } from './schedule.ts';

/** A volume of the chaos run, and what the writer does to it. */
export interface ChaosVolume {
  readonly name: VolumeName;
  readonly kind: VolumeKind;
  readonly sizeBytes: number;
  readonly replicas: number;
  /** The published device, or the file on it. */
  readonly target: string;
  readonly blocks: number;
}

const MIB = 1024 * 1024;

export const volumes: Readonly<Record<VolumeName, ChaosVolume>> = {
  raw: { name: 'raw', kind: 'block', sizeBytes: 32 * MIB, replicas: 3, target: TARGET, blocks: 8192 },
  file: { name: 'file', kind: 'ext4', sizeBytes: 48 * MIB, replicas: 2, target: `${TARGET}/ledger`, blocks: 6144 },
};

const WRITER = '/opt/holdfast/writer.mjs';
const CSI_CALL = 'node /opt/holdfast/csi-call.mjs --endpoint unix:///run/holdfast/csi.sock';
const WRITER_LOG = '/var/log/writer.log';
const LOG_PORT = '/dev/virtio-ports/holdfast.log';
/** So far apart are the first values of two starts of the writer. */
const VALUES_PER_START = 10_000_000;
/** As long as Kubernetes would try, within reason. */
const PATIENCE_MS = 150_000;

/** What Kubernetes and an application do: one volume, on one client at a time, written and read all the while. */
export interface Workload {
  readonly volume: () => ChaosVolume;
  /** The client that has the volume, or is about to get it. */
  readonly client: () => Vm;
  /** The volume is attached and the writer runs. */
  readonly begin: (volume: ChaosVolume) => Promise<void>;
  /** To another client: in order, or by force because its client is dead or cut off. Returns when the writer runs there. */
  readonly move: (how: 'in order' | 'by force') => Promise<void>;
  /** Starts what isn't running: after a reboot, or when the writer was killed. */
  readonly ensureWriting: () => Promise<void>;
  /** Waits for a move that is under way. */
  readonly settled: () => Promise<void>;
  /** Waits until a write that began after this moment is acknowledged. */
  readonly acknowledges: (timeoutMs: number) => Promise<void>;
  /** Asks the writer to end, and waits for it. */
  readonly stopWriting: () => Promise<void>;
  /** By block, what the volume holds, read on its client. */
  readonly dump: () => Promise<number[]>;
  /** Takes the volume off every client, in order. */
  readonly detach: () => Promise<void>;
  /** What was done since `begin`, on the host's clock; `final` is what the volume held in the end. */
  readonly history: (final: readonly number[]) => Promise<History>;
  /** What the next history of a volume begins with. */
  readonly remember: (volume: ChaosVolume, values: readonly number[]) => void;
}

export interface History {
  readonly runs: readonly Run[];
  readonly operations: readonly Operation[];
  readonly initial: ReadonlyMap<number, number>;
}

interface Start {
  readonly first: number;
  readonly clockOffsetMs: number;
}

export function createWorkload(system: System, note: (text: string) => void): Workload {
  const { lab } = system;
  const [home] = lab.clients;
  if (!home) throw new LabError('chaos needs client VMs');
  const held = new Map<VolumeName, ReadonlyMap<number, number>>();
  let volume = volumes.raw;
  let client = home;
  let starts = 0;
  let started: Start[] = [];
  /** By client, when it was known that it can't write any more. */
  let gone: { readonly client: string; readonly atMs: number }[] = [];
  /** Clients that have, or had, something of the volume. */
  let used = new Set<Vm>();
  let last: Promise<void> = Promise.resolve();

  const stage = async (vm: Vm): Promise<void> => {
    const { name, kind } = volume;
    await patiently(`${name} is attached to ${vm.name}`, note, async () => {
      const published = await system.csi(
        'controller',
        'ControllerPublishVolume',
        CSI.publish(name, vm.name, kind),
        90_000,
      );
      const context = published['publishContext'] ?? {};
      await callOnNode(vm, [
        ['NodeStageVolume', CSI.stage(name, context, kind)],
        ['NodePublishVolume', CSI.publishOnNode(name, context, kind)],
      ]);
    });
  };
  const unstage = async (vm: Vm): Promise<void> => {
    const volumeId = volume.name;
    await callOnNode(vm, [
      ['NodeUnpublishVolume', { volumeId, targetPath: TARGET }],
      ['NodeUnstageVolume', { volumeId, stagingTargetPath: `${STAGING}/${volumeId}` }],
    ]);
  };
  const unpublish = async (vm: Vm): Promise<void> => {
    await patiently(`${volume.name} is detached from ${vm.name}`, note, async () => {
      const request = { volumeId: volume.name, nodeId: vm.name };
      await system.csi('controller', 'ControllerUnpublishVolume', request, 90_000);
    });
  };
  const startWriter = async (): Promise<void> => {
    const vm = client;
    const first = (starts += 1) * VALUES_PER_START;
    started.push({ first, clockOffsetMs: (await vm.clock()).offsetMs });
    const options = `--first ${first} --depth 4 --reads 25 --hot 256 --pause 5 --seed ${starts}`;
    await vm.spawn(`node ${WRITER} write ${volume.target} ${volume.blocks} ${LOG_PORT} ${options}`, {
      logFile: WRITER_LOG,
    });
    const deadline = performance.now() + 30_000;
    while (!(await runsOf(vm)).some((run) => run.first === first)) {
      if (performance.now() > deadline) {
        const log = await vm.exec(`tail -5 ${WRITER_LOG}`, { check: false });
        throw new LabError(`${vm.name}: the writer did not start: ${log.stdout.trim()}`);
      }
      await pause(100);
    }
  };
  const isWriting = async (): Promise<boolean> =>
    (await client.exec('pgrep -f "[w]riter.mjs write"', { check: false })).code === 0;
  const killWriter = async (vm: Vm): Promise<void> => {
    await vm.exec('pkill -TERM -f "[w]riter.mjs write"', { check: false });
    const ended = `for i in $(seq 300); do pgrep -f "[w]riter.mjs write" >/dev/null || exit 0; sleep 0.1; done; exit 1`;
    const { code } = await vm.exec(ended, { check: false });
    if (code !== 0) throw new LabError(`${vm.name}: the writer did not end within 30 s of being asked`);
  };
  const enqueue = async (work: () => Promise<void>): Promise<void> => {
    const mine = last.then(work);
    last = mine.catch(() => undefined);
    await mine;
  };
  const moveNow = async (how: 'in order' | 'by force'): Promise<void> => {
    const old = client;
    const next = lab.clients.find((vm) => vm !== old && vm.running());
    if (!next) throw new LabError('there is no other client that runs');
    if (how === 'in order') {
      await killWriter(old);
      await patiently(`${volume.name} is unmounted on ${old.name}`, note, () => unstage(old));
    }
    client = next;
    used.add(next);
    await unpublish(old);
    await stage(next);
    gone.push({ client: old.name, atMs: Date.now() });
    await startWriter();
  };

  return {
    volume: () => volume,
    client: () => client,
    begin: async (wanted) => {
      volume = wanted;
      started = [];
      gone = [];
      used = new Set([client]);
      await Promise.all(lab.clients.map((vm) => writeFile(vm.ackLogFile, '')));
      await stage(client);
      if (volume.kind !== 'block' && !held.has(volume.name)) {
        const MiB = (volume.blocks * 4096) / MIB;
        await client.exec(`dd if=/dev/zero of=${volume.target} bs=1M count=${MiB} conv=fsync status=none && sync`);
      }
      await startWriter();
    },
    move: (how) => enqueue(() => moveNow(how)),
    ensureWriting: () =>
      enqueue(async () => {
        if (await isWriting()) return;
        await stage(client);
        await startWriter();
      }),
    settled: () => last,
    acknowledges: async (timeoutMs) => {
      const from = Date.now();
      const deadline = performance.now() + timeoutMs;
      const { first, clockOffsetMs } = started.at(-1) ?? { first: 0, clockOffsetMs: 0 };
      const isNew = ({ kind, invokedMs, completedMs }: Operation): boolean =>
        kind === 'write' && invokedMs - clockOffsetMs > from && completedMs !== undefined;
      for (;;) {
        const run = (await runsOf(client)).find((found) => found.first === first);
        if (run?.operations.some(isNew)) return;
        if (performance.now() > deadline)
          throw new LabError(`${client.name}: no write was acknowledged within ${timeoutMs / 1000} s`);
        await pause(200);
      }
    },
    stopWriting: () => killWriter(client),
    dump: async () => {
      const command = `node ${WRITER} dump ${volume.target} --blocks ${volume.blocks}`;
      return JSON.parse((await client.exec(command, { timeoutMs: 60_000 })).stdout) as number[];
    },
    detach: async () => {
      // A kubelet that comes back also cleans up what its node no longer has.
      await Promise.all([...used].map((vm) => patiently(`${vm.name} has nothing mounted`, note, () => unstage(vm))));
      await unpublish(client);
    },
    history: async (final) => {
      const logs = await Promise.all(lab.clients.map((vm) => runsOf(vm)));
      const runs = logs.flat().map((run) => {
        const offsetMs = started.find(({ first }) => first === run.first)?.clockOffsetMs ?? 0;
        const startMs = run.startMs - offsetMs;
        return onClock(run, offsetMs, gone.find(({ client, atMs }) => client === run.client && atMs > startMs)?.atMs);
      });
      const logged = runs.flatMap(({ operations }) => operations);
      const now = Date.now();
      const dump = readsOf(final, 'at the end', now, now + 1);
      const reads = [...logged.filter((operation): operation is Read => operation.kind === 'read'), ...dump];
      return {
        runs,
        operations: [...logged, ...unloggedWrites(runs, reads), ...dump],
        initial: held.get(volume.name) ?? new Map(),
      };
    },
    remember: ({ name }, values) => {
      held.set(name, initialOf(values));
    },
  };
}

/** CSI calls on a node, one after the other. One process for all: Node's start is what takes long in a guest. */
async function callOnNode(vm: Vm, calls: readonly (readonly [method: string, request: object])[]): Promise<void> {
  const words = calls.flatMap(([method, request]) => [method, shellQuote(JSON.stringify(request))]);
  const { code, stderr } = await vm.exec(`${CSI_CALL} ${words.join(' ')}`, { timeoutMs: 90_000, check: false });
  if (code !== 0) throw new LabError(`${calls.map(([method]) => method).join(', ')} on ${vm.name}: ${stderr.trim()}`);
}

/** Tries again for a while, as Kubernetes does, and tells of each failure. @throws the last error */
async function patiently(what: string, note: (text: string) => void, work: () => Promise<void>): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      await work();
      return;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (performance.now() > deadline) throw new LabError(`${what}: not within ${PATIENCE_MS / 1000} s: ${message}`);
      note(`${what}: not yet: ${message.replaceAll('\n', ' ').slice(0, 160)}`);
      await pause(1000);
    }
  }
}
