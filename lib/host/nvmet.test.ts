import { describe, expect, test } from '@jest/globals';
import { Killer } from '../../storage-agent/testing/crash.ts';
import { FakeTarget } from '../../storage-agent/testing/fake-nvmet.ts';
import { createNvmet, preferredPortId, type ExportSpec, type Nvmet } from './nvmet.ts';

const NQN = 'nqn.2026-01.dev.holdfast:replica:u:b00t';
const SPEC: ExportSpec = {
  nqn: NQN,
  serial: '0123456789abcdef0123',
  model: 'Holdfast epoch 7',
  uuid: '11111111-2222-4333-8444-555555555555',
  devicePath: '/dev/dm-3',
  hostNqn: 'host-a',
  listeners: [],
};
const LISTENER = { ip: '10.0.0.1', port: 4420 };

function newTarget(debugfs = true): { target: FakeTarget; nvmet: Nvmet } {
  const target = new FakeTarget(new Killer(), { debugfs });
  const nvmet = createNvmet({ fs: target, exec: () => Promise.reject(new Error('no commands here')) });
  return { target, nvmet };
}

describe('an export', () => {
  test('is what was asked for', async () => {
    const { nvmet } = newTarget();
    await nvmet.create(SPEC);
    await nvmet.connectable(NQN, [LISTENER, { ip: 'fd00::1', port: 4421 }]);
    expect(await nvmet.observe(NQN)).toEqual({
      nqn: NQN,
      serial: SPEC.serial,
      model: SPEC.model,
      allowAnyHost: false,
      allowedHosts: ['host-a'],
      namespaces: [{ nsid: '1', devicePath: '/dev/dm-3', uuid: SPEC.uuid, enabled: true }],
      listeners: expect.arrayContaining([LISTENER, { ip: 'fd00::1', port: 4421 }]) as unknown,
    });
  });

  test('that began twice at the same time makes one port', async () => {
    const { nvmet, target } = newTarget();
    await nvmet.create(SPEC);
    await nvmet.create({ ...SPEC, nqn: `${NQN}2` });
    await Promise.all([nvmet.connectable(NQN, [LISTENER]), nvmet.connectable(`${NQN}2`, [LISTENER])]);
    expect(await target.list('/sys/kernel/config/nvmet/ports')).toEqual([String(preferredPortId(LISTENER))]);
  });

  test('uses the port of its address that somebody else has made', async () => {
    const { nvmet, target } = newTarget();
    const port = '/sys/kernel/config/nvmet/ports/1';
    await target.mkdir(port);
    for (const [name, value] of [
      ['trtype', 'tcp'],
      ['traddr', LISTENER.ip],
      ['trsvcid', '4420'],
    ] as const) {
      await target.write(`${port}/addr_${name}`, value);
    }
    await nvmet.create(SPEC);
    await nvmet.connectable(NQN, [LISTENER]);
    expect(await target.list(`${port}/subsystems`)).toEqual([NQN]);
  });

  test('takes the next number where the number of its port is taken by another address', async () => {
    const { nvmet, target } = newTarget();
    const taken = `/sys/kernel/config/nvmet/ports/${preferredPortId(LISTENER)}`;
    await target.mkdir(taken);
    await target.write(`${taken}/addr_trtype`, 'tcp');
    await target.write(`${taken}/addr_traddr`, '10.9.9.9');
    await nvmet.create(SPEC);
    await nvmet.connectable(NQN, [LISTENER]);
    expect(await target.list(`${taken}/subsystems`)).toEqual([]);
    expect(target.connect(NQN, 'host-a')).toBe(true);
  });
});

describe('removing', () => {
  test.each([[true], [false]])(
    'is only gone when the kernel has freed the controllers (debugfs: %s)',
    async (debugfs) => {
      const { nvmet, target } = newTarget(debugfs);
      await nvmet.create(SPEC);
      await nvmet.connectable(NQN, [LISTENER]);
      target.connect(NQN, 'host-a');
      expect(await nvmet.presence(NQN)).toBe('standing');
      await nvmet.remove(NQN);
      expect(await nvmet.presence(NQN)).toBe(debugfs ? 'draining' : 'unknown');
      expect(target.open.get('/dev/dm-3')).toBe(0);
      target.drain();
      expect(await nvmet.presence(NQN)).toBe(debugfs ? 'gone' : 'unknown');
    },
  );

  test('what is not there is done', async () => {
    const { nvmet } = newTarget();
    await nvmet.remove(NQN);
    expect(await nvmet.presence(NQN)).toBe('gone');
  });

  test('leaves the other exports of the port alone', async () => {
    const { nvmet, target } = newTarget();
    const other = `${NQN}2`;
    await nvmet.create(SPEC);
    await nvmet.create({ ...SPEC, nqn: other });
    await nvmet.connectable(NQN, [LISTENER]);
    await nvmet.connectable(other, [LISTENER]);
    target.connect(other, 'host-a');
    await nvmet.remove(NQN);
    expect(target.controllers.get(other)).toEqual(new Set(['host-a']));
    expect(await nvmet.list('nqn.2026-01.dev.holdfast:')).toEqual([other]);
  });
});
