import { volumeGroupName, type StorageNode, type StorageNodeStatus } from '../../lib/api/index.ts';
import { decodeLegHeader, LEG_SLOTS_BYTES, type DecodedLeg } from '../../lib/host/leg-header.ts';
import type { LvmVolume } from '../../lib/host/lvm.ts';
import { describeError } from '../../lib/log.ts';
import type { Ports } from '../ports.ts';
import { identityOf, isReplicaVolume } from '../replica/identity.ts';
import { headerStatus } from '../replica/status.ts';

export type UnknownReplica = NonNullable<StorageNodeStatus['unknownReplicas']>[number];

type FindUnknown = (
  node: StorageNode,
  volumes: readonly LvmVolume[],
  knownUids: ReadonlySet<string>,
) => Promise<UnknownReplica[]>;

/**
 * Logical volumes that carry our tags and whose replica isn't in the API: perhaps the API server was restored from a
 * backup. They are never erased by guess, only told of, with all that `holdfast recover` needs to take them up again.
 * Nobody writes to them, so each one's header is read once.
 */
export function createUnknownFinder(ports: Ports): FindUnknown {
  const headers = new Map<string, DecodedLeg>();

  const headerOf = async (volume: LvmVolume): Promise<DecodedLeg | undefined> => {
    const key = `${volume.group}/${volume.name}`;
    const before = headers.get(key);
    if (before !== undefined) return before;
    try {
      if (volume.devNo === undefined) {
        // Seen with its device at the next look.
        await ports.lvm.activate(volume.group, volume.name);
        return undefined;
      }
      const device = await ports.disks.pathOf(volume.devNo);
      const decoded = decodeLegHeader(await ports.disks.readStart(device, LEG_SLOTS_BYTES));
      headers.set(key, decoded);
      return decoded;
    } catch (error) {
      ports.log.warn('the header of an unknown replica could not be read', {
        volume: key,
        error: describeError(error),
      });
      return undefined;
    }
  };

  return async (node, volumes, knownUids) => {
    const found = volumes
      .filter(isReplicaVolume)
      .map((volume) => ({ volume, identity: identityOf(volume.tags) }))
      .filter(({ identity }) => !knownUids.has(identity.replicaUid ?? ''));
    const names = new Set(found.map(({ volume }) => `${volume.group}/${volume.name}`));
    for (const name of headers.keys()) if (!names.has(name)) headers.delete(name);
    const described: UnknownReplica[] = [];
    for (const { volume, identity } of found) {
      const pool = node.spec.pools.find((each) => (each.volumeGroup ?? volumeGroupName(each.name)) === volume.group);
      const decoded = identity.erased ? undefined : await headerOf(volume);
      const header = decoded?.state === 'record' ? decoded.header : undefined;
      const { record, blank }: Partial<ReturnType<typeof headerStatus>> =
        decoded === undefined ? {} : headerStatus(decoded);
      described.push(
        defined({
          logicalVolume: `${volume.group}/${volume.name}`,
          pool: pool?.name,
          volume: identity.volume ?? header?.volume,
          volumeUid: identity.volumeUid ?? '',
          replica: identity.replica ?? header?.replica,
          replicaUid: identity.replicaUid ?? '',
          sizeBytes: identity.sizeBytes,
          provisioning: identity.thick ? 'Thick' : 'Thin',
          erased: identity.erased ? true : undefined,
          lineage: identity.lineage,
          epoch: identity.epoch,
          host: identity.host,
          beganWithCopy: identity.beganWithCopy ? true : undefined,
          blank,
          record,
        }),
      );
    }
    return described.sort((a, b) => (a.logicalVolume < b.logicalVolume ? -1 : 1));
  };
}

type Loose<T> = { [K in keyof T]: T[K] | undefined };

/** The object without the fields that are undefined: an absent field is absent in the API. */
function defined(loose: Loose<Required<UnknownReplica>>): UnknownReplica {
  return Object.fromEntries(
    Object.entries(loose).filter(([, value]) => value !== undefined),
  ) as unknown as UnknownReplica;
}
