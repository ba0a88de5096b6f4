import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { controllerService } from '../../csi-driver/controller/service.ts';
import { ControllerService, IdentityService, NodeService } from '../../csi-driver/generated/csi.ts';
import { serve, type RunningServer } from '../../csi-driver/grpc/server.ts';
import { identityService } from '../../csi-driver/identity/service.ts';
import { nodeService } from '../../csi-driver/node/service.ts';
import { fakeWorld } from '../../csi-driver/testing/fake-world.ts';
import { silentLog } from '../../lib/log.ts';
import { clusterBinaries } from '../cluster/binaries.ts';
import { run } from '../lab/process.ts';
import { terminalProgress } from '../lab/progress.ts';

// csi-sanity may have to be built first.
jest.setTimeout(15 * 60_000);

/*
 * The CSI project's own suite against our services, with everything below them pretended (csi-driver/testing): what is
 * tried is the surface, in seconds. Volumes of the real size and real kernels are the lab's part.
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
      { definition: NodeService, handlers: nodeService(world.node) },
    ],
    log: silentLog,
    defaultTimeoutMs: 10_000,
  });
});

afterAll(async () => {
  await server?.stop(1000);
  await rm(dir, { recursive: true, force: true });
});

interface Spec {
  readonly ContainerHierarchyTexts: readonly string[] | null;
  readonly LeafNodeText: string;
  readonly LeafNodeType: string;
  readonly State: 'passed' | 'failed' | 'skipped' | 'pending' | 'panicked' | 'timedout' | 'interrupted' | 'aborted';
  readonly Failure?: { readonly Message: string };
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
      `--ginkgo.json-report=${report}`,
      '--ginkgo.no-color',
    ],
    { check: false, timeoutMs: 10 * 60_000 },
  );
  const [suite] = JSON.parse(await readFile(report, 'utf8')) as { readonly SpecReports: readonly Spec[] }[];
  const specs = (suite?.SpecReports ?? []).filter(({ LeafNodeType }) => LeafNodeType === 'It');
  const named = (state: (state: Spec['State']) => boolean): string[] =>
    specs
      .filter(({ State }) => state(State))
      .map(({ ContainerHierarchyTexts, LeafNodeText, Failure }) =>
        [...(ContainerHierarchyTexts ?? []), LeafNodeText, Failure?.Message ?? ''].join(' | '),
      );
  await mkdir('build', { recursive: true });
  await writeFile(
    `build/sanity-${accessType}.json`,
    JSON.stringify(
      {
        cases: specs.length,
        passed: named((state) => state === 'passed').length,
        skipped: named((state) => state === 'skipped'),
      },
      null,
      2,
    ),
  );
  // What the suite itself has switched off is pending.
  expect(named((state) => !['passed', 'skipped', 'pending'].includes(state))).toEqual([]);
  expect(named((state) => state === 'passed').length).toBeGreaterThan(40);
  expect(done.code).toBe(0);
});
