import {
  NodeGetVolumeHealthResponse,
  NodeGetVolumeStatsResponse,
  VolumeUsage_Unit as Unit,
  type NodeGetVolumeHealthRequest,
  type NodeGetVolumeStatsRequest,
} from '../generated/csi.ts';
import { CsiError } from '../grpc/errors.ts';
import { healthOfConnection } from '../health.ts';
import { isVolumeName, required } from '../validation.ts';
import type { NodeDeps } from './deps.ts';
import { findMount } from './find-mount.ts';

const TIMEOUT_MS = 10_000;

/**
 * How full the volume is: bytes and inodes of a filesystem, the size of a block volume. A child process asks: should the
 * volume stall, it is that process which waits, not this program.
 */
export async function nodeVolumeStats(
  deps: NodeDeps,
  request: NodeGetVolumeStatsRequest,
): Promise<NodeGetVolumeStatsResponse> {
  const id = required('volume_id', request.volumeId, 'the id of the volume');
  const { path, device, isNode } = await findMount(deps, id, request.volumePath);
  if (isNode) {
    const { stdout } = await deps.exec('blockdev', ['--getsize64', device.path], { timeoutMs: TIMEOUT_MS });
    return NodeGetVolumeStatsResponse.fromPartial({ usage: [{ unit: Unit.BYTES, total: BigInt(stdout.trim()) }] });
  }
  // stat(1): block size for the counts, blocks, free, free for users, inodes, free inodes.
  const format = '%S %b %f %a %c %d';
  const { stdout } = await deps.exec('stat', ['-f', '-c', format, '--', path], { timeoutMs: TIMEOUT_MS });
  return NodeGetVolumeStatsResponse.fromPartial({ usage: parseUsage(stdout) });
}

/** What ails the volume, as the client agent of this node sees its legs. @throws CsiError (NOT_FOUND, HF413) when it has none */
export async function nodeVolumeHealth(
  deps: NodeDeps,
  request: NodeGetVolumeHealthRequest,
): Promise<NodeGetVolumeHealthResponse> {
  const id = required('volume_id', request.volumeId, 'the id of the volume');
  const connection = isVolumeName(id) ? await deps.devices.connection(id) : undefined;
  if (connection === undefined) {
    throw new CsiError('NOT_FOUND', 'HF413', `volume ${id} is not attached to node ${deps.node}`, 'volume_id');
  }
  return NodeGetVolumeHealthResponse.fromPartial({ volumeHealth: healthOfConnection(id, connection) });
}

/** Bytes and inodes from the line that `stat -f -c '%S %b %f %a %c %d'` prints. @throws when it is another line */
export function parseUsage(line: string): NodeGetVolumeStatsResponse['usage'] {
  if (!/^\d+( \d+){5}\s*$/.test(line)) throw new Error(`stat -f printed what can't be understood: "${line.trim()}"`);
  const numbers = line.trim().split(' ').map(BigInt);
  const [block = 0n, blocks = 0n, free = 0n, available = 0n, inodes = 0n, freeInodes = 0n] = numbers;
  return [
    { unit: Unit.BYTES, total: blocks * block, used: (blocks - free) * block, available: available * block },
    { unit: Unit.INODES, total: inodes, used: inodes - freeInodes, available: freeInodes },
  ];
}
