import { expect, test } from '@jest/globals';
import { exposition } from './metrics.ts';

test('figures are written as Prometheus reads them', () => {
  const text = exposition([
    {
      name: 'holdfast_pool_used_bytes',
      help: 'Bytes that are allocated.',
      type: 'gauge',
      samples: [
        { labels: { storage_node: 's1', pool: 'a"b\\c\nd' }, value: 1.5e12 },
        { labels: { storage_node: 's2' }, value: Number.POSITIVE_INFINITY },
      ],
    },
    { name: 'holdfast_nothing', help: 'Has no values.', type: 'gauge', samples: [] },
    { name: 'holdfast_operator_leading', help: 'Whether.', type: 'gauge', samples: [{ value: 1 }] },
  ]);
  expect(text).toBe(
    [
      '# HELP holdfast_pool_used_bytes Bytes that are allocated.',
      '# TYPE holdfast_pool_used_bytes gauge',
      'holdfast_pool_used_bytes{storage_node="s1",pool="a\\"b\\\\c\\nd"} 1500000000000',
      'holdfast_pool_used_bytes{storage_node="s2"} +Inf',
      '# HELP holdfast_operator_leading Whether.',
      '# TYPE holdfast_operator_leading gauge',
      'holdfast_operator_leading 1',
      '',
    ].join('\n'),
  );
});
