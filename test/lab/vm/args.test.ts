import { expect, test } from '@jest/globals';
import type { GuestAssets } from '../assets/guest.ts';
import { identityOf, identityScript } from './identity.ts';
import { qemuArgs, type Backends, type Hardware, type Memory } from './qemu-args.ts';
import { parseQmpReply } from './qmp.ts';

const guest: GuestAssets = { dir: '/g', vmlinux: '/g/v', initrd: '/g/i', root: '/g/r', kernelRelease: '6.12' };
const qemu = { binary: '/q', baseArgs: ['-L', '/fw'], version: '10.0.2' };
const hardware: Hardware = { accelerator: 'tcg', memoryMiB: 256, dataDisks: 1, kernelArgs: 'nvme_core.multipath=N' };
const backends: Backends = {
  tap: 't-s1',
  mac: '52:54:00:77:00:0b',
  appImage: '/app',
  dataImages: [{ file: '/disk', serial: 's1-disk1' }],
  consoleFile: '/c',
  ackLogFile: '/a',
  qgaSocket: '/qga',
  qmpSocket: '/qmp',
};
const args = (memory: Memory, change: Partial<Hardware> = {}): string =>
  qemuArgs(qemu, guest, 's1', { ...hardware, ...change }, backends, memory).join(' ');

const devices = (text: string): string[] => [...text.matchAll(/-device (\S+)/g)].map((match) => match[1] ?? '');

test('the same devices in the same order, whether a guest boots, is to be saved or resumes', () => {
  const plain = devices(args({ kind: 'plain' }));
  expect(plain).toHaveLength(9);
  expect(devices(args({ kind: 'template', file: '/ram' }))).toEqual(plain);
  expect(devices(args({ kind: 'resume', file: '/ram' }))).toEqual(plain);
});

test('a resumed guest maps the saved memory privately and read-only: it can never change it for others', () => {
  const resumed = args({ kind: 'resume', file: '/ram' });
  expect(resumed).toContain('mem-path=/ram,share=off,readonly=on');
  expect(resumed).toContain('-incoming defer');
  expect(args({ kind: 'template', file: '/ram' })).toContain('mem-path=/ram,share=on');
});

test('kernel arguments, accelerator and errors of disks', () => {
  expect(args({ kind: 'plain' })).toContain('nvme_core.multipath=N');
  expect(args({ kind: 'plain' })).toContain('-accel tcg');
  expect(args({ kind: 'plain' }, { accelerator: 'kvm' })).toContain('-accel kvm -cpu host');
  expect(args({ kind: 'plain' })).toContain('serial=s1-disk1,werror=report,rerror=report');
});

test('a name has one identity, for ever, and no two names share one', () => {
  const first = identityOf('s1', 1);
  expect(first).toEqual(identityOf('s1', 1));
  expect(first.address).toBe('10.77.0.11');
  expect(first.mac).toBe('52:54:00:77:00:0b');
  expect(first.hostNqn).toMatch(
    /^nqn\.2014-08\.org\.nvmexpress:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/,
  );
  expect(first.hostNqn.endsWith(first.hostId)).toBe(true);
  expect(first.machineId).toMatch(/^[0-9a-f]{32}$/);
  expect(identityOf('s2', 2).hostId).not.toBe(first.hostId);
});

test('faults of a link are in place before the link is', () => {
  const script = identityScript(identityOf('s1', 1), ['10.77.0.1 control-plane'], true, 'tc something').split('\n');
  expect(script.indexOf('tc something')).toBeLessThan(script.indexOf('ip link set eth0 up'));
  expect(script).toContain('mount -t erofs -o ro /dev/vdb /opt/holdfast');
  expect(identityScript(identityOf('s1', 1), [], false, '')).not.toContain('/opt/holdfast');
});

test("QEMU's answers are told from events and from answers to others", () => {
  expect(parseQmpReply(Buffer.from('{"return": {"status": "running"}, "id": 4}'), 4)).toEqual({
    value: { status: 'running' },
  });
  expect(parseQmpReply(Buffer.from('{"return": {}, "id": 3}'), 4)).toBeUndefined();
  expect(parseQmpReply(Buffer.from('{"event": "STOP", "timestamp": {}}'), 4)).toBeUndefined();
  expect(() =>
    parseQmpReply(Buffer.from('{"error": {"class": "GenericError", "desc": "no such node"}, "id": 4}'), 4),
  ).toThrow('QEMU refused: no such node');
});
