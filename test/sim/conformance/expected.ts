import type { Seen } from './scenarios.ts';

export const expected: Readonly<Record<string, Seen>> = {};
