import { describe, expect, test } from '@jest/globals';
import { formatBytes, formatDuration, terminalProgress } from './progress.ts';

test.each([
  [0, '0.0 s'],
  [1234, '1.2 s'],
  [12_345, '12 s'],
  [99_400, '99 s'],
  [120_000, '2 min'],
  [135_000, '2 min 15 s'],
])('%d ms is %s', (ms, text) => {
  expect(formatDuration(ms)).toBe(text);
});

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1536, '1.5 KiB'],
  [64 * 1024 ** 2, '64 MiB'],
  [1.5 * 1024 ** 3, '1.5 GiB'],
])('%d bytes are %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

function recorded(): { readonly lines: string[]; readonly output: { write: (text: string) => void } } {
  const lines: string[] = [];
  return { lines, output: { write: (text) => lines.push(text) } };
}

describe('progress that is not on a terminal', () => {
  test('announces long work with its estimate, and says how long it took', async () => {
    const { lines, output } = recorded();
    let nowMs = 0;
    const progress = terminalProgress(output, () => nowMs);
    const result = await progress.step('building', 60_000, async () => {
      await Promise.resolve();
      nowMs = 61_000;
      return 42;
    });
    expect(result).toBe(42);
    expect(lines).toEqual(['  building (about 60 s) …\n', '  ✓ building: 61 s\n']);
  });

  test('passes a failure on and says that it failed', async () => {
    const { lines, output } = recorded();
    const progress = terminalProgress(output, () => 0);
    await expect(progress.step('trying', 1000, async () => await Promise.reject(new Error('no')))).rejects.toThrow(
      'no',
    );
    expect(lines).toEqual(['  ✗ trying: failed after 0.0 s\n']);
  });
});

test('on a terminal, one live line that never exceeds the width', async () => {
  const written: string[] = [];
  const progress = terminalProgress({ isTTY: true, columns: 50, write: (text) => written.push(text) });
  await progress.step('a piece of work with a rather long title', 3000, async (note) => {
    note('and a long note about the very file that is compiled right now');
    progress.say('a line');
    await Promise.resolve();
  });
  const live = written.filter((text) => text.startsWith('\r') && !text.endsWith('\n')).map((text) => text.slice(4));
  expect(live.some((text) => text.includes('a piece of work'))).toBe(true);
  expect(Math.max(...live.map((text) => text.length))).toBeLessThan(50);
  expect(written.join('')).toMatch(/✓ a piece of work with a rather long title: 0\.\d s\n/);
});
