/** Threads that run jobs of the exhaustive search, one job each at a time. */
import { Worker } from 'node:worker_threads';
import type { Job, JobResult } from './run.ts';

export interface Workers {
  readonly run: (job: Job) => Promise<JobResult>;
  readonly end: () => Promise<void>;
}

export function startWorkers(count: number): Workers {
  const workers = Array.from({ length: count }, () => startWorker());
  const idle = [...workers];
  return {
    run: async (job) => {
      const worker = idle.pop();
      if (worker === undefined) throw new Error('all workers are busy');
      const result = await worker.run(job);
      idle.push(worker);
      return result;
    },
    end: async () => {
      await Promise.all(workers.map((worker) => worker.end()));
    },
  };
}

function startWorker(): Workers {
  const worker = new Worker(new URL('worker.ts', import.meta.url));
  let running = Promise.withResolvers<JobResult>();
  worker.on('message', (result: JobResult) => running.resolve(result));
  worker.on('error', (error) => running.reject(error));
  return {
    run: (job) => {
      running = Promise.withResolvers();
      worker.postMessage(job, []);
      return running.promise;
    },
    end: async () => void (await worker.terminate()),
  };
}
