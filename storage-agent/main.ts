import { HoldfastError } from '../lib/api/index.ts';
import { commonOptions, parseOrExit, type OptionSpecs } from '../lib/cli.ts';
import { connect, type KubeConnection } from '../lib/kube/client.ts';
import { kubeOver } from '../lib/kube/kube.ts';
import { createLogger, describeError } from '../lib/log.ts';
import { startAgent, thisHost } from './agent.ts';

const version = '0.1.0';

const options = {
  node: {
    type: 'string',
    env: 'NODE_NAME',
    required: true,
    description: 'name of the StorageNode object of this machine',
  },
  ...commonOptions,
} as const satisfies OptionSpecs;

const values = parseOrExit({
  name: 'storage-agent',
  summary: 'keeps the replicas of this machine: LVM thin volumes, exported by the kernel NVMe/TCP target',
  options,
});
const log = createLogger({ program: 'storage-agent', level: values['log-level'], format: values['log-format'] });
const connection = connectOrExit();
const agent = startAgent({
  kube: kubeOver(connection),
  node: values.node,
  namespace: values.namespace,
  leaseDurationMs: values['lease-duration'],
  version,
  host: thisHost(),
  log,
});
log.info('started', { node: values.node, version });

/** A kubeconfig that can't be used is a mistake of the person who starts the program: no stack trace. */
function connectOrExit(): KubeConnection {
  try {
    return connect({ kubeconfigPath: values.kubeconfig, userAgent: `storage-agent/${version}` });
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    process.stderr.write(`storage-agent: ${error.message}\n`);
    process.exit(2);
  }
}

let isStopping = false;
const stop = (signal: string): void => {
  if (isStopping) return;
  isStopping = true;
  log.info('stopping; exports stay as they are', { signal });
  agent
    .stop()
    .catch((error: unknown) => {
      log.error('did not stop in order', { error: describeError(error) });
      process.exitCode = 1;
    })
    .finally(() => connection.close());
};
process.on('SIGTERM', stop).on('SIGINT', stop);
