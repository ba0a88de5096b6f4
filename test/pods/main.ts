/**
 * The pod test: Holdfast installed by its chart into a cluster whose nodes are VMs, and used by pods while things break.
 * `make test-pods` runs it in the lab.
 */
import { parseArgs } from 'node:util';
import { terminalProgress } from '../lab/progress.ts';
import { startCluster } from './cluster.ts';
import { diagnose } from './diagnose.ts';
import { CONTROL_NODES, APP_NODES } from './manifests.ts';
import { teller, writeReport } from './report.ts';
import { PARTS, runStory } from './story.ts';

const { values } = parseArgs({
  options: {
    keep: { type: 'boolean', default: false },
    // Names of parts of the story, with commas.
    without: { type: 'string', default: '' },
  },
});
const without = new Set(values.without.split(',').filter((name) => name !== ''));
const unknown = [...without].filter((name) => !(name in PARTS));
if (unknown.length > 0) throw new Error(`--without ${unknown.join(',')}: there are ${Object.keys(PARTS).join(', ')}`);
const out = (text: string): void => void process.stdout.write(text);
const tell = teller(out);
const startedMs = performance.now();
const cluster = await startCluster({
  storage: 3,
  clients: 2,
  nodes: {
    s1: { ...CONTROL_NODES, 'holdfast.dev/storage': 'true' },
    c1: APP_NODES,
    c2: APP_NODES,
  },
  progress: terminalProgress(process.stderr),
});
try {
  out(`the cluster is started (${Math.round((performance.now() - startedMs) / 1000)} s)\n`);
  await runStory(cluster, tell, without);
} catch (error) {
  out(`${error instanceof Error ? error.stack : String(error)}\n\n${await diagnose(cluster)}\n`);
  process.exitCode = 1;
  if (values.keep) {
    await cluster.lab.keep();
    await new Promise(() => undefined);
  }
} finally {
  out(`report: ${await writeReport(tell.report())}\n`);
  await cluster.stop();
}
