import { describe, expect, test } from '@jest/globals';
import { TopologyRequirement } from '../generated/csi.ts';
import { accessibleSegments, clientLabelsOf, comparableLabels } from './topology.ts';

const requirement = (requisite: readonly Record<string, string>[], preferred = requisite): TopologyRequirement =>
  TopologyRequirement.fromPartial({
    requisite: requisite.map((segments) => ({ segments })),
    preferred: preferred.map((segments) => ({ segments })),
  });

describe('the client of a new volume', () => {
  test.each([
    [
      'is where the caller prefers it',
      requirement([{ zone: 'a' }, { zone: 'b' }], [{ zone: 'b' }, { zone: 'a' }]),
      { zone: 'b' },
    ],
    ['is in the only place that is named', requirement([{ zone: 'a' }], []), { zone: 'a' }],
    ['may be in several places', requirement([{ zone: 'a' }, { zone: 'b' }], []), {}],
    ['is not known', undefined, {}],
  ])('%s', (_, asked, labels) => {
    expect(clientLabelsOf(asked)).toEqual(labels);
  });
});

describe('with accessFrom a volume can be used', () => {
  test('from the values of the label that the request names', () => {
    const asked = requirement([
      { region: 'r', zone: 'a' },
      { region: 'r', zone: 'b' },
    ]);
    expect(accessibleSegments('region', asked)).toEqual([{ region: 'r' }]);
    expect(accessibleSegments('zone', asked)).toEqual([{ zone: 'a' }, { zone: 'b' }]);
  });

  test('only when the request names some', () => {
    expect(() => accessibleSegments('zone', undefined)).toThrow(
      'accessFrom is "zone": the request does not say for which node the volume is; the StorageClass needs volumeBindingMode: WaitForFirstConsumer',
    );
    expect(() => accessibleSegments('room', requirement([{ zone: 'a' }]))).toThrow('csiNode.topologyKeys');
  });
});

test('labels that no storage node has are not worth comparing', () => {
  expect(comparableLabels({ zone: 'a', os: 'linux' }, [{ labels: { zone: 'b' } }, { labels: { rack: '1' } }])).toEqual({
    zone: 'a',
  });
});
