import { describe, expect, test } from '@jest/globals';
import type { Exec } from './exec.ts';
import type { Sysfs } from './sysfs.ts';
import { createValves } from './valve.ts';

const NAME = 'hf-valve-1';

/** One valve of this host, and what dmsetup is asked for. */
function world(suspended: '0' | '1') {
  const asked: string[] = [];
  const files = new Map([
    ['/sys/block/dm-3/dm/name', NAME],
    ['/sys/block/dm-3/dm/suspended', suspended],
    ['/sys/block/dm-3/dev', '253:3'],
    ['/sys/block/dm-3/size', '2048'],
  ]);
  const sysfs = {
    listDirectory: (path: string) => (path === '/sys/block' ? ['dm-3', 'nvme0n1'] : ['nvme0n1']),
    readAttribute: (path: string) => files.get(path),
  } as unknown as Sysfs;
  const exec: Exec = async (_command, args) => {
    asked.push(args.join(' '));
    return { code: 0, stdout: '', stderr: '' };
  };
  return { valves: createValves(sysfs, exec), asked };
}

describe('a valve', () => {
  test('is listed with what is below it and its size', () => {
    expect(world('0').valves.list('hf-valve-').get(NAME)).toEqual({
      name: NAME,
      device: 'dm-3',
      devNo: '253:3',
      below: ['nvme0n1'],
      sizeBytes: 2 ** 20,
      suspended: false,
    });
    expect(world('1').valves.list('hf-valve-').get(NAME)?.suspended).toBe(true);
  });

  test.each([
    ['closed', '3 queue_if_no_path queue_mode bio'],
    ['open', '2 queue_mode bio'],
  ] as const)('is made %s by one command, in place of what was there', async (state, features) => {
    const { valves, asked } = world('0');
    await expect(valves.make(NAME, 2 ** 20, '259:1', state)).resolves.toEqual({ device: 'dm-3', devNo: '253:3' });
    const table = `0 2048 multipath ${features} 0 1 1 round-robin 0 1 1 259:1 1`;
    expect(asked).toEqual([`remove ${NAME}`, `create ${NAME} --table ${table}`]);
  });

  test('is opened, and its path cut', async () => {
    const { valves, asked } = world('0');
    await valves.open(NAME, '259:1');
    expect(asked).toEqual([`message ${NAME} 0 fail_if_no_path`, `message ${NAME} 0 fail_path 259:1`]);
  });

  // Found by the simulation: an agent was killed between suspend and resume of a swap, and I/O in the valve never ended.
  test('that a swap has left suspended is resumed first, without the table that was to come', async () => {
    const { valves, asked } = world('1');
    await valves.open(NAME, undefined);
    expect(asked).toEqual([`clear ${NAME}`, `resume ${NAME}`, `message ${NAME} 0 fail_if_no_path`]);
  });
});
