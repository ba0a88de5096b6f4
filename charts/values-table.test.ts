import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { load } from 'js-yaml';
import { chartReadme, chartValues } from './values-table.ts';

const text = `
# About the whole file.

# -- The image.
image:
  repository: holdfast

operator:
  # -- How many,
  # and no fewer.
  replicas: 2
  # A note.
  other: 1
flag: true # -- not one
`;

test('a value is told with its path, its default and its meaning', () => {
  expect(chartValues(text)).toEqual([
    { path: 'image', default: { repository: 'holdfast' }, meaning: 'The image.' },
    { path: 'operator.replicas', default: 2, meaning: 'How many, and no fewer.' },
  ]);
  expect(chartReadme(text)).toContain('| `operator.replicas` | `2` | How many, and no fewer. |');
});

test('a meaning without a key is a mistake', () => {
  expect(() => chartValues('# -- Of what?\n- a\n')).toThrow('line 2: "# -- Of what?" has no key below it');
});

/** Somebody who reads the table finds everything. */
test('every value of the chart is told of', () => {
  const yaml = readFileSync(path.join(import.meta.dirname, 'holdfast/values.yaml'), 'utf8');
  const told = chartValues(yaml).map((value) => value.path);
  const leaves = (value: unknown, at: string): string[] =>
    told.includes(at) || typeof value !== 'object' || value === null || Array.isArray(value)
      ? [at]
      : Object.entries(value).flatMap(([key, child]) => leaves(child, at === '' ? key : `${at}.${key}`));
  expect(leaves(load(yaml), '').filter((leaf) => !told.includes(leaf))).toEqual([]);
});
