import { describe, expect, test } from '@jest/globals';
import { describeStamp, stampOf, standingOf, type RecordStamp } from '../api/record-stamp.ts';
import {
  decodeLegHeader,
  encodeLegHeader,
  LEG_SLOT_BYTES,
  LEG_SLOTS_BYTES,
  nextLegSlot,
  type LegHeader,
} from './leg-header.ts';

const HEADER: LegHeader = {
  volume: 'pg',
  volumeUid: 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee',
  replica: 'pg-r0',
  replicaUid: '11111111-2222-4333-8444-555555555555',
  lineage: 1,
  epoch: 5,
  generation: 9,
  inSync: ['pg-r0', 'pg-r1'],
};

/** A leg on which these headers were written one after the other. */
function written(...headers: readonly LegHeader[]): Buffer {
  const leg = Buffer.alloc(LEG_SLOTS_BYTES);
  for (const header of headers) {
    const { offsetBytes, sequence } = nextLegSlot(decodeLegHeader(leg));
    encodeLegHeader(header, sequence).copy(leg, offsetBytes);
  }
  return leg;
}

describe('the header of a leg', () => {
  test('is what was written last, however often', () => {
    expect(decodeLegHeader(Buffer.alloc(LEG_SLOTS_BYTES))).toEqual({ state: 'blank' });
    for (let count = 1; count <= 5; count++) {
      const headers = Array.from({ length: count }, (_, index) => ({ ...HEADER, generation: index }));
      expect(decodeLegHeader(written(...headers))).toEqual({
        state: 'record',
        header: { ...HEADER, generation: count - 1 },
        sequence: count - 1,
      });
    }
  });

  test('a write that is torn at any byte leaves the one before it', () => {
    const leg = written({ ...HEADER, generation: 1 }, { ...HEADER, generation: 2 });
    const { offsetBytes, sequence } = nextLegSlot(decodeLegHeader(leg));
    const next = encodeLegHeader({ ...HEADER, generation: 3 }, sequence);
    for (let torn = 1; torn < LEG_SLOT_BYTES; torn += 7) {
      const after = Buffer.from(leg);
      next.copy(after, offsetBytes, 0, torn);
      const decoded = decodeLegHeader(after);
      expect(decoded.state === 'record' && decoded.header.generation).toBe(2);
    }
  });

  test('a torn first write is no record; two slots that can not be read are damage', () => {
    const leg = written(HEADER);
    leg.writeUInt8(leg.readUInt8(30) ^ 1, 30);
    expect(decodeLegHeader(leg)).toEqual({ state: 'blank' });
    leg.fill(7, LEG_SLOT_BYTES);
    expect(decodeLegHeader(leg)).toEqual({
      state: 'damaged',
      why: 'wrong checksum; it does not begin with HOLDFAST',
    });
  });

  test('the longest record fits', () => {
    const name = 'v'.repeat(100);
    const inSync = Array.from({ length: 8 }, (_, index) => `${name}-r${1000 + index}`);
    const header = { ...HEADER, volume: name, replica: `${name}-r1000`, inSync };
    expect(decodeLegHeader(written(header))).toMatchObject({ state: 'record', header });
  });
});

describe('what a disk knows against what the API server says', () => {
  const api: RecordStamp = { lineage: 2, epoch: 5, generation: 9, inSync: ['a', 'b'] };
  const rows: readonly [string, Partial<RecordStamp>, string][] = [
    ['the same, in another order', { inSync: ['b', 'a'] }, 'same'],
    ['of the epoch before', { epoch: 4 }, 'same'],
    ['an earlier record', { generation: 8, inSync: ['a'] }, 'behind'],
    ['a later record of an earlier lineage', { lineage: 1, generation: 20 }, 'behind'],
    ['a later record', { generation: 10, inSync: ['a'] }, 'ahead'],
    ['a later epoch', { epoch: 6 }, 'ahead'],
    ['a later lineage', { lineage: 3, generation: 1 }, 'ahead'],
    ['the same number with another set', { inSync: ['a'] }, 'diverged'],
    // Written without the API server: what that has accepted since does not know of it, whatever the numbers say.
    ['a later number that rests on the present record', { generation: 12, base: api.generation }, 'ahead'],
    ['a later number that rests on an earlier record', { generation: 12, base: api.generation - 1 }, 'diverged'],
    ['an earlier number that rests on an earlier record', { generation: api.generation - 1, base: 1 }, 'behind'],
  ];
  test.each(rows)('%s', (_what, change, standing) => {
    expect(standingOf({ ...api, ...change }, api)).toBe(standing);
  });

  test('the record on which one rests is kept', () => {
    const slot = encodeLegHeader({ ...HEADER, base: 3 }, 0);
    const decoded = decodeLegHeader(Buffer.concat([slot, Buffer.alloc(LEG_SLOT_BYTES)]));
    expect(decoded).toMatchObject({ state: 'record', header: { base: 3 } });
  });

  test('a volume of before records were numbered', () => {
    expect(describeStamp(stampOf({}))).toBe('lineage 1, epoch 0, record 0 (in sync: nobody)');
  });
});
