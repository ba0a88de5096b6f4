import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { startLab, type Lab } from '../../lab/lab.ts';
import type { Vm } from '../../lab/vm/vm.ts';
import { expected } from './expected.ts';

jest.setTimeout(4 * 60_000);

/** The script that simulated.test.ts runs on the simulated kernel, on a real one. */
describe('on the real kernel', () => {
  let lab: Lab;
  let vm: Vm;

  beforeAll(async () => {
    lab = await startLab({ storage: 0, clients: 1, clientMemoryMiB: 1024, withControlPlane: false, appDir: 'dist' });
    vm = lab.vm('c1');
  });

  afterAll(() => lab.stop());

  test.each(Object.keys(expected))('%s', async (name) => {
    const command = `UV_THREADPOOL_SIZE=16 node /opt/holdfast/conformance.mjs ${name} 2>&1`;
    const { stdout } = await vm.exec(command, { timeoutMs: 180_000, check: false });
    const line = stdout.trimEnd().split('\n').at(-1) ?? '';
    if (!line.startsWith('{')) throw new Error(`${name}: ${stdout}\n${(await vm.exec('dmesg | tail -40')).stdout}`);
    expect((JSON.parse(line) as Record<string, unknown>)[name]).toEqual(expected[name]);
  });
});
