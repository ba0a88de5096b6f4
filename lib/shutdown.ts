import { describeError, type Logger } from './log.ts';

/**
 * Ends the program in order at the first SIGTERM or SIGINT; further ones change nothing. When `stop` fails, that is logged
 * and the exit code is 1. The program ends by itself once nothing is left to do.
 */
export function stopOnSignal(log: Logger, stop: () => Promise<void>): void {
  let isStopping = false;
  const begin = (signal: string): void => {
    if (isStopping) return;
    isStopping = true;
    log.info('stopping', { signal });
    stop().then(
      () => log.info('stopped'),
      (error: unknown) => {
        log.error('did not stop in order', { error: describeError(error) });
        process.exitCode = 1;
      },
    );
  };
  process.on('SIGTERM', begin).on('SIGINT', begin);
}
