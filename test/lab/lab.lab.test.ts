import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startLab, type Lab } from './lab.ts';
import { waitFor } from './process.ts';
import type { Vm } from './vm/vm.ts';

let lab: Lab;
let s1: Vm;
let s2: Vm;
let c1: Vm;
let appDir: string;

beforeAll(async () => {
  appDir = mkdtempSync(path.join(os.tmpdir(), 'holdfast-app-'));
  writeFileSync(path.join(appDir, 'hello.mjs'), 'console.log("hello from " + process.version)');
  lab = await startLab({ storage: 2, clients: 1, appDir });
  s1 = lab.vm('s1');
  s2 = lab.vm('s2');
  c1 = lab.vm('c1');
}, 180_000);

afterAll(async () => {
  await lab?.stop();
  rmSync(appDir, { recursive: true, force: true });
});

/** Whether one VM can reach another end by ICMP echo, within a second. */
async function reaches(from: Vm, to: string): Promise<boolean> {
  const result = await from.exec(`ping -c 1 -W 1 -q ${to}`, { check: false });
  return result.code === 0;
}

describe('a lab', () => {
  test('gives each VM its name, its addresses and the programs', async () => {
    for (const vm of [s1, s2, c1]) {
      const seen = await vm.exec(
        'hostname; cat /etc/nvme/hostnqn; cat /sys/class/net/eth0/address; node /opt/holdfast/hello.mjs',
      );
      expect(seen.stdout.split('\n')).toEqual([
        vm.name,
        vm.hostNqn,
        expect.any(String),
        expect.stringMatching(/^hello from v24/),
        '',
      ]);
    }
    expect(new Set([s1, s2, c1].map((vm) => vm.hostNqn)).size).toBe(3);
    expect(await reaches(s1, 's2')).toBe(true);
    expect(await reaches(c1, 'control-plane')).toBe(true);
  }, 60_000);

  test('has clocks that agree with the host', async () => {
    const { offsetMs } = await s1.clock();
    expect(Math.abs(offsetMs)).toBeLessThan(100);
  });

  test('reaches the API server from a guest, with credentials of its own', async () => {
    await c1.writeFile('/tmp/kubeconfig', lab.controlPlane.kubeconfigForToken('nobody'), 0o600);
    const script = `const c = JSON.parse(require('fs').readFileSync('/tmp/kubeconfig', 'utf8')).clusters[0].cluster;
      require('https').get(c.server + '/version', { ca: Buffer.from(c['certificate-authority-data'], 'base64') }, (r) => { console.log(r.statusCode); process.exit(); });`;
    const seen = await c1.exec('node -', { input: script });
    expect(seen.stdout.trim()).toMatch(/^(200|401|403)$/);
  }, 30_000);

  test('runs daemons that outlive the command that started them', async () => {
    const pid = await s1.spawn(`sh -c 'echo "$GREETING"; sleep 1000'`, {
      logFile: '/var/log/greeter.log',
      env: { GREETING: "it's me" },
    });
    await waitFor(
      'the output of the daemon',
      async () => ((await s1.readFile('/var/log/greeter.log')).length > 0 ? true : undefined),
      {
        timeoutMs: 5_000,
      },
    );
    expect((await s1.readFile('/var/log/greeter.log')).toString()).toBe("it's me\n");
    expect((await s1.exec(`cat /proc/${pid}/stat`)).stdout).toContain(String(pid));
    expect(await lab.faults.killProgram(s1, 'sleep 1000')).toBeGreaterThan(0);
    await expect(lab.faults.killProgram(s1, 'no such program')).rejects.toThrow('no process matches');
  }, 30_000);

  test('passes binary files both ways, whole', async () => {
    const data = Buffer.from(Array.from({ length: 500_000 }, (_, index) => (index * 7919) % 256));
    await s1.writeFile('/tmp/a folder/file', data, 0o640);
    expect((await s1.readFile('/tmp/a folder/file')).equals(data)).toBe(true);
    expect((await s1.exec("stat -c %a '/tmp/a folder/file'")).stdout).toBe('640\n');
  }, 30_000);

  test('says which VM and which command failed, and kills what takes too long', async () => {
    await expect(s1.exec('echo oops >&2; exit 7')).rejects.toThrow(/s1: echo oops[\s\S]*exit code 7[\s\S]*oops/);
    await expect(s1.exec('sleep 100', { timeoutMs: 500 })).rejects.toThrow('not finished after 0.5 s');
    expect((await s1.exec('pgrep -x sleep -a | grep -c "sleep 100" || true')).stdout).toBe('0\n');
    expect(() => lab.vm('s9')).toThrow('there is no VM s9; there are s1, s2, c1');
  }, 30_000);
});

const received = async (vm: Vm): Promise<number> =>
  Number((await vm.exec('cat /sys/class/net/eth0/statistics/rx_packets')).stdout);

describe('faults of the network', () => {
  test('a cut link is cut both ways, and the VM can still be commanded', async () => {
    await lab.faults.cutLink(s1);
    expect(await reaches(s1, 's2')).toBe(false);
    expect(await reaches(s2, 's1')).toBe(false);
    expect(await reaches(s2, 'c1')).toBe(true);
    await lab.faults.restoreLink(s1);
    expect(await reaches(s2, 's1')).toBe(true);
  }, 30_000);

  test('one way: requests arrive and answers are lost', async () => {
    await lab.faults.cutOneWay(s1, 'fromVm');
    const before = await received(s1);
    expect(await reaches(s2, 's1')).toBe(false);
    expect(await received(s1)).toBeGreaterThan(before);
    await lab.faults.restoreLink(s1);
    await lab.faults.cutOneWay(s1, 'toVm');
    expect(await reaches(s1, 's2')).toBe(false);
    await lab.faults.restoreLink(s1);
    expect(await reaches(s1, 's2')).toBe(true);
  }, 30_000);

  test('between two: both still reach everybody else; and a power cycle does not mend it', async () => {
    await lab.faults.cutBetween(c1, s1);
    await lab.faults.cutBetween(s2, 'control-plane');
    const seen = async () => [
      await reaches(c1, 's1'),
      await reaches(s1, 'c1'),
      await reaches(c1, 's2'),
      await reaches(s1, 'control-plane'),
      await reaches(s2, 'control-plane'),
    ];
    expect(await seen()).toEqual([false, false, true, true, false]);
    for (const vm of [s1, s2]) {
      await lab.faults.powerOff(vm);
      await lab.faults.powerOn(vm);
    }
    expect(await seen()).toEqual([false, false, true, true, false]);
    await lab.faults.restoreBetween(c1, s1);
    await lab.faults.restoreBetween(s2, 'control-plane');
    expect(await seen()).toEqual([true, true, true, true, true]);
  }, 90_000);

  test('delay and loss', async () => {
    await lab.faults.impair(s1, { delayMs: 200 });
    const answer = await s2.exec('ping -c 2 -W 3 s1');
    expect(Number(/min\/avg\/max\/mdev = ([\d.]+)/.exec(answer.stdout)?.[1])).toBeGreaterThan(190);
    await lab.faults.impair(s1, { lossPercent: 100 });
    expect(await reaches(s2, 's1')).toBe(false);
    await lab.faults.impair(s1, {});
    expect(await reaches(s2, 's1')).toBe(true);
  }, 30_000);
});

describe('faults of machines', () => {
  test('a power cycle keeps the disks and the identity, and nothing else', async () => {
    await s1.exec(
      'printf kept | dd of=/dev/vdc bs=512 conv=sync oflag=direct; touch /tmp/lost; echo "last words" > /dev/virtio-ports/holdfast.log',
    );
    await lab.faults.powerOff(s1);
    expect(s1.running()).toBe(false);
    await expect(s1.exec('true')).rejects.toThrow('s1 is powered off');
    expect(readFileSync(s1.ackLogFile, 'utf8')).toBe('last words\n');
    expect(await reaches(s2, 's1')).toBe(false);
    const started = performance.now();
    await lab.faults.powerOn(s1);
    expect(performance.now() - started).toBeLessThan(30_000);
    const seen = await s1.exec('head -c 4 /dev/vdc; echo; ls /tmp; cat /etc/nvme/hostnqn');
    expect(seen.stdout).toBe(`kept\n${s1.hostNqn}\n`);
    expect(await reaches(s2, 's1')).toBe(true);
  }, 60_000);

  test('a broken disk answers with errors until it is repaired', async () => {
    const write = 'dd if=/dev/zero of=/dev/vdc bs=4096 seek=100 count=1 oflag=direct 2>&1';
    const read = 'dd if=/dev/vdc of=/dev/null bs=4096 skip=100 count=1 iflag=direct 2>&1';
    await s2.exec(write);
    await lab.faults.breakDisk(s2);
    expect((await s2.exec(write, { check: false })).stdout).toContain('Input/output error');
    expect((await s2.exec(read, { check: false })).stdout).toContain('Input/output error');
    await lab.faults.breakDisk(s2, { requests: 'write' });
    expect((await s2.exec(write, { check: false })).stdout).toContain('Input/output error');
    await s2.exec(read);
    await lab.faults.repairDisk(s2);
    await s2.exec(write);
    await s2.exec(read);
    await expect(lab.faults.breakDisk(s2, { index: 3 })).rejects.toThrow('there is no disk 3');
  }, 30_000);

  test('the API server goes away, hangs, and comes back with its data', async () => {
    const { faults, controlPlane } = lab;
    const get = async (timeoutMs = 20_000): Promise<string> => {
      const script = `process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
        fetch('${controlPlane.url}/readyz', { signal: AbortSignal.timeout(${timeoutMs}) })
          .then((r) => console.log(r.status), (e) => console.log(e.cause?.code ?? e.name));`;
      return (await c1.exec('node -', { input: script })).stdout.trim();
    };
    expect(await get()).toBe('200');
    await faults.stopApiServer('crash');
    expect(await get()).toBe('ECONNREFUSED');
    await faults.startApiServer();
    expect(await get()).toBe('200');
    await faults.stopApiServer('freeze');
    expect(await get(4_000)).toBe('TimeoutError');
    await faults.startApiServer();
    expect(await get()).toBe('200');
  }, 120_000);
});

/** Processes of this namespace (and those within) whose environment has a mark. */
const marked = (mark: string): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`LAB_MARK=${mark}`);
      } catch {
        return false; // gone in the meantime
      }
    });

describe('one after the other', () => {
  test('a second lab is refused while the first runs, and starts from nothing when it has stopped', async () => {
    await expect(startLab({ storage: 1, clients: 0 })).rejects.toThrow('a lab is running in this network already');
    await s1.exec('printf old | dd of=/dev/vdc bs=512 conv=sync oflag=direct');
    await lab.stop();
    lab = await startLab({ storage: 1, clients: 0, withControlPlane: false });
    expect((await lab.vm('s1').exec('head -c 3 /dev/vdc | tr "\\0" 0')).stdout).toBe('000');
    expect(() => lab.controlPlane).toThrow('without a control plane');
  }, 120_000);
});

describe('however it ends, nothing is left', () => {
  test.each(['SIGKILL', 'SIGINT', 'SIGTERM'] as const)(
    'when the command line gets %s',
    async (signal) => {
      const mark = `${process.pid}-${signal}`;
      // A lab's usual inhabitants: a daemon in its own session, and a program that ignores polite requests.
      const program = 'setsid sleep 1000 & trap "" INT TERM HUP; sleep 1000 & wait; sleep 1000';
      const main = path.join(import.meta.dirname, 'main.ts');
      const child = spawn(
        process.execPath,
        [main, 'run', '--name', `mark-${signal.toLowerCase()}`, '--', 'sh', '-c', program],
        {
          env: { ...process.env, LAB_MARK: mark },
          stdio: 'ignore',
        },
      );
      await waitFor('the lab', () => (marked(mark).length >= 6 ? true : undefined), { timeoutMs: 20_000 });
      child.kill(signal);
      await new Promise((resolve) => {
        setTimeout(resolve, 500);
      });
      if (signal !== 'SIGKILL') child.kill(signal); // the second time in earnest
      await waitFor('the end of everything', () => (marked(mark).length === 0 ? true : undefined), {
        timeoutMs: 15_000,
      });
      expect(marked(mark)).toEqual([]);
    },
    60_000,
  );
});
