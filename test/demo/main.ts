// The demo: the main job on real kernels, told on the terminal. Run by `make demo`, inside a lab's own namespaces.
import { parseArgs } from 'node:util';
import { startLab } from '../lab/lab.ts';
import { LabError } from '../lab/errors.ts';
import { formatDuration, terminalProgress } from '../lab/progress.ts';
import { PRODUCT_LEASE_DURATION, startSystem, type System } from '../system/system.ts';
import { targets, type Figures } from './figures.ts';
import { isComplete, writeReport } from './report.ts';
import { runStory } from './story.ts';
import { createTeller, table } from './teller.ts';

const HELP = `usage: node test/lab/main.ts run [--keep] -- node test/demo/main.ts [options]

Starts a lab (4 storage VMs, 2 client VMs, a control plane), installs Holdfast in it and tells its main job.

options:
  --keep         leave the lab and the volume running at the end
  --report DIR   where demo-report.json and demo-report.html go (default build)
  --help         this text
`;

const { values } = parseArgs({
  options: {
    keep: { type: 'boolean', default: false },
    report: { type: 'string', default: 'build' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  process.stdout.write(HELP);
} else {
  process.exitCode = await demo(values.keep, values.report);
}

async function demo(keep: boolean, reportDir: string): Promise<number> {
  const tell = createTeller(process.stdout);
  tell.chapter('The lab starts: real kernels, a real API server');
  let system: System | undefined;
  const figures: Partial<Figures> = {};
  try {
    const lab = await startLab({ appDir: 'dist', progress: terminalProgress(process.stderr) });
    figures.startupSeconds = Math.round(lab.timings.totalMs / 100) / 10;
    tell.good(
      `${lab.vms.length} VMs and the control plane are ready after ${formatDuration(lab.timings.totalMs)} (${lab.accelerator})`,
    );
    system = await startSystem(lab, { leaseDuration: PRODUCT_LEASE_DURATION });
    Object.assign(figures, await runStory(lab, system, tell, { keep }));
    figures.totalSeconds = Math.round(tell.now() / 100) / 10;
    const met = await summary(figures, tell, reportDir);
    if (keep) {
      process.stdout.write(keptText(lab.controlPlane.kubeconfigPath));
      await lab.keep();
      await new Promise(() => undefined);
    }
    await system.stop();
    await lab.stop();
    return met ? 0 : 1;
  } catch (error) {
    tell.fault(error instanceof LabError ? error.message : String((error as Error).stack ?? error));
    if (system) await diagnose(system);
    figures.totalSeconds = Math.round(tell.now() / 100) / 10;
    await writeReport(reportDir, figures, tell.moments, tell.spans);
    return 1;
  }
}

async function summary(
  figures: Partial<Figures>,
  tell: ReturnType<typeof createTeller>,
  reportDir: string,
): Promise<boolean> {
  tell.chapter('What happened');
  const times = tell.moments
    .filter(({ kind }) => kind === 'step')
    .map(({ atMs, text }) => [`${(atMs / 1000).toFixed(1)} s`, text]);
  process.stdout.write(`${table(['at', 'what'], times)}\n\n`);
  const rows = isComplete(figures) ? targets(figures) : [];
  process.stdout.write(
    `${table(
      ['figure', 'measured', 'should be', ''],
      rows.map(({ name, measured, target, met }) => [name, measured, target, met ? 'ok' : 'MISSED']),
    )}\n\n`,
  );
  tell.fact('lab ready after', `${figures.startupSeconds} s`);
  tell.fact('healed in', `${figures.healSeconds} s`);
  tell.fact('failed over in', `${figures.failoverSeconds} s`);
  tell.fact('the whole demo', `${figures.totalSeconds} s`);
  const { json, html } = await writeReport(reportDir, figures, tell.moments, tell.spans);
  tell.say(`report: ${html} and ${json}`);
  // What depends on how busy this machine is was shown; only what is wrong on any machine fails the demo.
  return rows.length > 0 && rows.every(({ met, timing }) => met || timing);
}

function keptText(kubeconfig: string): string {
  return `
The lab stays. Look around:
  make demo-kubectl ARGS="get rv,vr,vc,sn"
  make demo-kubectl ARGS="describe rv pg"
  node_modules/.bin/node test/lab/main.ts exec --name demo c2 'cat /sys/block/md_hf_*/md/array_state; df -h /mnt/data'
  node_modules/.bin/node test/lab/main.ts fault --name demo cut s1        # and watch: make demo-kubectl ARGS="get rv -w"
  node_modules/.bin/node test/lab/main.ts fault --name demo restore s1
kubeconfig (inside the lab's network): ${kubeconfig}
End it with: make demo-clean
`;
}

/** After a failure: what every program said last. */
async function diagnose(system: System): Promise<void> {
  section('operator', system.tail('operator'));
  section('csi-controller', system.tail('csi-controller'));
  for (const vm of system.lab.vms) {
    if (vm.running()) section(vm.name, await system.guestLog(vm).catch(String));
  }
}

function section(title: string, text: string): void {
  process.stderr.write(`\n--- ${title}\n${text.trim().split('\n').slice(-25).join('\n')}\n`);
}
