import { describe, expect, test } from '@jest/globals';
import type { LegFacts } from './facts.ts';
import { Glance } from './glance.ts';
import { LegTracker } from './tracker.ts';

const leg = {
  nqn: 'nqn.a',
  controller: { name: 'nvme0' },
  namespace: { name: 'nvme0n1' },
  valve: { device: 'dm-1' },
  member: { device: 'dm-1' },
} as unknown as LegFacts;

/** Block statistics (Documentation/block/stat.rst) with so many writes done and under way. */
const stat = (done: number, inFlight: number): string => `0 0 0 0 ${done} 0 ${done * 8} 5 ${inFlight} 5 5`;

const WELL = {
  '/sys/block/md_hf_1/md/array_state': 'active',
  '/sys/class/nvme/nvme0/state': 'live',
  '/sys/block/md_hf_1/md/dev-dm-1/state': 'in_sync',
  '/sys/block/nvme0n1/stat': stat(7, 0),
  '/sys/block/dm-1/stat': stat(7, 0),
};
type Files = { [path in keyof typeof WELL]: string | undefined };

function glanceAt(files: Files): { glance: Glance; open: () => number } {
  let open = 0;
  const glance = new Glance(
    'md_hf_1',
    [leg],
    () => new LegTracker(0),
    {
      open: (path) => {
        open++;
        return { read: () => files[path as keyof Files], close: () => open-- };
      },
      watch: () => {
        open++;
        return () => open--;
      },
    },
    () => undefined,
  );
  return { glance, open: () => open };
}

describe('a glance', () => {
  test('finds all as it was', () => {
    expect(glanceAt(WELL).glance.look(100)).toBe('Calm');
    const idle = { ...WELL, '/sys/block/md_hf_1/md/array_state': 'clean' };
    expect(glanceAt(idle).glance.look(100)).toBe('Calm');
  });

  const alarming: [string, keyof Files, string | undefined][] = [
    ['a write waits for the agent', '/sys/block/md_hf_1/md/array_state', 'write-pending'],
    ['the array is gone', '/sys/block/md_hf_1/md/array_state', undefined],
    ['md has failed the member', '/sys/block/md_hf_1/md/dev-dm-1/state', 'faulty,blocked'],
    ['md holds writes because of the member', '/sys/block/md_hf_1/md/dev-dm-1/state', 'in_sync,blocked'],
    ['the member is gone', '/sys/block/md_hf_1/md/dev-dm-1/state', undefined],
    ['the controller reconnects', '/sys/class/nvme/nvme0/state', 'connecting'],
    ['the controller is gone', '/sys/class/nvme/nvme0/state', undefined],
    ['the namespace is gone', '/sys/block/nvme0n1/stat', undefined],
  ];

  test.each(alarming)('asks for a full look when %s', (_name, path, text) => {
    expect(glanceAt({ ...WELL, [path]: text }).glance.look(100)).toBe('Gone');
  });

  test('asks for a full look when I/O waits in the valve with none below, and is unsure when some ended meanwhile', () => {
    const files = { ...WELL, '/sys/block/dm-1/stat': stat(7, 2) };
    const { glance } = glanceAt(files);
    expect(glance.look(100)).toBe('Gone');
    files['/sys/block/nvme0n1/stat'] = stat(8, 0);
    expect(glance.look(200)).toBe('Unsure');
    expect(glance.look(220)).toBe('Gone');
  });

  test('asks for a full look when I/O stands still', () => {
    const files = { ...WELL, '/sys/block/nvme0n1/stat': stat(7, 1), '/sys/block/dm-1/stat': stat(7, 1) };
    const { glance } = glanceAt(files);
    expect(glance.look(100)).toBe('Calm');
    expect(glance.look(200)).toBe('Gone');
    files['/sys/block/nvme0n1/stat'] = stat(8, 1);
    expect(glance.look(300)).toBe('Calm');
  });

  test('closes what it opened', () => {
    const { glance, open } = glanceAt(WELL);
    expect(open()).toBe(7);
    glance.close();
    expect(open()).toBe(0);
  });
});
