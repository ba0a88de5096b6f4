import { startLab } from '../lab/lab.ts';

export interface GateLab {
  /** Release of the guest's kernel. */
  readonly kernel: string;
  /** Runs one scenario in the VM and gives what it saw. Throws with the kernel's last words when it fails. */
  readonly scenario: <T>(name: string, options: unknown) => Promise<T>;
  readonly stop: () => Promise<void>;
}

/** A minute on a quiet machine at most; emulated CPUs that share theirs with other work take many times that. */
const SCENARIO_MS = 450_000;

/** One VM that is client and storage in one: the gate needs no more. */
export async function startGateLab(): Promise<GateLab> {
  const lab = await startLab({
    storage: 0,
    clients: 1,
    clientMemoryMiB: 1024,
    withControlPlane: false,
    appDir: 'dist',
  });
  const vm = lab.vm('c1');
  return {
    kernel: (await vm.exec('uname -r')).stdout.trim(),
    scenario: async <T>(name: string, options: unknown): Promise<T> => {
      const command = `node /opt/holdfast/gate.mjs ${name} '${JSON.stringify(options)}' 2>&1`;
      const { code, stdout } = await vm.exec(command, { timeoutMs: SCENARIO_MS, check: false });
      if (code !== 0) {
        // Node shows the line of the bundle that threw: a screenful of it.
        const said = stdout.split('\n').filter((line) => line.length < 500);
        throw new Error(`${name}: ${said.join('\n')}\n${(await vm.exec('dmesg | tail -40')).stdout}`);
      }
      const line = stdout.trimEnd().split('\n').at(-1) ?? '';
      if (process.env['HOLDFAST_GATE_SHOW'] === '1') process.stderr.write(`${command.slice(28, -5)} ${line}\n`);
      return JSON.parse(line) as T;
    },
    stop: lab.stop,
  };
}
