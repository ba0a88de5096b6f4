import { writeFile } from 'node:fs/promises';
import { initialOf, onClock, unloggedWrites, type Run } from '../history/log.ts';
import { readsOf } from '../history/check.ts';
import type { Operation, Read } from '../history/history.ts';
import { LabError } from '../lab/errors.ts';
import type { Lab } from '../lab/lab.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { CSI, STAGING, type VolumeKind } from '../system/csi.ts';
import type { System } from '../system/system.ts';
import { pause, runsOf } from '../system/workload.ts';
import type { VolumeName } from './schedule.ts';

/** A volume of the chaos run, and what the writer does to it. */
export interface ChaosVolume {
  readonly name: VolumeName;
  readonly kind: VolumeKind;
  readonly sizeBytes: number;
  readonly replicas: number;
  /** Where it is published. */
  readonly path: string;
  /** The published device, or the file on it. */
  readonly target: string;
  readonly blocks: number;
}

const MIB = 1024 * 1024;

/** Small: a resync, a heal and a look at every byte take a second or two. */
export const volumes: Readonly<Record<VolumeName, ChaosVolume>> = {
  raw: {
    name: 'raw',
    kind: 'block',
    sizeBytes: 16 * MIB,
    replicas: 3,
    path: '/mnt/raw',
    target: '/mnt/raw',
    blocks: 4096,
  },
  file: {
    name: 'file',
    kind: 'ext4',
    sizeBytes: 24 * MIB,
    replicas: 2,
    path: '/mnt/file',
    target: '/mnt/file/ledger',
    blocks: 3072,
  },
};

const WRITER = '/opt/holdfast/writer.mjs';
const LOG_PORT = '/dev/virtio-ports/holdfast.log';
/** So far apart are the first values of two starts of the writer. */
const VALUES_PER_START = 10_000_000;
/** As long as Kubernetes would try, within reason. */
const PATIENCE_MS = 150_000;
/** A writer that was asked to rest, or to end, does so when its I/O ends; reading it all takes its time too. */
const WRITER_OBEYS_WITHIN_S = 60;

/** What Kubernetes and an application do: one volume, on one client at a time, written and read all the while. */
export interface Workload {
  readonly volume: ChaosVolume;
  /** The client that has the volume, or is about to get it. */
  readonly client: () => Vm;
  /** The volume is attached and the writer writes. The logs must be new (`newLogs`): a history begins here. */
  readonly begin: () => Promise<void>;
  /**
   * To another client: in order, or by force because its client is dead or cut off. Returns when the writer runs there.
   * @returns when it was mounted there, on the clock of performance.now()
   */
  readonly move: (how: 'in order' | 'by force') => Promise<number>;
  /** Starts what isn't running: after a reboot, or when the writer was killed. */
  readonly ensureWriting: () => Promise<void>;
  /** The command line of the writer, as a pattern. */
  readonly writerPattern: string;
  /** Waits for a move that is under way. */
  readonly settled: () => Promise<void>;
  /** Waits until so many writes (default one) that began after this moment are acknowledged. */
  readonly acknowledges: (timeoutMs: number, count?: number) => Promise<void>;
  /** Nothing is mounted, as a kubelet that is back sees to, on clients that no longer have the volume. */
  readonly tidy: () => Promise<void>;
  /** Asks the writer to rest. @returns by block, what the volume holds, read on its client */
  readonly rest: () => Promise<number[]>;
  /** Takes the volume off every client, in order. */
  readonly detach: () => Promise<void>;
  /** What was done since `begin`, on the host's clock; `final` is what the volume held in the end. */
  readonly history: (final: readonly number[]) => Promise<History>;
  /** What the next history of the volume begins with. */
  readonly remember: (values: readonly number[]) => void;
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

/** Between two rounds, when no writer writes. */
export async function newLogs(lab: Lab): Promise<void> {
  await Promise.all(lab.clients.map((vm) => writeFile(vm.ackLogFile, '')));
}

/**
 * The use of one volume. It begins on `home` and moves between `clients` (default: all).
 *
 * @param pauseMs what each of the four operations in flight waits before the next
 */
export function createWorkload(
  system: System,
  volume: ChaosVolume,
  home: Vm,
  note: (text: string) => void = () => undefined,
  clients: readonly Vm[] = system.lab.clients,
  pauseMs = 50,
): Workload {
  const { name, kind, path, target, blocks } = volume;
  const writerPattern = `[w]riter.mjs write ${target}`;
  const writerLog = `/var/log/writer-${name}.log`;
  const heldFile = `/run/writer-${name}.held`;
  let initial: ReadonlyMap<number, number> | undefined;
  let client = home;
  let attached = false;
  let starts = 0;
  let started: Start[] = [];
  /** By client, when it was known that it can't write any more. */
  let gone: { readonly client: string; readonly atMs: number }[] = [];
  /** Clients that have, or had, something of the volume. */
  let used = new Set<Vm>();
  let last: Promise<void> = Promise.resolve();

  const stage = async (vm: Vm): Promise<void> => {
    await patiently(`${name} is attached to ${vm.name}`, note, async () => {
      const request = CSI.publish(name, vm.name, kind);
      const published = await system.csi('controller', 'ControllerPublishVolume', request, 90_000);
      note(`${name} is published to ${vm.name}`);
      const context = published['publishContext'] ?? {};
      await system.csi(vm, 'NodeStageVolume', CSI.stage(name, context, kind), 90_000);
      note(`${name} is staged on ${vm.name}`);
      await system.csi(vm, 'NodePublishVolume', CSI.publishOnNode(name, context, kind, path), 90_000);
    });
  };
  const unstage = async (vm: Vm): Promise<void> => {
    await patiently(`${name} is unmounted on ${vm.name}`, note, async () => {
      await system.csi(vm, 'NodeUnpublishVolume', { volumeId: name, targetPath: path }, 90_000);
      await system.csi(vm, 'NodeUnstageVolume', { volumeId: name, stagingTargetPath: `${STAGING}/${name}` }, 90_000);
    });
  };
  const unpublish = async (vm: Vm): Promise<void> => {
    await patiently(`${name} is detached from ${vm.name}`, note, async () => {
      const request = { volumeId: name, nodeId: vm.name };
      await system.csi('controller', 'ControllerUnpublishVolume', request, 90_000);
    });
  };
  const isWriting = async (): Promise<boolean> =>
    (await client.exec(`pgrep -f "${writerPattern}"`, { check: false })).code === 0;
  const writerSays = async (vm: Vm): Promise<string> =>
    (await vm.exec(`tail -5 ${writerLog}`, { check: false })).stdout.trim();
  /** Waits until the log has a run of the writer whose values begin at `from` or later. */
  const runBegins = async (from: number): Promise<void> => {
    const vm = client;
    const { offsetMs: clockOffsetMs } = await vm.clock();
    const deadline = performance.now() + 30_000;
    for (;;) {
      const run = (await runsOf(vm, name)).findLast(({ first }) => first >= from);
      if (run) return void started.push({ first: run.first, clockOffsetMs });
      if (performance.now() > deadline)
        throw new LabError(`${vm.name}: the writer of ${name} did not begin: ${await writerSays(vm)}`);
      await pause(100);
    }
  };
  const startWriter = async (): Promise<void> => {
    const first = (starts += 1) * VALUES_PER_START;
    const options = [
      `--first ${first} --depth 4 --reads 25 --hot 256 --pause ${pauseMs} --seed ${starts}`,
      `--tag ${name} --held ${heldFile}`,
    ];
    await client.spawn(`node ${WRITER} write ${target} ${blocks} ${LOG_PORT} ${options.join(' ')}`, {
      logFile: writerLog,
    });
    await runBegins(first);
  };
  const killWriter = async (vm: Vm): Promise<void> => {
    await vm.exec(`pkill -TERM -f "${writerPattern}"`, { check: false });
    const tries = WRITER_OBEYS_WITHIN_S * 10;
    const ended = `for i in $(seq ${tries}); do pgrep -f "${writerPattern}" >/dev/null || exit 0; sleep 0.1; done; exit 1`;
    const { code } = await vm.exec(ended, { check: false, timeoutMs: 2000 * WRITER_OBEYS_WITHIN_S });
    if (code !== 0)
      throw new LabError(
        `${vm.name}: the writer of ${name} did not end within ${WRITER_OBEYS_WITHIN_S} s of being asked`,
      );
  };
  const enqueue = async <T>(work: () => Promise<T>): Promise<T> => {
    const mine = last.then(work);
    last = mine.then(
      () => undefined,
      () => undefined,
    );
    return await mine;
  };
  const moveNow = async (how: 'in order' | 'by force'): Promise<number> => {
    const old = client;
    const next = clients.find((vm) => vm !== old && vm.running());
    if (!next) throw new LabError('there is no other client that runs');
    if (how === 'in order') {
      await killWriter(old);
      await unstage(old);
    }
    client = next;
    used.add(next);
    note(`${name} is wanted on ${next.name}`);
    await unpublish(old);
    note(`${name} is taken off ${old.name}`);
    await stage(next);
    note(`${name} is mounted on ${next.name}`);
    const mountedMs = performance.now();
    gone.push({ client: old.name, atMs: Date.now() });
    await startWriter();
    return mountedMs;
  };

  return {
    volume,
    client: () => client,
    writerPattern,
    begin: async () => {
      started = [];
      gone = [];
      if (attached && (await isWriting())) {
        await client.exec(`pkill -USR2 -f "${writerPattern}"`);
        await runBegins(0);
        return;
      }
      used.add(client);
      await stage(client);
      attached = true;
      if (kind !== 'block' && initial === undefined) {
        const MiB = (blocks * 4096) / MIB;
        await client.exec(`dd if=/dev/zero of=${target} bs=1M count=${MiB} conv=fsync status=none && sync`);
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
    acknowledges: async (timeoutMs, count = 1) => {
      const from = Date.now();
      const deadline = performance.now() + timeoutMs;
      for (;;) {
        const { first, clockOffsetMs } = started.at(-1) ?? { first: 0, clockOffsetMs: 0 };
        const isNew = ({ kind, invokedMs, completedMs }: Operation): boolean =>
          kind === 'write' && invokedMs - clockOffsetMs > from && completedMs !== undefined;
        const run = (await runsOf(client, name)).find((found) => found.first === first);
        if ((run?.operations.filter(isNew).length ?? 0) >= count) return;
        if (performance.now() > deadline)
          throw new LabError(`${name} on ${client.name}: no write was acknowledged within ${timeoutMs / 1000} s`);
        await pause(100);
      }
    },
    tidy: async () => {
      await Promise.all([...used].filter((vm) => vm !== client).map((vm) => unstage(vm)));
      used = new Set([client]);
    },
    rest: async () => {
      const vm = client;
      const tries = WRITER_OBEYS_WITHIN_S * 20;
      const script = `pkill -USR1 -f "${writerPattern}" || exit 2
        for i in $(seq ${tries}); do [ -e ${heldFile} ] && exec cat ${heldFile}; sleep 0.05; done; exit 1`;
      const { code, stdout } = await vm.exec(script, { check: false, timeoutMs: 2000 * WRITER_OBEYS_WITHIN_S });
      if (code === 0) return JSON.parse(stdout) as number[];
      const what = code === 2 ? 'is gone' : `did not rest within ${WRITER_OBEYS_WITHIN_S} s of being asked`;
      throw new LabError(`${vm.name}: the writer of ${name} ${what}: ${await writerSays(vm)}`);
    },
    detach: async () => {
      await killWriter(client);
      await Promise.all([...used].map((vm) => unstage(vm)));
      await unpublish(client);
      used = new Set();
      attached = false;
    },
    history: async (final) => {
      const logs = await Promise.all(clients.map((vm) => runsOf(vm, name)));
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
        initial: initial ?? new Map(),
      };
    },
    remember: (values) => {
      initial = initialOf(values);
    },
  };
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
