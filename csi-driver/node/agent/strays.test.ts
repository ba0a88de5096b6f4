import { expect, test } from '@jest/globals';
import { VALVE_PREFIX, replicaNqn, valveName } from '../../../lib/api/names.ts';
import type { Logger } from '../../../lib/log.ts';
import type { AgentPorts } from './ports.ts';
import { removeStrays } from './strays.ts';

const uid = (letter: string): string => `${letter.repeat(8)}-0000-4000-8000-000000000000`;
const nqn = (letter: string): string => replicaNqn(uid(letter), '0123456789abcdef');

/** A kernel with a controller and a valve per letter; those in upper case are members of a running array. */
async function sweep(
  letters: string,
  known: readonly string[],
  links: Readonly<Record<string, string>> = {},
  appears?: string,
): Promise<string[]> {
  const done: string[] = [];
  const names = new Set([...known.map(nqn), '/dev/holdfast/known']);
  const legs = letters.split('').map((letter, i) => ({
    nqn: nqn(letter.toLowerCase()),
    i,
    held: letter !== letter.toLowerCase(),
  }));
  const ports = {
    md: {
      list: () => ['md_hf_1'],
      readArray: () => ({ members: legs.filter(({ held }) => held).map(({ i }) => ({ device: `dm-${i}` })) }),
    },
    valves: {
      list: (prefix: string) =>
        new Map(
          prefix === VALVE_PREFIX
            ? legs.map((leg) => [valveName(leg.nqn), { name: valveName(leg.nqn), device: `dm-${leg.i}` }])
            : [],
        ),
      open: (name: string) => Promise.resolve(void done.push(`open ${name.at(VALVE_PREFIX.length)}`)),
      remove: (name: string) => {
        if (appears !== undefined) names.add(nqn(appears));
        return Promise.resolve(void done.push(`remove ${name.at(VALVE_PREFIX.length)}`));
      },
    },
    nvme: {
      listControllers: () => legs.map((leg) => ({ name: `nvme${leg.i}`, nqn: leg.nqn, state: 'live' })),
      deleteController: (name: string) => Promise.resolve(void done.push(`delete ${name}`)),
    },
    links: {
      list: () => Object.keys(links),
      read: (path: string) => links[path],
      remove: (path: string) => Promise.resolve(void done.push(`unlink ${path}`)),
    },
  } as unknown as AgentPorts;
  const log = { info: () => undefined, warn: () => undefined } as unknown as Logger;
  await removeStrays(() => names, { ports, log });
  return done;
}

test('what nobody answers for goes, the valve before its controller', async () => {
  expect(await sweep('ab', ['a'])).toEqual(['open b', 'remove b', 'delete nvme1']);
});

// Given a volume that is attached while the strays of another are removed, then its new controllers are nobody's strays.
test('what somebody has come to answer for meanwhile stays', async () => {
  expect(await sweep('abc', ['a'], {}, 'c')).toEqual(['open b', 'remove b', 'delete nvme1']);
});

test('what is below a running array stays, although nobody lists it', async () => {
  expect(await sweep('aB', ['a'])).toEqual([]);
});

// Found by the simulation: an agent killed between the end of the array and that of its link left the link for ever.
test("a link goes when its volume is nobody's and its array is gone", async () => {
  const links = {
    '/dev/holdfast/known': '/dev/md_hf_2',
    '/dev/holdfast/runs': '/dev/md_hf_1',
    '/dev/holdfast/left': '/dev/md_hf_2',
  };
  expect(await sweep('', [], links)).toEqual(['unlink /dev/holdfast/left']);
});
