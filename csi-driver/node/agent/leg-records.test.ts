import { beforeEach, describe, expect, test } from '@jest/globals';
import type { RecordStamp, ReplicatedVolume } from '../../../lib/api/index.ts';
import { decodeLegHeader, LEG_SLOTS_BYTES, type LegHeader } from '../../../lib/host/leg-header.ts';
import { silentLog } from '../../../lib/log.ts';
import type { ExecuteContext } from './context.ts';
import type { LegFacts } from './facts.ts';
import {
  checkLegRecords,
  ioTimeoutMs,
  shareBitmap,
  stampWithout,
  stayingLegs,
  writeLegRecords,
  type ReachableLeg,
} from './leg-records.ts';
import { VolumeMemory } from './memory.ts';
import { changeRecord } from './record.ts';

const STAMP: RecordStamp = { lineage: 1, epoch: 3, generation: 5, inSync: ['v-a', 'v-b'] };

let disks: Map<string, Buffer>;
let reads: string[];
let writes: string[];
let broken: Set<string>;
let memory: VolumeMemory;
let fresh: ReplicatedVolume;

function leg(name: string, more: Partial<LegFacts> = {}): LegFacts {
  const member = { device: name, slot: 0, state: new Set(['in_sync']) };
  const valve = { name, device: name, devNo: '1:1', below: [], sizeBytes: 1 << 27 };
  return { replica: `v-${name}`, uid: `uid-${name}`, nqn: name, recorded: true, member, valve, ...more } as LegFacts;
}

const faulty = (...state: string[]): Partial<LegFacts> => ({
  member: { device: 'x', slot: 0, state: new Set(['faulty', ...state]) },
});

function volumeWith({ lineage, epoch, generation, inSync }: RecordStamp): ReplicatedVolume {
  const attachment = { node: 'c1', hostNqn: '', epoch, clean: false };
  const status = { lineage, recordGeneration: generation, inSync: [...inSync], attachment };
  return { metadata: { name: 'v', resourceVersion: '1' }, spec: {}, status } as unknown as ReplicatedVolume;
}

function context(cached: RecordStamp = STAMP, legs: readonly LegFacts[] = []): ExecuteContext {
  return {
    memory,
    volume: volumeWith(cached),
    volumes: { get: () => Promise.resolve(fresh) },
    connection: {
      spec: { volume: 'v', volumeUid: 'uid-v', sizeBytes: 1 << 26, legs: [{ replica: 'v-a' }, { replica: 'v-b' }] },
    },
    facts: { legTimeoutMs: 3000, legs },
    log: silentLog,
    ports: {
      clock: { monotonicMs: () => 0 },
      readDevice: (device: string, offsetBytes: number, lengthBytes: number) => {
        reads.push(`${device} at ${offsetBytes}`);
        return Promise.resolve(disks.get(device)?.toString('latin1', offsetBytes, offsetBytes + lengthBytes) ?? '');
      },
      writeDevice: (device: string, offsetBytes: number, bytes: Buffer, timeoutMs: number) => {
        writes.push(`${device} at ${offsetBytes}, ${timeoutMs} ms`);
        if (broken.has(device)) return Promise.reject(new Error(`${device} does not answer`));
        bytes.copy(disks.get(device) ?? Buffer.alloc(0), offsetBytes);
        return Promise.resolve();
      },
    },
  } as unknown as ExecuteContext;
}

const reach = (...legs: readonly LegFacts[]): ReachableLeg[] => legs.map((each) => ({ leg: each, device: each.nqn }));

function header(device: string): LegHeader | undefined {
  const decoded = decodeLegHeader(disks.get(device) ?? Buffer.alloc(0));
  return decoded.state === 'record' ? decoded.header : undefined;
}

beforeEach(() => {
  disks = new Map(['a', 'b', 'c'].map((name) => [name, Buffer.alloc(LEG_SLOTS_BYTES + 4096)]));
  reads = [];
  writes = [];
  broken = new Set();
  memory = new VolumeMemory();
  fresh = volumeWith(STAMP);
  for (const name of ['a', 'b', 'c']) {
    memory.learn({ replica: `v-${name}`, uid: `uid-${name}`, nqn: name, address: '', port: 0 }, 0);
  }
});

describe('writing the record to the legs', () => {
  test('gives each its own header, in turn to two places, and never twice the same', async () => {
    await writeLegRecords(context(), STAMP, reach(leg('a'), leg('b')));
    await writeLegRecords(context(), STAMP, reach(leg('a'), leg('b')));
    await writeLegRecords(context(), { ...STAMP, generation: 6 }, reach(leg('a')));
    expect(writes).toEqual(['a at 0, 3000 ms', 'b at 0, 3000 ms', 'a at 4096, 3000 ms']);
    expect(header('a')).toEqual({
      ...STAMP,
      sizes: [1 << 26],
      generation: 6,
      volume: 'v',
      volumeUid: 'uid-v',
      replica: 'v-a',
      replicaUid: 'uid-a',
    });
    expect(header('b')).toMatchObject({ generation: 5, replica: 'v-b' });
    expect(memory.recordGeneration).toBe(6);
  });

  test('fails when one leg can not be written, and looks at that leg again', async () => {
    broken.add('b');
    await expect(writeLegRecords(context(), STAMP, reach(leg('a'), leg('b')))).rejects.toThrow('b does not answer');
    expect(header('a')).toBeDefined();
    broken.clear();
    await writeLegRecords(context(), STAMP, reach(leg('a'), leg('b')));
    expect(header('b')).toMatchObject(STAMP);
  });

  // Found by the simulation: the API server was restored from a backup while a volume was in use. A leg was dropped "by record",
  // the legs were told the old record, and the dropped leg's later one outbid it: acknowledged writes were rolled back.
  test('an older record does not take the place of a later one', async () => {
    await writeLegRecords(context(), { ...STAMP, generation: 6, inSync: ['v-a', 'v-c'] }, reach(leg('a')));
    await expect(writeLegRecords(context(), STAMP, reach(leg('a')))).rejects.toThrow(/^HF500: v-a knows .*recover/);
    expect(header('a')).toMatchObject({ generation: 6 });
    expect(memory.forgotten).toBe(false);
  });

  test('one of this attachment that names no more than the later one gets a number above', async () => {
    await writeLegRecords(context(), { ...STAMP, generation: 8 }, reach(leg('a')));
    memory.recordGeneration = 0;
    const less = { ...STAMP, generation: 8, inSync: ['v-a'] };
    await expect(writeLegRecords(context(), less, reach(leg('a')))).rejects.toThrow('HF500');
    expect(memory).toMatchObject({ recordGeneration: 8, forgotten: true });
    await writeLegRecords(context(), { ...less, generation: 9 }, reach(leg('a')));
    expect(header('a')).toMatchObject({ generation: 9, inSync: ['v-a'] });
  });

  test('a program that was started again goes on after what is there', async () => {
    await writeLegRecords(context(), STAMP, reach(leg('a')));
    memory = new VolumeMemory();
    memory.learn({ replica: 'v-a', uid: 'uid-a', nqn: 'a', address: '', port: 0 }, 0);
    await writeLegRecords(context(), { ...STAMP, generation: 6 }, reach(leg('a')));
    expect(writes[1]).toBe('a at 4096, 3000 ms');
  });
});

describe('before an array starts', () => {
  test('legs that know the same or less are fine', async () => {
    await writeLegRecords(context(), { ...STAMP, generation: 4, inSync: ['v-a'] }, reach(leg('a')));
    await expect(checkLegRecords(context(), reach(leg('a'), leg('b')))).resolves.toBeInstanceOf(Map);
  });

  test.each<[string, RecordStamp]>([
    ['a later record', { ...STAMP, generation: 6, inSync: ['v-a'] }],
    ['another record of the same number', { ...STAMP, inSync: ['v-a'] }],
    ['a later lineage', { ...STAMP, lineage: 2, generation: 1 }],
  ])('%s on one of them stops it', async (_what, stamp) => {
    await writeLegRecords(context(), stamp, reach(leg('b')));
    await expect(checkLegRecords(context(), reach(leg('a'), leg('b')))).rejects.toThrow(/^HF500: v-b knows .*recover/);
  });

  // Found by the simulation: the storage agent had compared before the API server was restored, and recover found nothing.
  test('the storage agent of one that knows more is to look again', async () => {
    await writeLegRecords(context(), { ...STAMP, generation: 6 }, reach(leg('b')));
    await expect(checkLegRecords(context(), reach(leg('a'), leg('b')))).rejects.toThrow('HF500');
    expect(memory.drain('v-a')).toBeUndefined();
    expect(memory.drain('v-b')).toBe(1);
  });

  test('a cache that is behind does not', async () => {
    await writeLegRecords(context(), { ...STAMP, generation: 6 }, reach(leg('a')));
    fresh = volumeWith({ ...STAMP, generation: 6 });
    await expect(checkLegRecords(context(), reach(leg('a')))).resolves.toBeInstanceOf(Map);
  });

  // Found by the simulation: a leg that had just joined, and lost its power with all others, did not have the bits of chunks that
  // were written before it came; md read its bitmap, and the legs stayed different.
  test('each gets the bits that any of them has set, by which also all are proved to be writable', async () => {
    disks.get('a')?.set([0b0001, 0, 0x80], LEG_SLOTS_BYTES);
    disks.get('b')?.set([0b0100, 0, 0], LEG_SLOTS_BYTES);
    const found = await checkLegRecords(context(), reach(leg('a'), leg('b')));
    await shareBitmap(context(), reach(leg('a'), leg('b')), 1 << 26, found);
    expect(reads).toEqual(['a at 0', 'b at 0']);
    expect(writes).toEqual(['a at 8192, 3000 ms', 'b at 8192, 3000 ms']);
    for (const name of ['a', 'b']) {
      expect([...(disks.get(name)?.subarray(LEG_SLOTS_BYTES, LEG_SLOTS_BYTES + 4) ?? [])]).toEqual([
        0b0101, 0, 0x80, 0,
      ]);
    }
  });

  test('a bitmap that is larger than the volume would have it is read whole', async () => {
    await writeLegRecords(context(), STAMP, reach(leg('a')), [1 << 26, 2 ** 42]);
    disks.set('a', Buffer.concat([disks.get('a') ?? Buffer.alloc(0), Buffer.alloc(4096, 0xff)]));
    const found = await checkLegRecords(context(), reach(leg('a')));
    reads = [];
    await shareBitmap(context(), reach(leg('a')), 1 << 26, found);
    expect(reads).toEqual(['a at 8192']);
  });

  // Found by thinking about it: an in-sync leg that answered with errors kept the array from starting from the others, for ever.
  test('a leg that answers with an error is left alone for a while', async () => {
    broken.add('b');
    await expect(shareBitmap(context(), reach(leg('a'), leg('b')), 1 << 26, new Map())).rejects.toThrow(
      'leg v-b: b does not answer',
    );
    expect(memory.leg('a').joinNotBeforeMs).toBe(0);
    expect(memory.leg('b').joinNotBeforeMs).toBe(1000);
  });

  test('a header that can not be read does', async () => {
    disks.get('a')?.fill(7);
    await expect(checkLegRecords(context(), reach(leg('a')))).rejects.toThrow('HF316');
  });
});

test("I/O of the agent's own is waited for as long as for a leg's, within bounds: the loop has more to do", () => {
  const waits = [1, 3000, 3_600_000].map((legTimeoutMs) =>
    ioTimeoutMs({ ...context(), facts: { legTimeoutMs } as ExecuteContext['facts'] }),
  );
  expect(waits).toEqual([1000, 3000, 10_000]);
});

describe('when a leg goes', () => {
  test('the working in-sync members stay, and no other', () => {
    const gone = leg('a');
    const legs = [gone, leg('b'), leg('c', faulty()), leg('d', { recorded: false }), leg('e', faulty('blocked'))];
    expect(stayingLegs([gone], context(STAMP, legs)).map(({ leg: each }) => each.nqn)).toEqual(['b']);
  });

  test('those that stay get the record as it is; unrecorded, the next number without all that are gone', () => {
    const gone = leg('a');
    const at = context({ ...STAMP, inSync: ['v-a', 'v-b', 'v-c'] }, [gone, leg('b'), leg('c', faulty())]);
    expect(stampWithout([gone], volumeWith(STAMP), false, at)).toEqual(STAMP);
    memory.recordGeneration = 7;
    expect(stampWithout([gone], at.volume, true, at)).toEqual({
      ...STAMP,
      generation: 8,
      base: 5,
      inSync: ['v-b'],
    });
  });
});

describe('the number of a record', () => {
  const patches: { status: { recordGeneration?: number } }[] = [];
  const volumes = {
    get: () => Promise.resolve(fresh),
    patch: (_name: string, patch: (typeof patches)[number]) => {
      patches.push(patch);
      return Promise.resolve(fresh);
    },
  } as never;
  const change = async (
    inSync: readonly string[],
    clean?: boolean,
    knownGeneration = 0,
  ): Promise<number | undefined> => {
    const wanted = { inSync, outOfSync: {}, ...(clean === undefined ? {} : { clean }) };
    await changeRecord(volumes, fresh, { node: 'c1', epoch: 3 }, () => wanted, { knownGeneration });
    return patches.at(-1)?.status.recordGeneration;
  };

  test('grows with the in-sync set and with each start, and is above what the legs know', async () => {
    expect(await change(['v-a'])).toBe(6);
    expect(await change(['v-b', 'v-a'])).toBeUndefined();
    expect(await change(['v-a', 'v-b'], false)).toBe(6);
    expect(await change(['v-a', 'v-b'], true)).toBeUndefined();
    expect(await change(['v-b'], undefined, 11)).toBe(12);
  });
});
