/**
 * The people and programs around Holdfast: somebody wants the volume on a node (the attacher says so to the API), and that
 * node's kubelet runs a pod on it. The pod is a writer; when it dies, it is started again where the volume is.
 */
import { connectionName, devicePath } from '../../lib/api/names.ts';
import type { ReplicatedVolume } from '../../operator/volume/model.ts';
import type { Operation } from '../history/history.ts';
import type { ApiServer } from './api.ts';
import type { ClientKernel, Writer } from './kernel/types.ts';
import type { Laws } from './laws.ts';
import type { Network } from './network.ts';
import { API } from './network.ts';
import type { ProgramHandle, Scheduler } from './scheduler.ts';

export interface User {
  /** Wants the volume on another node, or nowhere. Orderly: the pod ends first. */
  move(to: string, orderly: boolean): void;
  /** The last acknowledgement. */
  readonly lastAckMs: () => number;
  readonly writers: () => number;
}

const LOOK_MS = 250;
/** How long a pod may take to end before it is killed. */
const GRACE_MS = 2000;

export interface UserOptions {
  readonly scheduler: Scheduler;
  readonly api: ApiServer;
  readonly network: Network;
  readonly laws: Laws;
  readonly clients: ReadonlyMap<string, ClientKernel>;
  readonly volume: string;
  readonly blocks: readonly number[];
  readonly history: Operation[];
  readonly thinkMs?: number | undefined;
}

export function startUser(options: UserOptions): User {
  const { scheduler, api, network, laws, clients, volume: name, blocks, history, thinkMs } = options;
  const program: ProgramHandle = { name: 'user', alive: true };
  let wanted = '';
  let orderly = true;
  let sinceMs = 0;
  let value = 0;
  let pods = 0;
  let lastAckMs = 0;
  let pod: { readonly client: string; readonly writer: Writer } | undefined;

  const attachTo = (volume: ReplicatedVolume, node: string): void => {
    if (volume.spec.attachTo !== node) api.volumes.patch(name, { spec: { attachTo: node } });
  };

  const startPod = (client: string): void => {
    const kernel = clients.get(client);
    if (kernel?.on !== true || !network.reachable(client, API) || !network.reachable(API, client)) return;
    const connection = api.connections.rows.get(connectionName(name, client));
    const attachment = api.volumes.rows.get(name)?.status?.attachment;
    const { phase, epoch } = connection?.status ?? {};
    if (connection === undefined || connection.metadata.deletionTimestamp !== undefined) return;
    if (phase !== 'Connected' || epoch !== connection.spec.epoch) return;
    if (attachment?.node !== client || attachment.epoch !== epoch) return;
    const writer = kernel.startWriter({
      name: `pod${(pods += 1)}@${client}`,
      path: devicePath(name),
      blocks,
      readOneIn: 4,
      ...(thinkMs === undefined ? {} : { thinkMs }),
      nextValue: () => (value += 1),
      history,
      onAcknowledge: (write) => {
        lastAckMs = scheduler.now();
        laws.onAcknowledge({ client, volume: name, epoch }, write);
      },
    });
    if (writer !== undefined) pod = { client, writer };
  };

  const look = (): void => {
    const volume = api.volumes.rows.get(name);
    if (pod?.writer.alive === false) pod = undefined;
    if (volume !== undefined) {
      const leaving = volume.spec.attachTo !== wanted;
      if (leaving && pod !== undefined && pod.client === volume.spec.attachTo) {
        if (orderly && clients.get(pod.client)?.on === true && scheduler.now() - sinceMs < GRACE_MS) pod.writer.stop();
        else if (orderly) pod.writer.kill();
      }
      const waits =
        orderly && pod?.writer.alive === true && pod.client !== wanted && scheduler.now() - sinceMs < 2 * GRACE_MS;
      if (leaving && !waits && volume.metadata.deletionTimestamp === undefined) {
        if (volume.spec.attachTo !== '') attachTo(volume, '');
        else if ((volume.status?.attachment?.node ?? '') === '') attachTo(volume, wanted);
      }
      if (!leaving && wanted !== '' && (pod === undefined || pod.client !== wanted)) startPod(wanted);
    }
    scheduler.after(program, LOOK_MS, 'the user looks', look);
  };
  scheduler.after(program, 1, 'the user looks', look);

  return {
    move: (to, how) => {
      wanted = to;
      orderly = how;
      sinceMs = scheduler.now();
    },
    lastAckMs: () => lastAckMs,
    writers: () => pods,
  };
}
