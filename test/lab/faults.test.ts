import { describe, expect, test } from '@jest/globals';
import { faultHelp, faultWords, runFault } from './fault-words.ts';
import { vmSpecs, type Lab } from './lab.ts';
import { HEALTHY_LINK, linkScript } from './link-faults.ts';
import { tapName } from './network.ts';

const added = (state: Parameters<typeof linkScript>[0]): string[] =>
  linkScript(state)
    .split('\n')
    .filter((line) => line.includes(' add '));

describe('the script for a link', () => {
  test('a healthy link has nothing of ours, whatever it had before', () => {
    expect(linkScript(HEALTHY_LINK).split('\n')).toEqual([
      'tc qdisc del dev eth0 root 2>/dev/null || true',
      'tc qdisc del dev eth0 clsact 2>/dev/null || true',
    ]);
  });

  test('one direction or the other', () => {
    expect(added({ ...HEALTHY_LINK, losesInbound: true })).toEqual([
      'tc qdisc add dev eth0 clsact',
      'tc filter add dev eth0 ingress protocol all matchall action drop',
    ]);
    expect(added({ ...HEALTHY_LINK, losesOutbound: true, impairment: { delayMs: 5 } })).toEqual([
      'tc qdisc add dev eth0 root netem limit 10000 delay 5ms loss 100%',
    ]);
  });

  test('single peers, delay and loss together', () => {
    const state = {
      ...HEALTHY_LINK,
      deafTo: ['10.77.0.12'],
      muteTo: ['10.77.0.1'],
      impairment: { delayMs: 50, jitterMs: 10, lossPercent: 2, rateMbit: 100 },
    };
    expect(added(state)).toEqual([
      'tc qdisc add dev eth0 root netem limit 10000 delay 50ms 10ms loss 2% rate 100mbit',
      'tc qdisc add dev eth0 clsact',
      'tc filter add dev eth0 ingress protocol ip flower src_ip 10.77.0.12 action drop',
      'tc filter add dev eth0 egress protocol ip flower dst_ip 10.77.0.1 action drop',
    ]);
  });
});

/** A lab whose faults write down that they were called. */
function recorder(): { readonly lab: Lab; readonly calls: unknown[][] } {
  const calls: unknown[][] = [];
  const faults = new Proxy(
    {},
    {
      get:
        (_target, name) =>
        async (...args: unknown[]) =>
          await Promise.resolve(calls.push([name, ...args]) && 1),
    },
  );
  const lab = { vm: (name: string) => name, faults } as unknown as Lab;
  return { lab, calls };
}

describe('faults as words', () => {
  test.each([
    ['cut s1', ['cutLink', 's1']],
    ['cut s1 from', ['cutOneWay', 's1', 'fromVm']],
    ['cut-between c1 s1', ['cutBetween', 'c1', 's1', undefined]],
    ['cut-between c1 control-plane one-way', ['cutBetween', 'c1', 'control-plane', { from: 'c1' }]],
    ['impair s1 delay=50ms loss=1.5', ['impair', 's1', { delayMs: 50, lossPercent: 1.5 }]],
    ['impair s1', ['impair', 's1', {}]],
    ['kill s1 storage-agent TERM', ['killProgram', 's1', 'storage-agent', 'TERM']],
    ['break-disk s1 write', ['breakDisk', 's1', { requests: 'write' }]],
    ['stop-api freeze', ['stopApiServer', 'freeze']],
  ])('%s', async (words, call) => {
    const { lab, calls } = recorder();
    await runFault(lab, words.split(' '));
    expect(calls).toEqual([call]);
  });

  test.each([
    ['explode', 'there is no fault "explode"; there are: power-off'],
    ['cut', 'VM is missing'],
    ['cut s1 sideways', 'direction "sideways": it must be one of to, from'],
    ['impair s1 delay=soon', '"delay=soon": it must be delay=MS'],
    ['break-disk s1 toString', 'requests "toString": it must be one of all, read, write'],
  ])('%s: refused', async (words, message) => {
    const { lab, calls } = recorder();
    await expect(runFault(lab, words.split(' '))).rejects.toThrow(message);
    expect(calls).toEqual([]);
  });

  test('each is in the help', () => {
    for (const name of Object.keys(faultWords)) expect(faultHelp()).toContain(`fault ${name} `);
  });
});

describe('the VMs of a lab', () => {
  test('four zones, two clients, each with its own address', () => {
    const specs = vmSpecs({});
    expect(specs.map((spec) => `${spec.identity.name} ${spec.zone} ${spec.identity.address}`)).toEqual([
      's1 a 10.77.0.11',
      's2 b 10.77.0.12',
      's3 c 10.77.0.13',
      's4 d 10.77.0.14',
      'c1 a 10.77.0.15',
      'c2 b 10.77.0.16',
    ]);
    expect(specs.map((spec) => spec.dataDiskBytes.length)).toEqual([1, 1, 1, 1, 0, 0]);
  });

  test('a count that is none is refused', () => {
    expect(() => vmSpecs({ storage: -1 })).toThrow('storage is -1: it must be a whole number from 0 to 50');
    expect(() => vmSpecs({ clients: 1.5 })).toThrow('clients is 1.5');
    expect(() => tapName('a-very-long-name')).toThrow('longer than 13');
  });
});
