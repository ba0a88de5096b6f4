import { expect, test } from '@jest/globals';
import { isLabelKey, isLabelValue } from './labels.ts';
import { didYouMean, editDistance, formatBytes, listing, mostAlike, ordinal, shortList, withArticle } from './words.ts';

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1.0 KiB'],
  [1024 ** 2 - 1, '1.0 MiB'],
  [1.8 * 1024 ** 3, '1.8 GiB'],
  [-3 * 1024 ** 3, '-3.0 GiB'],
  [2048 * 1024 ** 5, '2048.0 PiB'],
])('formatBytes(%d) is %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test('lists, articles and ordinals', () => {
  expect([listing([]), listing(['a']), listing(['a', 'b', 'c']), listing(['a', 'b'], 'or')]).toEqual([
    '',
    'a',
    'a, b and c',
    'a or b',
  ]);
  expect(shortList(['a', 'b', 'c'], 2)).toBe('a, b and 1 more');
  expect([withArticle('zone'), withArticle('availability_zone')]).toEqual(['a zone', 'an availability_zone']);
  expect([1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(ordinal)).toEqual([
    '1st',
    '2nd',
    '3rd',
    '4th',
    '11th',
    '12th',
    '13th',
    '21st',
    '102nd',
    '111th',
  ]);
});

test('likeness', () => {
  expect([editDistance('', 'abc'), editDistance('zone', 'Zones'), editDistance('kitten', 'sitting')]).toEqual([
    3, 1, 3,
  ]);
  expect(mostAlike('zonee', ['rack', 'media', 'zone'])).toEqual(['zone', 'media', 'rack']);
  expect(didYouMean('distnct', ['distinct', 'in'])).toBe('distinct');
  expect(didYouMean('xyzzy', ['distinct', 'in'])).toBeUndefined();
});

test.each([
  'zone',
  'a',
  'A_b.c-9',
  '9',
  'topology.kubernetes.io/zone',
  'a/b',
  `${'p'.repeat(63)}.${'q'.repeat(63)}/${'n'.repeat(63)}`,
])('%s is a label key', (key) => {
  expect(isLabelKey(key)).toBe(true);
});

test.each([
  '',
  '/',
  'a/',
  '/a',
  'a/b/c',
  '-a',
  'a-',
  '.a',
  'a b',
  'é',
  'A.io/zone',
  'a..b/c',
  '-a/b',
  'n'.repeat(64),
  `${'p.'.repeat(127)}/n`,
  `${'p'.repeat(64)}/n`,
])('%j is no label key', (key) => {
  expect(isLabelKey(key)).toBe(false);
});

test('label values', () => {
  expect(['', 'nvme', '1.0_b-C', 'v'.repeat(63)].every(isLabelValue)).toBe(true);
  expect(['a/b', '-a', 'a-', ' ', 'v'.repeat(64)].some(isLabelValue)).toBe(false);
});
