import { connect, type Socket } from 'node:net';
import { LabError } from '../errors.ts';

/** A UNIX socket that carries one JSON document per line, both ways. */
export interface LineSocket {
  readonly write: (bytes: Uint8Array) => void;
  /** The next line that came, or LabError after timeoutMs or when the other side has gone. */
  readonly nextLine: (timeoutMs: number) => Promise<Buffer>;
  readonly closed: () => boolean;
  readonly close: () => void;
}

/** Connects to a UNIX socket; rejects at once when nobody listens. */
export async function connectLines(path: string): Promise<LineSocket> {
  if (Buffer.byteLength(path) > 107) {
    throw new LabError(
      `the path of the socket ${path} is longer than the 107 bytes that Linux allows: set HOLDFAST_CACHE to a shorter folder`,
    );
  }
  const socket = await new Promise<Socket>((resolve, reject) => {
    const opened = connect(path);
    opened.once('error', reject);
    opened.once('connect', () => {
      opened.off('error', reject);
      resolve(opened);
    });
  });
  const lines: Buffer[] = [];
  let rest: Buffer = Buffer.alloc(0);
  let failure: Error | undefined;
  let wake: (() => void) | undefined;
  socket.on('data', (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      lines.push(rest.subarray(0, end));
      rest = rest.subarray(end + 1);
    }
    wake?.();
  });
  const fail = (error: Error): void => {
    failure ??= error;
    wake?.();
  };
  socket.on('error', fail);
  socket.on('close', () => fail(new LabError(`${path}: closed by the other side`)));
  return {
    write: (bytes) => {
      socket.write(bytes);
    },
    nextLine: async (timeoutMs) => {
      const deadline = performance.now() + timeoutMs;
      for (;;) {
        const line = lines.shift();
        if (line !== undefined) return line;
        if (failure !== undefined) throw failure;
        const leftMs = deadline - performance.now();
        if (leftMs <= 0) throw new LabError(`${path}: no answer after ${timeoutMs / 1000} s`);
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, leftMs);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
        wake = undefined;
      }
    },
    closed: () => failure !== undefined,
    close: () => {
      socket.destroy();
    },
  };
}

/** One request at a time: returns a function that runs works one after the other, also after one of them failed. */
export function oneAtATime(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return async (work) => {
    const mine = last.then(work, work);
    last = mine.catch(() => undefined);
    return await mine;
  };
}
