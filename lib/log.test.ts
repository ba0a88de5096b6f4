import { PassThrough } from 'node:stream';
import { expect, test } from '@jest/globals';
import { createLogger, describeError, withFields, type LoggerOptions } from './log.ts';

function capture(options: Partial<LoggerOptions> = {}) {
  const stream = new PassThrough();
  const log = createLogger({ program: 'agent', stream, ...options });
  return { log, text: () => String(stream.read() ?? '') };
}

test('a line of JSON has time, level, program, message and the fields', () => {
  const { log, text } = capture();
  withFields(log, { node: 'n1' }).info('replica made', { replica: 'v-r0', sizeBytes: 5n });
  expect(JSON.parse(text())).toEqual({
    timestamp: expect.stringMatching(/^\d{4}-.*Z$/),
    level: 'info',
    program: 'agent',
    message: 'replica made',
    node: 'n1',
    replica: 'v-r0',
    sizeBytes: '5',
  });
});

test('fields do not replace what the line says itself', () => {
  const { log, text } = capture();
  log.error('it failed', { message: 'other', level: 'debug', error: new Error('why') });
  expect(JSON.parse(text())).toMatchObject({ message: 'it failed', level: 'error', error: 'why' });
});

test('what is below the level is not said', () => {
  const { log, text } = capture({ level: 'warn' });
  log.info('no');
  log.debug('no');
  log.warn('yes');
  expect(text()).toMatch(/^[^\n]*"yes"[^\n]*\n$/);
});

test('text is for people', () => {
  const { log, text } = capture({ format: 'text' });
  log.warn('a leg is away', { leg: 'v-r0', why: 'no answer' });
  expect(text()).toMatch(/^[\d:.]+ WARN {2}agent: a leg is away leg=v-r0 why="no answer"\n$/);
});

test('an error is told with its causes, once each; a bug with its stack', () => {
  const cause = new Error('ECONNREFUSED');
  expect(describeError(new Error('no way', { cause }))).toBe('no way: ECONNREFUSED');
  expect(describeError(new Error('no way: ECONNREFUSED', { cause }))).toBe('no way: ECONNREFUSED');
  expect(describeError(new TypeError('bug'))).toContain('log.test.ts');
  expect([describeError('text'), describeError({ a: 1 }), describeError(undefined)]).toEqual([
    'text',
    '{"a":1}',
    'undefined',
  ]);
});
