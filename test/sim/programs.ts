/** Programs that are started, killed and started again, as systemd and kubelet do it. */
import type { ProgramHandle, Scheduler } from './scheduler.ts';

export interface Service {
  readonly name: string;
  readonly place: string;
  /** The run of now; dead while the program is down. */
  handle(): ProgramHandle;
  /** Kills it, if it runs, and starts it again after `downMs`. */
  kill(downMs: number): void;
  /** Its machine goes: nothing is started before `resume`. */
  suspend(): void;
  resume(): void;
  /** It dies right after its n-th effect or request from now on. */
  killAfter(turns: number, downMs: number): void;
}

/** @param start begins a run: everything that it does is done for the given handle */
export function createService(
  scheduler: Scheduler,
  name: string,
  place: string,
  start: (handle: ProgramHandle) => void,
): Service & { onTurn(program: ProgramHandle): void } {
  let handle: ProgramHandle = { name, alive: false };
  let suspended = false;
  let restarts = 0;
  let armed: { turns: number; readonly downMs: number } | undefined;

  const begin = (): void => {
    if (suspended || handle.alive) return;
    handle = { name, alive: true };
    start(handle);
  };
  const kill = (downMs: number): void => {
    handle.alive = false;
    armed = undefined;
    const mine = (restarts += 1);
    scheduler.after(undefined, downMs, `${name} starts`, () => {
      if (mine === restarts) begin();
    });
  };
  begin();
  return {
    name,
    place,
    handle: () => handle,
    kill,
    suspend: () => {
      suspended = true;
      handle.alive = false;
      restarts += 1;
    },
    resume: () => {
      suspended = false;
      begin();
    },
    killAfter: (turns, downMs) => {
      armed = { turns, downMs };
    },
    onTurn: (program) => {
      if (armed === undefined || program !== handle) return;
      armed.turns -= 1;
      if (armed.turns < 0) kill(armed.downMs);
    },
  };
}
