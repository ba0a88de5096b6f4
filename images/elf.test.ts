import { expect, test } from '@jest/globals';
import { elfNeeds, elfNeedsOf } from './elf.ts';

test('a program says which loader and which libraries it needs', async () => {
  const needs = await elfNeedsOf(process.execPath);
  expect(needs?.interpreter).toMatch(/^\/lib.*\/ld-linux/);
  expect(needs?.libraries).toEqual(expect.arrayContaining(['libstdc++.so.6', 'libc.so.6']));
});

test('a script is no ELF file', () => {
  expect(elfNeeds(Buffer.from('#!/bin/sh\n'.padEnd(100)))).toBeUndefined();
});
