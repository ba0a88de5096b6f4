import { expect, test } from '@jest/globals';
import { silentLog } from './log.ts';
import { stopOnSignal } from './shutdown.ts';

// Emitted, not sent: the process that runs the tests lives on.
test('the first signal stops, the others change nothing, and a stop that fails is an error', async () => {
  let stops = 0;
  const errors: unknown[] = [];
  const before = process.exitCode;
  try {
    stopOnSignal({ ...silentLog, error: (message, fields) => errors.push([message, fields]) }, async () => {
      stops += 1;
      throw new Error('the API server is away');
    });
    process.emit('SIGTERM', 'SIGTERM');
    process.emit('SIGINT', 'SIGINT');
    await new Promise((resolve) => setImmediate(resolve));
    expect(stops).toBe(1);
    expect(errors).toEqual([['did not stop in order', { error: 'the API server is away' }]]);
    expect(process.exitCode).toBe(1);
  } finally {
    process.exitCode = before;
    process.removeAllListeners('SIGTERM').removeAllListeners('SIGINT');
  }
});
