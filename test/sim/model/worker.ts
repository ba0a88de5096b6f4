// One thread of the exhaustive search: runs what it is sent.
import { parentPort } from 'node:worker_threads';
import type { Plan } from './plan.ts';
import { planOf } from './plan.ts';
import type { Job } from './run.ts';
import { runJob } from './run.ts';
import { stories } from './worlds.ts';

Error.stackTraceLimit = 0;
const plans = new Map<string, Promise<Plan>>();

async function run(job: Job): Promise<void> {
  const story = stories.find(({ name }) => name === job.world);
  if (story === undefined) throw new Error(`there is no world ${job.world}`);
  const plan = plans.get(job.world) ?? planOf(story);
  plans.set(job.world, plan);
  parentPort?.postMessage(await runJob(await plan, job), []);
}

parentPort?.on('message', (job: Job) => void run(job));
