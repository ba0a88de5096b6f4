import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { exclusions } from '../test/sanity/exclusions.ts';
import { groupControllerService } from './controller/group-snapshot.ts';
import { controllerService } from './controller/service.ts';
import {
  ControllerServiceCapability_RPC_Type as ControllerRpc,
  GroupControllerServiceCapability_RPC_Type as GroupRpc,
  NodeServiceCapability_RPC_Type as NodeRpc,
  PluginCapability_Service_Type as PluginService,
} from './generated/csi.ts';
import { identityService } from './identity/service.ts';
import { nodeService } from './node/service.ts';
import { callContext, fakeCluster } from './testing/fake-controller.ts';
import { fakeNode } from './testing/fake-node.ts';

const page = readFileSync(new URL('../docs/reference/csi.md', import.meta.url), 'utf8');
const [, offered = '', rest = ''] = /## What is offered\n([\s\S]*?)\n## What is not\n([\s\S]*)/.exec(page) ?? [];

/** Names of capabilities in a text: `LIKE_THIS`. */
const named = (text: string): ReadonlySet<string> =>
  new Set([...text.matchAll(/`([A-Z]+(?:_[A-Z]+)+)`/g)].map(([, name]) => name ?? ''));
const nameOf = (names: Readonly<Record<string, number>>, value: number | undefined): string =>
  Object.entries(names).find(([, number]) => number === value)?.[0] ?? String(value);

describe('docs/reference/csi.md', () => {
  test('lists the capabilities that the services offer, and no other', async () => {
    const cluster = fakeCluster();
    const plugin = await identityService({ version: '0', ready: () => true }).getPluginCapabilities?.(
      {},
      callContext(),
    );
    const controller = await controllerService(cluster).controllerGetCapabilities?.({}, callContext());
    const group = await groupControllerService(cluster).groupControllerGetCapabilities?.({}, callContext());
    const node = await nodeService(fakeNode().deps).nodeGetCapabilities?.({}, callContext());
    const names = [
      ...(plugin?.capabilities ?? []).flatMap(({ type }) =>
        type?.$case === 'service' ? nameOf(PluginService, type.value.type) : [],
      ),
      ...(controller?.capabilities ?? []).map(({ type }) => nameOf(ControllerRpc, type?.value.type)),
      ...(group?.capabilities ?? []).map(({ type }) => nameOf(GroupRpc, type?.value.type)),
      ...(node?.capabilities ?? []).map(({ type }) => nameOf(NodeRpc, type?.value.type)),
    ];
    expect(named(offered)).toEqual(new Set(names));
  });

  test.each(exclusions)('defends that csi-sanity skips "$case"', ({ case: name }) => {
    expect(rest).toContain(`_${name.split(' | ').at(-1)}_`);
  });
});
