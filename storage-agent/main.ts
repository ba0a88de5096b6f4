import { commonOptions, orExit, parseOrExit, type OptionSpecs } from '../lib/cli.ts';
import { serveHealthIfAsked } from '../lib/health.ts';
import { connect } from '../lib/kube/client.ts';
import { kubeOver } from '../lib/kube/kube.ts';
import { createLogger } from '../lib/log.ts';
import { stopOnSignal } from '../lib/shutdown.ts';
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

// Exports stay as they are.
stopOnSignal(log, async () => {
  try {
    await agent.stop();
  } finally {
    connection.close();
    await health?.close();
  }
});
