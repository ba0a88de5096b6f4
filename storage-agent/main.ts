import { commonOptions, orExit, parseOrExit, type OptionSpecs } from '../lib/cli.ts';
import { serveHealthIfAsked } from '../lib/health.ts';
import { connect } from '../lib/kube/client.ts';
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
const connection = await orExit('storage-agent', () =>
  connect({ kubeconfigPath: values.kubeconfig, userAgent: `storage-agent/${version}` }),
);
const agent = startAgent({
  kube: kubeOver(connection),
  node: values.node,
  namespace: values.namespace,
  leaseDurationMs: values['lease-duration'],
  version,
  host: thisHost(),
  log,
});
const health = await orExit('storage-agent', () => serveHealthIfAsked(values.health, agent.ready));
log.info('started', { node: values.node, version });

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
    .finally(() => {
      connection.close();
      void health?.close();
    });
};
process.on('SIGTERM', stop).on('SIGINT', stop);
