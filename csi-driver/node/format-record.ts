import { findCondition, setCondition, type ReplicatedVolume } from '../../lib/api/index.ts';
import type { Clock } from '../../lib/clock.ts';
import { KubeError, type Resource } from '../../lib/kube/client.ts';
import { CsiError } from '../grpc/errors.ts';

/** The condition on a ReplicatedVolume that is True from before the first byte of mkfs until after its last. */
export const FORMATTING_CONDITION = 'Formatting';

/**
 * Whether a format was begun and not finished. A crash in the middle leaves a device that is neither blank nor a
 * filesystem; only this record tells it from a device with data. It lives on the volume, so the next client node
 * knows it too. A volume is mounted only after the record says that its format is finished.
 */
export interface FormatRecord {
  isUnfinished(volume: string): Promise<boolean>;
  /** @throws CsiError (FAILED_PRECONDITION, HF413) unless the volume is attached to this node under this epoch */
  begin(volume: string, epoch: number, fsType: string): Promise<void>;
  /** @throws as begin */
  finish(volume: string, epoch: number, fsType: string): Promise<void>;
}

const WRITE_ATTEMPTS = 8;

/** The record in the API. Every write has the read resourceVersion as a precondition, as the operator's have. */
export function createFormatRecord(options: {
  readonly node: string;
  readonly volumes: Pick<Resource<ReplicatedVolume>, 'get' | 'patch'>;
  readonly clock: Clock;
}): FormatRecord {
  const { node, volumes, clock } = options;

  const read = async (name: string): Promise<ReplicatedVolume> => {
    const volume = await volumes.get(name);
    if (volume !== undefined) return volume;
    throw new CsiError('NOT_FOUND', 'HF405', `there is no volume "${name}"`, 'volume_id');
  };

  const write = async (
    name: string,
    epoch: number,
    condition: { readonly status: 'True' | 'False'; readonly reason: string; readonly message: string },
  ): Promise<void> => {
    for (let attempt = 1; attempt <= WRITE_ATTEMPTS; attempt++) {
      const { metadata, status } = await read(name);
      const attachment = status?.attachment;
      if (attachment?.node !== node || attachment.epoch !== epoch) {
        const message = `volume ${name} is no longer attached to node ${node} under epoch ${epoch}`;
        throw new CsiError('FAILED_PRECONDITION', 'HF413', message, 'volume_id');
      }
      const observed = { type: FORMATTING_CONDITION, ...condition };
      const conditions = setCondition(status?.conditions, observed, new Date(clock.now()));
      try {
        const patch = { metadata: { resourceVersion: metadata.resourceVersion }, status: { conditions } };
        await volumes.patch(name, patch, { subresource: 'status' });
        return;
      } catch (error) {
        if (!(error instanceof KubeError) || !error.isConflict) throw error;
      }
    }
    throw new CsiError('ABORTED', 'HF409', `volume ${name} changed ${WRITE_ATTEMPTS} times while we wrote; try again`);
  };

  return {
    async isUnfinished(volume) {
      return findCondition((await read(volume)).status?.conditions, FORMATTING_CONDITION)?.status === 'True';
    },
    async begin(volume, epoch, fsType) {
      const message = `${fsType} is being made on node ${node} under epoch ${epoch}`;
      await write(volume, epoch, { status: 'True', reason: 'MakingFilesystem', message });
    },
    async finish(volume, epoch, fsType) {
      const message = `${fsType} was made on node ${node} under epoch ${epoch}`;
      await write(volume, epoch, { status: 'False', reason: 'FilesystemMade', message });
    },
  };
}
