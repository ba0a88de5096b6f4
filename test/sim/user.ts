/**
 * The people and programs around Holdfast: somebody wants the volume on a node; the attacher asks the CSI controller for it,
 * and that node's kubelet asks the CSI node service and runs a pod on it. The pod is a writer; when it dies, it is started
 * again where the volume is.
 */
import { EPOCH_KEY } from '../../csi-driver/controller/publish.ts';
import { devicePath } from '../../lib/api/names.ts';
import { describeError } from '../../lib/describe-error.ts';
import type { Operation } from '../history/history.ts';
import type { ApiServer } from './api.ts';
import type { ControllerDriver, NodeDriver, PodMode } from './csi.ts';
import { STAGING } from './csi.ts';
import type { ClientKernel, Writer } from './kernel/types.ts';
import type { Laws } from './laws.ts';
import type { ProgramHandle, Scheduler } from './scheduler.ts';

export interface User {
  /** Wants the volume on another node, or nowhere. Orderly: the pod ends first. */
  move(to: string, orderly: boolean): void;
  /** The last acknowledgement. */
  lastAckMs(): number;
  /** Kubernetes has forgotten as well: the volume is attached where the backup says ('' for nowhere), and is asked for once more. */
  forget(attachedTo: string): void;
}

export interface UserOptions {
  readonly scheduler: Scheduler;
  readonly api: ApiServer;
  readonly laws: Laws;
  readonly clients: ReadonlyMap<string, ClientKernel>;
  /** The drivers that run at the moment. */
  readonly controller: () => ControllerDriver | undefined;
  readonly node: (client: string) => NodeDriver | undefined;
  readonly mode: PodMode;
  readonly volume: string;
  readonly blocks: readonly number[];
  /** Blocks are used one after the other instead of at random. */
  readonly inTurn: boolean;
  readonly history: Operation[];
  readonly thinkMs: number;
  readonly flushOneIn: number;
  /** Whether the client agent has killed a process. */
  readonly wasKilled: (client: string, pid: number) => boolean;
  /** Disks return errors: with one replica left, an error is for the user to see. */
  readonly mayFail: boolean;
  /** For the history. */
  readonly say: (what: string) => void;
}

const LOOK_MS = 400;
/** Pause after a call that failed. */
const RETRY_MS = 600;
/** How long a pod may take to end before it is killed, and how long the attacher waits for a node that says nothing. */
const GRACE_MS = 2000;
/** A call that gets no answer is made again after this time. */
const PATIENCE_MS = 6000;

/** The node that has the volume, by the attacher: what a VolumeAttachment says. */
interface Published {
  readonly client: string;
  /** Undefined until the controller service has said so. */
  context: Readonly<Record<string, string>> | undefined;
  /** Detaching has begun, and there is no way back: it is attached again only after that. */
  leaving: boolean;
}

export function startUser(options: UserOptions): User {
  const { scheduler, clients } = options;
  const program: ProgramHandle = { name: 'kubernetes', alive: true };
  const state = { wanted: '', orderly: true, sinceMs: 0, lastAckMs: 0 };
  let published: Published | undefined;
  /** Clients on which the volume is staged, or may be. */
  const staged = new Set<string>();

  /** Undefined when there was no answer in time, or an error. */
  const call = async <T>(work: Promise<T> | undefined): Promise<{ readonly value: T } | undefined> => {
    if (work === undefined) return undefined;
    const answer = work.then(
      (value) => ({ value }),
      (error: unknown) => {
        options.say(`a call failed: ${describeError(error)}`);
        return scheduler.timer(program, RETRY_MS, 'a call failed').then(() => undefined);
      },
    );
    return await Promise.race([answer, scheduler.timer(program, PATIENCE_MS, 'no answer').then(() => undefined)]);
  };

  const attach = async (): Promise<void> => {
    const { wanted, orderly, sinceMs } = state;
    if (published !== undefined && (published.leaving || published.client !== wanted)) {
      const leaving = published;
      const { client } = leaving;
      // Kubernetes waits for the node to unmount, and detaches by force when it has waited in vain.
      const waits = orderly ? 4 * GRACE_MS : 0;
      if (!published.leaving && staged.has(client) && scheduler.now() - sinceMs < waits) return;
      leaving.leaving = true;
      const gone = await call(options.controller()?.unpublish(client));
      if (gone !== undefined && published === leaving) published = undefined;
      return;
    }
    if (wanted === '' || published?.context !== undefined) return;
    const coming = (published ??= { client: wanted, context: undefined, leaving: false });
    const answer = await call(options.controller()?.publish(wanted));
    if (answer !== undefined) coming.context = answer.value;
  };

  const loop = async (work: () => Promise<void>, label: string): Promise<never> => {
    for (;;) {
      await work();
      await scheduler.timer(program, LOOK_MS, label);
    }
  };
  void loop(attach, 'the attacher looks');
  for (const kernel of clients.values()) {
    const kubelet = createKubelet(options, state, kernel, staged, call);
    void loop(() => kubelet(published), `the kubelet of ${kernel.machine} looks`);
  }

  return {
    move: (to, orderly) => Object.assign(state, { wanted: to, orderly, sinceMs: scheduler.now() }),
    lastAckMs: () => state.lastAckMs,
    forget: (client) => {
      published = client === '' ? undefined : { client, context: undefined, leaving: false };
    },
  };
}

type Call = <T>(work: Promise<T> | undefined) => Promise<{ readonly value: T } | undefined>;

/** One look of a kubelet: runs the pod where the volume is published and wanted, and ends it elsewhere. */
function createKubelet(
  options: UserOptions,
  state: { readonly wanted: string; readonly orderly: boolean; readonly sinceMs: number; lastAckMs: number },
  kernel: ClientKernel,
  staged: Set<string>,
  call: Call,
): (published: Published | undefined) => Promise<void> {
  const { scheduler, laws, volume, mode, blocks, history, thinkMs, flushOneIn } = options;
  const client = kernel.machine;
  let writer: Writer | undefined;
  let pods = 0;
  let isKilled = false;

  /** An error without a death before it: the user has seen it, and may think that its write is not there. */
  const checkErrors = (): void => {
    if (writer === undefined || writer.errors === 0 || options.mayFail) return;
    if (isKilled || options.wasKilled(client, writer.pid)) return;
    laws.broken('a fenced client kills its users first', `the pod on ${client} got an I/O error while it lived`);
  };

  const startPod = (context: Readonly<Record<string, string>>): void => {
    // The epoch under which it begins: what is acknowledged later must still be under this one.
    const epoch = options.api.volumes.rows.get(volume)?.status?.attachment?.epoch ?? Number(context[EPOCH_KEY]);
    isKilled = false;
    writer = kernel.startWriter({
      name: `pod${(pods += 1)}@${client}`,
      path: mode === 'block' ? devicePath(volume) : STAGING,
      blocks,
      inTurn: options.inTurn,
      readOneIn: 4,
      thinkMs,
      flushOneIn,
      nextValue: () => laws.nextValue(),
      history,
      onAcknowledge: (write) => {
        state.lastAckMs = scheduler.now();
        laws.onAcknowledge({ client, volume, epoch }, write);
      },
      onFlush: (name) => laws.onFlush({ client, volume, epoch }, name),
    });
  };

  return async (published) => {
    if (!kernel.on) {
      writer = undefined;
      staged.delete(client);
      return;
    }
    checkErrors();
    if (writer?.alive === false) writer = undefined;
    const mine = published?.client === client && !published.leaving;
    if (mine && state.wanted === client && published.context !== undefined) {
      if (writer !== undefined) return;
      staged.add(client);
      const { context } = published;
      if ((await call(options.node(client)?.stage(context))) !== undefined && kernel.on) startPod(context);
      return;
    }
    if (writer !== undefined) {
      // Without order nobody tells the pod: it goes on until its volume is taken from it.
      if (!state.orderly && scheduler.now() - state.sinceMs < 4 * GRACE_MS) return;
      if (scheduler.now() - state.sinceMs < GRACE_MS) writer.stop();
      else {
        isKilled = true;
        writer.kill();
      }
      return;
    }
    if (staged.has(client) && (await call(options.node(client)?.unstage())) !== undefined) staged.delete(client);
  };
}
