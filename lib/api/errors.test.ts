import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { errorCodes, HoldfastError } from './errors.ts';

const page = readFileSync(path.join(import.meta.dirname, '../../docs/reference/errors.md'), 'utf8');
const sections = page.split(/^## /m).slice(1);

test.each(Object.entries(errorCodes))('%s (%s) is explained in docs/reference/errors.md', (code, title) => {
  const section = sections.find((text) => text.startsWith(`${code}: `));
  expect(section?.split('\n')[0]).toBe(`${code}: ${title}`);
  const body = section?.split('\n').slice(1).join(' ').trim() ?? '';
  expect(body.length).toBeGreaterThan(80);
});

test('the page explains no code that does not exist, and each once', () => {
  const explained = sections.flatMap((text) => /^(HF\d+)/.exec(text)?.[1] ?? []);
  expect(explained).toEqual(Object.keys(errorCodes).sort());
});

test('an error carries its code in its message, its field and its cause', () => {
  const cause = new Error('below');
  const error = new HoldfastError('HF001', 'wrong', { field: 'spec', cause });
  expect([error.message, error.code, error.field, error.cause]).toEqual(['HF001: wrong', 'HF001', 'spec', cause]);
});
