// One process of `main.ts --jobs N`.
import { parentPort, workerData } from 'node:worker_threads';
import type { Task } from './batch.ts';
import { runAll } from './batch.ts';

Error.stackTraceLimit = 0;
const send = (message: object): void => parentPort?.postMessage(message, []);
const result = await runAll(workerData as readonly Task[], (failure) => send({ done: failure ?? null }));
send({ result });
