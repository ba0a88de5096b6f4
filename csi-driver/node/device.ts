import { connectionName, devicePath, type VolumeConnection } from '../../lib/api/index.ts';
import type { Resource } from '../../lib/kube/client.ts';
import type { Changes } from '../changes.ts';
import { CsiError } from '../grpc/errors.ts';
import type { CallContext } from '../grpc/handlers.ts';
import type { BlockDevice, Paths } from './paths.ts';

/** A volume's device while it is attached to this node. */
export interface AttachedDevice extends BlockDevice {
  /** The attachment epoch under which its array runs. */
  readonly epoch: number;
}

/** The devices that the client agent of this node has attached. */
export interface AttachedDevices {
  /**
   * Waits until the volume's array runs on this node, under epoch `minEpoch` or a later one. (After a reboot kubelet
   * comes with the epoch of the first attachment, while the operator may have granted a newer one.)
   *
   * @param leastBytes the size that the array is to have; a client agent that says nothing of sizes is not waited for
   * @throws CsiError FAILED_PRECONDITION (HF413) when the volume is not attached here, DEADLINE_EXCEEDED (HF406) when
   * its array does not run in time
   */
  ready(volume: string, minEpoch: number, context: CallContext, leastBytes?: number): Promise<AttachedDevice>;
  /** What the client agent reports of the volume; undefined when it is not attached here. */
  connection(volume: string): Promise<VolumeConnection | undefined>;
  /** The device as it is now, without waiting; undefined when the array does not run. */
  now(volume: string): Promise<BlockDevice | undefined>;
}

/** The devices as VolumeConnections and /dev/holdfast tell them. */
export function createAttachedDevices(options: {
  readonly node: string;
  readonly connections: Pick<Resource<VolumeConnection>, 'get'>;
  readonly changes: Changes;
  readonly paths: Paths;
}): AttachedDevices {
  const { node, connections, changes, paths } = options;
  return {
    connection: (volume) => connections.get(connectionName(volume, node)),
    async ready(volume, minEpoch, context, leastBytes = 0) {
      let why = '';
      const device = await changes.waitFor(volume, context, async (): Promise<AttachedDevice | undefined> => {
        const connection = await connections.get(connectionName(volume, node));
        if (connection === undefined || connection.metadata.deletionTimestamp !== undefined) {
          const message = `volume ${volume} is not attached to node ${node}; ControllerPublishVolume comes first`;
          throw new CsiError('FAILED_PRECONDITION', 'HF413', message, 'volume_id');
        }
        const { phase = 'Connecting', message = '', epoch = 0 } = connection.status ?? {};
        why = `the connection is ${phase}${message && `: ${message}`}`;
        if (phase !== 'Connected' || epoch < minEpoch || epoch < connection.spec.epoch) return undefined;
        const { sizeBytes = leastBytes } = connection.status ?? {};
        if (sizeBytes < leastBytes) {
          why = `its array has ${sizeBytes} bytes, and is to have ${leastBytes}${message && `: ${message}`}`;
          return undefined;
        }
        const found = await paths.blockDevice(devicePath(volume));
        if (found === undefined) why = `${devicePath(volume)} is not there, although the connection is Connected`;
        return found && { ...found, epoch };
      });
      if (device === undefined) {
        throw new CsiError('DEADLINE_EXCEEDED', 'HF406', `volume ${volume} has no device on ${node} yet: ${why}`);
      }
      return device;
    },
    async now(volume) {
      return await paths.blockDevice(devicePath(volume));
    },
  };
}
