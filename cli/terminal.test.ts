import { expect, test } from '@jest/globals';
import { fields, painter, table } from './terminal.ts';

test('columns are aligned, and colour is for terminals that want it', () => {
  const rows = [
    ['a', { text: 'Healthy', colour: 'green' as const }, 'fine'],
    ['longer', 'x', ''],
  ];
  const plain = 'NAME    PHASE    MESSAGE\na       Healthy  fine\nlonger  x        \n';
  for (const paint of [
    painter({}),
    painter({ isTTY: true }, { NO_COLOR: '1' }),
    painter({ isTTY: true }, { TERM: 'dumb' }),
  ]) {
    expect(table(['NAME', 'PHASE', 'MESSAGE'], rows, paint)).toBe(plain);
  }
  expect(table(['N', 'PHASE', 'M'], rows, painter({ isTTY: true }, {}))).toContain('\u001B[32mHealthy\u001B[0m');
  expect(
    fields(
      [
        ['Name', 'pg'],
        ['Long name', 'x'],
        ['None', undefined],
      ],
      painter({}),
    ),
  ).toBe('Name:      pg\nLong name: x\n');
});
