import { readFile } from 'node:fs/promises';
import { acksOfRuns, parseLog, type Ack, type Run } from '../history/log.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { CSI, STAGING, TARGET } from './csi.ts';
import type { System } from './system.ts';

/** The file that the writer keeps overwriting. */
export interface WriterFile {
  readonly file: string;
  readonly blocks: number;
}

const WRITER = '/opt/holdfast/writer.mjs';
const WRITER_LOG = '/var/log/writer.log';
const ACK_TIMEOUT_MS = 60_000;

/** ControllerPublish, NodeStage, NodePublish of an ext4 volume, as kubelet would. Gives the publish context. */
export async function stageOn(system: System, volume: string, client: Vm): Promise<Record<string, unknown>> {
  const publish = CSI.publish(volume, client.name, 'ext4');
  const published = await system.csi('controller', 'ControllerPublishVolume', publish, 90_000);
  const context = (published['publishContext'] ?? {}) as Record<string, unknown>;
  await system.csi(client, 'NodeStageVolume', CSI.stage(volume, context, 'ext4'));
  await system.csi(client, 'NodePublishVolume', CSI.publishOnNode(volume, context, 'ext4'));
  return context;
}

/** NodeUnpublish and NodeUnstage. */
export async function unstageFrom(system: System, volume: string, client: Vm): Promise<void> {
  await system.csi(client, 'NodeUnpublishVolume', { volumeId: volume, targetPath: TARGET });
  const stagingTargetPath = `${STAGING}/${volume}`;
  await system.csi(client, 'NodeUnstageVolume', { volumeId: volume, stagingTargetPath });
}

/** Starts the verified writer; what it has acknowledged is in `acksOf`. */
export async function startWriter(client: Vm, { file, blocks }: WriterFile): Promise<void> {
  await client.spawn(`node ${WRITER} write ${file} ${blocks} /dev/virtio-ports/holdfast.log`, { logFile: WRITER_LOG });
}

/** What the writers on a client (with a tag: one of them) have done; known also when it is dead. */
export async function runsOf(client: Vm, tag?: string): Promise<Run[]> {
  return parseLog(await readFile(client.ackLogFile, 'utf8').catch(() => ''), tag);
}

/** The writes that were acknowledged on a client. */
export async function acksOf(client: Vm): Promise<Ack[]> {
  return acksOfRuns(await runsOf(client));
}

/** Waits for the acknowledgement that `wanted` picks. */
export async function waitForAck(
  client: Vm,
  wanted: (acks: readonly Ack[]) => Ack | undefined,
  waiting: (text: string) => void = () => undefined,
): Promise<Ack> {
  const deadline = performance.now() + ACK_TIMEOUT_MS;
  for (;;) {
    const acks = await acksOf(client);
    const found = wanted(acks);
    if (found) return found;
    if (performance.now() > deadline) {
      const log = (await client.exec(`cat ${WRITER_LOG}`, { check: false })).stdout;
      throw new Error(
        `${client.name}: no such write in ${ACK_TIMEOUT_MS / 1000} s; ${acks.length} acknowledged. ${log}`,
      );
    }
    waiting(`the writer: ${acks.length} writes acknowledged`);
    await pause(100);
  }
}

/** By block of the file, the number that it holds (-1: torn). */
export async function dump(client: Vm, file: string): Promise<number[]> {
  const { stdout } = await client.exec(`node ${WRITER} dump ${file}`, { timeoutMs: 60_000 });
  return JSON.parse(stdout) as number[];
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
