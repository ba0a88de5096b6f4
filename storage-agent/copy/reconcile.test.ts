import { describe, expect, test } from '@jest/globals';
import {
  copyVolumeName,
  logicalVolumeName,
  STORAGE_AGENT_FINALIZER,
  type ReplicatedSnapshot,
  type SnapshotReplica,
} from '../../lib/api/index.ts';
import { silentLog } from '../../lib/log.ts';
import { FakeNode, REPLICA_UID, storageNode, VOLUME_UID } from '../testing/world.ts';
import { cacheVolumes } from '../volumes.ts';
import { copyTags } from './identity.ts';
import { createCopyLoop } from './reconcile.ts';

const MIB = 1024 * 1024;
const COPY_UID = '99999999-2222-4333-8444-555555555555';
const NAME = 'snap.v-r0.1';
const SOURCE = `hf-main/${logicalVolumeName(REPLICA_UID)}`;
const COPY = `hf-main/${copyVolumeName(COPY_UID)}`;

function snapshotReplica(spec: Partial<SnapshotReplica['spec']> = {}): SnapshotReplica {
  return {
    metadata: { name: NAME, uid: COPY_UID, finalizers: [STORAGE_AGENT_FINALIZER] },
    spec: {
      snapshot: 'snap',
      snapshotUid: 'snap-uid',
      volume: 'v',
      volumeUid: VOLUME_UID,
      replica: 'v-r0',
      replicaUid: REPLICA_UID,
      storageNode: 's1',
      pool: 'main',
      sizeBytes: 64 * MIB,
      provisioning: 'Thin',
      attempt: 1,
      take: '',
      ...spec,
    },
  };
}

/** A node with a replica's volume, and the object of a copy of it. */
class Stage {
  readonly node = new FakeNode().withPool();
  copy: SnapshotReplica | undefined;
  snapshot: ReplicatedSnapshot | undefined = {
    metadata: { name: 'snap', uid: 'snap-uid' },
    spec: { volume: 'v' },
  };

  constructor(spec: Partial<SnapshotReplica['spec']> = {}) {
    this.copy = snapshotReplica(spec);
    const volume = { group: 'hf-main', name: logicalVolumeName(REPLICA_UID), pool: 'holdfast-pool' };
    const shape = { tags: ['holdfast'], layout: ['thin', 'sparse'], devNo: '253:1', mappedBytes: 16 * MIB };
    this.node.storage.lvs.set(SOURCE, { ...volume, ...shape, sizeBytes: 68 * MIB });
  }

  /** A freshly started agent looks at the copy until it has nothing more to do. */
  async run(): Promise<void> {
    const { killer, storage } = this.node;
    const { lvm, volumes } = cacheVolumes(storage, () => this.node.nowMs);
    const loop = createCopyLoop(
      {
        lvm,
        disks: storage,
        log: silentLog,
        api: {
          cachedNode: storageNode,
          cachedCopy: () => structuredClone(this.copy),
          readSnapshot: () => Promise.resolve(structuredClone(this.snapshot)),
          writeCopyStatus: (_, status) =>
            killer.effect('write status', () => {
              if (this.copy) this.copy.status = structuredClone(status);
            }),
          releaseCopy: () =>
            killer.effect('release', () => {
              this.copy = undefined;
            }),
        },
      },
      volumes,
    );
    await loop.reconcile(NAME);
  }

  get status() {
    return this.copy?.status;
  }

  change(change: Partial<SnapshotReplica['spec']>, deleted = false): void {
    const { metadata, spec, ...rest } = this.copy ?? snapshotReplica();
    const gone = deleted ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {};
    this.copy = { ...rest, metadata: { ...metadata, ...gone }, spec: { ...spec, ...change } };
  }
}

describe('a copy of a snapshot', () => {
  test('is prepared first, and taken when it is asked for, marked with the standstill', async () => {
    const stage = new Stage();
    await stage.run();
    expect(stage.status).toMatchObject({ phase: 'Prepared' });
    expect(stage.node.storage.lvs.has(COPY)).toBe(false);
    stage.change({ take: 't1' });
    await stage.run();
    expect(stage.status).toEqual({ phase: 'Taken', message: 'taken of v-r0', take: 't1' });
    expect(stage.node.storage.lvs.get(COPY)?.tags).toEqual(copyTags(COPY_UID, snapshotReplica({ take: 't1' }).spec));
  });

  test.each<[string, (stage: Stage) => void, string]>([
    ['without its replica', ({ node }) => node.storage.lvs.delete(SOURCE), 'HF318: the replica v-r0 has no'],
    [
      'of a replica that was erased',
      ({ node }) => node.storage.lvs.get(SOURCE)?.tags.push('hf.erased'),
      'HF318: the replica v-r0 has no',
    ],
    [
      'in a pool that is nearly full',
      ({ node }) => {
        const pool = node.storage.lvs.get('hf-main/holdfast-pool');
        if (pool) pool.mappedBytes = pool.sizeBytes * 0.95;
      },
      "HF318: 95% of the pool's data",
    ],
  ])('%s is refused before anybody waits for it', async (_, spoil, message) => {
    const stage = new Stage();
    spoil(stage);
    await stage.run();
    expect(stage.status).toMatchObject({ phase: 'Failed', message: expect.stringContaining(message) });
  });

  test('of a thick replica needs room for all of it', async () => {
    const stage = new Stage({ provisioning: 'Thick' });
    const pool = stage.node.storage.lvs.get('hf-main/holdfast-pool');
    const source = stage.node.storage.lvs.get(SOURCE);
    if (pool) pool.mappedBytes = pool.sizeBytes / 2;
    if (source) source.sizeBytes = pool?.sizeBytes ?? 0;
    await stage.run();
    expect(stage.status?.message).toMatch(
      'of a thick replica needs 1006632960 bytes of the pool, and 503316480 are free',
    );
  });

  test('that is gone is told, and not taken once more with a later content', async () => {
    const stage = new Stage({ take: 't1' });
    await stage.run();
    stage.node.storage.lvs.delete(COPY);
    await stage.run();
    expect(stage.status).toMatchObject({ phase: 'Failed', message: expect.stringContaining('HF319') });
    expect(stage.node.storage.lvs.has(COPY)).toBe(false);
  });

  test('is kept while its snapshot counts on it, and erased after that', async () => {
    const stage = new Stage({ take: 't1' });
    await stage.run();
    const entry = { name: NAME, uid: COPY_UID, replica: 'v-r0', storageNode: 's1', pool: 'main' };
    if (stage.snapshot) stage.snapshot.status = { phase: 'Ready', copies: [entry] };
    stage.change({}, true);
    await stage.run();
    expect(stage.status).toMatchObject({ phase: 'Failed', message: expect.stringContaining('HF311') });
    expect(stage.node.storage.lvs.has(COPY)).toBe(true);
    stage.snapshot = undefined;
    await stage.run();
    expect(stage.copy).toBeUndefined();
    expect([...stage.node.storage.lvs.keys()]).not.toContain(COPY);
    expect(stage.node.storage.lvs.get(SOURCE)?.mappedBytes).toBe(16 * MIB);
  });

  // Given an agent that is killed before or after any effect, when it runs again, then the end is the same.
  test.each(['taken', 'erased'] as const)('is %s whatever the agent was doing when it was killed', async (what) => {
    const make = async (): Promise<Stage> => {
      const stage = new Stage({ take: 't1' });
      if (what === 'taken') return stage;
      await stage.run();
      stage.snapshot = undefined;
      stage.change({}, true);
      return stage;
    };
    const check = (stage: Stage): void => {
      if (what === 'taken') expect(stage.status).toMatchObject({ phase: 'Taken', take: 't1' });
      else expect([stage.copy, stage.node.storage.lvs.has(COPY)]).toEqual([undefined, false]);
    };
    const whole = await make();
    whole.node.killer.arm(Infinity, 'before');
    await whole.run();
    check(whole);
    const count = whole.node.killer.effects.length;
    expect(count).toBeGreaterThan(1);
    for (let index = 0; index < count; index += 1) {
      for (const when of ['before', 'after'] as const) {
        const stage = await make();
        stage.node.killer.arm(index, when);
        await expect(stage.run()).rejects.toThrow();
        stage.node.killer.disarm();
        await stage.run();
        check(stage);
      }
    }
  });
});
