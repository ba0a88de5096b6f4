import type { Fault, Round, Schedule, Step } from './schedule.ts';

/** A schedule file can't be used; the message names the place and what would be right. */
export class ScheduleError extends Error {
  override readonly name = 'ScheduleError';
}

/** The fields of each fault, and what they may be. */
const FIELDS: Readonly<Record<Fault['kind'], Readonly<Record<string, readonly unknown[] | 'number'>>>> = {
  'storage-power': { leg: 'number' },
  'client-power': {},
  'all-power': {},
  'leg-cut': { leg: 'number', way: ['both', 'sent', 'received'] },
  'client-api-cut': { way: ['both', 'sent', 'received'] },
  'storage-api-cut': { leg: 'number', way: ['both', 'sent', 'received'] },
  'client-cut': { failOver: [true, false] },
  kill: { program: ['client-agent', 'storage-agent', 'operator', 'controller', 'writer'], leg: 'number' },
  freeze: { program: ['client-agent', 'storage-agent'], leg: 'number' },
  'api-down': { how: ['crash', 'freeze'] },
  'disk-errors': { leg: 'number', requests: ['all', 'read', 'write'] },
  'disk-slow': { leg: 'number' },
  'dm-error': { leg: 'number' },
  'dm-flakey': { leg: 'number' },
  'dm-delay': { leg: 'number', byMs: 'number' },
  'pool-full': { leg: 'number' },
  'clock-jump': { where: ['client', 'storage'], leg: 'number', byMs: 'number' },
  'storage-stall': { leg: 'number' },
  move: {},
};

/**
 * Reads a schedule as `chaos` writes it.
 * @throws ScheduleError that names the place and what would be right
 */
export function parseSchedule(text: string): Schedule {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ScheduleError(`it is not JSON: ${(error as Error).message}`, { cause: error });
  }
  const { seed, rounds } = objectAt(value, 'the schedule');
  if (!Array.isArray(rounds)) throw new ScheduleError(`rounds is ${show(rounds)}: it must be a list of rounds`);
  return {
    seed: numberAt(seed ?? 0, 'seed'),
    rounds: rounds.map((round, index) => roundAt(round, `rounds[${index}]`)),
  };
}

function roundAt(value: unknown, at: string): Round {
  const { pattern = 'given', volume, steps, detach = true } = objectAt(value, at);
  if (typeof pattern !== 'string') throw new ScheduleError(`${at}.pattern is ${show(pattern)}: it must be a word`);
  if (volume !== 'raw' && volume !== 'file')
    throw new ScheduleError(`${at}.volume is ${show(volume)}: it must be "raw" or "file"`);
  if (!Array.isArray(steps)) throw new ScheduleError(`${at}.steps is ${show(steps)}: it must be a list of steps`);
  if (typeof detach !== 'boolean') throw new ScheduleError(`${at}.detach is ${show(detach)}: it must be true or false`);
  return { pattern, volume, detach, steps: steps.map((step, index) => stepAt(step, `${at}.steps[${index}]`)) };
}

function stepAt(value: unknown, at: string): Step {
  const step = objectAt(value, at);
  const fault = objectAt(step['fault'], `${at}.fault`);
  const { kind } = fault;
  if (typeof kind !== 'string' || !Object.hasOwn(FIELDS, kind))
    throw new ScheduleError(`${at}.fault.kind is ${show(kind)}: it must be one of ${Object.keys(FIELDS).join(', ')}`);
  for (const [name, allowed] of Object.entries(FIELDS[kind as Fault['kind']])) {
    if (allowed === 'number') numberAt(fault[name], `${at}.fault.${name}`);
    else if (!allowed.includes(fault[name]))
      throw new ScheduleError(`${at}.fault.${name} is ${show(fault[name])}: it must be one of ${allowed.join(', ')}`);
  }
  const { after } = step;
  if (after !== undefined && after !== 'sync')
    throw new ScheduleError(`${at}.after is ${show(after)}: it must be "sync", or be left out`);
  return {
    ...(after === undefined ? {} : { after }),
    atMs: numberAt(step['atMs'], `${at}.atMs`),
    forMs: numberAt(step['forMs'], `${at}.forMs`),
    fault: fault as unknown as Fault,
  };
}

function objectAt(value: unknown, at: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new ScheduleError(`${at} is ${show(value)}: it must be an object`);
}

function numberAt(value: unknown, at: string): number {
  if (typeof value === 'number' && Number.isInteger(value)) return value;
  throw new ScheduleError(`${at} is ${show(value)}: it must be a whole number`);
}

const show = (value: unknown): string => (value === undefined ? 'missing' : JSON.stringify(value));
