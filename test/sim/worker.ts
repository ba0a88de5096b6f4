// One process of `main.ts --jobs N`.
import { parentPort, workerData } from 'node:worker_threads';
import { runSeeds } from './batch.ts';

Error.stackTraceLimit = 0;
const send = (message: object): void => parentPort?.postMessage(message, []);
const result = await runSeeds(workerData as readonly number[], (failure) => send({ done: failure ?? null }));
send({ result });
