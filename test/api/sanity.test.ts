import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { groupControllerService } from '../../csi-driver/controller/group-snapshot.ts';
import { controllerService } from '../../csi-driver/controller/service.ts';
import {
  ControllerService,
  GroupControllerService,
  IdentityService,
  NodeService,
} from '../../csi-driver/generated/csi.ts';
import { serve, type RunningServer } from '../../csi-driver/grpc/server.ts';
import { identityService } from '../../csi-driver/identity/service.ts';
import { nodeService } from '../../csi-driver/node/service.ts';
import { fakeWorld } from '../../csi-driver/testing/fake-world.ts';
import { silentLog } from '../../lib/log.ts';
import { clusterBinaries } from '../cluster/binaries.ts';
import { run } from '../lab/process.ts';
import { terminalProgress } from '../lab/progress.ts';
import { judge } from '../sanity/judge.ts';
import { readGinkgo } from '../sanity/report.ts';

// csi-sanity may have to be built first.
jest.setTimeout(15 * 60_000);

/*
 * The CSI project's own suite against our services, with everything below them pretended (csi-driver/testing): what is
 * tried is the surface, in seconds. Volumes of the real size and real kernels are the lab's part (test/system/sanity).
 */

let dir: string;
let server: RunningServer;
let sanity: string;

beforeAll(async () => {
  sanity = (await clusterBinaries(terminalProgress(process.stderr)))['csi-sanity'];
  dir = await mkdtemp(path.join(os.tmpdir(), 'holdfast-sanity-'));
  const world = fakeWorld('node-1');
  server = await serve({
    endpoint: `unix://${dir}/csi.sock`,
    services: [
      { definition: IdentityService, handlers: identityService({ version: '0.1.0', ready: () => true }) },
      { definition: ControllerService, handlers: controllerService(world.controller) },
      { definition: GroupControllerService, handlers: groupControllerService(world.controller) },
      { definition: NodeService, handlers: nodeService(world.node) },
    ],
    log: silentLog,
    defaultTimeoutMs: 10_000,
  });
  // None is needed; one that is given must do no harm.
  await writeFile(path.join(dir, 'secrets.yaml'), secrets());
});

afterAll(async () => {
  await server?.stop(1000);
  await rm(dir, { recursive: true, force: true });
});

function secrets(): string {
  const calls = ['CreateVolume', 'DeleteVolume', 'ControllerPublishVolume', 'NodeStageVolume', 'NodePublishVolume'];
  return calls.map((call) => `${call}Secret: { key: hunter2 }\n`).join('');
}

test.each(['mount', 'block'])('csi-sanity has no complaint about %s volumes', async (accessType) => {
  const report = path.join(dir, `${accessType}.json`);
  const done = await run(
    sanity,
    [
      `--csi.endpoint=${dir}/csi.sock`,
      `--csi.mountdir=${dir}/${accessType}-target`,
      `--csi.stagingdir=${dir}/${accessType}-staging`,
      `--csi.testvolumeaccesstype=${accessType}`,
      `--csi.secrets=${dir}/secrets.yaml`,
      '--csi.testnodevolumeattachlimit',
      `--ginkgo.json-report=${report}`,
      '--ginkgo.no-color',
    ],
    { check: false, timeoutMs: 10 * 60_000 },
  );
  expect(await judge(`services/${accessType}`, readGinkgo(await readFile(report, 'utf8')))).toEqual([]);
  expect(done.code).toBe(0);
});
