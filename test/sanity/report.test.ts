import { expect, test } from '@jest/globals';
import { readGinkgo, withRun } from './report.ts';

const spec = (LeafNodeText: string, State: string, more: object = {}) => ({
  ContainerHierarchyTexts: ['Node Service'],
  LeafNodeText,
  LeafNodeType: 'It',
  State,
  ...more,
});

const json = JSON.stringify([
  {
    SpecReports: [
      spec('works', 'passed'),
      spec('breaks', 'failed', { Failure: { Message: 'boom' } }),
      spec('hangs', 'timedout'),
      spec('is not offered', 'skipped'),
      spec('is switched off', 'pending'),
      { ...spec('cleans up', 'passed'), LeafNodeType: 'AfterSuite' },
    ],
  },
]);

test("ginkgo's report is read, and whatever did not pass has failed", () => {
  expect(readGinkgo(json)).toEqual({
    cases: 5,
    passed: 1,
    failed: ['Node Service | breaks: boom', 'Node Service | hangs: timedout'],
    skipped: ['Node Service | is not offered'],
    off: ['Node Service | is switched off'],
  });
});

test('runs add up, and one that was repeated counts once', () => {
  const run = readGinkgo(json);
  const twice = withRun(withRun(withRun(undefined, 'a', run, []), 'a', run, []), 'b', run, []);
  expect(twice).toMatchObject({ cases: 10, passed: 2, failed: 4, skipped: 4 });
  expect(Object.keys(twice.runs)).toEqual(['a', 'b']);
});
