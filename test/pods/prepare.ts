/** Builds all that the pod lab needs from the network: outside of the lab, which leads nowhere. */
import { prepareAssets } from '../lab/assets/index.ts';
import { LabError } from '../lab/errors.ts';
import { terminalProgress } from '../lab/progress.ts';
import { preparePods } from './cluster.ts';

const progress = terminalProgress(process.stderr);
try {
  await prepareAssets(progress);
  await preparePods(progress);
} catch (error) {
  if (!(error instanceof LabError)) throw error;
  process.stderr.write(`pods: ${error.message}\n`);
  process.exit(1);
}
